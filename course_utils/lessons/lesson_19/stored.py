"""What lesson 19 and its companion read of the stored trainings towards a teacher."""

from course_utils.lessons.lesson_18.experiments import GRPO_RUN
from course_utils.lessons.lesson_19 import experiments, students
from course_utils.stored_runs import runs_like

SWEEP_OF = {  # of the ways that are not in the sweep `distillation`
    "soft labels": "distillation_writers",
    "teacher writes": "distillation_writers",
    "on-policy, forward KL": "distillation_writers",
    "sampled log-ratio": "distillation_sampled",
    "GRPO, other draws": "distillation_equal",
}
EQUAL = 60  # forward passes of twelve on-policy steps, of fifteen others
COST = {way: sum(parts.values()) for way, parts in students.FORWARD_PASSES.items()}
COST["GRPO, other draws"] = COST["GRPO"]
LAST = experiments.CHECKPOINTS | {"GRPO, other draws": experiments.GRPO_AGAIN}


def runs_of(way: str, sweep: str = "") -> list[dict]:
    """The stored results of a way, one a seed."""
    return [result for _, result in runs_like(sweep or SWEEP_OF.get(way, "distillation"), {"method": way})]


def of(way: str, key: str, sweep: str = "") -> list[float]:
    """One number of each run of a way."""
    return [run[key] for run in runs_of(way, sweep)]


def over(one: str, other: str, key: str = "reverse", ending: str = "") -> list[float]:
    """A number of one way over that of another, seed by seed. ending: of the first one's name."""
    return [a / b for a, b in zip(of(one, f"{key}{ending}"), of(other, key), strict=False)]


def course(way: str, key: str) -> dict[int, list[float]]:
    """{forward passes: values over the seeds}, from the start to the end of a way.

    GRPO's is the path of the teacher, which stands at its end; there the KL says nothing and is left out.
    """
    if way == "GRPO":
        points = {0: of("start", key), COST[way] * experiments.GRPO_STEPS: of(way, key)}
        whole = COST[way] * GRPO_RUN["iterations"]
        return points if key in ("reverse", "forward") else points | {whole: of("teacher", key)}
    *early, last = LAST[way]
    points = {COST[way] * steps: of(way, f"{key}_{steps}") for steps in early}
    return {0: of("start", key)} | points | {COST[way] * last: of(way, key)}


def agreement(loss: str, prompts: str) -> list[float]:
    """Cosine of two batches' gradients by a loss, "same" or "other" prompts: each seed's mean over draws."""
    found = []
    for _, run in runs_like("gradient_agreement", {"prompts": prompts}):
        draws = [value for name, value in run.items() if name.rpartition("_")[0] == loss]
        found.append(sum(draws) / len(draws))
    return found
