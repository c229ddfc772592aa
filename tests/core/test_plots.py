import matplotlib.pyplot as plt
import pytest

from course_utils import plots


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


class History:
    rows = ({"step": 1, "loss": 4.0}, {"step": 2, "loss": 2.0, "held_out_loss": 3.0})

    def column(self, name):
        rows = [row for row in self.rows if name in row]
        return [row["step"] for row in rows], [row[name] for row in rows]


def test_history_draws_training_and_evaluations_with_units():
    plots.history(History(), "It falls")
    [ax] = plt.gcf().axes
    assert [line.get_label() for line in ax.lines[1:]] == ["training", "held out loss"]
    assert list(ax.lines[2].get_ydata()) == [3.0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "loss (nats a token)")
    assert plt.gcf().get_suptitle() == "It falls"


def test_smoothing_has_no_bias_at_the_start_and_keeps_constants():
    assert plots.smooth([3.0] * 50) == pytest.approx([3.0] * 50)
    assert plots.smooth([5.0, 1.0, 1.0])[0] == 5.0
    # half weights: (1/2 * 4 + 1/4 * 1) / (3/4) at the second of two values, by hand
    assert plots.smooth([1.0, 4.0], share=1.0) == pytest.approx([1.0, 3.0])


def test_bars_stand_in_order_and_tokens_are_readable():
    plots.bars({" Paris": 0.5, "$x$\n": 0.25, "two words": 0.1}, "title", "probability")
    [ax] = plt.gcf().axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["·Paris", r"\$x\$\n", "two words"]
    assert [bar.get_width() for bar in ax.patches] == [0.5, 0.25, 0.1]
    assert ax.yaxis_inverted()
    plt.gcf().canvas.draw()


def test_lines_have_logarithmic_axes_and_a_legend_where_there_are_several():
    plots.lines({"a": ([1, 10], [2, 3]), "b": ([1, 10], [3, 4])}, "t", "x", "y", logx=True)
    [ax] = plt.gcf().axes
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert ax.get_legend() is None and [text.get_text() for text in ax.texts] == ["a", "b"]


def test_lines_that_end_too_close_have_a_legend():
    plots.lines({"a": ([1, 10], [2, 3]), "b": ([1, 10], [0, 3.05])}, "t", "x", "y")
    [ax] = plt.gcf().axes
    assert not ax.texts and [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
