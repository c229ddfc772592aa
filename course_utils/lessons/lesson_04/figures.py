"""Energy of singular values by layer; losses over ranks, trained parameters, rates and dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from course_utils import plots
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
        ax.set_xlabel("directions kept")
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
    known = list(dict.fromkeys(place for places in tasks.values() for place in places))
    for ax, (task, places) in zip(axes, tasks.items(), strict=True):
        for place, points in places.items():
            number = known.index(place)
            losses = {values: one for values, (_, one) in points.items()}
            plots.means_and_ranges(ax, losses, COLOURS[number], place)
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
                        color=COLOURS[number],
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
