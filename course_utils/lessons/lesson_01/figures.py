"""A figure of inputs and their targets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from course_utils.drawing import CELL, Picture, shown_number


def shift(tokens: Sequence[str], probabilities: Sequence[float]) -> None:
    """Each input token above its target, the next token, with the loss there.

    probabilities: of the targets, one fewer than tokens.
    """
    losses = [-math.log(p) for p in probabilities]
    picture = Picture("What is each position to predict?")
    inputs = picture.strip(picture.bottom + 0.4, tokens[:-1], "data", left=7.5, name="inputs")
    picture.skip(1.2)
    targets = picture.row("targets", tokens[1:], "loss")
    for target, following in zip(targets, inputs[1:], strict=False):
        picture.arrow(
            (following.x + following.width / 2, following.bottom), (target.x + target.width / 2, target.y)
        )
    picture.row("p of the target", probabilities, digits=2)
    cells = picture.row("loss: −ln p", losses, digits=2, mark=[losses.index(max(losses))])
    mean = shown_number(sum(losses) / len(losses), 2)
    left, right = cells[0], cells[-1]
    text = picture.box(
        left.x, left.bottom + 1.4, right.right - left.x, CELL, f"loss of the text: {mean} nats a token"
    )
    picture.arrow(cells[len(cells) // 2], text, "mean")
    picture.key()
