"""Answers of a mixture over its weight."""

from __future__ import annotations

from collections.abc import Mapping

from course_utils import plots


def along(shares: Mapping[str, Mapping[float, float]], title: str, xlabel: str) -> None:
    """Shares of answers (%) over the weight of an adapter in a sum: {what: {weight: share}}; dots."""
    _, ax = plots.figure(title, xlabel, "share of the answers (%)")
    if len(shares) > 4:
        raise ValueError(f"there are marks for 4 series, and {len(shares)} to draw")
    for (name, points), marker, shift in zip(
        shares.items(), "os^v", (-0.006, 0.0, 0.006, 0.012), strict=False
    ):
        weights = [weight + shift for weight in points]  # marks that fall on each other are moved
        ax.plot(weights, [100 * share for share in points.values()], marker, markersize=8, label=name)
    ax.set(ylim=(-4, 104))
    ax.set_xticks(list(next(iter(shares.values()))))
    ax.figure.legend(ncols=len(shares), loc="outside lower center")
