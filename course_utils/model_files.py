"""A model's files on disk: complete, undamaged, and never a pickle."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GPT2_REPOS = ("openai-community/gpt2", "gpt2")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class ModelError(RuntimeError):
    """A model that cannot be found or loaded: what is wrong, where, and what to do."""


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sum_of_weights(folder: Path) -> str:
    """One SHA-256 over the folder's safetensors files."""
    sums = [sha256(path) for path in sorted(folder.glob("*.safetensors"))]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def write_checksums(folder: Path) -> None:
    """Write checksums.json, {file: sha256}, for all other files in the folder that are not hidden."""
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    sums = {path.name: sha256(path) for path in found if path.name != "checksums.json"}
    (folder / "checksums.json").write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")


def wrong_checksums(folder: Path) -> list[str]:
    """One line for each file that is missing or differs from the folder's checksums.json ({file: sha256})."""
    listing = folder / "checksums.json"
    if not listing.is_file():
        return [f"{listing} is missing"]
    try:
        sums = dict(json.loads(listing.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError):
        return [f"{listing} is damaged"]
    faults = []
    for file, expected in sums.items():
        if not (folder / file).is_file():
            faults.append(f"{folder / file} is missing")
        elif sha256(folder / file) != expected:
            faults.append(f"{folder / file} is damaged: its SHA-256 differs from checksums.json")
    return faults


def check_folder(folder: Path) -> None:
    """Raise ModelError unless `folder` holds a configuration and complete safetensors weights."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise ModelError(
                f"{folder} holds an adapter, not a model. Load the base model it was trained "
                "on, then the adapter with PeftModel.from_pretrained(base, folder)."
            )
        raise ModelError(
            f"{folder} holds no model: config.json is missing. Give a folder that save_pretrained wrote."
        )
    missing = missing_weights(folder)
    if missing == ["model.safetensors"] and (pickles := pickle_files(folder)):
        raise ModelError(
            f"{folder} has its weights only as a pickle ({pickles[0]}), and loading a pickle "
            "can run any code. Get the safetensors version, or convert it where you trust it: "
            "model.save_pretrained(folder)."
        )
    if missing:
        raise ModelError(f"{folder / missing[0]} is missing. Copy or fetch the model again.")


def missing_weights(folder: Path) -> list[str]:
    """Names of missing weight files. ModelError for a damaged index."""
    return [name for name in weight_files(folder) if not (folder / name).is_file()]


def weight_files(folder: Path) -> list[str]:
    """Names of the weight files that the folder should have. ModelError for a damaged index."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return ["model.safetensors"]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        pickles = [name for name in names if not name.endswith(".safetensors")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
        raise ModelError(
            f"{index} is damaged ({type(fault).__name__}). Copy or fetch the model again."
        ) from fault
    if pickles or not names:
        raise ModelError(f"{index} names {(pickles or ['no file'])[0]}, but should name safetensors.")
    return names


def count_weights(folder: Path) -> tuple[int, int]:
    """(tensors, values) in the weight files; reads only their headers."""
    from safetensors import safe_open

    shapes = []
    for name in weight_files(folder):
        with safe_open(folder / name, "pt") as file:
            shapes += [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
    return len(shapes), sum(map(math.prod, shapes))


def check_sums(folder: Path) -> None:
    """ModelError unless all files match the folder's checksums.json."""
    if faults := wrong_checksums(folder):
        raise ModelError(f"The model is not whole: {'; '.join(faults)}. Save or copy it again.")


def pickle_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and warnings, which would appear in a notebook's output."""
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging

    logging.set_verbosity_error()
    if are_progress_bars_disabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
