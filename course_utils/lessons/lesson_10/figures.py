"""Lesson 10's figures: proxy beside gold, correlations side by side, shares with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from course_utils import plots
from course_utils.drawing import ROOM, Picture, Place
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
