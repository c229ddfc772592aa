"""Lesson 18 on other models: what random rewards leave of the right answers."""

from course_utils.lessons.lesson_18.experiments import LIST_RATES
from course_utils.replicate.rows import Arm, Published, Row


def share_left(results, arm):
    """Share of right samples after a training, over the start's."""
    return results[arm]["short_1"] / max(results["start"]["short_1"], 0.001)


ROW = Row(
    lesson="18",
    claim="random_rewards",
    headline="random rewards raise nothing",
    quantity="right answers to held-out lists after GRPO with random rewards, over the start's",
    unit="times",
    control="with the verifier's rewards, at the same rate",
    why="a gain from random rewards would make every gain from a new reward worthless as evidence",
    sweep="other_rewards",
    arms={
        "start": Arm({"judge": "none"}),
        "verifier": Arm({"judge": "right"}, LIST_RATES["GRPO"]),
        "random": Arm({"judge": "chance"}, rate_of="verifier"),
    },
    value=lambda results, rates: share_left(results, "random"),
    of_control=lambda results, rates: share_left(results, "verifier"),
    at_most=1,
    whys={
        "pocket": "one of three seeds ends 8% above its start, well within the interval of either "
        "share. It is open "
        "why the lesson's stored runs lose more."
    },
    remark="Three seeds of a training without any effect would pass this bound one time in eight. In "
    "the lesson's stored "
    "runs, five seeds each, random rewards leave 6% to 53% of the start's right answers, at a rate "
    "that is 5% lower; and "
    "a reward for the form of an answer alone raises them 1.2 to 1.9 times.",
    published=(
        Published(
            "Qwen2.5-Math-7B gains 21.4 points from random rewards, 29.1 from true ones",
            "Shao and others 2025, arXiv 2506.10947 (MATH-500)",
            "not comparable",
            "they explain it by the clip of repeated updates; here a batch gets one update, never clipped",
        ),
        Published(
            "Llama3 and OLMo2 often gain nothing from rewards that help Qwen",
            "Shao and others 2025, arXiv 2506.10947, abstract",
            "same direction",
            "no gain there; here a loss at two seeds and a gain of 8% at one",
        ),
    ),
    untestable=lambda results: (
        "" if results["start"]["short_1"] >= 0.02 else "the start gets nearly no list right"
    ),
)
