"""Scores over the iterations of a training, and over the distance from the reference."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from course_utils.plots import COLOURS, figure, smooth


def over_iterations(
    diary: Sequence[Mapping[str, float]], rows: Sequence[Mapping[str, float]], title: str
) -> None:
    """Proxy, gold score and KL of the answers sampled in each iteration, pale, and smoothed.

    diary: what judging.watched_reward kept. rows: what train_ppo returned.
    """
    _, axes = figure(title, "iteration", "", columns=3)
    drawn = {
        "proxy (reward model)": [seen["proxy"] for seen in diary],
        "gold score": [seen["gold"] for seen in diary],
        "KL (nats per answer)": [row["kl"] for row in rows],
    }
    for ax, (label, values) in zip(axes, drawn.items(), strict=True):
        steps = range(1, len(values) + 1)
        ax.plot(steps, values, color=COLOURS[0], alpha=0.3)
        ax.plot(steps, smooth(values, 0.2), color=COLOURS[0], label=f"{label}, smoothed")
        ax.set_ylabel(label)


def over_distance(
    series: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    title: str,
    marks: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Proxy and gold score over sqrt(KL): a line a name through the means over seeds, a small dot a run.

    series: {name: points}, a point being its runs, {"kl", "proxy", "gold"} each. marks: single runs by name.
    """
    _, axes = figure(title, "√KL from the reference (√nats an answer)", "", columns=2)
    for ax, score, label in zip(axes, ("proxy", "gold"), ("proxy (reward model)", "gold score"), strict=True):
        ax.set_ylabel(label)
        for (name, points), colour in zip(series.items(), COLOURS, strict=False):
            runs = [[(max(run["kl"], 0) ** 0.5, run[score]) for run in point] for point in points]
            means = [[sum(values) / len(values) for values in zip(*point, strict=True)] for point in runs]
            ax.plot(*zip(*means, strict=True), "-o", color=colour, markersize=4, label=name)
            ax.plot(
                *zip(*(run for point in runs for run in point), strict=True),
                ".",
                color=colour,
                markersize=3,
                alpha=0.4,
            )
        for (name, run), marker in zip((marks or {}).items(), itertools.cycle("*X"), strict=False):
            ax.plot(
                [max(run["kl"], 0) ** 0.5], [run[score]], marker, color=COLOURS[-1], markersize=10, label=name
            )
    axes[1].legend()
