"""The figures of lesson 05 show the numbers they are given."""

import matplotlib.pyplot as plt
import pytest

from course_utils.lessons.lesson_05 import figures


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_dots_stand_in_the_row_of_their_name_with_the_mean():
    figures.by_name(
        {"one": {"a": [1.0, 3.0], "b": [5.0]}, "two": {"a": [4.0], "b": [6.0]}},
        "t",
        live={"two": {"b": 7.0}},
        apart=("b",),
    )
    first, second = plt.gcf().axes
    assert [list(line.get_xdata()) for line in first.lines] == [[1.0, 3.0], [2.0], [5.0], [5.0]]
    assert [list(line.get_ydata()) for line in first.lines] == [[0, 0], [0], [1], [1]]
    assert first.lines[0].get_color() != first.lines[2].get_color()
    assert list(second.lines[-1].get_xdata()) == [7.0]
    assert first.get_xlim()[0] == second.get_xlim()[0] == 0
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["a", "b"]
    low, high = first.get_ylim()
    assert low > high  # the first name is on top


def test_one_panel_alone():
    figures.by_name({"one": {"a": [1.0, 3.0]}}, "t")
    [ax] = plt.gcf().axes
    assert list(ax.lines[0].get_xdata()) == [1.0, 3.0]


def test_a_panel_that_lacks_a_name_keeps_the_rows_of_the_other():
    figures.by_name({"one": {"a": [1.0], "b": [2.0], "c": [3.0]}, "two": {"a": [4.0], "c": [6.0]}}, "t")
    second = plt.gcf().axes[1]
    assert [line.get_ydata()[0] for line in second.lines] == [0, 0, 2, 2]


def test_shares_over_the_weight_are_dots_without_lines():
    figures.along({"right": {0.0: 1.0, 0.5: 0.9}, "formal": {0.0: 1.0, 0.5: 0.2}}, "t", "weight")
    [ax] = plt.gcf().axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[100.0, 90.0], [100.0, 20.0]]
    assert {line.get_linestyle() for line in ax.lines} == {"None"}
    assert list(ax.get_xticks()) == [0.0, 0.5]
