"""Shared by lesson 01's exercises and runs: how far weights move, and a loss that shifts twice."""

import torch.nn.functional as F

from course_utils.data import IGNORE


def relative_change(before, after):
    """Norm of the change over norm of the weights, all tensors of the two lists taken as one vector."""
    change = sum((new - old).square().sum() for old, new in zip(before, after, strict=True))
    size = sum(old.square().sum() for old in before)
    return (change / size).sqrt().item()


def colleagues_loss(model, batch):
    """library_loss as it is often written: the labels are shifted before transformers shifts them."""
    labels = F.pad(batch["labels"][:, 1:], (0, 1), value=IGNORE)  # position t predicts token t + 1
    output = model(batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels)
    count = (labels != IGNORE).sum()
    return output.loss * count, count
