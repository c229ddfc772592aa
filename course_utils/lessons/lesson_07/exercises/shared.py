"""Positions of a batch, for wrong answers, shared by exercises of lesson 07."""

import torch


def places_in_rows(mask):
    return torch.arange(mask.shape[1]).expand_as(mask)
