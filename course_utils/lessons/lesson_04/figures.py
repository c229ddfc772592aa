"""Energy of singular values by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt

from course_utils.plots import COLOURS, INK, WIDTH, entitle


def energy_by_layer(curves: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """Energy curves, a panel for each kind of layer, a line for each layer: {matrix: {layer: curve}}."""
    kinds = list(dict.fromkeys(_kind(layer) for layer in next(iter(curves.values()))))
    rows = -(-len(kinds) // 2)
    fig, axes = plt.subplots(rows, 2, figsize=(WIDTH, 2.6 * rows), sharex=True, sharey=True, squeeze=False)
    entitle(fig, title)
    for ax, kind in zip(axes.flat, kinds, strict=False):
        for colour, (matrix, layers) in zip(COLOURS, curves.items(), strict=False):
            here = [curve for layer, curve in layers.items() if _kind(layer) == kind]
            for number, curve in enumerate(here):
                ax.plot(
                    range(1, len(curve) + 1),
                    curve,
                    color=colour,
                    linewidth=1.2,
                    alpha=0.8,
                    label=matrix if number == 0 else None,
                )
        ax.set(xscale="log", ylim=(0, 1.02), title=kind)
    fig.supxlabel("directions kept", fontsize=10, color=INK)
    fig.supylabel("share of the energy", fontsize=10, color=INK)
    axes[0][0].legend()
    for ax in axes.flat[len(kinds) :]:
        ax.axis("off")


def _kind(layer: str) -> str:
    """A layer's name from the block's number on: "transformer.h.0.attn.c_attn" is of kind "attn.c_attn"."""
    parts = layer.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[-1] + 1 :] if numbers else parts)


def panels(title: str, panels: Mapping[str, tuple[str, str, Any]]) -> None:
    """One page for a slide, two panels a row: {title: (xlabel, ylabel, function that draws on the axes)}."""
    rows = -(-len(panels) // 2)
    fig, axes = plt.subplots(rows, 2, figsize=(WIDTH, 2.9 * rows), squeeze=False)
    entitle(fig, title)
    for ax, (name, (xlabel, ylabel, draw)) in zip(axes.flat, panels.items(), strict=False):
        draw(ax)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.set_title(name)
    for ax in list(axes.flat)[len(panels) :]:
        ax.axis("off")
