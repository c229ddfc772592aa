"""Lesson 03, merge_fault: bug hunt, what the script did."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import close, compare
from course_utils.checks.exercises import Exercise


def merge_fault(before, after, change):
    """What was done to a weight when `change` was to be added: right, missing, transposed or wrong size."""
    moved = after - before
    for name, wanted in (("right", change), ("missing", 0 * change), ("transposed", change.T)):
        if torch.allclose(moved, wanted, atol=1e-5):
            return name
    return "wrong size"


def _merges():
    """(before, after, change) of square weights: one for each verdict, and cases that look like another.

    The ranks of a change are added one after the other: the sum is rounded in another way than before +
    change. The default of allclose goes by the size of a number. In row 0 the sum is small, in row 1 the
    weight before, and what is added is large: there the rounding is more than the default allows.
    The last six: only rows 0 to 2 are merged, only the diagonal is, the rows stand in another order, the
    weight before is zero, and small changes, one of them missing.
    """
    n = 24
    B, A = 0.1 * torch.randn(n, 2), torch.randn(2, n)
    B[:2] *= 30
    change = B @ A
    before = 3 * torch.randn(n, n)
    before[:2] *= 3e-4
    before[0] -= change[0]

    def merged(B, A):
        after = before.clone()
        for k in range(2):
            after += torch.outer(B[:, k], A[k])
        return after

    stopped, diagonal = merged(B, A), before + change.diagonal().diag()
    stopped[3:] = before[3:]
    weight, small = torch.randn(n, n), 1e-3 * torch.randn(n, n)
    return [
        (before, merged(B, A), change),
        (before, merged(A.T, B.T), change),
        (before, before.clone(), change),
        (before, merged(2 * B, A), change),
        (before, merged(B, A) + change.T, change + change.T),
        (before, merged(-B, A), change),
        (before, merged(0.01 * A.T, B.T), change),
        (before, stopped, change),
        (before, diagonal, change),
        (before, merged(B.flip(0), A), change),
        (0 * before, merged(B, A) - before, change),
        (weight, weight + small, small),
        (weight, weight.clone(), small),
    ]


def _merge_fault(same, order=("right", "missing", "transposed")):
    """A wrong merge_fault: same(moved, wanted) decides, in that order."""

    def wrong(before, after, change):
        cases = {"right": change, "missing": 0 * change, "transposed": change.T}
        moved = after - before
        return next((name for name in order if same(moved, cases[name])), "wrong size")

    return wrong


def _by_norms(moved, wanted):
    return abs(moved.norm() - wanted.norm()) < 1e-3 * moved.norm() + 1e-6


def _by_direction(moved, wanted):
    if not wanted.any():
        return moved.norm() < 1e-6
    return F.cosine_similarity(moved.flatten(), wanted.flatten(), 0) > 0.999


def _by_distance(before, after, change):
    size = change.norm()
    distances = {
        "right": (after - before - change).norm(),
        "missing": (after - before).norm(),
        "transposed": (after - before - change.T).norm(),
    }
    name, distance = min(distances.items(), key=lambda item: item[1])
    return name if distance < 1e-3 * size else "wrong size"


def _by_sums(before, after, change, **tolerances):
    for name, wanted in (("missing", before), ("right", before + change), ("transposed", before + change.T)):
        if torch.allclose(after, wanted, **tolerances):
            return name
    return "wrong size"


def _by_taking_off(before, after, change):
    for name, wanted in (("missing", 0 * change), ("right", change), ("transposed", change.T)):
        if torch.allclose(after - wanted, before):
            return name
    return "wrong size"


def _by_close_sums(before, after, change):
    return _by_sums(before, after, change, atol=1e-5)


def _by_row_0(moved, wanted):
    return torch.allclose(moved[0], wanted[0], atol=1e-5)


def _without_before(before, after, change):
    if torch.allclose(after, before, atol=1e-5):
        return "missing"
    if torch.allclose(after, change, atol=1e-5):
        return "right"
    return "transposed" if torch.allclose(after, change.T, atol=1e-5) else "wrong size"


def _by_sum(moved, wanted):
    return abs(moved.sum() - wanted.sum()) < 1e-2 and (wanted.any() or not moved.any())


def _loosely(moved, wanted):
    return torch.allclose(moved, wanted, atol=1e-2)


def _by_diagonal(before, after, change):
    moved = after - before
    if torch.allclose(moved, 0 * change, atol=1e-5):
        return "missing"
    if not torch.allclose(moved.diagonal(), change.diagonal(), atol=1e-5):
        return "wrong size"
    return "right" if torch.allclose(moved, change, atol=1e-5) else "transposed"


TOO_LOOSE = (
    "You allow too large a difference: a change of about 0.001 and no change at all look the same. atol=1e-5 "
    "is enough."
)
TOO_STRICT = (
    "Floating-point numbers are rounded when they are added: allow a small difference, more than "
    "torch.allclose does by default. atol=1e-5 is enough."
)
NOT_TAKEN_OFF = "Take the weight from before the merge off first: what was added is after - before."
MERGE_FAULT_MISTAKES = [
    (
        "The size is right in a transposed change too: compare the values, not the norms.",
        _merge_fault(_by_norms),
    ),
    (
        "The direction is right in a change of the wrong size too: compare the values.",
        _merge_fault(_by_direction),
    ),
    (NOT_TAKEN_OFF, lambda before, after, change: merge_fault(0 * before, after, change)),
    (
        "The sum is right in a transposed change and in many others too: compare the values.",
        _merge_fault(_by_sum),
    ),
    (
        "What was added is after - before, not before - after.",
        lambda before, after, change: merge_fault(after, before, change),
    ),
    (TOO_STRICT, _merge_fault(torch.equal)),
    (NOT_TAKEN_OFF, _without_before),
    (TOO_STRICT, _by_sums),
    (TOO_LOOSE, _merge_fault(_loosely)),
    (TOO_LOOSE, _merge_fault(_loosely, order=("missing", "right", "transposed"))),
    (
        "Row 0 alone is compared. A merge may stop half way: compare all of after - before.",
        _merge_fault(_by_row_0),
    ),
    (
        "What has the diagonal of the change need not be the change or its transpose: compare all of it with "
        "change.T too.",
        _by_diagonal,
    ),
    (
        "A change that is its own transpose is merged rightly: ask whether it is right before whether "
        "it is transposed.",
        _merge_fault(close, order=("missing", "transposed", "right")),
    ),
    (
        "A weight that did not move is 'missing', a change of another size is not.",
        lambda before, after, change: (
            verdict if (verdict := merge_fault(before, after, change)) != "wrong size" else "missing"
        ),
    ),
]

EXERCISE = Exercise(
    name="merge_fault",
    lesson="03",
    minutes=7,
    difficulty=2,
    reference=merge_fault,
    check=compare(
        merge_fault,
        _merges,
        MERGE_FAULT_MISTAKES,
        else_="Compare after - before with the change, with zero, and with the change's transpose.",
    ),
    wrong=[
        (lambda before, after, change: None, "Is there a return?"),
        (lambda before, after, change: after - before, "should be of type str"),
        (_merge_fault(torch.allclose), "more than torch.allclose does by default"),
        (_by_taking_off, "more than torch.allclose does by default"),
    ],
    right=[_by_distance, _by_close_sums],
    hints=(
        "Subtract: what was really added is after - before. It is the change, or nothing, or the change "
        "turned round, or something else.",
        'moved = after - before. torch.allclose(moved, change, atol=1e-5): "right"; with 0 * change: '
        '"missing"; with change.T: "transposed"; else "wrong size". The order matters.',
    ),
    then="The next cell asks it of the layers of the lost model: run it again.",
)
