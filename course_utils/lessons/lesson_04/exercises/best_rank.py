"""Lesson 04, best_rank: the best cut."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_04.exercises.shared import fading_matrix
from course_utils.methods.lora_analysis import best_rank


def _cut(fault):
    """A wrong best_rank: fault(U, S, Vh, rank)."""
    return lambda matrix, rank: fault(*torch.linalg.svd(matrix, full_matrices=False), rank)


def _cut_in_place(matrix, rank):
    matrix.copy_(best_rank(matrix, rank))
    return matrix


def _projected(matrix, rank):
    U = torch.linalg.svd(matrix).U[:, :rank]
    return U @ (U.T @ matrix)


def _piece_by_piece(matrix, rank):
    U, S, Vh = torch.linalg.svd(matrix)
    pieces = (S[k] * torch.outer(U[:, k], Vh[k]) for k in range(min(rank, len(S))))
    return sum(pieces, torch.zeros_like(matrix))


def _by_eigenvectors(matrix, rank):
    _, vectors = torch.linalg.eigh((matrix.T @ matrix).double())  # weakest first
    kept = vectors[:, max(0, vectors.shape[1] - rank) :].to(matrix)
    return matrix @ kept @ kept.T


def _stops_above_the_sizes(matrix, rank):
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return sum((S[k] * torch.outer(U[:, k], Vh[k]) for k in range(rank)), torch.zeros_like(matrix))


def _of_unit_norm(matrix, rank):
    norm = matrix.norm()
    return best_rank(matrix, rank) / norm * norm


BEST_RANK_MISTAKES = [
    ("You return the whole matrix: the rank has no effect.", lambda matrix, rank: matrix.clone()),
    (
        "The singular values are missing: each direction must keep its strength. Scale the columns of U by "
        "S.",
        _cut(lambda U, S, Vh, rank: U[:, :rank] @ Vh[:rank]),
    ),
    (
        "You use the singular values twice. Scale U or Vh, not both.",
        _cut(lambda U, S, Vh, rank: U[:, :rank] * S[:rank].square() @ Vh[:rank]),
    ),
    (
        "You keep the weakest directions. torch.linalg.svd returns the strongest first.",
        _cut(lambda U, S, Vh, rank: U[:, -rank:] * S[-rank:] @ Vh[-rank:]),
    ),
    (
        "You return what the cut leaves out. Return what it keeps.",
        lambda matrix, rank: matrix - best_rank(matrix, rank),
    ),
    (
        "You keep one direction too many: [:rank] selects the first rank ones.",
        lambda matrix, rank: best_rank(matrix, rank + 1),
    ),
    (
        "You keep one direction too few: [:rank] selects the first rank ones.",
        lambda matrix, rank: best_rank(matrix, rank - 1),
    ),
    (
        "You keep only the rank-th direction. The cut is the sum of the first rank ones.",
        _cut(lambda U, S, Vh, rank: U[:, rank - 1 : rank] * S[rank - 1] @ Vh[rank - 1 : rank]),
    ),
    (
        "You take columns of Vh. It is already V transposed: direction k is its row k, Vh[k].",
        _cut(lambda U, S, Vh, rank: U[:, :rank] * S[:rank] @ Vh[:, :rank].T),
    ),
    (
        "Your cut always has rank 2. The argument rank is the number of directions to keep.",
        lambda matrix, rank: best_rank(matrix, 2),
    ),
    (
        "Your cut always has rank 1. The argument rank is the number of directions to keep.",
        lambda matrix, rank: best_rank(matrix, 1),
    ),
    ("The sign is wrong: this is minus the cut.", lambda matrix, rank: -best_rank(matrix, rank)),
    (
        "These are the first rows of the matrix, in no order of importance. An SVD is needed.",
        lambda matrix, rank: matrix * (torch.arange(len(matrix)) < rank)[:, None],
    ),
]

EXERCISE = Exercise(
    name="best_rank",
    lesson="04",
    minutes=10,
    difficulty=2,
    reference=best_rank,
    check=compare(
        best_rank,
        lambda: [
            (fading_matrix(7, 5), 2),
            (fading_matrix(5, 7), 3),
            (fading_matrix(6, 6, 40.0), 1),
            (fading_matrix(4, 9), 4),
        ],
        BEST_RANK_MISTAKES,
        else_="It is the sum of the first rank pieces: column k of U, times S[k], times row k of Vh.",
        extremes=[
            ("At rank 0 no direction remains: return zeros.", lambda: [(fading_matrix(5, 4), 0)]),
            (
                "From rank min(out, in) on, the result is the whole matrix.",
                lambda: [(fading_matrix(3, 5), 8)],
            ),
            ("The cut of a zero change is zero.", [(torch.zeros(4, 6), 2)]),
        ],
        tolerance=1e-4,
    ),
    wrong=[
        (_cut_in_place, "changes its argument matrix in place"),
        (lambda matrix, rank: best_rank(matrix, max(rank, 1)), "At rank 0"),
        (_stops_above_the_sizes, "Your code stopped"),
        (_of_unit_norm, "The cut of a zero change"),
        (lambda matrix, rank: torch.zeros_like(matrix), "the sum of the first rank pieces"),
        (lambda matrix, rank: best_rank(matrix, rank).T, "should have the shape [7, 5]"),
        (lambda matrix, rank: None, "Is there a return"),
    ],
    right=[_projected, _piece_by_piece, _by_eigenvectors],
    then="From here on this lesson uses your cuts.",
    hints=(
        "The SVD writes the matrix as a sum of s_k u_k v_k^T, strongest first. Keep the first r "
        "terms: no other matrix of rank r is closer (Eckart and Young).",
        "U, S, Vh = torch.linalg.svd(matrix, full_matrices=False) gives U [out, n], S [n], Vh [n, in] "
        "with n = min(out, in). Multiply the first rank columns of U, the first rank values of S, and the "
        "first rank rows of Vh.",
    ),
)
