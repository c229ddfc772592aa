"""Pictures of two changes of one length, exchanged answers, inputs and targets, labels, and perplexity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.patches import Circle

from course_utils import plots
from course_utils.drawing import CELL, GAP, ROOM, Picture, Place, shown_number
from course_utils.plots import INK, printable

PER_WEIGHT = 3  # units in a plane of two weights


def two_changes(before: tuple[float, float], changes: Mapping[str, tuple[float, float]]) -> None:
    """Changes {name: change} of a model of two weights, in their plane."""
    picture = Picture("How far, and in which direction?")
    tips = {name: (before[0] + x, before[1] + y) for name, (x, y) in changes.items()}
    reach = max(math.hypot(*change) for change in changes.values())
    high, wide = before[1] + reach, before[0] + reach
    left, top = 0.3, picture.bottom + 1.6

    def at(x, y):
        return left + PER_WEIGHT * x, top + PER_WEIGHT * (high - y)

    def block(x, y, lines):
        for number, line in enumerate(lines):
            picture.text(x, y + 1.2 * number, line, bold=number == 0)

    picture.text(left, top - 0.8, "weight 2")
    picture.arrow(at(0, 0), at(0, high))
    picture.text(at(wide, 0)[0], at(0, 0)[1] + 0.9, "weight 1", "right")
    picture.arrow(at(0, 0), at(wide, 0))
    picture.arrow(at(0, 0), at(*before))
    norm = math.hypot(*before)
    block(*at(0.58 * before[0], 0.35 * before[1]), ["before", _vector(before), f"norm {shown_number(norm)}"])
    style = {"facecolor": "none", "edgecolor": INK, "linewidth": 0.8, "linestyle": ":"}
    picture.axes.add_patch(Circle(at(*before), PER_WEIGHT * reach, **style))
    for name, change in changes.items():
        picture.arrow(at(*before), at(*tips[name]))
        length = math.hypot(*change)
        share = f"norm {shown_number(length)}, {length / norm:.0%} of {shown_number(norm)}"
        block(at(wide, 0)[0] + 0.7, at(*tips[name])[1] - 1.2, [name, _vector(change), share])


def _vector(values: Sequence[float]) -> str:
    return f"({', '.join(map(shown_number, values))})"


def exchanged_answers(questions: Sequence[str], right: Sequence[str], exchanged: Sequence[str]) -> None:
    """Questions with their right answers and, at the end of an arrow from there, their exchanged ones."""
    picture = Picture("Which answer does each question get?")
    y = picture.bottom + 1
    columns = ((0, 9.5, "question"), (10.5, 7, "right answer"), (ROOM - 7, 7, "exchanged"))
    for x, width, name in columns:
        picture.text(x + width / 2, y, name, "center", bold=True)
    (left, wide, _), (middle, narrow, _), (last, _, _) = columns
    places = {}
    for question, answer in zip(questions, right, strict=True):
        y += CELL + 0.6
        picture.box(left, y - 0.6, wide, CELL, question, "data")
        places[answer] = picture.box(middle, y - 0.6, narrow, CELL, answer, "data")
    for answer, other in zip(right, exchanged, strict=True):
        place = picture.box(last, places[answer].y, narrow, CELL, other, "data")
        picture.arrow(places[other], place)
    picture.key()


def along_directions(
    values: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]],
    of_base: Mapping[str, float],
    title: str,
) -> None:
    """The answers' loss and the perplexity on texts over the distance.

    values: {"answer_loss" and "perplexity": {direction: {distance: values of the seeds}}}; of_base: the same
    two of the base.
    """
    fig, axes = plots.figure(title, "distance (tuning's = 1)", "", columns=2)
    labels = {"answer_loss": "loss of answers (nats a token)", "perplexity": "perplexity on texts"}
    heights = {"answer_loss": [0.1, 0.3, 1, 3, 10], "perplexity": [3, 10, 30, 100, 300]}
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        for colour, (direction, points) in zip(plots.COLOURS, values[name].items(), strict=False):
            plots.means_and_ranges(ax, points, colour, direction)
        ax.axhline(of_base[name], color=INK, linestyle=":", label="base")
        ax.set(ylabel=label, xscale="log", yscale="log")
        plots.log_ticks(ax, [0.3, 1, 3, 10, 30])
        ax.set_yticks(heights[name], list(map(str, heights[name])))
        ax.set_yticks([], minor=True)
    names = axes[0].get_legend_handles_labels()
    fig.legend(*names, ncols=2, loc="outside lower center")


def shift(tokens: Sequence[str], probabilities: Sequence[float], digits: int = 2) -> None:
    """Each input token above its target, the next token, with the loss there.

    probabilities: of the targets, one fewer than tokens; shown with `digits` decimals.
    """
    losses = [-math.log(p) for p in probabilities]
    picture = Picture("What is each position to predict?")
    inputs = picture.strip(picture.bottom + 0.4, tokens[:-1], "data", left=7.5, name="inputs")
    picture.skip(1.2)
    targets = picture.row("targets", list(map(printable, tokens[1:])), "loss")
    for target, following in zip(targets, inputs[1:], strict=False):
        picture.arrow(_below(following), _above(target))
    picture.row("p of the target", probabilities, digits=digits)
    cells = picture.row("loss: −ln p", losses, digits=2, mark=[losses.index(max(losses))])
    mean = shown_number(sum(losses) / len(losses), 2)
    left, right = cells[0], cells[-1]
    text = picture.box(
        left.x, left.bottom + 1.4, right.right - left.x, CELL, f"loss of the text: {mean} nats a token"
    )
    picture.arrow(cells[len(cells) // 2], text, "mean")
    picture.key()


def _below(cell: Place) -> tuple[float, float]:
    return cell.x + cell.width / 2, cell.bottom


def _above(cell: Place) -> tuple[float, float]:
    return cell.x + cell.width / 2, cell.y


def labels_of_a_batch(
    texts: Sequence[Sequence[str]], labels: Sequence[Sequence[int]], probabilities: Sequence[Sequence]
) -> None:
    """The tokens of each text, their labels, and at each place the target, its probability and its loss.

    probabilities: a row for each text, one fewer than its tokens; None where the target is -100.
    """
    picture = Picture("Which tokens carry loss?")
    y = picture.bottom + 0.4
    for tokens, row, of_targets in zip(texts, labels, probabilities, strict=True):
        picture.strip(y, tokens, "data", left=7.5, name="tokens")
        above = picture.row("labels", [_id(label) for label in row])
        picture.skip(1.2)
        kinds = ["loss" if p is not None else None for p in of_targets]
        targets = picture.row("targets", [*map(_id, row[1:]), None], [*kinds, None])
        for target, following in zip(targets, above[1:], strict=False):
            picture.arrow(_below(following), _above(target))
        picture.row("p of the target", [*of_targets, None], digits=2)
        losses = [0.0 if p is None else -math.log(p) for p in of_targets]
        picture.row("losses", [*losses, None], digits=2)
        y = picture.bottom + 1.2
    picture.key()


def _id(label: int) -> str:
    return shown_number(label, 0)


def perplexity_of(losses: Sequence[float]) -> None:
    """From the losses of all tokens that count to the perplexity of the batch."""
    picture = Picture("How unsure is the model, in one number?")
    total, count = sum(losses), len(losses)
    mean = total / count
    picture.strip(picture.bottom + 0.4, [shown_number(loss, 2) for loss in losses], "loss", name="losses")
    left, wide = 7.0, ROOM - 7
    y = picture.bottom + GAP
    steps = (
        ("their sum", shown_number(total, 2)),
        ("their mean", f"{shown_number(total, 2)} / {count} = {shown_number(mean, 2)} nats"),
        ("perplexity", f"e to the {shown_number(mean, 2)} = {shown_number(math.exp(mean), 2)}"),
    )
    for name, text in steps:
        picture.text(left - 0.5, y + CELL / 2, name, "right")
        picture.box(left, y, wide, CELL, text)
        y += CELL + GAP
    picture.key()


def shifted_twice(tokens: Sequence[str]) -> None:
    """What each position is asked for if labels are shifted once, and if they are shifted twice."""
    picture = Picture("Which token is each position asked for?")
    shown = list(map(printable, tokens))
    picture.strip(picture.bottom + 0.4, tokens[:-1], "data", left=7.5, name="inputs")
    picture.row("shifted once", shown[1:], "loss")
    picture.row("shifted twice", [*shown[2:], None], "loss")
    picture.key()
