"""The usual recipe on a CPU: its model's memory, and checkpointing under transformers' current name."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from course_utils.model_files import quiet


@contextmanager
def without_warnings() -> Iterator[None]:
    """`quiet`, and without the libraries' deprecation warnings."""
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def kinds(model) -> dict[str, float | str]:
    """MB of a model's parameters by kind of number, and whether its blocks are checkpointed."""
    held = Counter()
    for parameter in model.parameters():
        held[str(parameter.dtype).removeprefix("torch.")] += parameter.nbytes / 1e6
    blocks = (getattr(module, "gradient_checkpointing", False) for module in model.modules())
    return {
        "4-bit codes": held["uint8"],
        "bf16": held["bfloat16"],
        "fp32": held["float32"],
        "checkpointing": "on" if any(blocks) else "off",
    }


def checkpointed(model):
    """Keep only each block's input for the backward pass; returns the model."""
    options = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):  # the name since transformers 5.24
        model.activation_checkpointing_enable(options)
    else:
        model.gradient_checkpointing_enable(options)
    return model
