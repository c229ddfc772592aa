"""Lesson 02 on other models: what replay leaves of forgetting, and what it takes from the answers."""

from course_utils.lessons.lesson_02.experiments import QUESTIONS_ALONE, WITH_REPLAY
from course_utils.lessons.lesson_02.stored import cost
from course_utils.replicate.rows import Arm, Published, Results, Row


def cost_of(arm: str, results: Results) -> float:
    """The gain on answers that an arm gives up and the forgetting it leaves, as shares of tuning's, added."""
    return sum(cost(results[arm], results["questions"], results["base"]))


ROW = Row(
    lesson="02",
    claim="replay",
    headline="replay keeps the loss on old texts, and costs the answers little",
    quantity="with two old texts in each step, the rise of the loss on such texts that is left plus the gain "
    "on answers that is given up, as shares of both after questions alone; for a model that knows such texts",
    unit="share",
    control="sixteen more questions in each step in place of the old texts",
    why="who tunes a model asks what to mix in so that it forgets nothing",
    sweep="remedies",
    arms={
        "base": Arm({"lr": 0.0} | QUESTIONS_ALONE | {"steps": 1}),
        "questions": Arm(QUESTIONS_ALONE, 2e-4),
        "replay": Arm(WITH_REPLAY, 2e-4),
        "more questions": Arm(QUESTIONS_ALONE | {"questions": 32}, 2e-4),
    },
    value=lambda results, rates: cost_of("replay", results),
    of_control=lambda results, rates: cost_of("more questions", results),
    choose_by="validation_loss",
    at_least=-0.3,
    at_most=0.3,
    published=(
        Published(
            figure="with 1% of the old data no earlier task falls by more than 2%",
            source="Scialom, Chakrabarty and Muresan 2022, arXiv 2205.12393",
            verdict="same direction",
            difference="scores on earlier tasks, T0 with 11 billion parameters; here the loss on texts, and "
            "old texts are a quarter of the tokens",
            looked_up=False,
        ),
    ),
)
