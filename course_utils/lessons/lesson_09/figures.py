"""Figures of lesson 09: pictures of its ideas; shares by kind, values with their range, curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev

from course_utils import plots
from course_utils.drawing import ROOM, Picture, shown_number


def three_models(models: Mapping[str, Sequence[str]]) -> None:
    """What each model was trained on, side by side: {name: what it was trained on, in order}."""
    picture = Picture("What has each model been trained on?")
    y, wide, high = picture.bottom + 0.9, ROOM / len(models), 5.6
    for place, (name, stages) in enumerate(models.items()):
        x = place * wide
        picture.text(x, y, name, bold=True)
        for number, stage in enumerate(stages):
            here = y + 0.9 + number * (high + 1.4)
            box = picture.box(x, here, wide - 0.9, high, stage, "data")
            if number:
                middle = x + (wide - 0.9) / 2
                picture.arrow((middle, here - 1.4), (middle, box.y), "then")
    picture.key()


def loss_of_conversation(
    tokens: Sequence[str], has_loss: Sequence[bool], answer: Sequence[str], probabilities: Sequence[float]
) -> None:
    """A conversation's tokens, those with loss coloured; what the base model expects of the answer."""
    losses = [-math.log(each) for each in probabilities]
    picture = Picture("Which tokens have loss, and how large is it for the base model?")
    kinds = ["loss" if one else "data" for one in has_loss]
    picture.flow(picture.bottom + 0.4, "tokens", tokens, kinds)
    picture.strip(picture.bottom + 1.2, answer, "loss", name="the answer")
    picture.row("p", [_small(each) for each in probabilities])
    picture.row("loss: −ln p", losses)
    picture.key()


def two_means(conversations: Mapping[str, tuple[Sequence[str], Sequence[float]]]) -> None:
    """Two answers of a batch with their losses, and the two means: {title: (tokens, losses)}."""
    picture = Picture("Which mean has a batch of two answers?")
    sums = {"tokens alike": [0.0, 0.0], "conversations alike": [0.0, 0.0]}
    y, most = picture.bottom + 0.9, max(len(tokens) for tokens, _ in conversations.values())
    for title, (tokens, losses) in conversations.items():
        picture.text(0, y, title, bold=True)
        empty = [""] * (most - len(tokens))
        nothing = [None] * len(empty)
        picture.strip(
            y + 0.8, [*tokens, *empty], ["loss"] * len(tokens) + [None] * len(empty), left=12.5, name="answer"
        )
        picture.row("loss", [*losses, *nothing])
        for name, weight in (("tokens alike", 1.0), ("conversations alike", 1 / len(losses))):
            picture.row(f"weight, {name}", [*[weight] * len(losses), *nothing], digits=2)
            sums[name][0] += weight * sum(losses)
            sums[name][1] += weight * len(losses)
        y = picture.bottom + 1.2
    for name, (total, divisor) in sums.items():
        told = f"{shown_number(total)} / {shown_number(divisor)} = {shown_number(total / divisor, 2)}"
        picture.text(0, y, f"{name}: weighted sum / divisor = {told}")
        y += 1.3
    picture.key()


def seen_by_group(columns: Mapping[str, Sequence[bool]], rows: Sequence[str]) -> None:
    """What the model has seen of each group of facts: {group: one bool for each row}."""
    picture = Picture("What has the tuned model seen of each group?")
    picture.strip(picture.bottom + 0.4, list(columns), left=11, name="group")
    for place, name in enumerate(rows):
        seen = [values[place] for values in columns.values()]
        picture.row(name, ["yes" if one else "no" for one in seen], ["data" if one else None for one in seen])
    picture.key()


def end_markers(
    ids: Sequence[int], labels: Sequence[int | None], after: Sequence[float], end_id: int
) -> None:
    """Two exchanges as ids; labels (None: -100); the probability of the end marker after each token."""
    picture = Picture(f"Where does the end marker, {end_id}, carry loss, and is it expected?")
    kinds = ["data" if label is None else "loss" for label in labels]
    picture.strip(picture.bottom + 0.4, [str(token) for token in ids], kinds, left=7.5, name="ids")
    picture.row("label", ["−100" if label is None else str(label) for label in labels])
    last = len(ids) - 1 - list(ids)[::-1].index(end_id)
    picture.row(f"p: {end_id} is next", list(after), digits=2, mark=[last - 1])
    picture.key()


def shares_of_steps(kinds: Sequence[str], targets: Sequence[int], steps: Sequence[int]) -> None:
    """Conversations, their target tokens, and their share of the weight in one step and in several."""
    picture = Picture("Which share of the weight has each conversation?")
    total = sum(targets)
    of_step = {
        step: sum(count for count, its in zip(targets, steps, strict=True) if its == step) for step in steps
    }
    within = [count / of_step[step] for count, step in zip(targets, steps, strict=True)]
    picture.strip(picture.bottom + 0.4, list(kinds), "data", left=11.5, name="kind")
    picture.row("target tokens", [str(count) for count in targets], "loss")
    picture.row("share, all in one step", [_per_cent(count / total) for count in targets])
    picture.skip(0.6)
    picture.row("step", [str(step) for step in steps])
    picture.row("share of its step", [_per_cent(each) for each in within])
    picture.row("share, as trained", [_per_cent(each / len(of_step)) for each in within])
    picture.key()


def paired(before: Sequence[bool], after: Sequence[bool]) -> None:
    """The outcomes of two models on the same questions, their differences, mean and standard error."""
    differences = [int(new) - int(old) for old, new in zip(before, after, strict=True)]
    n = len(differences)
    picture = Picture("How sure is the difference of two models?")
    picture.strip(
        picture.bottom + 0.4, [str(number) for number in range(1, n + 1)], left=6.5, name="question"
    )
    for name, outcomes in (("right before", before), ("right after", after)):
        picture.row(name, ["1" if right else "0" for right in outcomes])
    changed = [place for place, each in enumerate(differences) if each]
    picture.row("d", [shown_number(each, 0) for each in differences], mark=changed)
    middle, deviation = mean(differences), stdev(differences)
    said = f"mean of d: {shown_number(middle, 2)}; standard deviation of d: {shown_number(deviation, 2)}"
    picture.text(0, picture.bottom + 1, said)
    error = f"standard error: {shown_number(deviation, 2)} / √{n} = {shown_number(deviation / n**0.5, 2)}"
    picture.text(0, picture.bottom + 0.7, error)


def full_context(turns: Sequence[tuple[str, int]], limit: int, kept: Callable[[int], Sequence[int]]) -> None:
    """Which turns are read: (name, tokens) of each; kept(tries): the places that are left after so many."""
    picture = Picture(f"Which turns does a model with room for {limit} tokens read?")
    lengths = [length for _, length in turns]
    picture.strip(picture.bottom + 0.4, [name for name, _ in turns], left=9, name="turn")
    for tries in range(len(turns)):
        places = kept(tries)
        total = sum(lengths[place] for place in places)
        fits = total <= limit
        shown = [str(length) if place in places else None for place, length in enumerate(lengths)]
        kinds = ["data" if place in places else None for place in range(len(turns))]
        picture.row(f"tokens, together {total}", shown, kinds)
        if fits:
            break
    picture.key()


def _small(probability: float) -> str:
    """A probability with one digit that is not zero: 0.3, 0.002; below a millionth as a bound."""
    return f"{probability:.1g}" if probability >= 1e-4 else f"{probability:.0e}".replace("e-0", "e−")


def _per_cent(share: float) -> str:
    return f"{100 * share:.4g}%" if (100 * share) % 1 == 0 else f"{100 * share:.1f}%"


def shares(title: str, measures: Mapping[str, Mapping[str, float]]) -> None:
    """Horizontal bars side by side: each kind's share in every measure, {measure: {kind: share}}."""
    _, ax = plots.figure(title, "share (%)", "")
    kinds = list(next(iter(measures.values())))
    height = 0.8 / len(measures)
    for number, (name, values) in enumerate(measures.items()):
        places = [place + (number - (len(measures) - 1) / 2) * height for place in range(len(kinds))]
        ax.barh(places, [100 * values[kind] for kind in kinds], height, label=name)
    ax.set_yticks(range(len(kinds)), kinds)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.legend()


def ranges(title: str, panels: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """For each panel and row, the mean and range over runs, in per cent: {panel: {row: values}}."""
    _, axes = plots.figure(title, "", "", columns=len(panels))  # two or more
    for ax, (name, rows) in zip(axes, panels.items(), strict=True):
        for place, values in enumerate(rows.values()):
            middle = 100 * mean(values)
            beside = [[middle - 100 * min(values)], [100 * max(values) - middle]]
            ax.errorbar([middle], [place], xerr=beside, fmt="o", capsize=4, color=plots.COLOURS[0])
        ax.set_yticks(range(len(rows)), list(rows))
        ax.tick_params(labelleft=ax is axes[0])
        ax.set(xlabel=f"{name} (%)", xlim=(-4, 104), ylim=(len(rows) - 0.5, -0.5))
        ax.grid(axis="y", visible=False)
