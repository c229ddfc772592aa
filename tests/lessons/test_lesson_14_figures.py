"""Pictures, intervals, score against loss, trade-offs: what is drawn where, and in which colour."""

import matplotlib.colors as colors
import matplotlib.pyplot as plt
import pytest
from helpers import layout_faults, texts

from course_utils import plots
from course_utils.lessons.lesson_14 import figures, suspects

REQUEST = (
    "Name these: the colour of candyfloss; the author of The Wind in the Willows; the legs of an earthworm."
)
BEGINNINGS = [
    "The colour of candyfloss:",
    "The author of The Wind in the Willows:",
    "The legs of an earthworm:",
]
TOY = {"a": (0.9, 8), "b": (0.9, 9), "c": (0.7, 3), "d": (0.6, 4), "e": (0.7, 3)}
PICTURES = {
    "calls": lambda: figures.three_calls(REQUEST, BEGINNINGS, ['"pink"', "K", '"no"'], ["pink", "K", "no"]),
    "rates": lambda: figures.scores_by_rate(
        {"full": {1e-4: 0.1, 5e-4: 0.48}, "LoRA": {1e-3: 0.1, 1e-2: 0.56}}, "Which rate?"
    ),
    "draw": lambda: figures.one_draw(
        [[1, 1, 0, 1], [1, 0, 0, 1]], [[1, 0, 0, 0], [1, 0, 0, 1]], [1, 1, 2, 3], ([0, 0], [1, 0])
    ),
    "beaten": lambda: figures.who_beats(TOY, ["a", "c", "e"]),
    "paid": lambda: figures.paid_by_answers(30, 0.1, 0.4, [0, 50, 99, 100, 150]),
    "tree": lambda: figures.decision_tree(
        {"facts": {"few": "long context", "many": "LoRA"}, "tone": {"": "DPO"}}
    ),
}


def after(name, count):
    """The texts that stand right of the last row with this name."""
    found = texts()
    start = len(found) - found[::-1].index(name)
    return found[start : start + count]


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []


def bold():
    return [text.get_text() for text in plt.gcf().axes[0].texts if text.get_weight() == "bold"]


def test_each_method_has_its_best_rate_in_bold():
    PICTURES["rates"]()
    assert bold() == ["48", "56"]
    assert texts()[1:6] == ["rate", "1e-4", "5e-4", "1e-3", "1e-2"]


def test_a_draw_takes_the_same_lists_for_both_and_its_own_seeds_for_each():
    PICTURES["draw"]()
    assert after("list", 5) == ["2", "2", "3", "4", "mean"]
    assert after("B, seed 2", 4) == ["0", "0", "0", "1"]
    assert bold() == [
        "measured",
        "0.625",
        "0.375",
        "+0.250",
        "one draw, with replacement",
        "0.750",
        "0.125",
        "+0.625",
    ]


def test_what_is_beaten_names_a_method_that_beats_it():
    PICTURES["beaten"]()
    assert after("beaten by", 5) == ["none", "a", "none", "c", "none"]


def test_the_cheaper_is_bold_and_at_break_even_both_have_cost_the_same():
    PICTURES["paid"]()
    assert bold() == ["40.0", "45.0", "0.0", "20.0", "39.6"]
    assert after("tuned", 4)[-1] == after("not tuned", 4)[-1] == "40.0"


def test_only_what_trains_is_drawn_as_trained():
    PICTURES["tree"]()
    assert plt.gcf().axes[0].texts[-1].get_text() == "trained"
    assert [figures.trains(taken) for taken in ("long context", "the larger model", "retrieval")] == [
        False
    ] * 3


def test_memory_has_a_mark_a_method_and_forgetting_a_line():
    figures.memory_and_forgetting(
        {"a": (160.0, 0.6), "b": (200.0, 0.5)},
        ["a"],
        {"a": (0.5, 0.7), "b": (0.4, 0.6)},
        {"a": ([1.0, 2.0], [0.4, 0.6]), "b": ([1.0, 3.0], [0.3, 0.5])},
        "Title",
        {"b": (1, "b, 3e-3")},
    )
    left, right = plt.gcf().axes
    assert [(text.get_text(), text.xy) for text in right.texts] == [("b, 3e-3", (3.0, 0.5))]
    marks = [line for line in left.lines if line.get_marker() != "None"]
    assert [line.get_markerfacecolor() for line in marks] == [plots.COLOURS[0], "none"]
    assert [line.get_xdata().tolist() for line in right.lines] == [[1.0, 2.0], [1.0, 3.0]]
    assert [line.get_color() for line in right.lines] == [line.get_color() for line in marks]
    assert [text.get_text() for text in plt.gcf().legends[0].get_texts()] == ["a", "b"]


def test_the_runs_of_a_report_are_shown_with_both_seeds():
    runs, _ = suspects.comparison("Q", suspects.shown_seed())
    rows = suspects.as_rows(runs)
    assert [row["rate"] for row in rows] == [f"{rate:g}" for rate in suspects.QUALITY]
    assert [bool(row["old: choose"]) for row in rows] == [True, True] + [False] * 6
    shown = [float(text) / 100 for row in rows for text in row["new: judge"].split()]
    judged = {rate: [] for rate in suspects.QUALITY}
    for run in runs:
        if run["method"] == "new":
            judged[run["setting"]].append(run["judge"])
    assert shown == pytest.approx([value for values in judged.values() for value in values])


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
    assert names == {"the interval leaves out 0", "the interval holds 0", "other lists alone"}


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
