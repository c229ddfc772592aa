"""Lesson 10's pictures, from the rules of the gold score to all of part IV, and its figures of results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from course_utils import plots
from course_utils.drawing import CELL, ROOM, Picture, Place, shown_number
from course_utils.plots import COLOURS, INK

Interval = tuple[float, float, float]  # mean, low, high


def beside(panels: Mapping[str, Mapping[str, Interval]], title: str) -> None:
    """A panel per name, a row per text with its mean and interval; a line marks the first row's mean."""
    _, axes = plots.figure(title, "", "", columns=len(panels), sharey=True)
    for ax, (label, rows) in zip(axes, panels.items(), strict=True):
        for place, (mean, low, high) in enumerate(rows.values()):
            colour = COLOURS[1] if place == 0 else COLOURS[0]
            ax.plot([low, high], [place, place], color=colour, linewidth=2)
            ax.plot([mean], [place], "o", color=colour, markersize=7)
        ax.axvline(next(iter(rows.values()))[0], color=COLOURS[1], linestyle=":", linewidth=1)
        ax.set_xlabel(label)
        ax.grid(axis="y", visible=False)
    names = list(next(iter(panels.values())))
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)


def two_bars(
    rows: Mapping[str, tuple[float, float]], names: tuple[str, str], title: str, xlabel: str
) -> None:
    """Two horizontal bars for each name, one under the other."""
    _, ax = plots.figure(title, xlabel, "")
    for place, pair in enumerate(rows.values()):
        for number, value in enumerate(pair):
            ax.barh(
                place + 0.38 * number - 0.19,
                value,
                0.36,
                color=COLOURS[number],
                label=names[number] if place == 0 else None,
            )
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.figure.legend(ncols=2, loc="outside lower center")


def over_share(points: Mapping[float, Sequence[float]], title: str, ylabel: str) -> None:
    """Shares over the share of training pairs whose longer story was chosen: dots, with a bar at the mean."""
    _, ax = plots.figure(title, "training pairs in which the longer story was chosen (%)", ylabel)
    for share, values in points.items():
        shown = [100 * value for value in values]
        ax.plot([100 * share] * len(shown), shown, "o", color=COLOURS[0], markersize=5, alpha=0.5)
        mean = sum(shown) / len(shown)
        ax.plot([100 * share], [mean], "_", color=COLOURS[0], markersize=22, markeredgewidth=2.5)
    ax.axhline(50, color=INK, linestyle=":", linewidth=1)
    ax.set_xticks([100 * share for share in points])


def calibration(curves: Mapping[str, Sequence[Mapping[str, float]]], title: str) -> None:
    """Observed over predicted shares in bins, with two standard errors; the diagonal is calibration."""
    _, ax = plots.figure(title, "predicted probability of the preferred answer", "how often it was chosen")
    for number, (name, rows) in enumerate(curves.items()):
        shares = [row["observed"] for row in rows]
        errors = [2 * (s * (1 - s) / row["pairs"]) ** 0.5 for s, row in zip(shares, rows, strict=True)]
        places = [row["predicted"] for row in rows]
        ax.errorbar(
            places,
            shares,
            yerr=errors,
            fmt="os^v"[number],
            color=COLOURS[number],
            markersize=6,
            capsize=2,
            linewidth=1,
            label=name,
        )
    ax.plot([0.5, 1], [0.5, 1], color=INK, linestyle=":", linewidth=1)
    ax.axhline(0.5, color=INK, linewidth=0.8)
    ax.set(xlim=(0.48, 1.02), ylim=(0.2, 1.02))
    ax.figure.legend(ncols=len(curves), loc="outside lower center")


PART_FOUR = {  # what is lit, with its kind in that lesson
    "reward model": {"pairs": "data", "reward model": "trained"},
    "penalty": {"policy": "trained", "story": "sampled", "reference": "frozen", "penalty": None},
    "policy": {
        "policy": "trained",
        "story": "sampled",
        "reward model": "frozen",
        "reference": "frozen",
        "penalty": None,
        "reward": None,
    },
    "pairs without a reward model": {"pairs": "data", "policy": "trained", "reference": "frozen"},
}
LESSONS = {"reward model": "10", "penalty": "11", "policy": "12", "pairs without a reward model": "13"}


def part_four(lit: str) -> None:
    """Part IV in one picture: what trains what, who is frozen, what is real; one lesson's part is lit.

    lit: a key of PART_FOUR.
    """
    kinds, lesson = PART_FOUR[lit], LESSONS[lit]
    picture = Picture("Part IV: what is wanted, what is trained, what is frozen?")
    top, left, right, width = picture.bottom + 0.6, 0.0, ROOM - 8.5, 8.5

    def box(name: str, x: float, y: float, height: float, text: str, wide: float = width) -> Place:
        return picture.box(x, y, wide, height, text, kinds.get(name), bold=name in kinds)

    def labelled(number: str, start: Place | tuple, end: Place | tuple, x: float, y: float, words: str):
        picture.text(x, y, f"{number} {words}", bold=number == lesson)
        picture.arrow(start, end)

    gold = picture.box(left, top, ROOM, 1.6, "gold score: what is wanted; real life has no formula for it")
    pairs = box("pairs", left, top + 3.6, 4, "pairs of stories: which is better?")
    picture.arrow((width / 2, gold.bottom), (width / 2, pairs.y), "labels, some of them wrong")
    model = box("reward model", right, pairs.y, 4, "reward model: guesses the gold score")
    labelled("10", pairs, model, width + 0.7, pairs.y + 0.7, "learns from pairs")
    y = pairs.bottom + 2.4
    policy = box("policy", left, y, 5.2, "policy: the language model that writes stories")
    story = box("story", 12.5, y, 1.6, "a story", 5)
    reward = box("reward", right, y, 5.2, "reward: score minus penalty")
    labelled("13", pairs, policy, width / 2 + 0.5, y - 1.2, "learns from pairs directly")
    picture.arrow((right + width / 2, model.bottom), (right + width / 2, y), "score")
    middle = story.y + story.height / 2
    picture.arrow((policy.right, middle), (story.x, middle), "writes")
    picture.arrow((story.right, middle), (reward.x, middle))
    low = y + 4.3
    labelled("12", (reward.x, low), (policy.right, low), width + 0.9, low - 0.8, "learns from rewards")
    y = policy.bottom + 2.2
    reference = box("reference", left, y, 3.6, "reference: the policy as it was at the start")
    penalty = box("penalty", right, y, 3.6, "penalty on the distance")
    picture.arrow((width / 2, reference.y), (width / 2, policy.bottom), "starts as a copy")
    picture.arrow((right + width / 2, penalty.y), (right + width / 2, reward.bottom))
    labelled("11", reference, penalty, width + 0.7, y + 0.7, "how far from it?")
    picture.key()


def rules(rows: Mapping[str, Sequence[float]], names: Sequence[str]) -> None:
    """The parts of the gold score of a few texts, as a table; bold is what differs from the first row."""
    picture = Picture("Which part of the gold score does each change touch?")
    left, top = 9.8, picture.bottom + 0.3
    wide = (ROOM - left) / len(names)
    for column, name in enumerate(names):
        picture.text(left + (column + 0.45) * wide, top + 0.9, name, "center")
    first = next(iter(rows.values()))
    for place, (name, values) in enumerate(rows.items()):
        y = top + 2.3 + place * (CELL + 0.25)
        picture.text(left - 0.5, y + CELL / 2, name, "right")
        for column, (value, before) in enumerate(zip(values, first, strict=True)):
            shown = shown_number(value, 2)
            picture.box(left + column * wide, y, wide - 0.3, CELL, shown, bold=abs(value - before) > 0.005)


def noisy_labels(golds: Sequence[tuple[float, float]], noise: float) -> None:
    """Gold scores of a few pairs, the probability that each answer is preferred, and the likelier label's."""
    first = [1 / (1 + math.exp(-(a - b) / noise)) for a, b in golds]
    likelier = [max(p, 1 - p) for p in first]
    picture = Picture("How often would somebody be right who knows both gold scores?")
    names = [str(number) for number in range(1, len(golds) + 1)]
    picture.strip(picture.bottom + 0.4, names, "data", left=12.5, name="pair")
    picture.row("gold score of A", [a for a, _ in golds], digits=2)
    picture.row("gold score of B", [b for _, b in golds], digits=2)
    picture.row(f"(A − B) / {shown_number(noise)}", [(a - b) / noise for a, b in golds], sign=True)
    picture.row("A is preferred: σ", first, digits=2)
    picture.row("the likelier label", likelier, digits=2, mark=range(len(golds)))
    mean = statistics.mean(likelier)
    picture.text(ROOM, picture.bottom + 0.9, f"mean {shown_number(mean, 2)}: the ceiling", "right")
    picture.key()


def two_towers(chosen: float, rejected: float) -> None:
    """One reward model reads both answers; the difference of the scores gives a probability and a loss."""
    picture = Picture("What does a label tell the reward model?")
    top = picture.bottom + 0.6
    scores = []
    for row, (name, value) in enumerate((("chosen", chosen), ("rejected", rejected))):
        y = top + row * 4.4
        text = picture.box(0, y, 7, 2.6, f"request and {name} story", "data")
        model = picture.box(8.8, y, 7, 2.6, "reward model", "trained")
        shown = picture.box(17.6, y, 3, 2.6, shown_number(value))
        picture.arrow(text, model)
        picture.arrow(model, shown)
        scores.append(shown)
    picture.text(12.3, top + 3.5, "the same weights", "center")
    margin = chosen - rejected
    place = picture.box(22.5, top + 1.9, 7, 3.2, f"difference {shown_number(margin, 1, True)}")
    for each in scores:
        picture.arrow((each.right, each.y + each.height / 2), (place.x, place.y + place.height / 2))
    probability = 1 / (1 + math.exp(-margin))
    y = top + 7.6
    words = f"σ: probability of this label {shown_number(probability, 2)}"
    likely = picture.box(17, y, 12.5, 2.6, words)
    loss = picture.box(
        0,
        y,
        12,
        2.6,
        f"loss: −ln {shown_number(probability, 2)} = {shown_number(-math.log(probability), 2)}",
        "loss",
    )
    picture.arrow(place, likely)
    picture.arrow(likely, loss)
    picture.key()


def pair_costs(margins: Sequence[float]) -> None:
    """Probability, loss and push on the difference of the scores, for pairs with these differences."""
    sigma = [1 / (1 + math.exp(-margin)) for margin in margins]
    picture = Picture("What does a pair cost?")
    names = [shown_number(margin, 0, True) for margin in margins]
    picture.strip(picture.bottom + 0.4, names, left=12.5, name="chosen − rejected")
    picture.row("σ: probability", sigma, digits=2)
    picture.row("loss: −ln of it", [-math.log(p) for p in sigma], "loss", digits=2)
    picture.row("push: 1 − probability", [1 - p for p in sigma], digits=2)
    picture.key()


def ends_of_texts(rows: Mapping[str, Sequence[int]]) -> None:
    """Attention masks of a few rows, the columns counted below; the last real token is bold."""
    picture = Picture("Where does the text end?")
    tokens = len(next(iter(rows.values())))
    picture.strip(picture.bottom + 0.4, [str(place) for place in range(tokens)], left=10, name="column")
    for name, mask in rows.items():
        last = max(place for place, real in enumerate(mask) if real)
        kinds = ["data" if real else None for real in mask]
        picture.row(name, [str(real) for real in mask], kinds, mark=[last])
    picture.key()


def score_by_hand(
    tokens: Sequence[str], mask: Sequence[int], vectors: Sequence[Sequence[float]], head, centre: float
) -> None:
    """A score of one padded row: mask, positions, vectors of two numbers, head, centre."""
    last = max(place for place, real in enumerate(mask) if real)
    read = sum(value * weight for value, weight in zip(vectors[last], head, strict=True))
    positions = [max(sum(mask[: place + 1]) - 1, 0) for place in range(len(mask))]
    picture = Picture("What is the score of this text?")
    kinds = ["data" if real else None for real in mask]
    picture.strip(picture.bottom + 0.4, tokens, kinds, left=6)
    picture.row("mask", [str(real) for real in mask])
    picture.row("position", [str(position) for position in positions])
    shown = [" ".join(shown_number(value) for value in vector) for vector in vectors]
    picture.row("vector", shown, mark=[last])
    y = picture.bottom + 1
    picture.grid(6, y, [list(head)], "the head's row", "trained")
    terms = " + ".join(
        f"{shown_number(weight)} · {shown_number(value)}"
        if weight >= 0
        else f"({shown_number(weight)}) · {shown_number(value)}"
        for value, weight in zip(vectors[last], head, strict=True)
    )
    picture.text(6, picture.bottom + 1, f"{terms} = {shown_number(read)}, the head's output")
    picture.text(
        6,
        picture.bottom + 0.9,
        f"minus the centre, {shown_number(centre)}: score {shown_number(read - centre)}",
    )
    picture.key()


def shortcut(words: Sequence[tuple[int, int]]) -> None:
    """Words of the chosen and of the rejected story of a few pairs; which of them balancing keeps."""
    longer = [chosen > rejected for chosen, rejected in words]
    picture = Picture("How often is “the longer story” the right answer?")
    names = [str(number) for number in range(1, len(words) + 1)]
    picture.strip(picture.bottom + 0.4, names, "data", left=8.5, name="pair")
    picture.row("words, chosen", [str(chosen) for chosen, _ in words])
    picture.row("words, rejected", [str(rejected) for _, rejected in words])
    picture.row("longer chosen", ["yes" if each else "no" for each in longer])
    fewer = min(sum(longer), len(longer) - sum(longer))
    kept, left = [], {True: fewer, False: fewer}
    for each in longer:
        kept.append(left[each] > 0)
        left[each] -= kept[-1]
    picture.row("balanced", ["keep" if each else "drop" for each in kept])
    right = f"right in {sum(longer)} of {len(longer)}; of the kept ones in {fewer} of {2 * fewer}"
    picture.text(ROOM, picture.bottom + 0.9, right, "right")
    picture.key()


def fooled(panels: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """Changes of scores: a panel a model, a row a text, a pale dot a story, the mean with its interval."""
    _, axes = plots.figure(
        title, "change (standard deviations)", "", columns=len(panels), sharex=True, sharey=True
    )
    for ax, (name, rows) in zip(axes, panels.items(), strict=True):
        ax.set_title(name)
        for place, values in enumerate(rows.values()):
            aside = place + np.linspace(-0.22, 0.22, len(values))
            ax.scatter(values, aside, color=COLOURS[0], s=9, alpha=0.35, linewidths=0)
            mean = statistics.mean(values)
            room = 1.96 * statistics.stdev(values) / len(values) ** 0.5
            ax.plot([mean - room, mean + room], [place, place], color=COLOURS[1], linewidth=3)
            ax.plot([mean], [place], "o", color=COLOURS[1], markersize=7)
        ax.axvline(0, color=INK, linestyle=":", linewidth=1)
        ax.grid(axis="y", visible=False)
    names = list(next(iter(panels.values())))
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
