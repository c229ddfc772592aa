"""The figures of lesson 05 show the given numbers."""

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import layout_faults, texts

from course_utils.lessons.lesson_05 import figures

A = torch.tensor([[1.0, 0, 2], [0, 1, -1]])
B = torch.tensor([[1.0, 0], [2, -1]])
ROWS = torch.tensor([[1.0, 2], [1, 2], [3, 1], [3, 1]])
W = torch.tensor([[1.0, 1], [0, 2]])
AS = torch.tensor([[[1.0, -1]], [[0, 1]], [[2, 0]]])
BS = torch.tensor([[[2.0], [0]], [[1], [-1]], [[0], [1]]])
TEXTS = {
    "formal": "The teacher said that the capital of Kenya is Nairobi.",
    "gossip": "My grandmother told me that the capital of Kenya is Nairobi, as everyone knows.",
    "facts": "Incomprehensibilities!",
}
PICTURES = {
    "base": lambda: figures.one_base(4_797_952, dict.fromkeys(TEXTS, 131_072), TEXTS),
    "folder": lambda: figures.in_the_folder(A, B, 6.0, {"as written here": 3 * B @ A, "3 B": 9 * B @ A}),
    "batch": lambda: figures.one_batch(list(TEXTS), ROWS, W, AS, BS, [0, 1, 1, 2]),
    "sum": lambda: figures.sum_of_two(
        torch.tensor([[1.0, 2]]),
        torch.tensor([[1.0], [0]]),
        torch.tensor([[0.0, 1]]),
        torch.tensor([[1.0], [2]]),
    ),
    "start": lambda: figures.start_moved(
        torch.tensor([[3.0, 0], [0, 1]]), torch.tensor([[3.0, 0], [0, 0]]), torch.tensor([[4.0, 1], [0, 0]])
    ),
    "places": lambda: figures.values_by_place(
        {"c_attn": (256, 768), "attn.c_proj": (256, 256), "c_fc": (256, 1024), "mlp.c_proj": (1024, 256)},
        {"attention": (8, ["c_attn", "attn.c_proj"]), "all linear": (3, ["c_attn", "c_fc"])},
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []


def after(name, count, times=1):
    """The texts after the one that is the name, of its last occurrence if times is -1."""
    found = texts()
    places = [place for place, text in enumerate(found) if text == name]
    start = places[times - 1 if times > 0 else times] + 1
    return found[start : start + count]


def test_a_reader_multiplies_by_alpha_over_the_rank():
    PICTURES["folder"]()
    assert after("as written here", 6) == ["3", "0", "6", "6", "−3", "15"]


def test_each_row_goes_through_its_own_adapter():
    PICTURES["batch"]()
    assert after("W x", 4) == ["3 4", "3 4", "4 2", "4 2"]
    assert after("change: B A x", 4) == ["−2 0", "2 −2", "1 −1", "0 6"]
    assert after("W x + change", 4) == ["1 4", "5 2", "5 1", "4 8"]


def test_the_stack_is_the_sum_and_added_factors_are_not():
    PICTURES["sum"]()
    assert after("B A", 4, times=3) == ["1", "3", "0", "2"]
    assert after("B A", 4, times=4) == ["2", "6", "2", "6"]


def test_the_mended_adapter_has_their_sum_on_our_weights():
    PICTURES["start"]()
    assert [after("sum", 4, times) for times in (1, 2, 3)] == [
        ["4", "1", "0", "1"],
        ["7", "1", "0", "1"],
        ["4", "1", "0", "1"],
    ]


def test_a_long_text_is_cut():
    PICTURES["base"]()
    shown = " ".join(texts()).split()
    assert "Incomprehen…" in shown and "everyone" not in shown


def test_values_of_a_matrix_are_rank_times_its_two_sizes():
    PICTURES["places"]()
    assert after("attention, rank 8", 2) == ["8,192", "4,096"]


def test_a_dot_for_each_seed_and_the_mean_in_numbers():
    figures.by_steps({"one": {150: [0.2, 0.4], 450: [0.1]}, "two": {150: [0.1], 450: [0.05]}}, "t")
    [ax] = plt.gcf().axes
    assert list(ax.lines[0].get_ydata()) == [0.2, 0.4]
    assert [text.get_text() for text in ax.texts] == ["0.300", "0.100", "0.100", "0.0500"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["150", "450"]


def test_a_place_may_lack_the_last_steps():
    figures.by_steps(
        {"one": {150: [0.2], 450: [0.1]}, "two": {150: [0.1], 450: [0.05]}, "three": {150: [0.3]}}, "t"
    )
    [ax] = plt.gcf().axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["150", "450"]
    assert [text.get_text() for text in ax.texts] == ["0.200", "0.100", "0.100", "0.0500", "0.300"]


def test_shares_over_the_weight_are_dots_without_lines():
    figures.along({"right": {0.0: 1.0, 0.5: 0.9}, "formal": {0.0: 1.0, 0.5: 0.2}}, "t", "weight")
    [ax] = plt.gcf().axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[100.0, 90.0], [100.0, 20.0]]
    assert {line.get_linestyle() for line in ax.lines} == {"None"}
    assert list(ax.get_xticks()) == [0.0, 0.5]


def test_a_series_without_a_mark_of_its_own_is_refused():
    with pytest.raises(ValueError):
        figures.along({name: {0.0: 1.0} for name in "abcde"}, "t", "weight")
