"""Matplotlib figures in one style: colour-blind safe, axes labelled, titles that say the finding.

Every drawing function makes one figure, or uses the axes given, and returns nothing: a cell may end with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, without its yellow, which is too light for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLE = {
    "figure.figsize": (6.4, 3.4),
    "figure.dpi": 90,
    "savefig.dpi": 90,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "font.size": 10,
    "font.family": "DejaVu Sans",
}
mpl.rcParams.update(STYLE)


def figure(title: str, xlabel: str, ylabel: str, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure and its axes (an array for several columns), titled and labelled."""
    fig, axes = plt.subplots(1, columns, figsize=(6.4 if columns == 1 else 4.2 * columns, 3.4), **options)
    for ax in [axes] if columns == 1 else axes:
        ax.set(xlabel=xlabel, ylabel=ylabel)
    fig.suptitle(title, x=0.01, ha="left", fontsize=11)
    return fig, axes


def lines(
    series: Mapping[str, tuple[Sequence, Sequence]],
    title: str,
    xlabel: str,
    ylabel: str,
    logx: bool = False,
    logy: bool = False,
    ax: Axes | None = None,
) -> None:
    """One line for each name in `series`: {name: (x, y)}."""
    ax = ax or figure(title, xlabel, ylabel)[1]
    for name, (x, y) in series.items():
        ax.plot(x, y, marker="o" if len(x) <= 20 else None, markersize=4, label=name)
    if logx:
        ax.set_xscale("log")
    if logy:
        ax.set_yscale("log")
    if len(series) > 1:
        ax.legend()


def bars(
    values: Mapping[str, float],
    title: str,
    xlabel: str,
    ax: Axes | None = None,
    highlight: Sequence[str] = (),
) -> None:
    """Horizontal bars, the first on top, with their values; highlighted ones in the second colour."""
    ax = ax or figure(title, xlabel, "")[1]
    # a blank at an end belongs to a token and is made visible, one between words is not
    names = [name.replace("$", r"\$") if " " in name.strip() else printable(name) for name in values]
    colours = [COLOURS[1] if name in highlight else COLOURS[0] for name in values]
    drawn = ax.barh(range(len(names)), list(values.values()), color=colours)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.bar_label(drawn, fmt="%.3g", padding=3, fontsize=8)
    ax.margins(x=0.12)


def history(history: Any, title: str = "The loss falls", ax: Axes | None = None) -> None:
    """Training loss by step, smoothed over the raw values, with the losses of the evaluations."""
    steps, losses = history.column("loss")
    ax = ax or figure(title, "step", "loss (nats a token)")[1]
    ax.plot(steps, losses, color=COLOURS[0], alpha=0.25, linewidth=1)
    ax.plot(steps, smooth(losses), color=COLOURS[0], label="training")
    names = sorted({name for row in history.rows for name in row if name.endswith("loss") and name != "loss"})
    for name, colour in zip(names, COLOURS[1:], strict=False):
        ax.plot(*history.column(name), color=colour, marker="o", markersize=4, label=name.replace("_", " "))
    ax.legend()


def smooth(values: Sequence[float], share: float = 0.05) -> list[float]:
    """Exponential moving average over about `share` of the run, without the start's bias."""
    keep = 1 - 1 / max(1.0, share * len(values))
    result, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        result.append(total / weight)
    return result


def printable(token: str) -> str:
    """A token's text for a label: blanks and line ends made visible, dollars not read as mathematics."""
    return token.replace("\n", "\\n").replace(" ", "\u00b7").replace("$", r"\$")


def coloured_text(
    tokens: Sequence[str], losses: Sequence[float | None], title: str, ax: Axes | None = None, width: int = 72
) -> None:
    """A text on boxes coloured by each token's loss in nats, which stands below; None leaves one white."""
    texts = [printable(token) for token in tokens]
    lengths = [max(len(text.replace(r"\$", "$")), 2.6) for text in texts]
    places, line, column = [], 0, 0.0
    for token, length in zip(tokens, lengths, strict=True):
        if column and column + length > width:
            line, column = line + 1, 0.0
        places.append((line, column))
        line, column = (line + 1, 0.0) if token.endswith("\n") else (line, column + length)
    lines = places[-1][0] + 1
    if ax is None:
        fig, ax = figure(title, "", "")
        fig.set_figheight(0.5 + 0.55 * lines)
    for text, length, loss, (line, column) in zip(texts, lengths, losses, places, strict=True):
        shade = min((loss or 0) / 10, 1.0)
        face = "white" if loss is None else mpl.colormaps["Oranges"](shade)
        ax.add_patch(
            mpl.patches.Rectangle(
                (column, line - 0.28), length - 0.1, 0.56, facecolor=face, edgecolor="#BBBBBB", linewidth=0.5
            )
        )
        ax.text(
            column + length / 2,
            line,
            text,
            family="DejaVu Sans Mono",
            fontsize=9,
            ha="center",
            va="center_baseline",
            color="white" if shade > 0.6 else "black",
        )
        if loss is not None:
            ax.text(column + length / 2, line + 0.46, f"{loss:.1f}", fontsize=6, ha="center", va="center")
    ax.set(xlim=(-0.5, width + 0.5), ylim=(lines - 0.3, -0.5), xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def gpt2_block(config: Any) -> None:
    """GPT-2's block with the shapes of a transformers config: the way through, and attention in detail."""
    width, heads = config.n_embd, config.n_head
    fig, (way, detail) = plt.subplots(1, 2, figsize=(10.4, 6), width_ratios=[1, 1.45])
    fig.suptitle(
        "A block reads the stream of vectors twice, and adds twice to it: attention, then MLP",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    for ax in (way, detail):
        ax.set(xlim=(0, 10), ylim=(0, 12))
        ax.axis("off")
    _block_way(way, config)
    _attention_detail(detail, width, heads)


def _block_way(ax: Axes, config: Any) -> None:
    """Bottom to top: tokens, embedding, a block with its two additions, head."""
    width, inner = config.n_embd, config.n_inner or 4 * config.n_embd
    ax.add_patch(
        mpl.patches.Rectangle((0.9, 2.55), 8.6, 6.9, facecolor="#F6F6F6", edgecolor="#888888", linestyle="--")
    )
    ax.text(9.2, 6, f"one of {config.n_layer} blocks", rotation=90, ha="center", va="center", fontsize=9)
    _arrow(ax, (2, 0.6), (2, 11.1), linewidth=2.2)
    for y, middle, text, colour in (
        (2.95, 4.3, "attention", COLOURS[4]),
        (6.35, 7.7, f"MLP\n{width} $\\to$ {inner:,} $\\to$ {width}", COLOURS[5]),
    ):
        ax.plot([2, 6, 6], [y, y, y + 0.15], color="black", linewidth=1)
        _arrow(ax, (6, y), (6, y + 0.25))
        _box(ax, 6, y + 0.55, 4.6, 0.6, f"LayerNorm, {width}", "#E4E4E4")
        _arrow(ax, (6, y + 0.85), (6, middle - 0.05))
        _box(ax, 6, middle + 0.4, 4.6, 0.9, text, colour)
        ax.plot([6, 6], [middle + 0.85, middle + 1.3], color="black", linewidth=1)
        _arrow(ax, (6, middle + 1.3), (2.25, middle + 1.3))
        ax.text(
            2,
            middle + 1.3,
            "+",
            ha="center",
            va="center",
            fontsize=11,
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black"},
        )
    _box(ax, 4.6, 0.45, 8.6, 0.7, "token ids [B, T]", "white")
    _box(
        ax,
        4.6,
        1.6,
        8.6,
        1.0,
        f"wte [{config.vocab_size:,}, {width}] of the tokens\n"
        f"+ wpe [{config.n_positions:,}, {width}] of the positions",
        "#E4E4E4",
    )
    _box(
        ax,
        4.6,
        10.3,
        8.6,
        1.0,
        f"LayerNorm, then lm_head: wte again,\n{width} $\\to$ {config.vocab_size:,}",
        "#E4E4E4",
    )
    _box(ax, 4.6, 11.5, 8.6, 0.7, f"logits [B, T, {config.vocab_size:,}]", "white")
    ax.text(1.45, 6, f"stream [B, T, {width}]", rotation=90, ha="center", va="center", fontsize=9)


def _attention_detail(ax: Axes, width: int, heads: int) -> None:
    """Bottom to top: the fused projection, its three parts, one head's table of weights, all heads joined."""
    size, parts, left, wide = width // heads, ("query", "key", "value"), 3.3, 2.1
    _box(ax, 5.1, 0.45, 9, 0.7, f"stream after LayerNorm [B, T, {width}]", "white")
    _arrow(ax, (left + 1.5 * wide, 0.8), (left + 1.5 * wide, 1.3))
    ax.text(0.6, 1.95, f"c_attn, fused:\n[{width}, 3 * {width}]", va="center", fontsize=9)
    for part, name in enumerate(parts):
        middle = left + wide * (part + 0.5)
        for head in range(heads):
            _strip(ax, left + wide * (part + head / heads), 1.35, wide / heads, 1.2, part, head)
        ax.text(middle, 1.95, name, ha="center", va="center", color="white", fontsize=10)
        _arrow(ax, (left + wide * (part + 0.5 / heads), 2.55), (left + wide * (part + 0.5 / heads), 3.2))
        _strip(ax, left + wide * (part + 0.5 / heads) - 0.15, 3.25, 0.3, 1.5, part, 0)
    ax.text(0.6, 4, f"one of {heads} heads:\nq, k, v [T, {size}] each", va="center", fontsize=9)
    rows = 6
    for row in range(rows):
        for column in range(rows):
            ax.add_patch(
                mpl.patches.Rectangle(
                    (3.5 + 0.4 * column, 7.55 - 0.35 * row),
                    0.4,
                    0.35,
                    facecolor=COLOURS[4] if column <= row else "white",
                    edgecolor="#BBBBBB",
                    linewidth=0.7,
                )
            )
    for part in (0, 1):
        _arrow(ax, (left + wide * (part + 0.5 / heads), 4.75), (4.1 + 1.2 * part, 5.75))
    ax.text(
        0.6,
        6.8,
        f"softmax(q k$^T$ / $\\sqrt{{{size}}}$)\n[T, T]; white: the\nfuture, masked",
        va="center",
        fontsize=9,
    )
    ax.plot([left + wide * (2 + 0.5 / heads)] * 2, [4.75, 6.8], color="black", linewidth=1)
    _arrow(ax, (left + wide * (2 + 0.5 / heads), 6.8), (5.95, 6.8))
    ax.text(7.95, 6.8, "weights times v", va="center", fontsize=9)
    _arrow(ax, (4.7, 7.95), (4.7, 8.55))
    for head in range(heads):
        _strip(ax, 4.45 + wide * head / heads, 8.6, wide / heads, 0.7, 2, head)
    ax.text(0.6, 8.95, f"all heads side by side\n[T, {heads} * {size}]", va="center", fontsize=9)
    _arrow(ax, (5.5, 9.35), (5.5, 9.75))
    _box(ax, 5.1, 10.1, 9, 0.65, f"c_proj [{width}, {width}]", "#E4E4E4")
    _arrow(ax, (5.5, 10.45), (5.5, 11.1))
    _box(ax, 5.1, 11.5, 9, 0.7, f"added to the stream [B, T, {width}]", "white")


def _strip(ax: Axes, x: float, y: float, width: float, height: float, part: int, head: int) -> None:
    """The columns of one head in the queries (part 0), keys (1) or values (2); the first head is strong."""
    ax.add_patch(
        mpl.patches.Rectangle(
            (x, y),
            width,
            height,
            facecolor=COLOURS[part],
            edgecolor="white",
            alpha=0.95 if head == 0 else 0.6,
        )
    )


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    """A box around a text, its centre at x, y."""
    ax.add_patch(
        mpl.patches.Rectangle(
            (x - width / 2, y - height / 2),
            width,
            height,
            facecolor=colour,
            edgecolor="#444444",
            linewidth=0.8,
            zorder=3,
        )
    )
    ax.text(x, y, text, ha="center", va="center", fontsize=9, zorder=4)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], linewidth: float = 1) -> None:
    ax.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>",
            "color": "black",
            "linewidth": linewidth,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def lora_paths() -> None:
    """A layer with LoRA: the frozen matrix and, beside it, the way through the two thin ones."""
    fig, ax = plt.subplots(figsize=(6.4, 4))
    fig.suptitle("The frozen matrix, and beside it a narrow way round it", x=0.01, ha="left", fontsize=11)
    ax.set(xlim=(0, 10), ylim=(0, 8))
    ax.axis("off")
    _box(ax, 5, 0.5, 6.4, 0.7, "x [n, in]", "white")
    _arrow(ax, (3, 0.85), (3, 2))
    _arrow(ax, (7, 0.85), (7, 2))
    _box(ax, 3, 3.6, 3, 3.2, "W [out, in]\n\nfrozen", "#E4E4E4")
    for base, tip, text in ((2, 3.4, "A [r, in]\nrandom at first"), (5.2, 3.8, "B [out, r]\nzero at first")):
        corners = [(5.5, base), (8.5, base), (7.3, tip), (6.7, tip)]
        ax.add_patch(mpl.patches.Polygon(corners, facecolor=COLOURS[5], edgecolor="#444444", linewidth=0.8))
        ax.text(8.6, (base + tip) / 2, text, va="center", fontsize=9)
    _arrow(ax, (7, 3.4), (7, 3.8))
    ax.text(7.2, 3.6, "r numbers", va="center", fontsize=9)
    _arrow(ax, (7, 5.2), (7, 5.95))
    ax.text(7.2, 5.55, r"times $\alpha / r$", va="center", fontsize=9)
    _arrow(ax, (3, 5.2), (3, 5.95))
    ax.plot([3, 7], [6.2, 6.2], color="black", linewidth=1)
    for x in (3, 7):
        ax.plot([x, x], [5.95, 6.2], color="black", linewidth=1)
    ax.text(
        5,
        6.2,
        "+",
        ha="center",
        va="center",
        fontsize=11,
        bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "black"},
    )
    _arrow(ax, (5, 6.45), (5, 7.1))
    _box(ax, 5, 7.45, 6.4, 0.7, "y [n, out]", "white")


def heatmaps(matrices: Mapping[str, Any], title: str, limit: float | None = None) -> None:
    """Matrices side by side, blue below zero, red above, on one scale up to `limit` (None: the largest)."""
    arrays = {name: matrix.detach().cpu().numpy() for name, matrix in matrices.items()}
    limit = limit or max(abs(array).max() for array in arrays.values()) or 1.0
    fig, axes = plt.subplots(1, len(arrays), figsize=(2.9 * len(arrays) + 0.6, 3.1), squeeze=False)
    fig.suptitle(title, x=0.01, ha="left", fontsize=11)
    for ax, (name, array) in zip(axes[0], arrays.items(), strict=True):
        image = ax.imshow(array, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set(xlabel=f"{name} [{array.shape[0]}, {array.shape[1]}]", xticks=[], yticks=[])
        ax.grid(visible=False)
    fig.colorbar(image, ax=list(axes[0]), shrink=0.8, label="weight")


def bands(
    series: Mapping[str, Mapping[float, Sequence[float]]],
    title: str,
    xlabel: str,
    ylabel: str,
    logx: bool = False,
    logy: bool = False,
    ax: Axes | None = None,
) -> None:
    """For each name in `series` the mean over repeated values, and their range: {name: {x: values}}."""
    ax = ax or figure(title, xlabel, ylabel)[1]
    means = {
        name: (list(points), [sum(values) / len(values) for values in points.values()])
        for name, points in series.items()
    }
    lines(means, "", "", "", logx=logx, logy=logy, ax=ax)
    for name, line in zip(series, list(ax.lines)[-len(series) :], strict=True):
        low, high = ([limit(values) for values in series[name].values()] for limit in (min, max))
        ax.fill_between(list(series[name]), low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    if logx:
        log_ticks(ax, sorted({x for points in series.values() for x in points}))


def log_ticks(ax: Axes, values: Sequence[float]) -> None:
    """Put these values, as plain numbers, on a logarithmic x axis."""
    ax.set_xticks(list(values), [f"{value:,}" for value in values])
    ax.set_xticks([], minor=True)


def energy_by_layer(curves: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """Energy curves, a panel for each kind of layer, a line for each layer: {matrix: {layer: curve}}."""
    kinds = list(dict.fromkeys(_kind(layer) for layer in next(iter(curves.values()))))
    fig, axes = plt.subplots(1, len(kinds), figsize=(2.7 * len(kinds), 3.2), sharey=True, squeeze=False)
    fig.suptitle(title, x=0.01, ha="left", fontsize=11)
    for ax, kind in zip(axes[0], kinds, strict=True):
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
        ax.set(xscale="log", xlabel="directions kept", ylim=(0, 1.02))
        ax.set_title(kind, fontsize=10)
    axes[0][0].set_ylabel("share of the energy")
    axes[0][0].legend(fontsize=8)


def _kind(layer: str) -> str:
    """A layer's name from the block's number on: "transformer.h.0.attn.c_attn" is of kind "attn.c_attn"."""
    parts = layer.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[-1] + 1 :] if numbers else parts)


def page(title: str, panels: Mapping[str, tuple[str, str, Any]]) -> None:
    """One page for a slide, two panels a row: {title: (xlabel, ylabel, function that draws on the axes)}."""
    rows = -(-len(panels) // 2)
    fig, axes = plt.subplots(rows, 2, figsize=(10.4, 3.1 * rows), squeeze=False)
    fig.suptitle(title, x=0.01, ha="left", fontsize=13)
    for ax, (name, (xlabel, ylabel, draw)) in zip(axes.flat, panels.items(), strict=False):
        draw(ax)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.set_title(name)
    for ax in list(axes.flat)[len(panels) :]:
        ax.axis("off")


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


def prompt_and_prefix(length: int = 3, tokens: int = 4, layers: int = 4) -> None:
    """What is trained in front of a text: one row of vectors, or keys and values in every layer."""
    fig, axes = plt.subplots(1, 2, figsize=(10.4, 3.7))
    fig.suptitle(
        "A prompt is trained at the input only; a prefix, in every layer", x=0.01, ha="left", fontsize=11
    )
    for ax, (name, prefix) in zip(axes, (("prompt tuning", False), ("prefix tuning", True)), strict=True):
        ax.set(xlim=(-2.6, length + tokens + 0.2), ylim=(-1.3, layers + 1.2))
        ax.axis("off")
        ax.set_title(name)
        for row in range(layers + 1):
            text = "embeddings" if row == 0 else f"layer {row}"
            ax.text(-0.15, row + 0.4, text, ha="right", va="center", fontsize=9)
            for column in range(length + tokens):
                _prompt_cell(ax, column, row, column < length, prefix)
        for start, width, text in (
            (0, length, "soft prompt" if not prefix else "prefix"),
            (length, tokens, "text"),
        ):
            ax.plot([start + 0.1, start + width - 0.1], [-0.25, -0.25], color="black", linewidth=1)
            ax.text(start + width / 2, -0.4, text, ha="center", va="top", fontsize=9)
    handles = [
        mpl.patches.Patch(facecolor=colour, edgecolor="#444444", label=label)
        for colour, label in ((COLOURS[1], "trained"), (COLOURS[4], "computed by the frozen model"))
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=2)


def _prompt_cell(ax: Axes, column: int, row: int, in_front: bool, prefix: bool) -> None:
    """One position in one layer; a prefix has keys and values there and no input embedding."""
    if in_front and prefix and row == 0:
        return
    trained = in_front and (prefix or row == 0)
    ax.add_patch(
        mpl.patches.Rectangle(
            (column + 0.08, row + 0.08),
            0.84,
            0.7,
            edgecolor="#444444",
            facecolor=COLOURS[1] if trained else COLOURS[4],
            linewidth=0.7,
            alpha=1 if in_front else 0.55,
        )
    )
    if in_front and prefix:
        ax.text(column + 0.5, row + 0.43, "k, v", ha="center", va="center", fontsize=8, color="white")


def over_distance(
    series: Mapping[str, Sequence[Sequence[Mapping[str, float]]]],
    title: str,
    marks: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Proxy and gold score over sqrt(KL): a line a name through the means over seeds, a small dot a run.

    series: {name: points}, a point being its runs, {"kl", "proxy", "gold"} each. marks: single runs by name.
    """
    _, axes = figure(title, "√KL from the reference (√nats an answer)", "", columns=2)
    for ax, score, label in zip(axes, ("proxy", "gold"), ("proxy (reward model)", "gold score"), strict=True):
        ax.set_ylabel(label)
        for (name, points), colour in zip(series.items(), COLOURS, strict=False):
            runs = [[(max(run["kl"], 0) ** 0.5, run[score]) for run in point] for point in points]
            means = [[sum(values) / len(values) for values in zip(*point, strict=True)] for point in runs]
            ax.plot(*zip(*means, strict=True), "-o", color=colour, markersize=4, label=name)
            ax.plot(
                *zip(*(run for point in runs for run in point), strict=True),
                ".",
                color=colour,
                markersize=3,
                alpha=0.4,
            )
        for (name, run), marker in zip((marks or {}).items(), itertools.cycle("*X"), strict=False):
            ax.plot(
                [max(run["kl"], 0) ** 0.5], [run[score]], marker, color=COLOURS[-1], markersize=10, label=name
            )
    axes[1].legend()


def intervals(
    values: Mapping[str, tuple[float, float, float]],
    title: str,
    xlabel: str,
    ax: Axes | None = None,
    zero: bool = True,
) -> None:
    """For each name a value and its interval (value, low, high), horizontally, the first on top."""
    ax = ax or figure(title, xlabel, "")[1]
    for row, (middle, low, high) in enumerate(values.values()):
        clear = zero and not low <= 0 <= high
        ax.errorbar(
            [middle],
            [row],
            xerr=[[middle - low], [high - middle]],
            fmt="o",
            capsize=3,
            color=COLOURS[1 if clear else 0],
        )
    if zero:
        ax.axvline(0, color="black", linestyle="--", linewidth=1)
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.margins(y=0.15)


def tradeoff(
    panels: Mapping[str, Mapping[str, tuple[float, float]]],
    ylabel: str,
    title: str,
    logx: Sequence[str] = (),
    front: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Quality over costs, a panel each: {cost: {name: (cost, quality)}}; hollow where not on its front.

    front: names by panel that no other name beats. Costs of 0 have no place on a logarithmic axis.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.4), sharey=True, squeeze=False)
    fig.suptitle(title, x=0.01, ha="left", fontsize=11)
    for ax, (cost, points) in zip(axes[0], panels.items(), strict=True):
        for (name, (x, y)), marker, colour in zip(points.items(), "os^vDP", COLOURS, strict=False):
            filled = front is None or name in front[cost]
            ax.plot(
                [x],
                [y],
                marker,
                color=colour,
                markersize=9,
                label=name,
                markerfacecolor=colour if filled else "white",
            )
        ax.set(xlabel=cost, xscale="log" if cost in logx else "linear")
        ax.margins(x=0.3, y=0.15)
    axes[0][0].set_ylabel(ylabel)
    handles = [
        mpl.lines.Line2D(
            [], [], color=line.get_color(), marker=line.get_marker(), linestyle="", label=line.get_label()
        )
        for line in axes[0][0].lines
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def grouped(
    values: Mapping[str, Mapping[str, float]], title: str, xlabel: str, ax: Axes | None = None
) -> None:
    """Horizontal bars in groups, the first on top: {group: {series: value}}, a colour a series."""
    ax = ax or figure(title, xlabel, "")[1]
    series = list(next(iter(values.values())))
    height = 0.8 / len(series)
    for number, (name, colour) in enumerate(zip(series, COLOURS, strict=False)):
        places = [group + (number - (len(series) - 1) / 2) * height for group in range(len(values))]
        drawn = ax.barh(places, [group[name] for group in values.values()], height, color=colour, label=name)
        ax.bar_label(drawn, fmt="%.2f", padding=2, fontsize=7)
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.12)
    if not ax.figure.legends:  # one for all the axes
        ax.figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(series))
