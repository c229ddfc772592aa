"""Lesson 14, bytes_by_rule: bytes by rule."""

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def bytes_by_rule(parameters, adapter, method):
    """Bytes of weights, gradients and moments. method: full, lora or qlora; adapter: number of its values."""
    if method == "full":
        return 16 * parameters
    base = {"lora": 2, "qlora": 4.127 / 8}[method]
    return base * parameters + 16 * adapter


BYTES_INPUTS = [
    (parameters, adapter, method)
    for parameters, adapter in [(1_000_000_000, 1_000_000), (7_615_616_512, 40_370_176), (3_000_000, 32_768)]
    for method in ("full", "lora", "qlora")
]


def _bytes(method, fault):
    """A wrong bytes_by_rule: fault(parameters, adapter) for one method."""
    return lambda parameters, adapter, name: (
        fault(parameters, adapter) if name == method else bytes_by_rule(parameters, adapter, name)
    )


def _all_bytes(full, lora, qlora, adapter_cost):
    """A wrong bytes_by_rule: bytes per parameter under each method, and bytes per adapter value."""
    costs = {"full": full, "lora": lora, "qlora": qlora}
    return lambda parameters, adapter, method: (
        costs[method] * parameters + (adapter_cost * adapter if method != "full" else 0)
    )


MOMENT = "Full: you count 12 bytes per parameter. One of Adam's two moments or the gradient is missing."
NO_MOMENTS = "Full: you count only weights, or weights and gradients. Adam keeps two moments for each value."
FROZEN = "LoRA: frozen weights have no gradient and no moments. Only the adapter has them."
ADAPTER = "LoRA: the adapter's values are trained, so each needs a weight, a gradient and two moments."
EACH_ADAPTER = "The adapter's values are trained, so each needs a weight, a gradient and two moments."
BYTES_MISTAKES = [
    (MOMENT, _bytes("full", lambda n, a: 12 * n)),
    (MOMENT, _all_bytes(12, 2, 4.127 / 8, 12)),
    (NO_MOMENTS, _bytes("full", lambda n, a: 8 * n)),
    (NO_MOMENTS, _bytes("full", lambda n, a: 4 * n)),
    (NO_MOMENTS, _all_bytes(4, 2, 4.127 / 8, 4)),
    (NO_MOMENTS, _all_bytes(8, 2, 4.127 / 8, 8)),
    ("Full fine-tuning has no adapter.", _bytes("full", lambda n, a: 16 * (n + a))),
    ("LoRA: the base is in 16 bits, 2 bytes per parameter.", _bytes("lora", lambda n, a: 4 * n + 16 * a)),
    (FROZEN, _bytes("lora", lambda n, a: 16 * n + 16 * a)),
    (FROZEN, _bytes("lora", lambda n, a: 14 * n + 16 * a)),
    (EACH_ADAPTER, _all_bytes(16, 2, 4.127 / 8, 4)),
    (EACH_ADAPTER, _all_bytes(16, 2, 4.127 / 8, 0)),
    (ADAPTER, _bytes("lora", lambda n, a: 2 * n)),
    (ADAPTER, _bytes("lora", lambda n, a: 2 * n + 2 * a)),
    (ADAPTER, _bytes("lora", lambda n, a: 2 * n + 4 * a)),
    (
        "QLoRA: each block of 64 weights has a scale, quantised to 0.127 bits per weight (4.127 bits in "
        "all).",
        _bytes("qlora", lambda n, a: 0.5 * n + 16 * a),
    ),
    ("QLoRA: 4.127 are bits. A byte has 8 bits.", _bytes("qlora", lambda n, a: 4.127 * n + 16 * a)),
    (
        "QLoRA: the adapter is trained like LoRA's, 16 bytes per value.",
        _bytes("qlora", lambda n, a: 4.127 / 8 * (n + a)),
    ),
    (
        "These are bits: everything is 8 times too large.",
        lambda n, a, method: 8 * bytes_by_rule(n, a, method),
    ),
]


def _bytes_in_cases(parameters, adapter, method):
    trained = parameters if method == "full" else adapter
    frozen_bits = {"full": 0, "lora": 16, "qlora": 4.127}[method]
    return torch.tensor(trained * 4 * 4 + frozen_bits * parameters / 8)


def _bytes_with_numpy(parameters, adapter, method):
    if method == "full":
        return np.float64(parameters) * np.dtype("float32").itemsize * 4
    return (2.0 if method == "lora" else 0.515875) * np.float64(parameters) + 16 * adapter


EXERCISE = Exercise(
    name="bytes_by_rule",
    lesson="14m",
    minutes=6,
    difficulty=1,
    reference=bytes_by_rule,
    check=compare(
        bytes_by_rule,
        BYTES_INPUTS,
        BYTES_MISTAKES,
        else_="Trained values need 16 bytes each, frozen values 2 (LoRA) or 4.127 / 8 (QLoRA).",
    ),
    wrong=[
        (lambda n, a, method: None, "Is there a return"),
        (_bytes("lora", lambda n, a: None), "Is there a return"),
        (_bytes("full", lambda n, a: 18 * n), "Trained values need 16 bytes each"),
        (_bytes("qlora", lambda n, a: n + 16 * a), "Trained values need 16 bytes each"),
    ],
    right=[_bytes_in_cases, _bytes_with_numpy],
    hints=(
        "A trained value needs a weight, a gradient and two moments, 4 bytes each. A frozen value needs only "
        "its weight, in the bits in which it is stored.",
        "full: 16 * parameters. lora: 2 * parameters + 16 * adapter. qlora: 4.127 / 8 * parameters + 16 "
        "* adapter.",
    ),
)
