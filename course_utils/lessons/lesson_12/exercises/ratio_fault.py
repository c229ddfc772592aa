"""Lesson 12, ratio_fault: bug hunt, which log-probabilities."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_12.suspects import ratio_fault


def _ratios():
    """Ratios of updates of each kind, some near the threshold, with the rounding of two forward passes."""

    def ones():
        return 1 + 1e-5 * torch.randn(50)

    def moved():
        return torch.exp(0.1 * torch.randn(50))

    above, below = ones(), ones()
    above[7], below[3] = 1.3, 0.7  # one token alone
    rare = 1 + 1e-5 * torch.randn(500)
    rare[40] = 1.02
    near, beyond, all_alike = (torch.full((50,), ratio) for ratio in (1.0005, 1.005, 1.2))
    return [
        (ones(), moved()),
        (moved(), moved()),
        (ones(), ones()),
        (above, moved()),
        (below, moved()),
        (ones(), above),
        (ones(), below),
        (near, moved()),
        (ones(), near),
        *((far, moved()) for far in (beyond, all_alike, rare)),
        *((ones(), far) for far in (beyond, all_alike, rare)),
    ]


def _within(threshold, size=lambda ratios: (ratios - 1).abs().max()):
    """A wrong ratio_fault, which takes ratios for 1 where their `size` is below a threshold."""
    return lambda before, after: (
        "reference" if size(before) > threshold else "itself" if size(after) < threshold else "sound"
    )


def _by_extremes(first, last):
    """A wrong ratio_fault: first (last) chooses one of the distances from 1 before (after) the step."""
    return lambda before, after: (
        "reference"
        if first((before - 1).abs()) > 1e-3
        else "itself"
        if last((after - 1).abs()) < 1e-3
        else "sound"
    )


RATIO_MISTAKES = [
    (
        "The first ratio tells of the first fault: before any step a sound update has 1 everywhere, and the "
        "reference's log-probabilities give something else.",
        lambda before, after: "itself" if (after - 1).abs().max() < 1e-3 else "sound",
    ),
    (
        "A policy that is compared with itself has ratio 1 after its step too: look at `after`.",
        lambda before, after: "reference" if (before - 1).abs().max() > 1e-3 else "sound",
    ),
    (
        "Two forward passes round differently: a ratio within 0.001 of 1 counts as 1.",
        lambda before, after: (
            "reference" if (before != 1).any() else "itself" if (after == 1).all() else "sound"
        ),
    ),
    ("Two forward passes round differently: a ratio within 0.001 of 1 counts as 1.", _within(1e-4)),
    (
        "The spread is 0 where all ratios are alike, and they may all be 1.2. Look at the largest difference "
        "from 1.",
        _within(1e-3, lambda ratios: ratios.std()),
    ),
    ("The threshold is too wide: only what is within 0.001 of 1 counts as 1.", _within(0.1)),
    ("The threshold is too wide: only what is within 0.001 of 1 counts as 1.", _within(0.01)),
    (
        "The mean hides a single token that has moved. Look at the largest difference from 1.",
        _within(1e-3, lambda ratios: (ratios - 1).abs().mean()),
    ),
    (
        "The mean hides it: ratios above and below 1 cancel. Look at the largest difference from 1.",
        lambda before, after: (
            "reference"
            if (before.mean() - 1).abs() > 0.05
            else "itself"
            if (after.mean() - 1).abs() < 0.05
            else "sound"
        ),
    ),
    (
        "Only ratios above 1 are seen: take the absolute difference.",
        lambda before, after: (
            "reference" if (before - 1).max() > 1e-3 else "itself" if (after - 1).max() < 1e-3 else "sound"
        ),
    ),
    *(
        (
            "One token is enough to tell: before the step `any` ratio that is not 1, after it `all` of them "
            "1.",
            _by_extremes(first, last),
        )
        for first, last in ((torch.min, torch.max), (torch.max, torch.min))
    ),
    (
        "The verdicts are exchanged: a first ratio that is not 1 comes from another policy.",
        lambda before, after: {"reference": "itself", "itself": "reference"}.get(
            ratio_fault(before, after), "sound"
        ),
    ),
]

EXERCISE = Exercise(
    name="ratio_fault",
    lesson="12",
    minutes=8,
    difficulty=2,
    reference=ratio_fault,
    check=compare(ratio_fault, _ratios, RATIO_MISTAKES),
    wrong=[
        (lambda before, after: "wrong", "and is 'wrong'"),
        (lambda before, after: None, "Is there a return"),
    ],
    right=[
        lambda before, after: (
            "reference"
            if not torch.allclose(before, torch.ones_like(before), atol=1e-3)
            else "itself"
            if torch.allclose(after, torch.ones_like(after), atol=1e-3)
            else "sound"
        ),
        lambda before, after: (
            "reference"
            if any(abs(ratio - 1) > 1e-3 for ratio in before.tolist())
            else "itself"
            if all(abs(ratio - 1) < 1e-3 for ratio in after.tolist())
            else "sound"
        ),
    ],
    hints=(
        "What should the ratio be before the first step, when the policy still is the one that sampled? "
        "And after a step?",
        "(before - 1).abs().max() is the largest difference from 1. Above 0.001: reference. If not, and "
        "the same of `after` is below 0.001: itself. Else sound.",
    ),
    then="The table below gives its verdicts.",
)
