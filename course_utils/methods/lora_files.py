"""Adapters on disk, in PEFT's format: saving, reading, and checking them against their base model."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from course_utils.home import write_whole, written_aside
from course_utils.methods.lora import (
    Adapter,
    apply_lora,
    base_fingerprint,
    check_fits,
    get_adapter,
    is_conv1d,
    lora_layers,
    set_adapter,
    short_targets,
)
from course_utils.methods.lora_variants import start_removed, to_dora
from course_utils.methods.quantization import quantized_layers
from course_utils.models import Model

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
MAGNITUDE = ".lora_magnitude_vector"  # suffix of the name of DoRA's third tensor
# settings that give the weights their meaning: also stored with the weights, since two files are two renames
SETTINGS = ("r", "lora_alpha", "use_rslora", "trainable_token_indices")
READ = {
    *SETTINGS,
    "peft_type",
    "base_model_name_or_path",
    "lora_dropout",
    "target_modules",
    "fan_in_fan_out",
    "task_type",
}
IGNORED = {"inference_mode", "auto_mapping", "peft_version", "revision", "megatron_core", "qalora_group_size"}
PLAIN = {"bias": ("none",), "init_lora_weights": (True, False, None, "gaussian", "orthogonal")}


def adapter_config(model: nn.Module) -> dict[str, Any]:
    """The content of adapter_config.json for the model's current adapter, with PEFT's names."""
    layers = lora_layers(model)
    first = next(iter(layers.values()))
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": portable_name(model),
        "r": first.rank,
        "lora_alpha": first.alpha,
        "use_rslora": first.rslora,
        "lora_dropout": getattr(first.dropout, "p", 0.0),
        "target_modules": short_targets(model, list(layers)),
        "fan_in_fan_out": any(is_conv1d(layer.original) for layer in layers.values()),
        "bias": "none",
        "inference_mode": True,
    }


def portable_name(model: nn.Module) -> str | None:
    """The model's name without its local folders, which are private; None if it has none."""
    name = getattr(model, "name_or_path", None) or None
    if name is None or not Path(name).is_absolute():
        return name
    for part in Path(name).parts:
        if part.startswith("models--"):  # a folder of the hub's cache
            return part.removeprefix("models--").replace("--", "/")
    return Path(name).name


def peft_tensors(tensors: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """{layer: (A, B)} under the names of PEFT's file: {"base_model.model.LAYER.lora_A.weight": A, ...}."""
    named = {}
    for layer, (A, B) in tensors.items():
        named[f"base_model.model.{layer}.lora_A.weight"] = A
        named[f"base_model.model.{layer}.lora_B.weight"] = B
    return named


def save_adapter(model: nn.Module, folder: Path | str) -> Path:
    """Write adapter_config.json and adapter_model.safetensors in PEFT's format; returns the folder."""
    adapter, config = get_adapter(model), adapter_config(model)
    return write_adapter_files(folder, config, peft_tensors(adapter.tensors), adapter.fingerprint)


def write_adapter_files(
    folder: Path | str, config: dict[str, Any], tensors: dict[str, Tensor], fingerprint: str | None
) -> Path:
    """Write both files of PEFT's format, each renamed into place when complete; returns the folder."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {name: json.dumps(config[name]) for name in SETTINGS if name in config}
    metadata["format"] = "pt"
    if fingerprint:  # not in PEFT's own files
        metadata |= {"base_sha256": fingerprint, "tensors_sha256": tensors_sha256(tensors)}
    with written_aside(folder / WEIGHTS_FILE) as part:
        save_file(tensors, part, metadata=metadata)
    write_whole(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    return folder


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_adapter(folder: Path | str) -> Adapter:
    """The Adapter in a folder of PEFT's format; FileNotFoundError or ValueError if it cannot be read."""
    return parse_adapter(folder, *read_adapter_files(folder))


def read_adapter_files(folder: Path | str) -> tuple[dict[str, Any], dict[str, Tensor], str | None]:
    """(configuration, tensors by name, fingerprint of the base or None); errors as in read_adapter."""
    folder = Path(folder)
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{folder} has no {file}: not an adapter in PEFT's safetensors format.")
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        with safe_open(folder / WEIGHTS_FILE, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        written = {name: json.loads(metadata[name]) for name in SETTINGS if name in metadata}
    except (ValueError, RecursionError, SafetensorError) as error:
        raise ValueError(f"The adapter in {folder} is damaged: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"The adapter in {folder} is damaged: {CONFIG_FILE} holds no object.")
    for name, value in written.items():
        if config.get(name) != value:
            raise ValueError(
                f"{folder}: {name} is {str(config.get(name))[:60]} in {CONFIG_FILE}, the weights were "
                f"written with {value}. The two files belong to different adapters: save it again."
            )
    sums = {"base_sha256", "tensors_sha256"} & metadata.keys()  # both, or neither if PEFT wrote the file
    if len(sums) == 1 or metadata.get("tensors_sha256") not in (None, tensors_sha256(tensors)):
        raise ValueError(f"The adapter in {folder} is damaged: {WEIGHTS_FILE} has changed.")
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ValueError(f"{folder / WEIGHTS_FILE}: the values of {name} are not finite numbers.")
    return config, tensors, metadata.get("base_sha256")


def parse_adapter(
    folder: Path | str, config: dict[str, Any], loaded: dict[str, Tensor], fingerprint: str | None
) -> Adapter:
    """The Adapter from read_adapter_files. ValueError for unsupported settings and unexpected tensors."""
    folder = Path(folder)
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{folder} holds a {config.get('peft_type')} adapter; only LORA is supported.")
    _check_settings(folder, config)
    tensors, loaded = {}, dict(loaded)
    for name in dict.fromkeys(key.removeprefix(PREFIX).rpartition(".lora_")[0] for key in loaded):
        A, B = (loaded.pop(f"{PREFIX}{name}.lora_{part}.weight", None) for part in "AB")
        if A is None or B is None:
            raise ValueError(f"{folder / WEIGHTS_FILE}: lora_A or lora_B is missing for layer {name!r}.")
        tensors[name] = (A, B)
    if loaded or not tensors:
        raise ValueError(f"{folder / WEIGHTS_FILE}: unexpected tensors {sorted(loaded)[:3]}, or none at all.")
    _check_targets(folder, config.get("target_modules"), tensors)
    rslora, base = config.get("use_rslora", False), config.get("base_model_name_or_path")
    return Adapter(config["r"], config["lora_alpha"], rslora, tensors, base, fingerprint)


def _check_settings(folder: Path, config: dict[str, Any]) -> None:
    """ValueError, with the name, for a setting that is unknown or changes the weights' meaning."""
    plain = {name: config.get(name, values[0]) in values for name, values in PLAIN.items()}
    others = {name: not value for name, value in config.items() if name not in READ | IGNORED | set(PLAIN)}
    if config.get("trainable_token_indices"):  # load_chat_adapter has removed it
        others["trainable_token_indices"] = False
    if used := [name for name, fine in (others | plain).items() if not fine]:
        raise ValueError(f"{folder} uses {', '.join(used)}, unsupported here: load it with PEFT.")
    rank: Any = config.get("r")
    alpha: Any = config.get("lora_alpha")
    right = {
        "r": type(rank) is int and rank > 0,
        "lora_alpha": type(alpha) in (int, float) and abs(alpha) <= sys.float_info.max,
        "use_rslora": isinstance(config.get("use_rslora", False), bool),
        "task_type": config.get("task_type") in ("CAUSAL_LM", None),
    }
    if wrong := [name for name, fine in right.items() if not fine]:
        raise ValueError(f"{folder / CONFIG_FILE}: {wrong[0]} cannot be {config.get(wrong[0])!r} here.")


def _check_targets(folder: Path, targets: Any, layers: Iterable[str]) -> None:
    """ValueError unless target_modules are suffixes of the layers' names and cover all layers in the file."""
    listed = isinstance(targets, list) and all(isinstance(target, str) for target in targets)
    if not listed or not all(f".{name}".endswith(tuple(f".{t}" for t in targets)) for name in layers):
        raise ValueError(
            f"{folder / CONFIG_FILE}: target_modules {str(targets)[:60]} are not the ends of the layers' "
            f"names in {WEIGHTS_FILE}: load it with PEFT."
        )


def load_adapter(model: Model, folder: Path | str, check_base: bool = True) -> Model:
    """Load a folder of PEFT's format into the model, wrapping bare layers; returns the model.

    A DoRA adapter makes DoRA layers; one that began with PiSSA becomes an ordinary one of twice the rank.
    ValueError if layers or shapes differ, if the adapter was saved from other base weights (PEFT's own files
    do not record those: only layers and shapes are compared), and for DoRA and PiSSA on a 4-bit model.
    """
    config, tensors, fingerprint = read_adapter_files(folder)
    dora = config.get("use_dora") is True
    pissa = config.get("init_lora_weights") == "pissa" and not dora
    if (dora or pissa) and quantized_layers(model):
        raise ValueError(
            f"{folder} uses {'DoRA' if dora else 'PiSSA'}, which computes with the frozen matrices, and the "
            "model's layers have 4 bits: load the base in full precision."
        )
    known = ({"use_dora": False} if dora else {}) | ({"init_lora_weights": True} if pissa else {})
    magnitudes = {name: tensors.pop(name) for name in list(tensors) if dora and name.endswith(MAGNITUDE)}
    adapter = parse_adapter(folder, config | known, tensors, fingerprint)
    if dora:
        _check_magnitudes(folder, adapter, magnitudes)
    if pissa:
        adapter = start_removed(model, adapter)
    install_adapter(model, adapter, folder, check_base)
    if dora:
        to_dora(model)
        for name, magnitude in magnitudes.items():
            layer: Any = model.get_submodule(name.removeprefix(PREFIX).removesuffix(MAGNITUDE))
            layer.magnitude.data.copy_(magnitude.view_as(layer.magnitude))
    return model


def _check_magnitudes(folder: Path | str, adapter: Adapter, magnitudes: dict[str, Tensor]) -> None:
    """ValueError unless there is exactly one magnitude for each output of each layer of the adapter."""
    right = {f"{PREFIX}{name}{MAGNITUDE}": B.shape[0] for name, (_, B) in adapter.tensors.items()}
    if {name: magnitude.numel() for name, magnitude in magnitudes.items()} != right:
        raise ValueError(f"{Path(folder) / WEIGHTS_FILE}: DoRA needs a length for each output of each layer.")


def install_adapter(model: Model, adapter: Adapter, folder: Path | str, check_base: bool = True) -> Model:
    """load_adapter for an adapter that was already read from the folder."""
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
