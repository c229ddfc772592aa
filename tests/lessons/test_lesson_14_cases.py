"""Twelve decisions, written before the guide: what somebody who tunes in production expects, and why.

`takes` is what the guide may advise: one option, or several if they tie. The sums are by hand, in dollars,
with the prices of prices.py (per million tokens: the larger model 1 read, 0.05 read again, 5 written; a small
one 0.2) and 600 for a person's day. 730,000 answers are 2,000 a day for a year.
"""

from typing import NamedTuple

import pytest

from course_utils.lessons.lesson_14.guide import Case, advice, decide


class Expected(NamedTuple):
    name: str
    answers: dict  # to the guide's questions, where they are not its defaults
    takes: set[str]
    why: str


CASES = [
    Expected(
        "support desk",
        {"examples": 400, "answers_a_day": 20_000},
        {"LoRA"},
        "7.3 million answers of 950 tokens read and 150 written: the larger model costs 12,410, and 1,200 "
        "for two days of writing its prompt. A tuned 8B by the token costs 438, eight days 4,800 and 100 "
        "answers 200: 5,438. 5,000 foreign answers would teach a foreign house's style.",
    ),
    Expected(
        "50 answers a day",
        {"examples": 400, "answers_a_day": 50},
        {"larger model"},
        "A year of answers costs 31. No training earns back the days that it takes.",
    ),
    Expected(
        "a tie",
        {"examples": 400, "answers_a_day": 5000},
        {"larger model", "LoRA"},
        "3,103 and 1,200 against 110, 4,800 and 200: 4,303 and 5,110. Nobody knows days and traffic to a "
        "sixth. Published scores are nearer than tasks differ, so a trial of both decides.",
    ),
    Expected(
        "a tie, measured",
        {"examples": 400, "answers_a_day": 5000, "scores": {"larger model": (29, 3), "LoRA": (20, 3)}},
        {"larger model"},
        "The trial has been made: nine points lie outside both intervals, and 5 would decide.",
    ),
    Expected(
        "nothing leaves the house",
        {"examples": 400, "private": True},
        {"LoRA"},
        "Nothing larger can be asked; a card of one's own has to run all day whatever is done.",
    ),
    Expected(
        "a price list",
        {"goal": "facts that change", "documents": 8000},
        {"long context"},
        "8,000 tokens go in front of every question at the price of what is read again: 978, and three "
        "days 1,800. Retrieval is eight days' work, 4,800, and finds no more in so short a list.",
    ),
    Expected(
        "a handbook",
        {"goal": "facts that change", "documents": 2_000_000},
        {"retrieval"},
        "It fits no prompt, and tuning on facts added 2 points where retrieval added 39.",
    ),
    Expected(
        "sums",
        {"goal": "ability", "examples": 10, "verifiable": True, "private": True, "label_price": 30},
        {"right samples"},
        "A program verifies, so the model's own right answers cost nothing to write; 490 worked solutions "
        "would cost 14,700. GRPO takes twice the days and was behind: afterwards, if right samples stop "
        "helping.",
    ),
    Expected(
        "pairs",
        {"goal": "preference", "examples": 3000, "private": True},
        {"DPO"},
        "Nobody can write the best answer down, and 3,000 times somebody chose the better one of two.",
    ),
    Expected(
        "extraction",
        {"examples": 5000, "answers_a_day": 500_000, "budget": 400_000.0},
        {"LoRA"},
        "182 million answers: 310,000 from the larger model, 11,000 from a tuned 8B by the token. Narrow "
        "tasks with many labels are what small tuned models are best at.",
    ),
    Expected(
        "no labels",
        {"examples": 0, "answers_a_day": 200_000, "label_price": 20, "budget": 50_000.0},
        {"distillation"},
        "The larger model does it and its terms allow training: 5,000 of its answers cost 9. 500 written "
        "ones would cost 10,000, and asking it all year 124,000.",
    ),
    Expected(
        "much to learn",
        {
            "examples": 200_000,
            "keep": False,
            "private": True,
            "model": "Qwen3-4B",
            "card": "H200",
            "budget": 100_000.0,
        },
        {"LoRA", "full"},
        "One task, much data, room for all weights, and a card all day for either. Published results "
        "disagree (equal; full ahead), so the two are run side by side.",
    ),
]


def test_there_are_twelve():
    assert len({case.name for case in CASES}) == 12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_guide_advises_what_an_expert_expects(case):
    assert advice(decide(Case(**case.answers))) == case.takes, case.why


@pytest.mark.parametrize(
    "a_day, takes",
    [
        (3000, {"larger model"}),
        (3500, {"larger model", "LoRA"}),
        (10_000, {"larger model", "LoRA"}),
        (10_500, {"LoRA"}),
        (20_000, {"LoRA"}),
    ],
)
def test_from_which_traffic_on_the_default_case_takes_lora(a_day, takes):
    """Lesson 14's answer to its last question."""
    assert advice(decide(Case(answers_a_day=a_day))) == takes
