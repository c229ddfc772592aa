"""What lesson 19 and its companion read of the stored trainings towards a teacher."""

from course_utils.lessons.lesson_18.experiments import GRPO_RUN
from course_utils.lessons.lesson_19 import experiments, students
from course_utils.stored_runs import ratios, runs_like

BESIDE = "distillation_sampled"  # the log-ratio and the exact KL beside it
SWEEP_OF = {  # of the ways that are not in the sweep `distillation`
    "soft labels": "distillation_writers",
    "teacher writes": "distillation_writers",
    "on-policy, forward KL": "distillation_writers",
    "sampled log-ratio": BESIDE,
}
COST = {way: sum(parts.values()) for way, parts in students.FORWARD_PASSES.items()}


def way_runs(way: str, sweep: str = "") -> list[dict]:
    """The stored results of a way, one a seed."""
    return [result for _, result in runs_like(sweep or SWEEP_OF.get(way, "distillation"), {"method": way})]


def of_way(way: str, key: str, sweep: str = "") -> list[float]:
    """One number of each run of a way."""
    return [run[key] for run in way_runs(way, sweep)]


def left(way: str, ending: str = "", sweep: str = "") -> list[float]:
    """The share of its own start's KL that a way leaves, seed by seed. ending: of the stored name.

    The sweep `distillation_sampled` has students of its own.
    """
    sweep = sweep or SWEEP_OF.get(way, "distillation")
    starts = of_way(way, "start_reverse", sweep) if sweep == BESIDE else of_way("start", "reverse")
    return ratios(of_way(way, f"reverse{ending}", sweep), starts)


def over(one: str, other: str, key: str = "reverse", sweep: str = "") -> list[float]:
    """A number of one way over that of another from the same start, seed by seed."""
    return ratios(of_way(one, key, sweep), of_way(other, key, sweep))


def shares_left(way: str, sweep: str = "") -> dict[int, list[float]]:
    """{forward passes: shares of the start's KL that are left, over the seeds}, from the start on."""
    *early, last = experiments.CHECKPOINTS[way] if way != "GRPO" else [experiments.GRPO_STEPS]
    points = {COST[way] * steps: left(way, f"_{steps}", sweep) for steps in early}
    last_shares = left(way, "", sweep)
    return {0: [1.0] * len(last_shares)} | points | {COST[way] * last: last_shares}


def course(way: str, key: str) -> dict[int, list[float]]:
    """{forward passes: values over the seeds}, from the start to the end of a way.

    GRPO's is the path of the teacher, which stands at its end; there the KL says nothing and is left out.
    """
    if way == "GRPO":
        points = {0: of_way("start", key), COST[way] * experiments.GRPO_STEPS: of_way(way, key)}
        whole = COST[way] * GRPO_RUN["iterations"]
        return points if key in ("reverse", "forward") else points | {whole: of_way("teacher", key)}
    *early, last = experiments.CHECKPOINTS[way]
    points = {COST[way] * steps: of_way(way, f"{key}_{steps}") for steps in early}
    return {0: of_way("start", key)} | points | {COST[way] * last: of_way(way, key)}


def agreement(loss: str, prompts: str) -> list[float]:
    """Cosine of two batches' gradients by a loss, "same" or "other" prompts: each seed's mean over draws."""
    found = []
    for _, run in runs_like("gradient_agreement", {"prompts": prompts}):
        draws = [value for name, value in run.items() if name.rpartition("_")[0] == loss]
        found.append(sum(draws) / len(draws))
    return found
