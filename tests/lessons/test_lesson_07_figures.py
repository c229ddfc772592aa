"""The figures of lesson 07 show the given numbers."""

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import layout_faults, texts
from matplotlib.colors import to_rgba

from course_utils.drawing import MEANINGS
from course_utils.lessons.lesson_07 import figures

PERU = (["Peru", "?", "Lima"], [1, 1, 1], [-100, -100, 87])
PADDED = (["pad", "Hello", "Hi"], [0, 1, 1], [-100, -100, 41])
KEYS = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
VALUES = torch.tensor([[4.0, 0.0], [1.0, 3.0], [-1.0, 2.0]])
PICTURES = {
    "looked up": lambda: figures.looked_up(
        torch.tensor([[0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]]), ["What"], [2], torch.eye(4) * 0.5
    ),
    "in front": lambda: figures.in_front({"whole": PERU, "padded": PADDED}, 2),
    "mistakes": lambda: figures.two_mistakes(PERU[0], PERU[2], ["Hello", "Hi", "pad"], length=2),
    "numberings": lambda: figures.numberings(["pad", *PERU[0]], [0, 1, 1, 1], 2),
    "read": lambda: figures.read_by_token(
        ["p1", "p2", "Peru"], torch.tensor([1.0, 2.0]), KEYS, VALUES, length=2
    ),
    "parts": lambda: figures.prefix_in_parts(torch.arange(16.0).view(2, 8), heads=2),
}


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []


def row(name):
    """The cells of the row with this name, in a picture with one such row."""
    found = texts()
    start = found.index(name) + 1
    return found[start : start + 5]


def test_vectors_of_the_text_are_rows_of_the_table():
    PICTURES["looked up"]()
    assert row("vector")[:3] == ["0.10", "1.00", "0.00"]
    assert texts()[texts().index("token number") + 1] == "2"


def test_the_text_begins_at_p_wherever_padding_stands():
    figures.in_front({"padded": PADDED}, 2)
    assert row("position") == ["0", "1", "any", "2", "3"]
    assert row("mask") == ["1", "1", "0", "1", "1"]
    assert row("label") == ["−100", "−100", "−100", "−100", "41"]


def test_a_short_mask_is_filled_up_at_its_end_and_a_label_moves_to_the_prompt():
    PICTURES["mistakes"]()
    found = texts()
    starts = [place + 1 for place, text in enumerate(found) if text == "mask, filled up"]
    assert [found[start : start + 5] for start in starts] == [[*"11100"], [*"11000"]]
    assert row("label") == ["−100", "−100", "−100", "−100", "87"]


def test_the_script_counts_the_text_from_0():
    PICTURES["numberings"]()
    found = texts()
    start = found.index("the script") + 1
    assert found[start : start + 6] == ["0", "1", "any", "0", "1", "2"]


def test_what_a_token_takes_is_the_weighted_sum_of_values():
    PICTURES["read"]()
    weights = (KEYS @ torch.tensor([1.0, 2.0]) / 2**0.5).softmax(0)
    taken = " ".join(f"{value:.2f}" for value in (weights @ VALUES).tolist())
    assert texts()[texts().index("taken: their sum") + 1] == taken
    assert row("weight: softmax")[:3] == [f"{weight:.2f}" for weight in weights.tolist()]


def test_a_prefix_is_cut_as_the_exercise_asks():
    PICTURES["parts"]()
    found = texts()
    start = found.index("values, head 0") + 1
    assert found[start : start + 4] == ["4", "5", "12", "13"]


def test_a_prompt_is_trained_in_one_row_and_a_prefix_in_every_layer():
    figures.prompt_and_prefix(length=3, tokens=4, layers=5)
    counts = {}
    for ax in plt.gcf().axes:
        rows, frozen = (
            [round(cell.get_y()) for cell in ax.patches if cell.get_facecolor() == to_rgba(ground)]
            for ground in (MEANINGS["trained"].ground, MEANINGS["frozen"].ground)
        )
        counts[ax.get_title(loc="left")] = (sorted(set(rows)), len(rows), len(rows) + len(frozen))
    assert counts == {"prompt tuning": ([0], 3, 7 * 6), "prefix tuning": ([1, 2, 3, 4, 5], 15, 7 * 6 - 3)}


def test_every_seed_has_a_dot():
    groups = {"50 steps": {"prompt": [0.2, 0.3], "LoRA": [0.1, 0.1]}, "250 steps": {"prompt": [0.1, 0.2]}}
    figures.seeds_by_method(groups, "The prompt is behind")
    dots = [
        [tuple(round(y, 3) for _, y in each.get_offsets()) for each in ax.collections]
        for ax in plt.gcf().axes
    ]
    assert dots == [[(0.2, 0.3), (0.1, 0.1)], [(0.1, 0.2)]]
    assert all(ax.get_ylim()[0] == 0 for ax in plt.gcf().axes)
