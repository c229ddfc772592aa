"""The figure of lesson 05 shows the given numbers."""

import matplotlib.pyplot as plt
import pytest

from course_utils.lessons.lesson_05 import figures


def test_shares_over_the_weight_are_dots_without_lines():
    figures.along({"right": {0.0: 1.0, 0.5: 0.9}, "formal": {0.0: 1.0, 0.5: 0.2}}, "t", "weight")
    [ax] = plt.gcf().axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[100.0, 90.0], [100.0, 20.0]]
    assert {line.get_linestyle() for line in ax.lines} == {"None"}
    assert list(ax.get_xticks()) == [0.0, 0.5]


def test_a_series_without_a_mark_of_its_own_is_refused():
    with pytest.raises(ValueError):
        figures.along({name: {0.0: 1.0} for name in "abcde"}, "t", "weight")
