"""Two hills and one, and how students approach a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from course_utils.lessons.lesson_19.hills import TOKENS, nearest_hill, rare, two_hills
from course_utils.plots import COLOURS, INK, bands, caption, figure


def one_hill_for_two(apart: int = 8, share: float = 0.6, title: str = "") -> None:
    """The teacher's two hills, and the nearest single hill by either KL."""
    teacher = two_hills(apart, share)
    where = rare(teacher)
    _, axes = figure(title or "The nearest single hill, by either KL", "token", "probability", columns=2)
    for ax, direction, colour in zip(axes, ("forward", "reverse"), COLOURS, strict=False):
        student, kl = nearest_hill(teacher, direction)
        ax.bar(TOKENS, teacher.softmax(-1), color="none", edgecolor=INK, label="teacher")
        ax.plot(TOKENS, student, "o-", color=colour, markersize=4, label="student")
        ax.set(title=f"{direction} KL: {kl:.2f} nats", ylim=(0, 0.55))
        ax.legend()
        print(f"{direction}: {student[where].sum():.0%} of the student's words are hardly ever the teacher's")
    caption(
        "A teacher with two hills, and the single hill with the least KL from it, over sixteen tokens.",
        seen="two panels with the same two hills of bars; the student is another hill in each",
    )


def towards_the_teacher(
    ways: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]],
    levels: Mapping[str, Mapping[str, Sequence[float]]],
    title: str,
) -> None:
    """Right answers and KL over compute: {way: {"right" or "reverse": {forward passes: values}}}.

    levels: results without training, {name: {"right" or "reverse": values over the seeds}}.
    """
    fig, axes = figure(title, "forward passes over a batch", "", columns=2)
    labels = {"right": "right answers (share)", "reverse": "KL from the teacher (nats)"}
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        bands({way: numbers[name] for way, numbers in ways.items()}, "", "", "", ax=ax)
        for (level, numbers), style in zip(levels.items(), (":", "--"), strict=True):
            height = sum(numbers[name]) / len(numbers[name])
            ax.axhline(height, color=INK, linestyle=style, linewidth=1, label=level)
        if ax.get_legend():
            ax.get_legend().remove()
        ax.set(ylabel=label)
        ax.set_ylim(0, None)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def two_losses(losses: Mapping[str, Sequence[Sequence[float]]], title: str) -> None:
    """Training losses by step, {name: a list per seed}: means with the range over the seeds."""
    found = {name: dict(enumerate(zip(*runs, strict=True), 1)) for name, runs in losses.items()}
    ax = figure(title, "step", "training loss (nats a token)")[1]
    bands(found, "", "", "", ax=ax)
    ax.set_ylim(0, None)
    ax.set_xticks(np.arange(1, 1 + max(map(len, found.values())), 2))
