"""A faster LoRA training step with the same values as lora.py on the transformers model.

Portable operations only: a fused LoRA layer and the native tanh GELU. The loss that keeps no logits and needs
no mask tensor for right padding is in `log_probs` and `training`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import GELUTanh, NewGELUActivation
from transformers.pytorch_utils import Conv1D

from course_utils.kernels import is_plain, is_unhooked
from course_utils.methods.lora import LoRALinear, lora_layers
from course_utils.methods.quantization import QuantizedLinear
from course_utils.models import Model


class LowRankLinear(torch.autograd.Function):
    """x W + b + scale * (x A^T) B^T for a frozen layer, W [in, out]: x [n, in] -> [n, out].

    The update is added in place. The backward pass keeps x, for A's gradient, and x A^T, for B's; it reads W
    from the layer again, so that a 4-bit layer stays in 4 bits in between.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any, A: Tensor, B: Tensor, scale: float) -> Tensor:
        low = x @ A.T  # (n, rank)
        ctx.save_for_backward(x, A, B, low)
        ctx.layer, ctx.scale = layer, scale
        return F.linear(x, _matrix(layer), layer.bias).addmm_(low, B.T, alpha=scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor, None]:
        x, A, B, low = ctx.saved_tensors
        grad_low = ctx.scale * (grad @ B)  # (n, rank)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ _matrix(ctx.layer)).addmm_(grad_low, A)
        return grad_x, None, grad_low.T @ x, ctx.scale * (grad.T @ low), None


def _matrix(layer: Any) -> Tensor:
    """The layer's weight as [out, in]."""
    return layer.weight.T if isinstance(layer, Conv1D) else layer.weight


def _has_product(layer: nn.Module, x: Tensor) -> bool:
    """Whether a plain fp32 product equals layer(x)."""
    if type(layer) is QuantizedLinear:
        fp32 = x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
        return fp32 and is_unhooked(layer)
    return is_plain(layer, x) and is_unhooked(layer)


class FusedLoRALinear(LoRALinear):
    """LoRALinear with the fused product; falls back to it with dropout, autocast or another dtype."""

    def forward(self, x: Tensor) -> Tensor:
        original = self.original
        if not (self.enabled and isinstance(self.dropout, nn.Identity) and _has_product(original, x)):
            return super().forward(x)
        flat = x.flatten(0, -2)  # (n, in)
        y = LowRankLinear.apply(flat, original, self.lora_A, self.lora_B, self.scale)
        return y.unflatten(0, x.shape[:-1])


def speed_up(model: Model) -> Model:
    """Switch a model with LoRA layers to the fused layer and the native GELU, in place; returns the model."""
    for layer in lora_layers(model).values():
        if type(layer) is LoRALinear:
            layer.__class__ = FusedLoRALinear
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, GELUTanh())
    return model
