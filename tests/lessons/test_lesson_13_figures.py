"""The figures of lesson 13 on made-up runs."""

import matplotlib.pyplot as plt
import pytest

from course_utils.lessons.lesson_13 import figures
from course_utils.lessons.lesson_13.experiments import PART, STEPS
from course_utils.plots import COLOURS, INK


def run(shift=0.0):
    made = {"trained_chosen": 1.0 + shift, "trained_rejected": -3.0 + shift}
    made |= {"trained_chosen_each": [0.0, 2.0], "trained_rejected_each": [-2.0, -4.0]}
    for step in range(PART, STEPS + 1, PART):
        for name in ("loss", "chosen_reward", "rejected_reward"):
            made[f"training_{step}_{name}"] = step + shift
    return made


def test_each_panel_has_the_first_runs_pairs_and_the_mean_of_all():
    figures.displaced({"DPO": [run(), run(1.0)], "noise": [run()]}, "title")
    axes = plt.gcf().axes
    assert [ax.get_title("left") or ax.get_title() for ax in axes] == ["DPO", "noise"]
    points, square = axes[0].lines[:2]
    assert list(points.get_xdata()) == [0, 2] and list(points.get_ydata()) == [-2, -4]
    assert list(square.get_xdata()) == [1.5] and list(square.get_ydata()) == [-2.5]
    plt.close("all")


def test_a_training_is_shown_by_the_loss_of_new_batches_and_both_rewards():
    figures.in_training([run(), run(2.0)], "title")
    left, right = plt.gcf().axes
    assert list(left.lines[0].get_xdata()) == list(range(PART, STEPS + 1, PART))
    assert left.lines[0].get_ydata()[0] == pytest.approx(PART + 1)
    assert {text.get_text() for text in left.get_legend().get_texts()} >= {"ln 2: no training"}
    assert "implicit reward" in right.get_ylabel()
    plt.close("all")


def test_the_names_of_many_settings_stand_below_the_panels_and_ppo_is_grey():
    path = {"kl_0": 0.0, "kl_2": 4.0, "proxy_0": 0.0, "proxy_2": 1.0, "gold_0": 0.2, "gold_2": 0.3}
    further, methods = path | {"kl_2": 9.0}, ["DPO", "larger beta", "means", "IPO", "SimPO"]
    figures.relatives(
        {**{name: [path, path] for name in methods}, "PPO": [further, further]},
        "title",
        {"best of n": [{"kl": 1.0, "proxy": 1.0, "gold": 0.4}]},
    )
    fig = plt.gcf()
    assert all(ax.get_legend() is None for ax in fig.axes)
    [legend] = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == [*methods, "best of n", "PPO"]
    for ax in fig.axes:
        [line] = [line for line in ax.lines if list(line.get_xdata()) == [0.0, 9.0]]
        assert (line.get_color(), line.get_linestyle()) == (INK, "--")
        assert ax.get_xlim()[1] > 9.0
        colours = [line.get_color() for line in ax.lines if not line.get_label().startswith("_")]
        assert len(set(colours)) == 6 and not {COLOURS[4], COLOURS[5]} & set(colours)  # near 0 and 1
    plt.close("all")
