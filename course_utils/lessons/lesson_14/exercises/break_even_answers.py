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
    """A wrong break_even_answers: what is paid once, what an answer saves, and the rounding."""
    saved = each or (lambda tuned, other: other - tuned)
    return lambda runs, price, labels, label, tuned, other: whole(
        once(runs, price, labels, label) / saved(tuned, other)
    )


BREAK_EVEN_MISTAKES = [
    (
        "One training is counted. The sweep has to be paid too: `runs` trainings.",
        _break_even(lambda r, p, n, q: p + n * q),
    ),
    ("The labels are left out. Somebody has to write the examples.", _break_even(lambda r, p, n, q: r * p)),
    ("The trainings are left out: only labels are paid.", _break_even(lambda r, p, n, q: n * q)),
    (
        "The labels are paid again for each training. They are written once.",
        _break_even(lambda r, p, n, q: r * (p + n * q)),
    ),
    ("One label is paid, and there are `labels` of them.", _break_even(lambda r, p, n, q: r * p + q)),
    (
        "A tuned answer costs something too: what an answer saves is other - tuned.",
        _break_even(each=lambda tuned, other: other),
    ),
    (
        "The two prices of an answer are added. What counts is what an answer saves: other - tuned.",
        _break_even(each=lambda tuned, other: other + tuned),
    ),
    (
        "The difference is the wrong way round: what an answer saves is other - tuned.",
        _break_even(each=lambda tuned, other: tuned - other),
    ),
    (
        "This is one answer before it has paid off: there the other still costs a little less. Round up.",
        _break_even(whole=math.floor),
    ),
    (
        "Rounded to the nearest number. Before a whole one the other costs less: round up.",
        _break_even(whole=round),
    ),
    (
        "Where it comes out even, that number is reached already: one more is too many. math.ceil rounds "
        "up only where there is something to round.",
        _break_even(whole=lambda answers: math.floor(answers) + 1),
    ),
    ("This is not a whole number of answers. Round up.", _break_even(whole=float)),
]
_compare_break_even = compare(
    break_even_answers,
    BREAK_EVEN_INPUTS,
    BREAK_EVEN_MISTAKES,
    else_="Once: all trainings and all labels. With each answer other - tuned is saved.",
)


def _check_break_even(fn):
    _compare_break_even(fn)
    for tuned, other in ((40, 40), (70, 20)):
        try:
            answers = fn(9, 100, 10, 5, tuned, other)
        except ZeroDivisionError:
            raise Mistake(
                "Where a tuned answer costs as much as the other, you divide by 0. Return math.inf there."
            ) from None
        if answers is None or not isinstance(answers, (int, float)) or answers != math.inf:
            raise Mistake(
                "Where a tuned answer costs as much as the other or more, it never pays: return math.inf, "
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
        (_break_even(lambda r, p, n, q: (r + 2) * p + n * q), "Once: all trainings"),
        (_break_even(), "Return math.inf there"),
        (lambda *p: break_even_answers(*p) if p[5] > p[4] else 0, "it never pays"),
        (lambda *p: break_even_answers(*p) if p[5] > p[4] else None, "it never pays"),
    ],
    right=[_with_whole_numbers, _with_numpy_ceil],
    hints=(
        "Some things are paid once, some with every answer. After how many answers has what each "
        "of them saves made up for what was paid once?",
        "once = runs * run_price + labels * label_price; each answer saves other - tuned; the quotient, "
        "rounded up; math.inf where nothing is saved.",
    ),
)
