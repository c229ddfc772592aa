"""Lesson 06's figures: terms of single tokens, tables over blocks of text, runs over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from course_utils import plots
from course_utils.plots import COLOURS, INK


def token_terms(first: torch.Tensor, second: torch.Tensor, title: str, limit: float = 1.0) -> None:
    """How the two terms of the rise are spread over single tokens, with their means as lines."""
    _, axes = plots.figure(title, "", "", columns=2)
    panels = {"first term of a token (nats)": (first, -limit), "second term of a token (nats)": (second, 0.0)}
    for ax, colour, (name, (values, low)) in zip(axes, COLOURS, panels.items(), strict=False):
        share = torch.full((len(values),), 1 / len(values))
        inside = values.clamp(low, limit)
        ax.hist(inside.numpy(), bins=41, range=(low, limit), color=colour, weights=share.numpy())
        ax.axvline(values.mean().item(), color=INK, linewidth=1.5, label=f"mean {values.mean():.3f}")
        ax.set(xlabel=name, xlim=(low, limit))
        ax.legend()
    axes[0].set_ylabel("share of the tokens")


def ranges(
    rows: Mapping[str, Sequence[float]],
    title: str,
    xlabel: str,
    log: bool = False,
    live: Mapping[str, float] | None = None,
    marks: str = "mean of the stored runs",
) -> None:
    """A row for each name: its values as small marks, their mean as a larger one, a live run as a star."""
    fig, ax = plots.figure(title, xlabel, "")
    for place, values in enumerate(rows.values()):
        ax.plot(
            list(values), [place] * len(values), "|", color=COLOURS[0], markersize=12, markeredgewidth=1.5
        )
        mean = sum(values) / len(values)
        ax.plot([mean], [place], "o", color=COLOURS[0], markersize=8, label=marks if place == 0 else None)
    for number, (name, value) in enumerate((live or {}).items()):
        place = list(rows).index(name)
        label = "the run above" if number == 0 else None
        ax.plot([value], [place], "*", color=COLOURS[1], markersize=12, label=label)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.grid(axis="y", visible=False)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    if log:
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        steps = (1, 2, 5) if high / low < 100 else (1,)
        ax.xaxis.set_major_locator(LogLocator(subs=steps))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_xlim(min(0, *(min(values) for values in rows.values())), None)
    fig.legend(ncols=2, loc="outside lower center")
