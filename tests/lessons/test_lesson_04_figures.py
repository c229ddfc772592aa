"""The figures of lesson 04 show the given numbers."""

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import layout_faults

from course_utils import plots
from course_utils.lessons.lesson_04 import figures


def test_bands_draw_means_and_ranges():
    plots.bands({"a": {1: [2.0, 4.0], 8: [1.0, 1.5]}, "b": {1: [9.0], 8: [8.0]}}, "t", "x", "y", logx=True)
    [ax] = plt.gcf().axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[3.0, 1.25], [9.0, 8.0]]
    heights = [tuple(area.get_paths()[0].get_extents().intervaly) for area in ax.collections]
    assert heights == [(1.0, 4.0), (8.0, 9.0)]
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "x"
    plt.gcf().canvas.draw()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "8"]
    assert [text.get_text() for text in ax.texts] == ["a", "b"]


def test_bands_keep_the_colours_of_their_lines_on_given_axes():
    _, ax = plots.figure("t", "x", "y")
    ax.plot([1], [1])
    plots.bands({"a": {1: [1.0, 2.0], 2: [2.0, 3.0]}}, "", "", "", ax=ax)
    colours = [line.get_color() for line in ax.lines]
    assert colours[0] != colours[1]
    assert plots.mpl.colors.same_color(ax.collections[0].get_facecolor()[0][:3], colours[1])


def test_energy_has_a_panel_for_each_kind_of_layer():
    layers = [f"transformer.h.{block}.{kind}" for kind in ("attn.c_attn", "mlp.c_fc") for block in (0, 1)]
    curves = {
        matrix: {layer: [0.5 + shift, 1.0] for layer in layers}
        for matrix, shift in (("change", 0.25), ("random", 0.0))
    }
    figures.energy_by_layer(curves, "title")
    axes = plt.gcf().axes
    assert [ax.get_title(loc="left") for ax in axes] == ["attn.c_attn", "mlp.c_fc"]
    for ax in axes:
        assert [list(line.get_ydata()) for line in ax.lines] == 2 * [[0.75, 1.0]] + 2 * [[0.5, 1.0]]
        assert list(ax.lines[0].get_xdata()) == [1, 2]
    [legend] = plt.gcf().legends
    assert [text.get_text() for text in legend.get_texts()] == ["change", "random"]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_cuts_show_means_ranges_levels_and_the_live_run():
    figures.cuts(
        {"best": {1: [2.0, 4.0], 8: [1.0, 1.0]}}, {"base": 9.0, "tuned": 0.5}, "t", {"live": {1: 2.5}}
    )
    [ax] = plt.gcf().axes
    by_label = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert by_label["best"] == [3.0, 1.0] and by_label["live"] == [2.5]
    assert set(by_label["base"]) == {9.0} and set(by_label["tuned"]) == {0.5}
    [spread] = ax.collections
    assert [segment[:, 1].tolist() for segment in spread.get_segments()] == [[2.0, 4.0], [1.0, 1.0]]


def test_losses_stand_over_the_trained_values_with_their_ranks():
    places = {
        "c_attn": {4096: (1, [2.0, 3.0])},
        "all": {16384: (1, [1.0])},
        "full": {3_000_000: (None, [0.5])},
    }
    figures.by_values({"one": places, "two": {"c_attn": {4096: (1, [1.0])}}}, "t", {"two": (4096, 1.5)})
    left, right = plt.gcf().axes
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in left.lines[:1]] == [([4096], [2.5])]
    assert texts(left) == ["r 1", "r 1"] and texts(right) == ["r 1"]
    assert (right.lines[-1].get_xdata()[0], right.lines[-1].get_ydata()[0]) == (4096, 1.5)


def test_losses_by_rate_have_a_panel_a_scale_and_a_line_a_rank():
    figures.by_rate({"a": {1: {0.01: [2.0, 4.0], 0.1: [1.0]}}, "b": {8: {0.01: [0.5]}}}, "t")
    left, right = plt.gcf().axes
    assert [list(line.get_ydata()) for line in left.lines[:1]] == [[3.0, 1.0]]
    assert right.lines[0].get_label() == "rank 8" and list(right.lines[0].get_ydata()) == [0.5]


def test_dimensions_are_shown_in_per_cent_beside_ninety():
    figures.dimensions({10: [0.2, 0.4], 100: [0.9, 0.9]}, "t", (100, 0.8))
    [ax] = plt.gcf().axes
    assert list(ax.lines[0].get_ydata()) == pytest.approx([30.0, 90.0])
    assert ax.lines[-1].get_ydata()[0] == 80.0


COLUMNS = torch.tensor([[0.6, 0.8], [0.8, -0.6]])  # (out, 2)
ROWS = torch.tensor([[10.0, 10.0, 5.0], [-2.0, 1.0, 2.0]])  # (2, in)
MATRIX, FIRST = COLUMNS @ ROWS, COLUMNS[:, :1] @ ROWS[:1]
SIZES = {"c_attn": (256, 768), "attn.c_proj": (256, 256), "c_fc": (256, 1024)}
PICTURES = {
    "sum": lambda: figures.sum_of_pieces(COLUMNS, ROWS),
    "two": lambda: figures.two_cuts(MATRIX, {"piece 1": FIRST, "zeros": 0 * FIRST}),
    "cut": lambda: figures.cut_weights(torch.eye(2, 3), MATRIX, FIRST),
    "token": lambda: figures.pieces_on_a_token(COLUMNS, ROWS, torch.tensor([1.0, -1.0, 0.0])),
    "adapters": lambda: figures.adapters_of_a_block(
        SIZES, {"one": {"c_attn": 4}, "all": dict.fromkeys(SIZES, 1)}, blocks=4
    ),
}
SAID = {  # by hand
    "sum": [
        "6.0 6.0 3.0; 8.0 8.0 4.0",
        "the matrix: 4.4 6.8 4.6; 9.2 7.4 2.8",
        "6.0 + \N{MINUS SIGN}1.6 = 4.4",
    ],
    "two": ["squares: 9.0 in all. error, the root: 3.0", "squares: 234.0 in all. error, the root: 15.3"],
    "cut": ["set(1). W before: 1.0 0.0 0.0; 0.0 1.0 0.0", "[in, out]: 7.0 8.0; 6.0 9.0; 3.0 4.0"],
    "token": ["piece 1, 96% of the energy", "reads: 0.0", "writes: \N{MINUS SIGN}2.4 1.8"],
    "adapters": ["4 × 1,024 (trained)", "frozen (frozen)", "in 4 blocks. 16,384. 11,264"],
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_says_what_was_computed_and_nothing_overlaps(name):
    PICTURES[name]()
    plots.make_legible(plt.gcf())
    words = plots.alt_text(plt.gcf())
    assert [part for part in SAID[name] if part not in words] == []
    for dpi in (72, 96, 192):
        assert layout_faults(plt.gcf(), dpi) == []


def test_energy_stands_beside_the_gain_in_per_cent():
    figures.energy_and_gain({"the change": [0.5, 1.0]}, {1: 0.9, 2: 1.0}, "t")
    [ax] = plt.gcf().axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[50.0, 100.0], [90.0, 100.0]]
    assert [line.get_label() for line in ax.lines] == ["energy: the change", "gain: the change"]
