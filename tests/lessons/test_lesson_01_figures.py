"""The pictures of lesson 01: nothing overlaps, and their numbers come out by hand."""

import math

import matplotlib.pyplot as plt
import pytest
from helpers import faults_of
from matplotlib.patches import Circle, FancyArrowPatch

from course_utils import plots
from course_utils.lessons.lesson_01 import figures

SENTENCE = ["The", " capital", " of", " Italy", " is", " Rome", "."]
NAMES = ["Beijing", "Lima", "Rome"]
PICTURES = {
    "changes": lambda: figures.two_changes((3.0, 4.0), {"another": (0.8, 0.6), "tuning's": (0.6, -0.8)}),
    "exchange": lambda: figures.exchanged_answers(list("ABC"), NAMES, NAMES[1:] + NAMES[:1]),
    "shift": lambda: figures.shift(SENTENCE, [0.1, 0.9, 0.01, 0.6, 0.99, 1.0], digits=3),
    "labels": lambda: figures.labels_of_a_batch([["a", "b", "c"]], [[-100, 4, 7]], [[0.5, 0.25]]),
    "perplexity": lambda: figures.perplexity_of([-math.log(p) for p in (0.5, 0.25, 0.8, 0.2)]),
    "twice": lambda: figures.shifted_twice(SENTENCE),
}


@pytest.mark.parametrize("dpi", [72, 96, 192])
@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name, dpi):
    assert faults_of(PICTURES[name], dpi) == []


def words(name):
    PICTURES[name]()
    return plots.alt_text(plt.gcf())


def test_changes_of_one_norm_end_on_the_circle():
    said = words("changes")
    assert "before. (3.0, 4.0). norm 5.0." in said and said.count("norm 1.0, 20% of 5.0") == 2
    [axes] = plt.gcf().axes
    [circle] = [patch for patch in axes.patches if isinstance(patch, Circle)]
    arrows = [patch._posA_posB for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    tips = [end for start, end in arrows if start == pytest.approx(circle.center)]
    assert [math.dist(tip, circle.center) for tip in tips] == pytest.approx([circle.radius] * 2)


def test_each_exchanged_answer_has_an_arrow_from_its_own_question():
    words("exchange")
    arrows = [patch._posA_posB for patch in plt.gcf().axes[0].patches if isinstance(patch, FancyArrowPatch)]
    texts = {text.get_position(): text.get_text() for text in plt.gcf().axes[0].texts}

    def beside(point, side):
        """The nearest text on this side of a point, at its height."""
        row = [at for at in texts if abs(at[1] - point[1]) < 0.1 and side * (at[0] - point[0]) > 0]
        return texts[min(row, key=lambda at: abs(at[0] - point[0]))]

    assert [(beside(start, -1), beside(end, 1)) for start, end in arrows] == [
        ("Lima", "Lima"),
        ("Rome", "Rome"),
        ("Beijing", "Beijing"),
    ]


def test_a_target_is_the_next_label_and_minus_100_has_no_loss():
    said = words("labels")
    assert "targets: 4 7 (carries loss), nothing." in said and "losses: 0.69, 1.39, nothing." in said
    figures.labels_of_a_batch([["a", "b", "pad"]], [[3, 4, -100]], [[0.5, None]])
    said = plots.alt_text(plt.gcf())
    assert "targets: 4 (carries loss), −100 nothing." in said and "losses: 0.69, 0.00, nothing." in said


def test_the_perplexity_of_four_tokens():
    """By hand: the product of the probabilities is .02, and .02 to the power of -1/4 is 2.66."""
    assert "e to the 0.98 = 2.66" in words("perplexity")


def test_shifted_twice_asks_for_the_token_after_the_next():
    said = words("twice")
    assert "shifted once (carries loss): ·capital, ·of, ·Italy, ·is, ·Rome, ." in said
    assert "shifted twice (carries loss): ·of, ·Italy, ·is, ·Rome, ., nothing." in said


def test_directions_are_drawn_with_mean_and_range():
    points = {"tuning": {0.5: [1.0, 3.0], 1: [2.0, 4.0]}, "random": {1: [5.0, 5.0]}}
    values = {"answer_loss": points, "perplexity": points}
    figures.along_directions(values, {"answer_loss": 4.0, "perplexity": 2.5}, "title")
    for ax, base in zip(plt.gcf().axes, (4.0, 2.5), strict=True):
        lines = {line.get_label(): line.get_ydata() for line in ax.lines}
        assert list(lines["tuning"]) == [2.0, 3.0] and list(lines["random"]) == [5.0]
        assert set(lines["base"]) == {base}
