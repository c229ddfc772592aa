"""The places of a prompt and a prefix; losses of seeds side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from course_utils import plots
from course_utils.drawing import ground_and_edge
from course_utils.plots import COLOURS, INK, WIDTH, entitle


def prompt_and_prefix(length: int = 3, tokens: int = 4, layers: int = 4) -> None:
    """What is trained before a text: one row of vectors, or keys and values in every layer."""
    fig, axes = plt.subplots(2, 1, figsize=(WIDTH, 6.4))
    entitle(fig, "A prompt is trained at the input only; a prefix, in every layer")
    for ax, (name, prefix) in zip(axes, (("prompt tuning", False), ("prefix tuning", True)), strict=True):
        ax.set(xlim=(-2.6, length + tokens + 0.2), ylim=(-1.3, layers + 1.2))
        ax.axis("off")
        ax.set_title(name)
        for row in range(layers + 1):
            text = "embeddings" if row == 0 else f"layer {row}"
            ax.text(-0.15, row + 0.4, text, ha="right", va="center")
            for column in range(length + tokens):
                _prompt_cell(ax, column, row, column < length, prefix)
        for start, width, text in (
            (0, length, "soft prompt" if not prefix else "prefix"),
            (length, tokens, "text"),
        ):
            ax.plot([start + 0.1, start + width - 0.1], [-0.25, -0.25], color=INK, linewidth=1)
            ax.text(start + width / 2, -0.4, text, ha="center", va="top")
    kinds = {"trained": "trained", "computed by the frozen model": "frozen"}
    handles = [
        tuple(mpl.patches.Patch(**style) for style in ground_and_edge(kind)) for kind in kinds.values()
    ]
    fig.legend(handles, kinds, loc="outside lower center", ncols=2)


def _prompt_cell(ax: Axes, column: int, row: int, in_front: bool, prefix: bool) -> None:
    """One position in one layer; a prefix has keys and values there, but no input embedding."""
    if in_front and prefix and row == 0:
        return
    trained = in_front and (prefix or row == 0)
    for style in ground_and_edge("trained" if trained else "frozen"):
        ax.add_patch(mpl.patches.Rectangle((column + 0.08, row + 0.08), 0.84, 0.7, **style))
    if in_front and prefix:
        ax.text(column + 0.5, row + 0.43, "k, v", ha="center", va="center", color="black")


def seeds_by_method(groups: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """A dot for the loss of every seed, a short line for their mean: {panel: {method: losses}}."""
    _, axes = plots.figure(title, "", "held-out loss (nats a token)", columns=len(groups), sharey=True)
    for ax, (panel, methods) in zip(np.atleast_1d(axes), groups.items(), strict=True):
        ax.set_title(panel)
        for place, (colour, losses) in enumerate(zip(COLOURS, methods.values(), strict=False)):
            aside = np.linspace(-0.16, 0.16, len(losses))  # so that equal losses stay visible
            ax.scatter(place + aside, losses, color=colour, s=26)
            middle = sum(losses) / len(losses)
            ax.plot([place - 0.28, place + 0.28], [middle, middle], color=colour, linewidth=1.4)
        ax.set_xticks(range(len(methods)), list(methods))
        ax.set(xlim=(-0.5, len(methods) - 0.5), ylim=(0, None))
        ax.grid(axis="x", visible=False)
