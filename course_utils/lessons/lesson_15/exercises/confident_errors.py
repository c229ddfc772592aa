"""Lesson 15, confident_errors: confident errors."""

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_15.knowledge import confident_errors


def _outcomes(text):
    """(right, refused) from a letter per question: r right, n refused, w wrong."""
    return [letter == "r" for letter in text], [letter == "n" for letter in text]


OUTCOMES = [_outcomes("rnwnrwnrwn"), _outcomes("wwrwnww"), _outcomes("rrrnr"), _outcomes("nwnnnnnn")]


def _share(fault):
    """A wrong confident_errors: fault(right, refused, wrong, all), given the numbers of questions."""

    def wrong(right, refused):
        good, no = sum(right), sum(refused)
        return fault(good, no, len(right) - good - no, len(right))

    return wrong


def _with_a_loop(right, refused):
    errors = 0
    for i in range(len(right)):
        if not (right[i] or refused[i]):
            errors += 1
    return torch.tensor(errors / len(right))


def _with_arrays(right, refused):
    return np.mean(~np.array(right) & ~np.array(refused))


ERROR_MISTAKES = [
    (
        "This is a number of questions. Divide by the number of all questions.",
        _share(lambda right, refused, wrong, count: wrong),
    ),
    (
        "You divide by the questions that were answered. A model that refuses nearly all and errs once would "
        "look as bad as one that always errs: divide by all questions.",
        _share(lambda right, refused, wrong, count: wrong / (right + wrong)),
    ),
    (
        "A refusal is not right, but it is not an error either: it misleads nobody.",
        _share(lambda right, refused, wrong, count: (refused + wrong) / count),
    ),
    (
        "You divide by the questions without a right answer. Divide by all questions.",
        _share(lambda right, refused, wrong, count: wrong / (refused + wrong)),
    ),
    (
        "This is the share of all given answers, right ones included.",
        _share(lambda right, refused, wrong, count: (right + wrong) / count),
    ),
    (
        "Return a share, a number from 0 to 1, not per cent.",
        _share(lambda right, refused, wrong, count: 100 * wrong / count),
    ),
    ("This is the share of refusals.", _share(lambda right, refused, wrong, count: refused / count)),
    ("This is the share of right answers.", _share(lambda right, refused, wrong, count: right / count)),
]

EXERCISE = Exercise(
    name="confident_errors",
    lesson="15",
    minutes=5,
    difficulty=1,
    reference=confident_errors,
    check=compare(
        confident_errors,
        OUTCOMES,
        ERROR_MISTAKES,
        else_="Count the questions that are neither right nor refused, and divide by all.",
    ),
    wrong=[
        (lambda r, no: None, "Is there a return"),
        (lambda r, no: 0.3, "neither right nor refused"),
        (lambda r, no: 0.0, "neither right nor refused"),
    ],
    right=[_with_a_loop, _with_arrays],
    hints=(
        "There are three outcomes: right, refused, and the third. Which questions are neither?",
        "Count the positions where both lists are False, and divide by the length of one list.",
    ),
)
