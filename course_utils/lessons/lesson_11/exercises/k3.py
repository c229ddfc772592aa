"""Lesson 11's companion, k3: the third estimator."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_11.exercises.shared import nearby_log_probs
from course_utils.methods.kl import k1, k2, k3


def _ratio(fault):
    """A wrong k3: fault(log(reference / policy))."""
    return lambda current, reference: fault(reference - current)


def _k3_in_place(current, reference):
    current -= reference
    return (-current).expm1() + current


K3_MISTAKES = [
    (
        "The ratio is inverted. It is reference over policy, since the policy drew the samples: only then is "
        "its mean 1. This version is never negative either, but its mean is wrong.",
        lambda current, reference: k3(reference, current),
    ),
    (
        "Where the policies agree, this is 1 but should be 0: add ratio - 1 to k1.",
        lambda current, reference: k3(current, reference) + 1,
    ),
    ("This is only ratio - 1, whose mean is 0 whatever the KL. Add it to k1.", _ratio(torch.expm1)),
    (
        "k1 has the wrong sign in this sum: it is minus the log-ratio.",
        _ratio(lambda log_ratio: log_ratio.expm1() + log_ratio),
    ),
    ("This is k1.", k1),
    ("This is -k1.", _ratio(lambda log_ratio: log_ratio)),
    ("This is k2.", k2),
    ("The absolute value is never negative, but its mean is not the KL.", _ratio(torch.abs)),
    (
        "This is the mean. Return one value for each token; averaging comes later.",
        lambda current, reference: k3(current, reference).mean(),
    ),
    (
        "This is a sum. Return one value for each token; adding up comes later.",
        lambda current, reference: k3(current, reference).sum(),
    ),
]

EXERCISE = Exercise(
    name="k3",
    lesson="11m",
    minutes=8,
    difficulty=2,
    reference=k3,
    check=compare(
        k3,
        lambda: [nearby_log_probs(2, 3), nearby_log_probs(7)],
        K3_MISTAKES,
        else_="With log_ratio = reference - current: exp(log_ratio) - 1 - log_ratio for each token.",
        gradient=("log_probs_current",),
    ),
    wrong=[
        (lambda current, reference: k3(current, reference).detach(), "has no graph"),
        (lambda current, reference: k3(current.detach(), reference), "log_probs_current gets no gradient"),
        (_ratio(lambda log_ratio: log_ratio.detach().expm1() - log_ratio), "a gradient is not"),
        (_k3_in_place, "changes its argument log_probs_current in place"),
        (lambda current, reference: 2 * k3(current, reference), "for each token"),
        (lambda current, reference: None, "Is there a return"),
    ],
    right=[
        _ratio(lambda log_ratio: log_ratio.exp() - 1 - log_ratio),
        lambda c, r: c.sub(r).add(torch.exp(r) / torch.exp(c)).sub(1),
    ],
    hints=(
        "k1 is right on average but has a high variance. Add a term whose mean over the policy's samples is "
        "known to be zero, and which is large where k1 is small. The ratio of reference to policy has a "
        "mean of 1 over these samples.",
        "log_ratio = log_probs_reference - log_probs_current, any shape. k1 is -log_ratio; the ratio "
        "is exp(log_ratio); k3 = k1 + (ratio - 1). expm1 keeps the digits where the ratio is near 1.",
    ),
)
