"""pass@k over k, a training by iteration, and how many groups are silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from course_utils.lessons.lesson_18.passing import KS
from course_utils.plots import COLOURS, WIDTH, caption, entitle, figure, lines, log_ticks, smooth

LINE_STYLES = ("--o", "-o", ":s", "-.^")


def curves(series: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """pass@k over k, {kind of question: {model: values}}: a colour for a kind, a line style for a model."""
    _, ax = figure(title, "k, answers to a question", "pass@k")
    for (kind, models), colour in zip(series.items(), COLOURS, strict=False):
        for (model, values), style in zip(models.items(), LINE_STYLES, strict=False):
            ax.plot(KS, values, style, color=colour, markersize=4, label=f"{kind} {model}".strip())
    _pass_axis(ax)


def curve_bands(
    series: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]], name: str, title: str
) -> None:
    """Two panels or one: pass@k of stored runs by stratum, means with the range of the seeds.

    series: {title of the panel: {model: results over seeds}}; results have "NAME_k", NAME being the panel's.
    """
    _, axes = figure(title, "k, answers to a question", name, columns=len(series))
    for ax, (panel, models) in zip(np.atleast_1d(axes), series.items(), strict=True):
        stratum = panel.split()[0]
        for (model, runs), colour, style in zip(models.items(), COLOURS, LINE_STYLES, strict=False):
            values = np.array([[run[f"{stratum}_{k}"] for k in KS] for run in runs])
            ax.plot(KS, values.mean(0), style, color=colour, markersize=4, label=model)
            ax.fill_between(KS, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)
        ax.set_title(panel)
        _pass_axis(ax)


def _pass_axis(ax) -> None:
    ax.set_xscale("log")
    log_ticks(ax, KS)
    ax.set_ylim(-0.03, 1.03)
    ax.legend()


PANELS = {
    "score": "right answers (share)",
    "silent": "silent groups (share)",
    "entropy": "entropy (nats a token)",
}


def training(rows: Sequence[Mapping[str, float]], title: str) -> None:
    """Score, share of silent groups and entropy by iteration, pale, and smoothed."""
    fig, axes = plt.subplots(1, len(PANELS), figsize=(WIDTH, 2.6))
    entitle(fig, title)
    for ax, (name, label) in zip(axes, PANELS.items(), strict=True):
        values = [row[name] for row in rows]
        steps = range(1, len(values) + 1)
        ax.plot(steps, values, color=COLOURS[0], alpha=0.3)
        ax.plot(steps, smooth(values, 0.2), color=COLOURS[0], label=f"{label}, smoothed")
        ax.set(title=label, xlabel="iteration", ylim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def silent_share(group: int = 8) -> None:
    """Chance that a group of answers is all right or all wrong, over the share of right answers."""
    shares = np.linspace(0, 1, 101)
    _, ax = figure(
        f"A group of {group} is silent for questions that are nearly always right or nearly always wrong",
        "share of right answers to the question",
        "chance that a group is silent",
    )
    lines({f"groups of {group}": (shares, shares**group + (1 - shares) ** group)}, "", "", "", ax=ax)
    ax.set_ylim(0, 1.03)
    caption(
        "How many groups are silent, by the share of right answers to the question.",
        seen="a wide valley between two walls at 0 and at 1; with larger groups the walls are steeper",
    )
