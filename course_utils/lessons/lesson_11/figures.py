"""Lesson 11's figures: runs over their iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt

from course_utils import plots
from course_utils.plots import COLOURS

PANELS = {"proxy": "proxy (reward model)", "gold": "gold score (judge)", "kl": "KL (nats per answer)"}


def runs_over_iterations(series: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], title: str) -> None:
    """A panel each for proxy, gold and KL; per name the mean over its runs, and single runs as thin lines."""
    fig, axes = plt.subplots(1, len(PANELS), figsize=(plots.WIDTH, 2.9))
    plots.entitle(fig, title)
    for ax, (key, label) in zip(axes, PANELS.items(), strict=True):
        for number, (name, runs) in enumerate(series.items()):
            values = [[rows[step][key] for rows in runs] for step in range(len(runs[0]))]
            steps = range(1, len(values) + 1)
            means = [sum(each) / len(each) for each in values]
            ax.plot(steps, means, "-o", markersize=3, color=COLOURS[number], label=name)
            if len(runs) > 1:
                ax.plot(steps, values, color=COLOURS[number], linewidth=0.6, alpha=0.35)
        ax.set(xlabel="iteration", ylabel=label)
    if len(series) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, ncols=len(series), loc="outside lower center")
