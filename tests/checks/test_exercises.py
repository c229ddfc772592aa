"""Every registered exercise: enough answers for tests, a solution to show; tests/lessons feed them."""

import ast
import copy
import inspect
import re
import time
from pathlib import Path

import pytest
import torch

from course_utils import lessons
from course_utils.checks.exercises import (
    exercises_around,
    exercises_of,
    find_fault,
    is_stub,
    registry,
    without_types,
)
from course_utils.checks.lesson_texts import exercise_texts
from course_utils.notebook_files import lesson_of

exercises = pytest.mark.parametrize("exercise", registry().values(), ids=list(registry()))
each_lesson = pytest.mark.parametrize("lesson", sorted({one.lesson for one in registry().values()}))


@each_lesson
def test_a_file_an_exercise_in_the_notebook_s_order(lesson):
    names = list(exercises_of(lesson))
    folder = Path(lessons.__path__[0]) / f"lesson_{lesson_of(lesson)}" / "exercises"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "shared"}
    assert files == set(exercises_around(lesson)) >= set(names)
    assert names == list(exercise_texts(lesson))


@exercises
def test_five_wrong_and_two_right_answers(exercise):
    enough = len(exercise.wrong) >= 5 and len(exercise.right) >= 2
    assert enough, f"{len(exercise.wrong)} wrong answers (of 5), {len(exercise.right)} right ones (of 2)"


@exercises
def test_reference_is_a_solution_to_show(exercise):
    assert not is_stub(exercise.reference)
    assert exercise.name in exercise.solution
    assert exercise.reference.__name__ == exercise.name
    assert not any(getattr(node, "annotation", None) for node in ast.walk(ast.parse(exercise.solution)))


def test_types_are_left_out_of_a_solution_and_nothing_else():
    typed = """\
def f(
    a: Tensor, b: dict[str, int] = None, *rest: int, c: int = 2, **more: Any
) -> tuple[int, str]:
    x: list[int] = [a[1:2]]  # é: kept
    known = lambda y: {"é": y}

    def g(y: "é" = 1) -> int:
        return y"""
    plain = """\
def f(a, b=None, *rest, c=2, **more):
    x = [a[1:2]]  # é: kept
    known = lambda y: {"é": y}

    def g(y=1):
        return y"""
    assert without_types(typed) == plain and without_types(plain) == plain


def test_what_an_exercise_should_take_is_said_without_types():
    message, _ = find_fault(registry()["gae"], lambda rewards: rewards)
    assert "should take the arguments (rewards, values, mask, gamma=1.0, lam=0.95), and yours" in message


@exercises
def test_description_is_complete(exercise):
    assert len(exercise.hints) == 2 and all(exercise.hints)
    assert exercise.difficulty in (1, 2, 3)
    assert 3 <= exercise.minutes <= 20
    assert re.fullmatch(r"\d\dm?", exercise.lesson)


@pytest.mark.timing
@each_lesson
def test_the_first_exercise_answers_at_once(lesson):
    first = next(exercise for exercise in registry().values() if exercise.lesson == lesson)
    find_fault(first, first.wrong[0][0])  # a process's first backward pass loads parts of torch
    start = time.process_time()
    find_fault(first, first.wrong[0][0])
    assert time.process_time() - start < 0.2


class FirstCall(BaseException):
    """Raised with the arguments of the first call that has tensors."""


def moved(value):
    """The value with its tensors and modules on the device "meta", which stands in for a GPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("meta")
    if isinstance(value, torch.nn.Module):
        return copy.deepcopy(value).to("meta")
    if isinstance(value, list | tuple):
        return type(value)(map(moved, value))
    return {name: moved(one) for name, one in value.items()} if isinstance(value, dict) else value


def has_tensors(value):
    if isinstance(value, list | tuple | dict):
        return any(map(has_tensors, value.values() if isinstance(value, dict) else value))
    return isinstance(value, torch.Tensor)


def device_fault(function, exercise):
    """torch's error if the function makes a tensor on another device than its arguments', or ""."""

    def first(*arguments, **named):
        if has_tensors([arguments, named]):
            raise FirstCall(arguments, named)
        return exercise.reference(*arguments, **named)

    try:
        find_fault(exercise, first)
    except FirstCall as call:
        arguments, named = call.args
        if any(map(inspect.isfunction, arguments)):  # a function may have its own model
            return ""
        try:
            function(*moved(arguments), **moved(named))
        except Exception as fault:  # meta tensors have no values: the trial ends where one is read
            return str(fault) if re.search("expected device|same device", str(fault)) else ""
    return ""


@exercises
def test_a_solution_makes_tensors_where_its_inputs_are(exercise):
    if inspect.isfunction(exercise.reference):
        assert device_fault(exercise.reference, exercise) == ""


def test_a_tensor_on_another_device_is_seen():
    exercise = registry()["packed_positions"]
    assert "meta" in device_fault(lambda documents: documents + torch.arange(documents.shape[1]), exercise)
