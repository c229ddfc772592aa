"""Scores over the iterations of a training, and over the distance from the reference."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

from course_utils.plots import COLOURS, WIDTH, bands, entitle, figure, smooth

SCORE_LABELS = {"proxy": "proxy (reward model)", "gold": "gold score", "kl": "KL (nats per answer)"}


def over_iterations(
    diary: Sequence[Mapping[str, float]], rows: Sequence[Mapping[str, float]], title: str
) -> None:
    """Proxy, gold score and KL of the answers sampled in each iteration, pale, and smoothed.

    diary: what judging.watched_reward kept. rows: what train_ppo returned.
    """
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.6))
    entitle(fig, title)
    for ax, (name, kept) in zip(axes, {"proxy": diary, "gold": diary, "kl": rows}.items(), strict=True):
        values = [each[name] for each in kept]
        steps = range(1, len(values) + 1)
        ax.plot(steps, values, color=COLOURS[0], alpha=0.3)
        ax.plot(steps, smooth(values, 0.2), color=COLOURS[0], label=f"{SCORE_LABELS[name]}, smoothed")
        ax.set(title=SCORE_LABELS[name], xlabel="iteration")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def stored_courses(courses: Mapping[float, Mapping[str, Mapping[int, Sequence[float]]]], title: str) -> None:
    """Proxy and gold score by iteration, a band over the seeds for each beta, named in the first panel.

    courses: of experiments.course_of_ppo.
    """
    _, axes = figure(title, "iteration", "", columns=2)
    for ax, name in zip(axes, ("proxy", "gold"), strict=True):
        bands({f"β = {beta:g}": course[name] for beta, course in courses.items()}, "", "", "", ax=ax)
        ax.set_ylabel(SCORE_LABELS[name])
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if legend := axes[1].get_legend():
        legend.remove()


def over_distance(
    series: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    title: str,
    marks: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Proxy and gold score over sqrt(KL): a line a name through the means over seeds, a small dot a run.

    series: {name: points}, a point being its runs, {"kl", "proxy", "gold"} each. marks: single runs by name.
    """
    _, axes = figure(title, "√KL from the reference (√nats)", "", columns=2)
    for ax, score in zip(axes, ("proxy", "gold"), strict=True):
        ax.set_ylabel(SCORE_LABELS[score])
        for (name, points), colour in zip(series.items(), COLOURS, strict=False):
            runs = [[(max(run["kl"], 0) ** 0.5, run[score]) for run in point] for point in points]
            means = [[sum(values) / len(values) for values in zip(*point, strict=True)] for point in runs]
            ax.plot(*zip(*means, strict=True), ":o", color=colour, markersize=5, label=name)
            ax.plot(
                *zip(*(run for point in runs for run in point), strict=True),
                ".",
                color=colour,
                markersize=4,
                alpha=0.7,
            )
        for (name, run), marker in zip((marks or {}).items(), itertools.cycle("*X"), strict=False):
            ax.plot(
                [max(run["kl"], 0) ** 0.5], [run[score]], marker, color=COLOURS[-1], markersize=10, label=name
            )
    axes[1].legend(loc="upper right")
