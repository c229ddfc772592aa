"""Losses of processes, a ring by turns, what cards hold, who works on what, a timetable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt

from course_utils.drawing import CELL_WIDTH, ROOM, Picture, shown_number
from course_utils.lessons.lesson_16.splits import waiting
from course_utils.machine import GIB
from course_utils.plots import COLOURS, INK, WIDTH, entitle


def losses_of_processes(losses: Sequence[Sequence[float]], weights: Mapping[str, Any] | None = None) -> None:
    """The losses of a batch's target tokens, by process; then {whose: the weight of each token}."""
    picture = Picture("What is the loss of the batch?" if weights is None else "How much does a token weigh?")
    tokens = [loss for own in losses for loss in own]
    picture.strip(picture.bottom + 0.4, [f"t{number}" for number in range(len(tokens))], "data", 8.5)
    picture.row("process", [str(rank) for rank, own in enumerate(losses) for _ in own])
    picture.row("loss of the token", tokens, "loss")
    picture.skip(0.5)
    if weights is None:
        for rank, own in enumerate(losses):
            picture.text(
                1, picture.bottom + 0.9, f"process {rank}: sum {shown_number(sum(own))}, {len(own)} tokens"
            )
        whole = f"sum {shown_number(sum(tokens))}, {len(tokens)} tokens: loss {shown_number(fmean(tokens))}"
        picture.text(1, picture.bottom + 0.9, f"the batch: {whole}")
    for whose, of_tokens in (weights or {}).items():
        loss = sum(weight * loss for weight, loss in zip(of_tokens, tokens, strict=True))
        picture.row(whose, [f"1/{round(1 / weight)}" for weight in of_tokens])
        picture.text(8.5, picture.bottom + 0.7, f"weights times losses, added up: {shown_number(loss, 2)}")
        picture.skip(1.4)
    picture.key()


def two_curves(alone: Sequence[float], script: Sequence[float], title: str) -> None:
    """Left the losses of one process and of the script by step, right how far they are apart."""
    steps = range(1, len(alone) + 1)
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.6))
    entitle(fig, title)
    left.plot(steps, alone, color=INK, linewidth=3, alpha=0.4, label="one process")
    left.plot(
        steps, script, color=COLOURS[1], linestyle="--", marker="o", markersize=3, label="two, her script"
    )
    left.set(xlabel="step", ylabel="loss (nats a token)")
    apart = [max(abs(a - b), 1e-9) for a, b in zip(alone, script, strict=True)]
    right.plot(steps, apart, color=COLOURS[1], marker="o", markersize=3)
    right.set(xlabel="step", ylabel="distance of the two (nats)", yscale="log", ylim=(5e-10, 0.1))
    fig.legend(ncols=2, loc="outside lower center")


def ring_by_turns(
    states: Sequence[Sequence[Sequence[float]]], arrived: Sequence[Sequence[int | None]]
) -> None:
    """What each process holds at the start and after every turn: states [turn][process][piece].

    arrived: for each turn after the start, the number of the piece that came to each process.
    """
    world = len(states[0])
    picture = Picture("What does each process hold after every turn?")
    left, gap = 5.2, 0.9
    width = world * CELL_WIDTH
    y = picture.bottom + 0.5
    for rank in range(world):
        picture.text(left + rank * (width + gap) + width / 2, y, f"process {rank}", "center")
    y += 0.8
    for turn, held in enumerate(states):
        adds = turn < world
        what = "start" if turn == 0 else f"t = {turn - 1}: {'add' if adds else 'take'}"
        picture.text(0, y + 0.75, what)
        for rank, pieces in enumerate(held):
            mark = [(0, arrived[turn - 1][rank])] if turn else []
            shown = [[shown_number(value, 0) for value in pieces]]
            picture.grid(left + rank * (width + gap), y, shown, mark=mark)
        y += 2.1
    picture.key()


def who_works_on_what(
    splits: Mapping[str, Sequence[Any]], names: Sequence[str], notes: Mapping[str, str]
) -> None:
    """{split: matrices of the numbers of the cards that work on a cell, as texts}, side by side."""
    picture = Picture("Which card works on which tokens and weights?")
    left, wide = 9.5, 7.2
    y = picture.bottom + 0.5
    for place, name in enumerate(names):
        picture.text(left + place * wide + CELL_WIDTH, y, name, "center")
    y += 0.9
    for split, matrices in splits.items():
        picture.text(0, y + 0.8, split, bold=True)
        picture.text(0, y + 2.1, notes[split])
        for place, cells in enumerate(matrices):
            kind = "data" if place == 0 else "trained"
            picture.grid(left + place * wide, y, cells, kind=kind)
        y += 3.9
    picture.key()


def timetable(jobs: Sequence[Sequence[str | None]], title: str) -> None:
    """What each card does in each unit of time: [card][time], None where it waits."""
    picture = Picture(title)
    times = [str(time + 1) for time in range(len(jobs[0]))]
    picture.strip(picture.bottom + 0.4, times, None, 4, "time")
    for card, row in enumerate(jobs):
        backward = [time for time, job in enumerate(row) if job and job.startswith("B")]
        picture.row(f"card {card}", row, mark=backward)
    share = waiting(jobs)
    picture.text(0, picture.bottom + 0.9, f"F forward, B backward; the cards wait {share:.0%} of the time")


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


def memory_by_stage(held: Mapping[str, Sequence[float]], cards: int, title: str) -> None:
    """{method: GiB on each card by sharding stage}: bars, a panel with its own scale for each method."""
    fig, axes = plt.subplots(1, len(held), figsize=(WIDTH, 3.4))
    entitle(fig, title)
    for ax, (method, values) in zip(axes, held.items(), strict=True):
        drawn = ax.bar(range(len(values)), values, color=COLOURS[0])
        ax.bar_label(drawn, fmt="%.3g", padding=2)
        ax.set(xlabel=f"{method}: sharding stage", xticks=range(len(values)))
        ax.margins(y=0.12)
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel(f"GiB on each of {cards} cards")


def what_cards_hold(
    held: Mapping[str, Mapping[str, float]], cards: int, model: str, unit: str = "GiB"
) -> None:
    """Each card as a stack of what it holds: everything, or one of as many shards as there are cards.

    held: {stage: {part of the memory: bytes on a card}}; the first stage splits nothing. Gathered weights
    are whole on every card. unit: GiB or GB.
    """
    size_of = {"GiB": GIB, "GB": 1e9}[unit]
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
        picture.text(0, y + 2, f"{shown_number(sum(parts.values()) / size_of, 0)} {unit}")
        for card in range(cards):
            layers = []
            for name, size in parts.items():
                mine = [f"{name[0]}{card}" if part == card else "" for part in range(cards)]
                kind = "trained" if name == "weights" else None
                if size:
                    layers.append((name if size == whole[name] or name == "gathered" else mine, kind))
            picture.stack(left + card * (width + gap), y, width, layers, f"{stage}, card {card}")
        y = picture.bottom + 0.7
    picture.text(0, picture.bottom + 0.9, f"w1: part 1 of the {cards} parts of the weights, and so on")
    picture.key()
