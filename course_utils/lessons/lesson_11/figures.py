"""Lesson 11's figures: runs over their iterations, and spreads of cosines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from course_utils import plots
from course_utils.plots import COLOURS, figure

PANELS = {"proxy": "proxy (reward model)", "gold": "gold score (judge)", "kl": "KL (nats per answer)"}


def runs_over_iterations(
    series: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    title: str,
    names: Sequence[str] = tuple(PANELS),
) -> None:
    """A panel for each of proxy, gold and KL; for each name the mean over its runs, and each run thin."""
    fig, axes = plt.subplots(1, len(names), figsize=(plots.WIDTH, 2.9))
    plots.entitle(fig, title)
    for ax, key in zip(axes, names, strict=True):
        for number, (name, runs) in enumerate(series.items()):
            values = [[rows[step][key] for rows in runs] for step in range(len(runs[0]))]
            steps = range(1, len(values) + 1)
            means = [sum(each) / len(each) for each in values]
            ax.plot(steps, means, "-o", markersize=3, color=COLOURS[number], label=name)
            if len(runs) > 1:
                ax.plot(steps, values, color=COLOURS[number], linewidth=0.6, alpha=0.35)
        ax.set(xlabel="iteration", ylabel=PANELS[key])
    if len(series) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, ncols=len(series), loc="outside lower center")


def spreads(values: Mapping[str, Sequence[float]], title: str, xlabel: str, ax: Axes | None = None) -> None:
    """For each name the median and the middle nine tenths of its values, horizontally, the first on top."""
    import numpy as np

    ax = ax or figure(title, xlabel, "")[1]
    for row, numbers in enumerate(values.values()):
        low, middle, high = np.quantile(np.asarray(numbers, dtype=float), [0.05, 0.5, 0.95])
        ax.plot([low, high], [row, row], color=COLOURS[0], linewidth=5, alpha=0.35, solid_capstyle="round")
        ax.plot([middle], [row], "o", color=COLOURS[0])
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.margins(y=0.1)
