"""The figure of lessons 12 and 13: scores over the distance from the reference."""

import matplotlib.pyplot as plt
import pytest

from course_utils.lessons.lesson_12 import figures


def test_means_runs_and_marks_stand_at_the_root_of_the_kl():
    points = [
        [{"kl": 4.0, "proxy": 1.0, "gold": 0.2}, {"kl": 16.0, "proxy": 3.0, "gold": 0.4}],
        [{"kl": 25.0, "proxy": 5.0, "gold": 0.1}],
    ]
    figures.over_distance({"PPO": points}, "title", {"this run": {"kl": -0.1, "proxy": 0.0, "gold": 0.3}})
    for ax, means, runs, mark in zip(
        plt.gcf().axes, ([2.0, 5.0], [0.3, 0.1]), ([1, 3, 5], [0.2, 0.4, 0.1]), (0.0, 0.3), strict=True
    ):
        line, dots, star = ax.lines
        assert line.get_xdata() == pytest.approx([3.0, 5.0]) and line.get_ydata() == pytest.approx(means)
        assert list(dots.get_xdata()) == [2.0, 4.0, 5.0] and dots.get_ydata() == pytest.approx(runs)
        assert list(star.get_xdata()) == [0.0] and list(star.get_ydata()) == [mark]
    assert [text.get_text() for text in plt.gcf().axes[1].get_legend().get_texts()] == ["PPO", "this run"]
    plt.close("all")
