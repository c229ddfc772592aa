"""The two ways through a layer with LoRA; a full change beside one of rank one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from course_utils import plots
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


def two_valleys(losses: Mapping[str, Mapping[float, Sequence[float]]], title: str) -> None:
    """Loss over the learning rate, mean and range over the seeds: {method: {rate: losses}}."""
    fig, ax = plots.figure(title, "learning rate", "validation loss (nats a token)")
    for colour, (method, of_rate) in zip(plots.COLOURS, losses.items(), strict=False):
        plots.means_and_ranges(ax, of_rate, colour, method)
    ax.set(xscale="log", yscale="log")
    fig.legend(ncols=2, loc="outside lower center")


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


def token_through(x: Any, a: Any, b: Any, scale: float) -> None:
    """One token x [in] on its way through A [rank, in] and B [out, rank], then times the scale."""
    rank, n_in = a.shape
    low = a @ x
    picture = Picture("How does one token go through A and B?")
    top = picture.bottom + 0.6
    rows = n_in * CELL
    a_right, b_right = n_in * CELL_WIDTH, rank * CELL_WIDTH

    a_top = top + (rows - rank * CELL) / 2
    a_cells = picture.grid(0, a_top, a, "A", "trained", mark=[(0, j) for j in range(n_in)])
    picture.text(a_right + 1, a_cells.y + rank * CELL / 2, "×", "center", bold=True)
    x_cells = picture.grid(a_right + 2, top, x[:, None], "x", "data", mark=[(j, 0) for j in range(n_in)])
    picture.text(x_cells.right + 1, a_cells.y + rank * CELL / 2, "=", "center", bold=True)
    picture.grid(x_cells.right + 2, a_top, low[:, None], "A x", mark=[(0, 0)])
    sums = " + ".join(f"{shown_number(p)} × {shown_number(q)}" for p, q in zip(a[0], x, strict=True))
    picture.text(0, picture.bottom + 0.9, f"{sums} = {shown_number(low[0])}", bold=True)

    top = picture.bottom + 0.8
    rows = b.shape[0] * CELL
    b_cells = picture.grid(0, top, b, "B", "trained")
    picture.text(b_right + 1, b_cells.y + rows / 2, "×", "center", bold=True)
    low_cells = picture.grid(b_right + 2, top + (rows - rank * CELL) / 2, low[:, None], "A x")
    picture.text(low_cells.right + 1, b_cells.y + rows / 2, "=", "center", bold=True)
    out_cells = picture.grid(low_cells.right + 2, top, (b @ low)[:, None], "B (A x)")
    picture.text(out_cells.right + 3.2, b_cells.y + rows / 2, f"× scale {scale:g} =", "center")
    picture.grid(out_cells.right + 6.4, top, scale * (b @ low)[:, None], "the change")
    picture.key()


def two_layouts(weight: Any, x: Any) -> None:
    """One linear layer as an nn.Linear, weight [out, in], and as a Conv1D, weight [in, out]; x [in]."""
    picture = Picture("How do the two classes store one and the same layer?")
    top = picture.bottom + 0.6
    for left, name, stored, shape in (
        (0, "nn.Linear", weight, "[out, in]"),
        (10, "Conv1D", weight.T, "[in, out]"),
    ):
        picture.text(left, top, name, bold=True)
        picture.grid(left, top + 0.9, stored, shape, "frozen")
    picture.grid(21, top + 0.9, x[None, :], "x", "data")
    picture.grid(21, top + 4.2, (weight @ x)[None, :], "y, of both")
    picture.key()


def gradients_of_two_steps(x: Any, steps: list[dict[str, Any]]) -> None:
    """A [1, in], B [out, 1], G [out] of two steps, the gradients "of A" and "of B"; the token is x [in]."""
    picture = Picture("Which of the two matrices has a gradient?")
    y = picture.bottom + 0.6
    for number, step in enumerate(steps, start=1):
        B, G, low = step["B"].flatten(), step["G"], step["A"] @ x
        picture.text(0, y, f"step {number}", bold=True)
        picture.grid(0, y + 0.9, x[None, :], "x", "data")
        picture.grid(6, y + 0.9, step["A"], "A", "trained")
        picture.grid(12, y + 0.9, low[None, :], "A x")
        picture.grid(15.5, y + 0.9, B[None, :], "B", "trained")
        picture.grid(21.5, y + 0.9, G[None, :], "G")
        products = " + ".join(f"{shown_number(b)} × {shown_number(g)}" for b, g in zip(B, G, strict=True))
        both = B @ G
        y = picture.bottom + 1
        picture.text(0, y, f"B · G = {products} = {shown_number(both)}")
        of_a, of_b = (
            f"({', '.join(map(shown_number, step[name].flatten().tolist()))})" for name in ("of A", "of B")
        )
        picture.text(0, y + 1.4, f"gradient of A = (B · G) x = {of_a}", bold=True)
        picture.text(0, y + 2.8, f"gradient of B = (A x) G = {of_b}", bold=True)
        y = picture.bottom + 1.2
    picture.key()


def merged_weight(weight: Any, b: Any, a: Any, scale: float) -> None:
    """A frozen weight [out, in] plus the scaled BA is one weight of the same shape."""
    change = scale * b @ a
    columns = weight.shape[1]
    picture = Picture("What becomes of A and B when they are merged?")
    top, wide = picture.bottom + 0.6, columns * CELL_WIDTH
    middle = top + 1.2 + weight.shape[0] * CELL / 2
    picture.grid(0, top, weight, "W", "frozen", mark=[(0, 0)])
    picture.text(wide + 1, middle, "+", "center", bold=True)
    picture.grid(wide + 2, top, change, "scale × BA", mark=[(0, 0)])
    picture.text(2 * wide + 3, middle, "=", "center", bold=True)
    picture.grid(2 * wide + 4, top, weight + change, "the new W", mark=[(0, 0)])
    picture.grid(0, picture.bottom + 0.8, b, "B", "trained", mark=[(0, 0)])
    picture.grid(5, picture.bottom - 1.2 - b.shape[0] * CELL, a, "A", "trained", mark=[(0, 0)])
    factors = " × ".join(shown_number(value) for value in (scale, b[0, 0], a[0, 0]))
    first, new = shown_number(weight[0, 0]), shown_number(weight[0, 0] + change[0, 0])
    picture.text(0, picture.bottom + 0.9, f"{first} + {factors} = {new}", bold=True)
    picture.key()
