"""Three short variants of LoRA, LoRA+, DoRA and PiSSA, and a loop that trains them all."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_utils.data import Batch
from course_utils.methods.lora import Adapter, LoRALinear, check_fits, is_conv1d, lora_layers, weighted_sum
from course_utils.methods.lora_analysis import weight_matrix
from course_utils.models import Model
from course_utils.training import LossFunction, accumulated_step, scored_lm_loss, warmup_cosine


def plus_groups(model: nn.Module, lr: float, ratio: float = 1.0) -> list[dict]:
    """LoRA+ (Hayou and others 2024, arXiv 2402.12354): B learns at `ratio` times A's rate.

    Groups for an optimiser. At ratio 1 it is plain LoRA.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for name, p in trained if not name.endswith("lora_B")], "lr": lr},
        {"params": [p for name, p in trained if name.endswith("lora_B")], "lr": ratio * lr},
    ]


class DoRALinear(nn.Module):
    """A frozen layer plus B A, each output's row of weights rescaled to a trained norm (Liu et al. 2024).

    arXiv 2402.09353. [..., in] -> [..., out]. The row's own norm is a constant in the backward pass, as in
    section 4.3 of the paper. Not a LoRALinear, so that it is never saved without the norms.
    """

    def __init__(self, layer: LoRALinear) -> None:
        super().__init__()
        self.original, self.lora_A, self.lora_B = layer.original, layer.lora_A, layer.lora_B
        self.scale = layer.scale
        self.magnitude = nn.Parameter(weight_matrix(layer.original).norm(dim=1))  # (out,)

    def forward(self, x: Tensor) -> Tensor:
        W = self.original.weight.T if is_conv1d(self.original) else self.original.weight
        changed = W + self.scale * self.lora_B @ self.lora_A  # (out, in)
        length = changed.detach().norm(dim=1)  # (out,), a constant
        return F.linear(x, (self.magnitude / length)[:, None] * changed, self.original.bias)


def to_dora(model: Model) -> Model:
    """Turn a model's fresh LoRA layers into DoRA's, in place; returns the model."""
    for name, layer in lora_layers(model).items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, DoRALinear(layer))
    return model


@torch.no_grad()
def start_pissa(layer: LoRALinear) -> None:
    """PiSSA (Meng et al. 2024, arXiv 2404.02948): A and B start as the best rank-r cut of W.

    The frozen matrix keeps the remainder, W - scale B A, so that the layer's outputs are initially unchanged.
    """
    U, S, Vh = torch.linalg.svd(weight_matrix(layer.original), full_matrices=False)
    root = (S[: layer.rank] / layer.scale).sqrt()
    layer.lora_A.copy_(root[:, None] * Vh[: layer.rank])
    layer.lora_B.copy_(U[:, : layer.rank] * root)
    change = layer.scale * layer.lora_B @ layer.lora_A  # (out, in)
    layer.original.weight -= change.T if is_conv1d(layer.original) else change


def start_removed(model: nn.Module, adapter: Adapter) -> Adapter:
    """An adapter that began with PiSSA as an ordinary one of twice the rank: on W itself, minus its start.

    The model is the base that the start was cut from; ValueError if the adapter does not fit it.
    """
    check_fits(model, adapter)
    start = {}
    for name, (A, _) in adapter.tensors.items():
        layer = model.get_submodule(name)
        bare = copy.deepcopy(layer.original if isinstance(layer, LoRALinear) else layer)
        begun = LoRALinear(bare, adapter.rank, adapter.alpha, rslora=adapter.rslora)
        start_pissa(begun)
        start[name] = (begun.lora_A.detach().to(A.device), begun.lora_B.detach().to(A.device))
    return weighted_sum([adapter, replace(adapter, tensors=start)], [1.0, -1.0])


def train_groups(
    model: nn.Module,
    batches: Iterable[Batch],
    steps: int,
    groups: list[dict],
    loss_fn: LossFunction = scored_lm_loss,
) -> list[float]:
    """AdamW without weight decay, each group at its own rate; warm-up, cosine and clipping as in `train`."""
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    rates = [group["lr"] for group in groups]
    losses, device = [], next(model.parameters()).device
    model.train()
    for step, batch in zip(range(steps), batches, strict=False):
        batch = {name: value.to(device) for name, value in batch.items()}
        loss, _ = accumulated_step(model, [batch], loss_fn)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * warmup_cosine(step, steps, steps // 10)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)
    model.eval()
    return losses
