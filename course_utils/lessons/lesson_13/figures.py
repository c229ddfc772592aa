"""DPO's effect on its training answers, and on its training batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt

from course_utils.lessons.lesson_12.figures import KL_TICKS, names_below, paths
from course_utils.lessons.lesson_12.over_kl import mean_path
from course_utils.lessons.lesson_13.experiments import PART, STEPS
from course_utils.plots import COLOURS, INK, WIDTH, bands, entitle, figure

PURPLE = "#7A4EA3"


def displaced(settings: Mapping[str, Sequence[Mapping]], title: str) -> None:
    """Training pairs by the changes of their two log-probabilities, a panel per setting.

    settings: {name: runs with trained_chosen_each and trained_rejected_each}. The points are the first
    run's; the square is the mean over all runs; below the diagonal the margin has grown.
    """
    fig, axes = plt.subplots(1, len(settings), figsize=(WIDTH, 3.0), sharex=True, sharey=True)
    entitle(fig, title)
    for ax, (name, runs) in zip(axes, settings.items(), strict=True):
        x, y = (runs[0][f"trained_{side}_each"] for side in ("chosen", "rejected"))
        ax.plot(x, y, ".", color=COLOURS[0], alpha=0.4, markersize=5, label="pairs of one run")
        means = [sum(run[f"trained_{side}"] for run in runs) / len(runs) for side in ("chosen", "rejected")]
        ax.plot(*([value] for value in means), "s", color=COLOURS[1], markersize=7, label="mean of all runs")
        ax.axline((0, 0), slope=1, color=INK, linewidth=0.8, linestyle=":")
        ax.axhline(0, color=INK, linewidth=0.8)
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.set(title=name, xlabel="change of chosen (nats)")
    axes[0].set_ylabel("change of rejected (nats)")
    axes[-1].legend(loc="lower right")


def relatives(
    settings: Mapping[str, Sequence[Mapping]], title: str, points: Mapping[str, Sequence[Mapping]]
) -> None:
    """Lesson 12's `paths`; PPO only as means, grey and dashed."""
    ppo = {name: runs for name, runs in settings.items() if name.startswith("PPO")}
    paths({name: runs for name, runs in settings.items() if name not in ppo}, title, points)
    fig = plt.gcf()
    furthest = max(max(mean_path(runs, "kl")) for runs in settings.values())
    for ax, score in zip(fig.axes, ("proxy", "gold"), strict=True):
        for line in ax.lines:
            if line.get_color() == COLOURS[4]:  # too close to COLOURS[0] in one panel
                line.set_color(PURPLE)
        for (name, runs), marker in zip(ppo.items(), "s^", strict=False):
            ax.plot(
                mean_path(runs, "kl"),
                mean_path(runs, score),
                "--",
                marker=marker,
                color=INK,
                markersize=4,
                label=name,
            )
        ax.set_xlim(0, 1.1 * furthest)
        ax.set_xticks([kl for kl in KL_TICKS if kl <= furthest])
    fig.set_size_inches(WIDTH, 4.2)
    names_below(fig)


def in_training(runs: Sequence[Mapping], title: str) -> None:
    """Loss and both implicit rewards of the training batches: mean and range over the runs.

    runs: of experiments.followed. A batch is measured before the step on it, so it is new to the policy.
    """
    _, axes = figure(title, "step", "", columns=2)
    steps = range(PART, STEPS + 1, PART)

    def series(name):
        return {step: [run[f"training_{step}_{name}"] for run in runs] for step in steps}

    bands({"loss": series("loss")}, "", "", "", ax=axes[0])
    axes[0].axhline(math.log(2), color=INK, linestyle=":", label="ln 2: no training")
    axes[0].legend()
    axes[0].set_ylabel("loss of new batches (nats per pair)")
    bands({side: series(f"{side}_reward") for side in ("chosen", "rejected")}, "", "", "", ax=axes[1])
    axes[1].axhline(0, color=INK, linewidth=0.8)
    axes[1].set_ylabel("implicit reward (logits)")
