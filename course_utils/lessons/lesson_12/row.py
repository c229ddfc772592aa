"""Lesson 12 on other models: how far the gold score falls from its peak while PPO trains on the proxy."""

from course_utils.lessons.lesson_12.experiments import KEPT, LR, iterations_of
from course_utils.replicate.rows import Arm, Published, Row


def fall(run):
    """From the highest of a run's measured gold scores to the last."""
    return max(run[f"gold_{iteration}"] for iteration in iterations_of(run, "gold")) - run["gold"]


ROW = Row(
    lesson="12",
    claim="gold_falls",
    headline="the true score falls while PPO trains on a learned one",
    quantity="fall of the gold score within 20 iterations of PPO without a KL penalty, from its "
    "highest, the start's included",
    unit="points of a score from 0 to 1",
    control="with a penalty of 0.1, at the same rate, which earns most reward with it",
    why="whoever optimises a learned reward asks whether more of it still means better answers",
    sweep="ppo",
    arms={
        "with penalty": Arm({"beta": 0.1, "kept": KEPT}, LR),
        "without": Arm({"beta": 0.0, "kept": KEPT}, rate_of="with penalty"),
    },
    value=lambda results, rates: fall(results["without"]),
    of_control=lambda results, rates: fall(results["with penalty"]),
    at_least=0.07,
    remark="The rate is the one that earns most reward with the penalty. There the penalty does not "
    "keep the gold score, "
    "either: it dips by .12 to .22 at each seed, and at one of three it ends by more than the bound "
    "below its start.",
    published=(
        Published(
            "with more KL the gold score rises, peaks and falls while the proxy rises on",
            "Gao, Schulman and Hilton 2022, arXiv 2210.10760",
            "same direction",
            "at this row's rate it falls from the start on; at the lesson's, a third of that, it "
            "rises first by "
            ".03 to .13 at all five seeds, as theirs does. Their gold score is a reward model, read over KL",
        ),
        Published(
            "a KL penalty in RL does not change the frontier of gold score and KL",
            "Gao, Schulman and Hilton 2022, arXiv 2210.10760",
            "not comparable",
            "they compare at equal KL, this row after equally many iterations",
        ),
    ),
    untestable=lambda results: (
        "" if results["without"]["gold_0"] > 0.05 else "its stories have no gold score to lose"
    ),
)
