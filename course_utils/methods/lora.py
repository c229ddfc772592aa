"""Low-rank adaptation: a frozen layer plus a trainable update of rank r (Hu et al. 2021, arXiv 2106.09685).

For a layer y = W x + b, the update of W is scale * B A with A [r, in], B [out, r]; only A and B are trained.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from course_utils.model_files import ModelError
from course_utils.models import Model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def layer_sizes(layer: Any) -> tuple[int, int]:
    """(in, out) of an nn.Linear (weight [out, in]) or Conv1D (weight [in, out]); else TypeError."""
    if isinstance(layer, Conv1D):
        return layer.nx, layer.nf
    if _is_linear(layer):
        return layer.in_features, layer.out_features
    raise TypeError(f"LoRA adapts nn.Linear and Conv1D layers, not {type(layer).__name__}.")


def is_conv1d(layer: nn.Module) -> bool:
    """Whether the weight is [in, out], as in GPT-2; for a quantised layer, that of the original layer."""
    return getattr(layer, "conv1d", isinstance(layer, Conv1D))


def lora_scale(rank: int, alpha: float, rslora: bool = False) -> float:
    """Factor of B A: alpha / r, or alpha / sqrt(r) (rank-stabilised LoRA, arXiv 2312.03732)."""
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def check_rank(layer: nn.Module, rank: int) -> None:
    """ValueError unless 1 <= rank <= min(in, out) of the layer."""
    limit = min(layer_sizes(layer))
    if not isinstance(rank, int) or not 1 <= rank <= limit:
        raise ValueError(f"rank must be a whole number from 1 to {limit} for {layer}, got {rank!r}.")


class LoRALinear(nn.Module):
    """A frozen nn.Linear or Conv1D with one low-rank adapter: [..., in] -> [..., out].

    The update is initially zero, since B is. `weight` is the effective weight, in the original's layout.
    """

    def __init__(
        self,
        original_linear: Any,
        rank: int = 16,
        alpha: float = 32.0,
        dropout: float = 0.0,
        rslora: bool = False,
    ) -> None:
        super().__init__()
        check_rank(original_linear, rank)
        self.original = original_linear.requires_grad_(False)
        self.rank, self.alpha, self.rslora = rank, alpha, rslora
        self.scale = lora_scale(rank, alpha, rslora)
        in_features, out_features = layer_sizes(original_linear)
        device = original_linear.weight.device
        self.lora_A = nn.Parameter(torch.empty(rank, in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank, device=device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.enabled = True

    def forward(self, x: Tensor) -> Tensor:
        y = self.original(x)  # (..., out)
        if not self.enabled:
            return y
        low = self.dropout(x).to(self.lora_A.dtype) @ self.lora_A.T  # (..., rank)
        return (y + self.scale * (low @ self.lora_B.T)).to(y.dtype)

    @property
    def weight(self) -> Tensor:
        if not self.enabled:
            return self.original.weight
        delta = self.scale * self.lora_B @ self.lora_A  # (out, in)
        delta = delta.T if isinstance(self.original, Conv1D) else delta
        return (self.original.weight + delta).to(self.original.weight.dtype)


def apply_lora(
    model: Model,
    rank: int = 16,
    alpha: float = 32.0,
    target_modules: Sequence[str] | str | None = None,
    dropout: float = 0.0,
    rslora: bool = False,
) -> Model:
    """Wrap the target layers in place and freeze everything else; returns the model.

    target_modules: suffixes of layer names ("c_attn", "attn.c_proj"); None: all linear layers of the blocks.
    ValueError if a target matches no layer, the rank does not fit, a weight is tied, or LoRA is applied.
    """
    names = find_targets(model, target_modules)
    for name in names:
        check_rank(model.get_submodule(name), rank)
    model.requires_grad_(False)
    for name in names:
        parent, _, child = name.rpartition(".")
        layer = LoRALinear(model.get_submodule(name), rank, alpha, dropout, rslora)
        setattr(model.get_submodule(parent), child, layer)
    return model


def find_targets(model: nn.Module, target_modules: Sequence[str] | str | None = None) -> list[str]:
    """Names of the layers that apply_lora would wrap, in the model's order; raises its errors."""
    if present := list(lora_layers(model)):
        raise ValueError(f"The model already has LoRA layers ({present[0]}, ...): unwrap_lora(model) first.")
    if target_modules is None:
        target_modules = default_lora_targets(model)
    if isinstance(target_modules, str):
        target_modules = [target_modules]
    for target in target_modules:
        if not _matching(model, [target]):
            raise ValueError(f"No layer is named {target!r}. Candidates: {_candidates(model)}.")
    names = _matching(model, target_modules)
    if not names:
        raise ValueError(f"target_modules is empty. Candidates: {_candidates(model)}.")
    uses = Counter(id(parameter) for module in model.modules() for parameter in module._parameters.values())
    for name in names:
        layer = model.get_submodule(name)
        try:
            layer_sizes(layer)
        except TypeError as error:
            raise TypeError(f"{name}: {error} Candidates: {_candidates(model)}.") from None
        if uses[id(layer.weight)] > 1:
            raise ValueError(f"{name} is tied to another layer: adapting one side lets the two drift apart.")
    return names


def _matching(model: nn.Module, target_modules: Sequence[str]) -> list[str]:
    ends = tuple(f".{target}" for target in target_modules)
    return [name for name, _ in model.named_modules() if name in target_modules or name.endswith(ends)]


def _candidates(model: nn.Module) -> str:
    ends: dict[tuple[str, int, int], list[str]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            ends.setdefault((name.rpartition(".")[2], *layer_sizes(module)), []).append(name)
    shown = [f"{end} ({n_in} to {n_out}, {len(names)}x)" for (end, n_in, n_out), names in ends.items()]
    return ", ".join(shown) or "none"


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """{name: LoRALinear} in the model's order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def _lora_layers_or_error(model: nn.Module) -> dict[str, LoRALinear]:
    layers = lora_layers(model)
    if not layers:
        raise ValueError("The model has no LoRA layers: call apply_lora(model, rank, alpha) first.")
    return layers


def count_trainable(model: nn.Module) -> tuple[int, int]:
    """(trainable, total) numbers of parameter values; a tied weight counts once."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def merge_lora(model: nn.Module) -> None:
    """Put the effective weights into the original layers; the old ones are kept until unmerge or unwrap."""
    layers = _unmerged_layers(model).values()
    if not all(getattr(layer.original, "can_merge", True) for layer in layers):
        raise ValueError("Quantised layers have no weight to merge into: call merge_quantized(model).")
    for layer in layers:
        layer.unmerged_weight = layer.original.weight.detach()
        layer.original.weight.data = layer.weight.detach()
        layer.enabled = False


def unmerge_lora(model: nn.Module) -> None:
    """Restore the weights that merge_lora replaced, bit for bit."""
    for name, layer in _lora_layers_or_error(model).items():
        if not is_merged(layer):
            raise ValueError(f"{name} is not merged.")
    for layer in lora_layers(model).values():
        layer.original.weight.data = layer.unmerged_weight
        del layer.unmerged_weight
        layer.enabled = True


def unwrap_lora(model: Model) -> Model:
    """Replace each LoRALinear by its original layer, merged or not; returns the plain model, still frozen."""
    for name, layer in _lora_layers_or_error(model).items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.original)
    return model


def is_merged(layer: nn.Module) -> bool:
    return hasattr(layer, "unmerged_weight")


def _unmerged_layers(model: nn.Module) -> dict[str, LoRALinear]:
    layers = _lora_layers_or_error(model)
    for name, layer in layers.items():
        if is_merged(layer):
            raise ValueError(f"{name} is merged: call unmerge_lora(model) first.")
    return layers


@contextmanager
def adapter_off(model: Model) -> Iterator[Model]:
    """In the block, the model is the base model, bit for bit."""
    layers = _unmerged_layers(model)
    before = {name: layer.enabled for name, layer in layers.items()}
    for layer in layers.values():
        layer.enabled = False
    try:
        yield model
    finally:
        for name, layer in layers.items():
            layer.enabled = before[name]


@dataclass
class Adapter:
    """An adapter without its model: (A [r, in], B [out, r]) by layer name, and its scaling.

    base and fingerprint identify the model it was trained on, if known.
    """

    rank: int
    alpha: float
    rslora: bool
    tensors: dict[str, tuple[torch.Tensor, torch.Tensor]]
    base: str | None = None
    fingerprint: str | None = None

    @property
    def scale(self) -> float:
        return lora_scale(self.rank, self.alpha, self.rslora)


def get_adapter(model: nn.Module) -> Adapter:
    """A copy of the model's current adapter."""
    layers = _unmerged_layers(model)
    first = next(iter(layers.values()))
    tensors = {n: (x.lora_A.detach().clone(), x.lora_B.detach().clone()) for n, x in layers.items()}
    base = getattr(model, "name_or_path", None) or None
    return Adapter(first.rank, first.alpha, first.rslora, tensors, base, base_fingerprint(model, layers))


def set_adapter(model: nn.Module, adapter: Adapter) -> None:
    """Copy an adapter into the model's LoRA layers; layers without an entry get B = 0. The rank may differ.

    ValueError if it does not fit. After a change of rank, an existing optimiser still holds the old tensors.
    """
    layers = _unmerged_layers(model)
    check_fits(model, adapter)
    for name, layer in layers.items():
        n_in, n_out = layer_sizes(layer.original)
        zeros = layer.lora_A.new_zeros
        A, B = adapter.tensors.get(name) or (zeros(adapter.rank, n_in), zeros(n_out, adapter.rank))
        _copy_in(layer, "lora_A", A)
        _copy_in(layer, "lora_B", B)
        layer.rank, layer.alpha, layer.rslora = adapter.rank, adapter.alpha, adapter.rslora
        layer.scale = adapter.scale


def _copy_in(layer: LoRALinear, name: str, value: Tensor) -> None:
    parameter = getattr(layer, name)
    if parameter.shape == value.shape:
        parameter.data.copy_(value)
    else:
        setattr(layer, name, nn.Parameter(value.to(parameter).clone(), requires_grad=parameter.requires_grad))


def check_fits(model: nn.Module, adapter: Adapter) -> None:
    """ValueError unless the adapter's layers are in the model, with matching sizes, and wrapped if any is."""
    modules = dict(model.named_modules())
    made_for = f" It was made for {adapter.base}." if adapter.base else ""
    for name, (A, B) in adapter.tensors.items():
        if name not in modules:
            raise ValueError(f"The adapter does not fit this model: there is no layer {name}.{made_for}")
        layer = modules[name]
        n_in, n_out = layer_sizes(layer.original if isinstance(layer, LoRALinear) else layer)
        if A.shape != (adapter.rank, n_in) or B.shape != (n_out, adapter.rank):
            raise ValueError(
                f"The adapter does not fit this model: {name} takes {n_in} to {n_out} values, "
                f"the adapter has A {list(A.shape)} and B {list(B.shape)} at rank {adapter.rank}.{made_for}"
            )
    layers = lora_layers(model)
    if layers and (bare := [name for name in adapter.tensors if name not in layers]):
        raise ValueError(f"The adapter changes {bare[0]}, which has no LoRA here: unwrap_lora(model) first.")


def weighted_sum(adapters: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
    """An adapter whose update is the weighted sum of the updates; its rank is the sum of the ranks.

    The factors are stacked, [A1; A2] and [w1 s1 B1, w2 s2 B2]: adding the A's and the B's gives cross terms.
    """
    if not adapters:
        raise ValueError("A sum needs at least one adapter with its weight.")
    layers = adapters[0].tensors.keys()
    if any(adapter.tensors.keys() != layers for adapter in adapters):
        raise ValueError("Only adapters of the same layers can be added.")
    rank = sum(adapter.rank for adapter in adapters)
    tensors = {}
    for name in layers:
        pairs = zip(adapters, weights, strict=True)
        B = torch.cat([weight * a.scale * a.tensors[name][1] for a, weight in pairs], dim=1)
        A = torch.cat([adapter.tensors[name][0] for adapter in adapters])
        tensors[name] = (A, B)
    return Adapter(rank, float(rank), False, tensors, adapters[0].base, adapters[0].fingerprint)


class Adapters:
    """Named adapters on one base model. Stored ones are snapshots; training changes the model's own."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.stored: dict[str, Adapter] = {}

    def add(self, name: str, adapter: Adapter | None = None) -> None:
        """Store an adapter, or the model's current one, under a name; replaces an earlier one."""
        adapter = adapter or get_adapter(self.model)
        check_fits(self.model, adapter)
        self.stored[name] = adapter

    def set(self, name: str) -> None:
        set_adapter(self.model, self._get(name))

    def weighted_sum(self, weights: dict[str, float]) -> None:
        """Set the weighted sum of stored adapters, {"formal": 0.5, "gossip": 0.5}."""
        set_adapter(self.model, weighted_sum([self._get(name) for name in weights], list(weights.values())))

    def _get(self, name: str) -> Adapter:
        if name not in self.stored:
            raise KeyError(f"No adapter is named {name!r}; there are {sorted(self.stored)}.")
        return self.stored[name]


def base_fingerprint(model: nn.Module, names: Iterable[str]) -> str:
    """SHA-256 of the original weights of the named layers; another precision gives another value."""
    digest = hashlib.sha256()
    for name in sorted(names):
        layer: Any = model.get_submodule(name)
        weight = (layer.original if isinstance(layer, LoRALinear) else layer).weight
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def short_targets(model: nn.Module, names: list[str]) -> list[str]:
    """The shortest suffixes of these layers' names that match no other layer."""
    for parts in (1, 2):
        ends = sorted({".".join(name.split(".")[-parts:]) for name in names})
        if _matching(model, ends) == names:
            return ends
    return names


def default_lora_targets(model: PreTrainedModel) -> list[str]:
    """Name suffixes of all linear layers in the blocks: no head, no embedding. ModelError if there are none.

    As recommended by "LoRA without regret" (Thinking Machines, 2025); "all-linear" in PEFT.
    """
    names = [
        name
        for name, module in model.named_modules()
        if any(part.isdigit() for part in name.split(".")) and _is_linear(module)
    ]
    if not names:
        raise ModelError(
            f"No linear layers were found in the blocks of this {model.config.model_type} model. "
            f"Give target_modules yourself; candidates: {_candidates(model)}."
        )
    return short_targets(model, names)


ATTENTION_INPUTS = ("c_attn", "q_proj", "k_proj", "v_proj", "qkv_proj", "query_key_value")


def attention_targets(model: PreTrainedModel) -> list[str]:
    """Ends of the names of the layers that make query, key and value: for LoRA on attention alone."""
    return [end for end in ATTENTION_INPUTS if _matching(model, [end])]


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, Conv1D) or (hasattr(layer, "in_features") and hasattr(layer, "out_features"))
