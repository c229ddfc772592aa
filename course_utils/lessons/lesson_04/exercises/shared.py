"""What exercises of lesson 04 share: random matrices."""

import torch


def orthonormal(n, k):
    return torch.linalg.qr(torch.randn(n, k)).Q


def fading_matrix(rows, columns, size=1.0):
    """A matrix in random directions, each 0.7 as strong as the one before: no cut hangs on rounding."""
    count = min(rows, columns)
    return size * orthonormal(rows, count) * 0.7 ** torch.arange(count) @ orthonormal(columns, count).T
