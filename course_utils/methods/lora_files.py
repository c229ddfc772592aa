"""Adapters on disk, in PEFT's format: saved, read, checked against the model they are for."""

import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

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

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."


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
        "fan_in_fan_out": any(is_conv1d(layer.original) for layer in layers.values()),
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
