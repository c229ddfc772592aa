"""Two hills and one, and how students approach a teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from course_utils.drawing import CELL, ROOM, Picture, shown_number
from course_utils.lessons.lesson_19.hills import TOKENS, nearest_hill, rare, two_hills
from course_utils.plots import COLOURS, INK, bands, caption, figure


def one_hill_for_two(apart: int = 8, share: float = 0.6, title: str = "") -> None:
    """The teacher's two hills, and the nearest bell by either KL."""
    teacher = two_hills(apart, share)
    where = rare(teacher)
    _, axes = figure(title or "The nearest bell, by either KL", "token", "probability", columns=2)
    for ax, direction, colour in zip(axes, ("forward", "reverse"), COLOURS, strict=False):
        student, kl = nearest_hill(teacher, direction)
        ax.bar(TOKENS, teacher.softmax(-1), color="none", edgecolor=INK, label="teacher")
        ax.plot(TOKENS, student, "o-", color=colour, markersize=4, label="student")
        ax.set(title=f"{direction} KL: {kl:.2f} nats", ylim=(0, 0.55))
        ax.legend()
        share = student[where].sum()
        print(f"{direction}: {share:.0%} of the student's tokens, where the teacher has under 1% each")
    caption(
        "A teacher with two hills, and the bell with the least KL from it, over sixteen tokens.",
        seen="two panels with the same two hills of bars; the student is another bell in each",
    )


def kl_left(groups: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]], title: str) -> None:
    """Shares of the start's KL over compute, a panel each: {panel: {way: {forward passes: shares}}}."""
    _, axes = figure(title, "forward passes over a batch", "", columns=len(groups))
    for ax, (name, ways) in zip(axes, groups.items(), strict=True):
        _ranges(ax, ways)
        ax.set(title=name, ylabel="share of the KL left")
        ax.legend()
    top = max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set_ylim(0, top)


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
        _ranges(ax, {way: numbers[name] for way, numbers in ways.items()})
        for (level, numbers), style in zip(levels.items(), (":", "--"), strict=True):
            height = sum(numbers[name]) / len(numbers[name])
            ax.axhline(height, color=INK, linestyle=style, linewidth=1, label=level)
        ax.set(ylabel=label)
        ax.set_ylim(0, None)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def _ranges(ax, ways: Mapping[str, Mapping[float, Sequence[float]]]) -> None:
    """Means over the seeds as lines, with the lowest and the highest, a little apart."""
    marks = zip(COLOURS, ("o", "s", "^", "D", "v"), strict=False)
    for place, ((way, points), (colour, mark)) in enumerate(zip(ways.items(), marks, strict=False)):
        x = [passes + 0.7 * (place - (len(ways) - 1) / 2) for passes in points]
        means = [sum(values) / len(values) for values in points.values()]
        low, high = (list(map(end, points.values())) for end in (min, max))
        ax.vlines(x, low, high, color=colour, linewidth=0.9, alpha=0.6)
        ax.plot(x, means, marker=mark, color=colour, markersize=4, label=way)


def two_losses(losses: Mapping[str, Sequence[Sequence[float]]], title: str) -> None:
    """Training losses by step, {name: a list per seed}: means with the range over the seeds."""
    found = {name: dict(enumerate(zip(*runs, strict=True), 1)) for name, runs in losses.items()}
    ax = figure(title, "step", "training loss (nats a token)")[1]
    bands(found, "", "", "", ax=ax)
    ax.set_ylim(0, None)
    ax.set_xticks(np.arange(1, 1 + max(map(len, found.values())), 2))


def two_kls(words: Sequence[str], student: Sequence[float], teacher: Sequence[float]) -> None:
    """The terms of both KLs of one token, word by word, and their sums."""
    reverse = [p * math.log(p / q) for p, q in zip(student, teacher, strict=True)]
    forward = [q * math.log(q / p) for p, q in zip(student, teacher, strict=True)]
    picture = Picture("One place, four words: how far are student and teacher apart?")
    picture.strip(picture.bottom + 0.4, [*words, "sum"], left=8.5, name="next word")
    picture.row("p, the student", [*student, sum(student)], [*["trained"] * len(words), None], digits=2)
    picture.row("q, the teacher", [*teacher, sum(teacher)], [*["frozen"] * len(words), None], digits=2)
    picture.skip(0.6)
    for name, terms in {"p ln(p / q)": reverse, "q ln(q / p)": forward}.items():
        largest = terms.index(max(terms))
        kinds = [*[None] * len(words), "loss"]
        picture.row(name, [*terms, sum(terms)], kinds, digits=2, sign=True, mark=[largest, len(words)])
    picture.key()


JUDGE = 19.6  # where the judges stand in who_writes


def who_writes(ways: Mapping[str, tuple[str, str, str]]) -> None:
    """{way: (who writes, who judges, how much it says)}, a line each."""
    kinds = {"student": "trained", "teacher": "frozen"}
    picture = Picture("Who writes the answers, and who judges them?")
    top = picture.bottom + 0.6
    for x, head in ((7.6, "writes"), (14, "text"), (JUDGE, "judges, and says")):
        picture.text(x, top, head)
    for number, (way, (writer, judge, says)) in enumerate(ways.items()):
        y = top + 1.2 + 3.4 * number
        picture.text(0, y + 1.3, way)
        author = picture.box(7.6, y, 4.6, 2.6, writer, kinds.get(writer))
        text = picture.box(14, y, 4, 2.6, "answer", "sampled")
        picture.arrow(author, text)
        critic = picture.box(JUDGE, y, ROOM - JUDGE, 2.6, f"{judge}: {says}", kinds.get(judge))
        picture.arrow(critic, text)
    picture.key()


def mean_of_tokens(answers: Sequence[tuple[Sequence[str], Sequence[float]]]) -> None:
    """(tokens, their KLs) of a batch's answers: the loss is one mean over all tokens."""
    longest = max(len(tokens) for tokens, _ in answers)
    picture = Picture("Two answers of a student: what is the loss of the batch?")
    every = [kl for _, each in answers for kl in each]
    for number, (tokens, each) in enumerate(answers, 1):
        rest = longest - len(tokens)
        room = [*tokens, *[""] * rest]
        picture.strip(picture.bottom + 0.5, room, ["sampled"] * len(room), left=9, name=f"answer {number}")
        picture.row("KL of the place", [*each, *[None] * rest], "loss", digits=1)
    count = " + ".join(shown_number(kl) for kl in every)
    loss = shown_number(sum(every) / len(every), 2)
    picture.text(0, picture.bottom + 1.1, f"loss: ({count}) / {len(every)} = {loss}", bold=True)
    picture.key()


def pushed(words: Sequence[str], student: Sequence[float], teacher: Sequence[float]) -> None:
    """What the log-ratio of each sampled token does: probabilities of both models -> advantage."""
    advantages = [math.log(q / p) for p, q in zip(student, teacher, strict=True)]
    ways = ["down" if a < -0.005 else "up" if a > 0.005 else "nowhere" for a in advantages]
    picture = Picture("Which way does each draw push its own token?")
    picture.strip(picture.bottom + 0.4, words, "sampled", left=8.5, name="sampled")
    picture.row("p, the student", student, "trained", digits=2)
    picture.row("q, the teacher", teacher, "frozen", digits=2)
    picture.row("ln q − ln p", advantages, digits=2, sign=True)
    picture.row("this draw pushes", ways)
    picture.key()


def passes(ways: Mapping[str, tuple[Mapping[str, int], int]]) -> None:
    """{way: (forward passes by part of a step, steps)}: a box for each pass, and their number."""
    picture = Picture("What does a step cost, in forward passes over a batch of answers?")
    wide, y = 5.6, picture.bottom + 0.8
    for way, (parts, steps) in ways.items():
        boxes = [part for part, count in parts.items() for _ in range(count)]
        picture.text(0, y, f"{way}: {len(boxes)} a step, {steps} steps are {steps * len(boxes)}")
        for place, part in enumerate(boxes):
            kind = {"sampling": "sampled", "teacher": "frozen"}.get(part, "trained")
            picture.box(place * (wide + 0.3), y + 0.9, wide, CELL, part, kind)
        y += CELL + 2.2
    picture.key()


def likeliest(
    answers: Sequence[Sequence[str]], log_probs: Mapping[str, Sequence[Sequence[float]]], title: str
) -> None:
    """Log-probabilities of the same answers by several models, their sums, and the means of the sums."""
    picture = Picture(title)
    longest = max(map(len, answers))
    sums: dict[str, list[float]] = {name: [] for name in log_probs}
    for number, tokens in enumerate(answers):
        rest = longest - len(tokens)
        picture.strip(
            picture.bottom + 0.5, [*tokens, *[""] * rest, "sum"], left=6.5, name=f"answer {number + 1}"
        )
        for name, each in log_probs.items():
            sums[name].append(sum(each[number]))
            picture.row(name, [*each[number], *[None] * rest, sums[name][-1]], mark=[longest])
    means = ", ".join(f"{name} {shown_number(sum(each) / len(each), 2)}" for name, each in sums.items())
    picture.text(0, picture.bottom + 1.1, f"mean of the sums: {means}", bold=True)
    picture.key()
