"""Lesson 03, why_it_never_learns: bug hunt, why it never learns."""

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.checks.compare import Mistake
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_03.exercises.shared import LoRALinear, filled
from course_utils.lessons.lesson_03.small_lora import LowRankChange
from course_utils.lessons.lesson_03.suspects import WithoutGraph


def why_it_never_learns(layer, x):
    """What one backward pass says of a wrapped layer: frozen, detached, both zero, or learns."""
    A, B = layer.change.lora_A, layer.change.lora_B
    if not (A.requires_grad and B.requires_grad):
        return "frozen"
    y = layer(x)
    if not y.requires_grad:
        return "detached"
    of_A, of_B = torch.autograd.grad(y.sum(), [A, B])
    return "learns" if of_A.any() or of_B.any() else "both zero"


class _DetachedData(LowRankChange):
    def forward(self, x):
        return self.scale * (x @ self.lora_A.data.T) @ self.lora_B.data.T


def _stuck(kind, n_in=5, n_out=4):
    """A wrapped layer of that verdict."""
    layer = LoRALinear(nn.Linear(n_in, n_out), 2, 4.0, WithoutGraph if kind == "detached" else LowRankChange)
    if kind == "frozen":
        layer.requires_grad_(False)
    if kind == "both zero":
        nn.init.zeros_(layer.change.lora_A)
    return layer


def _check_why_it_never_learns(fn):
    trained = filled(LoRALinear(Conv1D(4, 5), 2, 4.0))
    by_data = LoRALinear(Conv1D(4, 5), 2, 4.0, _DetachedData)
    A_zero = filled(LoRALinear(Conv1D(4, 5), 2, 4.0))
    nn.init.zeros_(A_zero.change.lora_A)
    frozen_and_zero = _stuck("both zero").requires_grad_(False)
    cases = [
        ("learns", _stuck("learns"), "A layer at its start learns: A's gradient is 0 there, and B's is not."),
        ("both zero", _stuck("both zero"), "With both at zero every gradient exists and is 0."),
        ("frozen", _stuck("frozen"), "requires_grad of A and B says whether they are frozen."),
        (
            "detached",
            _stuck("detached"),
            "A and B require a gradient and the output has no graph: they are detached.",
        ),
        ("learns", trained, "A layer whose A and B are both filled learns."),
        (
            "learns",
            A_zero,
            "With A zero and B filled a layer learns too: B's gradient is 0 there, and A's is not.",
        ),
        ("detached", by_data, "The change is computed from A.data and B.data: that is detached too."),
        ("frozen", frozen_and_zero, "Frozen is frozen, whatever the values are: ask for it first."),
    ]
    for wanted, layer, why in cases:
        x = torch.randn(3, 5)
        weights = {name: value.detach().clone() for name, value in layer.named_parameters()}
        verdict = fn(layer, x)
        if verdict is None:
            raise Mistake("The verdict is None. Is there a return?")
        if verdict != wanted:
            raise Mistake(f"{why} The verdict should be {wanted!r}, and is {verdict!r}.")
        if any(not torch.equal(weights[name], value) for name, value in layer.named_parameters()):
            raise Mistake("The test changes the layer. One backward pass is enough: make no step.")


def _verdict_by_A(layer, x):
    A, B = layer.change.lora_A, layer.change.lora_B
    if not A.requires_grad:
        return "frozen"
    y = layer(x)
    if not y.requires_grad:
        return "detached"
    return "learns" if torch.autograd.grad(y.sum(), [A, B])[0].any() else "both zero"


def _verdict_by_B(layer, x):
    A, B = layer.change.lora_A, layer.change.lora_B
    if not B.requires_grad:
        return "frozen"
    y = layer(x)
    if not y.requires_grad:
        return "detached"
    return "learns" if torch.autograd.grad(y.sum(), [A, B])[1].any() else "both zero"


def _by_values_of_A(layer, x):
    verdict = why_it_never_learns(layer, x)
    if verdict in ("frozen", "detached"):
        return verdict
    return "learns" if layer.change.lora_A.any() else "both zero"


def _backward_first(layer, x):
    A, B = layer.change.lora_A, layer.change.lora_B
    layer(x).sum().backward()
    if A.grad is None:
        return "detached"
    return "learns" if A.grad.any() or B.grad.any() else "both zero"


def _by_graph_alone(layer, x):
    y = layer(x)
    if not y.requires_grad:
        return "detached"
    return why_it_never_learns(layer, x)


def _no_graph_is_frozen(layer, x):
    return "frozen" if not layer(x).requires_grad else why_it_never_learns(layer, x)


def _by_values(layer, x):
    A, B = layer.change.lora_A, layer.change.lora_B
    if not A.any() and not B.any():
        return "both zero"
    return why_it_never_learns(layer, x)


def _by_B_zero(layer, x):
    return "both zero" if not layer.change.lora_B.any() else why_it_never_learns(layer, x)


def _with_a_step(layer, x):
    verdict = why_it_never_learns(layer, x)
    layer.change.lora_B.data += 1.0
    return verdict


def _one_zero_is_enough(layer, x):
    verdict = why_it_never_learns(layer, x)
    zero = not layer.change.lora_A.any() or not layer.change.lora_B.any()
    return "both zero" if verdict == "learns" and zero else verdict


def _by_grad_fields(layer, x):
    factors = [layer.change.lora_A, layer.change.lora_B]
    if all(not factor.requires_grad for factor in factors):
        return "frozen"
    out = layer(x)
    if out.grad_fn is None:
        return "detached"
    out.square().sum().backward()
    sizes = [factor.grad.norm().item() for factor in factors]
    for factor in factors:
        factor.grad = None
    return "learns" if max(sizes) > 0 else "both zero"


def _by_name(layer, x):
    parameters = dict(layer.change.named_parameters())
    if not parameters["lora_B"].requires_grad:
        return "frozen"
    change = layer.change(x)
    if not change.requires_grad:
        return "detached"
    zero = torch.equal(parameters["lora_A"], 0 * parameters["lora_A"])
    return "both zero" if zero and not parameters["lora_B"].any() else "learns"


NEVER_LEARNS_WRONG = [
    (_verdict_by_A, "A layer at its start learns"),
    (_verdict_by_B, "With A zero and B filled"),
    (_by_values_of_A, "With A zero and B filled"),
    (_by_B_zero, "A layer at its start learns"),
    (_one_zero_is_enough, "A layer at its start learns"),
    (_backward_first, "Your code stopped"),
    (_by_graph_alone, "requires_grad of A and B says"),
    (_no_graph_is_frozen, "the output has no graph"),
    (_by_values, "ask for it first"),
    (_with_a_step, "make no step"),
    (lambda layer, x: "learns", "every gradient exists and is 0"),
    (lambda layer, x: None, "Is there a return?"),
]

EXERCISE = Exercise(
    name="why_it_never_learns",
    lesson="03",
    minutes=5,
    difficulty=2,
    reference=why_it_never_learns,
    check=_check_why_it_never_learns,
    wrong=NEVER_LEARNS_WRONG,
    right=[_by_grad_fields, _by_name],
    hints=(
        "Ask in this order: are A and B frozen? Has the output a graph? Is any gradient of A or B "
        "different from zero? Each question needs what the one before has settled.",
        'A.requires_grad and B.requires_grad, else "frozen"; y = layer(x), and y.requires_grad, else '
        '"detached"; torch.autograd.grad(y.sum(), [A, B]), of which one has a value that is not 0, else '
        '"both zero".',
    ),
    then="The next cell asks it of the three layers: run it again.",
)
