"""Lesson 05, stacked_sum: the sum of two products."""

import torch

from course_utils.checks.compare import Mistake, unchanged
from course_utils.checks.exercises import Exercise, close
from course_utils.lessons.lesson_05.exercises.shared import expect_pair
from course_utils.lessons.lesson_05.small_adapters import stacked_sum


def _check_stacked_sum(fn):
    _expect_sum(fn, 6, 5, (2, 2), (0.7, -1.5))
    _expect_sum(fn, 8, 7, (2, 3), (-0.4, 2.5))
    _expect_sum(fn, 9, 3, (4, 1), (1.0, 0.3))


def _expect_sum(fn, n_in, n_out, ranks, weights):
    (r1, r2), (w1, w2), rank = ranks, weights, sum(ranks)
    A1, A2 = torch.randn(r1, n_in), torch.randn(r2, n_in)
    B1, B2 = torch.randn(n_out, r1), torch.randn(n_out, r2)
    with unchanged(A1=A1, B1=B1, A2=A2, B2=B2):
        result = fn(A1, B1, A2, B2, w1, w2)
    parts = result if isinstance(result, tuple | list) else ()
    if any(isinstance(part, torch.Tensor) and part.is_complex() for part in parts):
        raise Mistake(
            "The result is complex: a weight may be negative, and then has no real root. Put the weights "
            "themselves into only one of A and B."
        )
    A, B = expect_pair(result)
    if A.shape == (n_out, rank) and B.shape == (rank, n_in):
        raise Mistake("A and B are swapped: A [r, in] comes first, then B [out, r].")
    if r1 == r2 and A.shape == (r1, n_in) and B.shape == (n_out, r1):
        raise Mistake(
            "You add the A's and the B's. Their product then has cross terms, B1 A2 and B2 A1, that neither "
            f"adapter has. The result needs the rank {r1} + {r2}: stack them."
        )
    if A.shape == (n_out, n_in) or B.shape == (n_out, n_in):
        raise Mistake(
            "One of the two is the whole matrix [out, in]. Keep the factors: rank "
            f"{r1} and rank {r2} make rank {rank}."
        )
    if A.shape != (rank, n_in) or B.shape != (n_out, rank):
        raise Mistake(
            f"A should be [{rank}, {n_in}] and B [{n_out}, {rank}] for adapters of rank {r1} and {r2}; yours "
            f"are {list(A.shape)} and {list(B.shape)}. A grows by rows, B by columns."
        )
    if r1 == r2 and any(
        close(B @ A, wrong) for wrong in (w1 * B1 @ A2 + w2 * B2 @ A1, w1 * B2 @ A1 + w2 * B1 @ A2)
    ):
        raise Mistake("The order in A and B differs, so B1 multiplies A2. Stack both in the same order.")
    _expect_product(B @ A, B1 @ A1, B2 @ A2, w1, w2)


def _expect_product(made, first, second, w1, w2):
    if not made.isfinite().all():
        raise Mistake("B A is NaN: a weight may be negative, and then has no root.")
    right = w1 * first + w2 * second
    known = [
        ("The weights have no effect.", first + second),
        (
            "The weights are in both A and B, so the product has their squares. Put them into only one of "
            "the two.",
            w1**2 * first + w2**2 * second,
        ),
        ("The weights are swapped.", w2 * first + w1 * second),
        ("The first weight is missing.", first + w2 * second),
        ("The second weight is missing.", w1 * first + second),
        ("You use the first weight for both.", w1 * (first + second)),
        ("The sign of a weight is lost.", abs(w1) * first + abs(w2) * second),
        ("Only the first adapter is there.", w1 * first),
        ("Only the second adapter is there.", w2 * second),
        ("The weights need not add up to 1: do not divide by their sum.", right / (w1 + w2)),
        ("w2 need not be 1 - w1: use it as given.", w1 * first + (1 - w1) * second),
    ]
    for message, wrong in known:
        if not close(wrong, right) and close(made, wrong):
            raise Mistake(message)
    if not close(made, right):
        raise Mistake("B A should be w1 B1 A1 + w2 B2 A2.")


def _as_pair(change):
    """A wrong stacked_sum: change(A, B) of the right one."""
    return lambda *arguments: change(*stacked_sum(*arguments))


def _squared_weights(A1, B1, A2, B2, w1, w2):
    return torch.cat([w1 * A1, w2 * A2]), torch.cat([w1 * B1, w2 * B2], 1)


def _roots_in_both(A1, B1, A2, B2, w1, w2):
    r1, r2 = torch.tensor(w1).sqrt(), torch.tensor(w2).sqrt()
    return torch.cat([r1 * A1, r2 * A2]), torch.cat([r1 * B1, r2 * B2], 1)


def _complex_roots(A1, B1, A2, B2, w1, w2):
    return torch.cat([w1**0.5 * A1, w2**0.5 * A2]), torch.cat([w1**0.5 * B1, w2**0.5 * B2], 1)


def _of_rank_two(A1, B1, A2, B2, w1, w2):
    return stacked_sum(A1[:2], B1[:, :2], A2[:2], B2[:, :2], w1, w2)


def _weights_in_place(A1, B1, A2, B2, w1, w2):
    B1 *= w1
    B2 *= w2
    return torch.cat([A1, A2]), torch.cat([B1, B2], 1)


def _weights_in_A(A1, B1, A2, B2, w1, w2):
    return [torch.vstack([w2 * A2, w1 * A1]), torch.hstack([B2, B1])]


def _filled(A1, B1, A2, B2, w1, w2):
    r = len(A1)
    A, B = A1.new_empty(r + len(A2), A1.shape[1]), B1.new_empty(len(B1), r + len(A2))
    A[:r], A[r:] = A1, A2
    B[:, :r], B[:, r:] = w1 * B1, w2 * B2
    return A, B


EXERCISE = Exercise(
    name="stacked_sum",
    lesson="05",
    minutes=10,
    difficulty=2,
    reference=stacked_sum,
    check=_check_stacked_sum,
    wrong=[
        (lambda A1, B1, A2, B2, w1, w2: (A1 + A2, w1 * B1 + w2 * B2), "cross terms"),
        (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, 1, 1), "weights have no effect"),
        (_squared_weights, "their squares"),
        (_roots_in_both, "then has no root"),
        (_complex_roots, "no real root"),
        (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w2, w1), "weights are swapped"),
        (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, 1, w2), "first weight is missing"),
        (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w1, 1), "second weight is missing"),
        (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, abs(w1), abs(w2)), "is lost"),
        (
            lambda A1, B1, A2, B2, w1, w2: (torch.cat([A2, A1]), torch.cat([w1 * B1, w2 * B2], 1)),
            "B1 multiplies A2",
        ),
        (
            lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w1 / (w1 + w2), w2 / (w1 + w2)),
            "divide by their sum",
        ),
        (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w1, 1 - w1), "need not be 1 - w1"),
        (_as_pair(lambda A, B: (B, A)), "are swapped"),
        (_as_pair(lambda A, B: (torch.eye(A.shape[1]), B @ A)), "whole matrix"),
        (_as_pair(lambda A, B: B @ A), "Return two tensors"),
        (_as_pair(lambda A, B: (A.half(), B.half())), "keep the dtype"),
        (
            lambda A1, B1, A2, B2, w1, w2: (torch.cat([A1, A2], 1), torch.cat([w1 * B1, w2 * B2], 1)),
            "A grows by rows",
        ),
        (_as_pair(lambda A, B: (A, -B)), "B A should be"),
        (_as_pair(lambda A, B: None), "Is there a return"),
        (_of_rank_two, "A grows by rows"),
        (_weights_in_place, "B1 was changed"),
    ],
    right=[_weights_in_A, _filled, _as_pair(lambda A, B: (A.flip(0), B.flip(1)))],
    hints=(
        "A product of matrices is a sum over the inner dimension. If you concatenate the inner dimensions of "
        "the two products, the product is the sum of both.",
        "[B1 B2] times [A1; A2] is B1 A1 + B2 A2: torch.cat([A1, A2]) is [r1 + r2, in], "
        "torch.cat([..., ...], dim=1) is [out, r1 + r2]. Put the weights into only one of the two.",
    ),
)
