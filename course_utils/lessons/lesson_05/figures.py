"""Losses by place and by variant: a dot a seed, in panels; answers of a mixture over its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from course_utils import plots
from course_utils.plots import COLOURS, INK


def by_name(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    title: str,
    live: Mapping[str, Mapping[str, float]] | None = None,
    apart: Sequence[str] = (),
) -> None:
    """A dot a seed and a bar at the mean, a row a name: {panel: {name: losses}}; a panel may lack names.

    live: {panel: {name: loss}}, stars. apart: names in the second colour. The axes start at zero.
    """
    _, axes = plots.figure(title, "loss (nats a token)", "", columns=len(panels), sharey=True)
    axes = axes if len(panels) > 1 else [axes]
    names = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    for ax, (panel, rows) in zip(axes, panels.items(), strict=True):
        for name, losses in rows.items():
            place = names.index(name)
            colour = COLOURS[1] if name in apart else COLOURS[0]
            ax.plot(losses, [place] * len(losses), "o", markersize=6, alpha=0.6, color=colour, label=name)
            mean = sum(losses) / len(losses)
            ax.plot(mean, place, "|", markersize=20, markeredgewidth=2, color=INK)
        for name, loss in (live or {}).get(panel, {}).items():
            ax.plot(loss, names.index(name) + 0.3, "*", markersize=11, color=COLOURS[3], label="run above")
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.set_xlim(0, 1.08 * max(max(losses) for losses in rows.values()))
        ax.grid(axis="y", visible=False)
        ax.set_title(panel)


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
