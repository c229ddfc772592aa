"""Exercises of lesson 04: energy, the best cut, subspaces, a count-sketch, d90."""

from __future__ import annotations

import torch

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor
from course_utils.methods.lora_analysis import best_rank, energy_curve, subspace_similarity


def _check_energy_curve(fn):
    values = torch.tensor([4.0, 2.0, 2.0, 1.0])
    kept = values.clone()
    curve = expect_tensor(fn(values), (4,), "the curve")
    if not close(values, kept):
        raise Mistake("Your function changes the singular values it is given. Make a new tensor.")
    squares, right = kept.square(), torch.tensor([16.0, 20.0, 24.0, 25.0]) / 25
    known = [
        (
            kept.cumsum(0) / kept.sum(),
            "These are sums of singular values. Energy is the sum of their "
            "squares: only the squares add up to the squared norm of the matrix.",
        ),
        (
            squares / squares.sum(),
            "This is the share of each direction alone. The curve adds up: the first, "
            "the first two, ..., all of them.",
        ),
        (squares.cumsum(0), "The curve ends at the squared norm. Divide by it, so that it ends at 1."),
        (right.sqrt(), "This is the share of the norm. Energy is the share of the squared norm: no root."),
        (1 - right, "This is what is left when the first k are taken away. We want what they hold."),
        (
            squares.cumsum(0) / kept.sum() ** 2,
            "You divide by the square of the sum. Divide by the sum of the "
            "squares, so that the curve ends at 1.",
        ),
        (
            squares.flip(0).cumsum(0) / squares.sum(),
            "You add from the smallest end. The values come largest first: keep that order.",
        ),
    ]
    for value, message in known:
        if close(curve, value):
            raise Mistake(message)
    if not close(curve, right):
        raise Mistake(
            "For singular values 4, 2, 2, 1 the curve should be 0.64, 0.80, 0.96, 1; yours is "
            f"{', '.join(f'{value:.2f}' for value in curve.tolist())}."
        )


def _check_best_rank(fn):
    torch.manual_seed(0)
    for shape in ((7, 5), (5, 7)):
        matrix = torch.randn(shape)
        kept = matrix.clone()
        U, S, Vh = torch.linalg.svd(kept, full_matrices=False)
        cut = expect_tensor(fn(matrix, 2), shape, "the cut matrix")
        if not close(matrix, kept):
            raise Mistake("Your function changes the matrix it is given. Make a new one.")
        known = [
            (kept, "You return the whole matrix: the rank has no effect."),
            (
                U[:, :2] @ Vh[:2],
                "The singular values are missing: each direction must be as strong as it is "
                "in the matrix. Scale the columns of U by S.",
            ),
            (
                U[:, :2] * S[:2].square() @ Vh[:2],
                "The singular values come in twice. Scale U or Vh, not both.",
            ),
            (
                U[:, -2:] * S[-2:] @ Vh[-2:],
                "You keep the weakest directions. torch.linalg.svd gives the strongest first.",
            ),
            (U[:, 2:] * S[2:] @ Vh[2:], "This is what the cut leaves out. Return what it keeps."),
            (U[:, :3] * S[:3] @ Vh[:3], "You keep one direction too many: [:rank] are the first rank."),
            (U[:, :1] * S[:1] @ Vh[:1], "You keep one direction too few: [:rank] are the first rank."),
        ]
        columns = Vh[:, :2].T if len(Vh) == Vh.shape[1] else None  # [2, 5], of the right shape and wrong
        if columns is not None:
            known.append(
                (
                    U[:, :2] * S[:2] @ columns,
                    "You take columns of Vh. It is V transposed already: direction k is its row k, Vh[k].",
                )
            )
        for value, message in known:
            if close(cut, value, 1e-4):
                raise Mistake(message)
        best = (kept - best_rank(kept, 2)).norm().item()
        if not close(cut, best_rank(kept, 2), 1e-4):
            raise Mistake(
                f"A {list(shape)} matrix is {(kept - cut).norm().item():.3f} away from your cut to "
                f"rank 2, and {best:.3f} from the best one."
            )


def intrinsic_dimension(losses, base, full, share=0.9):
    """Smallest dimension whose loss makes `share` of the gain from base to full; None where none does.

    losses: {dimension: loss}. Li et al. 2018 (arXiv 1804.08838) and Aghajanyan et al. 2020 use 0.9.
    """
    enough = [d for d, loss in losses.items() if base - loss >= share * (base - full)]
    return min(enough, default=None)


def _check_intrinsic_dimension(fn):
    losses, base, full = {1000: 1.05, 10: 3.5, 100: 1.15, 30: 2.0, 300: 1.08}, 4.0, 1.0
    answer = fn(dict(losses), base, full)
    if answer is None:
        raise Mistake(
            "the result is None although dimensions 100, 300 and 1000 make nine tenths of the "
            "gain. Is there a return?"
        )
    known = {
        1.15: "This is a loss. Return the dimension that reaches it.",
        1000: "You return the first in the dict, or the largest. Several dimensions may be enough: the "
        "smallest of them is asked.",
        30: "At dimension 30 the loss is 2, two thirds of the way from 4 to 1. Nine tenths of the gain are "
        "asked: base - loss against share * (base - full).",
        10: "Dimension 10 has the highest loss, 3.5. A gain is a fall of the loss: base - loss.",
        300: "At dimension 300 the loss is 1.08, and 1.15 at 100 is enough already: the gain is 2.85 of 3. "
        "Do not compare with full / share, the loss need not go to zero.",
    }
    if answer in known:
        raise Mistake(known[answer])
    if answer != 100:
        raise Mistake(f"With losses {losses}, base 4 and full 1 it should be 100; you return {answer}.")
    if fn(dict(losses), base, full, share=0.5) != 30:
        raise Mistake("With share=0.5 it should be 30, whose loss is 2. The share has no effect.")
    try:
        none = fn({10: 3.9, 20: 3.8}, base, full)
    except ValueError:
        raise Mistake(
            "Where no dimension is enough your function stops with an error. Return None."
        ) from None
    if none is not None:
        raise Mistake(f"Where no dimension is enough, return None; you return {none}.")


def _orthonormal(n, k):
    return torch.linalg.qr(torch.randn(n, k)).Q


def _similarity(fn, first, second):
    value = fn(first, second)
    if value is None:
        raise Mistake("the result is None. Is there a return?")
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise Mistake(
            f"Return one number; this is a tensor of shape {list(value.shape)}. Add the squares of "
            "all entries of first.T @ second."
        )
    return float(value)


def _check_subspace_similarity(fn):
    torch.manual_seed(0)
    axes = torch.eye(10)
    if close(_similarity(fn, axes[:, :3], axes[:, 3:6]), 1.0):
        raise Mistake(
            "Two subspaces without a common direction come out as 1. first @ second.T multiplies "
            "the wrong sides; the cosines between directions are first.T @ second, [i, j]."
        )
    U, V = _orthonormal(10, 3), _orthonormal(10, 5)
    right = subspace_similarity(U, V)
    value, cosines = _similarity(fn, U, V), U.T @ V
    known = [
        (
            right * 3 / 5,
            "You divide by the larger dimension. A subspace that lies within a larger one is all "
            "there, and should come out as 1: divide by the smaller one.",
        ),
        (right * 3, "The sum of squares is not divided: it goes up to min(i, j). Divide by that."),
        (right * 3 / 10, "You divide by the dimension of the space. Divide by min(i, j)."),
        (right * 3 / 15, "You take the mean over all pairs. Divide the sum of squares by min(i, j)."),
        (
            cosines.abs().sum() / 3,
            "You add the cosines, not their squares. Only the squares of the cosines "
            "of a direction with orthonormal ones sum to at most 1.",
        ),
        (cosines.norm() / 3, "You divide the norm. It is the squared norm that counts."),
        (
            (U * V[:, :3]).sum(0).square().sum() / 3,
            "You compare direction k with direction k alone. A "
            "subspace has no order: compare each with each, U^T V.",
        ),
    ]
    for wrong, message in known:
        if close(value, wrong):
            raise Mistake(message)
    if not close(value, right):
        raise Mistake(
            f"For two subspaces of 3 and 5 dimensions the value should be {right:.4f}, and is {value:.4f}."
        )


def sketch_transpose(grad, coordinate, sign, dimension):
    """Gradient of z [d] from that of the weights [D]: every weight's, signed, added to its coordinate."""
    return grad.new_zeros(dimension).index_add_(0, coordinate, grad * sign)


def _check_sketch_transpose(fn):
    grad = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    coordinate, sign = torch.tensor([0, 2, 0, 2, 2]), torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])
    given = grad.clone()
    result = fn(grad, coordinate, sign, 4)
    if not close(grad, given):
        raise Mistake("Your function changes the gradient it is given. Make a new tensor.")
    if isinstance(result, torch.Tensor) and result.shape == (5,):
        raise Mistake(
            "You return one value a weight, [D]. The gradient of z has one a coordinate, [d]: add "
            "up the weights that follow it."
        )
    if isinstance(result, torch.Tensor) and result.shape == (3,):
        raise Mistake("A coordinate that no weight follows is missing. Start from dimension zeros.")
    expect_tensor(result, (4,), "the gradient of z")
    known = [
        (
            [4.0, 0.0, -16.0, 0.0],
            "Only the last weight of each coordinate is left. Indexing with = or += "
            "writes every coordinate once, even if it comes up several times; "
            "index_add_ adds.",
        ),
        (
            [5.0, 0.0, 26.0, 0.0],
            "The signs are missing: a weight that moves against its coordinate must pull it the other way.",
        ),
        (
            [2.5, 0.0, -10 / 3, 0.0],
            "This is the mean over the weights of a coordinate. The transpose of a sum is a sum.",
        ),
        (
            [-5.0, 0.0, 10.0, 0.0],
            "The direction is reversed: this is minus the gradient. The optimiser takes "
            "care of going downhill.",
        ),
    ]
    for wrong, message in known:
        if close(result, torch.tensor(wrong)):
            raise Mistake(message)
    if not close(result, sketch_transpose(given, coordinate, sign, 4)):
        raise Mistake(
            "For gradients 1, 2, 4, 8, 16 with coordinates 0, 2, 0, 2, 2 and signs +, -, +, +, - "
            f"the result should be 5, 0, -10, 0; yours is {result.tolist()}."
        )


def _svd(matrix):
    return torch.linalg.svd(matrix, full_matrices=False)


def _no_values(matrix, rank):
    U, _, Vh = _svd(matrix)
    return U[:, :rank] @ Vh[:rank]


def _weakest(matrix, rank):
    U, S, Vh = _svd(matrix)
    return U[:, -rank:] * S[-rank:] @ Vh[-rank:]


def _columns_of_vh(matrix, rank):
    U, S, Vh = _svd(matrix)
    return U[:, :rank] * S[:rank] @ Vh[:, :rank].T


def _in_place(matrix, rank):
    matrix.copy_(best_rank(matrix, rank))
    return matrix


def _last_wins(grad, coordinate, sign, dimension):
    result = grad.new_zeros(dimension)
    result[coordinate] += grad * sign
    return result


EXERCISES = [
    Exercise(
        name="energy_curve",
        lesson="04",
        minutes=5,
        difficulty=1,
        reference=energy_curve,
        check=_check_energy_curve,
        wrong=[
            (lambda s: s.cumsum(0) / s.sum(), "sums of singular values"),
            (lambda s: s**2 / (s**2).sum(), "each direction alone"),
            (lambda s: (s**2).cumsum(0), "ends at the squared norm"),
            (lambda s: energy_curve(s).sqrt(), "share of the norm"),
            (lambda s: 1 - energy_curve(s), "what is left"),
            (lambda s: (s**2).cumsum(0) / s.sum() ** 2, "square of the sum"),
            (lambda s: (s**2).flip(0).cumsum(0) / (s**2).sum(), "smallest end"),
        ],
        hints=(
            "A matrix is a sum of rank-one pieces at right angles to each other, so their squared norms "
            "add up (Pythagoras). Piece k has the squared norm s_k**2.",
            "singular_values is [n], largest first. Square, add up with cumsum(0), divide by the last "
            "entry. The result is [n] and ends at 1.",
        ),
    ),
    Exercise(
        name="best_rank",
        lesson="04",
        minutes=10,
        difficulty=2,
        reference=best_rank,
        check=_check_best_rank,
        wrong=[
            (lambda matrix, rank: matrix.clone(), "the rank has no effect"),
            (_no_values, "singular values are missing"),
            (_weakest, "weakest directions"),
            (_columns_of_vh, "columns of Vh"),
            (lambda matrix, rank: matrix - best_rank(matrix, rank), "leaves out"),
            (lambda matrix, rank: best_rank(matrix, rank + 1), "one direction too many"),
            (_in_place, "changes the matrix"),
        ],
        hints=(
            "The SVD writes the matrix as a sum of s_k u_k v_k^T, strongest first. Keep the first r "
            "terms: no other matrix of rank r is closer (Eckart and Young).",
            "U, S, Vh = torch.linalg.svd(matrix, full_matrices=False) gives U [out, n], S [n], Vh [n, in] "
            "with n = min(out, in). Take the first rank columns of U, times the first rank values of S, "
            "times the first rank rows of Vh.",
        ),
    ),
    Exercise(
        name="subspace_similarity",
        lesson="04",
        minutes=10,
        difficulty=2,
        reference=subspace_similarity,
        check=_check_subspace_similarity,
        wrong=[
            (
                lambda U, V: (U @ V.T).square().sum() / U.shape[1] if U.shape == V.shape else 0.0,
                "wrong sides",
            ),
            (lambda U, V: (U.T @ V).square().sum() / max(U.shape[1], V.shape[1]), "larger dimension"),
            (lambda U, V: (U.T @ V).square().sum(), "not divided"),
            (lambda U, V: (U.T @ V).square().mean(), "mean over all pairs"),
            (lambda U, V: (U.T @ V).abs().sum() / min(U.shape[1], V.shape[1]), "not their squares"),
            (lambda U, V: (U.T @ V).norm() / min(U.shape[1], V.shape[1]), "divide the norm"),
            (lambda U, V: (U.T @ V).square(), "Return one number"),
        ],
        hints=(
            "first.T @ second holds the cosine of every direction of the one with every direction of the "
            "other. The squares of a row sum to the share of that direction that lies within the other "
            "subspace.",
            "first [n, i], second [n, j], cosines [i, j]. Add all squares and divide by min(i, j): the "
            "smaller subspace can lie within the larger one at most with all its directions.",
        ),
    ),
    Exercise(
        name="sketch_transpose",
        lesson="04",
        minutes=10,
        difficulty=2,
        reference=sketch_transpose,
        check=_check_sketch_transpose,
        wrong=[
            (_last_wins, "Only the last weight"),
            (lambda g, c, s, d: g.new_zeros(d).index_add_(0, c, g), "signs are missing"),
            (lambda g, c, s, d: g[c] * s, "one value a weight"),
            (lambda g, c, s, d: torch.bincount(c, weights=g * s), "no weight follows"),
            (
                lambda g, c, s, d: g.new_zeros(d).scatter_reduce_(0, c, g * s, "mean", include_self=False),
                "the mean over the weights",
            ),
            (lambda g, c, s, d: -sketch_transpose(g, c, s, d), "reversed"),
        ],
        hints=(
            "Weight number n moves by sign[n] * z[coordinate[n]]. If z[k] grows by a little, every weight "
            "that follows k moves by that little times its sign: by the chain rule their gradients, "
            "signed, add up.",
            "grad, coordinate and sign are [D], the result is [dimension]. Begin with zeros and add "
            "grad * sign at the places in coordinate, several to one place: index_add_(0, coordinate, "
            "...).",
        ),
    ),
    Exercise(
        name="intrinsic_dimension",
        lesson="04",
        minutes=8,
        difficulty=1,
        reference=intrinsic_dimension,
        check=_check_intrinsic_dimension,
        wrong=[
            (
                lambda losses, base, full, share=0.9: min(d for d in losses if losses[d] <= full / share),
                "full / share",
            ),
            (lambda losses, base, full, share=0.9: max(losses), "the smallest of them"),
            (
                lambda losses, base, full, share=0.9: min(d for d in losses if losses[d] <= share * base),
                "Dimension 10",
            ),
            (
                lambda losses, base, full, share=0.9: min(
                    d for d in losses if base - losses[d] >= share * full
                ),
                "two thirds of the way",
            ),
            (lambda losses, base, full, share=0.9: intrinsic_dimension(losses, base, full), "no effect"),
            (
                lambda losses, base, full, share=0.9: min(
                    d for d in losses if base - losses[d] >= share * (base - full)
                ),
                "stops with an error",
            ),
        ],
        hints=(
            "The gain of a run is how far its loss lies below the base model's. Full fine-tuning's gain "
            "is the measure: which is the smallest dimension that makes 90% of it?",
            "losses.items() gives (dimension, loss) in any order. Keep the dimensions with base - loss >= "
            "share * (base - full), and return the smallest, or None: min(list, default=None).",
        ),
    ),
]
