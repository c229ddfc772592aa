"""Figures of the lesson on several machines."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import matplotlib.pyplot as plt

from course_utils.drawing import ROOM, Picture, shown_number
from course_utils.machine import GIB
from course_utils.plots import COLOURS, INK, WIDTH, entitle

PARTS = ("weights", "gradients", "moments")


def copies_and_parts() -> None:
    """What two processes hold in training: everything twice, or half of it each."""
    fig, axes = plt.subplots(2, 1, figsize=(WIDTH, 5.4))
    entitle(fig, "Both split the batch; sharding splits the model too")
    titles = ("data parallel: two copies", "sharded: two parts")
    for ax, title, share in zip(axes, titles, (1.0, 0.5), strict=True):
        ax.set(xlim=(0, 10), ylim=(1.4, 7.6))
        ax.axis("off")
        ax.set_title(title)
        for process in range(2):
            x = 0.4 + 5 * process
            ax.text(x + 2.1, 7.1, f"process {process}", ha="center")
            _strip(ax, x, 5.5, 4.2, 0.5, process, INK, "rows")
            for row, part in enumerate(PARTS):
                start = process * share if share < 1 else 0.0
                _part(ax, x, 4.2 - 1.3 * row, 4.2, 0.8, start, share, COLOURS[row], part)


def _strip(ax, x, y, width, height, process, colour, text):
    """The batch, of which a process takes every second row."""
    for row in range(8):
        mine = row % 2 == process
        box = (x + row * width / 8, y)
        ax.add_patch(
            mpl.patches.Rectangle(
                box, width / 8, height, facecolor=colour if mine else "none", edgecolor=INK, linewidth=0.6
            )
        )
    ax.text(x + width / 2, y + 0.72, text, ha="center", va="center")


def _part(ax, x, y, width, height, start, share, colour, text):
    """An outline of the whole, with the held part filled."""
    ax.add_patch(
        mpl.patches.Rectangle(
            (x + start * width, y), share * width, height, facecolor=colour, alpha=0.75, linewidth=0
        )
    )
    ax.add_patch(mpl.patches.Rectangle((x, y), width, height, facecolor="none", edgecolor=INK, linewidth=0.8))
    ax.text(x + width / 2, y + height + 0.22, text, ha="center", va="center")


def memory_of_cards(held: dict[str, dict[str, float]], limit: float, title: str) -> None:
    """Stacked bars of GiB per card, {name: {part: GiB}}, and the card's own memory as a line."""
    fig, ax = plt.subplots(figsize=(WIDTH, 1.4 + 0.5 * len(held)))
    entitle(fig, title)
    parts = list(next(iter(held.values())))
    left = [0.0] * len(held)
    colours = [*COLOURS[:4], *COLOURS[5:]]  # the fifth is a second blue
    for colour, part in zip(colours, parts, strict=False):
        widths = [row[part] for row in held.values()]
        ax.barh(range(len(held)), widths, left=left, color=colour, label=part, height=0.6)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    ax.axvline(limit, color=INK, linestyle="--", linewidth=1)
    ax.text(limit, -0.62, " the card", va="center")
    ax.set_yticks(range(len(held)), list(held))
    ax.set(xlabel="GiB on each card", ylim=(len(held) - 0.5, -0.9))
    ax.grid(axis="y", visible=False)
    fig.legend(ncols=len(parts), loc="outside lower center")


def what_cards_hold(held: Mapping[str, Mapping[str, float]], cards: int, model: str) -> None:
    """Each card as a stack of what it holds: everything, or one of as many shards as there are cards.

    held: {stage: {part of the memory: bytes on a card}}; the first stage splits nothing.
    """
    whole = next(iter(held.values()))
    left, gap = 4.6, 0.4
    width = (ROOM - left + gap) / cards - gap
    picture = Picture(f"What does each of {cards} cards hold of {model}?")
    y = picture.bottom + 0.9
    for card in range(cards):
        picture.text(left + card * (width + gap) + width / 2, y, f"card {card}", "center")
    y += 0.8
    for stage, parts in held.items():
        picture.text(0, y + 0.7, stage, bold=True)
        picture.text(0, y + 2, f"{shown_number(sum(parts.values()) / GIB, 0)} GiB")
        for card in range(cards):
            layers = []
            for name, size in parts.items():
                mine = [f"{name[0]}{card}" if part == card else "" for part in range(cards)]
                kind = "trained" if name == "weights" else None
                if size:
                    layers.append((name if size == whole[name] else mine, kind))
            picture.stack(left + card * (width + gap), y, width, layers, f"{stage}, card {card}")
        y = picture.bottom + 0.7
    picture.text(0, picture.bottom + 0.9, f"w1: part 1 of the {cards} parts of the weights, and so on")
    picture.key()
