"""The solutions of lesson 05: an adapter's two files, several adapters in one batch, their sum.

`methods.lora_files` also checks what it writes and reads, and records the base model's weights.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from course_utils.methods.lora import is_conv1d, lora_layers, short_targets


def save_adapter(model, folder):
    """Write adapter_config.json and adapter_model.safetensors in PEFT's format; returns the folder."""
    layers = lora_layers(model)
    first = next(iter(layers.values()))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": first.rank,
        "lora_alpha": first.alpha,
        "use_rslora": first.rslora,
        "target_modules": short_targets(model, list(layers)),
        "fan_in_fan_out": any(is_conv1d(layer.original) for layer in layers.values()),
    }
    tensors = {}
    for name, layer in layers.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = layer.lora_A.detach().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = layer.lora_B.detach().cpu().contiguous()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def mixed_lora(x, A, B, which, scale):
    """Each row's change by its own adapter: x [b, t, in], A [n, r, in], B [n, out, r], which [b]."""
    low = x @ A[which].mT  # (b, t, r)
    return scale * low @ B[which].mT  # (b, t, out)


def stacked_sum(A1, B1, A2, B2, w1, w2):
    """A and B whose product B A is w1 B1 A1 + w2 B2 A2; A's [r, in], B's [out, r], ranks may differ."""
    A = torch.cat([A1, A2])  # (r1 + r2, in)
    B = torch.cat([w1 * B1, w2 * B2], dim=1)  # (out, r1 + r2)
    return A, B


class MixedLinear(nn.Module):
    """A frozen layer in which row i of the batch goes through adapter which[i]; they share rank and alpha."""

    def __init__(self, original, name, adapters, which):
        super().__init__()
        self.original, self.which, self.scale = original, which, adapters[0].scale
        self.A = torch.stack([adapter.tensors[name][0] for adapter in adapters])  # (n, r, in)
        self.B = torch.stack([adapter.tensors[name][1] for adapter in adapters])  # (n, out, r)

    def forward(self, x):  # (b, t, in)
        if len(x) != len(self.which):
            raise ValueError(f"{len(x)} rows for {len(self.which)} requests")
        return self.original(x) + mixed_lora(x, self.A, self.B, self.which, self.scale)


def serve_mixed(model, adapters, which):
    """Give every adapted layer of a base model its MixedLinear; returns the model."""
    for name in adapters[0].tensors:
        parent, _, child = name.rpartition(".")
        layer = MixedLinear(model.get_submodule(name), name, adapters, which)
        setattr(model.get_submodule(parent), child, layer)
    return model
