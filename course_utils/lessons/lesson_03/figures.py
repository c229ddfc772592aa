"""The two ways through a layer with LoRA; a full change beside one of rank one."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from course_utils.drawing import CELL, CELL_WIDTH, ROOM, Picture, ground_and_edge, shown_number
from course_utils.plots import INK, PALE, WIDTH, arrow, box, entitle


def lora_paths() -> None:
    """A layer with LoRA: the frozen matrix and, beside it, the way through the two thin ones."""
    fig, ax = plt.subplots(figsize=(WIDTH, 4))
    entitle(fig, "The frozen matrix, and beside it a narrow way round it")
    ax.set(xlim=(0, 10), ylim=(0, 8))
    ax.axis("off")
    box(ax, 5, 0.5, 6.4, 0.7, "x [n, in]", "none")
    arrow(ax, (3, 0.85), (3, 2))
    arrow(ax, (7, 0.85), (7, 2))
    for style in ground_and_edge("frozen"):
        ax.add_patch(mpl.patches.Rectangle((1.5, 2), 3, 3.2, **style))
    ax.text(3, 3.6, "W [out, in]\n\nfrozen", ha="center", va="center", color="black", zorder=3)
    for base, tip, text in ((2, 3.4, "A [r, in]\nrandom at first"), (5.2, 3.8, "B [out, r]\nzero at first")):
        corners = [(5.5, base), (8.5, base), (7.3, tip), (6.7, tip)]
        for style in ground_and_edge("trained"):
            ax.add_patch(mpl.patches.Polygon(corners, **style))
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


def full_beside_lora(weight: Any, change: Any, b: Any, a: Any) -> None:
    """W + ΔW, every number of it trained, beside W + BA, of which only B and A are.

    Arrays or tensors: weight, change [out, in], b [out, 1], a [1, in].
    """
    rows, columns = weight.shape
    product = b @ a
    i, j = divmod(int(abs(product).argmax()), columns)
    picture = Picture("How many numbers does a change of W take?")
    right, middle = ROOM - columns * CELL_WIDTH, columns * CELL_WIDTH / 2
    top = picture.bottom + 1.2
    left_of_b = right - CELL_WIDTH - 0.3
    plus = top + 3 + rows * CELL
    below = plus + 4.2  # the cells of ΔW and BA
    end = below + rows * CELL + 0.9

    picture.text(0, top, "full fine-tuning", bold=True)
    picture.grid(0, top + 0.9, weight, "W, as it was loaded")
    picture.text(middle, plus, "+", "center", bold=True)
    picture.grid(0, below - 1.2, change, "ΔW", "trained")
    picture.text(0, end, f"ΔW: {rows * columns} trained numbers")

    picture.text(right, top, "LoRA, rank 1", bold=True)
    picture.grid(right, top + 0.9, weight, "W", "frozen")
    picture.text(right + middle, plus, "+", "center", bold=True)
    picture.grid(left_of_b, below - 1.2, b, "B", "trained", mark=[(i, 0)])
    picture.grid(right, below - CELL - 1.5, a, "A", "trained", mark=[(0, j)])
    picture.text(left_of_b, end, f"BA: {rows} + {columns} trained numbers")
    picture.grid(right, below, product, mark=[(i, j)])
    factors = " × ".join(shown_number(value) for value in (b[i, 0], a[0, j]))
    picture.text(right, end + 1.3, f"{factors} = {shown_number(product[i, j])}", bold=True)
    picture.key()
