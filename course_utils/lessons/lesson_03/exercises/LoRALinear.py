"""Lesson 03, LoRALinear: the frozen layer and its change."""

import copy

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.checks.compare import (
    Mistake,
    close,
    expect_gradients,
    expect_tensor,
    first_difference,
    identical,
)
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_03.exercises.shared import (
    LoRALinear,
    expect_no_more_to_train,
    filled,
    layers_of_both_kinds,
)
from course_utils.lessons.lesson_03.small_lora import LowRankChange
from course_utils.methods.lora import layer_sizes


def _check_lora_linear(cls):
    for original in layers_of_both_kinds():
        _expect_lora_linear(cls, original, rank=2, alpha=6.0)
    _expect_lora_linear(cls, nn.Linear(20, 24))


def _expect_lora_linear(cls, original, **options):
    made = []

    class Watched(LowRankChange):
        def __init__(self, n_in, n_out, rank=16, alpha=32.0):
            made.append((n_in, n_out, rank, alpha))
            super().__init__(n_in, n_out, rank, alpha)

    weights = copy.deepcopy(original)
    layer = cls(original, **options, low_rank=Watched)
    if not isinstance(layer, nn.Module):
        raise Mistake("LoRALinear should be an nn.Module: class LoRALinear(nn.Module).")
    _expect_parts(layer, original, made, options)
    x = torch.randn(2, 3, layer_sizes(original)[0])
    base = weights(x)
    start = expect_tensor(layer(x), base.shape, "the output")
    if not torch.equal(start, base):
        _name_start(start, base)
    filled(layer)
    A, B = layer.change.lora_A.detach(), layer.change.lora_B.detach()
    scale = options.get("alpha", 32.0) / options.get("rank", 16)
    output = layer(x)
    if not identical(original, weights):
        raise Mistake(
            "The layer writes into the original's weight: the base is no longer what it was, and every "
            "call adds B A once more. Add the change to the output."
        )
    _expect_base_and_change(output.detach(), base, scale * x @ A.T @ B.T, scale)
    if not close(output, layer(x)):
        raise Mistake("Two calls with the same x give different outputs: forward changes something.")
    learn = {"lora_A": layer.change.lora_A, "lora_B": layer.change.lora_B}
    expect_gradients(output, learn=learn, rest={"original.weight": original.weight})
    _expect_both_ways_to_x(layer, weights, x, scale * B @ A)


def _expect_parts(layer, original, made, options):
    """The original frozen, the change built from low_rank in the original's sizes; nothing else to train."""
    n_in, n_out = layer_sizes(original)
    if getattr(layer, "original", None) is not original:
        raise Mistake("Keep the layer that is wrapped as self.original: merging will look for it there.")
    if getattr(layer, "change", None) is None:
        raise Mistake("Keep what low_rank(...) makes as self.change.")
    if not made:
        raise Mistake("Build the change with low_rank, the last argument: it is the class to be used.")
    if not isinstance(layer.change, nn.Module):
        raise Mistake("self.change should be the layer that low_rank(...) makes, and holds something else.")
    wanted = (n_in, n_out, options.get("rank", 16), options.get("alpha", 32.0))
    if made[-1][:2] == (n_out, n_in) != (n_in, n_out):
        raise Mistake(
            "in and out are swapped. nn.Linear keeps its weight as [out, in], Conv1D as [in, out]: "
            "layer_sizes(layer) gives (in, out) for both."
        )
    if made[-1] != wanted:
        raise Mistake(
            f"low_rank should be called with (in, out, rank, alpha) = {wanted}, and was with {made[-1]}."
        )
    if any(p.requires_grad for p in original.parameters()):
        raise Mistake("The base is not frozen: requires_grad_(False) on the original, its bias included.")
    if not all(p.requires_grad for p in layer.change.parameters()):
        raise Mistake("A and B are frozen too. Freeze the original alone.")
    expect_no_more_to_train(layer)


def _expect_both_ways_to_x(layer, weights, x, delta):
    """The gradient of x comes back through the original and through the change."""
    x = x.clone().requires_grad_()
    grad = torch.randn(*x.shape[:-1], len(delta))  # of the output
    of_x = torch.autograd.grad(layer(x), x, grad, allow_unused=True)[0]
    through_original = torch.autograd.grad(weights(x), x, grad)[0]
    through_change = grad @ delta
    if of_x is not None and close(of_x, through_original + through_change):
        return
    if of_x is None or not of_x.any():
        raise Mistake("No gradient goes through to x: the layers below would not learn. Is x detached?")
    if close(of_x, through_change):
        raise Mistake(
            "x gets its gradient through the change alone. The original's weight is frozen, but the gradient "
            "has to go through it to the layers below: no no_grad and no detach around it."
        )
    if close(of_x, through_original):
        raise Mistake("x gets its gradient through the original alone. Is it detached before the change?")
    raise Mistake("The gradient of x should come back through the original and through the change.")


def _name_start(start, base):
    if not start.any():
        raise Mistake("The original is lost: the output is the original's plus the change.")
    if close(start, 2 * base):
        raise Mistake("The original is in the output twice.")
    difference = first_difference(start, base, 0.0, "the output")
    raise Mistake(f"B is zero at the start, so the layer should give what the original gives. {difference}")


def _expect_base_and_change(output, base, change, scale):
    if close(output, base + change):
        return
    for message, wrong in (
        ("The change is missing: the output is that of the original alone.", base),
        ("The scale is in the output twice: self.change(x) has it already.", base + scale * change),
        ("The change is taken off. Add it to the original's output.", base - change),
    ):
        if close(output, wrong):
            raise Mistake(message)
    raise Mistake("The output should be self.original(x) + self.change(x).")


def _wrapper(init=None, forward=None):
    """A wrong LoRALinear: init(layer) is called at the end of __init__, forward(layer, x) in its place."""

    class Wrong(LoRALinear):
        def __init__(self, original_linear, rank=16, alpha=32.0, low_rank=LowRankChange):
            super().__init__(original_linear, rank, alpha, low_rank)
            if init:
                init(self)

        def forward(self, x):
            return forward(self, x) if forward else super().forward(x)

    return Wrong


def _built(sizes=layer_sizes, change=None):
    """A wrong LoRALinear that asks sizes(original), or makes change(low_rank, sizes, rank, alpha)."""

    class Wrong(LoRALinear):
        def __init__(self, original_linear, rank=16, alpha=32.0, low_rank=LowRankChange):
            nn.Module.__init__(self)
            self.original = original_linear.requires_grad_(False)
            n_in, n_out = sizes(original_linear)
            make = change or (lambda low_rank, sizes, rank, alpha: low_rank(*sizes, rank, alpha))
            self.change = make(low_rank, (n_in, n_out), rank, alpha)

    return Wrong


def _without_original(layer):
    layer.base = layer.original
    del layer.original


def _write_into_the_weight(layer, x):
    A, B = layer.change.lora_A, layer.change.lora_B
    delta = layer.change.scale * (B @ A).detach()
    layer.original.weight.data += delta.T if isinstance(layer.original, Conv1D) else delta
    return layer.original(x) + 0 * layer.change(x)


@torch.no_grad()
def _under_no_grad(layer, x):
    return layer.original(x) + layer.change(x)


def _original_under_no_grad(layer, x):
    with torch.no_grad():
        y = layer.original(x)
    return y + layer.change(x)


class _ByWeight(nn.Module):
    """A right answer that adds the change to the weight, anew in every call."""

    def __init__(self, original_linear, rank=16, alpha=32.0, low_rank=LowRankChange):
        super().__init__()
        self.original = original_linear
        for parameter in original_linear.parameters():
            parameter.requires_grad = False
        n_in, n_out = layer_sizes(original_linear)
        self.change = low_rank(n_in=n_in, n_out=n_out, rank=rank, alpha=alpha)

    def forward(self, x):
        return self.original(x) + x @ self.change(torch.eye(x.shape[-1]))


class _WeightAsBuffer(nn.Module):
    def __init__(self, original_linear, rank=16, alpha=32.0, low_rank=LowRankChange):
        super().__init__()
        self.original = original_linear
        for name, value in list(original_linear.named_parameters()):
            delattr(original_linear, name)
            original_linear.register_buffer(name, value.detach())
        self.change = low_rank(*layer_sizes(original_linear), rank, alpha)

    def forward(self, x):
        return self.change(x) + self.original(x)


class _AddedLater(nn.Module):
    def __init__(self, original_linear, rank=16, alpha=32.0, low_rank=LowRankChange):
        super().__init__()
        self.change = low_rank(*layer_sizes(original_linear), rank, alpha)
        self.add_module("original", original_linear.eval().requires_grad_(False))

    def forward(self, x):
        y = self.original(x)
        y = y.add(self.change(x))
        return y


def _by_shape(layer):
    n_out, n_in = layer.weight.shape
    return n_in, n_out


LORA_LINEAR_WRONG = [
    (_wrapper(init=lambda layer: layer.original.requires_grad_(True)), "base is not frozen"),
    (
        _wrapper(init=lambda layer: layer.original.bias is None or layer.original.bias.requires_grad_(True)),
        "its bias included",
    ),
    (_wrapper(init=lambda layer: layer.requires_grad_(False)), "A and B are frozen too"),
    (_wrapper(init=_without_original), "Keep the layer that is wrapped"),
    (_built(change=lambda low_rank, sizes, rank, alpha: None), "Keep what low_rank"),
    (_built(change=lambda low_rank, sizes, *rest: LowRankChange(*sizes, *rest)), "Build the change with"),
    (_built(change=lambda low_rank, sizes, *rest: [low_rank(*sizes, *rest)]), "holds something else"),
    (_built(sizes=_by_shape), "in and out are swapped"),
    (_built(change=lambda low_rank, sizes, *rest: low_rank(*sizes)), "should be called with"),
    (
        _built(change=lambda low_rank, sizes, r, alpha: low_rank(*sizes, r, alpha / r)),
        "should be called with",
    ),
    (_wrapper(init=lambda layer: nn.init.normal_(layer.change.lora_B)), "B is zero at the start"),
    (_wrapper(init=lambda layer: setattr(layer, "bias", nn.Parameter(torch.zeros(1)))), "trains bias along"),
    (_wrapper(forward=lambda layer, x: layer.change(x)), "original is lost"),
    (_wrapper(forward=lambda layer, x: 2 * layer.original(x) + layer.change(x)), "original is in the output"),
    (_wrapper(forward=lambda layer, x: layer.original(x)), "change is missing"),
    (_wrapper(forward=lambda s, x: s.original(x) + s.change.scale * s.change(x)), "scale is in the output"),
    (_wrapper(forward=lambda layer, x: layer.original(x) - layer.change(x)), "taken off"),
    (_wrapper(forward=lambda layer, x: layer.original(x) + layer.change(x.abs())), "should be self.original"),
    (_wrapper(forward=_write_into_the_weight), "writes into the original's weight"),
    (_wrapper(forward=_under_no_grad), "no graph"),
    (_wrapper(forward=lambda layer, x: layer.original(x) + layer.change(x).detach()), "no graph"),
    (
        _wrapper(forward=lambda layer, x: layer.original(x.detach()) + layer.change(x.detach())),
        "through to x",
    ),
    (_wrapper(forward=_original_under_no_grad), "through the change alone"),
    (_wrapper(forward=lambda s, x: s.original(x) + s.change(x.detach())), "through the original alone"),
    (_wrapper(forward=lambda layer, x: None), "Is there a return?"),
]

EXERCISE = Exercise(
    name="LoRALinear",
    lesson="03",
    minutes=6,
    difficulty=2,
    reference=LoRALinear,
    check=_check_lora_linear,
    wrong=LORA_LINEAR_WRONG,
    right=[_ByWeight, _AddedLater, _WeightAsBuffer],
    hints=(
        "Keep the original, frozen, and beside it the change, made by low_rank in the original's sizes. "
        "The output is the sum of what the two give.",
        "self.original = original_linear.requires_grad_(False); n_in, n_out = "
        "layer_sizes(original_linear); self.change = low_rank(n_in, n_out, rank, alpha). forward: the "
        "original's output plus the change's.",
    ),
    then="Your layer stands in the model that is trained below. Run the next cells again.",
)
