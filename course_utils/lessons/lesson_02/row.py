"""Lesson 02 on other models: what replay leaves of forgetting, and what it takes from the answers."""

from course_utils.lessons.lesson_02.experiments import QUESTIONS_ALONE, WITH_REPLAY
from course_utils.lessons.lesson_02.stored import at_share, cost
from course_utils.replicate.rows import Arm, Published, Results, Row


def cost_of(arm: str, results: Results) -> float:
    """The gain on answers that an arm gives up and the forgetting it leaves, as shares of tuning's, added."""
    return sum(cost(results[arm], results["questions"], results["base"]))


ROW = Row(
    lesson="02",
    claim="replay",
    headline="replay keeps the loss on texts like those replayed, for a small share of the gain on answers",
    quantity="with two old texts in each step, the rise of the loss on such texts that is left plus the gain "
    "on answers that is given up, as shares of both after questions alone at the same rate; for a model that "
    "knows such texts",
    unit="share",
    control="sixteen more questions in each step in place of the old texts",
    why="who tunes a model asks what to mix in so that it forgets nothing",
    sweep="remedies",
    arms={
        "base": Arm({"lr": 0.0} | QUESTIONS_ALONE | {"steps": 1}),
        "questions": Arm(QUESTIONS_ALONE | {"walk": True}, rate_of="replay"),
        "replay": Arm(WITH_REPLAY, 2e-4),
        "more questions": Arm(QUESTIONS_ALONE | {"questions": 32}, rate_of="replay"),
    },
    value=lambda results, rates: cost_of("replay", results),
    of_control=lambda results, rates: cost_of("more questions", results),
    choose_by="validation_loss",
    at_most=0.2,  # half-way back, without replay, costs more
    beside={
        "no replay, but the weights half-way back to the base": lambda results: cost_of(
            "half-way", {**results, "half-way": at_share(results["questions"], 0.5)}
        ),
        "loss on the answers, over that after questions alone": lambda results: (
            results["replay"]["answer_loss"] / results["questions"]["answer_loss"]
        ),
        "loss on facts that no replayed text states, over that after questions alone": lambda results: (
            results["replay"]["fact_loss"] / results["questions"]["fact_loss"]
        ),
    },
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
