"""Every registered exercise: its solution passes, typical mistakes get their own messages, a stub is seen."""

import inspect
import re

import pytest

from course_utils.checks.exercises import find_fault, is_stub, registry

exercises = pytest.mark.parametrize("exercise", registry().values(), ids=list(registry()))


@exercises
def test_reference_passes(exercise):
    assert find_fault(exercise, exercise.reference) is None


@exercises
def test_wrong_answers_get_their_own_message(exercise):
    assert len(exercise.wrong) >= 3, "three wrong answers at least"
    messages = []
    for number, (fn, part) in enumerate(exercise.wrong):
        fault = find_fault(exercise, fn)
        assert fault is not None, f"wrong answer {number} passes"
        assert part in fault[0], f"wrong answer {number} gets: {fault[0]}"
        messages.append(fault[0])
    assert len(set(messages)) >= 3, "three different messages at least"


@exercises
def test_reference_is_a_solution_to_show(exercise):
    assert not is_stub(exercise.reference)
    assert exercise.name in exercise.solution
    assert exercise.reference.__name__ == exercise.name


@exercises
def test_description_is_complete(exercise):
    assert len(exercise.hints) == 2 and all(exercise.hints)
    assert exercise.difficulty in (1, 2, 3)
    assert 3 <= exercise.minutes <= 20
    assert re.fullmatch(r"\d\d", exercise.lesson)
    module = inspect.getmodule(exercise.check).__name__
    assert module == f"course_utils.checks.lesson_{exercise.lesson}"


@exercises
def test_check_gives_the_same_verdict_twice(exercise):
    for fn, _ in exercise.wrong:
        assert find_fault(exercise, fn) == find_fault(exercise, fn)
