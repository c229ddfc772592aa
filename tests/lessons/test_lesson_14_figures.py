"""Intervals, score against loss, trade-offs: what is drawn where, and in which colour."""

import matplotlib.colors as colors
import matplotlib.pyplot as plt
import pytest

from course_utils import plots
from course_utils.lessons.lesson_14 import figures


def test_intervals_that_miss_zero_stand_out_and_are_named():
    figures.intervals(
        {"clear": (0.3, 0.1, 0.6), "unclear": (0.1, -0.1, 0.2)}, "Title", "difference", {"clear": (0.2, 0.4)}
    )
    ax, fig = plt.gca(), plt.gcf()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["clear", "unclear"]
    drawn = [container for container in ax.containers if container.has_xerr]
    ends = [container.lines[2][0].get_segments()[0][:, 0].tolist() for container in drawn]
    assert ends == [pytest.approx([0.1, 0.6]), pytest.approx([-0.1, 0.2])]
    seen = [colors.to_hex(container.lines[0].get_color()).upper() for container in drawn]
    assert seen == [plots.COLOURS[1], plots.COLOURS[0]]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top
    names = {text.get_text() for text in fig.legends[0].get_texts()}
    assert names == {"the interval leaves out 0", "the interval holds 0", "questions alone"}


def test_score_beside_loss_has_a_mark_a_run():
    figures.score_and_loss({"a": [(0.1, 0.8), (0.2, 0.7)], "b": [(1.0, 0.2)]}, "Title")
    ax = plt.gca()
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 1]
    assert ax.get_ylim()[0] < 0 and ax.get_ylim()[1] == 1  # a mark at 0 is not cut
    assert [text.get_text() for text in plt.gcf().legends[0].get_texts()] == ["a", "b"]


def test_tradeoff_has_a_panel_a_cost_and_fills_its_front():
    panels = {"seconds": {"a": (1.0, 0.5), "b": (2.0, 0.4)}, "bytes": {"a": (10.0, 0.5), "b": (1000.0, 0.4)}}
    figures.tradeoff(panels, "right", "Title", logx=["bytes"], front={"seconds": ["a"], "bytes": ["a", "b"]})
    fig = plt.gcf()
    left, right = fig.axes
    assert (left.get_xlabel(), right.get_xlabel(), left.get_ylabel()) == ("seconds", "bytes", "right")
    assert (left.get_xscale(), right.get_xscale()) == ("linear", "log")
    assert [tuple(line.get_xydata()[0]) for line in right.lines] == [(10.0, 0.5), (1000.0, 0.4)]
    assert [line.get_markerfacecolor() for line in left.lines] == [plots.COLOURS[0], "none"]
    assert [line.get_markerfacecolor() for line in right.lines] == list(plots.COLOURS[:2])
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a", "b"]


def test_tradeoff_draws_intervals_and_names_only_marks():
    panels = {"seconds": {"a": (1.0, 0.5), "b": (2.0, 0.4)}}
    figures.tradeoff(panels, "right", "Title", spans={"a": (0.4, 0.6), "b": (0.3, 0.5)})
    ax = plt.gcf().axes[0]
    spans = [line.get_ydata() for line in ax.lines if line.get_marker() == "None"]
    assert [list(span) for span in spans] == [[0.4, 0.6], [0.3, 0.5]]
    assert [text.get_text() for text in plt.gcf().legends[0].get_texts()] == ["a", "b"]
