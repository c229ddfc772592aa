"""What stands before a text, and what the model reads of it; a prefix in parts; losses of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from course_utils import plots
from course_utils.data import IGNORE
from course_utils.drawing import CELL_WIDTH, Picture, ground_and_edge, shown_number
from course_utils.lessons.lesson_07.small_prompts import with_prompt
from course_utils.lessons.lesson_07.suspects import inputs_of_script
from course_utils.plots import COLOURS, INK, WIDTH, entitle

PAD = "pad"


def looked_up(prompt: torch.Tensor, tokens: Sequence[str], ids: Sequence[int], table: torch.Tensor) -> None:
    """The first three numbers of the vectors of a prompt [P, d], and of tokens: rows of the table [V, d]."""
    length = len(prompt)
    picture = Picture("What does the model get?")
    of_prompt, of_text = ["trained"] * length, ["frozen"] * len(tokens)
    kinds = of_prompt + of_text
    picture.strip(
        picture.bottom + 0.4, [*_names(length), *tokens], [*of_prompt, *["data"] * len(tokens)], 6.5
    )
    picture.row("token number", [None] * length + [str(token) for token in ids])
    picture.skip(0.5)
    vectors = torch.cat([prompt, table[list(ids)]])
    for place, numbers in zip(("vector", "", ""), vectors[:, :3].T, strict=True):
        picture.row(place, numbers, kinds, digits=2)
    picture.row("", ["…"] * len(kinds), kinds)
    picture.key()


def in_front(texts: Mapping[str, tuple[Sequence[str], Any, Any]], length: int) -> None:
    """Mask, labels and positions of texts behind a prompt: {title: (tokens, mask [T], labels [T])}."""
    picture = Picture("What stands at each place of mask, labels and positions?")
    y = picture.bottom + 0.9
    for title, (tokens, mask, labels) in texts.items():
        picture.text(0, y, title, bold=True)
        empty = torch.zeros(length, 1), torch.zeros(1, len(mask), 1)
        _, read, targets, positions = with_prompt(*empty, torch.tensor([mask]), torch.tensor([labels]))
        _tokens_behind(picture, y + 0.8, tokens, length)
        picture.row("mask", _whole(read[0]))
        kinds = ["loss" if label != IGNORE else None for label in targets[0].tolist()]
        picture.row("label", _whole(targets[0]), kinds)
        picture.row("position", _or_any(positions[0], read[0]))
        y = picture.bottom + 1.2
    picture.key()


def two_mistakes(tokens: Sequence[str], labels: Sequence[int], padded: Sequence[str], length: int) -> None:
    """What the model does with a mask that was not extended, and with a prompt behind the text.

    padded: the tokens of a second text, padded on the right.
    """
    picture = Picture("What does the model make of the two batches?")
    text, y = len(tokens), picture.bottom + 0.9
    for title, row in (("mask not extended", tokens), ("mask not extended, a padded text", padded)):
        picture.text(0, y, title, bold=True)
        _tokens_behind(picture, y + 0.8, row, length)
        given = ["0" if token == PAD else "1" for token in row]
        filled = given + ["0"] * length
        real = [True] * length + [token != PAD for token in row]
        unread = [place for place, one in enumerate(filled) if real[place] and one == "0"]
        picture.row("mask, given", [*given, *[None] * length])
        picture.row("mask, filled up", filled, mark=unread)
        y = picture.bottom + 1.2
    picture.text(0, y, "prompt behind the text", bold=True)
    kinds = ["data"] * text + ["trained"] * length
    picture.strip(y + 0.8, [*tokens, *_names(length)], kinds)
    extended = [IGNORE] * length + list(labels)
    kinds = ["loss" if label != IGNORE else None for label in extended]
    picture.row("label", _whole(torch.tensor(extended)), kinds)
    picture.key()


def numberings(tokens: Sequence[str], mask: Sequence[int], length: int) -> None:
    """The positions of a left-padded text behind a prompt: right, and those of the script."""
    picture = Picture("At which position does each token stand?")
    empty = torch.zeros(length, 1), torch.zeros(1, len(mask), 1), torch.tensor([mask])
    _, read, _, right = with_prompt(*empty, torch.tensor([mask]))
    _, _, of_script = inputs_of_script(*empty)
    _tokens_behind(picture, picture.bottom + 0.4, tokens, length)
    picture.row("with_prompt", _or_any(right[0], read[0]))
    shifted = ((right != of_script) & (read == 1))[0].nonzero()[:, 0].tolist()
    picture.row("the script", _or_any(of_script[0], read[0]), mark=shifted)
    picture.key()


def read_by_token(
    names: Sequence[str], query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, length: int
) -> None:
    """What the last token takes from all: query [size], keys and values [tokens, size], a prompt's first."""
    scores = keys @ query / len(query) ** 0.5
    weights = scores.softmax(0)
    weighted = weights[:, None] * values
    picture = Picture(f"What does “{names[-1]}” read of two vectors in front of it?")
    kinds = ["trained"] * length + ["data"] * (len(names) - length)
    nothing = [None] * (len(names) - 1)
    picture.strip(picture.bottom + 0.4, names, kinds, left=8.5)
    picture.row("query", [*nothing, _vector(query)])
    picture.row("key", list(map(_vector, keys)), mark=range(length))
    picture.row("query · key", keys @ query)
    picture.row(f"score: over √{len(query)}", scores, digits=2)
    picture.row("weight: softmax", weights, digits=2)
    picture.skip(0.5)
    picture.row("value", list(map(_vector, values)), mark=range(length))
    picture.row("weight × value", [_vector(each, 2) for each in weighted])
    picture.row("taken: their sum", [*nothing, _vector(weighted.sum(0), 2)])
    picture.key()


def prefix_in_parts(prefix: torch.Tensor, heads: int) -> None:
    """One layer's part of a flat prefix [P, 2 * heads * size], and its keys and values for each head."""
    size = prefix.shape[1] // (2 * heads)
    picture = Picture("How do keys and values lie in a flat row?")
    picture.text(0, picture.bottom + 0.9, "the part of one layer; k0: a number of head 0's key", bold=True)
    names = [f"{part}{head}" for part in "kv" for head in range(heads) for _ in range(size)]
    picture.strip(picture.bottom + 0.4, names, left=5.5, name="")
    for token, row in enumerate(prefix):
        picture.row(f"token {token}", _whole(row), "trained")
    y, x = picture.bottom + 1.2, 0.6
    picture.text(0, y, "what attention works on: [tokens, head size]", bold=True)
    for number, part in enumerate(("keys", "values")):
        for head in range(heads):
            begin = (number * heads + head) * size
            cells = [list(_whole(row[begin : begin + size])) for row in prefix]
            picture.grid(x, y + 0.8, cells, f"{part}, head {head}", "trained")
            x += size * CELL_WIDTH + 2.4
    picture.key()


def _tokens_behind(picture: Picture, y: float, tokens: Sequence[str], length: int) -> None:
    """A prompt and the tokens behind it, as columns; padding has no colour."""
    kinds = ["trained"] * length + [None if token == PAD else "data" for token in tokens]
    picture.strip(y, [*_names(length), *tokens], kinds)


def _names(length: int) -> list[str]:
    return [f"p{place}" for place in range(1, length + 1)]


def _whole(values: torch.Tensor) -> list[str]:
    return [shown_number(value, 0) for value in values.tolist()]


def _or_any(positions: torch.Tensor, read: torch.Tensor) -> list[str]:
    pairs = zip(positions.tolist(), read.tolist(), strict=True)
    return [str(position) if one else "any" for position, one in pairs]


def _vector(values: torch.Tensor, digits: int = 1) -> str:
    return " ".join(shown_number(value, digits) for value in values.tolist())


def prompt_and_prefix(length: int = 3, tokens: int = 4, layers: int = 4) -> None:
    """What is trained before a text: one row of vectors, or keys and values in every layer."""
    fig, axes = plt.subplots(2, 1, figsize=(WIDTH, 6.4))
    entitle(fig, "A prompt is trained at the input only; a prefix, in every layer")
    for ax, (name, prefix) in zip(axes, (("prompt tuning", False), ("prefix tuning", True)), strict=True):
        ax.set(xlim=(-2.6, length + tokens + 0.2), ylim=(-1.3, layers + 1.2))
        ax.axis("off")
        ax.set_title(name)
        for row in range(layers + 1):
            text = "embeddings" if row == 0 else f"layer {row}"
            ax.text(-0.15, row + 0.4, text, ha="right", va="center")
            for column in range(length + tokens):
                _prompt_cell(ax, column, row, column < length, prefix)
        for start, width, text in (
            (0, length, "soft prompt" if not prefix else "prefix"),
            (length, tokens, "text"),
        ):
            ax.plot([start + 0.1, start + width - 0.1], [-0.25, -0.25], color=INK, linewidth=1)
            ax.text(start + width / 2, -0.4, text, ha="center", va="top")
    kinds = {"trained": "trained", "computed by the frozen model": "frozen"}
    handles = [
        tuple(mpl.patches.Patch(**style) for style in ground_and_edge(kind)) for kind in kinds.values()
    ]
    fig.legend(handles, kinds, loc="outside lower center", ncols=2)


def _prompt_cell(ax: Axes, column: int, row: int, in_front: bool, prefix: bool) -> None:
    """One position in one layer; a prefix has keys and values there, but no input embedding."""
    if in_front and prefix and row == 0:
        return
    trained = in_front and (prefix or row == 0)
    for style in ground_and_edge("trained" if trained else "frozen"):
        ax.add_patch(mpl.patches.Rectangle((column + 0.08, row + 0.08), 0.84, 0.7, **style))
    if in_front and prefix:
        ax.text(column + 0.5, row + 0.43, "k, v", ha="center", va="center", color="black")


def seeds_by_method(groups: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """A dot for the loss of every seed, a short line for their mean: {panel: {method: losses}}."""
    _, axes = plots.figure(title, "", "held-out loss (nats a token)", columns=len(groups), sharey=True)
    for ax, (panel, methods) in zip(np.atleast_1d(axes), groups.items(), strict=True):
        ax.set_title(panel)
        for place, (colour, losses) in enumerate(zip(COLOURS, methods.values(), strict=False)):
            aside = np.linspace(-0.16, 0.16, len(losses))  # so that equal losses stay visible
            ax.scatter(place + aside, losses, color=colour, s=26)
            middle = sum(losses) / len(losses)
            ax.plot([place - 0.28, place + 0.28], [middle, middle], color=colour, linewidth=1.4)
        ax.set_xticks(range(len(methods)), list(methods))
        ax.set(xlim=(-0.5, len(methods) - 0.5), ylim=(0, None))
        ax.grid(axis="x", visible=False)
