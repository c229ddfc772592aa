"""The stored runs: {"kl", "proxy", "gold"} at the end, along the way, or where a run is stopped."""

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


def ends(setting: str) -> list[dict[str, float]]:
    """Of each seed, at the end of the training, on answers to held-out requests."""
    return [{name: result[name] for name in PANELS} for result in _results(setting)]


def iterations(setting: str) -> list[list[dict[str, float]]]:
    """Of each seed and iteration, on its twelve answers, sampled before its update."""
    return [
        [{name: result[f"{name}_{step}"] for name in PANELS} for step in range(1, ITERATIONS + 1)]
        for result in _results(setting)
    ]


def stopped_runs() -> list[list[dict[str, float]]]:
    """Of each seed without a penalty, after the numbers of updates in STOPS, on held-out requests."""
    results = [result for _, result in runs_like("stopped_early", {"beta": 0.0})]
    return [
        [{name: result[f"{name}_after_{done}"] for name in PANELS} | {"updates": done} for done in STOPS]
        for result in results
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


def _results(setting: str) -> list[dict]:
    return [result for _, result in runs_like("runaway", SETTINGS[setting])]
