"""Intervals of the methods, score against loss, and trade-offs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from course_utils.plots import COLOURS, INK, WIDTH, entitle, figure


def intervals(
    values: Mapping[str, tuple[float, float, float]],
    title: str,
    xlabel: str,
    inner: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """For each name a value and its interval (value, low, high), the first on top.

    inner: narrower intervals of some names, of the questions alone, drawn thick inside. A line marks 0;
    intervals that leave it out have another colour.
    """
    fig, ax = figure(title, xlabel, "")
    named = {}
    for row, (name, (middle, low, high)) in enumerate(values.items()):
        clear = not low <= 0 <= high
        drawn = ax.errorbar(
            [middle],
            [row],
            xerr=[[middle - low], [high - middle]],
            fmt="D" if clear else "o",
            capsize=3,
            color=COLOURS[1 if clear else 0],
        )
        named.setdefault("the interval leaves out 0" if clear else "the interval holds 0", drawn)
        if name in (inner or {}):
            line = ax.plot(inner[name], [row, row], color=COLOURS[1 if clear else 0], linewidth=5, alpha=0.5)[
                0
            ]
            named.setdefault("questions alone", line)
    ax.axvline(0, color=INK, linestyle="--", linewidth=1)
    fig.legend(named.values(), named.keys(), loc="outside lower center", ncols=len(named))
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.margins(y=0.15)


def score_and_loss(runs: Mapping[str, Sequence[tuple[float, float]]], title: str) -> None:
    """Each run's share of right lists over its loss; runs: {method: [(loss, right)]}, a mark per method."""
    fig, ax = figure(title, "loss of the right answers (nats a token)", "lists right (share)")
    for (name, points), marker, colour in zip(runs.items(), "os^vDP", COLOURS, strict=False):
        ax.plot(*zip(*points, strict=True), marker, color=colour, label=name, alpha=0.8)
    ax.set(xscale="log", ylim=(-0.04, 1))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    fig.legend(loc="outside lower center", ncols=len(runs))


def tradeoff(
    panels: Mapping[str, Mapping[str, tuple[float, float]]],
    ylabel: str,
    title: str,
    logx: Sequence[str] = (),
    front: Mapping[str, Sequence[str]] | None = None,
    spans: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Quality over costs, a panel each: {cost: {name: (cost, quality)}}; hollow if not on the Pareto front.

    front: per panel, the names that no other name beats. spans: (low, high) of each name's quality. Costs of
    0 cannot be shown on a logarithmic axis.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), sharey=True, squeeze=False)
    entitle(fig, title)
    for ax, (cost, points) in zip(axes[0], panels.items(), strict=True):
        for (name, (x, y)), marker, colour in zip(points.items(), "os^vDP", COLOURS, strict=False):
            filled = front is None or name in front[cost]
            if spans:
                ax.plot([x, x], spans[name], color=colour, linewidth=1)
            ax.plot(
                [x],
                [y],
                marker,
                color=colour,
                markersize=9,
                label=name,
                markerfacecolor=colour if filled else "none",
            )
        ax.set(xlabel=cost, xscale="log" if cost in logx else "linear")
        ax.margins(x=0.3, y=0.15)
    axes[0][0].set_ylabel(ylabel)
    handles = [
        mpl.lines.Line2D(
            [], [], color=line.get_color(), marker=line.get_marker(), linestyle="", label=line.get_label()
        )
        for line in axes[0][0].lines
        if line.get_marker() not in ("None", None, "")
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
