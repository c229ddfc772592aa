import matplotlib.pyplot as plt

from course_utils.lessons.lesson_15 import figures


def test_groups_stand_in_order_with_one_bar_a_series():
    figures.grouped({"upper": {"a": 0.2, "b": 0.9}, "lower": {"a": 0.4, "b": 0.1}}, "title", "share")
    ax = plt.gca()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["upper", "lower"]
    a, b = ax.containers
    assert [round(bar.get_width(), 1) for bar in [*a, *b]] == [0.2, 0.4, 0.9, 0.1]
    (a_up, a_low), (b_up, b_low) = ([bar.get_y() + bar.get_height() / 2 for bar in bars] for bars in (a, b))
    assert a_up < b_up < 0.5 < a_low < b_low
    assert ax.yaxis_inverted() and ax.get_xlabel() == "share"
    plt.close("all")
