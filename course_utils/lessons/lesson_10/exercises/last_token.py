"""Lesson 10, last_token: the last real token."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.reward import last_token

MASKS = [  # the small ones first: a message shows them
    (torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0]]),),
    (torch.tensor([[0, 0, 1], [1, 1, 1]]),),
    (torch.tensor([[1, 1, 0]]),),
    (torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0]]),),
    (torch.tensor([[1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1], [0, 1, 0, 0, 0, 0, 0]]),),
]


def _mask_in_place(mask):
    right = last_token(mask)
    mask.mul_(torch.arange(mask.shape[1]))
    return right


def _from_behind(mask):
    return mask.shape[1] - 1 - mask.flip(1).argmax(1)


def _row_by_row(mask):
    return torch.stack([row.nonzero()[-1, 0] for row in mask]).int()


def _one_side(padded_left):
    """A wrong answer: one side for the whole batch."""
    return lambda mask: torch.full((len(mask),), mask.shape[1] - 1) if padded_left(mask) else mask.sum(1) - 1


def _row_one_side(padded_left):
    """A wrong answer: one side for each row, which a row padded on both sides does not have."""
    return lambda mask: torch.where(padded_left(mask), mask.shape[1] - 1, mask.sum(1) - 1)


ONE_SIDE = "You decide the side once for the whole batch. Each row may be padded on another side."
BOTH_SIDES = (
    "You take each row to be padded on one side at most. A row can be padded on both: the last real token of "
    "[0, 1, 1, 0] is in column 2."
)
LAST_MISTAKES = [
    (
        "You count the real tokens. With padding on the left, the last one is further right.",
        lambda mask: mask.sum(1) - 1,
    ),
    (
        "You find the first padding and go back one column. Without padding this gives -1, and with "
        "padding on the left it is before the text.",
        lambda mask: mask.argmin(1) - 1,
    ),
    (
        "That is the last column, which is padding if a row is padded on the right.",
        lambda mask: torch.full((len(mask),), mask.shape[1] - 1),
    ),
    (
        "That is the last column, which is padding if a row is padded on the right.",
        lambda mask: torch.full((len(mask),), -1),
    ),
    ("That is the first real token: argmax returns the first of equal values.", lambda mask: mask.argmax(1)),
    ("You are one too far: columns count from 0.", lambda mask: last_token(mask) + 1),
    (
        "You count columns from the end of the row. Count from its beginning, from 0.",
        lambda mask: last_token(mask) - mask.shape[1],
    ),
    (
        "You count columns from the end of the row. Count from its beginning, from 0.",
        lambda mask: mask.flip(1).argmax(1),
    ),
    ("Columns must be integers: they are used as an index.", lambda mask: last_token(mask).float()),
    (
        "This is the largest such column in the batch. Each row has its own last token.",
        lambda mask: last_token(mask).max().expand(len(mask)),
    ),
    (ONE_SIDE, _one_side(lambda mask: not mask[:, 0].all())),
    (ONE_SIDE, _one_side(lambda mask: mask[:, -1].all())),
    (ONE_SIDE, _one_side(lambda mask: mask[:, -1].any())),
    (ONE_SIDE, _one_side(lambda mask: mask[0, 0] == 0)),
    (ONE_SIDE, _one_side(lambda mask: mask[0, -1] == 1)),
    (
        "That is the number of real tokens. Columns count from 0, and padding on the left moves the text.",
        lambda mask: mask.sum(1),
    ),
    (BOTH_SIDES, _row_one_side(lambda mask: mask[:, -1] == 1)),
    (BOTH_SIDES, _row_one_side(lambda mask: mask[:, 0] == 0)),
]

EXERCISE = Exercise(
    name="last_token",
    lesson="10",
    minutes=8,
    difficulty=2,
    reference=last_token,
    check=compare(
        last_token,
        MASKS,
        LAST_MISTAKES,
        else_="The column of the rightmost 1 of each row, for padding on the left, on the right or both.",
    ),
    wrong=[
        (_mask_in_place, "changes its argument attention_mask in place"),
        (lambda mask: torch.zeros(len(mask), dtype=torch.long), "the rightmost 1"),
        (lambda mask: torch.tensor([2, 4, 4, 3]), "should have the shape"),
        (lambda mask: last_token(mask)[:, None], "should have the shape"),
        (lambda mask: last_token(mask).tolist(), "should be a tensor"),
    ],
    right=[_from_behind, _row_by_row, lambda mask: mask.cumsum(1).argmax(1)],
    hints=(
        "You need the rightmost 1 of each row. Numbers that increase to the right, times the mask, are "
        "largest there.",
        "columns = torch.arange(tokens, device=attention_mask.device) is [tokens]; times the mask it "
        "is [batch, tokens], 0 at padding. Its argmax along dimension 1 is [batch].",
    ),
)
