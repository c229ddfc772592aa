"""Lesson 06: a block and its codes, the way of an error, its two terms, both passes of a layer, a merge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.ticker import FuncFormatter, NullFormatter

from course_utils import plots
from course_utils.drawing import CELL_WIDTH, Picture, shown_number
from course_utils.methods.quantization import dequantize, quantize
from course_utils.plots import COLOURS, INK


def block_of_codes(weights: Sequence[float], levels: torch.Tensor) -> None:
    """Sixteen levels with their codes; the weights of one block on the way to codes and back."""
    block = torch.tensor(list(weights))
    codes, [scale] = quantize(block, levels, len(block))
    back = dequantize(codes, scale[None], levels, len(block))
    picture = Picture("What is stored of a block of weights?")
    y, half = picture.bottom + 0.9, len(levels) // 2
    picture.text(0, y, "the table: a code and its level", bold=True)
    for first in (0, half):
        several = range(first, first + half)
        picture.strip(y + 0.8, [str(code) for code in several], left=5, name="code")
        picture.row("level", levels[first : first + half], digits=2)
        y = picture.bottom - 0.3
    y = picture.bottom + 1.2
    picture.text(0, y, f"a block: its scale is {shown_number(scale, 2)}, the largest magnitude", bold=True)
    names = [f"w{place}" for place in range(1, len(block) + 1)]
    picture.strip(y + 0.8, names, left=7.5, name="")
    picture.row("weight", block, "data", digits=2, mark=[int(block.abs().argmax())])
    picture.row("over the scale", block / scale, digits=2)
    picture.row("nearest level", levels[codes.int()], digits=2)
    picture.row("stored: its code", [str(code) for code in codes.tolist()], "frozen")
    picture.skip(0.5)
    picture.row("level × scale", back, digits=2)
    picture.row("error", back - block, digits=2, sign=True)
    picture.key()


def on_the_way(places: Sequence[str], columns: Mapping[str, Sequence[float | None]], title: str) -> None:
    """Relative changes between the weights and the loss, as bars: {which weights are rounded: shares}."""
    fig, ax = plots.figure(title, "relative change (%)", "")
    fig.set_size_inches(plots.WIDTH, 4.6)
    tall = 0.8 / len(columns)
    for number, (colour, (name, shares)) in enumerate(zip(COLOURS, columns.items(), strict=False)):
        at = np.arange(len(places)) + (number - (len(columns) - 1) / 2) * tall
        shown = [(y, 100 * share) for y, share in zip(at, shares, strict=True) if share is not None]
        ax.barh([y for y, _ in shown], [value for _, value in shown], tall, color=colour, label=name)
        for y, value in shown:
            ax.text(value + 0.2, y, f"{value:.1f}", va="center")
    ax.set_yticks(range(len(places)), list(places))
    ax.set_ylim(len(places) - 0.5, -0.5)
    ax.margins(x=0.1)
    ax.grid(axis="y", visible=False)
    fig.legend(ncols=2, loc="outside lower center")


def terms_by_hand(
    words: Sequence[str], p: torch.Tensor, target: int, changes: Mapping[str, torch.Tensor]
) -> None:
    """The two terms of the rise for one token by hand: p [words], {name: change of the logits [words]}."""
    picture = Picture(f"What do two changes cost? The right word is “{words[target]}”")
    y = picture.bottom + 0.9
    for name, change in changes.items():
        mean = p @ change
        first, second = mean - change[target], p @ (change - mean).square() / 2
        rise = torch.logsumexp(p.log() + change, 0) - change[target]
        picture.text(0, y, name, bold=True)
        kinds = ["loss" if place == target else None for place in range(len(words))]
        picture.strip(y + 0.8, words, kinds, left=9.5, name="")
        picture.row("p", p, digits=2)
        picture.row("change d", change, sign=True)
        picture.row("p × d", p * change, digits=3, sign=True)
        picture.row("p × (d − mean)²", p * (change - mean).square(), digits=3)
        m, one, two, both = (shown_number(float(value), 3) for value in (mean, first, second, rise))
        at = shown_number(float(change[target]), 1)
        minus = f"− ({at})" if float(change[target]) < 0 else f"− {at}"
        y = picture.bottom + 0.9
        picture.text(0, y, f"mean of d: the sum of p × d = {m}")
        picture.text(0, y + 1.3, f"first term: {m} {minus} = {one}")
        picture.text(0, y + 2.6, f"second term: half the sum of p × (d − mean)² = {two}")
        picture.text(0, y + 3.9, f"the rise of the loss itself: {both}")
        y = picture.bottom + 1.4
    picture.key()


def both_passes(
    codes: torch.Tensor, levels: torch.Tensor, scale: float, x: torch.Tensor, grad: torch.Tensor
) -> None:
    """Forward and backward pass of a 4-bit layer: codes [out, in], x [in], the gradient of y [out]."""
    W = levels[codes] * scale
    picture = Picture("When does the weight exist?")
    ways = {
        "forward: y = x Wᵀ": ((x, "x", "data"), (x @ W.T, "y", None)),
        "backward: gradient of x = gradient of y × W": (
            (grad, "gradient of y", "loss"),
            (grad @ W, "gradient of x", "loss"),
        ),
    }
    y = picture.bottom + 0.9
    for title, (given, result) in ways.items():
        picture.text(0, y, title, bold=True)
        table = [[str(code) for code in row] for row in codes.tolist()]
        stored = picture.grid(0, y + 0.8, table, "codes", "frozen")
        built = picture.grid(9, y + 0.8, W, "W, built")
        picture.arrow(stored, built, "levels")
        beside = 15.0
        places = []
        for values, name, kind in (given, result):
            places.append(picture.grid(beside, y + 2.3, values[None], name, kind))
            beside += len(values) * CELL_WIDTH + 1.2
        picture.arrow(*places)
        y = picture.bottom + 0.9
        end = "then W is freed; only codes and scale stay" if given[1] == "x" else "then W is freed again"
        picture.text(0, y, end)
        y += 1.6
    picture.key()


def rounded_again(W: torch.Tensor, BA: torch.Tensor, step: float) -> None:
    """What rounding to multiples of a step leaves of BA, over the rounded weights and over the exact ones."""

    def rounded(values):
        return (values / step).round() * step

    picture = Picture("What is left of the adapter when the sum is rounded?")
    W_hat = rounded(W)
    names = [f"w{place}" for place in range(1, len(W) + 1)]
    picture.strip(picture.bottom + 0.4, names, left=8.5, name="")
    picture.row("W", W, "frozen", digits=2)
    picture.row("Ŵ: W, rounded", W_hat, "frozen", digits=2)
    picture.row("BA", BA, "trained", digits=2, sign=True)
    for name, start in (("Ŵ + BA", W_hat), ("W + BA", W)):
        after = rounded(start + BA)
        moved = (after - W_hat).abs() > step / 2
        picture.skip(0.6)
        picture.row(name, start + BA, digits=2)
        picture.row("rounded", after, "frozen", digits=2, mark=moved.nonzero()[:, 0].tolist())
        y = picture.bottom + 0.8
        kept, size = ((after - W_hat).abs().sum(), BA.abs().sum())
        picture.text(
            0, y, f"sum of magnitudes: {shown_number(kept, 2)} moved from Ŵ, {shown_number(size, 2)} in BA"
        )
        picture.skip(1.4)
    picture.key()


def rise_by_change(
    samples: Mapping[str, Sequence[tuple[float, float]]],
    live: Mapping[str, Sequence[tuple[float, float]]],
    title: str,
) -> None:
    """A mark for each error and sample at (change of the logits, rise of the loss), stars for live runs."""
    _, ax = plots.figure(title, "change of the logits (%)", "rise of the loss (%)")
    for number, (name, points) in enumerate(samples.items()):
        colour, mark = COLOURS[number % len(COLOURS)], "os^Dv"[number % 5]
        x, y = zip(*((100 * a, 100 * b) for a, b in points), strict=True)
        ax.plot(x, y, mark, color=colour, markersize=7, fillstyle="none", markeredgewidth=1.6, label=name)
        for a, b in live.get(name, ()):
            ax.plot([100 * a], [100 * b], "*", color=colour, markersize=10, zorder=3)
    if live:
        ax.plot([], [], "*", color=INK, markersize=11, label="runs of this notebook")
    ax.set(xscale="log", yscale="log")
    ax.set_xticks([10, 13, 20, 35, 50, 100])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    ax.figure.legend(ncols=2, loc="outside lower center")


def sum_over_tokens(inputs: torch.Tensor, vectors: torch.Tensor, name: str) -> None:
    """An error [out, in] as a sum over tokens of vector times input: inputs [n, in], vectors [n, out]."""
    picture = Picture("How is such an error made?")
    y = picture.bottom + 0.9
    for number, (x, v) in enumerate(zip(inputs, vectors, strict=True), 1):
        picture.text(0, y, f"token {number}", bold=True)
        picture.grid(5.5, y + 0.4, v[:, None], name)
        picture.grid(12.5, y + 0.4, x[None], "its input", "data")
        picture.grid(22, y + 0.4, v[:, None] * x, "product")
        y = picture.bottom + 1
    picture.text(0, y, "the error, before it is scaled: the sum of the products", bold=True)
    picture.grid(22, y + 0.8, vectors.T @ inputs)
    picture.key()


def token_terms(first: torch.Tensor, second: torch.Tensor, title: str) -> None:
    """Distribution over tokens of the two terms of the rise, with marks at their means."""
    _, axes = plots.figure(title, "", "", columns=2)
    limit = 0.05 * math.ceil(max(first.abs().max().item(), second.max().item()) / 0.05) + 0.025
    panels = {"first term of a token (nats)": first, "second term of a token (nats)": second}
    for ax, colour, (name, values) in zip(axes, COLOURS, panels.items(), strict=False):
        share = np.full(len(values), 100 / len(values))
        edges = np.arange(-limit, limit + 0.01, 0.05)  # a bar around zero
        ax.hist(values.numpy(), bins=edges, color=colour, weights=share)
        middle = values.mean().item()
        at = ax.get_xaxis_transform()
        ax.plot([middle], [1.0], "v", color=INK, transform=at, clip_on=False, label=f"mean {middle:.3f}")
        ax.set(xlabel=name, xlim=(-limit, limit), yscale="log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.legend()
    axes[0].set_ylabel("share of the tokens (%)")
