"""The figures of lessons 12 and 13: pictures of ideas, scores over iterations and over the distance."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import layout_faults
from matplotlib.colors import to_rgba

from course_utils.lessons.lesson_12 import figures
from course_utils.plots import alt_text, contrast


def followed(shift=0.0, kl=(0.0, 4.0, 9.0)):
    """A stored run, made up: three checkpoints, four iterations of training."""
    run = {"kl": kl[-1]}
    for i, distance in zip((0, 2, 4), kl, strict=True):
        run |= {
            f"kl_{i}": distance,
            f"proxy_{i}": i + shift,
            f"gold_{i}": i / 10 + shift,
            f"golds_{i}": [0.1],
        }
    for name in ("entropy", "clipped", "value_loss", "moved", "length"):
        run |= {f"{name}_{i}": 10 * i + shift for i in range(1, 5)}
    return run


def test_gauges_are_means_with_bands_a_panel_each():
    figures.gauges({"β = 0": [followed(), followed(1.0)], "β = 0.1": [followed(), followed()]}, "title")
    axes = plt.gcf().axes
    assert [ax.get_title("left") for ax in axes] == list(figures.GAUGES.values())
    kl, length = axes[0], axes[1]
    assert list(kl.lines[0].get_xdata()) == [0, 2, 4] and list(kl.lines[0].get_ydata()) == [0, 4, 9]
    assert list(length.lines[0].get_xdata()) == [1, 2, 3, 4]
    assert length.lines[0].get_ydata() == pytest.approx([10.5, 20.5, 30.5, 40.5])
    assert all(ax.get_legend() is None for ax in axes)
    [legend] = plt.gcf().legends
    assert [text.get_text() for text in legend.get_texts()] == ["β = 0", "β = 0.1"]
    assert length.collections[0].get_datalim(length.transData).intervaly == pytest.approx([10, 41])
    plt.close("all")


def test_with_and_without_has_kl_and_gold_by_iteration_each_seed_pale():
    figures.with_and_without({"clip": [followed(), followed(1.0)], "none": [followed()]}, "title")
    kl, gold = plt.gcf().axes
    assert kl.get_yscale() == "log" and gold.get_ylim()[0] == 0
    first, second, mean, *_ = kl.lines
    assert [list(line.get_xdata()) for line in (first, second, mean)] == [[2, 4]] * 3, "not the start's 0"
    assert list(gold.lines[2].get_xdata()) == [0, 2, 4]
    assert gold.lines[2].get_ydata() == pytest.approx([0.5, 0.7, 0.9])
    assert [text.get_text() for text in plt.gcf().legends[0].get_texts()] == ["clip", "none"]
    plt.close("all")


P = [0.5, 0.3, 0.2]
GRADIENTS = np.eye(3) - P
PICTURES = {
    "pushes": lambda: figures.pushes(
        "title?", ["A", "B", "C"], P, {"plain": GRADIENTS, "rewarded": np.diag([2, 4, 14]) @ GRADIENTS}
    ),
    "reinforced": lambda: figures.reinforced(
        "Hi", [[("the", -1), ("end", -2)], [("no", -1)], [("yes", -3), ("sir", -1)]], [1, 2, 6]
    ),
    "one_iteration": figures.one_iteration,
    "paid_by_token": lambda: figures.paid_by_token(
        ["Tell", "me", "Tom", "ran", "left", "pad"],
        ["data", "data", "sampled", "sampled", "sampled", None],
        [-4.0, -1.0, -0.5, -2.0, -3.0],
        [-4.5, -1.0, -2.5, -1.0, -1.0],
        [0, 1, 1, 1, 0],
        score=2.0,
        beta=0.1,
    ),
    "reweighted": lambda: figures.reweighted(["A", "B", "C"], P, [0.4, 0.3, 0.3], [2, 4, 14]),
    "clip_cases": lambda: figures.clip_cases("title?", [1, 1, -1, -1], [0.5, 1.5, 0.5, 1.5], 0.2),
}
SAID = {
    "pushes": "4.2 11.2; mean: \N{MINUS SIGN}1.5 \N{MINUS SIGN}0.3 1.8",
    "reinforced": "mean \N{MINUS SIGN}1.67, loss 1.67",
    "one_iteration": "arrow an answer to reference: 2 score",
    "paid_by_token": "reward: nothing, 0.0, 0.0, \N{MINUS SIGN}0.2, +2.1, 0.0",
    "reweighted": "sum 6.2; the mean over p new is 6.2",
    "clip_cases": "push on log p: +0.5, 0.0, 0.0, \N{MINUS SIGN}1.5",
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_ideas_are_legible_and_say_their_numbers(name):
    PICTURES[name]()
    assert layout_faults(plt.gcf(), 100) == []
    assert SAID[name] in alt_text(plt.gcf())
    plt.close("all")


def test_paths_are_the_mean_of_the_seeds_over_the_kl():
    figures.paths(
        {"PPO": [followed(), followed(1.0, kl=(0.0, 6.0, 11.0))]},
        "title",
        {"best of n": [{"kl": 0.6, "proxy": 1.0, "gold": 0.4}]},
    )
    for ax, means, mark in zip(plt.gcf().axes, ([0.5, 2.5, 4.5], [0.5, 0.7, 0.9]), (1.0, 0.4), strict=True):
        first, second, mean, point = ax.lines
        assert list(first.get_xdata()) == [0, 4, 9] and list(second.get_xdata()) == [0, 6, 11]
        assert list(mean.get_xdata()) == [0, 5, 10] and mean.get_ydata() == pytest.approx(means)
        assert list(point.get_ydata()) == [mark]
    assert all(ax.get_legend() is None for ax in plt.gcf().axes)
    [legend] = plt.gcf().legends
    assert [text.get_text() for text in legend.get_texts()] == ["PPO", "best of n"]
    plt.close("all")


def test_tokens_are_coloured_by_sign_and_size():
    figures.credited(["a", "b", "c"], [1.0, -0.5, 0.0], "title")
    faces = [box.get_facecolor() for box in plt.gca().patches]
    rises, falls = (np.array(to_rgba(colour)) for colour in (figures.RISES, figures.FALLS))
    assert faces[0] == pytest.approx(0.3 + 0.7 * rises)
    assert faces[1] == pytest.approx(0.65 + 0.35 * falls) and faces[2] == (1, 1, 1, 1)
    assert min(contrast("black", face) for face in faces) > 4.5, "on any page"
    written = [text.get_text() for text in plt.gca().texts]
    assert written == ["a", "b", "c", "+", "\N{MINUS SIGN}", ""]
    plt.close("all")
