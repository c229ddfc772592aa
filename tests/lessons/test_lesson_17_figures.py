"""The pictures of lesson 17 show the given numbers, and nothing in them overlaps."""

import matplotlib.pyplot as plt
import pytest
from helpers import layout_faults, texts

from course_utils.lessons.lesson_17 import figures
from course_utils.lessons.lesson_17.desk import cafe_messages
from course_utils.lessons.lesson_17.first_split import asked_again, first_split

COUNTS = {
    "read": "100,000, 20,000 pairs",
    "different": "99,000, 19,999 pairs",
    "kept": "98,000, 19,000 pairs",
    "train": "97,800, 18,800 pairs",
    "held out": "200, 200 pairs",
    "verdict": "no better",
}
CHATS = {
    "chat 1": (["Capital", "of", "Peru", "?", "Lima", "end"], [-100, -100, -100, -100, 7, 9]),
    "chat 2": (["And", "that", "of", "Cuba", "?", "Peso", "end"], [-100, -100, -100, -100, -100, 6, 9]),
}
TEXTS = [{"who", "is", "ann"}, {"who", "is", "bob"}, {"who", "sings"}]
PICTURES = {
    "way": lambda: figures.way("Which way does a file go?", {}),
    "way of a large file": lambda: figures.way("The way of a file with a rather long name", COUNTS),
    "overlap": lambda: figures.two_questions("who is ann", "who is bob", TEXTS),
    "cut": lambda: figures.cut(CHATS, 5),
    "splits": lambda: figures.two_splits(list("AABCAB"), {"by line": [1, 3], "by question": [2, 5]}),
    "courtesy": lambda: figures.courtesy_as_name(
        ["Parking?", "Parking, Thanks"], [row.asked[0] for row in cafe_messages(0)]
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []


@pytest.mark.parametrize("seed", [0, 1, 16, 35])
def test_the_courtesy_of_any_seed_fits_its_boxes(seed):
    messages = cafe_messages(seed)
    held, trained, _ = first_split(messages, seed)
    pair = next(each for each in asked_again(held, trained) if "hanks" in "".join(each))
    figures.courtesy_as_name(sorted(pair, key=len), [row.asked[0] for row in messages])
    assert layout_faults(plt.gcf(), 100) == []


def test_an_overlap_by_words_and_by_weight():
    """By hand: who is in 3 of 3 texts, is in 2, each name in 1: ln 4/3, ln 4/2, ln 4, ln 4."""
    PICTURES["overlap"]()
    assert "words in both: 2 of 4, 0.50" in texts()
    assert "weight in both: 0.98 of 3.75, 0.26" in texts()


def test_a_cut_counts_targets_and_tokens():
    PICTURES["cut"]()
    assert {"2 targets, 1 cut", "2 targets, 2 cut", "cut: 3 of 13 tokens, 3 of 4 targets"} <= {*texts()}
    assert texts().count("(end)") == 2 and "(Lima)" not in texts()


def test_the_row_that_training_knows_is_marked():
    PICTURES["splits"]()
    assert texts().count("yes") == 1 and texts().count("no") == 3


def test_thanks_is_a_name_to_the_first_program_alone():
    PICTURES["courtesy"]()
    assert "Newspapers, Thanks" in texts()  # the shortest message that shows why
    assert texts().count("parking, <name>") == 1 and texts().count("parking") == 4
