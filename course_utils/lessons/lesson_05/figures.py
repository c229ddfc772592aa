"""A figure of a mixture's answers over an adapter's weight."""

from __future__ import annotations

from collections.abc import Mapping

from course_utils import plots


def along(shares: Mapping[str, Mapping[float, float]], title: str, xlabel: str) -> None:
    """Shares of answers (%) over the weight of an adapter in a sum, as dots: {series: {weight: share}}."""
    _, ax = plots.figure(title, xlabel, "share of the answers (%)")
    if len(shares) > 4:
        raise ValueError(f"at most 4 series can be drawn, got {len(shares)}")
    for (name, points), marker, shift in zip(
        shares.items(), "os^v", (-0.006, 0.0, 0.006, 0.012), strict=False
    ):
        weights = [weight + shift for weight in points]  # overlapping marks are moved apart
        ax.plot(weights, [100 * share for share in points.values()], marker, markersize=8, label=name)
    ax.set(ylim=(-4, 104))
    ax.set_xticks(list(next(iter(shares.values()))))
    ax.figure.legend(ncols=len(shares), loc="outside lower center")
