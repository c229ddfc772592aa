"""Lesson 09, selective_accuracy: answering or refusing."""

import random

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def selective_accuracy(right, refused):
    """(share of questions answered, accuracy of those answers); nan for the second if all were refused."""
    answered = [r for r, no in zip(right, refused, strict=True) if not no]
    accuracy = sum(answered) / len(answered) if answered else float("nan")
    return len(answered) / len(refused), accuracy


def _asked(right, wrong, refused_right, refused_wrong):
    """Outcomes in any order; a refusal counts as right if the question should be refused."""
    rows = [(True, False)] * right + [(False, False)] * wrong
    rows += [(True, True)] * refused_right + [(False, True)] * refused_wrong
    random.shuffle(rows)
    return [a for a, _ in rows], [b for _, b in rows]


def _selective(fault):
    """A wrong selective_accuracy: fault(right answers, answers, all right outcomes, questions)."""

    def wrong(right, refused):
        answered = [r for r, no in zip(right, refused, strict=True) if not no]
        return fault(sum(answered), len(answered), sum(right), len(right))

    return wrong


def _selective_by_torch(right, refused):
    right, answered = torch.tensor(right), ~torch.tensor(refused)
    return answered.float().mean(), right[answered].float().mean()


def _selective_by_loop(right, refused):
    answers = hits = 0
    for was_right, no in zip(right, refused, strict=True):
        answers += not no
        hits += was_right and not no
    return [answers / len(refused), np.float32(hits / answers if answers else np.nan)]


ALL_REFUSED = (
    "If everything is refused, the share answered is 0, and the accuracy is unknown: return float('nan') for "
    "the second number."
)
SELECTIVE_MISTAKES = [
    (
        "The first number is the share refused. Return the share answered.",
        _selective(lambda hits, answers, right, n: (1 - answers / n, hits / max(1, answers))),
    ),
    (
        "You divide by all questions. The second number is about answered questions only: leave out the "
        "refused ones.",
        _selective(lambda hits, answers, right, n: (answers / n, hits / n)),
    ),
    (
        "You divide by all questions. The second number is about answered questions only: leave out the "
        "refused ones.",
        _selective(lambda hits, answers, right, n: (answers / n, right / n)),
    ),
    (
        "A refusal that counts as right is not an answer: use only answered questions, in numerator and "
        "denominator.",
        _selective(lambda hits, answers, right, n: (answers / n, right / max(1, answers))),
    ),
    (
        "These are numbers of questions. Return shares.",
        _selective(lambda hits, answers, right, n: (answers, hits)),
    ),
    (
        "You return the accuracy first. Return the share answered, then the accuracy of the answers.",
        _selective(lambda hits, answers, right, n: (hits / max(1, answers), answers / n)),
    ),
    (
        "Return two numbers: the share answered, and the accuracy of the answers.",
        _selective(lambda hits, answers, right, n: hits / max(1, answers)),
    ),
    (
        f"Your function divides by zero. {ALL_REFUSED}",
        _selective(lambda hits, answers, right, n: (answers / n, hits / answers)),
    ),
]

EXERCISE = Exercise(
    name="selective_accuracy",
    lesson="09",
    minutes=5,
    difficulty=1,
    reference=selective_accuracy,
    check=compare(
        selective_accuracy,
        lambda: [_asked(7, 1, 1, 1), _asked(5, 6, 3, 6), _asked(3, 2, 0, 0), _asked(0, 4, 1, 2)],
        SELECTIVE_MISTAKES,
        else_="The share of questions answered, and the share of right answers among those.",
        extremes=[(ALL_REFUSED, [([False, True, False], [True, True, True])])],
    ),
    wrong=[
        (_selective(lambda hits, answers, right, n: (answers / n, hits / max(1, answers))), "is refused"),
        (_selective(lambda hits, answers, right, n: answers and (answers / n, hits / answers)), "is refused"),
        (
            _selective(lambda hits, answers, right, n: (answers / n, hits / answers if hits else np.nan)),
            "The share of questions",
        ),
        (lambda right, refused: (0.8, 7 / 8), "The share of questions"),
        (lambda right, refused: None, "Is there a return"),
    ],
    right=[_selective_by_torch, _selective_by_loop],
    hints=(
        "Two questions: how often does it answer at all, and how good are its answers? The second uses only "
        "the answered questions.",
        "Keep the entries of `right` where `refused` is False. The first number is their count divided by "
        "the number of questions, the second their mean; float('nan') if there are none.",
    ),
)
