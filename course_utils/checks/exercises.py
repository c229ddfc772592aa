"""Exercises: a check that runs the learner's function and names the very mistake, and hints in three steps.

A lesson's exercises live in `lesson_NN.py` beside this file, in its list EXERCISES.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import linecache
import os
import pkgutil
import random
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from course_utils.checks import progress
from course_utils.checks.show import show


class Mistake(AssertionError):
    """What the learner's function does wrong, in words for the learner; raised by an exercise's check."""


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    reference: the solution, a function or a class; its source is the third hint.
    check: called with the learner's function; raises Mistake where it is wrong.
    wrong: typical wrong answers, each with a part of the message it must get; the tests go through them.
    hints: the idea, and the shapes (or the steps); the solution follows by itself.
    difficulty: 1 (a line) to 3 (needs thought).
    """

    name: str
    lesson: str
    minutes: int
    difficulty: int
    reference: Callable
    check: Callable[[Callable], None]
    wrong: Sequence[tuple[Callable, str]]
    hints: tuple[str, str]

    @property
    def solution(self) -> str:
        return textwrap.dedent(inspect.getsource(self.reference))


@cache
def exercises_of(lesson: str) -> dict[str, Exercise]:
    """The exercises of one lesson ("03") by name; no other lesson is loaded."""
    module = importlib.import_module(f"course_utils.lessons.lesson_{lesson}.exercises")
    return {exercise.name: exercise for exercise in module.EXERCISES}


@cache
def registry() -> dict[str, Exercise]:
    """All exercises by name. Raises ValueError where two have the same name."""
    package = importlib.import_module("course_utils.lessons")
    found: dict[str, Exercise] = {}
    for folder in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        for name, exercise in exercises_of(folder.removeprefix("lesson_")).items():
            if name in found:
                raise ValueError(
                    f"Two exercises are named {name!r}: lessons {found[name].lesson} and {exercise.lesson}."
                )
            found[name] = exercise
    return found


def find(name: str) -> Exercise:
    """The exercise of that name: of the open lesson, or of any. AttributeError names the close ones."""
    lesson = progress.open_lesson()
    if lesson and name in exercises_of(lesson):
        return exercises_of(lesson)[name]
    return _named(name, registry())


def _named(name: str, exercises: dict[str, Exercise]) -> Exercise:
    import difflib

    if name not in exercises:
        near = difflib.get_close_matches(name, exercises, n=3)
        advice = f"Did you mean {' or '.join(near)}?" if near else "dir(check) lists them."
        raise AttributeError(f"There is no exercise {name!r}. {advice}")
    return exercises[name]


class Check:
    """`check.NAME(fn)` shows a verdict on fn and returns the function to go on with."""

    def __init__(self, lesson: str):
        self.lesson = lesson

    def __getattr__(self, name: str) -> Callable[[Callable], Callable]:
        if name.startswith("_"):
            raise AttributeError(name)
        exercise = _named(name, exercises_of(self.lesson))
        return lambda fn: verdict(exercise, fn)

    def __dir__(self) -> list[str]:
        return sorted(exercises_of(self.lesson))


def open_lesson(package: str, name: str) -> Check:
    """For a lesson's package: its `check`, when a notebook imports it. Progress is told the number."""
    if name != "check":
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    lesson = package[-2:]
    progress.open_lesson(lesson)
    return Check(lesson)


_hints_given: dict[str, int] = {}


def hint(name: str, step: int | None = None) -> None:
    """Show the next hint of an exercise (idea, shapes, solution), or the one with that number."""
    exercise = find(name)
    if step is None:
        step = min(_hints_given.get(name, 0) + 1, 3)
    if step not in (1, 2, 3):
        raise ValueError(f"Hints have the numbers 1 (idea), 2 (shapes) and 3 (solution), not {step!r}.")
    _hints_given[name] = step
    title = f"{name}, hint {step} of 3: {('the idea', 'shapes and steps', 'the solution')[step - 1]}"
    if step == 3:
        show(title, code=exercise.solution, kind="hint")
    else:
        show(title, exercise.hints[step - 1], kind="hint")
    progress.record("hints", exercise.lesson, name, steps=step)


def _offer_hint() -> None:
    """Let the learner call hint(...) as the verdict says, whether the notebook imports it or not."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.user_ns.setdefault("hint", hint)


def verdict(exercise: Exercise, fn: Callable) -> Callable:
    """Check fn, show the verdict, and return fn where it is right, else the reference.

    With COURSE_SOLUTIONS=1 the reference stands in for a stub, and a failed check raises Mistake.
    """
    _offer_hint()
    solutions = os.environ.get("COURSE_SOLUTIONS") == "1"
    name = exercise.name
    if is_stub(fn):
        if not solutions:
            show(
                f"{name}: not attempted yet",
                "Going on with the reference. Replace the ... and run the "
                f'cell again; hint("{name}") helps in three steps.',
            )
            return exercise.reference
        fn = exercise.reference
    fault = find_fault(exercise, fn)
    if fault is None:
        show(f"{name}: passed", kind="good")
    else:
        message, code = fault
        show(
            f"{name}: not yet",
            message,
            "Going on with the reference. Change the cell and run it again; "
            f'hint("{name}") helps in three steps.',
            code=code,
            kind="bad",
        )
    if solutions:
        if fault:
            raise Mistake(f"{name}: {message}")
        return fn
    progress.record("exercises", exercise.lesson, name, status="failed" if fault else "passed")
    return exercise.reference if fault else fn


def find_fault(exercise: Exercise, fn: Callable) -> tuple[str, str] | None:
    """(message, line of code or "") where fn is wrong, else None. Random states are as before afterwards."""
    python_state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            random.seed(0)
            exercise.check(fn)
    except Mistake as mistake:
        return str(mistake), ""
    except Exception as error:
        return _describe(exercise, fn, error)
    finally:
        random.setstate(python_state)
    return None


def is_stub(fn: Any) -> bool:
    """Is the body of the function (or of a method, for a class) still `...`? A docstring does not count."""
    return any(_empty(function) for function in _functions(fn))


def _functions(fn: Any) -> list[Callable]:
    """The function itself, or the methods and properties that a class defines."""
    members = vars(fn).values() if inspect.isclass(fn) else [fn]
    members = [member.fget if isinstance(member, property) else member for member in members]
    return [member for member in members if inspect.isfunction(member)]


def _empty(function: Callable) -> bool:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body
    except (OSError, TypeError, SyntaxError, AttributeError):
        return False
    constants = [
        node.value.value
        for node in body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    plain = len(constants) + sum(isinstance(node, ast.Pass) for node in body) == len(body)
    return plain and Ellipsis in constants


def _describe(exercise: Exercise, fn: Callable, error: Exception) -> tuple[str, str]:
    first = (str(error).strip().splitlines() or [""])[0][:200]
    what = f"{type(error).__name__}: {first}" if first else type(error).__name__
    files = {function.__code__.co_filename for function in _functions(fn)}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    if frames:
        line = linecache.getline(frames[-1].filename, frames[-1].lineno).strip()
        return f"Your code stopped in line {frames[-1].lineno} with {what}", f"{frames[-1].lineno}: {line}"
    return f"What {exercise.name} returned could not be used ({what}). Look at what it returns.", ""


def expect_tensor(value: Any, shape: Sequence[int] | None = None, what: str = "the result") -> torch.Tensor:
    """The value, if it is a tensor (of that shape); else Mistake says what came instead."""
    if value is None:
        raise Mistake(f"{what} is None. Is there a return?")
    if not isinstance(value, torch.Tensor):
        raise Mistake(f"{what} should be a tensor, and is of type {type(value).__name__}.")
    if shape is not None and tuple(value.shape) != tuple(shape):
        raise Mistake(f"{what} should have the shape {list(shape)}, and has {list(value.shape)}.")
    return value


def close(value: Any, expected: Any, tolerance: float = 1e-5) -> bool:
    """Numbers, or tensors of one shape, that are equal up to the tolerance. NaN equals nothing."""
    value, expected = torch.as_tensor(value).double(), torch.as_tensor(expected).double()
    return value.shape == expected.shape and torch.allclose(value, expected, rtol=tolerance, atol=tolerance)
