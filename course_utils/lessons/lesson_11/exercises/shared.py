"""Log-probabilities to compare, shared by exercises of lesson 11."""

import torch


def nearby_log_probs(*shape):
    """Log-probabilities of a policy and of a reference not far from it."""
    current = -3 * torch.rand(*shape) - 0.1
    return current, current + 0.7 * torch.randn(*shape)
