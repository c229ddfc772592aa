"""Comparing a learner's function with the course's solution, and naming its mistake.

`compare` makes the check of an exercise on tensors or numbers. `expect_tensor`, `expect_gradients`,
`unchanged` and `close` are for checks written by hand. Every fault is raised as a Mistake.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import nn

FLOOR = 5e-7  # differences below this are rounding, whatever the scale of the numbers


class Mistake(AssertionError):
    """A mistake of the learner's function, described for the learner; raised by an exercise's check."""


@dataclass(frozen=True)
class Call:
    """Arguments of one call, made by `call`."""

    arguments: tuple
    options: dict


def call(*arguments: Any, **options: Any) -> Call:
    """One input of `compare`, with keyword arguments: call(2.0, clip=0.1)."""
    return Call(arguments, options)


def compare(
    reference: Callable,
    inputs: Callable[[], Sequence] | Sequence,
    mistakes: Sequence[tuple[str, Callable]],
    else_: str = "",
    gradient: Sequence[str] = (),
    extremes: Sequence[tuple[str, Callable[[], Sequence] | Sequence]] = (),
    tolerance: float = 1e-5,
    any_list: bool = False,
) -> Comparison:
    """The check of an exercise: compares the learner's function with `reference` on `inputs`.

    inputs: at least two, of different sizes: argument tuples or `call(...)`, or a function that draws them.
    mistakes: (message, wrong function). A message is shown if the learner's result equals the wrong
    function's on every input where that differs from the reference. The tests feed these functions.
    else_: shown before the first difference if no mistake matches.
    gradient: the reference's names of the arguments whose gradients must agree too.
    extremes: (message, inputs), checked in order once all `inputs` are right.
    any_list: the result is a list of numbers, and an array, a tensor or a set of them will do.
    """
    groups = [(else_, inputs), *extremes]
    return Comparison(reference, groups, list(mistakes), tuple(gradient), tolerance, any_list)


@dataclass(frozen=True)
class Comparison:
    """A check made by `compare`: called with the learner's function, it raises Mistake if that is wrong."""

    reference: Callable
    groups: list[tuple[str, Any]]
    mistakes: list[tuple[str, Callable]]
    gradient: tuple[str, ...]
    tolerance: float
    any_list: bool = False

    def __call__(self, fn: Callable) -> None:
        fn = _as_list(fn) if self.any_list else fn
        expected: list[_Run] = []
        for message, inputs in self.groups:
            calls = [_as_call(one) for one in (inputs() if callable(inputs) else inputs)]
            new = [self._run(self.reference, one) for one in calls]
            expected += new
            found = self._fault(fn, new)
            if found is not None:
                aspect, fault = found
                named = self._named(fn, aspect, expected)
                if named or not isinstance(fault, Mistake):
                    raise Mistake(f"{named}{self._example(fn, aspect, expected)}") if named else fault
                fits = aspect == "result" or message != self.groups[0][0]
                raise Mistake(f"{message} {fault}".strip() if fits else str(fault))

    def _fault(self, fn: Callable, expected: list[_Run]) -> tuple[str, Exception] | None:
        """("kind", "changed", "result" or "gradients", the error) of the first test that fails, or None."""
        runs = [(self._run(fn, right.call), right) for right in expected]
        for mine, _ in runs:
            if mine.error is not None:
                return "result", mine.error
        for aspect, test in (
            ("kind", _wrong_kind),
            ("result", _not_finite),
            ("changed", _changed),
            ("result", self._wrong_value),
            ("gradients", self._wrong_gradient),
        ):
            for mine, right in runs:
                text = test(mine, right)
                if text:
                    return aspect, Mistake(text)
        return None

    def _named(self, fn: Callable, aspect: str, expected: list[_Run]) -> str | None:
        """The message of the first mistake whose wrong outcomes the learner's function shares, or None."""
        mine = [self._run(fn, right.call) for right in expected]
        shared = (message for message, wrong in self.mistakes if self._shares(mine, wrong, aspect, expected))
        return next(shared, None)

    def _shares(self, mine: list[_Run], wrong: Callable, aspect: str, expected: list[_Run]) -> bool:
        """Whether a mistake shows, and these runs are the same wherever it does or they stopped."""
        shows = False
        for own, right in zip(mine, expected, strict=True):
            theirs = self._run(wrong, right.call)
            differs = not self._same(aspect, theirs, right)
            if (differs or own.error is not None) and not self._same(aspect, own, theirs):
                return False
            shows |= differs
        return shows

    def _example(self, fn: Callable, aspect: str, expected: list[_Run]) -> str:
        """The first small input with a wrong result, one with small results if there is one; or ""."""
        if aspect not in ("kind", "result"):
            return ""
        mine = [self._run(fn, right.call) for right in expected]
        lines = [
            _given(own, right)
            for own, right in zip(mine, expected, strict=True)
            if not self._same("result", own, right)
        ]
        return max(lines, key=lambda line: ("Expected:" in line, line != ""), default="")

    def _run(self, fn: Callable, one: Call) -> _Run:
        run = _Run(self.reference, fn, one)
        try:
            run.result, run.given = run.once()
        except Mistake:
            raise
        except Exception as error:
            if fn is self.reference:
                raise
            run.error = error
        return run

    def _same(self, aspect: str, run: _Run, other: _Run) -> bool:
        if run.error is not None or other.error is not None:
            return repr(run.error) == repr(other.error)
        if aspect == "changed":
            return run.changed() == other.changed()
        if aspect == "gradients":
            if run.changed() or other.changed() or not self._same("result", run, other):
                return False
            run, other = run.gradients(self.gradient), other.gradients(self.gradient)
        else:
            run, other = run.result, other.result
        return not wrong_kind(run, other) and first_difference(run, other, self.tolerance) is None

    def _wrong_value(self, mine: _Run, right: _Run) -> str | None:
        text = first_difference(mine.result, right.result, self.tolerance)
        return text and f"{text}{_given(mine, right, told=True)}"

    def _wrong_gradient(self, mine: _Run, right: _Run) -> str | None:
        if not self.gradient:
            return None
        if not any(_has_graph(leaf) for leaf in _leaves(mine.result_with_graph())):
            return (
                "The result has no graph, so nothing can learn from it. "
                "detach(), item(), no_grad() and torch.tensor(...) cut the graph: do without them."
            )
        gradients = mine.gradients(self.gradient)
        for name, value in right.gradients(self.gradient).items():
            own = gradients[name]
            if own is None and value is not None and value.any():
                return f"{name} gets no gradient: it was detached on the way to the result."
            if value is None and own is not None and own.any():
                return f"{name} should get no gradient, and gets one: detach it."
            text = value is not None and first_difference(
                own, value, self.tolerance, f"the gradient of {name}"
            )
            if text:
                shown = _words_of_input(right)
                line = f"\nGiven: {shown}." if shown else ""
                return f"The values are right and a gradient is not. {text}{line}"
        return None


@dataclass
class _Run:
    """One call of a function, on copies of the arguments."""

    reference: Callable
    fn: Callable
    call: Call
    result: Any = None
    given: dict = field(default_factory=dict)  # the arguments after the call, by the reference's names
    error: Exception | None = None

    def once(self, gradient: Sequence[str] = ()) -> tuple[Any, dict]:
        arguments, options = _copied(self.call.arguments), _copied(self.call.options)
        given = inspect.signature(self.reference).bind(*arguments, **options).arguments
        for name in gradient:
            given[name].requires_grad_()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # torch.manual_seed takes a millisecond without a GPU
            return self.fn(*arguments, **options), given

    def names(self) -> dict:
        return inspect.signature(self.reference).bind(*self.call.arguments, **self.call.options).arguments

    def changed(self) -> list[str]:
        """Names of the arguments that the call changed in place."""
        return [name for name, value in self.names().items() if not identical(self.given[name], value)]

    def result_with_graph(self) -> Any:
        return self.once([name for name, value in self.names().items() if _can_learn(value)])[0]

    def gradients(self, names: Sequence[str]) -> dict[str, torch.Tensor | None]:
        """Gradients of a weighted sum of the result; None for arguments the result does not depend on."""
        result, given = self.once(names)
        leaves = [leaf for leaf in _leaves(result) if _has_graph(leaf)]
        if not leaves:
            return dict.fromkeys(names)
        total = sum((leaf * torch.linspace(1, 2, leaf.numel()).view(leaf.shape)).sum() for leaf in leaves)
        wanted = [given[name] for name in names]
        return dict(zip(names, torch.autograd.grad(total, wanted, allow_unused=True), strict=True))


def _as_call(one: Any) -> Call:
    return one if isinstance(one, Call) else Call(tuple(one), {})


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if type(value) in (tuple, list):
        return type(value)(_copied(item) for item in value)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, nn.Module):  # a model's settings take longer to copy than its weights
        settings = [module.config for module in value.modules() if hasattr(module, "config")]
        return copy.deepcopy(value, {id(one): one for one in settings})
    return value if callable(value) else copy.deepcopy(value)


def _can_learn(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _has_graph(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def _leaves(value: Any) -> list:
    if isinstance(value, Mapping):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def identical(value: Any, other: Any) -> bool:
    """Equal bit for bit, nan to nan: tensors, arrays, modules (their weights) and containers of them."""
    if isinstance(other, nn.Module):
        return identical(dict(value.state_dict()), dict(other.state_dict()))
    if isinstance(other, torch.Tensor):
        return (
            value.shape == other.shape
            and torch.equal(torch.isnan(value), torch.isnan(other))
            and bool(((value == other) | torch.isnan(other)).all())
        )
    if isinstance(other, Mapping):
        return value.keys() == other.keys() and all(identical(value[key], other[key]) for key in other)
    if isinstance(other, (tuple, list)):
        return len(value) == len(other) and all(map(identical, value, other))
    if isinstance(other, np.ndarray):
        return np.array_equal(value, other)
    return value is other or value == other or other != other or callable(other)


def _is_number(value: Any) -> bool:
    """A Python number, a numpy scalar, or a tensor or array without dimensions."""
    return isinstance(value, (bool, int, float, complex, np.generic)) or getattr(value, "shape", None) == ()


def _tensor(value: Any) -> torch.Tensor:
    """A number, tensor or list of numbers as a detached double-precision tensor."""
    if not isinstance(value, torch.Tensor):
        value = torch.as_tensor(np.asarray(value))
    value = value.detach().cpu()
    return value if value.is_complex() else value.double()


def _is_whole(value: Any) -> bool:
    return not (torch.as_tensor(value).is_floating_point() or torch.as_tensor(value).is_complex())


def wrong_kind(value: Any, expected: Any, what: str = "the result") -> str | None:
    """What is wrong with type, shape or kind of number; None if nothing is.

    Numbers of Python, numpy and torch are interchangeable, and so are tuples and lists.
    """
    if value is None and expected is not None:
        return f"{what} is None. Is there a return?"
    if _is_number(expected) and not isinstance(expected, str):
        if isinstance(value, (torch.Tensor, np.ndarray)) and value.shape != ():
            return f"{what} should be one number, and has the shape {list(value.shape)}."
        if not _is_number(value):
            return f"{what} should be a number, and is of type {type(value).__name__}."
        return _wrong_numbers(value, expected, what)
    if isinstance(expected, torch.Tensor):
        try:
            expect_tensor(value, expected.shape, what)
        except Mistake as mistake:
            return str(mistake)
        return _wrong_numbers(value, expected, what)
    if isinstance(expected, Mapping):
        if not isinstance(value, Mapping):
            return f"{what} should be a dictionary, and is of type {type(value).__name__}."
        if value.keys() != expected.keys():
            right, own = sorted(map(str, expected)), sorted(map(str, value))
            return f"{what} should have the keys {right}, and has {own}."
        parts = ((value[key], expected[key], f"{what}[{key!r}]") for key in expected)
        return next(filter(None, (wrong_kind(*part) for part in parts)), None)
    if isinstance(expected, (tuple, list)):
        if not isinstance(value, (tuple, list)):
            name = type(expected).__name__
            return f"{what} should be a {name} of {len(expected)}, and is of type {type(value).__name__}."
        if len(value) != len(expected):
            return f"{what} should have {len(expected)} entries, and has {len(value)}."
        parts = ((value[i], expected[i], f"{what}[{i}]") for i in range(len(expected)))
        return next(filter(None, (wrong_kind(*part) for part in parts)), None)
    if type(value) is not type(expected):
        return f"{what} should be of type {type(expected).__name__}, and is of type {type(value).__name__}."
    return None


def _wrong_numbers(value: Any, expected: Any, what: str) -> str | None:
    value, expected = torch.as_tensor(value), torch.as_tensor(expected)
    if value.is_complex() != expected.is_complex():
        names = {True: "complex", False: "real"}
        return f"{what} should be {names[expected.is_complex()]}, and is {names[value.is_complex()]}."
    if expected.ndim and _is_whole(expected) and value.dtype != expected.dtype:
        both_whole = _is_whole(value) and torch.bool not in (value.dtype, expected.dtype)
        if not both_whole:
            return f"{what} should have the dtype {expected.dtype}, and has {value.dtype}."
    return None


def first_difference(
    value: Any, expected: Any, tolerance: float = 1e-5, what: str = "the result"
) -> str | None:
    """The first element that differs, with its index, as a sentence; None if all agree."""
    if isinstance(expected, Mapping):
        parts = ((value[key], expected[key], tolerance, f"{what}[{key!r}]") for key in expected)
        return next(filter(None, (first_difference(*part) for part in parts)), None)
    if isinstance(expected, (tuple, list)):
        parts = ((value[i], expected[i], tolerance, f"{what}[{i}]") for i in range(len(expected)))
        return next(filter(None, (first_difference(*part) for part in parts)), None)
    if not (isinstance(expected, torch.Tensor) or _is_number(expected)):
        return None if value == expected else f"{what} should be {expected!r}, and is {value!r}."
    wrong = ~_agree(value, expected, tolerance)
    if not wrong.any():
        return None
    place = tuple(wrong.nonzero()[0].tolist())
    right, own = two_numbers(_element(expected, place), _element(value, place))
    index = f"[{', '.join(map(str, place))}]" if place else ""
    return f"{what[0].upper()}{what[1:]}{index} should be {right}, and is {own}."


def _agree(value: Any, expected: Any, tolerance: float) -> torch.Tensor:
    """Where two numbers or tensors of one shape agree, to the precision of float32 or of a coarser dtype."""
    left, right = _tensor(value), _tensor(expected)
    if _is_whole(value) and _is_whole(expected):
        return left == right
    exact = (left == right) | (left.isnan() & right.isnan())
    epsilon = max(_epsilon(value), _epsilon(expected))
    relative = max(tolerance, 4 * epsilon)
    finite = right.abs()[right.isfinite()] if not right.is_complex() else right.abs()
    scale = finite.max().item() if finite.numel() else 0.0
    allowed = relative * right.abs() + max(relative * scale, FLOOR)
    if _is_whole(expected):  # an integer off by one is wrong at any scale
        allowed = allowed.clamp(max=0.4).maximum(4 * epsilon * right.abs())
    return exact | (right.isfinite() & ((left - right).abs() <= allowed))


def _epsilon(value: Any) -> float:
    if _is_whole(value):
        return 0.0
    return torch.finfo(torch.float64 if isinstance(value, float) else torch.as_tensor(value).dtype).eps


def _element(value: Any, place: tuple[int, ...]) -> Any:
    """One element as a Python number; bools stay bools."""
    number = _tensor(value)[place].item()
    return bool(number) if torch.as_tensor(value).dtype == torch.bool else number


def two_numbers(first: Any, second: Any) -> tuple[str, str]:
    """Two numbers with enough digits to tell them apart; bools as "False" and "True"."""
    for digits in range(4, 18):
        texts = _shown(first, digits), _shown(second, digits)
        if texts[0] != texts[1]:
            return texts
    return repr(first), repr(second)


def _shown(value: Any, digits: int = 4) -> str:
    if isinstance(value, bool):
        return str(value)
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 1e15)
    return f"{value:.0f}" if whole else f"{value:.{digits}g}"


def _as_list(fn: Callable) -> Callable:
    """The function with an array, a tensor or a set of numbers as a list."""

    @functools.wraps(fn)
    def listed(*arguments: Any, **options: Any) -> Any:
        result = fn(*arguments, **options)
        if isinstance(result, np.ndarray | torch.Tensor) and result.ndim == 1:
            return result.tolist()
        return sorted(result) if isinstance(result, set) else result

    return listed


def _wrong_kind(mine: _Run, right: _Run) -> str | None:
    text = wrong_kind(mine.result, right.result)
    return text and f"{text[0].upper()}{text[1:]}"


def _not_finite(mine: _Run, right: _Run) -> str | None:
    """A message for nan or inf where the right result is finite."""
    for own, expected in zip(_leaves(mine.result), _leaves(right.result), strict=True):
        if not (isinstance(expected, torch.Tensor) or _is_number(expected)):
            continue
        left, wanted = _tensor(own), _tensor(expected)
        bad = wanted.isfinite() & ~left.isfinite()
        if bad.any():
            place = tuple(bad.nonzero()[0].tolist())
            index = f"[{', '.join(map(str, place))}]" if place else ""
            right_text, own_text = two_numbers(_element(expected, place), _element(own, place))
            text = f"The result{index} should be {right_text}, and is {own_text}."
            return f"{text}{_given(mine, right, told=True)}"
    return None


def _changed(mine: _Run, right: _Run) -> str | None:
    names = [name for name in mine.changed() if name not in right.changed()]
    if names:
        return (
            f"Your function changes its argument {names[0]} in place, and the caller still needs it. "
            "Make a new tensor: a = a - b instead of a -= b, clone() before you write into it."
        )
    return None


MOST_LETTERS = 160  # maximum length of an input or a result to be shown


def _given(mine: _Run, right: _Run, told: bool = False) -> str:
    """A line with the input, the expected result and the actual one; "" if the input is long.

    told: one number was already shown.
    """
    shown = _words_of_input(right)
    if not shown or mine.error is not None:
        return ""
    for digits in range(4, 18):
        expected, came = _in_words(right.result, digits), _in_words(mine.result, digits)
        if expected != came:
            break
    if max(len(expected), len(came)) > MOST_LETTERS or (told and _is_number(right.result)):
        return f"\nGiven: {shown}."
    return f"\nGiven: {shown}. Expected: {expected}. Came: {came}."


def _words_of_input(run: _Run) -> str:
    """The arguments as text if they are small, else ""."""
    text = ", ".join(f"{name} = {_in_words(value)}" for name, value in run.names().items())
    return text if len(text) <= MOST_LETTERS else ""


def _in_words(value: Any, digits: int = 4) -> str:
    if isinstance(value, torch.Tensor):
        value = value.tolist() if value.numel() <= 12 else "x" * 1000
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_in_words(item, digits) for item in value)}]"
    if isinstance(value, FunctionType):
        return value.__name__.strip("_")
    return _shown(value, digits) if isinstance(value, float) else str(value)


def expect_tensor(value: Any, shape: Sequence[int] | None = None, what: str = "the result") -> torch.Tensor:
    """Return the value if it is a tensor (of that shape); otherwise raise Mistake."""
    if value is None:
        raise Mistake(f"{what} is None. Is there a return?")
    if not isinstance(value, torch.Tensor):
        raise Mistake(f"{what} should be a tensor, and is of type {type(value).__name__}.")
    if shape is not None and tuple(value.shape) != tuple(shape):
        raise Mistake(f"{what} should have the shape {list(shape)}, and has {list(value.shape)}.")
    return value


def close(value: Any, expected: Any, tolerance: float = 1e-5) -> bool:
    """Whether numbers, or tensors of one shape, are equal within the tolerance; nan equals only nan.

    The tolerance is relative to a tensor's largest element; integers must be equal.
    """
    left, right = _tensor(value), _tensor(expected)
    if left.shape != right.shape or left.is_complex() != right.is_complex():
        return False
    return bool(_agree(value, expected, tolerance).all())


def expect_gradients(
    output: Any, learn: Mapping[str, torch.Tensor], rest: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Backpropagate the output's sum: every tensor in `learn` must get a gradient, none in `rest` may."""
    if not _has_graph(output):
        raise Mistake(
            "The result has no graph, so nothing can learn from it. Was it detached, or under no_grad()?"
        )
    tensors = {**learn, **(rest or {})}
    for tensor in tensors.values():
        tensor.grad = None
    output.sum().backward()
    for name in learn:
        if tensors[name].grad is None or not tensors[name].grad.any():
            raise Mistake(f"{name} gets no gradient: it would never learn.")
    for name in rest or {}:
        if tensors[name].grad is not None and tensors[name].grad.any():
            raise Mistake(f"{name} should stay as it is, and gets a gradient: freeze or detach it.")


@contextmanager
def unchanged(**values: Any) -> Iterator[None]:
    """Check that the block changes no tensor, module or container: `with unchanged(model=model): ...`."""
    before = {name: _copied(value) for name, value in values.items()}
    yield
    for name, value in values.items():
        if not identical(value, before[name]):
            raise Mistake(f"{name} was changed, and should stay as it is: its numbers differ afterwards.")
