"""Lesson 18's companion, token_weights: three normalisers."""

import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_18.exercises.shared import group_mask
from course_utils.methods.grpo import token_weights


def _masks():
    first, second = group_mask(3, 6), group_mask(5, 9)
    return [
        call(first, "grpo"),
        call(first, "dapo"),
        call(first, "dr_grpo", limit=8),
        call(second, "dr_grpo", 24),
        call(second, "grpo", limit=24),
        call(second, "dapo", limit=24),
        call(second),
    ]


def _weights(**faults):
    """A wrong token_weights: for some loss types, another type's weights or a function of (mask, limit)."""

    def wrong(mask, loss_type="grpo", limit=None):
        fault = faults.get(loss_type)
        return token_weights(mask, loss_type, limit) if fault is None else fault(mask, limit)

    return wrong


def _grpo(mask, limit=None):
    return token_weights(mask, "grpo")


def _dapo(mask, limit=None):
    return token_weights(mask, "dapo")


def _weights_in_place(mask, loss_type="grpo", limit=None):
    weights = token_weights(mask, loss_type, limit)
    mask /= mask.sum()
    return weights


def _by_division(mask, loss_type="grpo", limit=None):
    rows = len(mask)
    lengths = mask.sum(1)
    divisors = {"grpo": lengths * rows, "dapo": lengths.sum().expand(rows)}
    divisor = divisors.get(loss_type)
    if divisor is None:
        divisor = torch.full((rows,), float(rows * limit))
    return torch.where(mask == 1, 1 / divisor[:, None], 0.0)


def _by_mean(mask, loss_type="grpo", limit=None):
    if loss_type == "grpo":
        return torch.stack([row / row.sum() for row in mask]) / mask.shape[0]
    total = mask.sum() if loss_type == "dapo" else mask.shape[0] * limit
    return mask / total


WEIGHT_MISTAKES = [
    (
        "grpo and dapo are swapped: in grpo every answer counts equally, in dapo every token does.",
        _weights(grpo=_dapo, dapo=_grpo),
    ),
    (
        "grpo: these are the weights of dapo, where a long answer counts more. Divide each row by its own "
        "length first, then by the number of rows.",
        _weights(grpo=_dapo),
    ),
    ("dapo: these are the weights of grpo. Divide by the number of all tokens.", _weights(dapo=_grpo)),
    (
        "grpo: each row adds up to 1. Divide also by the number of rows, so that all weights add up to 1.",
        _weights(grpo=lambda mask, limit: mask / mask.sum(1, keepdim=True)),
    ),
    (
        "dr_grpo: divide by rows times `limit`, the maximum tokens per answer, not by the width of the "
        "batch. The width changes with the longest answer of the batch.",
        _weights(dr_grpo=lambda mask, limit: mask / mask.numel()),
    ),
    ("dr_grpo: divide by the number of rows as well.", _weights(dr_grpo=lambda mask, limit: mask / limit)),
    (
        "dr_grpo: divide by the limit as well as by the number of rows.",
        _weights(dr_grpo=lambda mask, limit: mask / len(mask)),
    ),
    (
        "You count the lengths along the wrong axis: an answer is a row, so sum over dim 1.",
        _weights(grpo=lambda mask, limit: mask / mask.sum(0).clamp(min=1) / len(mask)),
    ),
    (
        "grpo: keepdim=True is missing. mask.sum(1) is [rows] and does not fit [rows, tokens]; keep it "
        "[rows, 1].",
        _weights(grpo=lambda mask, limit: mask / mask.sum(1) / len(mask)),
    ),
    (
        "Prompt and padding have weights, too: multiply by the mask.",
        lambda mask, loss_type="grpo", limit=None: token_weights(torch.ones_like(mask), loss_type, limit),
    ),
    (
        "Return a weight for each token, [rows, tokens], not their sum.",
        lambda *arguments, **options: token_weights(*arguments, **options).sum(1),
    ),
]

EXERCISE = Exercise(
    name="token_weights",
    lesson="18m",
    minutes=10,
    difficulty=2,
    reference=token_weights,
    check=compare(
        token_weights,
        _masks,
        WEIGHT_MISTAKES,
        else_="Two answers of 1 and 3 tokens, a limit of 10: the weights of their tokens are 1/2 and 1/6 in "
        "grpo, 1/4 and 1/4 in dapo, 1/20 and 1/20 in dr_grpo.",
    ),
    wrong=[
        (_weights_in_place, "changes its argument mask in place"),
        (lambda mask, loss_type="grpo", limit=None: 0 * mask, "Two answers of 1 and 3 tokens"),
        (lambda mask: token_weights(mask), "should take the arguments"),
    ],
    right=[_by_division, _by_mean],
    hints=(
        "Each of the three is the mask divided by something: in grpo, the answer's own length and the number "
        "of answers; in dapo, the number of all tokens; in dr_grpo, a constant.",
        "mask.sum(1, keepdim=True) is [rows, 1], the lengths; len(mask) the number of answers; "
        "mask.sum() all tokens; limit the maximum tokens per answer.",
    ),
    then="The table below uses your function, and *In the library* compares it with TRL's three normalisers.",
)
