"""Matplotlib figures in one style: colour-blind safe, axes labelled, titles that say the finding.

Every drawing function makes one figure, or uses the axes given, and returns nothing: a cell may end with it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, without its yellow, which is too light for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
FIGURE_STYLE = {
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
mpl.rcParams.update(FIGURE_STYLE)


def figure(title: str, xlabel: str, ylabel: str, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure and its axes (an array for several columns), titled and labelled."""
    fig, axes = plt.subplots(1, columns, figsize=(6.4 if columns == 1 else 4.2 * columns, 3.4), **options)
    for ax in [axes] if columns == 1 else axes:
        ax.set(xlabel=xlabel, ylabel=ylabel)
    fig.suptitle(title, x=0.01, ha="left", fontsize=11)
    return fig, axes


def png(figure: Figure, dpi: float | str = "figure") -> str:
    """The figure as a PNG in base64; it is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


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


def box(ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
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


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], linewidth: float = 1) -> None:
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
