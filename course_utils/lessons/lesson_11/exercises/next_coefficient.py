"""Lesson 11's companion, next_coefficient: the next coefficient."""

import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_11.small_kl import next_coefficient

NEXT_INPUTS = [
    (0.8, 4.4, 4.0),
    (0.8, 40.0, 4.0),
    (0.8, 0.4, 4.0),
    (0.03, 1.95, 2.0),
    (0.8, 4.0, 4.0),
    call(2.0, 10.0, 5.0, gain=0.3, clip=0.05),
    call(2.0, 0.5, 5.0, gain=0.5, clip=0.4),
]


def _coefficient(fault):
    """A wrong next_coefficient: fault(coefficient, relative error, clipped error, gain, clip)."""

    def wrong(coefficient, kl, target, gain=0.1, clip=0.2):
        error = (kl - target) / target
        return fault(coefficient, error, min(max(error, -clip), clip), gain, clip)

    return wrong


def _absolute_error(coefficient, kl, target, gain=0.1, clip=0.2):
    return coefficient * (1 + gain * min(max(kl - target, -clip), clip))


def _divided_by_kl(coefficient, kl, target, gain=0.1, clip=0.2):
    return coefficient * (1 + gain * min(max((kl - target) / kl, -clip), clip))


def _without_options(coefficient, kl, target):
    return next_coefficient(coefficient, kl, target)


def _by_clamp(coefficient, kl, target, gain=0.1, clip=0.2):
    error = torch.tensor((kl - target) / target).clamp(-clip, clip)
    return coefficient * (1 + gain * error)


def _by_cases(coefficient, kl, target, gain=0.1, clip=0.2):
    if kl > (1 + clip) * target:
        return coefficient + coefficient * gain * clip
    if kl < (1 - clip) * target:
        return coefficient - coefficient * gain * clip
    return coefficient + coefficient * gain * (kl / target - 1)


SWAPPED = "min and max are swapped: the error is -clip or clip, never between. min(max(error, -clip), clip)."
NEXT_MISTAKES = [
    (
        "This is the factor. The new coefficient is the old one times this factor.",
        _coefficient(lambda beta, error, clipped, gain, clip: 1 + gain * clipped),
    ),
    (
        "On target, the coefficient should not change; yours becomes 0. The factor is 1 + gain * error.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * gain * clipped),
    ),
    (
        "The coefficient moves the wrong way: if the KL is above its target, the penalty must grow.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 - gain * clipped)),
    ),
    (
        "You add instead of multiplying: the step would be as large for a coefficient of 0.001 as for 1.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta + gain * clipped),
    ),
    ("The gain is missing.", _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 + clipped))),
    (
        "You do not divide the error by the target: targets of 4 and of 40 nats would be steered very "
        "differently.",
        _absolute_error,
    ),
    ("You divide the error by the KL. Divide by the target.", _divided_by_kl),
    (
        "You do not clip the error: one odd batch with ten times the target would nearly double the "
        "coefficient.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 + gain * error)),
    ),
    (
        "You clip gain * error. Clip the error, then multiply by the gain.",
        _coefficient(
            lambda beta, error, clipped, gain, clip: beta * (1 + min(max(gain * error, -clip), clip))
        ),
    ),
    (
        "You clip the error only from above; it must not be below -clip either.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 + gain * min(error, clip))),
    ),
    (
        "You clip the error only from below; it must not be above clip either.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 + gain * max(error, -clip))),
    ),
    (
        SWAPPED,
        _coefficient(
            lambda beta, error, clipped, gain, clip: beta * (1 + gain * max(min(error, -clip), clip))
        ),
    ),
    (
        SWAPPED,
        _coefficient(
            lambda beta, error, clipped, gain, clip: beta * (1 + gain * min(max(error, clip), -clip))
        ),
    ),
    (
        "gain and clip are arguments: use them instead of 0.1 and 0.2.",
        lambda beta, kl, target, gain=0.1, clip=0.2: next_coefficient(beta, kl, target),
    ),
    (
        "gain is an argument: use it instead of 0.1.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 + 0.1 * clipped)),
    ),
    (
        "clip is an argument: use it instead of 0.2.",
        lambda beta, kl, target, gain=0.1, clip=0.2: next_coefficient(beta, kl, target, gain),
    ),
]

EXERCISE = Exercise(
    name="next_coefficient",
    lesson="11m",
    minutes=5,
    difficulty=1,
    reference=next_coefficient,
    check=compare(
        next_coefficient,
        NEXT_INPUTS,
        NEXT_MISTAKES,
        else_="It is coefficient * (1 + gain * error), with the error between -clip and clip.",
    ),
    wrong=[
        (_coefficient(lambda beta, error, clipped, gain, clip: None), "Is there a return"),
        (_without_options, "should take the arguments"),
        (_coefficient(lambda beta, error, clipped, gain, clip: beta), "between -clip and clip"),
    ],
    right=[_by_clamp, _by_cases],
    hints=(
        "It is a thermostat: compare the KL with its target, relative to the target, and turn the "
        "coefficient up or down by a small factor. Clipping limits the effect of one odd batch.",
        "error = (kl - target) / target, between -clip and clip; the result is "
        "coefficient * (1 + gain * error), all plain numbers.",
    ),
)
