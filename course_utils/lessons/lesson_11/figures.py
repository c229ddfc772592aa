"""Spreads of estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from course_utils.plots import COLOURS, figure


def spreads(values: Mapping[str, Sequence[float]], title: str, xlabel: str, ax: Axes | None = None) -> None:
    """For each name the median and the middle nine tenths of its values, horizontally, the first on top."""
    import numpy as np

    ax = ax or figure(title, xlabel, "")[1]
    for row, numbers in enumerate(values.values()):
        low, middle, high = np.quantile(np.asarray(numbers, dtype=float), [0.05, 0.5, 0.95])
        ax.plot([low, high], [row, row], color=COLOURS[0], linewidth=5, alpha=0.35, solid_capstyle="round")
        ax.plot([middle], [row], "o", color=COLOURS[0])
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.margins(y=0.1)
