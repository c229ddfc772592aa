"""Lesson 18's pictures, among them all of part VI, and its figures of pass@k, trainings and silent groups."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from statistics import mean

import numpy as np
import torch
from matplotlib.ticker import MaxNLocator

from course_utils.drawing import CELL, ROOM, Picture, shown_number
from course_utils.lessons.lesson_18.passing import KS
from course_utils.methods.grpo import group_advantages
from course_utils.plots import COLOURS, INK, bands, caption, figure, lines, log_ticks, smooth

PART_SIX = {  # what is lit: {row: who writes, who judges, who is trained}, each a text and its kind if lit
    "verifiable rewards": {
        "lesson 18: verifiable rewards": (
            ("the policy: 8 answers to a request", "sampled"),
            ("a program: right or wrong, once an answer", None),
            ("the policy", "trained"),
        )
    },
    "distillation": {
        "lesson 19: distillation, the teacher writes": (
            ("the teacher: an answer to a request", "sampled"),
            ("the teacher, at each token: the token, or its probabilities", "frozen"),
            ("the student", "trained"),
        ),
        "lesson 19: distillation, the student writes": (
            ("the student: an answer to a request", "sampled"),
            ("the teacher, at each token: its probabilities", "frozen"),
            ("the student", "trained"),
        ),
    },
}


def part_six(lit: str) -> None:
    """Part VI in one picture: who writes, who judges and how often, who is trained; one lesson's part is lit.

    lit: a key of PART_SIX.
    """
    picture = Picture("Part VI: who writes, who judges, who is trained?")
    width, gap, height = 9.1, 1.1, 4.6
    columns = [place * (width + gap) for place in range(3)]
    y = picture.bottom + 0.9
    for x, name in zip(columns, ("writes", "judges", "is trained"), strict=True):
        picture.text(x + width / 2, y, name, "center")
    y += 1.5
    for name, rows in PART_SIX.items():
        for heading, parts in rows.items():
            picture.text(0, y, heading, bold=name == lit)
            writer, judge, learner = (
                picture.box(x, y + 0.9, width, height, text, kind if name == lit else None, bold=name == lit)
                for x, (text, kind) in zip(columns, parts, strict=True)
            )
            picture.arrow(writer, judge)
            picture.arrow(judge, learner)
            y = writer.bottom + 1.2
        if name == "verifiable rewards":
            if lit == "distillation":
                picture.text(0, y, "The teacher is this policy after its training, then frozen.")
                picture.text(0, y + 1.3, "The student is this policy before its training.")
                y += 2.5
            y += 0.6
    picture.key()


def choices(right: Mapping[str, bool], k: int) -> None:
    """All choices of k of a few answers, {name: whether it is right}, and which contain a right one."""
    picture = Picture(f"Which choices of {k} of these answers contain a right one?")
    y = picture.bottom + 0.4
    picture.text(5.5, y + CELL / 2, "answers", "right")
    for place, (name, is_right) in enumerate(right.items()):
        picture.box(6 + 4.7 * place, y, 4.4, CELL, f"{name} {'right' if is_right else 'wrong'}", "sampled")
    sets = list(itertools.combinations(right, k))
    found = [any(right[name] for name in one) for one in sets]
    picture.strip(y + 2.6, ["".join(one) for one in sets], left=6, name="choice")
    misses = [place for place, hit in enumerate(found) if not hit]
    picture.row("right one", ["yes" if hit else "no" for hit in found], mark=misses)
    picture.text(
        6,
        picture.bottom + 0.9,
        f"{sum(found)} of {len(sets)}: pass@{k} = {shown_number(sum(found) / len(sets))}",
    )
    picture.key()


def answers_of_groups(groups: Mapping[str, Sequence[float]]) -> None:
    """Groups of answers with their rewards, {name: rewards}: less the mean, and over the deviation."""
    picture = Picture("What does each answer of a group get?")
    for name, rewards in groups.items():
        scores = torch.tensor(rewards, dtype=torch.float)
        y = picture.bottom + 0.5
        middle, deviation = scores.mean().item(), scores.std().item()
        told = f"{name}: mean {shown_number(middle, 2)}, deviation {shown_number(deviation, 2)}"
        picture.text(0, y + 0.6, told, bold=True)
        numbers = [str(number) for number in range(1, len(rewards) + 1)]
        picture.strip(y + 1.4, numbers, "sampled", left=6.2, name="answer")
        picture.row("reward", scores, digits=0)
        picture.row("less mean", scores - middle, digits=2, sign=True)
        advantages = group_advantages(scores, len(rewards))
        picture.row("advantage", advantages, "loss" if advantages.any() else None, digits=2, sign=True)
    picture.key()


def clipped_tokens(
    advantages: Sequence[float], ratios: Sequence[float], weights: Sequence[float], low: float, high: float
) -> None:
    """GRPO's loss of a few tokens, one after the other, and their weighted sum."""
    kept = [min(max(ratio, 1 - low), 1 + high) for ratio in ratios]
    plain = [-a * ratio for a, ratio in zip(advantages, ratios, strict=True)]
    other = [-a * ratio for a, ratio in zip(advantages, kept, strict=True)]
    larger = [max(pair) for pair in zip(plain, other, strict=True)]
    total = sum(weight * loss for weight, loss in zip(weights, larger, strict=True))
    picture = Picture(
        f"Ratios kept between {shown_number(1 - low)} and {shown_number(1 + high)}: which loss?"
    )
    names = [str(number) for number in range(1, len(ratios) + 1)]
    picture.strip(picture.bottom + 0.4, names, "sampled", left=10.5, name="token")
    picture.row("advantage A", advantages, digits=1, sign=True)
    picture.row("ratio ρ", ratios, digits=1)
    picture.row("kept ratio", kept, digits=1, mark=[i for i, r in enumerate(ratios) if kept[i] != r])
    picture.row("−A ρ", plain, digits=2, sign=True)
    picture.row("−A · kept ratio", other, digits=2, sign=True)
    picture.row("the larger of both", larger, "loss", digits=2, sign=True)
    picture.row("weight", [str(Fraction(weight).limit_denominator(100)) for weight in weights])
    picture.text(ROOM, picture.bottom + 0.9, f"sum of weight times loss: {shown_number(total, 2)}", "right")
    picture.key()


def no_loss(advantages: Sequence[float], loss: float, slopes: Sequence[float]) -> None:
    """Answers before the first update: their losses, whose mean is `loss`, and its slopes in their log p."""
    picture = Picture("The loss is 0. Does anything move?")
    numbers = [str(number) for number in range(1, len(advantages) + 1)]
    picture.strip(picture.bottom + 0.4, numbers, "sampled", left=6.2, name="answer")
    picture.row("advantage", advantages, digits=2, sign=True)
    picture.row("−A ρ, ρ = 1", [-a for a in advantages], "loss", digits=2, sign=True)
    picture.text(ROOM, picture.bottom + 0.8, f"mean, the printed loss: {shown_number(loss, 2)}", "right")
    picture.skip(1.6)
    picture.row("slope", slopes, digits=2, sign=True)
    picture.row("log p goes", ["up" if slope < 0 else "down" for slope in slopes], "trained")
    picture.key()


def parts_judged(parts: Sequence[str], wanted: Sequence[str], verdicts: Mapping[str, float]) -> None:
    """The parts of one answer, which of them are wanted, and what programs say of the answer."""
    picture = Picture("What does each program see in this answer?")
    picture.text(0, picture.bottom + 0.9, f"wanted: {', '.join(wanted)}")
    picture.strip(picture.bottom + 0.5, list(parts), "sampled", left=6.2, name="answer")
    picture.row("wanted?", ["yes" if part in wanted else "no" for part in parts])
    y = picture.bottom + 1.0
    for name, verdict in verdicts.items():
        picture.text(0, y, name)
        picture.text(ROOM, y, "right" if verdict else "wrong", "right", bold=True)
        y += 1.4
    picture.key()


LINE_STYLES = ("-o", "-s", ":")  # a line below the last one's dots stays visible


def curves(series: Mapping[str, Sequence[float]], title: str) -> None:
    """pass@k over k, a line per name; the last of three is dotted."""
    _, ax = figure(title, "k, answers to a question", "pass@k")
    for (name, values), colour, style in zip(series.items(), COLOURS, LINE_STYLES, strict=False):
        ax.plot(KS, values, style, color=colour, markersize=4, label=name)
    ax.set_xscale("log")
    log_ticks(ax, KS)
    ax.set_ylim(-0.03, 1.03)
    ax.legend()


def curve_bands(strata: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]], title: str) -> None:
    """pass@k of stored runs, a panel per stratum, "short" or "long": means with the range over the seeds.

    strata: {stratum: {model: results over seeds}}; a result has "short_k" and "long_k".
    """
    _, axes = figure(title, "k, answers to a question", "pass@k", columns=len(strata))
    for ax, (stratum, models) in zip(np.atleast_1d(axes), strata.items(), strict=True):
        found = {
            name: {k: [run[f"{stratum}_{k}"] for run in runs] for k in KS} for name, runs in models.items()
        }
        ax.set(title=f"{stratum} lists", ylim=(-0.03, 1.03))
        bands(found, "", "", "", logx=True, ax=ax)


def gains(
    models: Mapping[str, Sequence[Mapping[str, float]]], start: Sequence[Mapping[str, float]], title: str
) -> None:
    """pass@k of short lists minus the start's at the same seed: means with the range over the seeds.

    models: {model: results over seeds}; start: those of the start. A result has "short_k" for some k.
    """
    _, ax = figure(title, "k, answers to a question", "pass@k minus the start's, in points")
    for place, ((name, runs), colour) in enumerate(zip(models.items(), COLOURS, strict=False)):
        ks = [k for k in KS if f"short_{k}" in runs[0]]
        found = [
            [100 * (run[f"short_{k}"] - old[f"short_{k}"]) for run, old in zip(runs, start, strict=True)]
            for k in ks
        ]
        beside = [k * 1.05 ** (place - (len(models) - 1) / 2) for k in ks]  # no range over another
        style = "-o" if len(ks) == len(KS) else "o"  # no line over k that are not stored
        ax.plot(beside, [mean(values) for values in found], style, color=colour, markersize=5, label=name)
        ax.vlines(beside, [*map(min, found)], [*map(max, found)], color=colour, linewidth=1.5)
    ax.set_xscale("log")
    log_ticks(ax, KS)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.legend(ncols=2)


GAUGE_LABELS = {
    "score": "right answers (share)",
    "silent": "silent groups (share)",
    "entropy": "entropy (nats per token)",
    "length": "tokens per answer",
    "clipped": "tokens outside the clip (share)",
}


def one_training(
    rows: Sequence[Mapping[str, float]], title: str, names: Sequence[str] = ("score", "silent")
) -> None:
    """Metrics of one training by iteration, a panel each: pale, and smoothed."""
    _, axes = figure(title, "iteration", "", columns=len(names))
    for ax, name in zip(axes, names, strict=True):
        values = [row[name] for row in rows]
        steps = range(1, len(values) + 1)
        ax.plot(steps, values, color=COLOURS[0], alpha=0.3)
        ax.plot(steps, smooth(values, 0.2), color=COLOURS[0], label=f"{GAUGE_LABELS[name]}, smoothed")
        ax.set(title=GAUGE_LABELS[name], ylim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def gauges_by_iteration(
    trainings: Mapping[str, Sequence[Mapping[str, Sequence[float]]]], title: str, names: Sequence[str]
) -> None:
    """Metrics of stored trainings by iteration, a panel each: means with the range over the seeds.

    trainings: {name: results over seeds}; a result has a list for each metric. One legend is below.
    """
    fig, axes = figure(title, "iteration", "", columns=len(names))
    for ax, gauge in zip(np.atleast_1d(axes), names, strict=True):
        found = {
            name: dict(enumerate(zip(*(run[gauge] for run in runs), strict=True), 1))
            for name, runs in trainings.items()
        }
        bands(found, "", "", "", ax=ax)
        if ax.get_legend():
            ax.get_legend().remove()
        ax.set(title=GAUGE_LABELS[gauge], ylim=(0, None))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def silent_share(group: int = 8) -> None:
    """Probability that a group of answers is all right or all wrong, over the share of right answers."""
    shares = np.linspace(0, 1, 101)
    _, ax = figure(
        f"A group of {group} is silent for questions that are nearly always right or nearly always wrong",
        "share of right answers to the question",
        "chance that a group is silent",
    )
    lines({f"groups of {group}": (shares, shares**group + (1 - shares) ** group)}, "", "", "", ax=ax)
    ax.set_ylim(0, 1.03)
    caption(
        "How many groups are silent, by the share of right answers to the question.",
        seen="a wide valley between two walls at 0 and at 1; with larger groups the walls are steeper",
    )
