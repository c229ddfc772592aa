"""Lesson 18's pictures, among them all of part VI, and its figures of pass@k, trainings and silent groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from course_utils.drawing import Picture
from course_utils.lessons.lesson_18.passing import KS
from course_utils.plots import COLOURS, bands, caption, figure, lines, log_ticks, smooth

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
            picture.text(0, y, "The teacher is this policy after its training, then frozen.")
            picture.text(0, y + 1.3, "The student is this policy before its training.")
            y += 3.1
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


GAUGE_LABELS = {
    "score": "right answers (share)",
    "silent": "silent groups (share)",
    "entropy": "entropy (nats per token)",
    "length": "tokens per answer",
    "clipped": "tokens outside the clip (share)",
}


def one_training(rows: Sequence[Mapping[str, float]], title: str) -> None:
    """The metrics of one training by iteration, pale, and smoothed; without the clip's."""
    _, axes = figure(title, "iteration", "", columns=4)
    for ax, (name, label) in zip(axes, GAUGE_LABELS.items(), strict=False):
        values = [row[name] for row in rows]
        steps = range(1, len(values) + 1)
        ax.plot(steps, values, color=COLOURS[0], alpha=0.3)
        ax.plot(steps, smooth(values, 0.2), color=COLOURS[0], label=f"{label}, smoothed")
        ax.set(title=label, ylim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def training_gauges(
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
