"""Shares with their intervals, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

from course_utils.evaluation import wilson_interval
from course_utils.plots import COLOURS, INK, figure


def share_interval(marks: Sequence[bool]) -> tuple[float, float, float]:
    """(share that is true, low, high): Wilson's 95% interval."""
    return sum(marks) / len(marks), *wilson_interval(sum(marks), len(marks))


def seed_range(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, lowest, highest) of repeated runs."""
    return mean(values), min(values), max(values)


def grouped(
    values: Mapping[str, Mapping[str, tuple[float, float, float]]],
    title: str,
    xlabel: str,
    level: tuple[str, Mapping[str, float]] = ("", {}),
) -> None:
    """Dots with intervals in groups, the first on top: {group: {series: (value, low, high)}}, in per cent.

    level: (label, {group: value}), drawn as a dotted line across these groups.
    """
    fig, ax = figure(title, xlabel, "")
    series = list(next(iter(values.values())))
    for number, (name, colour) in enumerate(zip(series, COLOURS, strict=False)):
        shift = (number - (len(series) - 1) / 2) * 0.7 / len(series)
        for group, shares in enumerate(values.values()):
            middle, low, high = (100 * share for share in shares[name])
            ax.errorbar(
                [middle],
                [group + shift],
                xerr=[[max(0.0, middle - low)], [max(0.0, high - middle)]],
                fmt="os^D"[number % 4],
                capsize=4,
                color=colour,
                label=name if group == 0 else None,
            )
    for number, (group, value) in enumerate(level[1].items()):
        place, label = list(values).index(group), level[0] if number == 0 else None
        ax.plot([100 * value] * 2, [place - 0.45, place + 0.45], ":", color=INK, label=label)
    ax.set_yticks(range(len(values)), list(values))
    ax.set(xlim=(-3, 103), ylim=(len(values) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    fig.legend(
        *ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(series) + bool(level[1])
    )
