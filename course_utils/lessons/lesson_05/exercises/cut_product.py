"""Lesson 05's companion, cut_product: cut a product."""

import torch

from course_utils.checks.compare import Mistake, unchanged
from course_utils.checks.exercises import Exercise, close
from course_utils.checks.largest import Largest
from course_utils.lessons.lesson_05.exercises.shared import expect_pair


def cut_product(A, B, rank):
    """The best approximation of B A by a smaller rank, as (A [rank, in], B [out, rank])."""
    Q_B, R_B = torch.linalg.qr(B)  # (out, r), (r, r)
    Q_A, R_A = torch.linalg.qr(A.T)  # (in, r), (r, r)
    U, S, Vh = torch.linalg.svd(R_B @ R_A.T)  # of an r x r matrix
    return Vh[:rank] @ Q_A.T, Q_B @ (U[:, :rank] * S[:rank])


def _factors(n_in, n_out, r):
    """A and B whose product has the singular values 3, 1.8, 1.08, ...; no cut depends on rounding."""
    Q_A, Q_B = torch.linalg.qr(torch.randn(n_in, r)).Q, torch.linalg.qr(torch.randn(n_out, r)).Q
    left, right = torch.linalg.qr(torch.randn(2, r, r)).Q
    lengths = torch.linspace(0.5, 2, r)
    mixed, back = left * lengths @ right, right.T / lengths @ left.T  # inverses of each other
    return back @ Q_A.T, Q_B * (3 * 0.6 ** torch.arange(r)) @ mixed


def _check_cut_product(fn):
    _expect_cut(fn, 40, 50, 5, 2)
    _expect_cut(fn, 32, 24, 4, 3)
    _expect_cut(fn, 20, 30, 3, 1)
    _expect_cut(fn, 18, 22, 4, 4)


def _expect_cut(fn, n_in, n_out, r, rank):
    A, B = _factors(n_in, n_out, r)
    with unchanged(A=A, B=B), Largest() as largest:
        result = fn(A, B, rank)
    A_cut, B_cut = expect_pair(result)
    if A_cut.shape == (n_out, rank) or B_cut.shape == (rank, n_in):
        raise Mistake("A and B are swapped: A [rank, in] comes first, then B [out, rank].")
    if A_cut.shape != (rank, n_in) or B_cut.shape != (n_out, rank):
        raise Mistake(
            f"A should be [{rank}, {n_in}] and B [{n_out}, {rank}]; yours are {list(A_cut.shape)} "
            f"and {list(B_cut.shape)}."
        )
    _expect_best(B_cut @ A_cut, A, B, rank)
    if largest.values >= n_in * n_out:
        raise Mistake(
            "The values are right, but you create a matrix as large as [out, in]. In a large model that is "
            "the whole weight: reduce it to r x r with two QR decompositions first (torch.linalg.qr(B), "
            "torch.linalg.qr(A.T))."
        )


def _expect_best(made, A, B, rank):
    r = len(A)
    U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
    best = U[:, :rank] * S[:rank] @ Vh[:rank]
    known = [
        ("The singular values are missing: scale one of the two factors by them.", U[:, :rank] @ Vh[:rank]),
        (
            "The singular values are in A and in B: their product has the squares. Put them into "
            "one, or their roots into both.",
            U[:, :rank] * S[:rank].square() @ Vh[:rank],
        ),
        (
            "You keep the weakest directions. The SVD returns the strongest first.",
            U[:, r - rank : r] * S[r - rank : r] @ Vh[r - rank : r],
        ),
        (
            "These are the first rows of A and the first columns of B. They are in no order of importance: "
            "use an SVD.",
            B[:, :rank] @ A[:rank],
        ),
        (
            "This is the best cut of B alone. Cut the product: the lengths of A's rows count, too.",
            _cut_of_B(A, B, rank)[1] @ _cut_of_B(A, B, rank)[0],
        ),
        (
            "This is the best cut of A alone. Cut the product: B counts, too.",
            _cut_of_A(A, B, rank)[1] @ _cut_of_A(A, B, rank)[0],
        ),
        (
            "R_A is not transposed: A is R_A^T Q_A^T, so the middle is R_B R_A^T.",
            _untransposed(A, B, rank)[1] @ _untransposed(A, B, rank)[0],
        ),
        (
            "You take columns of Vh. It is already V transposed: direction k is its row k, Vh[k].",
            _columns_of_Vh(A, B, rank)[1] @ _columns_of_Vh(A, B, rank)[0],
        ),
        ("The sign is wrong: this is minus the best approximation.", -best),
    ]
    for message, wrong in known:
        if close(made, wrong, 1e-4) and not close(wrong, best, 1e-4):
            raise Mistake(message)
    if not close(made, best, 1e-4):
        raise Mistake(
            f"B A differs from the best approximation of rank {rank}: its error is "
            f"{(made - B @ A).norm() / (best - B @ A).norm():.3g} times the smallest possible one."
        )


def _by_svd(A, B, rank, keep=slice(None), power=(0.0, 1.0)):
    """cut_product by the SVD of the whole product, with the faults of wrong answers."""
    U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
    U, S, Vh = U[:, : len(A)][:, keep][:, :rank], S[: len(A)][keep][:rank], Vh[: len(A)][keep][:rank]
    return S[:, None] ** power[0] * Vh, U * S ** power[1]


def _cut_of_B(A, B, rank):
    U, S, Vh = torch.linalg.svd(B, full_matrices=False)
    return Vh[:rank] @ A, U[:, :rank] * S[:rank]


def _cut_of_A(A, B, rank):
    U, S, Vh = torch.linalg.svd(A, full_matrices=False)
    return Vh[:rank], B @ (U[:, :rank] * S[:rank])


def _without_the_last(A, B, rank):
    """Drops the last r - rank directions by a negative end, which drops all of them if none should be cut."""
    A_whole, B_whole = cut_product(A, B, len(A))
    cut = len(A) - rank
    return A_whole[:-cut], B_whole[:, :-cut]


def _untransposed(A, B, rank):
    Q_B, R_B = torch.linalg.qr(B)
    Q_A, R_A = torch.linalg.qr(A.T)
    U, S, Vh = torch.linalg.svd(R_B @ R_A)
    return Vh[:rank] @ Q_A.T, Q_B @ (U[:, :rank] * S[:rank])


def _columns_of_Vh(A, B, rank):
    Q_B, R_B = torch.linalg.qr(B)
    Q_A, R_A = torch.linalg.qr(A.T)
    U, S, Vh = torch.linalg.svd(R_B @ R_A.T)
    return Vh[:, :rank].T @ Q_A.T, Q_B @ (U[:, :rank] * S[:rank])


def _cut_in_place(A, B, rank):
    A_cut, B_cut = cut_product(A, B, rank)
    A[:rank], B[:, :rank] = A_cut, B_cut
    return A_cut, B_cut


def _by_two_svds(A, B, rank):
    U_B, S_B, V_B = torch.linalg.svd(B, full_matrices=False)
    U_A, S_A, V_A = torch.linalg.svd(A, full_matrices=False)
    U, S, Vh = torch.linalg.svd(S_B[:, None] * (V_B @ U_A) * S_A)
    roots = S[:rank].sqrt()
    return roots[:, None] * Vh[:rank] @ V_A, U_B @ U[:, :rank] * roots


def _values_in_A(A, B, rank):
    Q, R = torch.linalg.qr(B)
    U, S, Vh = torch.linalg.svd(R @ A, full_matrices=False)
    return [torch.diag(S[:rank]) @ Vh[:rank], Q @ U[:, :rank]]


EXERCISE = Exercise(
    name="cut_product",
    lesson="05m",
    minutes=15,
    difficulty=3,
    reference=cut_product,
    check=_check_cut_product,
    wrong=[
        (_by_svd, "as large as [out, in]"),
        (lambda A, B, rank: _by_svd(A, B, rank, power=(0.0, 0.0)), "singular values are missing"),
        (lambda A, B, rank: _by_svd(A, B, rank, power=(1.0, 1.0)), "in A and in B"),
        (lambda A, B, rank: _by_svd(A, B, rank, keep=slice(-rank, None)), "weakest directions"),
        (lambda A, B, rank: (A[:rank], B[:, :rank]), "no order"),
        (lambda A, B, rank: _by_svd(A, B, rank, keep=slice(1, None)), "the smallest possible one"),
        (lambda A, B, rank: cut_product(A, B, rank)[::-1], "are swapped"),
        (lambda A, B, rank: cut_product(A, B, rank + 1), "A should be [2, 40]"),
        (lambda A, B, rank: cut_product(A, B, 2), "A should be [3, 32]"),
        (lambda A, B, rank: B @ A, "Return two tensors"),
        (_cut_of_B, "the best cut of B alone"),
        (_cut_of_A, "the best cut of A alone"),
        (_without_the_last, "A should be [4, 18]"),
        (_untransposed, "R_A is not transposed"),
        (_columns_of_Vh, "columns of Vh"),
        (_cut_in_place, "A was changed"),
        (lambda A, B, rank: (cut_product(A, B, rank)[0], -cut_product(A, B, rank)[1]), "sign is wrong"),
        (lambda A, B, rank: None, "Is there a return"),
    ],
    right=[_by_two_svds, _values_in_A],
    hints=(
        "The cut needs the SVD of B A (lesson 04), which has at most r singular values that are not zero. "
        "Orthonormal bases of B's columns and of A's rows change neither them nor the norm: between the two "
        "bases, an r x r matrix remains.",
        "Q_B, R_B = qr(B) and Q_A, R_A = qr(A.T) give B A = Q_B (R_B R_A^T) Q_A^T. SVD of the r x r "
        "matrix in the middle: B_new = Q_B U[:, :rank] * S[:rank] is [out, rank], A_new = Vh[:rank] "
        "Q_A^T is [rank, in].",
    ),
)
