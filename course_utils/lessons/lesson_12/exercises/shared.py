"""What exercises of lesson 12 share: a mask of answers."""

import torch


def mask_of_answers(rows, tokens):
    """1 on an answer in each row: one of a single token, one to the last column, others between."""
    mask = torch.zeros(rows, tokens)
    mask[0, 2:4] = 1
    mask[1, 1:] = 1
    mask[2, tokens - 2] = 1
    mask[3:, : tokens - 3] = 1
    return mask
