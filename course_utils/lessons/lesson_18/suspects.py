"""Lesson 18's bug hunt: advantages that compare an answer with answers to other prompts."""

import torch


def mixed_advantages(scores, group):
    """Mean and deviation are those of a column: answers in the same place to every prompt."""
    grouped = scores.view(-1, group)
    return ((grouped - grouped.mean(0)) / (grouped.std(0) + 1e-4)).flatten()


def batch_advantages(scores, group):
    """Mean and deviation are those of all answers."""
    return (scores - scores.mean()) / (scores.std() + 1e-4)


def group_fault(advantages):
    """What a function advantages(scores, group) compares an answer with: "mixed", "whole batch" or "sound".

    Two batches of two prompts with two answers each: in the first no prompt has a signal, in the second both
    have one.
    """
    if not advantages(torch.tensor([1.0, 1, 0, 0]), 2).any():
        return "sound"
    return "whole batch" if advantages(torch.tensor([1.0, 0, 1, 0]), 2).any() else "mixed"


received = mixed_advantages  # the function sent in the bug hunt
