"""A conversation as tokens and as pieces with labels; batches; a row at the mean; prompts; stored shares."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from course_utils import plots
from course_utils.chatml import marker_ids
from course_utils.data import IGNORE, Example, text_of
from course_utils.drawing import Picture, shown_number
from course_utils.plots import COLOURS


def conversation(tokenizer: Any, example: Example) -> None:
    """A conversation's tokens, one message per line, and which of them carry loss."""
    start, _ = marker_ids(tokenizer)
    begins = [i for i, token in enumerate(example.input_ids) if token == start] + [len(example.input_ids)]
    picture = Picture("Which tokens of a conversation does the model learn from?")
    for first, after in itertools.pairwise(begins):
        ids, labels = example.input_ids[first:after], example.labels[first:after]
        kinds = ["loss" if label != IGNORE else "data" for label in labels]
        role = tokenizer.decode(ids[1:]).partition("\n")[0]
        picture.flow(picture.bottom + 0.6, role, [text_of(tokenizer, token) for token in ids], kinds)
    picture.key()


def typed_markers(tokenizer: Any, ways: Mapping[str, Sequence[int]]) -> None:
    """The tokens of a turn in which the user typed markers, encoded in several ways: {way: ids}."""
    special = set(tokenizer.all_special_ids)
    picture = Picture("What becomes of the markers that a user types?")
    for way, ids in ways.items():
        picture.text(0, picture.bottom + 1.2, way, bold=True)
        kinds = [None if token in special else "data" for token in ids]
        picture.flow(picture.bottom + 0.6, "", [text_of(tokenizer, token) for token in ids], kinds)
    picture.key()


def pieces(turns: Mapping[str, Sequence[tuple[str, Sequence[int], bool]]]) -> None:
    """The pieces of each turn with their ids and labels: {role: [(text, ids, whether they carry loss)]}."""
    picture = Picture("Which label does each piece get?")
    y = picture.bottom + 0.4
    for role, parts in turns.items():
        picture.strip(y, ["piece", "ids", "labels"], left=5.4, name=role)
        for text, ids, learn in parts:
            labels = " ".join(map(str, ids)) if learn else f"{len(ids)} × " * (len(ids) > 1) + "−100"
            shown = [text.replace("\n", "\\n"), " ".join(map(str, ids)), labels]
            picture.row("", shown, ["data", None, "loss" if learn else None])
        y = picture.bottom + 0.8
    picture.key()


def masks(ids: Sequence[int], labels: Mapping[str, Sequence[int]]) -> None:
    """The ids of a conversation, and several ways to label them: {name: labels}."""
    picture = Picture("Which of the labels are right?")
    picture.strip(picture.bottom + 0.4, [str(place) for place in range(len(ids))], left=5, name="place")
    picture.row("id", list(map(str, ids)), "data")
    picture.skip(0.5)
    for name, row in labels.items():
        picture.row(name, _labels(row), ["loss" if label != IGNORE else None for label in row])
    picture.key()


def padded(rows: Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]) -> None:
    """A padded batch, {title: (ids, mask, labels)}, and the label that each place's output answers to."""
    picture = Picture("Which label does the output at each place answer to?")
    y = picture.bottom + 0.9
    for title, (ids, mask, labels) in rows.items():
        picture.text(0, y, title, bold=True)
        picture.strip(y + 0.8, [str(place) for place in range(len(ids))], left=5, name="place")
        picture.row("id", list(map(str, ids)), ["data" if real else None for real in mask])
        picture.row("mask", list(map(str, mask)))
        kinds = ["loss" if label != IGNORE else None for label in labels]
        picture.row("label", _labels(labels), kinds)
        picture.row("to predict", [*_labels(labels[1:]), None], [*kinds[1:], None])
        y = picture.bottom + 1.2
    picture.key()


def mean_row(old: torch.Tensor, states: Sequence[torch.Tensor]) -> None:
    """Logits and probabilities of rows [V, d] of a head, and of a new row at their mean, for states [d]."""
    rows = torch.cat([old, old.mean(0, keepdim=True)])
    picture = Picture("Which tokens can win in each state?")
    names = [f"t{place}" for place in range(1, len(old) + 1)]
    picture.strip(picture.bottom + 0.4, [*names, "marker"], left=6.5)
    picture.row("its row", list(map(_vector, rows)), "frozen")
    for state in states:
        picture.skip(0.9)
        logits = rows @ state
        probabilities = logits.softmax(0)
        picture.row(f"logit at {_vector(state)}", logits)
        ahead = (logits == logits.max()).nonzero()[:, 0].tolist()
        picture.row("probability", probabilities, digits=2, mark=ahead if len(ahead) == 1 else [])
    picture.key()


def packed(documents: Sequence[int], mask: torch.Tensor) -> None:
    """Which tokens of a packed row see which: the mask [tokens, tokens], 1 where a row looks at a column."""
    picture = Picture("Which tokens does each token of a packed row see?")
    kinds = ["data" if document else None for document in documents]
    picture.strip(picture.bottom + 0.4, [str(place) for place in range(len(documents))], left=6, name="place")
    picture.row("document", list(map(str, documents)), kinds)
    picture.skip(0.5)
    for place, row in enumerate(mask.tolist()):
        seen = [place for place, sees in enumerate(row) if sees]
        picture.row(f"place {place} sees", list(map(str, row)), mark=seen)
    picture.key()


def last_tokens(tokenizer: Any, prompts: Mapping[str, Sequence[int]], most: int = 14) -> None:
    """The beginning and the end of prompts, as tokens: {name: ids}."""
    picture = Picture("What does the model read before it answers?")
    for name, ids in prompts.items():
        picture.text(0, picture.bottom + 1.0, name, bold=True)
        shown = [text_of(tokenizer, token) for token in ids]
        kinds: list[str | None] = ["data"] * len(ids)
        if len(ids) > most:
            shown = [*shown[:4], "…", *shown[4 - most :]]
            kinds = [*kinds[:4], None, *kinds[4 - most :]]
        picture.flow(picture.bottom + 0.5, "", shown, kinds)
    picture.key()


def shares_by_run(panels: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """A dot for the share of every seed, a bar at their mean: {panel: {run: shares}}, in per cent."""
    _, axes = plots.figure(title, "per cent of the answers", "", columns=len(panels), sharey=True)
    for ax, (panel, runs) in zip(axes, panels.items(), strict=True):
        ax.set_title(panel)
        for place, shares in enumerate(runs.values()):
            aside = [place + 0.1 * (seed - (len(shares) - 1) / 2) for seed in range(len(shares))]
            colour = COLOURS[1] if place == 0 else COLOURS[0]
            ax.scatter([100 * share for share in shares], aside, color=colour, s=24)
        ax.set_yticks(range(len(runs)), list(runs))
        ax.set(xlim=(-5, 105), ylim=(len(runs) - 0.5, -0.5))
        ax.grid(axis="y", visible=False)


def _labels(labels: Sequence[int]) -> list[str]:
    return [shown_number(label, 0) for label in labels]


def _vector(values: torch.Tensor) -> str:
    return " ".join(shown_number(value, 0) for value in values.tolist())
