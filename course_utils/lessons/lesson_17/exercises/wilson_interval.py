"""Lesson 17, wilson_interval: an honest interval."""

import math
import statistics

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.evaluation import wilson_interval

WILSON_INPUTS = [(20, 20), (15, 50), (0, 7), (3, 1000), (1, 2)]


def _wilson(fault):
    """A wrong wilson_interval: fault(p, n, z) returns its centre and its half-width."""

    def wrong(right, count):
        middle, half = fault(right / count, count, 1.96)
        return middle - half, middle + half

    return wrong


def _root(p, n, z):
    return math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))


def _usual(right, count):
    p = right / count
    half = 1.96 * math.sqrt(p * (1 - p) / count)
    return max(p - half, 0.0), min(p + half, 1.0)


def _exact_z(right, count):
    z = statistics.NormalDist().inv_cdf(0.975)
    half = z * np.sqrt(right * (count - right) / count + z * z / 4)
    return [(right + z * z / 2 + sign * half) / (count + z * z) for sign in (-1, 1)]


def _by_roots(right, count):
    """The two p0 at which (p - p0) ** 2 is z ** 2 p0 (1 - p0) / n."""
    z, p = 1.96, torch.tensor(right / count, dtype=torch.float64)
    a, b, c = 1 + z**2 / count, -(2 * p + z**2 / count), p**2
    root = (b**2 - 4 * a * c).sqrt()
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


SURE = (
    "For 20 of 20 your interval is from 1 to 1: nobody can be so sure after 20 questions. That is the usual "
    "formula, p +- z sqrt(p (1 - p) / n); Wilson's has more terms."
)
BY_TWO_N = "In Python, a / 2 * n multiplies by n: write a / (2 * n), also in the root."


def _slips(middle, root):
    """z^2 / 2n or z^2 / 4n^2 or both written without brackets."""

    def fault(p, n, z):
        first = z**2 / 2 * n if middle else z**2 / (2 * n)
        last = z**2 / 4 * n**2 if root else z**2 / (4 * n**2)
        return (p + first) / (1 + z**2 / n), z * math.sqrt(p * (1 - p) / n + last) / (1 + z**2 / n)

    return _wilson(fault)


def _undivided(right, count):
    z, half = 1.96, 1.96 * math.sqrt(right * (1 - right) / count + 1.96**2 / (4 * count**2))
    return [(right + z**2 / (2 * count) + sign * half) / (1 + z**2 / count) for sign in (-1, 1)]


WILSON_MISTAKES = [
    (BY_TWO_N, _slips(True, False)),
    (BY_TWO_N, _slips(False, True)),
    (BY_TWO_N, _slips(True, True)),
    ("p is the share of right answers, right / count.", _undivided),
    (
        "Return shares from 0 to 1, not percentages.",
        lambda right, count: tuple(100 * end for end in wilson_interval(right, count)),
    ),
    (SURE, _wilson(lambda p, n, z: (p, z * math.sqrt(p * (1 - p) / n)))),
    (SURE, _usual),
    ("Low and high are swapped.", lambda right, count: wilson_interval(right, count)[::-1]),
    (
        "The division by 1 + z^2 / n is missing.",
        _wilson(lambda p, n, z: (p + z**2 / (2 * n), z * _root(p, n, z))),
    ),
    (
        "You divide only the centre by 1 + z^2 / n. Divide the root, too.",
        _wilson(lambda p, n, z: ((p + z**2 / (2 * n)) / (1 + z**2 / n), z * _root(p, n, z))),
    ),
    (
        "You divide only the root by 1 + z^2 / n. Divide the centre, too.",
        _wilson(lambda p, n, z: (p + z**2 / (2 * n), z * _root(p, n, z) / (1 + z**2 / n))),
    ),
    (
        "The z before the square root is missing: this is one standard error, not 95%.",
        _wilson(lambda p, n, z: ((p + z**2 / (2 * n)) / (1 + z**2 / n), _root(p, n, z) / (1 + z**2 / n))),
    ),
    (
        "The last term under the root is z^2 / 4n^2: n is squared, too.",
        _wilson(
            lambda p, n, z: (
                (p + z**2 / (2 * n)) / (1 + z**2 / n),
                z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n)) / (1 + z**2 / n),
            )
        ),
    ),
    (
        "You multiply only p by 1 / (1 + z^2 / n). It stands before the whole bracket.",
        _wilson(lambda p, n, z: (p / (1 + z**2 / n) + z**2 / (2 * n), z * _root(p, n, z))),
    ),
    (
        "You use p as the centre. Before the division, it is p + z^2 / 2n, which pulls it towards one half.",
        _wilson(lambda p, n, z: (p / (1 + z**2 / n), z * _root(p, n, z) / (1 + z**2 / n))),
    ),
    (
        "These are numbers of answers. Return the ends as shares.",
        lambda right, count: tuple(count * end for end in wilson_interval(right, count)),
    ),
]

EXERCISE = Exercise(
    name="wilson_interval",
    lesson="17",
    minutes=5,
    difficulty=1,
    reference=wilson_interval,
    check=compare(
        wilson_interval,
        WILSON_INPUTS,
        WILSON_MISTAKES,
        else_="Compute p, the square root, then both ends divided by 1 + z^2 / n.",
        tolerance=1e-3,
    ),
    wrong=[
        (lambda right, count: (0.0, 1.0), "Compute p"),
        (lambda right, count: right / count, "should be a tuple of 2"),
        (lambda right, count: None, "Is there a return"),
        (lambda right, count: wilson_interval(right, 50), "Compute p"),
    ],
    right=[_exact_z, _by_roots],
    hints=(
        "It is one formula, with - for low and + for high. Compute p, then the square root, then both ends.",
        "half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)); low = (p + z**2 / (2 * n) - half) / "
        "(1 + z**2 / n), high the same with + half.",
    ),
)
