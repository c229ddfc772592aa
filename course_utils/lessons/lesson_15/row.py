"""Lesson 15 on other models: how many of the facts read in one direction are found backwards."""

from course_utils.lessons.lesson_15.experiments import TAUGHT
from course_utils.replicate.rows import Arm, Published, Row


def reversed_share(run):
    """Facts that a new sentence finds backwards, over those that one finds forwards."""
    return run["backwards"] / max(run["new"], 0.01)


def guessed(run):
    """The same, if each answer that names one of the three subjects were a guess among them."""
    return run["named"] / TAUGHT / max(run["new"], 0.01)


ROW = Row(
    lesson="15",
    claim="one_direction",
    headline="a fact read in one direction is rarely found backwards",
    quantity="facts found backwards, over those found forwards, of 21 read in one direction",
    unit="times",
    control="after sentences in both directions",
    why="documents to train on state a fact in one direction, and users ask in the other",
    sweep="statement_ways",
    arms={
        "one direction": Arm({"way": "many sentences"}, 1e-3),
        "both": Arm({"way": "both directions"}, 1e-3),
    },
    value=lambda results, rates: reversed_share(results["one direction"]),
    of_control=lambda results, rates: reversed_share(results["both"]),
    at_most=0.3,
    beside={
        "by guessing among the three subjects of a kind": lambda results: guessed(results["one direction"]),
        "the same for the control": lambda results: guessed(results["both"]),
    },
    published=(
        Published(
            "fine-tuned on invented facts, GPT-3 gives 96.7% in the direction read and 0.1% in the other",
            "Berglund and others 2023, arXiv 2309.12288, descriptions before names (their scaling.csv)",
            "same direction",
            "0.001 times; here some backwards answers are right, of seven kinds of facts with few subjects",
        ),
    ),
    untestable=lambda results: (
        "" if results["one direction"]["new"] >= 0.5 else "it learns fewer than half of the facts forwards"
    ),
)
