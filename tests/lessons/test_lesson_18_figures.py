"""The pictures of lesson 18 show the given numbers."""

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import layout_faults, row, texts

from course_utils.lessons.lesson_18 import figures
from course_utils.methods.grpo import group_advantages, grpo_loss

GROUP = [1, 0, 0, 1, 0, 0, 0, 0]
ADVANTAGES = group_advantages(torch.tensor(GROUP, dtype=torch.float), 8)
TOKENS = {
    "advantages": [1.5, 1.5, 1.5, -0.5, -0.5],
    "ratios": [1.1, 1.5, 0.5, 0.5, 1.5],
    "weights": [1 / 6, 1 / 6, 1 / 6, 1 / 4, 1 / 4],
    "low": 0.2,
    "high": 0.3,
}
PARTS = ["Lima", "Rome", "Oslo", "Bern", "Paris"]
PICTURES = {
    **{f"part six: {lit}": lambda lit=lit: figures.part_six(lit) for lit in figures.PART_SIX},
    "choices": lambda: figures.choices(dict(zip("ABCDE", [0, 1, 0, 1, 0], strict=True)), 2),
    "groups": lambda: figures.answers_of_groups({"two of eight are right": GROUP, "all are wrong": [0] * 8}),
    "tokens": lambda: figures.clipped_tokens(**TOKENS),
    "no loss": lambda: figures.no_loss(ADVANTAGES.tolist(), 0.0, (-ADVANTAGES / 8).tolist()),
    "parts": lambda: figures.parts_judged(PARTS, PARTS[::2], {"loose: do they occur?": 1.0, "strict": 0.0}),
}
MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []


@pytest.mark.parametrize(("lit", "number"), zip(figures.PART_SIX, ("18", "19"), strict=True))
def test_one_lessons_part_is_lit(lit, number):
    figures.part_six(lit)
    headings = [text for text in texts(bold=True) if text.startswith("lesson")]
    assert {text.split()[1].rstrip(":") for text in headings} == {number}
    assert len(headings) == len(figures.PART_SIX[lit])
    assert any(text.startswith("The teacher is this policy") for text in texts()) == (number == "19")


def test_three_of_ten_pairs_have_no_right_answer():
    PICTURES["choices"]()
    assert row("right one", 10).count("no") == 3
    assert "7 of 10: pass@2 = 0.7" in texts()


def test_a_group_compares_its_answers():
    PICTURES["groups"]()
    assert row("advantage", 8)[:2] in (["+1.62", f"{MINUS}0.54"], ["0.00", "0.00"])
    assert f"{ADVANTAGES[0]:+.2f}" == "+1.62" and not any(f"{MINUS}0.00" in text for text in texts())


def test_the_loss_of_five_tokens_is_that_of_the_package():
    PICTURES["tokens"]()
    ratios, weights = (torch.tensor([TOKENS[name]]) for name in ("ratios", "weights"))
    total = sum(
        grpo_loss(ratios[:, [i]].log(), torch.zeros(1, 1), torch.tensor([a]), weights[:, [i]], 0.2, 0.3)
        for i, a in enumerate(TOKENS["advantages"])
    )
    assert f"sum of weight times loss: {total:.2f}".replace("-", MINUS) in texts()


def test_right_answers_go_up_and_wrong_ones_down():
    PICTURES["no loss"]()
    assert row("log p goes", 8) == ["up" if reward else "down" for reward in GROUP]
    assert "mean, the printed loss: 0.00" in texts()


def test_each_program_has_its_verdict():
    PICTURES["parts"]()
    assert row("wanted?", 5) == ["yes", "no", "yes", "no", "yes"]
    assert texts(bold=True) == ["right", "wrong"]
