"""The figures of lesson 05 show the numbers they are given."""

import matplotlib.pyplot as plt
import pytest

from course_utils.lessons.lesson_05 import figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_dots_stand_in_the_row_of_their_name_with_the_mean():
    figures.by_name({"a": [1.0, 3.0], "b": [5.0]}, "t", live={"b": 7.0})
    [ax] = plt.gcf().axes
    assert [list(line.get_xdata()) for line in ax.lines] == [[1.0, 3.0], [2.0], [5.0], [5.0], [7.0]]
    assert [list(line.get_ydata()) for line in ax.lines[:4]] == [[0, 0], [0], [1], [1]]
    assert ax.get_xlim()[0] == 0
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]
    low, high = ax.get_ylim()
    assert low > high  # the first name is on top


def test_shares_over_the_weight_are_dots_without_lines():
    figures.along({"right": {0.0: 1.0, 0.5: 0.9}, "formal": {0.0: 1.0, 0.5: 0.2}}, "t", "weight")
    [ax] = plt.gcf().axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[100.0, 90.0], [100.0, 20.0]]
    assert {line.get_linestyle() for line in ax.lines} == {"None"}
    assert list(ax.get_xticks()) == [0.0, 0.5]
