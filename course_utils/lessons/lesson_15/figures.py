"""Shares side by side."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes

from course_utils.plots import COLOURS, figure


def grouped(
    values: Mapping[str, Mapping[str, float]], title: str, xlabel: str, ax: Axes | None = None
) -> None:
    """Horizontal bars in groups, the first on top: {group: {series: value}}, a colour a series."""
    ax = ax or figure(title, xlabel, "")[1]
    series = list(next(iter(values.values())))
    height = 0.8 / len(series)
    for number, (name, colour) in enumerate(zip(series, COLOURS, strict=False)):
        places = [group + (number - (len(series) - 1) / 2) * height for group in range(len(values))]
        drawn = ax.barh(places, [group[name] for group in values.values()], height, color=colour, label=name)
        ax.bar_label(drawn, fmt="%.2f", padding=2)
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.12)
    if not ax.figure.legends:  # one for all the axes
        ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(series))
