"""Random matrices, shared by exercises of lesson 04."""

import torch


def orthonormal(n, k):
    return torch.linalg.qr(torch.randn(n, k)).Q


def fading_matrix(rows, columns, size=1.0):
    """A random matrix; each singular value is 0.7 times the one before, so no cut depends on rounding."""
    count = min(rows, columns)
    return size * orthonormal(rows, count) * 0.7 ** torch.arange(count) @ orthonormal(columns, count).T
