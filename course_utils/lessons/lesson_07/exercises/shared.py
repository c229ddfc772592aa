"""What exercises of lesson 07 share: the places of a batch, for wrong answers."""

import torch


def places_in_rows(mask):
    return torch.arange(mask.shape[1]).expand_as(mask)
