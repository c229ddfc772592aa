"""Identities: two ways to compute one value; a difference beyond rounding is a fault."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

# allowed differences of sums in another order, relative to the largest element
ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def assert_same(actual: Any, expected: Any, message: str, tolerance: float | None = None) -> None:
    """Assert that two values are the same: numbers, tensors, arrays, lists of numbers, or anything with ==.

    message: a sentence that says what is the same. Non-integers may differ by the rounding of the coarser
    dtype, relative to the largest element (Python floats count as float32, since they come from a model), or
    by `tolerance`, absolute. With COURSE_STRICT=1 a difference raises AssertionError; otherwise it is printed
    and the lesson goes on.
    """
    fault = _difference(actual, expected, tolerance)
    if fault is None:
        return
    fault = f"{message.rstrip('.')}: this does not hold here, {fault}."
    if os.environ.get("COURSE_STRICT") == "1":
        raise AssertionError(fault)
    print(fault)


def _difference(actual: Any, expected: Any, tolerance: float | None) -> str | None:
    left, right = _as_numbers(actual), _as_numbers(expected)
    if left is None or right is None:
        return None if actual == expected else f"{expected!r} was expected and {actual!r} came"
    if left.shape != right.shape:
        return f"the shape {list(right.shape)} was expected and {list(left.shape)} came"
    kinds = [numbers.dtype for numbers in (left, right) if numbers.is_floating_point()]
    left, right = left.double(), right.double()
    same = (left == right) | (left.isnan() & right.isnan())
    if same.all():
        return None
    difference = (left - right).abs().masked_fill(same, 0.0)
    if tolerance is None:
        largest = torch.cat([left.flatten(), right.flatten()]).abs().nan_to_num(0, 0, 0).max() if kinds else 0
        tolerance = max((ROUNDING[kind] for kind in kinds), default=0.0) * float(largest)
    allowed = same | (difference <= tolerance)
    if allowed.all():
        return None
    place = tuple((~allowed).nonzero()[0].tolist())
    where = f" at {list(place)}" if place else ""
    return (
        f"{right[place].item():.6g} was expected{where} and {left[place].item():.6g} came; "
        f"the largest difference is {difference.max().item():.2g}, and {tolerance:.2g} is allowed"
    )


def _as_numbers(value: Any) -> torch.Tensor | None:
    """Numbers, bools and lists of them as a tensor on the CPU; None for anything else."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return torch.as_tensor(array) if array.dtype.kind in "biuf" else None
    try:
        return torch.tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return None
