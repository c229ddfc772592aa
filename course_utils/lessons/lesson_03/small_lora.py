"""LoRA in small, as the learner writes it: the change of a matrix, the layer around it, the model, the merge.

`methods.lora` has it whole: one class that has dropout, a second scale, a switch and care for dtypes as well.
"""

import math

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.methods.lora import find_targets, layer_sizes


class LowRankChange(nn.Module):
    """What scale * B A, the change of a matrix [out, in], adds to the output: x [..., in] -> [..., out]."""

    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__()
        self.lora_A = nn.Parameter(torch.empty(rank, n_in))
        self.lora_B = nn.Parameter(torch.zeros(n_out, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scale = alpha / rank

    def forward(self, x):
        low = x @ self.lora_A.T  # (..., rank)
        return self.scale * (low @ self.lora_B.T)  # (..., out)


def wrapped_layers(model):
    """{name: layer} of the layers that hold an `original`, in the model's order."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "original")}


def lora_in_small():
    """(LoRALinear, apply_lora, merge_lora) of this lesson, under the names that the package's own have."""

    class LoRALinear(nn.Module):
        """A frozen nn.Linear or Conv1D and a low-rank change beside it: [..., in] -> [..., out]."""

        def __init__(self, original_linear, rank=16, alpha=32.0, low_rank=LowRankChange):
            super().__init__()
            self.original = original_linear.requires_grad_(False)
            n_in, n_out = layer_sizes(original_linear)
            self.change = low_rank(n_in, n_out, rank, alpha)

        def forward(self, x):
            return self.original(x) + self.change(x)

    def apply_lora(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
        """Freeze the model, wrap its target layers in place, return it."""
        names = find_targets(model, target_modules)
        model.requires_grad_(False)
        for name in names:
            parent, _, child = name.rpartition(".")
            layer = model.get_submodule(name)
            setattr(model.get_submodule(parent), child, wrapper(layer, rank, alpha))
        return model

    def merge_lora(model):
        """Add each change to the original's weight, and put the original back in its place."""
        for name, layer in wrapped_layers(model).items():
            change = layer.change
            delta = (change.scale * change.lora_B @ change.lora_A).detach()  # (out, in)
            is_conv1d = isinstance(layer.original, Conv1D)
            layer.original.weight.data += delta.T if is_conv1d else delta
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer.original)

    return LoRALinear, apply_lora, merge_lora
