"""Lesson 16, training_flop: FLOP of training."""

import numpy as np

from course_utils.budget import training_flop
from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise

FLOP_INPUTS = [
    (parameters, tokens, frozen, checkpointing)
    for parameters, tokens in [(7e9, 1e6), (124_439_808, 30_720)]
    for frozen in (False, True)
    for checkpointing in (False, True)
]


def _flop_by_table(parameters, tokens, frozen=False, checkpointing=False):
    a_token = {(False, False): 6, (False, True): 8, (True, False): 4, (True, True): 6}
    return a_token[bool(frozen), bool(checkpointing)] * parameters * tokens


def _flop_in_passes(parameters, tokens, frozen=False, checkpointing=False):
    forward = 2.0 * parameters * tokens
    backward = forward if frozen else 2 * forward
    return np.float64(forward * (2 if checkpointing else 1) + backward)


def _flop(forward=2, backward=4, backward_frozen=2, again=2):
    """training_flop with other factors."""
    return lambda p, t, frozen=False, checkpointing=False: (
        p * t * (forward + (backward_frozen if frozen else backward) + (again if checkpointing else 0))
    )


FLOP_MISTAKES = [
    (
        "You swapped frozen and trained.",
        lambda p, t, frozen=False, checkpointing=False: training_flop(p, t, not frozen, checkpointing),
    ),
    (
        "A multiplication and an addition per parameter and token make 2 FLOP: you count one.",
        _flop(1, 2, 1, 1),
    ),
    (
        "With frozen weights, the backward pass must still reach the adapters below: it computes the "
        "gradients of the activations, 2 FLOP.",
        _flop(backward_frozen=0),
    ),
    (
        "Frozen weights need no gradients of their own: half of the backward pass is not needed.",
        _flop(backward_frozen=4),
    ),
    ("Checkpointing repeats the forward pass. You leave this out.", _flop(again=0)),
    (
        "The forward pass that checkpointing repeats is 2 FLOP per parameter and token. A third more is "
        "right only for full fine-tuning: 2 of 6. With frozen weights it is 2 of 4.",
        lambda p, t, frozen=False, checkpointing=False: (
            training_flop(p, t, frozen) * (4 / 3 if checkpointing else 1)
        ),
    ),
    (
        "The forward pass that checkpointing repeats is 2 FLOP per parameter and token. A half more is right "
        "only with frozen weights: 2 of 4. In full fine-tuning it is 2 of 6.",
        lambda p, t, frozen=False, checkpointing=False: (
            training_flop(p, t, frozen) * (3 / 2 if checkpointing else 1)
        ),
    ),
    ("Checkpointing repeats the forward pass, not the backward pass.", _flop(again=4)),
    (
        "The backward pass computes two products where the forward pass computes one: 4 FLOP if all weights "
        "are trained.",
        _flop(backward=2),
    ),
    ("That is only the forward pass.", lambda p, t, frozen=False, checkpointing=False: 2 * p * t),
]

EXERCISE = Exercise(
    name="training_flop",
    lesson="16m",
    minutes=6,
    difficulty=1,
    reference=training_flop,
    check=compare(
        training_flop,
        FLOP_INPUTS,
        FLOP_MISTAKES,
        else_="2 FLOP per parameter, token and product: one forward, one or two backward, one forward again.",
    ),
    wrong=[
        (
            lambda p, t, frozen=False, checkpointing=False: 6 * p * t,
            "2 FLOP per parameter, token and product",
        ),
        (lambda p, t, frozen=False, checkpointing=False: None, "Is there a return"),
    ],
    right=[_flop_by_table, _flop_in_passes],
    hints=(
        "Count products with the weights: the forward pass has one. The backward pass has one for the "
        "gradients of the activations, and one for the gradients of the weights, if they are needed.",
        "2 * parameters * tokens * (1 + (1 if frozen else 2) + (1 if checkpointing else 0)).",
    ),
)
