"""The three steps of the bug hunt in lesson 02. Read them after the hunt."""

import torch.nn.functional as F

from course_utils.data import IGNORE
from course_utils.training import accumulated_step, lm_loss


def shifted_twice(model, micro_batches):
    """Shifts the labels before a loss that shifts them itself."""
    shifted = [
        batch | {"labels": F.pad(batch["labels"][:, 1:], (0, 1), value=IGNORE)} for batch in micro_batches
    ]
    return accumulated_step(model, shifted)


def masked_by_id(model, micro_batches):
    """Masks every token that has the padding's id, the real end of text included."""
    pad = model.config.eos_token_id  # GPT-2 pads with its end-of-text token
    masked = [
        batch | {"labels": batch["labels"].masked_fill(batch["input_ids"] == pad, IGNORE)}
        for batch in micro_batches
    ]
    return accumulated_step(model, masked)


def mean_of_means(model, micro_batches):
    """Divides each micro-batch by its own number of tokens, and then by the number of micro-batches."""
    mean, tokens = 0.0, 0
    for batch in micro_batches:
        loss, count = lm_loss(model, batch)
        part = loss / count / len(micro_batches)
        part.backward()
        mean, tokens = mean + part.item(), tokens + int(count)
    return mean, tokens


SUSPECTS = {"A": masked_by_id, "B": mean_of_means, "C": shifted_twice}
