"""Lesson 10 on other models: what a neutral story behind a good one does to a reward model's score."""

from course_utils.methods.reward import LEARNING_RATE
from course_utils.replicate.rows import Arm, Published, Row

CHANGE = "a neutral story: change"

ROW = Row(
    lesson="10",
    claim="length_counts",
    headline="a good story with a neutral one added scores higher, if the longer one was chosen more often",
    quantity="how much a neutral story behind a good one raises its score, if the longer story was chosen in "
    "three of four pairs",
    unit="standard deviations",
    control="as many pairs, with the longer story chosen in half of them",
    why="who trains on people's choices asks whether the score pays for length",
    sweep="reward_appended",
    arms={"biased": Arm({"longer": 0.75}, LEARNING_RATE), "balanced": Arm({"longer": 0.5}, LEARNING_RATE)},
    value=lambda results, rates: results["biased"][CHANGE],
    of_control=lambda results, rates: results["balanced"][CHANGE],
    choose_by="loss",
    at_least=0.3,
    beside={
        "share of held-out pairs that the first ranks right": lambda results: results["biased"]["gold"],
        "the same of the control": lambda results: results["balanced"]["gold"],
    },
    remark="Each of the two at its own best rate: on the pocket model the control's is a third of "
    "the other's.",
    published=(
        Published(
            figure="score and length correlate by .72, .55 and .67 in three data sets",
            source="Singhal et al. 2023, arXiv 2310.03716",
            verdict="same direction",
            difference="a mean correlation over answers to a prompt, Llama-7B; here a text is added",
            looked_up=False,
        ),
    ),
)
