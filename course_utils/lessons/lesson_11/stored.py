"""The stored runs, at the end, along the way, or stopped: {"kl", "proxy", "gold", "objective"}."""

from __future__ import annotations

from course_utils.lessons.lesson_11.experiments import BETA, STOPS
from course_utils.lessons.lesson_11.figures import PANELS
from course_utils.lessons.lesson_11.runaway import ITERATIONS
from course_utils.stored_runs import runs_like

SETTINGS = {
    "no penalty": {"beta": 0.0, "penalty": "right"},
    "our penalty": {"beta": BETA, "penalty": "right"},
    "their penalty": {"beta": BETA, "penalty": "flipped"},
}


def objective(found):
    """What the training with the penalty maximises, of {"proxy", "kl"}: numbers or tensors."""
    return found["proxy"] - BETA * found["kl"]


def ends(setting: str) -> list[dict[str, float]]:
    """Of each seed, at the end of the training, on answers to held-out requests."""
    return [_numbers(result) for result in _results(setting)]


def shuffled_ends() -> list[dict[str, float]]:
    """Like `ends`, without a penalty and with the scores of each batch dealt out at random."""
    return [_numbers(result) for _, result in runs_like("shuffled_scores", {})]


def iterations(setting: str) -> list[list[dict[str, float]]]:
    """Of each seed and iteration, on its twelve answers, sampled before its update."""
    return [
        [_numbers(result, f"_{step}") for step in range(1, ITERATIONS + 1)] for result in _results(setting)
    ]


def stopped_runs(sweep: str = "stopped_early") -> list[list[dict[str, float]]]:
    """Of each seed without a penalty, after the numbers of updates in STOPS, on held-out requests.

    sweep: "shuffled_scores" for those whose scores were dealt out at random.
    """
    return [
        [_numbers(result, f"_after_{done}") | {"updates": done} for done in STOPS]
        for _, result in runs_like(sweep, {})
    ]


def stopped_as_near() -> list[dict[str, float]]:
    """Of each seed, stopped where the KL is nearest to that of our penalised run at its end."""
    return [
        min(run, key=lambda each: abs(each["kl"] - end["kl"]))
        for run, end in zip(stopped_runs(), ends("our penalty"), strict=True)
    ]


def differences(name: str, ours: list[dict[str, float]], others: list[dict[str, float]]) -> list[float]:
    """Seed by seed, a measurement minus that of the other runs."""
    return [one[name] - other[name] for one, other in zip(ours, others, strict=True)]


def _numbers(result: dict, ending: str = "") -> dict[str, float]:
    found = {name: result[f"{name}{ending}"] for name in PANELS}
    return found | {"objective": objective(found)}


def _results(setting: str) -> list[dict]:
    return [result for _, result in runs_like("runaway", SETTINGS[setting])]
