"""The figures of lesson 13 on made-up runs."""

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import layout_faults

from course_utils.lessons.lesson_13 import figures
from course_utils.lessons.lesson_13.experiments import PART, STEPS
from course_utils.plots import COLOURS, INK

REFERENCE = torch.tensor([0.25, 0.5, 0.25])
BEST = torch.tensor([0.2, 0.3, 0.5])
REWARDS = torch.tensor([0.0, 1.0, -1.0])
PICTURES = {
    "best": lambda: figures.policy_from_rewards("ABC", REFERENCE, REWARDS, 2.0),
    "back": lambda: figures.rewards_back("ABC", REFERENCE, BEST, REWARDS, 2.0, (1, 2)),
    "scored": lambda: figures.scored_answer(["Tell", "a"], ["Tom", "<end>"], [0.5, 0.5]),
    "pairs": lambda: figures.pair_losses(
        ["1", "2"], [(-3.0, -6.0)] * 2, [(-4.0, -5.0)] * 2, [(0.1, -0.1)] * 2, [0.6, 2.1]
    ),
    "pushes": lambda: figures.pushes_of_pairs([-1.0, 0.0], [0.07, 0.05], [-0.07, -0.05], "title"),
    "weight": lambda: figures.one_weight(
        ["no", "one"], torch.tensor([0.0, 1.0]), torch.tensor([0.4, 0.6]), 1.0
    ),
    "hunt": lambda: figures.scored_by_scripts(["Tell"], ["Tom"], {"sound": [0, 1], "prompt too": [1, 1]}),
}


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []
    plt.close("all")


def row(name, cells):
    """The cells of the row with this name in the current picture."""
    found = [text.get_text() for text in plt.gcf().axes[0].texts]
    start = found.index(name) + 1
    return found[start : start + cells]


def test_the_best_policy_is_the_reference_times_its_factors_over_their_sum():
    PICTURES["best"]()
    products = REFERENCE * (REWARDS / 2).exp()
    shares = [f"{value:.3f}" for value in (products / products.sum()).tolist()]
    assert row(f"divided by their sum, {products.sum():.2f}", 3) == shares
    plt.close("all")


def test_an_answer_has_the_sum_of_its_tokens_and_no_token_of_the_prompt():
    PICTURES["scored"]()
    found = [text.get_text() for text in plt.gcf().axes[0].texts]
    assert row("log p", 2) == ["\u22120.69"] * 2
    assert "sum \u22121.39: the log of the product, 0.25" in found
    plt.close("all")


def test_each_pair_has_an_arrow_for_either_answer():
    PICTURES["pushes"]()
    ends = [
        patch.get_path().vertices for patch in plt.gcf().axes[0].patches if hasattr(patch, "set_arrowstyle")
    ]
    assert len(ends) == 4
    plt.close("all")


def test_the_probability_goes_to_the_answer_with_more_of_the_feature():
    figures.one_weight(["0", "1", "2"], torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.3, 0.5, 0.2]), 1.0)
    assert row("change of log p", 3) == ["\u22121.14", "\u22120.14", "+0.86"]
    plt.close("all")


def test_a_live_run_has_the_mean_of_parts_and_counts_the_margins():
    rows = [{"step": step, "loss": float(step)} for step in range(1, 17)]
    figures.live(rows, torch.tensor([-1.0, 0.5, 2.0]), "title")
    left, right = plt.gcf().axes
    assert list(left.lines[1].get_xdata()) == [8, 16] and list(left.lines[1].get_ydata()) == [4.5, 12.5]
    names = [text.get_text() for text in right.get_legend().get_texts()]
    assert names == ["1 the other way", "2 ordered as labelled"]
    plt.close("all")


def test_what_moved_has_a_mark_for_each_seed_and_side():
    figures.moved_answers({"DPO": [run(), run(1.0)], "noise": [run()]}, "title")
    ax = plt.gcf().axes[0]
    assert [list(line.get_xdata()) for line in ax.lines[:4]] == [[1.0, 2.0], [-3.0, -2.0], [1.0], [-3.0]]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["DPO", "noise"]
    plt.close("all")


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
