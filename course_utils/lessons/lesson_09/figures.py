"""Figures of lesson 09: shares by kind, and values with their range."""

from collections.abc import Mapping, Sequence
from statistics import mean

from course_utils import plots


def shares(title: str, measures: Mapping[str, Mapping[str, float]]) -> None:
    """Horizontal bars side by side: each kind's share in every measure, {measure: {kind: share}}."""
    _, ax = plots.figure(title, "share (%)", "")
    kinds = list(next(iter(measures.values())))
    height = 0.8 / len(measures)
    for number, (name, values) in enumerate(measures.items()):
        places = [place + (number - (len(measures) - 1) / 2) * height for place in range(len(kinds))]
        ax.barh(places, [100 * values[kind] for kind in kinds], height, label=name)
    ax.set_yticks(range(len(kinds)), kinds)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.legend()


def ranges(title: str, panels: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """For each panel and row, the mean and range over runs, in per cent: {panel: {row: values}}."""
    _, axes = plots.figure(title, "", "", columns=len(panels))  # two or more
    for ax, (name, rows) in zip(axes, panels.items(), strict=True):
        for place, values in enumerate(rows.values()):
            middle = 100 * mean(values)
            beside = [[middle - 100 * min(values)], [100 * max(values) - middle]]
            ax.errorbar([middle], [place], xerr=beside, fmt="o", capsize=4, color=plots.COLOURS[0])
        ax.set_yticks(range(len(rows)), list(rows))
        ax.tick_params(labelleft=ax is axes[0])
        ax.set(xlabel=f"{name} (%)", xlim=(-4, 104), ylim=(len(rows) - 0.5, -0.5))
        ax.grid(axis="y", visible=False)
