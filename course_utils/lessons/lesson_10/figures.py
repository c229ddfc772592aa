"""Lesson 10's figures: proxy beside gold, correlations side by side, shares with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from course_utils import plots
from course_utils.plots import COLOURS, INK

Interval = tuple[float, float, float]  # mean, low, high


def beside(panels: Mapping[str, Mapping[str, Interval]], title: str) -> None:
    """A panel per name, a row per text with its mean and interval; a line marks the first row's mean."""
    _, axes = plots.figure(title, "", "", columns=len(panels), sharey=True)
    for ax, (label, rows) in zip(axes, panels.items(), strict=True):
        for place, (mean, low, high) in enumerate(rows.values()):
            colour = COLOURS[1] if place == 0 else COLOURS[0]
            ax.plot([low, high], [place, place], color=colour, linewidth=2)
            ax.plot([mean], [place], "o", color=colour, markersize=7)
        ax.axvline(next(iter(rows.values()))[0], color=COLOURS[1], linestyle=":", linewidth=1)
        ax.set_xlabel(label)
        ax.grid(axis="y", visible=False)
    names = list(next(iter(panels.values())))
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)


def two_bars(
    rows: Mapping[str, tuple[float, float]], names: tuple[str, str], title: str, xlabel: str
) -> None:
    """Two horizontal bars for each name, one under the other."""
    _, ax = plots.figure(title, xlabel, "")
    for place, pair in enumerate(rows.values()):
        for number, value in enumerate(pair):
            ax.barh(
                place + 0.38 * number - 0.19,
                value,
                0.36,
                color=COLOURS[number],
                label=names[number] if place == 0 else None,
            )
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.figure.legend(ncols=2, loc="outside lower center")


def over_share(points: Mapping[float, Sequence[float]], title: str, ylabel: str) -> None:
    """Shares over the share of training pairs whose longer story was chosen: dots, with a bar at the mean."""
    _, ax = plots.figure(title, "training pairs in which the longer story was chosen (%)", ylabel)
    for share, values in points.items():
        shown = [100 * value for value in values]
        ax.plot([100 * share] * len(shown), shown, "o", color=COLOURS[0], markersize=5, alpha=0.5)
        mean = sum(shown) / len(shown)
        ax.plot([100 * share], [mean], "_", color=COLOURS[0], markersize=22, markeredgewidth=2.5)
    ax.axhline(50, color=INK, linestyle=":", linewidth=1)
    ax.set_xticks([100 * share for share in points])


def calibration(curves: Mapping[str, Sequence[Mapping[str, float]]], title: str) -> None:
    """Observed over predicted shares in bins, with two standard errors; the diagonal is calibration."""
    _, ax = plots.figure(title, "predicted probability of the preferred answer", "how often it was chosen")
    for number, (name, rows) in enumerate(curves.items()):
        shares = [row["observed"] for row in rows]
        errors = [2 * (s * (1 - s) / row["pairs"]) ** 0.5 for s, row in zip(shares, rows, strict=True)]
        places = [row["predicted"] for row in rows]
        ax.errorbar(
            places,
            shares,
            yerr=errors,
            fmt="os^v"[number],
            color=COLOURS[number],
            markersize=6,
            capsize=2,
            linewidth=1,
            label=name,
        )
    ax.plot([0.5, 1], [0.5, 1], color=INK, linestyle=":", linewidth=1)
    ax.axhline(0.5, color=INK, linewidth=0.8)
    ax.set(xlim=(0.48, 1.02), ylim=(0.2, 1.02))
    ax.figure.legend(ncols=len(curves), loc="outside lower center")
