"""The figures of lessons 12 and 13: scores over iterations, and over the distance from the reference."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from course_utils.lessons.lesson_12 import figures
from course_utils.plots import contrast


def test_a_training_has_proxy_gold_and_kl_by_iteration():
    diary = [{"proxy": float(i), "gold": i / 10} for i in range(4)]
    figures.over_iterations(diary, [{"kl": 3.0 * i} for i in range(4)], "title")
    for ax, last in zip(plt.gcf().axes, (3.0, 0.3, 9.0), strict=True):
        [line] = ax.lines
        assert list(line.get_xdata()) == [1, 2, 3, 4] and line.get_ydata()[-1] == pytest.approx(last)
    assert [ax.get_title("left") for ax in plt.gcf().axes] == list(figures.SCORE_LABELS.values())
    plt.close("all")


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
