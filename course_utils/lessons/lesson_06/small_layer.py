"""Lesson 06's 4-bit layer: codes and scales alone, without what the package's QuantizedLinear adds."""

from __future__ import annotations

from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.methods.lora import layer_sizes
from course_utils.methods.quantization import NF4, QuantizedMatmul, dequantize_packed, pack, quantize


class FourBitLinear(nn.Module):
    """A frozen layer that holds codes, two a byte, and scales: [..., in] -> [..., out]."""

    can_merge = False  # what is written into `weight` would be lost

    def __init__(self, original):
        super().__init__()
        self.in_features, self.out_features = layer_sizes(original)
        weight = original.weight.T if isinstance(original, Conv1D) else original.weight  # (out, in)
        codes, scales = quantize(weight.detach(), NF4.to(weight.device))
        self.register_buffer("codes", pack(codes))
        self.register_buffer("scales", scales)
        self.bias = original.bias

    @property
    def weight(self):
        values = dequantize_packed(self.codes, self.scales, "nf4")
        size = self.out_features * self.in_features
        return values[:size].view(self.out_features, self.in_features)

    def forward(self, x):
        y = QuantizedMatmul.apply(x, self)
        return y if self.bias is None else y + self.bias
