"""Lesson 18, pass_at_k: pass@k."""

import math

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_18.passing import pass_at_k


def _counts(*values):
    return torch.tensor(values)


def _passes():
    return [
        (_counts(0, 1, 3, 16), 16, 4),
        (_counts(2, 0, 128, 127, 1), 128, 64),
        (_counts(5, 7), 8, 1),
        (_counts(1, 4, 6), 6, 3),
    ]


def _each(formula):
    """A wrong pass_at_k: formula(right, total, k) for one question."""

    def wrong(right, total, k):
        return torch.tensor([float(formula(int(count), total, k)) for count in right])

    return wrong


def _as_factors(right, total, k):
    """Right: the probability that k draws without replacement are all wrong, as a product."""
    result = []
    for count in right.tolist():
        wrong = 1.0
        for drawn in range(k):
            wrong *= max(total - count - drawn, 0) / (total - drawn)
        result.append(1 - wrong)
    return torch.tensor(result)


def _by_log_gamma(right, total, k):
    wrong = total - right.double()
    logs = torch.lgamma(wrong + 1) - torch.lgamma((wrong - k + 1).clamp(min=1))
    logs = logs - math.lgamma(total + 1) + math.lgamma(total - k + 1)
    return torch.where(wrong < k, 1.0, 1 - logs.exp()).float()


PASS_MISTAKES = [
    (
        "You treat the k answers as drawn with replacement, 1 - (share of wrong ones)^k. This is too low if "
        "some are right: k different answers of `total` are more likely to include a right one.",
        _each(lambda c, n, k: 1 - (1 - c / n) ** k),
    ),
    (
        "This is whether any answer is right: pass@total. Count the choices of k answers that are all wrong.",
        _each(lambda c, n, k: c > 0),
    ),
    ("k has no effect: this is pass@1, the share of right answers.", _each(lambda c, n, k: c / n)),
    (
        "This is the probability that all k answers are wrong. Subtract it from 1.",
        _each(lambda c, n, k: math.comb(n - c, k) / math.comb(n, k)),
    ),
    (
        "This is the probability that all k answers are right. One right answer is enough.",
        _each(lambda c, n, k: math.comb(c, k) / math.comb(n, k)),
    ),
    (
        "You count wrong answers in the place of right ones: `right` says how many are right, so "
        "total - right are wrong.",
        _each(lambda c, n, k: 1 - math.comb(c, k) / math.comb(n, k)),
    ),
    (
        "This is whether k answers or more are right. One right answer is enough, and it has to be among "
        "the k.",
        _each(lambda c, n, k: c >= k),
    ),
    (
        "This is k times the share of right answers. Probabilities of events that can happen together do not "
        "add up.",
        _each(lambda c, n, k: min(1, k * c / n)),
    ),
    (
        "This is the expected number of right answers among k, not the probability of at least one.",
        _each(lambda c, n, k: k * c / n),
    ),
    (
        "This is the mean over the questions. Return one probability per question, so that an interval over "
        "questions can be computed.",
        lambda right, total, k: pass_at_k(right, total, k).mean(),
    ),
]

EXERCISE = Exercise(
    name="pass_at_k",
    lesson="18",
    minutes=10,
    difficulty=2,
    reference=pass_at_k,
    check=compare(
        pass_at_k,
        _passes,
        PASS_MISTAKES,
        else_="With 1 right answer of 4, the probability that 2 of them include it is 1 - C(3, 2) / C(4, 2), "
        "which is 1/2.",
    ),
    wrong=[
        (_each(lambda c, n, k: 0.5), "With 1 right answer of 4"),
        (lambda right, total, k: None, "Is there a return"),
        (lambda right, total: right / total, "should take the arguments"),
    ],
    right=[_as_factors, _by_log_gamma],
    hints=(
        "Choose k of the `total` answers. There are C(total, k) ways. In how many of them are all k wrong? "
        "Those include none of the right answers.",
        "For each count in right: math.comb(total - count, k) / math.comb(total, k) is the probability that "
        "all are wrong (math.comb is 0 if there are fewer than k wrong ones). Return one minus that, as a "
        "tensor [questions].",
    ),
    then="All curves below use your function. Run the cells below again.",
)
