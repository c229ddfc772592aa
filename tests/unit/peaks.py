"""Steps with a known need of memory, for test_memory."""

import torch


def known(keep_mb, use_mb):
    kept = torch.ones(keep_mb, 2**18)  # 2**18 floats are one MiB

    def step():
        return (torch.ones(use_mb, 2**18) + kept[:1]).sum()

    return step


def failing():
    raise ValueError("no such luck")
