"""Lesson 02, interpolate_weights: between two models."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise, Mistake


def interpolate_weights(before, after, share):
    """State dict at `share` of the way from `before` (0) to `after` (1), name by name; new tensors."""
    return {name: (1 - share) * before[name] + share * after[name] for name in before}


def _state_dicts():
    """Two models with different names and shapes: a quarter of the way, beyond the middle, and both ends."""
    shapes = {"a": (2, 3), "b": (4,)}, {"w": (5,), "layer.bias": (), "z": (3, 2)}, {"a": (3, 2)}, {"c": (4,)}
    return [
        (*({name: torch.randn(shape) for name, shape in one.items()} for _ in range(2)), share)
        for one, share in zip(shapes, (0.25, 0.7, 0.0, 1.0), strict=True)
    ]


def _check_interpolate(fn):
    COMPARE_WEIGHTS(fn)
    before, after = {"a": torch.ones(2, 3)}, {"a": torch.zeros(2, 3)}
    for share in (0.0, 1.0):
        value = fn(before, after, share)["a"]
        if value.data_ptr() in (before["a"].data_ptr(), after["a"].data_ptr()):
            raise Mistake(
                f"At share {share:.0f} your function returns a tensor that it was given: training the result "
                "would change the model that you want to keep. Make new tensors."
            )


def _line(fault):
    """A wrong interpolate_weights: fault(tensor before, tensor after, share)."""
    return lambda before, after, share: {name: fault(before[name], after[name], share) for name in before}


def _interpolate_in_place(before, after, share):
    for name in before:
        before[name].lerp_(after[name], share)
    return before


def _given_at_the_ends(before, after, share):
    if share in (0, 1):
        return dict(after if share else before)
    return interpolate_weights(before, after, share)


def _first_alone(before, after, share):
    name = next(iter(before))
    return {**before, name: interpolate_weights(before, after, share)[name]}


def _by_multiplying(before, after, share):
    result = {}
    for name, tensor in after.items():
        result[name] = tensor.clone().mul_(share).add_(before[name], alpha=1 - share)
    return result


WEIGHTS_MISTAKES = [
    (
        "The two ends are swapped: at share 0 the weights are `before`, at share 1 `after`.",
        _line(lambda old, new, share: share * old + (1 - share) * new),
    ),
    ("This is always the middle, whatever the share.", _line(lambda old, new, share: (old + new) / 2)),
    ("share is an argument: use it instead of 0.25.", _line(lambda old, new, share: 0.75 * old + 0.25 * new)),
    (
        "You add a share of `after` to all of `before`. The two shares sum to one; or add a "
        "share of the difference after - before.",
        _line(lambda old, new, share: old + share * new),
    ),
    (
        "You add a share of the difference to `after`, but the way starts at `before`.",
        _line(lambda old, new, share: new + share * (new - old)),
    ),
    (
        "The difference has the wrong sign: the way leads away from `after`. It is after - before.",
        _line(lambda old, new, share: old + share * (old - new)),
    ),
    (
        "This is the share of the difference alone. Add it to `before`.",
        _line(lambda old, new, share: share * (new - old)),
    ),
    ("You move only the first tensor. Do it for every name.", _first_alone),
    (
        "Return a dict of tensors by name, like model.state_dict(). This is a list.",
        lambda before, after, share: list(interpolate_weights(before, after, share).values()),
    ),
]
COMPARE_WEIGHTS = compare(
    interpolate_weights,
    _state_dicts,
    WEIGHTS_MISTAKES,
    else_="At share 0.25 each weight should be 0.75 of `before` and 0.25 of `after`.",
)

EXERCISE = Exercise(
    name="interpolate_weights",
    lesson="02",
    minutes=5,
    difficulty=1,
    reference=interpolate_weights,
    check=_check_interpolate,
    wrong=[
        *((wrong, message) for message, wrong in WEIGHTS_MISTAKES),
        (_interpolate_in_place, "changes its argument before in place"),
        (_given_at_the_ends, "a tensor that it was given"),
        (
            lambda before, after, share: dict(list(interpolate_weights(before, after, share).items())[1:]),
            "should have the keys",
        ),
        (_line(lambda old, new, share: new.clone()), "0.75 of `before`"),
        (lambda before, after, share: None, "Is there a return?"),
    ],
    right=[_line(torch.lerp), _line(lambda old, new, share: old + share * (new - old)), _by_multiplying],
    hints=(
        "A straight line between two points: at share 0 the one, at share 1 the other. A model is a point, "
        "too, with one coordinate per weight.",
        "before and after are dicts {name: tensor}. For each name (1 - share) * before[name] + "
        "share * after[name], a new tensor of the same shape; return the dict.",
    ),
    then="The way back below follows your line.",
)
