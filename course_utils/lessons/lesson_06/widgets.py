"""Lesson 06's figure and widget: levels over a histogram of weights, and their quantisation error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from course_utils import plots
from course_utils.methods.quantization import LEVELS, dequantize, quantize
from course_utils.widgets import control

XLABEL = "weight / scale of its block"


def level_histogram(
    weight: torch.Tensor, tables: Mapping[str, Sequence[float]], title: str, block_size: int = 64
) -> None:
    """Histogram of weights divided by their block's scale, with each table's levels as ticks below."""
    _, scaled = _whole_blocks(weight, block_size)
    _, ax = plots.figure(title, XLABEL, "share of the weights")
    share = torch.full((len(scaled),), 1 / len(scaled))
    ax.hist(scaled.numpy(), bins=81, range=(-1, 1), color=plots.INK, weights=share.numpy())
    top = ax.get_ylim()[1]
    for row, (name, levels) in enumerate(tables.items()):
        height, colour = -0.12 * top * (row + 1), plots.COLOURS[row % len(plots.COLOURS)]
        ax.plot(list(levels), [height] * len(levels), "|", markersize=11, markeredgewidth=2, color=colour)
        ax.text(1.05, height, name, va="center", color=colour)
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= top])
    ax.set(xlim=(-1.03, 1.03), ylim=(-0.12 * top * (len(tables) + 0.7), top))


def compare_levels(weight: torch.Tensor, levels: Sequence[float], block_size: int = 64) -> None:
    """Print the weight's relative error under these levels and under NF4; plot each level's share of it."""
    values, scaled = _whole_blocks(weight, block_size)
    table = torch.tensor(sorted(levels))
    yours, codes = _squares(values, table, block_size)
    error, nf4 = (
        (each.sum().sqrt() / values.norm()).item()
        for each in (yours, _squares(values, LEVELS["nf4"], block_size)[0])
    )
    verdict = "NF4 is beaten" if error < nf4 else "the same" if error == nf4 else "NF4 is still better"
    print(f"relative error {error:.4f}, NF4's {nf4:.4f}: {verdict}")
    _, axes = plots.figure(f"Relative error {error:.4f}, NF4's {nf4:.4f}", "", "", columns=2)
    axes[0].hist(scaled.numpy(), bins=81, range=(-1, 1), color=plots.INK)
    for level in table.tolist():
        axes[0].axvline(level, color=plots.COLOURS[1], linewidth=1)
    axes[0].set(xlabel=XLABEL, ylabel="weights", xlim=(-1.03, 1.03))
    share = torch.zeros(len(table)).index_add_(0, codes.int(), yours) / yours.sum()
    axes[1].bar(range(len(table)), share.numpy(), color=plots.COLOURS[0])
    axes[1].set(xlabel="level, from the lowest", ylabel="share of the squared error")


def level_sliders(weight: torch.Tensor, block_size: int = 64) -> None:
    """Controls for `compare_levels`: sixteen sliders, one per level, and a choice of tables to start from."""
    tables = {name: sorted(levels.tolist()) for name, levels in LEVELS.items() if len(levels) == 16}
    put_in = ""  # the last chosen table

    def show(start_from: str = "nf4", **levels: float) -> dict[str, float]:
        nonlocal put_in
        if start_from != put_in:
            put_in, levels = start_from, dict(zip(levels, tables[start_from], strict=True))
        compare_levels(weight, list(levels.values()), block_size)
        return levels

    sliders = {f"level_{number}": (-1.0, 1.0, 0.001) for number in range(1, 17)}
    control(show, start_from=list(tables), **sliders)


def _whole_blocks(weight: torch.Tensor, block_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(values, values divided by their block's scale) of all full blocks, flat."""
    flat = weight.detach().float().cpu().flatten()
    values = flat[: len(flat) // block_size * block_size]
    blocks = values.view(-1, block_size)
    return values, (blocks / blocks.abs().amax(1, keepdim=True).clamp(min=1e-38)).flatten()


def _squares(values: torch.Tensor, levels: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(squared error of each value, its code)."""
    codes, scales = quantize(values, levels, size)
    return (dequantize(codes, scales, levels, size) - values).square(), codes
