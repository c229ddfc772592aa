"""Lesson 09, paired_difference: before and after on the same questions."""

import random
import statistics

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def paired_difference(before, after):
    """(accuracy after minus accuracy before, its standard error) for the same questions: lists of bools."""
    differences = [int(b) - int(a) for a, b in zip(before, after, strict=True)]
    n = len(differences)
    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    return mean, (variance / n) ** 0.5


def _outcomes(both, gained, lost, neither):
    """Answers of two models to the same questions, in any order; so many that n - 1 or n does not matter."""
    pairs = [(1, 1)] * both + [(0, 1)] * gained + [(1, 0)] * lost + [(0, 0)] * neither
    random.shuffle(pairs)
    return [bool(a) for a, _ in pairs], [bool(b) for _, b in pairs]


def _error(fault):
    """A wrong paired_difference: fault(difference, variance of the differences, p before, p after, n)."""

    def wrong(before, after):
        mean, error = paired_difference(before, after)
        n = len(before)
        return fault(mean, error**2 * n, sum(before) / n, sum(after) / n, n)

    return wrong


def _by_numpy(before, after):
    differences = np.array(after, dtype=np.float32) - np.array(before, dtype=np.float32)
    return [differences.mean(), differences.std() / np.sqrt(np.float32(len(differences)))]


def _by_torch(before, after):
    differences = torch.tensor(after).float() - torch.tensor(before).float()
    return differences.mean(), differences.std() / len(differences) ** 0.5


def _by_statistics(before, after):
    differences = [b - a for a, b in zip(before, after, strict=True)]
    return statistics.mean(differences), statistics.stdev(differences) / len(before) ** 0.5


ONE_ACCURACY = "This is the error of one of the two accuracies, not of their difference."
PAIRED_MISTAKES = [
    (
        "This is the error of two independent samples. The questions are the same: take the difference of "
        "every question first, then the standard error of the differences.",
        _error(lambda d, v, p, q, n: (d, ((p * (1 - p) + q * (1 - q)) / n) ** 0.5)),
    ),
    (
        "This is the standard deviation of a single difference. Divide it by the root of n for the mean.",
        _error(lambda d, v, p, q, n: (d, v**0.5)),
    ),
    (
        "This is the variance of the mean. The standard error is its root.",
        _error(lambda d, v, p, q, n: (d, v / n)),
    ),
    (
        "You do not subtract the mean: a standard deviation is taken around the mean of the numbers.",
        lambda before, after: (
            paired_difference(before, after)[0],
            sum(a != b for a, b in zip(before, after, strict=True)) ** 0.5 / len(before),
        ),
    ),
    (ONE_ACCURACY, _error(lambda d, v, p, q, n: (d, (p * (1 - p) / n) ** 0.5))),
    (ONE_ACCURACY, _error(lambda d, v, p, q, n: (d, (q * (1 - q) / n) ** 0.5))),
    (
        "You treat the difference as a share: d * (1 - d) is not the variance of numbers -1, 0 and 1.",
        _error(lambda d, v, p, q, n: (d, (abs(d) * (1 - abs(d)) / n) ** 0.5)),
    ),
    ("The sign is wrong: after minus before.", _error(lambda d, v, p, q, n: (-d, (v / n) ** 0.5))),
    (
        "The sign is lost: if the accuracy falls, the difference is negative.",
        _error(lambda d, v, p, q, n: (abs(d), (v / n) ** 0.5)),
    ),
    (
        "This is a number of questions. Divide by the number of all questions.",
        _error(lambda d, v, p, q, n: (d * n, (v / n) ** 0.5)),
    ),
    (
        "This is a share of the questions that changed: losses count, too, as -1.",
        lambda before, after: (
            sum(a != b for a, b in zip(before, after, strict=True)) / len(before),
            paired_difference(before, after)[1],
        ),
    ),
    (
        "You return the error first. Return the difference, then its standard error.",
        lambda before, after: paired_difference(before, after)[::-1],
    ),
    (
        "Return two numbers: the difference and its standard error.",
        lambda before, after: paired_difference(before, after)[0],
    ),
]

EXERCISE = Exercise(
    name="paired_difference",
    lesson="09m",
    minutes=10,
    difficulty=2,
    reference=paired_difference,
    check=compare(
        paired_difference,
        lambda: [_outcomes(100, 44, 12, 44), _outcomes(150, 18, 57, 75)],
        PAIRED_MISTAKES,
        else_="Give each question 1, 0 or -1; return the mean of these, and their standard deviation divided "
        "by the root of n.",
        tolerance=2e-3,
    ),
    wrong=[
        (lambda before, after: (0.16, 0.0357), "Give each question"),
        (_error(lambda d, v, p, q, n: (100 * d, 100 * (v / n) ** 0.5)), "Give each question"),
        (_error(lambda d, v, p, q, n: (d, 0.0)), "Give each question"),
    ],
    right=[_by_numpy, _by_torch, _by_statistics],
    hints=(
        "Most questions have the same outcome both times, and do not affect the difference. Give every "
        "question a number: 1 for gained, -1 for lost, 0 for the same.",
        "The difference of the accuracies is the mean of these n numbers. The standard error of a mean is "
        "the standard deviation of the numbers divided by the root of n.",
    ),
)
