"""Lesson 01, relative_change: the relative change."""

import math

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_01.weights_and_loss import relative_change


def _models():
    """Weights before and after: a model of three tensors, the last of which changes least, and one of two,
    whose bias starts at 0."""
    before = [torch.randn(4, 3), torch.randn(3), torch.ones(2, 2)]
    scales = (0.1, 0.5, 0.02)
    after = [old + scale * torch.randn(old.shape) for old, scale in zip(before, scales, strict=True)]
    other = [0.2 * torch.randn(5, 2), torch.zeros(5)]
    return [(before, after), (other, [1.5 * other[0] + 0.1 * torch.randn(5, 2), 0.3 * torch.randn(5)])]


def _flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


def _of_vectors(fault):
    """A wrong relative_change: fault(weights before, weights after), one vector each."""
    return lambda before, after: fault(_flat(before), _flat(after))


def _of_norms(fault):
    """A wrong relative_change: fault(norms of the changes, norms before), each [tensors]."""

    def wrong(before, after):
        changes = [(new - old).norm() for old, new in zip(before, after, strict=True)]
        return fault(torch.stack(changes), torch.stack([old.norm() for old in before]))

    return wrong


def _change_in_place(before, after):
    for old, new in zip(before, after, strict=True):
        new -= old
    return (_flat(after).norm() / _flat(before).norm()).item()


def _in_numpy(before, after):
    old, new = (np.concatenate([tensor.numpy().ravel() for tensor in side]) for side in (before, after))
    return np.linalg.norm(new - old) / np.linalg.norm(old)


def _with_floats(before, after):
    change = sum(float((new - old).norm()) ** 2 for old, new in zip(before, after, strict=True))
    return math.sqrt(change) / math.sqrt(sum(float(old.norm()) ** 2 for old in before))


OF_THE_NORM = (
    "This is the change of the norm. Weights that rotate without changing length have moved, too: take the "
    "norm of the change."
)
ONE_FOR_ALL = "Return one number: take all tensors of a list together, as one long vector."
BY_ELEMENT = "You divide element by element, so small weights dominate. Divide the norms."
CHANGE_MISTAKES = [
    (
        "This is the square of the answer: the root is missing.",
        lambda before, after: relative_change(before, after) ** 2,
    ),
    (OF_THE_NORM, _of_vectors(lambda old, new: (new.norm() - old.norm()) / old.norm())),
    (OF_THE_NORM, _of_vectors(lambda old, new: (new.norm() - old.norm()).abs() / old.norm())),
    (
        "You divide by the norm of the new weights. Divide by the norm of the old ones.",
        _of_vectors(lambda old, new: (new - old).norm() / new.norm()),
    ),
    (
        "This is the norm of the change. Divide it by the norm of the weights before.",
        _of_vectors(lambda old, new: (new - old).norm()),
    ),
    (
        "You average the ratios of the tensors: a bias of 3 numbers counts as much as a matrix of 12. "
        "Sum the squares over all tensors first.",
        _of_norms(lambda changes, sizes: (changes / sizes).mean()),
    ),
    (
        "You add up norms. Norms of parts do not add up, their squares do: sum the squares over all tensors, "
        "then take the root.",
        _of_norms(lambda changes, sizes: changes.sum() / sizes.sum()),
    ),
    (BY_ELEMENT, _of_vectors(lambda old, new: ((new - old) / old).norm())),
    (BY_ELEMENT, _of_vectors(lambda old, new: ((new - old) / old).abs().mean())),
    (
        "These are sums of absolute values. The norm is the root of the sum of squares.",
        _of_vectors(lambda old, new: (new - old).abs().sum() / old.abs().sum()),
    ),
    (
        "The changes are added up with their signs and cancel. Square them first.",
        _of_vectors(lambda old, new: (new - old).sum() / old.sum()),
    ),
    (
        "The ratio is inverted: divide the norm of the change by the norm of the weights before.",
        _of_vectors(lambda old, new: old.norm() / (new - old).norm()),
    ),
    (
        "You take the largest ratio of all tensors. Sum the squares over all tensors first.",
        _of_norms(lambda changes, sizes: (changes / sizes).max()),
    ),
    (
        "You use only the matrices. The vectors (biases, for example) are weights, too.",
        lambda before, after: relative_change(
            *[[tensor for tensor in side if tensor.ndim == 2] for side in (before, after)]
        ),
    ),
    ("This is the ratio of the norms, new over old.", _of_vectors(lambda old, new: new.norm() / old.norm())),
    (
        "You use only the first tensor of the list.",
        lambda before, after: relative_change(before[:1], after[:1]),
    ),
    (
        "You use only the last tensor of the list: add up inside the loop.",
        lambda before, after: ((after[-1] - before[-1]).norm() / before[-1].norm()).item(),
    ),
    (ONE_FOR_ALL, _of_norms(lambda changes, sizes: changes / sizes)),
    (ONE_FOR_ALL, _of_norms(lambda changes, sizes: list(changes / sizes))),
]

EXERCISE = Exercise(
    name="relative_change",
    lesson="01",
    minutes=5,
    difficulty=1,
    reference=relative_change,
    check=compare(
        relative_change,
        _models,
        CHANGE_MISTAKES,
        else_="It is the root of (the sum of all squared changes over the sum of all squared weights "
        "before).",
    ),
    wrong=[
        (_change_in_place, "changes its argument after in place"),
        (_of_vectors(lambda old, new: (new - old).norm() / len(old)), "sum of all squared changes"),
        (lambda before, after: None, "Is there a return?"),
    ],
    right=[
        _in_numpy,
        _with_floats,
        _of_vectors(lambda old, new: (new - old).norm() / old.norm()),
        _of_norms(lambda changes, sizes: changes.norm() / sizes.norm()),
    ],
    hints=(
        "Think of all tensors of a list as one concatenated vector. Its norm is the root of the sum of all "
        "squares.",
        "Sum (new - old).square().sum() over the pairs and old.square().sum() over the old tensors, divide, "
        "take the root, .item().",
    ),
    then="It measures how far tuning and the random change move the weights.",
)
