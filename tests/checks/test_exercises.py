"""Every registered exercise: enough answers to test it by, a solution to show; tests/lessons feed them."""

import re
import time

import pytest

from course_utils.checks.exercises import find_fault, is_stub, registry

exercises = pytest.mark.parametrize("exercise", registry().values(), ids=list(registry()))


@exercises
def test_five_wrong_and_two_right_answers(exercise):
    enough = len(exercise.wrong) >= 5 and len(exercise.right) >= 2
    assert enough, f"{len(exercise.wrong)} wrong answers (of 5), {len(exercise.right)} right ones (of 2)"


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


@pytest.mark.parametrize("lesson", sorted({exercise.lesson for exercise in registry().values()}))
def test_the_first_exercise_answers_at_once(lesson):
    first = next(exercise for exercise in registry().values() if exercise.lesson == lesson)
    start = time.process_time()
    find_fault(first, first.wrong[0][0])
    assert time.process_time() - start < 0.2
