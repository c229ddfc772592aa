"""The pictures of lesson 10 show the given numbers."""

import math

import matplotlib.pyplot as plt
import pytest
from helpers import layout_faults, row, texts

from course_utils.lessons.lesson_10 import figures

MIA = {"the story": [0.5, 0.8, 1.0, 1.0, 1.0, 0.795], "a sad end": [-0.5, 0.8, 1.0, 1.0, 1.0, 0.445]}
PARTS = ["mood", "polite-\nness", "sound", "fresh", "on\nprompt", "gold\nscore"]
VECTORS = [[0.3, 0.9], [1.0, 0.5], [-0.5, 1.0], [1.2, 0.4]]
PICTURES = {
    **{f"part four: {lit}": lambda lit=lit: figures.part_four(lit) for lit in figures.PART_FOUR},
    "rules": lambda: figures.rules(MIA, PARTS),
    "labels": lambda: figures.noisy_labels([(0.8, 0.75), (0.6, 0.3), (0.45, 0.6), (0.5, 0.5)], 0.1),
    "towers": lambda: figures.two_towers(1.2, -0.6),
    "costs": lambda: figures.pair_costs([-4, -1, 0, 1, 4]),
    "places": lambda: figures.ends_of_texts(
        {"right": [1, 1, 1, 0, 0], "left": [0, 1, 1, 1, 1], "both": [0, 1, 1, 1, 0]}
    ),
    "score": lambda: figures.score_by_hand(
        ["pad", "Hi", "yes", "<|im_end|>"], [0, 1, 1, 1], VECTORS, [2.0, -1.0], 0.5
    ),
    "shortcut": lambda: figures.shortcut([(60, 50), (70, 40), (40, 80), (55, 50)]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []


@pytest.mark.parametrize(("lit", "number"), figures.LESSONS.items())
def test_one_lessons_part_is_lit(lit, number):
    figures.part_four(lit)
    bold = texts(bold=True)
    assert [text[:2] for text in bold if text[:2].isdigit()] == [number]
    assert len(bold) == 1 + len(figures.PART_FOUR[lit])


def test_what_differs_from_the_first_row_is_bold():
    PICTURES["rules"]()
    assert texts(bold=True) == ["\N{MINUS SIGN}0.50", "0.45" if f"{0.445:.2f}" == "0.45" else "0.44"]


def test_the_ceiling_is_the_mean_of_the_likelier_labels():
    PICTURES["labels"]()
    sigma = [1 / (1 + math.exp(-z)) for z in (0.5, 3.0, 1.5, 0.0)]
    assert row("the likelier label", 4) == [f"{p:.2f}" for p in sigma]
    assert f"mean {sum(sigma) / 4:.2f}: the ceiling" in texts()


def test_a_pair_costs_minus_the_log_of_its_probability():
    PICTURES["towers"]()
    probability = 1 / (1 + math.exp(-1.8))
    assert any(f"= {-math.log(probability):.2f}" in text for text in texts())
    PICTURES["costs"]()
    sigma = [1 / (1 + math.exp(-z)) for z in (-4, -1, 0, 1, 4)]
    assert row("loss: \N{MINUS SIGN}ln of it", 5) == [f"{-math.log(p):.2f}" for p in sigma]


def test_the_last_real_token_is_bold_and_read():
    PICTURES["places"]()
    assert len(texts(bold=True)) == 3
    PICTURES["score"]()
    assert row("position", 4) == ["0", "0", "1", "2"]
    assert "minus the centre, 0.5: score 1.5" in texts()


def test_balancing_keeps_as_many_of_each_kind():
    PICTURES["shortcut"]()
    assert row("longer chosen", 4) == ["yes", "yes", "no", "yes"]
    assert texts().count("keep") == 2
    assert "right in 3 of 4; of the kept ones in 1 of 2" in texts()


def test_every_story_has_a_dot_and_every_text_a_mean():
    figures.fooled(
        {
            "all": {"again": [1.0, 2.0], "gloomy": [0.5, 1.5]},
            "even": {"again": [0.0, 0.2], "gloomy": [-1, -2]},
        },
        "Why?",
    )
    axes = plt.gcf().axes
    assert [len(ax.collections) for ax in axes] == [2, 2]
    means = [line.get_xdata()[0] for ax in axes for line in ax.lines if line.get_marker() == "o"]
    assert means == [1.5, 1.0, 0.1, -1.5]
