"""What lesson 19 and its companion read of the stored trainings towards a teacher."""

from course_utils.lessons.lesson_18.experiments import GRPO_RUN
from course_utils.lessons.lesson_19 import experiments, students
from course_utils.stored_runs import ratios, runs_like

SWEEP_OF = {  # of the ways that are not in the sweep `distillation`
    "soft labels": "distillation_writers",
    "teacher writes": "distillation_writers",
    "on-policy, forward KL": "distillation_writers",
    "sampled log-ratio": "distillation_sampled",
}
COST = {way: sum(parts.values()) for way, parts in students.FORWARD_PASSES.items()}


def runs_of(way: str, sweep: str = "") -> list[dict]:
    """The stored results of a way, one a seed."""
    return [result for _, result in runs_like(sweep or SWEEP_OF.get(way, "distillation"), {"method": way})]


def of(way: str, key: str, sweep: str = "") -> list[float]:
    """One number of each run of a way."""
    return [run[key] for run in runs_of(way, sweep)]


def left(way: str, ending: str = "") -> list[float]:
    """The share of its own start's KL that a way leaves, seed by seed. ending: of the stored name."""
    own = way == "sampled log-ratio"  # its students are others
    return ratios(of(way, f"reverse{ending}"), of(way, "start_reverse") if own else of("start", "reverse"))


def over(one: str, other: str, key: str = "reverse") -> list[float]:
    """A number of one way over that of another from the same start, seed by seed."""
    return ratios(of(one, key), of(other, key))


def course(way: str, key: str) -> dict[int, list[float]]:
    """{forward passes: values over the seeds}, from the start to the end of a way.

    GRPO's is the path of the teacher, which stands at its end; there the KL says nothing and is left out.
    """
    if way == "GRPO":
        points = {0: of("start", key), COST[way] * experiments.GRPO_STEPS: of(way, key)}
        whole = COST[way] * GRPO_RUN["iterations"]
        return points if key in ("reverse", "forward") else points | {whole: of("teacher", key)}
    *early, last = experiments.CHECKPOINTS[way]
    points = {COST[way] * steps: of(way, f"{key}_{steps}") for steps in early}
    points |= {COST[way] * last: of(way, key)}
    if way == "sampled log-ratio":  # of its starts only the KL is stored
        return {0: of(way, "start_reverse")} | points if key == "reverse" else points
    return {0: of("start", key)} | points
