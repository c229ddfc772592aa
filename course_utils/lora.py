"""Low-rank adaptation: a frozen layer plus a trainable change of rank r (Hu et al. 2021, arXiv 2106.09685).

For a layer y = W x + b the change is scale * B A with A [r, in], B [out, r]; only A and B are trained.
"""

import hashlib
import json
import math
import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."


def layer_sizes(layer):
    """(in, out) of an nn.Linear (weight [out, in]) or Conv1D (weight [in, out]); else TypeError."""
    if isinstance(layer, Conv1D):
        return layer.nx, layer.nf
    if hasattr(layer, "in_features") and hasattr(layer, "out_features"):
        return layer.in_features, layer.out_features
    raise TypeError(f"LoRA adapts nn.Linear and Conv1D layers, not {type(layer).__name__}.")


def lora_scale(rank, alpha, rslora=False):
    """Factor of B A: alpha / r, or alpha / sqrt(r) (rank-stabilised LoRA, arXiv 2312.03732)."""
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def check_rank(layer, rank):
    """ValueError unless 1 <= rank <= min(in, out) of the layer."""
    limit = min(layer_sizes(layer))
    if not isinstance(rank, int) or not 1 <= rank <= limit:
        raise ValueError(f"rank must be a whole number from 1 to {limit} for {layer}, got {rank!r}.")


class LoRALinear(nn.Module):
    """A frozen nn.Linear or Conv1D with one low-rank adapter: [..., in] -> [..., out].

    The change is zero at the start, since B is. `weight` is the effective weight, in the original's layout.
    """

    def __init__(self, original_linear, rank=16, alpha=32.0, dropout=0.0, rslora=False):
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

    def forward(self, x):
        y = self.original(x)  # (..., out)
        if not self.enabled:
            return y
        low = self.dropout(x).to(self.lora_A.dtype) @ self.lora_A.T  # (..., rank)
        return (y + self.scale * (low @ self.lora_B.T)).to(y.dtype)

    @property
    def weight(self):
        if not self.enabled:
            return self.original.weight
        delta = self.scale * self.lora_B @ self.lora_A  # (out, in)
        delta = delta.T if isinstance(self.original, Conv1D) else delta
        return (self.original.weight + delta).to(self.original.weight.dtype)


def apply_lora(model, rank=16, alpha=32.0, target_modules=None, dropout=0.0, rslora=False):
    """Wrap the target layers in place, freeze everything else, return the model.

    target_modules are ends of layer names ("c_attn", "attn.c_proj"); None: the architecture's usual ones.
    ValueError where nothing matches, the rank does not fit, a weight is tied, or LoRA is there already.
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


def find_targets(model, target_modules=None):
    """Names of the layers that apply_lora would wrap, in the model's order; its errors."""
    if present := list(lora_layers(model)):
        raise ValueError(f"The model has LoRA layers already ({present[0]}, ...): unwrap_lora(model) first.")
    if target_modules is None:
        from course_utils.models import default_lora_targets

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


def _matching(model, target_modules):
    ends = tuple(f".{target}" for target in target_modules)
    return [name for name, _ in model.named_modules() if name in target_modules or name.endswith(ends)]


def _candidates(model):
    ends = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            ends.setdefault((name.rpartition(".")[2], *layer_sizes(module)), []).append(name)
    shown = [f"{end} ({n_in} to {n_out}, {len(names)}x)" for (end, n_in, n_out), names in ends.items()]
    return ", ".join(shown) or "none"


def lora_layers(model):
    """{name: LoRALinear} in the model's order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def _lora_layers_or_error(model):
    layers = lora_layers(model)
    if not layers:
        raise ValueError("The model has no LoRA layers: call apply_lora(model, rank, alpha) first.")
    return layers


def count_trainable(model):
    """(trainable, total) numbers of parameter values; a tied weight counts once."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def reset_lora(model):
    """Start the adapter anew: A random, B zero."""
    for layer in _unmerged_layers(model).values():
        nn.init.kaiming_uniform_(layer.lora_A, a=math.sqrt(5))
        nn.init.zeros_(layer.lora_B)


def adapt_outputs(layer, parts):
    """Let a fresh adapter change only these slices of a layer's outputs: B's other rows stay zero.

    For a part of a fused projection: of GPT-2's c_attn the first third is the query, the last the value.
    """
    mask = torch.zeros_like(layer.lora_B)
    for part in parts:
        mask[part] = 1
    layer.lora_B.register_hook(lambda grad: grad * mask)


def merge_lora(model):
    """Put the effective weights into the original layers; the old ones are kept until unmerge or unwrap."""
    for layer in _unmerged_layers(model).values():
        layer.unmerged_weight = layer.original.weight.detach()
        layer.original.weight.data = layer.weight.detach()
        layer.enabled = False


def unmerge_lora(model):
    """Put back the weights that merge_lora replaced, bit for bit."""
    for name, layer in _lora_layers_or_error(model).items():
        if not is_merged(layer):
            raise ValueError(f"{name} is not merged.")
    for layer in lora_layers(model).values():
        layer.original.weight.data = layer.unmerged_weight
        del layer.unmerged_weight
        layer.enabled = True


def unwrap_lora(model):
    """Replace each LoRALinear by its original layer, merged or not; returns the plain model, still frozen."""
    for name, layer in _lora_layers_or_error(model).items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.original)
    return model


def is_merged(layer):
    return hasattr(layer, "unmerged_weight")


def _unmerged_layers(model):
    layers = _lora_layers_or_error(model)
    for name, layer in layers.items():
        if is_merged(layer):
            raise ValueError(f"{name} is merged: call unmerge_lora(model) first.")
    return layers


@contextmanager
def adapter_off(model):
    """Inside, the model is the base model, bit for bit."""
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
    """An adapter apart from its model: (A [r, in], B [out, r]) by layer name, and what scales them.

    base and fingerprint tell which model it was trained on, where that is known.
    """

    rank: int
    alpha: float
    rslora: bool
    tensors: dict[str, tuple[torch.Tensor, torch.Tensor]]
    base: str | None = None
    fingerprint: str | None = None

    @property
    def scale(self):
        return lora_scale(self.rank, self.alpha, self.rslora)


def get_adapter(model):
    """A copy of the adapter that the model holds now."""
    layers = _unmerged_layers(model)
    first = next(iter(layers.values()))
    tensors = {n: (x.lora_A.detach().clone(), x.lora_B.detach().clone()) for n, x in layers.items()}
    base = getattr(model, "name_or_path", None) or None
    return Adapter(first.rank, first.alpha, first.rslora, tensors, base, base_fingerprint(model, layers))


def set_adapter(model, adapter):
    """Copy an adapter into the model's LoRA layers; a layer that it lacks gets B = 0. The rank may differ.

    ValueError where it does not fit. An optimiser made before a change of rank holds the old tensors.
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


def _copy_in(layer, name, value):
    parameter = getattr(layer, name)
    if parameter.shape == value.shape:
        parameter.data.copy_(value)
    else:
        setattr(layer, name, nn.Parameter(value.to(parameter).clone(), requires_grad=parameter.requires_grad))


def check_fits(model, adapter):
    """ValueError unless the adapter's layers are in the model, in its sizes, and wrapped if any layer is."""
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


def weighted_sum(adapters, weights):
    """An adapter whose change is the weighted sum of the changes; its rank is the sum of the ranks.

    The factors are stacked, [A1; A2] and [w1 s1 B1, w2 s2 B2]: adding A's and B's gives cross terms.
    """
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
    """Named adapters on one base model. A stored one is a snapshot; training changes the model's copy."""

    def __init__(self, model):
        self.model, self.stored = model, {}

    def add(self, name, adapter=None):
        """Store an adapter, or what the model holds now, under a name; it replaces an earlier one."""
        adapter = adapter or get_adapter(self.model)
        check_fits(self.model, adapter)
        self.stored[name] = adapter

    def set(self, name):
        set_adapter(self.model, self._get(name))

    def remove(self, name):
        self._get(name)
        del self.stored[name]

    def weighted_sum(self, weights):
        """Set the weighted sum of stored adapters, {"formal": 0.5, "pirate": 0.5}."""
        set_adapter(self.model, weighted_sum([self._get(name) for name in weights], list(weights.values())))

    def _get(self, name):
        if name not in self.stored:
            raise KeyError(f"No adapter is named {name!r}; there are {sorted(self.stored)}.")
        return self.stored[name]


def base_fingerprint(model, names):
    """SHA-256 of the original weights of the named layers; another precision is another base."""
    digest = hashlib.sha256()
    for name in sorted(names):
        layer = model.get_submodule(name)
        weight = (layer.original if isinstance(layer, LoRALinear) else layer).weight
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def adapter_config(model):
    """What adapter_config.json says of the adapter that the model holds, in PEFT's names."""
    layers = lora_layers(model)
    first = next(iter(layers.values()))
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": getattr(model, "name_or_path", None) or None,
        "r": first.rank,
        "lora_alpha": first.alpha,
        "use_rslora": first.rslora,
        "lora_dropout": getattr(first.dropout, "p", 0.0),
        "target_modules": short_targets(model, list(layers)),
        "fan_in_fan_out": any(isinstance(layer.original, Conv1D) for layer in layers.values()),
        "bias": "none",
        "inference_mode": True,
    }


def peft_tensors(tensors):
    """{layer: (A, B)} under the names of PEFT's file: {"base_model.model.LAYER.lora_A.weight": A, ...}."""
    named = {}
    for layer, (A, B) in tensors.items():
        named[f"base_model.model.{layer}.lora_A.weight"] = A
        named[f"base_model.model.{layer}.lora_B.weight"] = B
    return named


def save_adapter(model, folder):
    """Write adapter_config.json and adapter_model.safetensors in PEFT's format; returns the folder."""
    adapter, config = get_adapter(model), adapter_config(model)
    return write_adapter_files(folder, config, peft_tensors(adapter.tensors), adapter.fingerprint)


def write_adapter_files(folder, config, tensors, fingerprint):
    """Both files of PEFT's format, each renamed into place when whole; returns the folder."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights_file, config_file = folder / f"{WEIGHTS_FILE}.part", folder / f"{CONFIG_FILE}.part"
    save_file(tensors, weights_file, metadata={"format": "pt", "base_sha256": fingerprint})
    config_file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    os.replace(weights_file, folder / WEIGHTS_FILE)
    os.replace(config_file, folder / CONFIG_FILE)
    return folder


def short_targets(model, names):
    """The shortest ends of these layers' names that no other layer's name has."""
    for parts in (1, 2):
        ends = sorted({".".join(name.split(".")[-parts:]) for name in names})
        if _matching(model, ends) == names:
            return ends
    return names


def read_adapter(folder):
    """The Adapter in a folder of PEFT's format; FileNotFoundError or ValueError where it cannot be read."""
    return parse_adapter(folder, *read_adapter_files(folder))


def read_adapter_files(folder):
    """(configuration, tensors by name, fingerprint of the base or None); errors as read_adapter."""
    folder = Path(folder)
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{folder} has no {file}: not an adapter in PEFT's safetensors format.")
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        with safe_open(folder / WEIGHTS_FILE, "pt") as file:
            fingerprint = (file.metadata() or {}).get("base_sha256")
            return config, {key: file.get_tensor(key) for key in file.keys()}, fingerprint  # noqa: SIM118
    except (json.JSONDecodeError, SafetensorError) as error:
        raise ValueError(f"The adapter in {folder} is damaged: {error}") from error


def parse_adapter(folder, config, loaded, fingerprint):
    """The Adapter of what read_adapter_files gave. ValueError for what only PEFT can do, and for strays."""
    folder = Path(folder)
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{folder} holds a {config.get('peft_type')} adapter; only LORA is supported.")
    extras = ["rank_pattern", "alpha_pattern", "modules_to_save", "trainable_token_indices", "lora_bias"]
    extras += [key for key in config if key.startswith("use_") and key != "use_rslora"]
    used = [key for key in extras if config.get(key)]
    if used or config.get("bias", "none") != "none":
        raise ValueError(f"{folder} uses {', '.join(used) or 'bias'}, unsupported here: load it with PEFT.")
    tensors, loaded = {}, dict(loaded)
    for name in dict.fromkeys(key.removeprefix(PREFIX).rpartition(".lora_")[0] for key in loaded):
        A, B = (loaded.pop(f"{PREFIX}{name}.lora_{part}.weight", None) for part in "AB")
        if A is None or B is None:
            raise ValueError(f"{folder / WEIGHTS_FILE}: lora_A or lora_B is missing for layer {name!r}.")
        tensors[name] = (A, B)
    if loaded or not tensors:
        raise ValueError(f"{folder / WEIGHTS_FILE}: unexpected tensors {sorted(loaded)[:3]}, or none at all.")
    rslora, base = config.get("use_rslora", False), config.get("base_model_name_or_path")
    return Adapter(config["r"], config["lora_alpha"], rslora, tensors, base, fingerprint)


def load_adapter(model, folder, check_base=True):
    """Load a folder of PEFT's format into the model, wrapping bare layers; returns the model.

    ValueError where layers or shapes differ, or where the adapter was saved from other base weights.
    Files that PEFT wrote do not record those: for them only layers and shapes are compared.
    """
    return install_adapter(model, read_adapter(folder), folder, check_base)


def install_adapter(model, adapter, folder, check_base=True):
    """load_adapter for an adapter that was read from the folder already."""
    check_fits(model, adapter)
    if check_base and adapter.fingerprint not in (None, base_fingerprint(model, adapter.tensors)):
        raise ValueError(
            f"The adapter in {folder} was trained on other weights than this model's"
            f"{f' (its base was {adapter.base})' if adapter.base else ''}. Load that base, or, if it is the "
            "same model in another precision, pass check_base=False."
        )
    if not lora_layers(model):
        apply_lora(model, rank=1, target_modules=list(adapter.tensors))
    set_adapter(model, adapter)
    return model
