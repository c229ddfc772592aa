"""The figures of lesson 04 show the numbers they are given."""

import matplotlib.pyplot as plt
import pytest

from course_utils import plots
from course_utils.lessons.lesson_04 import figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


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
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["change", "random"]


def test_a_page_fills_its_panels_and_leaves_the_rest_empty():
    drawn = []

    def draw(ax):
        drawn.append(ax)
        ax.plot([1, 2], [3, 4])

    figures.panels("All of it", {"one": ("x", "y", draw), "two": ("u", "v", draw), "three": ("r", "s", draw)})
    axes = plt.gcf().axes
    assert drawn == axes[:3] and len(axes) == 4 and not axes[3].axison
    assert [(ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()) for ax in axes[:3]] == [
        ("one", "x", "y"),
        ("two", "u", "v"),
        ("three", "r", "s"),
    ]
    assert plt.gcf().get_suptitle() == "All of it"
