"""The broken things that lesson 03's two bug hunts are about, and what fits them. Read it after the hunt."""

import copy

import torch
from torch import nn

from course_utils.lessons.lesson_03.small_lora import LowRankChange, lora_in_small
from course_utils.methods.lora import lora_layers, unwrap_lora


def merged_by_script(model):
    """A plain copy of a model with LoRA layers, the changes added to its weights."""
    merged = copy.deepcopy(model)
    for layer in lora_layers(merged).values():
        change = (layer.weight - layer.original.weight).detach()  # in the layout of the weight
        layer.original.weight.data += change.T
    return unwrap_lora(merged)


class WithoutGraph(LowRankChange):
    """A change that is computed under no_grad, as one does in evaluation."""

    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


def stuck_layers(n_in, n_out):
    """{name: layer}: three LoRALinear layers of rank 8 that never learn."""
    LoRALinear, *_ = lora_in_small()
    layers = {
        name: LoRALinear(nn.Linear(n_in, n_out), 8, 16.0, low_rank)
        for name, low_rank in [("first", WithoutGraph), ("second", LowRankChange), ("third", LowRankChange)]
    }
    layers["second"].requires_grad_(False)
    nn.init.zeros_(layers["third"].change.lora_A)
    return layers


def fit(layer, inputs, wanted, steps=80):
    """Losses of a layer that is to add `wanted` [n, out] to what its original makes of `inputs` [n, in].

    An offset [out] is trained with it, so that a layer without a gradient raises no error.
    """
    offset = nn.Parameter(torch.zeros(wanted.shape[-1]))
    optimizer = torch.optim.Adam([offset, *layer.parameters()], lr=2e-2)
    goal, losses = layer.original(inputs) + wanted, []
    for _ in range(steps):
        loss = (layer(inputs) + offset - goal).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
