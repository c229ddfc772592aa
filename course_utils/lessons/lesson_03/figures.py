"""The two ways through a layer with LoRA."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt

from course_utils.plots import COLOURS, INK, PALE, WIDTH, arrow, box, entitle


def lora_paths() -> None:
    """A layer with LoRA: the frozen matrix and, beside it, the way through the two thin ones."""
    fig, ax = plt.subplots(figsize=(WIDTH, 4))
    entitle(fig, "The frozen matrix, and beside it a narrow way round it")
    ax.set(xlim=(0, 10), ylim=(0, 8))
    ax.axis("off")
    box(ax, 5, 0.5, 6.4, 0.7, "x [n, in]", "none")
    arrow(ax, (3, 0.85), (3, 2))
    arrow(ax, (7, 0.85), (7, 2))
    box(ax, 3, 3.6, 3, 3.2, "W [out, in]\n\nfrozen", PALE)
    for base, tip, text in ((2, 3.4, "A [r, in]\nrandom at first"), (5.2, 3.8, "B [out, r]\nzero at first")):
        corners = [(5.5, base), (8.5, base), (7.3, tip), (6.7, tip)]
        ax.add_patch(mpl.patches.Polygon(corners, facecolor=COLOURS[5], edgecolor=INK, linewidth=0.8))
        ax.text(8.6, (base + tip) / 2, text, va="center")
    arrow(ax, (7, 3.4), (7, 3.8))
    ax.text(7.2, 3.6, "r numbers", va="center")
    arrow(ax, (7, 5.2), (7, 5.95))
    ax.text(7.2, 5.55, r"times $\alpha / r$", va="center")
    arrow(ax, (3, 5.2), (3, 5.95))
    ax.plot([3, 7], [6.2, 6.2], color=INK, linewidth=1)
    for x in (3, 7):
        ax.plot([x, x], [5.95, 6.2], color=INK, linewidth=1)
    ax.text(
        5,
        6.2,
        "+",
        ha="center",
        va="center",
        fontsize=11,
        color="black",
        bbox={"boxstyle": "circle,pad=0.15", "facecolor": PALE, "edgecolor": INK},
    )
    arrow(ax, (5, 6.45), (5, 7.1))
    box(ax, 5, 7.45, 6.4, 0.7, "y [n, out]", "none")
