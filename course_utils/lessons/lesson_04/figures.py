"""Pieces of a matrix, cuts and adapters as pictures; energy; losses over ranks, values, rates, dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from course_utils import plots
from course_utils.drawing import CELL, CELL_WIDTH, ROOM, Picture, shown_number
from course_utils.plots import COLOURS, INK, WIDTH, entitle


def energy_by_layer(curves: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """Energy curves, a panel per kind of layer and a line per layer: {matrix: {layer: curve}}."""
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
    for ax in axes[-1]:
        ax.set_xlabel("pieces kept")
        plots.log_ticks(ax, [1, 10, 100])
    fig.supylabel("share of the energy", fontsize=10, color=INK)
    fig.legend(*axes[0][0].get_legend_handles_labels(), ncols=3, loc="outside lower center")
    for ax in axes.flat[len(kinds) :]:
        ax.axis("off")


def _kind(layer: str) -> str:
    """A layer's name after the block's number: "transformer.h.0.attn.c_attn" is of kind "attn.c_attn"."""
    parts = layer.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[-1] + 1 :] if numbers else parts)


def cuts(
    series: Mapping[str, Mapping[int, Sequence[float]]],
    levels: Mapping[str, float],
    title: str,
    live: Mapping[str, Mapping[int, float]] | None = None,
) -> None:
    """Loss over the rank of a cut: {name: {rank: losses by seed}}; levels are lines, live runs stars."""
    fig, ax = plots.figure(title, "rank r", "held-out loss (nats a token)")
    for number, (name, points) in enumerate(series.items()):
        plots.means_and_ranges(ax, points, COLOURS[number], name)
    for style, (name, loss) in zip(("--", ":"), levels.items(), strict=True):
        ax.axhline(loss, color=INK, linestyle=style, linewidth=1, label=name)
    for name, points in (live or {}).items():
        ax.plot(list(points), list(points.values()), "*", markersize=9, color=COLOURS[3], label=name)
    ax.set(xscale="log", yscale="log")
    plots.log_ticks(ax, sorted({rank for points in series.values() for rank in points}))
    _plain_numbers(ax)
    fig.legend(ncols=2, loc="outside lower center")


def _plain_numbers(ax: Axes) -> None:
    """Label a logarithmic y axis with 0.05, 0.1, 0.2 instead of powers of ten."""
    low, high = ax.get_ylim()
    steps = (1, 3) if high / low > 100 else (1, 2, 5) if high / low > 5 else (1, 1.2, 1.5, 2, 3, 4, 5, 6, 8)
    ticks = [step * 10.0**power for power in range(-4, 5) for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)


def by_values(
    tasks: Mapping[str, Mapping[str, Mapping[int, tuple[int | None, Sequence[float]]]]],
    title: str,
    live: Mapping[str, tuple[int, float]] | None = None,
) -> None:
    """Loss over trained values, a panel per task: {task: {place: {values: (rank, losses by seed)}}}.

    live: {task: (values, loss)}, drawn as a star.
    """
    _, axes = plots.figure(title, "trained values", "loss (nats a token)", columns=len(tasks))
    # the first colours go to the places of the last panel, which are compared there
    known = list(dict.fromkeys(place for places in reversed(tasks.values()) for place in places))
    colours = [*COLOURS[:4], *COLOURS[5:]]  # without the second blue
    for ax, (task, places) in zip(axes, tasks.items(), strict=True):
        for place, points in places.items():
            number = known.index(place)
            losses = {values: one for values, (_, one) in points.items()}
            plots.means_and_ranges(ax, losses, colours[number], place)
            below = number == 1  # the second place's line is below the others
            offset = (0, 3) if number == 0 else (-5, -13) if below else (-6, 0)
            for values, (rank, one) in points.items():
                if rank is not None:
                    ax.annotate(
                        f"r {rank}",
                        (values, min(one) if below else max(one)),
                        xytext=offset,
                        textcoords="offset points",
                        ha="center" if number == 0 else "right",
                        color=colours[number],
                    )
        if task in (live or {}):
            ax.plot(*live[task], "*", markersize=11, color=INK, label="the run above")
        ax.set(xscale="log", yscale="log")
        ax.set_title(task)
        ax.margins(0.1, 0.25)  # room for the ranks below the lowest points
        _plain_numbers(ax)
        ax.set_xticks([10**4, 10**5, 10**6], ["10,000", "100,000", "1,000,000"])
        ax.set_xticks([], minor=True)
    handles = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    below = {"ncols": 2, "loc": "outside lower center"}
    axes[0].figure.legend(list(handles.values()), list(handles), **below)


def by_rate(grids: Mapping[str, Mapping[int, Mapping[float, Sequence[float]]]], title: str) -> None:
    """Loss over the rate, a panel per scale, a line per rank: {scale: {rank: {rate: losses by seed}}}."""
    _, axes = plots.figure(title, "learning rate", "validation loss (nats a token)", columns=2, sharey=True)
    for ax, (scale, ranks) in zip(axes, grids.items(), strict=True):
        for number, (rank, losses) in enumerate(ranks.items()):
            apart = {rate * 1.06 ** (number - 1): values for rate, values in losses.items()}
            plots.means_and_ranges(ax, apart, COLOURS[number], f"rank {rank}")
        ax.set(xscale="log", yscale="log")
        ax.set_title(scale)
        rates = sorted({rate for losses in ranks.values() for rate in losses})
        ax.set_xticks(rates, [f"{rate:g}" for rate in rates])
        ax.set_xticks([], minor=True)
        _plain_numbers(ax)
    axes[0].legend()


def dimensions(shares: Mapping[int, Sequence[float]], title: str, live: tuple[int, float]) -> None:
    """Share of the gain over the dimension of a random subspace, with a line at 90% and our run as a star."""
    _, ax = plots.figure(title, "dimension d of the subspace", "share of the gain (%)")
    percent = {d: [100 * share for share in values] for d, values in shares.items()}
    plots.means_and_ranges(ax, percent, COLOURS[0], "stored runs")
    ax.axhline(90, color=INK, linestyle="--", linewidth=1, label="90%")
    ax.plot(live[0], 100 * live[1], "*", markersize=11, color=COLOURS[3], label="the run above")
    ax.set(xscale="log", ylim=(0, 105))
    plots.log_ticks(ax, list(shares))
    ax.legend(loc="lower right")


def energy_and_gain(curves: Mapping[str, Sequence[float]], gain: Mapping[int, float], title: str) -> None:
    """Share of the energy in the first k pieces, {matrix: curve}, and of the gain, {pieces: share}."""
    fig, ax = plots.figure(title, "pieces kept, strongest first", "share (%)")
    for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
        percent = [100 * share for share in curve]
        ax.plot(range(1, len(percent) + 1), percent, color=colour, label=f"energy: {name}")
    style = {"color": COLOURS[3], "markersize": 9, "linewidth": 1}
    ax.plot(list(gain), [100 * share for share in gain.values()], "*--", label="gain: the change", **style)
    ax.set(xscale="log", ylim=(0, 103))
    plots.log_ticks(ax, list(gain))
    fig.legend(ncols=2, loc="outside lower center")


def sum_of_pieces(columns: Any, rows: Any) -> None:
    """columns [out, 2], rows [2, in]: each column times its row is a piece; the pieces' sum below them."""
    picture = Picture("Which two pieces add up to the matrix?")
    top, corner = picture.bottom + 0.6, 4.4  # of a piece: its column stands left of it, its row above
    n_out, n_in = len(columns), rows.shape[1]
    cells = top + 3.6
    for k, left in enumerate((0, 15.2)):
        row, column = rows[k : k + 1], columns[:, k : k + 1]
        picture.text(left, top, f"piece {k + 1}", bold=True)
        picture.grid(left + corner, top - 0.5, row, "row", mark=[(0, 0)])
        picture.grid(left + 0.6, cells - 1.2, column, "column", mark=[(0, 0)])
        picture.grid(left + corner, cells, column @ row, mark=[(0, 0)])
    picture.text(13.5, cells + n_out * CELL / 2, "+", "center", bold=True)
    first, second = (float(columns[0, k] * rows[k, 0]) for k in (0, 1))
    matrix, below = columns @ rows, picture.bottom + 0.9
    picture.grid(corner, below, matrix, "the matrix", mark=[(0, 0)])
    added = f"{shown_number(first)} + {shown_number(second)} = {shown_number(matrix[0, 0])}"
    picture.text(corner + n_in * CELL_WIDTH + 1, below + 1.2 + CELL / 2, added, bold=True)


def two_cuts(matrix: Any, ways: Mapping[str, Any]) -> None:
    """What some matrices of rank 1 keep of a matrix [out, in] and leave out, with the norm of the latter."""
    picture = Picture("Which matrix of rank 1 is closer?")
    wide, y = matrix.shape[1] * CELL_WIDTH, picture.bottom + 0.6
    for way, kept in ways.items():
        left_out = matrix - kept
        squares = float((left_out**2).sum())
        picture.text(0, y, way, bold=True)
        picture.grid(0, y + 0.8, kept, "kept")
        picture.grid(wide + 1.2, y + 0.8, left_out, "left out")
        x, middle = 2 * wide + 2.4, y + 2 + len(matrix) * CELL / 2
        picture.text(x, middle - 0.8, f"squares: {shown_number(squares)} in all")
        picture.text(x, middle + 0.8, f"error, the root: {shown_number(squares**0.5)}", bold=True)
        y = picture.bottom + 1.2


def cut_weights(base: Any, change: Any, cut: Any) -> None:
    """What set(0), set(1) and set(None) put into a layer: base [out, in] plus nothing, a cut, the change."""
    picture = Picture("What is the weight of the layer after set(rank)?")
    wide, y = base.shape[1] * CELL_WIDTH, picture.bottom + 0.6
    for call, part, name in (
        ("set(0)", 0 * change, "0"),
        ("set(1)", cut, "piece 1"),
        ("set(None)", change, "ΔW"),
    ):
        middle = y + 2 + len(base) * CELL / 2
        picture.text(0, y, call, bold=True)
        picture.grid(0, y + 0.8, base, "W before")
        picture.text(wide + 1, middle, "+", "center", bold=True)
        picture.grid(wide + 2, y + 0.8, part, name, "trained")
        picture.text(2 * wide + 3, middle, "=", "center", bold=True)
        picture.grid(2 * wide + 4, y + 0.8, base + part, "weight [out, in]")
        y = picture.bottom + 1
    picture.text(0, y, "set(1), if the layer is a Conv1D", bold=True)
    picture.grid(0, y + 0.8, (base + cut).T, "[in, out]")
    picture.key()


def pieces_on_a_token(columns: Any, rows: Any, x: Any) -> None:
    """What each piece, column k times row k, reads in a token x [in] and writes; its share of the energy."""
    energy = (columns**2).sum(0) * (rows**2).sum(1)
    picture = Picture("What does each piece do to this token?")
    y = picture.bottom + 0.6
    picture.grid(0, y - 0.4, x[None, :], "token x", "data")
    y = picture.bottom + 1.2
    for k in range(len(rows)):
        reads = float(rows[k] @ x)
        share = f"{float(energy[k] / energy.sum()):.0%} of the energy"
        picture.text(0, y, f"piece {k + 1}, {share}", bold=True)
        row = picture.grid(0, y + 0.8, rows[k][None, :], "row")
        middle = row.y + CELL / 2
        picture.text(row.right + 1.4, middle, "· x =", "center")
        number = picture.grid(row.right + 2.8, y + 0.8, [[reads]], "reads")
        picture.text(number.right + 1, middle, "×", "center")
        column = picture.grid(number.right + 2, y + 0.8, columns[:, k][None, :], "column")
        picture.text(column.right + 1, middle, "=", "center")
        picture.grid(column.right + 2, y + 0.8, reads * columns[:, k][None, :], "writes")
        y = picture.bottom + 1.2
    picture.key()


def adapters_of_a_block(
    sizes: Mapping[str, tuple[int, int]], adapters: Mapping[str, Mapping[str, int]], blocks: int
) -> None:
    """Which layers of a block some adapters train: sizes {layer: (in, out)}, {adapter: {layer: rank}}.

    A trained layer shows rank times (in + out); the last line has the sum over all blocks.
    """
    picture = Picture("Where do three adapters have their values?")
    left, high = 7.6, 2.6
    wide = (ROOM - left) / len(adapters)
    top = picture.bottom + 0.6
    for place, name in enumerate(adapters):
        picture.text(left + (place + 0.5) * wide, top, name, "center", bold=True)
    for number, (layer, (n_in, n_out)) in enumerate(sizes.items()):
        y = top + 1 + number * (high + 0.25)
        picture.text(0, y + 0.7, layer, bold=True)
        picture.text(0, y + 2, f"in + out {n_in + n_out:,}")
        for place, ranks in enumerate(adapters.values()):
            rank = ranks.get(layer)
            text = f"{rank} × {n_in + n_out:,}" if rank else "frozen"
            kind = "trained" if rank else "frozen"
            picture.box(left + place * wide, y, wide - 0.25, high, text, kind)
    y = picture.bottom + 1
    picture.text(0, y, f"in {blocks} blocks", bold=True)
    for place, ranks in enumerate(adapters.values()):
        values = blocks * sum(rank * sum(sizes[layer]) for layer, rank in ranks.items())
        picture.text(left + (place + 0.5) * wide, y, f"{values:,}", "center", bold=True)
    picture.key()
