"""Looking up and training, a search by hand, thresholds, training rows; shares with their intervals."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from statistics import mean

import numpy as np

from course_utils.drawing import Picture, Place, shown_number
from course_utils.evaluation import wilson_interval
from course_utils.plots import COLOURS, INK, figure


def look_up_or_train(passage: str, question: str, answer: str) -> None:
    """A passage before the question of a frozen model, and training on the question with its answer."""
    picture = Picture("What changes: what the model reads, or its weights?")
    y = picture.bottom + 0.9
    picture.text(0, y, "look up", bold=True)
    y += 0.8
    wide = 11.5
    picture.box(0, y, wide, 3.5, passage, "data")
    asked = picture.box(0, y + 3.8, wide, 2.4, question, "data")
    _answering(picture, y + 3.65, "assistant", answer)
    y = asked.bottom + 1.5
    picture.text(0, y, "train, then ask without a passage", bold=True)
    y += 0.8
    picture.box(0, y, wide, 2.4, question, "data")
    picture.box(0, y + 2.4, wide, 1.4, answer, "loss")
    picture.arrow((wide, y + 1.9), (15.4, y + 1.9), "training")
    trained = picture.box(15.4, y + 0.7, 5, 2.4, "assistant", "trained")
    y = picture.bottom + 1.5
    picture.box(0, y, wide, 2.4, question, "data")
    picture.arrow(trained, _answering(picture, y + 1.2, "the same, trained", answer))
    picture.key()


def _answering(picture: Picture, middle: float, model: str, answer: str) -> Place:
    """A frozen model at this height that reads what stands on its left, and its answer."""
    picture.arrow((11.5, middle), (15.4, middle), "reads")
    place = picture.box(15.4, middle - 1.3, 5, 2.6, model, "frozen")
    picture.arrow((20.4, middle), (24.2, middle), "says")
    picture.box(24.2, middle - 0.8, 5, 1.6, answer)
    return place


def search_by_hand(
    documents: Sequence[Sequence[str]], query: Sequence[str], k1: float = 1.5, b: float = 0.75
) -> None:
    """BM25 of a query of different words, with each of the documents (lists of words), step by step."""
    average, count = mean(map(len, documents)), len(documents)
    picture = Picture("Which of three documents fits best?")
    picture.text(0, picture.bottom + 0.9, f"query: {' '.join(query)}", bold=True)
    left = 11.5
    picture.strip(picture.bottom + 0.6, [" ".join(each) for each in documents], "data", left, "document")
    picture.row("words |d|", [str(len(each)) for each in documents])
    length = [1 - b + b * len(each) / average for each in documents]
    picture.row("L = 1 − b + b |d| / mean", length, digits=2)
    scores = [0.0] * count
    for word in query:
        times = [each.count(word) for each in documents]
        holding = sum(map(bool, times))
        rarity = np.log(1 + (count - holding + 0.5) / (holding + 0.5))
        picture.skip(0.5)
        picture.row(f"t of “{word}”", times, digits=0)
        parts = [t / (t + k1 * long) for t, long in zip(times, length, strict=True)]
        picture.row("t / (t + k1 L)", parts, digits=3)
        picture.row(f"× rarity, {shown_number(rarity, 3)}", [rarity * part for part in parts], digits=3)
        scores = [score + rarity * part for score, part in zip(scores, parts, strict=True)]
    picture.skip(0.5)
    picture.row("score: their sum", scores, digits=3, mark=[scores.index(max(scores))])


def thresholds(scores: Sequence[float], answers: Sequence[bool]) -> None:
    """For every threshold between these scores, in ascending order, which decisions are right."""
    picture = Picture("Which threshold decides rightly most often?")
    columns = [shown_number(score) for score in scores]
    picture.strip(picture.bottom + 0.4, [*columns, "right"], None, 8, "best score")
    picture.row("does it answer?", [*("yes" if one else "no" for one in answers), ""])
    picture.skip(0.5)
    middles = [(low + high) / 2 for low, high in itertools.pairwise(scores)]
    cuts = [float("-inf"), *middles, float("inf")]
    decided = [[score >= cut for score in scores] for cut in cuts]
    right = [[a == b for a, b in zip(each, answers, strict=True)] for each in decided]
    best = max(map(sum, right))
    for cut, shown, good in zip(cuts, decided, right, strict=True):
        name = "−∞" if cut < min(scores) else shown_number(cut, 2)
        name = "∞" if cut > max(scores) else name
        words = ["show" if one else "leave" for one in shown]
        marks = [place for place, one in enumerate(good) if one]
        if sum(good) == best:
            marks.append(len(scores))
        picture.row(f"from {name}", [*words, str(sum(good))], mark=marks)


def training_rows(rows: Mapping[str, tuple[str, str, str]]) -> None:
    """{what it teaches: (passage, question, answer)}: what stands in each, and what carries loss."""
    picture = Picture("What does the assistant learn from?")
    y = picture.bottom + 0.4
    for name, (passage, question, answer) in rows.items():
        picture.text(0, y + 0.6, name, bold=True)
        picture.box(0, y + 1.4, 11, 4.5, passage, "data")
        picture.box(11.2, y + 1.4, 10.2, 4.5, question, "data")
        picture.box(21.6, y + 1.4, 7.9, 4.5, answer, "loss")
        y = picture.bottom + 0.5
    picture.key()


def read_forwards(trained: Sequence[tuple[Sequence[str], str]], asked: tuple[Sequence[str], str]) -> None:
    """(words, the name that follows them): names of a sentence of training, and what a test asks for."""
    picture = Picture("From what is each name predicted?")
    y = picture.bottom + 0.4
    most = max(len(words) for words, _ in (*trained, asked)) + 1
    for title, rows, kind in (("in training", trained, "loss"), ("in the test, backwards", [asked], None)):
        picture.text(0, y + 0.6, title, bold=True)
        for number, (words, name) in enumerate(rows):
            name = name if kind else f"{name}?"
            empty = [""] * (most - len(words) - 1)
            kinds = [*[None] * len(empty), *["data"] * len(words), kind]
            picture.strip(y + 1.4 + 1.7 * number, [*empty, *words, name], kinds, 1, "")
        y = picture.bottom + 0.5
    picture.key()


def wrong_by_drill(
    conditions: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str, before: float
) -> None:
    """{condition: (wrong with a drilled name, wrong) of each seed}: bars of means, a dot for a seed's wrong.

    before: the mean share of wrong answers before any drill, a dotted line.
    """
    fig, ax = figure(title, "questions about facts elsewhere (%)", "")
    for place, (named, wrong) in enumerate(conditions.values()):
        with_name, rest = 100 * mean(named), 100 * (mean(wrong) - mean(named))
        labels = (
            ("wrong, with a drilled name", "wrong, other", "one seed, all wrong")
            if place == 0
            else (None,) * 3
        )
        ax.barh(place, with_name, 0.6, color=COLOURS[1], label=labels[0])
        ax.barh(
            place, rest, 0.6, left=with_name, color="none", edgecolor=COLOURS[1], hatch="///", label=labels[1]
        )
        aside = np.linspace(-0.2, 0.2, len(wrong))
        ax.plot([100 * one for one in wrong], place + aside, "o", color=INK, markersize=3.5, label=labels[2])
    ax.axvline(100 * before, color=INK, linestyle=":", label="before")
    ax.set_yticks(range(len(conditions)), list(conditions))
    ax.set(xlim=(0, 100), ylim=(len(conditions) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def share_interval(marks: Sequence[bool]) -> tuple[float, float, float]:
    """(share that is true, low, high): Wilson's 95% interval."""
    return sum(marks) / len(marks), *wilson_interval(sum(marks), len(marks))


def grouped(
    values: Mapping[str, Mapping[str, tuple[float, float, float]]],
    title: str,
    xlabel: str,
    level: tuple[str, Mapping[str, float]] = ("", {}),
) -> None:
    """Dots with intervals in groups, the first on top: {group: {series: (value, low, high)}}, in per cent.

    level: (label, {group: value}), drawn as a dotted line across these groups.
    """
    fig, ax = figure(title, xlabel, "")
    series = list(next(iter(values.values())))
    for number, (name, colour) in enumerate(zip(series, COLOURS, strict=False)):
        shift = (number - (len(series) - 1) / 2) * 0.7 / len(series)
        for group, shares in enumerate(values.values()):
            middle, low, high = (100 * share for share in shares[name])
            ax.errorbar(
                [middle],
                [group + shift],
                xerr=[[max(0.0, middle - low)], [max(0.0, high - middle)]],
                fmt="os^D"[number % 4],
                capsize=4,
                color=colour,
                label=name if group == 0 else None,
            )
    for number, (group, value) in enumerate(level[1].items()):
        place, label = list(values).index(group), level[0] if number == 0 else None
        ax.plot([100 * value] * 2, [place - 0.45, place + 0.45], ":", color=INK, label=label)
    ax.set_yticks(range(len(values)), list(values))
    ax.set(xlim=(-3, 103), ylim=(len(values) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    fig.legend(
        *ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(series) + bool(level[1])
    )
