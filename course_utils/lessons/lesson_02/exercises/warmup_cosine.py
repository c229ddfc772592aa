"""Companion of lesson 02, warmup_cosine: warm-up and cosine."""

import math

import numpy as np
import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.training import warmup_cosine


def _factor(rest, warm=lambda step, warmup: (step + 1) / warmup):
    """A wrong warmup_cosine: rest(share of the rest done, floor) after the warm-up, warm(...) during it."""

    def wrong(step, steps, warmup, floor=0.0):
        if step < warmup:
            return warm(step, warmup)
        return rest((step - warmup) / max(1, steps - warmup), floor)

    return wrong


def _cosine(done, floor=0.0):
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


def _from_the_start(step, steps, warmup, floor=0.0):
    return (step + 1) / warmup if step < warmup else _cosine(step / steps, floor)


def _over_all_steps(step, steps, warmup, floor=0.0):
    return (step + 1) / warmup if step < warmup else _cosine((step - warmup) / steps, floor)


def _ends_at_the_last(step, steps, warmup, floor=0.0):
    return (step + 1) / warmup if step < warmup else _cosine((step + 1 - warmup) / (steps - warmup), floor)


def _no_warmup(step, steps, warmup, floor=0.0):
    return _cosine(step / steps, floor)


def _by_minimum(step, steps, warmup, floor=0.0):
    return min((step + 1) / warmup, warmup_cosine(max(step, warmup), steps, warmup, floor))


def _in_numpy(step, steps, warmup, floor=0.0):
    done = np.clip((step - warmup) / (steps - warmup), 0, 1)
    factor = floor + (1 - floor) * np.cos(np.pi * done / 2) ** 2
    return np.float32((step + 1) / warmup if step < warmup else factor)


def _in_torch(step, steps, warmup, floor=0.0):
    if step < warmup:
        return torch.tensor(step + 1) / warmup
    done = torch.tensor((step - warmup) / (steps - warmup))
    return torch.lerp(torch.tensor(1.0), torch.tensor(floor), (1 - torch.cos(torch.pi * done)) / 2)


FACTOR_INPUTS = [
    *((step, 100, 10) for step in (0, 1, 2, 9, 10, 11, 32, 55, 99)),
    *((step, 24, 4) for step in (0, 3, 4, 14, 23)),
    *(call(step, 100, 10, floor=0.2) for step in (0, 3, 10, 55, 99)),
    call(30, 40, 20, floor=0.6),
]
HALF_COSINE = (
    "Right after the warm-up the factor should be 1, and at the end 0. Half of a cosine goes from 1 to 0: "
    "0.5 * (1 + cos(pi * done))."
)
FACTOR_MISTAKES = [
    (
        "Step 0 has the factor 0: its batch is computed and teaches nothing. Use step + 1.",
        _factor(_cosine, lambda step, warmup: step / warmup),
    ),
    (
        "The warm-up is missing: over a warm-up of 10 steps the factor should be 0.1, 0.2, ... 1.0.",
        _factor(_cosine, lambda step, warmup: 1.0),
    ),
    (
        "The warm-up is missing: over a warm-up of 10 steps the factor should be 0.1, 0.2, ... 1.0.",
        _no_warmup,
    ),
    (
        "The warm-up ends below 1: over 10 steps the factor should be 0.1, 0.2, ... 1.0.",
        _factor(_cosine, lambda step, warmup: (step + 1) / (warmup + 1)),
    ),
    (
        "The cosine should count from the end of the warm-up: done = 0 at step = warmup. Yours counts from "
        "step 0.",
        _from_the_start,
    ),
    (
        "The cosine should end with the last step: divide by steps - warmup, the remaining steps.",
        _over_all_steps,
    ),
    (
        "You are one step too far: right after the warm-up, at step = warmup, done is 0 and the factor 1.",
        _ends_at_the_last,
    ),
    (
        "The factor falls linearly; it should be half a cosine.",
        _factor(lambda done, floor: floor + (1 - floor) * (1 - done)),
    ),
    ("The factor stays at 1 after the warm-up.", _factor(lambda done, floor: 1.0)),
    (HALF_COSINE, _factor(lambda done, floor: floor + (1 - floor) * math.cos(math.pi * done))),
    (HALF_COSINE, _factor(lambda done, floor: floor + (1 - floor) * (1 + math.cos(math.pi * done)))),
    (HALF_COSINE, _factor(lambda done, floor: _cosine(2 * done, floor))),
    (HALF_COSINE, _factor(lambda done, floor: _cosine(1 - done, floor))),
    (
        "This is a quarter of a cosine: it falls fastest at the end. Half a cosine falls slowly at both "
        "ends: 0.5 * (1 + cos(pi * done)).",
        _factor(lambda done, floor: floor + (1 - floor) * math.cos(math.pi * done / 2)),
    ),
    (
        "The floor lifts the whole curve above 1. The cosine should run "
        "from 1 down to the floor: floor + (1 - floor) * cosine.",
        _factor(lambda done, floor: floor + _cosine(done)),
    ),
    (
        "You cut the curve at the floor. The cosine should run from 1 down to the floor over all remaining "
        "steps: floor + (1 - floor) * cosine.",
        _factor(lambda done, floor: max(floor, _cosine(done))),
    ),
    (
        "floor has no effect: the cosine should run from 1 down to the floor.",
        _factor(lambda done, floor: _cosine(done)),
    ),
    (
        "The floor is for the end. The warm-up rises as (step + 1) / warmup to 1, whatever the floor is.",
        lambda step, steps, warmup, floor=0.0: max(floor, warmup_cosine(step, steps, warmup, floor)),
    ),
    (
        "Your warm-up starts at the floor. It should rise from 1 / warmup to 1, whatever the floor is.",
        lambda step, steps, warmup, floor=0.0: (
            floor + (1 - floor) * (step + 1) / warmup
            if step < warmup
            else warmup_cosine(step, steps, warmup, floor)
        ),
    ),
    ("With warmup=0 your function divides by zero. Without a warm-up the first factor is 1.", _by_minimum),
]

EXERCISE = Exercise(
    name="warmup_cosine",
    lesson="02m",
    minutes=8,
    difficulty=1,
    reference=warmup_cosine,
    check=compare(
        warmup_cosine,
        FACTOR_INPUTS,
        FACTOR_MISTAKES,
        else_="It rises linearly to 1 in the warm-up, then falls by half a cosine to floor.",
        extremes=[("Without a warm-up the first factor is 1.", [(0, 10, 0), (5, 10, 0)])],
    ),
    wrong=[
        (_factor(lambda done, floor: floor + (1 - floor) * (1 - done) ** 2), "falls by half a cosine"),
        (
            lambda step, steps, warmup, floor=0.0: (
                warmup_cosine(step, steps, warmup, floor) if warmup else 0.5
            ),
            "Without a warm-up",
        ),
        (lambda step, steps, warmup: warmup_cosine(step, steps, warmup), "should take the arguments"),
        (lambda step, steps, warmup, floor=0.0: None, "Is there a return?"),
    ],
    right=[_in_numpy, _in_torch],
    hints=(
        "Two pieces. In the warm-up, the factor is the share of it that is done, this step included. After "
        "it, a number `done` goes from 0 to 1; think of half a cosine over it.",
        "Takes and returns a number. If step < warmup: (step + 1) / warmup. Else done = (step - warmup) / "
        "max(1, steps - warmup), cosine = 0.5 * (1 + cos(pi * done)), scaled to run between floor and 1.",
    ),
    then="The next cells draw your schedule and train with it.",
)
