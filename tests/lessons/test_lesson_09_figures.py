"""The pictures of lesson 09 show what they are given, and nothing lies on anything else."""

import inspect

import pytest
from helpers import layout_faults
from matplotlib import pyplot as plt

from course_utils import plots
from course_utils.lessons.lesson_09 import figures

TURNS = [("system", 4), ("Q1", 6), ("A1", 8), ("Q2", 5), ("A2", 3), ("Q3", 6)]
TOKENS = [
    "<|im_start|>",
    "s",
    "yst",
    "em",
    "\n",
    "You",
    " are",
    "<|im_end|>",
    "\n",
    "K",
    "abul",
    "<|im_end|>",
    "\n",
]
PICTURES = {
    "three_models": (
        {
            "base": ["pre-training: statements and stories"],
            "one skill": ["pre-training", "470 questions, 80 steps"],
        },
    ),
    "loss_of_conversation": (
        TOKENS,
        [False] * 9 + [True] * 3 + [False],
        ["K", "abul", "<|im_end|>"],
        [7e-7, 0.002, 1e-6],
    ),
    "two_means": (
        {"short": (["Lima", "end"], [3.0, 1.0]), "long": (["It", "is", "Lima", "end"], [0.5, 0.5, 1.0, 2.0])},
    ),
    "seen_by_group": (
        {"tuned": (True, True), "rephrased": (True, False)},
        ["a statement of the fact", "a question"],
    ),
    "end_markers": ([4, 9, 5, 9, 3, 9], [None, None, 5, 9, 3, 9], [0.0, 0.0, 0.97, 0.0, 0.93, 0.0], 9),
    "shares_of_steps": (["story", "story", "fact", "fact", "task"], [15, 5, 2, 3, 5], [1, 1, 2, 2, 2]),
    "paired": ([True, True, True, False], [True, False, True, True]),
    "full_context": (TURNS, 20, lambda tries: [0, *range(1 + 2 * tries, len(TURNS))]),
}
SAYS = {
    "three_models": ["470 questions, 80 steps (data)"],
    "loss_of_conversation": ["7e−7, 0.002, 1e−6", "14.2, 6.2, 13.8"],
    "two_means": ["8.0 / 6.0 = 1.33", "3.0 / 2.0 = 1.50"],
    "seen_by_group": ["a question: yes (data), no"],
    "end_markers": ["label: −100, −100, 5, 9, 3, 9"],
    "shares_of_steps": ["50%, 16.7%, 6.7%, 10%, 16.7%", "37.5%, 12.5%, 10%, 15%, 25%"],
    "paired": ["d: 0, −1, 0, 1", "mean of d: 0.00", "0.82 / √4 = 0.41"],
    "full_context": ["together 32", "together 18"],
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_its_numbers_and_nothing_overlaps(name):
    getattr(figures, name)(*PICTURES[name])
    figure = plt.gcf()
    words = plots.alt_text(figure)
    for part in SAYS[name]:
        assert part in words, words
    assert "−0.0" not in words and "-0" not in words
    assert layout_faults(figure, 100) == []
    plt.close("all")


def test_all_pictures_are_tested():
    drawn = {
        name
        for name, function in inspect.getmembers(figures, inspect.isfunction)
        if function.__module__ == figures.__name__ and not name.startswith("_")
    }
    assert drawn - {"shares", "ranges"} == set(PICTURES)
