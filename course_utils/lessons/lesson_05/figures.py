"""Losses by name, a dot a seed; answers of a mixture over its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from course_utils import plots
from course_utils.plots import COLOURS, INK


def by_name(
    losses: Mapping[str, Sequence[float]], title: str, live: Mapping[str, float] | None = None
) -> None:
    """A dot a seed and a bar at the mean, a row a name: {name: losses}; live: {name: loss}, a star."""
    _, ax = plots.figure(title, "loss (nats a token)", "")
    names = list(losses)
    for place, (name, of_seeds) in enumerate(losses.items()):
        ax.plot(of_seeds, [place] * len(of_seeds), "o", markersize=6, alpha=0.6, color=COLOURS[0], label=name)
        ax.plot(sum(of_seeds) / len(of_seeds), place, "|", markersize=20, markeredgewidth=2, color=INK)
    for name, loss in (live or {}).items():
        ax.plot(loss, names.index(name) + 0.3, "*", markersize=11, color=COLOURS[3], label="run above")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(0, 1.08 * max(max(of_seeds) for of_seeds in losses.values()))
    ax.grid(axis="y", visible=False)


def along(shares: Mapping[str, Mapping[float, float]], title: str, xlabel: str) -> None:
    """Shares of answers (%) over the weight of an adapter in a sum: {what: {weight: share}}; dots."""
    _, ax = plots.figure(title, xlabel, "share of the answers (%)")
    for (name, points), marker, shift in zip(
        shares.items(), "os^v", (-0.006, 0.0, 0.006, 0.012), strict=False
    ):
        weights = [weight + shift for weight in points]  # marks that fall on each other are moved
        ax.plot(weights, [100 * share for share in points.values()], marker, markersize=8, label=name)
    ax.set(ylim=(-4, 104))
    ax.set_xticks(list(next(iter(shares.values()))))
    ax.figure.legend(ncols=len(shares), loc="outside lower center")
