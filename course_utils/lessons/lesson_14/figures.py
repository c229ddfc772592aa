"""Intervals of the methods, and what they trade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from course_utils.plots import COLOURS, INK, WIDTH, entitle, figure


def intervals(
    values: Mapping[str, tuple[float, float, float]],
    title: str,
    xlabel: str,
    ax: Axes | None = None,
    zero: bool = True,
) -> None:
    """For each name a value and its interval (value, low, high), horizontally, the first on top."""
    ax = ax or figure(title, xlabel, "")[1]
    for row, (middle, low, high) in enumerate(values.values()):
        clear = zero and not low <= 0 <= high
        ax.errorbar(
            [middle],
            [row],
            xerr=[[middle - low], [high - middle]],
            fmt="o",
            capsize=3,
            color=COLOURS[1 if clear else 0],
        )
    if zero:
        ax.axvline(0, color=INK, linestyle="--", linewidth=1)
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.margins(y=0.15)


def tradeoff(
    panels: Mapping[str, Mapping[str, tuple[float, float]]],
    ylabel: str,
    title: str,
    logx: Sequence[str] = (),
    front: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Quality over costs, a panel each: {cost: {name: (cost, quality)}}; hollow where not on its front.

    front: names by panel that no other name beats. Costs of 0 have no place on a logarithmic axis.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), sharey=True, squeeze=False)
    entitle(fig, title)
    for ax, (cost, points) in zip(axes[0], panels.items(), strict=True):
        for (name, (x, y)), marker, colour in zip(points.items(), "os^vDP", COLOURS, strict=False):
            filled = front is None or name in front[cost]
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
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
