"""Packing: several examples in one row, which cannot see each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_utils.data import IGNORE, Batch, Example
from course_utils.log_probs import token_losses


def pack_examples(examples: Sequence[Example], width: int, pad_id: int) -> dict[str, torch.Tensor]:
    """All examples in rows of `width` tokens, longest first, each in the first row with room for it.

    Returns input_ids, labels, position_ids (from 0 in every example) and documents (1, 2, ... within a row, 0
    on padding), each [rows, width]. An example's first label is -100: the token before it is another's.
    ValueError for an example longer than width.
    """
    rows: list[list[Example]] = []
    for example in sorted(examples, key=lambda example: -len(example.input_ids)):
        if len(example.input_ids) > width:
            raise ValueError(f"an example of {len(example.input_ids)} tokens does not fit into {width}")
        used = (sum(len(other.input_ids) for other in row) for row in rows)
        room = (
            row for row, length in zip(rows, used, strict=True) if length + len(example.input_ids) <= width
        )
        row = next(room, None)
        if row is None:
            rows.append(row := [])
        row.append(example)
    batch = {
        "input_ids": torch.full((len(rows), width), pad_id),
        "labels": torch.full((len(rows), width), IGNORE),
        "position_ids": torch.zeros(len(rows), width, dtype=torch.long),
        "documents": torch.zeros(len(rows), width, dtype=torch.long),
    }
    for number, row in enumerate(rows):
        start = 0
        for document, example in enumerate(row, start=1):
            place = slice(start, start + len(example.input_ids))
            batch["input_ids"][number, place] = torch.tensor(example.input_ids)
            batch["labels"][number, place] = torch.tensor([IGNORE, *example.labels[1:]])
            batch["position_ids"][number, place] = torch.arange(len(example.input_ids))
            batch["documents"][number, place] = document
            start = place.stop
    return batch


def packed_mask(documents: Tensor) -> Tensor:
    """[batch, tokens] -> [batch, 1, tokens, tokens]: a token sees itself and earlier ones of its document."""
    same = documents[:, :, None] == documents[:, None, :]  # (batch, tokens, tokens)
    return same.tril()[:, None]


def packed_lm_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Summed loss of a packed batch and its number of targets; a loss_fn for training.train."""
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=packed_mask(batch["documents"]),
        position_ids=batch["position_ids"],
        use_cache=False,
    ).logits
    return token_losses(logits, batch["labels"]).sum(), (batch["labels"][:, 1:] != IGNORE).sum()
