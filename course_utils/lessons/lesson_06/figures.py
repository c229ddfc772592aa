"""Lesson 06's figure: the two terms of the rise, per token."""

from __future__ import annotations

import torch

from course_utils import plots
from course_utils.plots import COLOURS, INK


def token_terms(first: torch.Tensor, second: torch.Tensor, title: str, limit: float = 1.0) -> None:
    """Distribution over tokens of the two terms of the rise, with their means as lines."""
    _, axes = plots.figure(title, "", "", columns=2)
    panels = {"first term of a token (nats)": (first, -limit), "second term of a token (nats)": (second, 0.0)}
    for ax, colour, (name, (values, low)) in zip(axes, COLOURS, panels.items(), strict=False):
        share = torch.full((len(values),), 1 / len(values))
        inside = values.clamp(low, limit)
        ax.hist(inside.numpy(), bins=41, range=(low, limit), color=colour, weights=share.numpy())
        ax.axvline(values.mean().item(), color=INK, linewidth=1.5, label=f"mean {values.mean():.3f}")
        ax.set(xlabel=name, xlim=(low, limit))
        ax.legend()
    axes[0].set_ylabel("share of the tokens")
