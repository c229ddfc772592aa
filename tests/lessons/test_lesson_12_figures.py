"""The figures of lessons 12 and 13: scores over iterations, and over the distance from the reference."""

import matplotlib.pyplot as plt
import pytest

from course_utils.lessons.lesson_12 import figures


def test_a_training_has_proxy_gold_and_kl_by_iteration_raw_and_smoothed():
    diary = [{"proxy": float(i), "gold": i / 10} for i in range(4)]
    figures.over_iterations(diary, [{"kl": 3.0 * i} for i in range(4)], "title")
    for ax, last in zip(plt.gcf().axes, (3.0, 0.3, 9.0), strict=True):
        raw, smoothed = ax.lines
        assert list(raw.get_xdata()) == list(smoothed.get_xdata()) == [1, 2, 3, 4]
        assert raw.get_ydata()[-1] == pytest.approx(last) and smoothed.get_ydata()[0] == raw.get_ydata()[0]
    assert [ax.get_title("left") for ax in plt.gcf().axes] == list(figures.SCORE_LABELS.values())
    plt.close("all")


def test_stored_courses_are_means_with_bands_named_once():
    gold = {0.0: {2: [0.1, 0.9], 3: [0.4, 0.5]}, 0.1: {2: [0.4, 0.5], 3: [0.5, 0.5]}}
    courses = {beta: {"proxy": {2: [0.0], 3: [1 - beta * 9]}, "gold": each} for beta, each in gold.items()}
    figures.stored_courses(courses, "title")
    proxy, right = plt.gcf().axes
    assert right.lines[0].get_ydata() == pytest.approx([0.5, 0.45])
    assert right.collections[0].get_datalim(right.transData).intervaly == pytest.approx([0.1, 0.9])
    assert [text.get_text() for text in proxy.texts] == ["β = 0", "β = 0.1"]
    assert proxy.get_legend() is None and right.get_legend() is None
    plt.close("all")


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
