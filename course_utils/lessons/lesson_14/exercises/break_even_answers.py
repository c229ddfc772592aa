"""Lesson 14, break_even_answers: break-even."""

import math

import numpy as np

from course_utils.checks.compare import Mistake, compare
from course_utils.checks.exercises import Exercise


def break_even_answers(runs, run_price, labels, label_price, tuned, other):
    """Answers from which tuning has cost no more; math.inf if none. tuned, other: the price of one answer."""
    once = runs * run_price + labels * label_price
    return math.ceil(once / (other - tuned)) if other > tuned else math.inf


BREAK_EVEN_INPUTS = [  # all prices in thousandths of a cent
    (9, 40_000, 500, 100_000, 30, 130),
    (8, 1_250, 101, 2_000, 7, 43),
    (1, 999, 3, 8, 0, 17),
    (12, 3_000, 40, 50, 120, 121),
    (5, 77, 11, 13, 2, 5),
]


def _break_even(
    once=lambda runs, price, labels, label: runs * price + labels * label, each=None, whole=math.ceil
):
    """A wrong break_even_answers: once paid, saved per answer, rounding."""
    saved = each or (lambda tuned, other: other - tuned)
    return lambda runs, price, labels, label, tuned, other: whole(
        once(runs, price, labels, label) / saved(tuned, other)
    )


BREAK_EVEN_MISTAKES = [
    (
        "You count one training. The sweep must be paid, too: `runs` trainings.",
        _break_even(lambda r, p, n, q: p + n * q),
    ),
    ("You leave out the labels. Somebody has to write the examples.", _break_even(lambda r, p, n, q: r * p)),
    ("You leave out the trainings: you count only labels.", _break_even(lambda r, p, n, q: n * q)),
    (
        "You count the labels again for each training. They are written once.",
        _break_even(lambda r, p, n, q: r * (p + n * q)),
    ),
    ("You count one label, but there are `labels` of them.", _break_even(lambda r, p, n, q: r * p + q)),
    (
        "A tuned answer also has a price: an answer saves other - tuned.",
        _break_even(each=lambda tuned, other: other),
    ),
    (
        "You add the two prices of an answer. An answer saves other - tuned.",
        _break_even(each=lambda tuned, other: other + tuned),
    ),
    (
        "The difference is reversed: an answer saves other - tuned.",
        _break_even(each=lambda tuned, other: tuned - other),
    ),
    (
        "This is one answer before break-even: there the other still costs a little less. Round up.",
        _break_even(whole=math.floor),
    ),
    (
        "You round to the nearest number. Below the exact value the other costs less: round up.",
        _break_even(whole=round),
    ),
    (
        "If the quotient is an integer, that number is enough: one more is too many. math.ceil rounds up "
        "only fractions.",
        _break_even(whole=lambda answers: math.floor(answers) + 1),
    ),
    ("This is not a whole number of answers. Round up.", _break_even(whole=float)),
]
_compare_break_even = compare(
    break_even_answers,
    BREAK_EVEN_INPUTS,
    BREAK_EVEN_MISTAKES,
    else_="Paid once: all trainings and all labels. Each answer saves other - tuned.",
)


def _check_break_even(fn):
    _compare_break_even(fn)
    for tuned, other in ((40, 40), (70, 20)):
        try:
            answers = fn(9, 100, 10, 5, tuned, other)
        except ZeroDivisionError:
            raise Mistake(
                "If a tuned answer costs as much as the other, you divide by 0. Return math.inf then."
            ) from None
        if answers is None or not isinstance(answers, (int, float)) or answers != math.inf:
            raise Mistake(
                "If a tuned answer costs as much as the other or more, it never pays off: return math.inf, "
                f"not {answers}."
            )


_check_break_even.mistakes = _compare_break_even.mistakes


def _with_whole_numbers(runs, run_price, labels, label_price, tuned, other):
    saved = other - tuned
    return -(-(runs * run_price + labels * label_price) // saved) if saved > 0 else float("inf")


def _with_numpy_ceil(runs, run_price, labels, label_price, tuned, other):
    if tuned >= other:
        return np.inf
    return np.ceil(np.dot([runs, labels], [run_price, label_price]) / (other - tuned))


EXERCISE = Exercise(
    name="break_even_answers",
    lesson="14",
    minutes=8,
    difficulty=2,
    reference=break_even_answers,
    check=_check_break_even,
    wrong=[
        (lambda *prices: None, "Is there a return"),
        (_break_even(lambda r, p, n, q: (r + 2) * p + n * q), "Paid once: all trainings"),
        (_break_even(), "Return math.inf then"),
        (lambda *p: break_even_answers(*p) if p[5] > p[4] else 0, "it never pays off"),
        (lambda *p: break_even_answers(*p) if p[5] > p[4] else None, "it never pays off"),
    ],
    right=[_with_whole_numbers, _with_numpy_ceil],
    hints=(
        "Some costs are paid once, some for every answer. After how many answers do the savings cover the "
        "costs paid once?",
        "once = runs * run_price + labels * label_price; each answer saves other - tuned; the quotient, "
        "rounded up; math.inf if nothing is saved.",
    ),
)
