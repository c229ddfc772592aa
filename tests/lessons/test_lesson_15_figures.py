import matplotlib.pyplot as plt
import pytest

from course_utils.lessons.lesson_15 import figures


def test_groups_stand_in_order_with_one_mark_a_series():
    figures.grouped(
        {
            "upper": {"a": (0.2, 0.1, 0.4), "b": (0.9, 0.8, 1.0)},
            "lower": {"a": (0.4, 0.3, 0.5), "b": (0.1, 0.0, 0.2)},
        },
        "title",
        "share",
    )
    ax = plt.gca()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["upper", "lower"]
    places = {round(drawn.lines[0].get_xdata()[0]): drawn.lines[0].get_ydata()[0] for drawn in ax.containers}
    assert places[20] < places[90] < 0.5 < places[40] < places[10]
    assert ax.yaxis_inverted() and ax.get_xlabel() == "share"
    plt.close("all")


def test_a_level_crosses_its_own_groups_alone_and_is_named_once():
    values = {group: {"a": (0.2, 0.1, 0.4)} for group in ("upper", "middle", "lower")}
    figures.grouped(values, "title", "share", level=("guess", {"middle": 0.5, "lower": 0.7}))
    ax = plt.gca()
    levels = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in levels] == [[50, 50], [70, 70]]
    for line, place in zip(levels, (1, 2), strict=True):
        assert [round(y) for y in line.get_ydata()] == [place, place]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()].count("guess") == 1
    plt.close("all")


def test_wilsons_interval():
    share, low, high = figures.share_interval([True] * 15 + [False] * 35)
    assert (share, low, high) == pytest.approx((0.3, 0.1910, 0.4375), abs=1e-3)
    assert figures.share_interval([True] * 20)[2] == pytest.approx(1.0)
    assert figures.share_interval([False] * 20)[1] == pytest.approx(0.0, abs=1e-9)
    assert figures.seed_range([0.2, 0.4, 0.9]) == (pytest.approx(0.5), 0.2, 0.9)
