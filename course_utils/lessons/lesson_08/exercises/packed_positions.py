"""Lesson 08's companion, packed_positions: positions of packed rows."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def packed_positions(documents):
    """Position ids [batch, tokens] of packed rows: from 0 in every document.

    documents [batch, tokens]: 1, 1, 1, 2, 2, ... in each row, and 0 at padding, whose
    position is 0 too.
    """
    position = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    start = torch.where(first, position, 0).cummax(1).values  # (batch, tokens)
    return (position - start).masked_fill(documents == 0, 0)


def _packed(*rows):
    """Documents of these lengths in each row, padded to the longest one."""
    width = max(map(sum, rows))
    numbered = [[i for i, length in enumerate(row, 1) for _ in range(length)] for row in rows]
    return (torch.tensor([row + [0] * (width - len(row)) for row in numbered]),)


def _padding_as_document(documents):
    return packed_positions(documents.masked_fill(documents == 0, int(documents.max()) + 1))


def _row_0_everywhere(documents):
    return packed_positions(documents)[0].expand_as(documents).contiguous()


def _flattened(documents):
    return packed_positions(documents.reshape(1, -1)).view_as(documents)


def _documents_in_place(documents):
    right = packed_positions(documents)
    documents.mul_(2)
    return right


def _counting(documents):
    rows = []
    for row in documents.tolist():
        seen = {}
        rows.append([])
        for document in row:
            rows[-1].append(seen.get(document, 0) if document else 0)
            seen[document] = seen.get(document, 0) + 1
    return torch.tensor(rows)


def _by_comparing(documents):
    same = documents[:, :, None] == documents[:, None, :]  # (batch, tokens, tokens)
    return (same.long().tril(-1).sum(-1) * (documents > 0)).int()


PACKED_MISTAKES = [
    (
        "The positions continue from one document into the next. Each document should begin at 0, as if it "
        "were alone: the model has learnt that texts begin at position 0.",
        lambda d: torch.arange(d.shape[1]).expand_as(d).contiguous(),
    ),
    (
        "The positions continue from one document into the next. Each document should begin at 0, as if it "
        "were alone: the model has learnt that texts begin at position 0.",
        lambda d: torch.arange(d.shape[1]).expand_as(d) * (d > 0),
    ),
    ("The positions begin at 1. GPT-2's begin at 0.", lambda d: packed_positions(d) + 1),
    ("The positions begin at 1. GPT-2's begin at 0.", lambda d: (packed_positions(d) + 1) * (d > 0)),
    ("The documents are right, but padding is not: give it 0.", _padding_as_document),
    (
        "The documents are right, but padding is not: give it 0.",
        lambda d: packed_positions(d).masked_fill(d == 0, 9),
    ),
    (
        "The documents are right, but padding is not: give it 0.",
        lambda d: packed_positions(d).masked_fill(d == 0, -1),
    ),
    ("Row 0 is right, the others are not: each row has its own boundaries.", _row_0_everywhere),
    ("A row's first document continues the count of the row before: every row begins at 0.", _flattened),
    (
        "Positions must be integers: they are looked up in an embedding.",
        lambda d: packed_positions(d).float(),
    ),
    ("These are the documents' numbers. Count each document's tokens from 0.", lambda d: d),
]

EXERCISE = Exercise(
    name="packed_positions",
    lesson="08m",
    minutes=8,
    difficulty=2,
    reference=packed_positions,
    check=compare(
        packed_positions,
        [_packed([3, 2, 1], [1, 4], [5, 2]), _packed([8], [8], [2, 1, 1, 4], [4]), _packed([2, 2])],
        PACKED_MISTAKES,
        else_="A token's position is its distance from the beginning of its document.",
    ),
    wrong=[
        (_documents_in_place, "changes its argument documents in place"),
        (lambda d: torch.zeros_like(d), "distance from the beginning"),
        (lambda d: None, "Is there a return"),
    ],
    right=[_counting, _by_comparing],
    hints=(
        "A document begins where the number changes. A token's position is its "
        "distance from the beginning of its document.",
        "first = documents[:, 1:] != documents[:, :-1], and True in column 0. Write the column index where "
        "first is True and 0 elsewhere; the running maximum (cummax over dim 1) is the start of each "
        "token's document. Subtract it from the column index.",
    ),
)
