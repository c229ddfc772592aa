"""The medians and the middle nine tenths that spreads draws."""

import matplotlib.pyplot as plt
import pytest

from course_utils.lessons.lesson_11 import figures


def test_spreads_draws_median_and_nine_tenths():
    _, ax = plt.subplots()
    figures.spreads({"even": range(101), "one": [7.0]}, "title", "label", ax=ax)
    bars, dots = ax.lines[::2], ax.lines[1::2]
    assert [list(line.get_xdata()) for line in bars] == [pytest.approx([5, 95]), [7, 7]]
    assert [line.get_xdata()[0] for line in dots] == [50, 7]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["even", "one"]
    plt.close("all")
