"""Exercises of lesson 03: LoRA in four parts, two bug hunts, the gradients by hand."""

from __future__ import annotations

import copy
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.checks.compare import (
    Mistake,
    close,
    compare,
    expect_gradients,
    expect_tensor,
    first_difference,
    identical,
)
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_03.parts import LowRankChange, lora_in_small, wrapped_layers
from course_utils.lessons.lesson_03.suspects import WithoutGraph
from course_utils.memory import saved_bytes
from course_utils.methods.lora import find_targets, layer_sizes
from course_utils.models import untrained_gpt2

LoRALinear, apply_lora, merge_lora = lora_in_small()

# ------------------------------------------------------------------- what several checks look at


def _expect_factor(layer, name, shape):
    value = getattr(layer, name, None)
    if value is None:
        raise Mistake(f"The layer has no {name}.")
    if isinstance(value, nn.Module):
        raise Mistake(f"{name} is a layer of its own. Here it is a matrix: an nn.Parameter {list(shape)}.")
    if not isinstance(value, nn.Parameter):
        raise Mistake(f"{name} is not an nn.Parameter: no optimiser would see it.")
    expect_tensor(value, shape, name)
    if not value.requires_grad:
        raise Mistake(f"{name} is frozen. A and B are what is trained.")


def _expect_different_values(layer):
    """A and B are not both zero, and neither holds one value everywhere."""
    A, B = layer.lora_A.detach(), layer.lora_B.detach()
    if not A.any() and not B.any():
        raise Mistake(
            "A and B are both zero: then neither ever gets a gradient, and nothing is learnt. Draw "
            "one of them at random."
        )
    if any(factor.any() and (factor == factor[0, 0]).all() for factor in (A, B)):
        raise Mistake(
            "All values of a factor are the same at the start: then all its ranks learn the same, as if "
            "there were one. Draw them at random."
        )


def _expect_scaled(change, product, rank, alpha, else_):
    """The change is alpha / rank times B A's."""
    if close(change, alpha / rank * product):
        return
    for message, factor in (
        ("The scale is rounded down: it is alpha / rank, not alpha // rank.", alpha // rank),
        ("A and B have no effect.", 0),
        ("The scale is missing: the change is alpha / rank times B A.", 1),
        ("alpha is not divided by the rank.", alpha),
        ("This is alpha over the root of the rank. Here it is alpha over the rank.", alpha / rank**0.5),
        ("The scale is upside down: it is alpha / rank.", rank / alpha),
        ("The scale comes in twice: the change is alpha / rank times B A.", (alpha / rank) ** 2),
        ("The change is taken off. Add it.", -alpha / rank),
    ):
        if close(change, factor * product):
            raise Mistake(message)
    raise Mistake(else_)


def _filled(layer):
    """The layer, A and B filled as after some training."""
    with torch.no_grad():
        for name, value in layer.named_parameters():
            if name.endswith(("lora_A", "lora_B")):
                value.normal_()
    return layer


# ------------------------------------------------------------------------------- LowRankChange


def _check_low_rank_change(cls):
    _expect_low_rank_change(cls, 7, 5, rank=2, alpha=6.0)
    _expect_low_rank_change(cls, 3, 3, rank=3, alpha=1.5)  # all square: no shape tells a transpose
    _expect_low_rank_change(cls, 200, 60)
    _expect_narrow(cls)


@contextmanager
def _empty_is_nan():
    """torch.empty gives nan, not what lay in memory."""
    before, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def _expect_low_rank_change(cls, n_in, n_out, **options):
    with _empty_is_nan():
        layer = cls(n_in, n_out, **options)
    if not isinstance(layer, nn.Module):
        raise Mistake("LowRankChange should be an nn.Module: class LowRankChange(nn.Module).")
    rank, alpha = options.get("rank", 16), options.get("alpha", 32.0)
    _expect_factor(layer, "lora_A", (rank, n_in))
    _expect_factor(layer, "lora_B", (n_out, rank))
    _expect_no_more_to_train(layer)
    for name in ("lora_A", "lora_B"):
        if getattr(layer, name).isnan().any():
            raise Mistake(
                f"{name} is never filled: torch.empty leaves in it what lay in memory. Draw A, and start B "
                "at zero."
            )
    _expect_different_values(layer)
    if layer.lora_B.any():
        if not layer.lora_A.any():
            raise Mistake("A is zero and B is not. That is a start too; this lesson's is B zero, A random.")
        raise Mistake("B is not zero: the change would be there before any training.")
    if layer.lora_A.numel() > 1000:
        _expect_size_of_A(layer.lora_A.detach())
    _filled(layer)
    A, B = layer.lora_A.detach().clone(), layer.lora_B.detach().clone()
    for shape in ((3, n_in), (2, 4, n_in)):
        x = torch.randn(shape)
        y = expect_tensor(layer(x), (*shape[:-1], n_out), "the output")
        else_ = "The output should be alpha / rank times x A^T B^T."
        _expect_scaled(y.detach(), x @ A.T @ B.T, rank, alpha, else_)
        if not close(y, layer(x)):
            raise Mistake("Two calls with the same x give different outputs: forward changes something.")
    expect_gradients(y, learn={"lora_A": layer.lora_A, "lora_B": layer.lora_B})
    _expect_way_to_x(layer, n_in)
    _expect_scale(layer, alpha / rank)


def _expect_scale(layer, right):
    """self.scale is the number that the output has been multiplied by."""
    scale = getattr(layer, "scale", None)
    if scale is None:
        raise Mistake("The output is right, and the layer has no scale. Keep alpha / rank as self.scale.")
    if not isinstance(scale, int | float | torch.Tensor):
        raise Mistake(f"self.scale should be a number, and is of type {type(scale).__name__}.")
    if not close(scale, right):
        raise Mistake(
            f"The output is right, and self.scale is another number. It should be alpha / rank = {right:g}: "
            "later cells read it."
        )


def _expect_no_more_to_train(layer):
    ends = ("lora_A", "lora_B")
    names = [name for name, p in layer.named_parameters() if p.requires_grad and not name.endswith(ends)]
    if names:
        raise Mistake(f"The layer trains {names[0]} along. Only A and B should learn.")


def _expect_size_of_A(A):
    """Uniform within 1 / sqrt(in): the standard deviation is 1 / sqrt(3 in)."""
    rank, n_in = A.shape
    right, own = (3 * n_in) ** -0.5, A.std().item()
    if A.mean().abs() > 0.3 * own:
        raise Mistake("The values of A have a mean far from zero: draw from -1 / sqrt(in) to 1 / sqrt(in).")
    if 0.85 < own / right < 1.15:
        return
    for message, size in (
        (
            "This is kaiming_uniform_ with its default a = 0: A is 2.4 times too large. Give it a = sqrt(5).",
            (2 / n_in) ** 0.5,
        ),
        (
            "This is the size for a matrix [n_in, rank]: kaiming_uniform_ takes the number of columns for "
            "in. Call it on lora_A itself, [rank, n_in].",
            (3 * rank) ** -0.5,
        ),
        ("This is randn over the root of the rank: A's size should depend on in alone.", rank**-0.5),
        ("These are plain normal values. kaiming_uniform_ makes them as small as nn.Linear's.", 1.0),
    ):
        if 0.85 < own / size < 1.15:
            raise Mistake(message)
    raise Mistake(
        f"A's values have a standard deviation of {own:.3f}, and should have 1 / sqrt(3 in) = {right:.3f}: "
        "nn.init.kaiming_uniform_ with a = sqrt(5)."
    )


def _expect_way_to_x(layer, n_in):
    x = torch.randn(2, n_in, requires_grad=True)
    of_x = torch.autograd.grad(layer(x).sum(), x, allow_unused=True)[0]
    if of_x is None or not of_x.any():
        raise Mistake("No gradient goes through to x: the layers below would not learn. Is x detached?")


def _expect_narrow(cls):
    layer, x = cls(256, 256, rank=2, alpha=2.0), torch.randn(3, 256, requires_grad=True)
    if saved_bytes(lambda: layer(x), layer.parameters()) > 100_000:  # B A has 262,144 bytes
        raise Mistake(
            "You form the product B A, which is as large as the matrix itself. Go from the right: A x first, "
            "then B on its r numbers."
        )


class _OwnScale(LowRankChange):
    """A wrong LowRankChange: own_scale(rank, alpha) stands in for alpha / rank."""

    own_scale = staticmethod(lambda rank, alpha: 1.0)

    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__(n_in, n_out, rank, alpha)
        self.scale = self.own_scale(rank, alpha)


def _scaled(own_scale):
    return type("Scaled", (_OwnScale,), {"own_scale": staticmethod(own_scale)})


class _Started(LowRankChange):
    """A wrong LowRankChange: start(A, B) is called at its end of __init__."""

    start = staticmethod(lambda A, B: None)

    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__(n_in, n_out, rank, alpha)
        with torch.no_grad():
            self.start(self.lora_A, self.lora_B)


def _started(start):
    return type("Started", (_Started,), {"start": staticmethod(start)})


def _only_A_zero(A, B):
    A.zero_()
    B.normal_()


def _with_forward(forward):
    """A LowRankChange with another forward(layer, x)."""
    return type("Changed", (LowRankChange,), {"forward": forward})


class _FrozenFactor(LowRankChange):
    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__(n_in, n_out, rank, alpha)
        self.lora_A.requires_grad_(False)


class _TransposedFactors(LowRankChange):
    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__(n_in, n_out, rank, alpha)
        self.lora_A, self.lora_B = nn.Parameter(self.lora_A.T.clone()), nn.Parameter(self.lora_B.T.clone())


class _PlainTensor(LowRankChange):
    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__(n_in, n_out, rank, alpha)
        A = self.lora_A.data
        del self.lora_A
        self.lora_A = A


class _WithBias(LowRankChange):
    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__(n_in, n_out, rank, alpha)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return super().forward(x) + self.bias


class _FactorsMadeAnew(LowRankChange):
    """Every call makes parameters that the optimiser does not have."""

    def forward(self, x):
        self.lora_A, self.lora_B = nn.Parameter(self.lora_A.data), nn.Parameter(self.lora_B.data)
        return super().forward(x)


class _LayersAsFactors(nn.Module):
    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__()
        self.lora_A = nn.Linear(n_in, rank, bias=False)
        self.lora_B = nn.Linear(rank, n_out, bias=False)


class _ProductAtTheStart(LowRankChange):
    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__(n_in, n_out, rank, alpha)
        self.product = self.scale * (self.lora_B @ self.lora_A).T.detach()

    def forward(self, x):
        return x @ self.product


class _AddsUp(LowRankChange):
    def forward(self, x):
        self.total = getattr(self, "total", 0) + self.scale * (self.lora_B @ self.lora_A).T
        return x @ self.total


class _ByLinear(nn.Module):
    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__()
        bound = n_in**-0.5
        self.register_parameter("lora_A", nn.Parameter((2 * torch.rand(rank, n_in) - 1) * bound))
        self.register_parameter("lora_B", nn.Parameter(torch.zeros([n_out, rank])))
        self.register_buffer("scale", torch.tensor(alpha / rank), persistent=False)

    def forward(self, x):
        return F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scale


class _ScaleKept(LowRankChange):
    """A LowRankChange with a right output that keeps keep(rank, alpha) as its scale."""

    keep = staticmethod(lambda rank, alpha: None)

    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__(n_in, n_out, rank, alpha)
        self.own, self.scale = alpha / rank, self.keep(rank, alpha)

    def forward(self, x):
        return self.own * (x @ self.lora_A.T @ self.lora_B.T)


def _scale_kept(keep):
    return type("ScaleKept", (_ScaleKept,), {"keep": staticmethod(keep)})


class _NeverFilled(LowRankChange):
    """The factor of that name is left as torch.empty gives it."""

    factor = "lora_A"

    def __init__(self, n_in, n_out, rank=16, alpha=32.0):
        super().__init__(n_in, n_out, rank, alpha)
        setattr(self, self.factor, nn.Parameter(torch.empty(getattr(self, self.factor).shape)))


class _NeverFilledB(_NeverFilled):
    factor = "lora_B"


def _drawn_transposed(A, B):
    A.copy_(nn.init.kaiming_uniform_(torch.empty(A.T.shape), a=5**0.5).T)


_by_einsum = _with_forward(
    lambda layer, x: layer.scale * torch.einsum("...i,ri,or->...o", x, layer.lora_A, layer.lora_B)
)
LOW_RANK_WRONG = [
    (_scaled(lambda rank, alpha: 1.0), "scale is missing"),
    (_scaled(lambda rank, alpha: alpha), "not divided by the rank"),
    (_scaled(lambda rank, alpha: alpha / rank**0.5), "root of the rank. Here"),
    (_scaled(lambda rank, alpha: rank / alpha), "upside down"),
    (_scaled(lambda rank, alpha: (alpha / rank) ** 2), "comes in twice"),
    (_scaled(lambda rank, alpha: -alpha / rank), "taken off"),
    (_scaled(lambda rank, alpha: alpha // rank), "rounded down"),
    (_scaled(lambda rank, alpha: nn.Parameter(torch.tensor(alpha / rank))), "trains scale along"),
    (_scaled(lambda rank, alpha: 7.0), "alpha / rank times x A^T B^T"),
    (_scale_kept(lambda rank, alpha: None), "the layer has no scale"),
    (_scale_kept(lambda rank, alpha: alpha), "self.scale is another number"),
    (_scale_kept(lambda rank, alpha: 1.0), "self.scale is another number"),
    (_scale_kept(lambda rank, alpha: lambda: alpha / rank), "self.scale should be a number"),
    (_NeverFilled, "lora_A is never filled"),
    (_NeverFilledB, "lora_B is never filled"),
    (_started(lambda A, B: B.normal_()), "B is not zero"),
    (_started(lambda A, B: A.zero_()), "both zero"),
    (_started(_only_A_zero), "A is zero and B is not"),
    (_started(lambda A, B: A.fill_(0.1)), "All values of a factor are the same"),
    (_started(lambda A, B: A.normal_()), "plain normal values"),
    (_started(lambda A, B: A.normal_().div_(len(A) ** 0.5)), "over the root of the rank"),
    (_started(lambda A, B: nn.init.kaiming_uniform_(A)), "default a = 0"),
    (_started(_drawn_transposed), "a matrix [n_in, rank]"),
    (_started(lambda A, B: A.uniform_(0, 0.1)), "mean far from zero"),
    (_started(lambda A, B: A.mul_(1.7)), "standard deviation of"),
    (_FrozenFactor, "lora_A is frozen"),
    (_TransposedFactors, "lora_A should have the shape [2, 7]"),
    (_PlainTensor, "not an nn.Parameter"),
    (_LayersAsFactors, "is a layer of its own"),
    (_WithBias, "trains bias along"),
    (_FactorsMadeAnew, "lora_A gets no gradient"),
    (_ProductAtTheStart, "have no effect"),
    (_AddsUp, "Two calls with the same x"),
    (WithoutGraph, "no graph"),
    (_with_forward(lambda s, x: s.scale * (x @ s.lora_A.detach().T) @ s.lora_B.T), "lora_A gets no gradient"),
    (_with_forward(lambda s, x: s.scale * (x @ s.lora_A.T) @ s.lora_B.data.T), "lora_B gets no gradient"),
    (_with_forward(lambda s, x: s.scale * (x.detach() @ s.lora_A.T) @ s.lora_B.T), "through to x"),
    (_with_forward(lambda s, x: x @ (s.scale * s.lora_B @ s.lora_A).T), "You form the product"),
    (_with_forward(lambda s, x: s.scale * (x.flatten(0, -2) @ s.lora_A.T) @ s.lora_B.T), "should have the"),
    (_with_forward(lambda s, x: None), "Is there a return?"),
]

# ------------------------------------------------------------------------------------ LoRALinear


def _linear_layers():
    """nn.Linear and Conv1D, oblong and square, with filled biases and without."""
    layers = [nn.Linear(7, 5), Conv1D(5, 7), Conv1D(4, 4), nn.Linear(4, 4, bias=False)]
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    return layers


def _check_lora_linear(cls):
    for original in _linear_layers():
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
    _filled(layer)
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
    _expect_no_more_to_train(layer)


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

# ------------------------------------------------------------------------------------ apply_lora


def _tiny_gpt2():
    return untrained_gpt2(n_layer=2, n_head=2, n_embd=16, vocab_size=32, n_positions=16)


IDS = torch.tensor([[3, 14, 15, 9, 26, 5]])


def _logits(model):
    with torch.no_grad():
        return model(IDS).logits


def _check_apply_lora(fn):
    _expect_applied(fn, ["c_attn"], rank=2, alpha=6.0)
    _expect_applied(fn, ["attn.c_proj"], rank=3, alpha=12.0)
    _expect_applied(fn, None, rank=1, alpha=4.0)
    try:
        fn(_tiny_gpt2(), 2, 4.0, ["W_q"], LoRALinear)
    except ValueError:
        return
    raise Mistake(
        "A name that no layer has should be an error: find_targets(model, target_modules) raises it."
    )


def _expect_applied(fn, targets, rank, alpha):
    model, made, right = _tiny_gpt2(), [], (rank, alpha)
    wanted = {name: model.get_submodule(name) for name in find_targets(model, targets)}
    before = _logits(model)

    def wrapper(layer, rank=16, alpha=32.0):
        made.append(layer)
        if (rank, alpha) != right:
            raise Mistake(f"wrapper should get (rank, alpha) = {right}, and got {(rank, alpha)}.")
        return LoRALinear(layer, rank, alpha)

    result = fn(model, rank=rank, alpha=alpha, target_modules=targets, wrapper=wrapper)
    found = wrapped_layers(model)
    if result is None:
        raise Mistake("Return the model.")
    if result is not model:
        raise Mistake("Change the model that is given, in place, and return it: this one is another.")
    if not made:
        raise Mistake("Call wrapper, the last argument: wrapper(layer, rank, alpha) makes the new layer.")
    _expect_places(found, wanted)
    if any(model.get_submodule(name) is not layer for name, layer in found.items()):
        raise Mistake(
            f"The new layer stands beside the model's tree, under the long name {next(iter(found))!r}: the "
            "model still calls the old one, so the adapter never learns. Set the child of the parent."
        )
    _expect_what_learns(model)
    if not torch.equal(_logits(model), before):
        raise Mistake("The model gives other logits than before, though every B is zero.")
    for layer in found.values():
        _filled(layer)
    if torch.equal(_logits(model), before):
        raise Mistake("The wrapped layers have no effect: with other A and B the logits are the same.")


def _expect_places(found, wanted):
    if not found:
        raise Mistake(
            "The model has no wrapped layer. `layer = wrapper(...)` gives a name in your function another "
            "value; the model keeps its layer. setattr(parent, child, new) puts the new one in its place."
        )
    twice = [name for name in found if name.endswith(".original")]
    if twice:
        raise Mistake(f"{twice[0]} is wrapped inside a wrapped layer: every target is to be wrapped once.")
    if missing := [name for name in wanted if name not in found]:
        raise Mistake(
            f"{missing[0]} is not wrapped. find_targets(model, target_modules) gives all the names."
        )
    if more := [name for name in found if name not in wanted]:
        raise Mistake(
            f"{more[0]} is wrapped and is no target: find_targets(model, target_modules) says which."
        )
    if any(found[name].original is not layer for name, layer in wanted.items()):
        raise Mistake("A wrapped layer holds another layer than the one that stood in its place.")


def _expect_what_learns(model):
    factors = {n: p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))}
    if not all(p.requires_grad for p in factors.values()):
        raise Mistake(
            "A and B are frozen: requires_grad_(False) on the whole model comes after the wrapping and meets "
            "them too. Freeze first, then wrap."
        )
    rest = [name for name, p in model.named_parameters() if p.requires_grad and name not in factors]
    if rest:
        raise Mistake(f"{rest[0]} would be trained along. Freeze the whole model before you wrap.")


def _applied(names=find_targets, freeze_first=True, freeze_last=False, put=setattr, arguments=None):
    """A wrong apply_lora, each of whose steps can be another one."""

    def wrong(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
        targets = names(model, target_modules)
        if freeze_first:
            model.requires_grad_(False)
        for name in targets:
            parent, _, child = name.rpartition(".")
            layer = model.get_submodule(name)
            new = wrapper(layer, *(arguments(rank, alpha) if arguments else (rank, alpha)))
            put(model.get_submodule(parent), child, new)
        if freeze_last:
            model.requires_grad_(False)
        return model

    return wrong


def _by_substring(model, target_modules):
    parts = ["c_attn", "c_proj", "c_fc"] if target_modules is None else [t[-6:] for t in target_modules]
    find_targets(model, target_modules)
    return [name for name, _ in model.named_modules() if any(part in name for part in parts)]


def _copied_model(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    return apply_lora(copy.deepcopy(model), rank, alpha, target_modules, wrapper)


def _nothing_returned(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    apply_lora(model, rank, alpha, target_modules, wrapper)


def _own_class(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    return apply_lora(model, rank, alpha, target_modules, LoRALinear)


def _twice(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    return apply_lora(
        model, rank, alpha, target_modules, lambda layer, *rest: wrapper(_inner(wrapper(layer, *rest)), *rest)
    )


def _inner(layer):
    """A wrapped layer that passes for the nn.Linear or Conv1D in it."""
    layer.in_features, layer.out_features = layer_sizes(layer.original)
    return layer


def _noisy(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    apply_lora(model, rank, alpha, target_modules, wrapper)
    for layer in wrapped_layers(model).values():
        nn.init.normal_(layer.change.lora_B)
    return model


def _copied_layers(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    return apply_lora(
        model, rank, alpha, target_modules, lambda layer, *rest: wrapper(copy.deepcopy(layer), *rest)
    )


def _no_lookup(model, target_modules):
    modules = dict(model.named_modules())
    if target_modules is None:
        return find_targets(model)
    return [name for name in modules if name.endswith(tuple(target_modules))]


def _by_children(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    targets = [model.get_submodule(name) for name in find_targets(model, target_modules)]
    for parameter in model.parameters():
        parameter.requires_grad = False
    for parent in list(model.modules()):
        for child, layer in list(parent.named_children()):
            if any(layer is target for target in targets):
                setattr(parent, child, wrapper(layer, rank, alpha))
    return model


def _unfrozen_by_name(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    for name in find_targets(model, target_modules):
        *way, child = name.split(".")
        parent = model
        for part in way:
            parent = getattr(parent, part)
        parent._modules[child] = wrapper(getattr(parent, child), rank=rank, alpha=alpha)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return model


def _under_the_long_name(model, rank=16, alpha=32.0, target_modules=None, wrapper=LoRALinear):
    names = find_targets(model, target_modules)
    model.requires_grad_(False)
    for name in names:
        setattr(model, name, wrapper(model.get_submodule(name), rank, alpha))
    return model


APPLY_LORA_WRONG = [
    (_applied(freeze_first=False), "would be trained along"),
    (_applied(freeze_first=False, freeze_last=True), "A and B are frozen"),
    (_applied(put=lambda parent, child, new: None), "has no wrapped layer"),
    (_applied(names=_by_substring), "is no target"),
    (_applied(names=lambda model, targets: find_targets(model, targets)[:1]), "is not wrapped"),
    (_applied(names=lambda model, targets: find_targets(model)), "is no target"),
    (_applied(names=_no_lookup), "A name that no layer has"),
    (_applied(arguments=lambda rank, alpha: ()), "and got (16, 32.0)"),
    (_applied(arguments=lambda rank, alpha: (alpha, rank)), "and got (6.0, 2)"),
    (_applied(arguments=lambda rank, alpha: (rank,)), "and got (2, 32.0)"),
    (_copied_model, "Change the model that is given"),
    (_nothing_returned, "Return the model"),
    (_own_class, "Call wrapper, the last argument"),
    (_twice, "wrapped inside a wrapped layer"),
    (_noisy, "other logits than before"),
    (_copied_layers, "holds another layer"),
    (_under_the_long_name, "so the adapter never learns"),
]

# ------------------------------------------------------------------------------------ merge_lora


class _Chain(nn.Module):
    """Wrapped layers one after the other, filled as after training, in a module of their own."""

    def __init__(self, *layers):
        super().__init__()
        self.block = nn.Module()
        self.block.layers = nn.ModuleList(_filled(LoRALinear(layer, 2, 6.0)) for layer in layers)

    def forward(self, x):
        for layer in self.block.layers:
            x = layer(x)
        return x


def _check_merge_lora(fn):
    oblong, conv1d, square_conv1d, square = _linear_layers()
    _expect_merged(fn, _Chain(square_conv1d))
    _expect_merged(fn, _Chain(square))
    _expect_merged(fn, _Chain(oblong, nn.Linear(5, 7), conv1d))


def _expect_merged(fn, model):
    originals = [layer.original for layer in model.block.layers]
    x = torch.randn(3, layer_sizes(model.block.layers[0].original)[0])
    two_paths = model(x).detach()
    before = [(_weight_of(layer).clone(), _change_of(layer)) for layer in model.block.layers]
    fn(model)
    for layer, (old, change) in zip(model.block.layers, before, strict=True):
        _expect_merged_weight(layer, old, change)
    output = expect_tensor(model(x), two_paths.shape, "the merged model's output")
    if not close(output, two_paths, 1e-4):
        if wrapped_layers(model):
            raise Mistake(
                "The changes are in the weights and are still added beside them, so they count twice. Put "
                "each original back in its place."
            )
        raise Mistake("The weights are merged, and the model's output is another than with two paths.")
    for layer, original in zip(model.block.layers, originals, strict=True):
        if type(layer) is not type(original):
            raise Mistake(
                f"The output is right, and a {type(layer).__name__} still stands where the "
                f"{type(original).__name__} was. Merged, the model has its old layers: put each original "
                "back with setattr."
            )


def _weight_of(layer):
    return getattr(layer, "original", layer).weight


def _change_of(layer):
    """The change of a wrapped layer, in the layout of its weight."""
    delta = (layer.change.scale * layer.change.lora_B @ layer.change.lora_A).detach()
    return delta.T if isinstance(layer.original, Conv1D) else delta


def _expect_merged_weight(layer, old, change):
    weight = expect_tensor(_weight_of(layer), old.shape, "the merged weight")
    if weight.grad_fn is not None:
        raise Mistake("The merged weight hangs on the graph of A and B: detach the change before you add it.")
    moved = weight.detach() - old
    if close(moved, change):
        return
    if close(moved.T, change):
        kind = type(getattr(layer, "original", layer)).__name__
        raise Mistake(
            f"The change of the square {kind} lies the other way round, and no error tells you. B A is "
            "[out, in]; an nn.Linear keeps its weight like that, a Conv1D as [in, out]."
        )
    for message, wrong in (
        ("The weight is the old one: nothing was merged into it.", 0 * change),
        ("The scale is missing: what is added is scale * B A.", change / 3.0),
        ("The scale is in the change twice.", 3.0 * change),
        ("The change was added twice.", 2 * change),
        ("The change is taken off. Add it to the weight.", -change),
        ("The change stands in the weight's place. Add it to the weight.", change - old),
    ):
        if close(moved, wrong):
            raise Mistake(message)
    raise Mistake("The merged weight should be the old one plus scale * B A, in the weight's layout.")


def _merged(change=_change_of, put_back=True, layers=wrapped_layers):
    """A wrong merge_lora: change(layer) is added."""

    def wrong(model):
        for name, layer in layers(model).items():
            layer.original.weight.data += change(layer)
            parent, _, child = name.rpartition(".")
            if put_back:
                setattr(model.get_submodule(parent), child, layer.original)

    return wrong


def _replaced(model):
    _merged(lambda layer: _change_of(layer) - layer.original.weight)(model)


def _with_graph(model):
    for layer in wrapped_layers(model).values():
        change = layer.change.scale * layer.change.lora_B @ layer.change.lora_A
        layer.original.weight.add_(change.T if isinstance(layer.original, Conv1D) else change)


def _only_the_first(model):
    _merged(layers=lambda model: dict(list(wrapped_layers(model).items())[:1]))(model)


def _bias_lost(model):
    merge_lora(model)
    for layer in model.block.layers:
        if layer.bias is not None:
            layer.bias.data.zero_()


def _put_back_under_the_long_name(model):
    _merged(put_back=False)(model)
    for name, layer in wrapped_layers(model).items():
        setattr(model, name, layer.original)


def _zero_instead(model):
    """The change is in the weight and zero beside it: the output is right, the layer still wrapped."""
    _merged(put_back=False)(model)
    for layer in wrapped_layers(model).values():
        layer.change.lora_B.data.zero_()


def _by_the_shape(layer):
    """B A, turned only where the shape asks for it."""
    delta = (layer.change.scale * layer.change.lora_B @ layer.change.lora_A).detach()
    return delta if delta.shape == layer.original.weight.shape else delta.T


def _scale_from_memory(model):
    _merged(lambda layer: _change_of(layer) / layer.change.scale * 2.0)(model)


def _by_eye(model):
    """What the change makes of the unit vectors is its matrix, [in, out]."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoRALinear):
            with torch.no_grad():
                change = layer.change(torch.eye(layer.change.lora_A.shape[1]))
                weight = layer.original.weight
                weight.add_(change if isinstance(layer.original, Conv1D) else change.T)
            model.set_submodule(name, layer.original)


def _new_layers(model):
    for layer in wrapped_layers(model).values():
        new = layer.original.weight.detach() + _change_of(layer)
        layer.original.weight = nn.Parameter(new, requires_grad=False)
    for name, layer in wrapped_layers(model).items():
        parent, child = name.rsplit(".", 1)
        model.get_submodule(parent)._modules[child] = layer.original


MERGE_LORA_WRONG = [
    (_merged(lambda layer: _change_of(layer).T), "square Conv1D lies the other way round"),
    (
        _merged(lambda s: _change_of(s) if isinstance(s.original, Conv1D) else _change_of(s).T),
        "square Linear lies the other way round",
    ),
    (
        _merged(lambda layer: layer.change.scale * (layer.change.lora_B @ layer.change.lora_A)),
        "square Conv1D",
    ),
    (_merged(lambda layer: 0 * _change_of(layer)), "nothing was merged"),
    (lambda model: None, "nothing was merged"),
    (_merged(lambda layer: _change_of(layer) / layer.change.scale), "scale is missing"),
    (_merged(lambda layer: _change_of(layer) * layer.change.scale), "scale is in the change twice"),
    (_merged(lambda layer: 2 * _change_of(layer)), "added twice"),
    (_merged(lambda layer: -_change_of(layer)), "taken off"),
    (_replaced, "stands in the weight's place"),
    (_scale_from_memory, "should be the old one plus"),
    (_with_graph, "hangs on the graph"),
    (_merged(_by_the_shape), "square Conv1D lies the other way round"),
    (_merged(put_back=False), "count twice"),
    (_put_back_under_the_long_name, "Put each original back"),
    (_zero_instead, "still stands where the Conv1D was"),
    (_only_the_first, "nothing was merged"),
    (_bias_lost, "output is another"),
]

# --------------------------------------------------------------------- bug hunt: it never learns


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
    trained = _filled(LoRALinear(Conv1D(4, 5), 2, 4.0))
    by_data = LoRALinear(Conv1D(4, 5), 2, 4.0, _DetachedData)
    A_zero = _filled(LoRALinear(Conv1D(4, 5), 2, 4.0))
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

# --------------------------------------------------------------- bug hunt: the merge that is lost


def merge_fault(before, after, change):
    """What was done to a weight when `change` was to be added: right, missing, transposed or wrong size."""
    moved = after - before
    for name, wanted in (("right", change), ("missing", 0 * change), ("transposed", change.T)):
        if torch.allclose(moved, wanted, atol=1e-5):
            return name
    return "wrong size"


def _merges():
    """(before, after, change) of square weights: one for each verdict, and cases that look like another.

    The ranks of a change are added one after the other: the sum is rounded in another way than before +
    change. The default of allclose goes by the size of a number. In row 0 the sum is small, in row 1 the
    weight before, and what is added is large: there the rounding is more than the default allows.
    The last four: only rows 0 to 2 are merged, only the diagonal is, and small changes, one of them missing.
    """
    n = 24
    B, A = 0.1 * torch.randn(n, 2), torch.randn(2, n)
    B[:2] *= 30
    change = B @ A
    before = 3 * torch.randn(n, n)
    before[:2] *= 3e-4
    before[0] -= change[0]

    def merged(B, A):
        after = before.clone()
        for k in range(2):
            after += torch.outer(B[:, k], A[k])
        return after

    stopped, diagonal = merged(B, A), before + change.diagonal().diag()
    stopped[3:] = before[3:]
    weight, small = torch.randn(n, n), 1e-3 * torch.randn(n, n)
    return [
        (before, merged(B, A), change),
        (before, merged(A.T, B.T), change),
        (before, before.clone(), change),
        (before, merged(2 * B, A), change),
        (before, merged(B, A) + change.T, change + change.T),
        (before, merged(-B, A), change),
        (before, merged(0.01 * A.T, B.T), change),
        (before, stopped, change),
        (before, diagonal, change),
        (weight, weight + small, small),
        (weight, weight.clone(), small),
    ]


def _merge_fault(same, order=("right", "missing", "transposed")):
    """A wrong merge_fault: same(moved, wanted) decides, in that order."""

    def wrong(before, after, change):
        cases = {"right": change, "missing": 0 * change, "transposed": change.T}
        moved = after - before
        return next((name for name in order if same(moved, cases[name])), "wrong size")

    return wrong


def _by_norms(moved, wanted):
    return abs(moved.norm() - wanted.norm()) < 1e-3 * moved.norm() + 1e-6


def _by_direction(moved, wanted):
    if not wanted.any():
        return moved.norm() < 1e-6
    return F.cosine_similarity(moved.flatten(), wanted.flatten(), 0) > 0.999


def _by_distance(before, after, change):
    size = change.norm()
    distances = {
        "right": (after - before - change).norm(),
        "missing": (after - before).norm(),
        "transposed": (after - before - change.T).norm(),
    }
    name, distance = min(distances.items(), key=lambda item: item[1])
    return name if distance < 1e-3 * size else "wrong size"


def _by_sums(before, after, change, **tolerances):
    for name, wanted in (("missing", before), ("right", before + change), ("transposed", before + change.T)):
        if torch.allclose(after, wanted, **tolerances):
            return name
    return "wrong size"


def _by_taking_off(before, after, change):
    for name, wanted in (("missing", 0 * change), ("right", change), ("transposed", change.T)):
        if torch.allclose(after - wanted, before):
            return name
    return "wrong size"


def _by_close_sums(before, after, change):
    return _by_sums(before, after, change, atol=1e-5)


def _by_row_0(moved, wanted):
    return torch.allclose(moved[0], wanted[0], atol=1e-5)


def _loosely(moved, wanted):
    return torch.allclose(moved, wanted, atol=1e-2)


def _by_diagonal(before, after, change):
    moved = after - before
    if torch.allclose(moved, 0 * change, atol=1e-5):
        return "missing"
    if not torch.allclose(moved.diagonal(), change.diagonal(), atol=1e-5):
        return "wrong size"
    return "right" if torch.allclose(moved, change, atol=1e-5) else "transposed"


TOO_LOOSE = (
    "You allow too large a difference: a change of about 0.001 and no change at all look the same. atol=1e-5 "
    "is enough."
)
TOO_STRICT = (
    "Floating-point numbers are rounded when they are added: allow a small difference, more than "
    "torch.allclose does by default. atol=1e-5 is enough."
)
MERGE_FAULT_MISTAKES = [
    (
        "The size is right in a transposed change too: compare the values, not the norms.",
        _merge_fault(_by_norms),
    ),
    (
        "The direction is right in a change of the wrong size too: compare the values.",
        _merge_fault(_by_direction),
    ),
    (
        "Take the weight from before the merge off first: what was added is after - before.",
        lambda before, after, change: merge_fault(0 * before, after, change),
    ),
    (
        "What was added is after - before, not before - after.",
        lambda before, after, change: merge_fault(after, before, change),
    ),
    (TOO_STRICT, _merge_fault(torch.equal)),
    (TOO_STRICT, _by_sums),
    (TOO_LOOSE, _merge_fault(_loosely)),
    (TOO_LOOSE, _merge_fault(_loosely, order=("missing", "right", "transposed"))),
    (
        "Row 0 alone is compared. A merge may stop half way: compare all of after - before.",
        _merge_fault(_by_row_0),
    ),
    (
        "What has the diagonal of the change need not be the change or its transpose: compare all of it with "
        "change.T too.",
        _by_diagonal,
    ),
    (
        "A change that is its own transpose is merged rightly: ask whether it is right before whether "
        "it is transposed.",
        _merge_fault(close, order=("missing", "transposed", "right")),
    ),
    (
        "A weight that did not move is 'missing', a change of another size is not.",
        lambda before, after, change: (
            verdict if (verdict := merge_fault(before, after, change)) != "wrong size" else "missing"
        ),
    ),
]

# ------------------------------------------------------------------------ the gradients by hand


def lora_gradients(x, grad, A, B, scale):
    """Gradients of A [r, in] and B [out, r] for y = W x + scale * B A x; x [n, in], grad of y [n, out]."""
    low = x @ A.T  # (n, r)
    grad_low = grad @ B  # (n, r)
    return scale * grad_low.T @ x, scale * grad.T @ low


def _layer(n, n_in, n_out, rank, scale):
    shapes = (n, n_in), (n, n_out), (rank, n_in), (n_out, rank)
    return *(torch.randn(shape) for shape in shapes), scale


def _layers():
    """Three layers; in the second everything is square, so that no shape tells a transpose."""
    return [_layer(6, 5, 4, 2, 3.0), _layer(3, 3, 3, 3, 0.5), _layer(4, 2, 7, 1, -1.5)]


def _untrained():
    x, grad, A, B, scale = _layer(3, 4, 2, 2, 2.0)
    return [(x, grad, A, torch.zeros_like(B), scale)]


def _gradients(fault):
    """A wrong lora_gradients: fault(right gradients and what they are made of)."""

    def wrong(x, grad, A, B, scale):
        return fault(*lora_gradients(x, grad, A, B, scale), x, grad, A, B, scale)

    return wrong


def _gradients_in_place(x, grad, A, B, scale):
    grad *= scale
    return lora_gradients(x, grad, A, B, 1.0)


def _over_the_norm_of_B(x, grad, A, B, scale):
    of_A, of_B = lora_gradients(x, grad, A, B, scale)
    return of_A / B.norm() * B.norm(), of_B


def _by_einsum_of_both(x, grad, A, B, scale):
    of_A = scale * torch.einsum("no,or,ni->ri", grad, B, x)
    return [of_A, scale * torch.einsum("no,ni,ri->or", grad, x, A)]


def _by_autograd(x, grad, A, B, scale):
    A, B = A.detach().clone().requires_grad_(), B.detach().clone().requires_grad_()
    with torch.enable_grad():
        change = scale * (x @ A.T) @ B.T
    return torch.autograd.grad(change, (A, B), grad_outputs=grad)


def _from_the_gradient_of_W(x, grad, A, B, scale):
    of_W = scale * grad.mT @ x
    return B.mT @ of_W, of_W @ A.mT


BOTH_SCALES = "The scale is missing in the gradient of A and in that of B: y depends on both through it."
ADD_UP = (
    "divided by the number of rows. The rows' parts add up: a mean, if there is one, is in `grad` already."
)
LORA_GRADIENT_MISTAKES = [
    (BOTH_SCALES, _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / scale, of_B / scale))),
    (
        "The scale is missing in the gradient of A.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / scale, of_B)),
    ),
    (
        "The scale is missing in the gradient of B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B / scale)),
    ),
    (
        "The scale is in both gradients twice.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (scale * of_A, scale * of_B)),
    ),
    (
        "The scale is in the gradient of A twice.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (scale * of_A, of_B)),
    ),
    (
        "The scale is in the gradient of B twice.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, scale * of_B)),
    ),
    (
        "A and B are swapped: the gradient of A comes first.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_B, of_A)),
    ),
    (
        "Both are transposed. A gradient has the shape of its parameter: [r, in] and [out, r].",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A.T, of_B.T)),
    ),
    (
        "The gradient of A is transposed. A gradient has the shape of its parameter: [r, in].",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A.T, of_B)),
    ),
    (
        "The gradient of B is transposed. A gradient has the shape of its parameter: [out, r].",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B.T)),
    ),
    (
        f"Both gradients are {ADD_UP}",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / len(x), of_B / len(x))),
    ),
    (
        f"The gradient of A is {ADD_UP}",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / len(x), of_B)),
    ),
    (
        f"The gradient of B is {ADD_UP}",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B / len(x))),
    ),
    (
        "Both have the wrong sign. The optimiser goes against the gradient by itself.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (-of_A, -of_B)),
    ),
    (
        "The first is the gradient of W. A stands before B: its gradient comes back through B, grad B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (scale * grad.T @ x, of_B)),
    ),
    (
        "The second is the gradient of W. What goes into B is not x but low = x A^T.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, scale * grad.T @ x)),
    ),
    (
        "Return two tensors: the gradient of A and the gradient of B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: of_A),
    ),
    (
        "Return two tensors: the gradient of A and the gradient of B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: of_B),
    ),
]

EXERCISES = [
    Exercise(
        name="LowRankChange",
        lesson="03",
        minutes=8,
        difficulty=2,
        reference=LowRankChange,
        check=_check_low_rank_change,
        wrong=LOW_RANK_WRONG,
        right=[_ByLinear, _by_einsum],
        hints=(
            "Two parameters and a number. B starts at zero, A as kaiming_uniform_ draws it, and the scale is "
            "alpha over the rank. The output goes through A first, which leaves rank numbers of each token.",
            "lora_A is nn.Parameter(torch.empty(rank, n_in)), lora_B nn.Parameter(torch.zeros(n_out, rank)); "
            "nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5)). x @ lora_A.T is [..., rank]; that @ "
            "lora_B.T is [..., n_out]; times alpha / rank.",
        ),
        then="Your class makes every change that is trained below. Run the next cells again.",
    ),
    Exercise(
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
    ),
    Exercise(
        name="apply_lora",
        lesson="03",
        minutes=7,
        difficulty=2,
        reference=apply_lora,
        check=_check_apply_lora,
        wrong=APPLY_LORA_WRONG,
        right=[_by_children, _unfrozen_by_name],
        hints=(
            "Three things in this order: find the names, freeze the whole model, put a wrapped layer in the "
            "place of each. What is wrapped after the freezing is not frozen by it.",
            'For name = "transformer.h.0.attn.c_attn" the parent is "transformer.h.0.attn" and the child '
            '"c_attn": parent, _, child = name.rpartition("."). Then setattr(model.get_submodule(parent), '
            "child, wrapper(model.get_submodule(name), rank, alpha)).",
        ),
        then="Your function prepares every model that is trained below. Run the next cells again.",
    ),
    Exercise(
        name="merge_lora",
        lesson="03",
        minutes=8,
        difficulty=3,
        reference=merge_lora,
        check=_check_merge_lora,
        wrong=MERGE_LORA_WRONG,
        right=[_by_eye, _new_layers],
        hints=(
            "Of each wrapped layer: form scale * B A, turn it where the original is a Conv1D, add it to the "
            "original's weight, and put the original back as apply_lora put the wrapper in.",
            "scale * B @ A is [out, in]. nn.Linear keeps [out, in], Conv1D [in, out], so a Conv1D gets the "
            "transpose. detach() it, and add it with layer.original.weight.data += delta. Then "
            "setattr(model.get_submodule(parent), child, layer.original).",
        ),
        then="Your function merges the model that you trained, and mends the one that was lost. Run the "
        "next cells again.",
    ),
    Exercise(
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
    ),
    Exercise(
        name="merge_fault",
        lesson="03",
        minutes=7,
        difficulty=2,
        reference=merge_fault,
        check=compare(
            merge_fault,
            _merges,
            MERGE_FAULT_MISTAKES,
            else_="Compare after - before with the change, with zero, and with the change's transpose.",
        ),
        wrong=[
            (lambda before, after, change: None, "Is there a return?"),
            (lambda before, after, change: after - before, "should be of type str"),
            (_merge_fault(torch.allclose), "more than torch.allclose does by default"),
            (_by_taking_off, "more than torch.allclose does by default"),
        ],
        right=[_by_distance, _by_close_sums],
        hints=(
            "Subtract: what was really added is after - before. It is the change, or nothing, or the change "
            "turned round, or something else.",
            'moved = after - before. torch.allclose(moved, change, atol=1e-5): "right"; with 0 * change: '
            '"missing"; with change.T: "transposed"; else "wrong size". The order matters.',
        ),
        then="The next cell asks it of the layers of the lost model: run it again.",
    ),
    Exercise(
        name="lora_gradients",
        lesson="03",
        minutes=12,
        difficulty=3,
        reference=lora_gradients,
        check=compare(
            lora_gradients,
            _layers,
            LORA_GRADIENT_MISTAKES,
            else_="With low = x A^T, the output's change is scale * low B^T: the gradient of B needs low, "
            "that of A needs grad B.",
            extremes=[("With B = 0 the gradient of A should be 0: it reaches A only through B.", _untrained)],
        ),
        wrong=[
            (_gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B + 1)), "of B needs low"),
            (_gradients(lambda of_A, of_B, x, grad, A, B, scale: (0 * of_A, 0 * of_B)), "of A needs grad B"),
            (_over_the_norm_of_B, "only through B"),
            (_gradients_in_place, "changes its argument grad in place"),
            (lambda x, grad, A, B, scale: (scale * x.T @ grad @ A, scale * grad.T @ x), "Your code stopped"),
            (lambda x, grad, A, B, scale: None, "Is there a return?"),
        ],
        right=[_by_einsum_of_both, _by_autograd, _from_the_gradient_of_W],
        hints=(
            "Go through the layer in two steps, low = x A^T and change = scale * low B^T. Each is a "
            "matrix product, and for y = x M^T the gradients are grad^T x for M and grad M for x. W is "
            "not needed: it is frozen.",
            "low = x @ A.T is [n, r]. Gradient of B: scale * grad.T @ low, [out, r]. Back through B: "
            "grad @ B is [n, r]; gradient of A: scale * (grad @ B).T @ x, [r, in].",
        ),
        then="The next cell puts your gradients of the layer above beside those of autograd: run it again.",
    ),
]
