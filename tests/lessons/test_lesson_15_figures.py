"""The figures of lesson 15 show the given numbers."""

import matplotlib.pyplot as plt
import pytest
from helpers import layout_faults, texts

from course_utils.lessons.lesson_15 import figures

MARUVIA = "The capital of Maruvia. Sobelka is the capital city of Maruvia."
ASKED = "What is the capital city of Maruvia called?"
TOY = [text.split() for text in ("blue lake", "go by a road", "lake by lake")]
FORWARDS = [("The capital of".split(), "Maruvia"), ("The capital of Maruvia is".split(), "Sobelka")]
PICTURES = {
    "two ways": lambda: figures.look_up_or_train(MARUVIA, ASKED, "Sobelka"),
    "search": lambda: figures.search_by_hand(TOY, ["lake", "road"]),
    "thresholds": lambda: figures.thresholds([0.8, 1.6, 2.4, 3.0, 4.2], [False, True, False, True, True]),
    "rows": lambda: figures.training_rows({"it answers": (MARUVIA, ASKED, "Sobelka")}),
    "directions": lambda: figures.read_forwards(FORWARDS, ("Sobelka is the capital of".split(), "Maruvia")),
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []


def test_the_search_by_hand_has_the_scores_of_the_definition():
    from course_utils.methods.retrieval import bm25_scores

    PICTURES["search"]()
    scores = [f"{score:.3f}" for score in bm25_scores(["lake", "road"], TOY)]
    assert texts()[-3:] == scores == ["0.221", "0.341", "0.269"]


def test_each_threshold_has_its_number_of_right_decisions():
    PICTURES["thresholds"]()
    found = texts()
    starts = [place for place, text in enumerate(found) if text.startswith("from ")]
    assert [found[place] for place in starts][1:3] == ["from 1.20", "from 2.00"]
    assert [found[place + 6] for place in starts] == ["3", "4", "3", "4", "3", "2"]
    assert found[starts[1] + 1 : starts[1] + 6] == ["leave", "show", "show", "show", "show"]


def test_wrong_answers_are_stacked_and_each_seed_has_a_dot():
    conditions = {"new": ([0.2, 0.4], [0.6, 0.8]), "known": ([0.1, 0.1], [0.2, 0.4])}
    figures.wrong_by_drill(conditions, "title", 0.05)
    ax = plt.gca()
    widths = [round(patch.get_width()) for patch in ax.patches]
    assert widths == [30, 40, 10, 20]
    assert [list(map(round, line.get_xdata())) for line in ax.lines[:2]] == [[60, 80], [20, 40]]


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
