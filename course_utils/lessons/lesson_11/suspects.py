"""The penalty of the bug hunt. Read it after the hunt."""

import torch


def their_penalty(log_probs_current, log_probs_reference, kl_coeff=0.1, mask=None):
    """Penalty of each generated token, as in somebody's trainer."""
    log_ratio = log_probs_reference - log_probs_current
    return torch.where(mask, kl_coeff * log_ratio, 0.0)
