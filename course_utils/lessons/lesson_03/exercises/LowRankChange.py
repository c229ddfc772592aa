"""Lesson 03, LowRankChange: the change of one matrix."""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.checks.compare import Mistake, close, expect_gradients, expect_tensor
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_03.exercises.shared import expect_no_more_to_train, filled
from course_utils.lessons.lesson_03.small_lora import LowRankChange
from course_utils.lessons.lesson_03.suspects import WithoutGraph
from course_utils.memory import saved_bytes


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
    expect_no_more_to_train(layer)
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
    filled(layer)
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

EXERCISE = Exercise(
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
)
