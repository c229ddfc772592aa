"""Exercises: a check that runs the learner's function and names its mistake, and hints in three steps.

Each exercise is a module in `lessons/lesson_NN/exercises/`, where EXERCISES lists them in order: first the
lesson's, then its companion's.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import inspect
import itertools
import linecache
import os
import pkgutil
import random
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

import course_utils.checks.progress as progress
from course_utils.checks.claims import LessonClaims, find_named
from course_utils.checks.compare import Mistake, close, expect_tensor
from course_utils.checks.show import fold_outputs, has_page, shell, show
from course_utils.notebook_files import lesson_of

__all__ = [
    "Exercise",
    "Mistake",
    "close",
    "expect_tensor",
    "find_fault",
    "hint",
    "mine",
    "registry",
    "runs_on",
]


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    lesson: the key of its notebook, "03" or "03m".
    reference: the solution, a function or a class; its source is the third hint.
    check: called with the learner's function; raises Mistake if that is wrong; see `compare`.
    hints: the idea, and the shapes (or the steps); the solution is added automatically.
    wrong: typical wrong answers, each with a part of the message it must get; the mistakes of `compare` are
        added automatically. right: right answers in another style. The tests feed both.
    difficulty: 1 (a line) to 3 (needs thought). then: shown when the exercise has passed: where the learner's
        function is used from here on, and which cells below to run again.
    """

    name: str
    lesson: str
    minutes: int
    difficulty: int
    reference: Callable
    check: Callable[[Callable], None]
    hints: tuple[str, str]
    wrong: Sequence[tuple[Callable, str]] = ()
    right: Sequence[Callable] = ()
    then: str = ""

    def __post_init__(self):
        compared = [(wrong, message) for message, wrong in getattr(self.check, "mistakes", ())]
        object.__setattr__(self, "wrong", [*compared, *self.wrong])

    @property
    def solution(self) -> str:
        return without_types(textwrap.dedent(inspect.getsource(self.reference)))


def without_types(source: str) -> str:
    """The source without the type annotations of arguments, results and variables, as lessons show it."""
    lines = source.splitlines(keepends=True)
    starts = [0, *itertools.accumulate(map(len, lines))]

    def place(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    cuts = set()
    for node in {inner for function in functions for inner in ast.walk(function)}:
        type_ = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if type_ is not None:
            before = source[: place(type_.lineno, type_.col_offset)]
            start = before.rindex("->" if isinstance(node, ast.FunctionDef) else ":")
            cuts.add((start, place(type_.end_lineno, type_.end_col_offset), isinstance(node, ast.arg)))
    for start, end, argument in sorted(cuts, reverse=True):
        rest = source[end:]
        rest = "=" + rest[3:] if argument and rest.startswith(" = ") else rest
        source = source[:start].rstrip() + rest
    broken = r"(def \w+\()\s+([^()]*?),?\s+\):"  # a signature split over lines by its annotations
    return re.sub(broken, lambda m: f"{m[1]}{' '.join(m[2].split())}):", source) if cuts else source


@cache
def exercises_around(lesson: str) -> dict[str, Exercise]:
    """The exercises of a lesson and its companion by name, given either key; loads no other lesson."""
    module = importlib.import_module(f"course_utils.lessons.lesson_{lesson_of(lesson)}.exercises")
    return {exercise.name: exercise for exercise in module.EXERCISES}


@cache
def exercises_of(lesson: str) -> dict[str, Exercise]:
    """The exercises of one lesson ("03") or of one companion ("03m") by name."""
    return {name: one for name, one in exercises_around(lesson).items() if one.lesson == lesson}


@cache
def registry() -> dict[str, Exercise]:
    """All exercises by name. Raises ValueError if two share a name."""
    package = importlib.import_module("course_utils.lessons")
    found: dict[str, Exercise] = {}
    for folder in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        for name, exercise in exercises_around(folder.removeprefix("lesson_")).items():
            if name in found:
                raise ValueError(
                    f"Two exercises are named {name!r}: lessons {found[name].lesson} and {exercise.lesson}."
                )
            found[name] = exercise
    return found


def find(name: str) -> Exercise:
    """The exercise of that name, first in the open lesson, then in any. AttributeError lists close names."""
    lesson = progress.open_lesson()
    if lesson and name in exercises_around(lesson):
        return exercises_around(lesson)[name]
    return _named(name, registry())


def _named(name: str, exercises: dict[str, Exercise]) -> Exercise:
    return find_named(name, exercises, "There is no exercise", "check")


class Check:
    """`check.NAME(fn)` shows a verdict on fn and returns the function to continue with."""

    def __init__(self, lesson: str):
        self.lesson = lesson

    def __getattr__(self, name: str) -> Callable[[Callable], Callable]:
        if name.startswith("_"):
            raise AttributeError(name)
        exercise = _named(name, exercises_of(self.lesson))
        return lambda fn: verdict(exercise, fn)

    def __dir__(self) -> list[str]:
        return sorted(exercises_of(self.lesson))


def of_lesson(package: str, name: str) -> Check | LessonClaims:
    """`check` or `claim` of a lesson's package, or of its module `more`, when a notebook imports it.

    Opens the notebook's key in `progress`.
    """
    kinds = {"check": Check, "claim": LessonClaims}
    if name not in kinds:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    lesson = package.partition(".lesson_")[2].replace(".more", "m")
    progress.open_lesson(lesson)
    return kinds[name](lesson)


class Mine:
    """The learner's own functions as last checked: mine.NAME."""

    def __getattr__(self, name: str) -> Callable:
        raise AttributeError(f"No function of yours named {name} was checked: run its cell first.")


mine = Mine()
_hints_given: dict[str, int] = {}
HINTS = ("the idea", "shapes and steps", "the solution")


def hint(name: str, step: int | None = None) -> None:
    """Show the next hint of an exercise (idea, shapes, solution), or the hint of that number."""
    title, text, code = take_hint(find(name), step)
    show(title, *filter(None, [text]), code=code, kind="hint")


def take_hint(exercise: Exercise, step: int | None = None) -> tuple[str, str, str]:
    """(title, text, code) of the next hint, or the hint of that number; recorded in the progress file."""
    name = exercise.name
    if step is None:
        step = min(_hints_given.get(name, 0) + 1, 3)
    if step not in (1, 2, 3):
        raise ValueError(f"Hints have the numbers 1 (idea), 2 (shapes) and 3 (solution), not {step!r}.")
    _hints_given[name] = step
    progress.record("hints", exercise.lesson, name, steps=step)
    title = f"{name}, hint {step} of 3: {HINTS[step - 1]}"
    return (title, "", exercise.solution) if step == 3 else (title, exercise.hints[step - 1], "")


def was_tried(exercise: Exercise) -> bool:
    """Whether the learner had an answer checked in this run or, unless it is strict, in an earlier one."""
    if exercise.name in vars(mine):
        return True
    if os.environ.get("COURSE_STRICT") == "1":
        return False
    with contextlib.suppress(OSError):
        return exercise.name in progress.recorded().get(exercise.lesson, {}).get("exercises", {})
    return False


@contextlib.contextmanager
def folded_until_tried(name: str) -> Iterator[None]:
    """Fold what the block prints, displays and draws until the exercise was tried."""
    exercise = find(name)
    if shell() is None or was_tried(exercise):
        yield
        return
    from IPython.display import display
    from IPython.utils.capture import capture_output

    pyplot = sys.modules.get("matplotlib.pyplot")
    before = pyplot.get_fignums() if pyplot else []
    with capture_output() as captured:
        yield
        for number in [number for number in (pyplot.get_fignums() if pyplot else []) if number not in before]:
            display(pyplot.figure(number))
            pyplot.close(number)
    summary = f"This shows the answer of {name}: try the exercise first, or open this"
    fold_outputs(summary, [*filter(None, [captured.stdout]), *captured.outputs])


def runs_on(*functions: Callable, what: str = "Training") -> None:
    """Say whose functions training, or `what`, will call: the learner's or the course's."""
    solutions = {exercise.reference for exercise in exercises_around(progress.open_lesson()).values()}
    whose = ["the course's" if fn in solutions else "your" for fn in functions]
    parts = [f"{owner} {fn.__name__}" for owner, fn in zip(whose, functions, strict=True)]
    print(f"{what} runs on {', '.join(parts)}.")


def _offer_names() -> None:
    """Make hint and mine available, as the verdict promises, even if the notebook does not import them."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.user_ns.setdefault("hint", hint)
        shell.user_ns.setdefault("mine", mine)


def _offer_buttons(exercise: Exercise) -> None:
    """Show hint, next hint, solution and start over under the verdict, if the page has controls."""
    if has_page() and os.environ.get("COURSE_STRICT") != "1":
        from course_utils.checks.buttons import exercise_buttons

        exercise_buttons(exercise.name, exercise.lesson, lambda step: take_hint(exercise, step))


def verdict(exercise: Exercise, fn: Callable) -> Callable:
    """Check fn, show the verdict, and return fn if it is right, else the reference.

    With COURSE_SOLUTIONS=1 the reference replaces a stub, and a failed check raises Mistake.
    """
    _offer_names()
    solutions = os.environ.get("COURSE_SOLUTIONS") == "1"
    name = exercise.name
    if is_stub(fn):
        if not solutions:
            show(
                f"{name}: not attempted yet",
                "Going on with the course's solution. Replace the ... and run the "
                f'cell again; hint("{name}") helps in three steps.',
            )
            _offer_buttons(exercise)
            return exercise.reference
        fn = exercise.reference
    setattr(mine, name, fn)
    fault = find_fault(exercise, fn)
    message, code = fault or ("", "")
    if not solutions:
        progress.record_attempt(exercise.lesson, name, _digest(fn), message or None)
    if fault is None:
        done = "" if solutions else _done(exercise.lesson)
        show(f"{name}: passed", *filter(None, [done, exercise.then]), kind="good")
    else:
        show(
            f"{name}: not yet",
            *message.splitlines(),
            f"Going on with the course's solution; yours is mine.{name}. Change the cell and run it again; "
            f'hint("{name}") helps in three steps.',
            code=code,
            kind="bad",
        )
    if solutions:
        if fault:
            raise Mistake(f"{name}: {message}")
        return fn
    _offer_buttons(exercise)
    return exercise.reference if fault else fn


def _done(lesson: str) -> str:
    """How many of a lesson's exercises passed, in words and dots; "" if none or there is no record."""
    names = exercises_of(lesson)
    with contextlib.suppress(OSError):
        tried = progress.recorded().get(lesson, {}).get("exercises", {})
        count = sum(tried.get(name, {}).get("status") == "passed" for name in names)
        if count:
            dots = "●" * count + "○" * (len(names) - count)
            words = "All" if count == len(names) else f"{count} of the"
            return f"{words} {len(names)} exercises of lesson {lesson} passed: {dots}"
    return ""


def _digest(fn: Callable) -> str:
    """A short digest of fn's source, ignoring comments and layout; "" if there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(fn))
    except (OSError, TypeError):
        return ""
    with contextlib.suppress(SyntaxError):
        source = ast.dump(_WithoutHints().visit(ast.parse(source)))
    return hashlib.sha256(source.encode()).hexdigest()[:8]


class _WithoutHints(ast.NodeTransformer):
    """Removes statements that only ask for a hint."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        call = node.value
        asks = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "hint"
        return None if asks else node


def find_fault(exercise: Exercise, fn: Callable, seed: int = 0) -> tuple[str, str] | None:
    """(message, line of code or "") if fn is wrong, else None. Random states are restored.

    seed: seeds torch's and Python's generators for the check.
    """
    if not callable(fn):
        name = exercise.name
        return f"check.{name} takes the function itself, without calling it: check.{name}({name}).", ""
    python_state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random.seed(seed)
            exercise.check(fn)
    except Mistake as mistake:
        return str(mistake), ""
    except Exception as error:
        return _describe(exercise, fn, error)
    finally:
        random.setstate(python_state)
    return None


def is_stub(fn: Any) -> bool:
    """Whether the body of the function (or of a class's method) is still `...`, docstring aside."""
    return any(_empty(function) for function in _functions(fn))


def _functions(fn: Any) -> list[Callable]:
    """The function itself, or the methods and properties of a class."""
    members = vars(fn).values() if inspect.isclass(fn) else [fn]
    members = [member.fget if isinstance(member, property) else member for member in members]
    members = [member.__func__ if isinstance(member, staticmethod) else member for member in members]
    return [member for member in members if inspect.isfunction(member)]


def _empty(function: Callable) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        body = _WithoutHints().visit(tree).body[0].body
    except (OSError, TypeError, SyntaxError, AttributeError):
        return False
    if not body:  # a hint replaced the ...
        return True
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
    called_wrongly = rf"\S*{re.escape(getattr(fn, '__name__', ''))}\(\) (got|takes|missing)"
    if isinstance(error, TypeError) and re.match(called_wrongly, first):
        right, own = _arguments(exercise.reference), _arguments(fn)
        return f"{exercise.name} should take the arguments {right}, and yours takes {own}.", ""
    return f"What {exercise.name} returned could not be used ({what}). Look at what it returns.", ""


def _arguments(fn: Callable) -> inspect.Signature:
    """The signature without annotations."""
    parameters = inspect.signature(fn).parameters.values()
    return inspect.Signature([each.replace(annotation=inspect.Parameter.empty) for each in parameters])
