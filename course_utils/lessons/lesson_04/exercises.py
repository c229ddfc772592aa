"""Exercises of lesson 04: energy, the best cut, subspaces, a count-sketch, d90."""

from __future__ import annotations

import numpy as np
import torch

from course_utils.checks.compare import Mistake, call, compare
from course_utils.checks.exercises import Exercise
from course_utils.checks.largest import Largest
from course_utils.methods.lora_analysis import best_rank, energy_curve, subspace_similarity


def _spectra():
    """Singular values, largest first: fixed ones, some with zeros at the end, large ones, one alone."""
    drawn = (1 + torch.rand(5)).cumsum(0).flip(0) / 3
    return [
        (torch.tensor([4.0, 2.0, 2.0, 1.0]),),
        (torch.cat([drawn, torch.zeros(2)]),),
        (1000 * drawn[:3],),
        (drawn[:1],),
    ]


def _energy_in_place(singular_values):
    energy = singular_values.square_().cumsum(0)
    return energy / energy[-1]


def _energy_one_by_one(singular_values):
    total, held = sum(value**2 for value in singular_values), 0.0
    shares = []
    for value in singular_values:
        held = held + value**2
        shares.append(held / total)
    return torch.stack(shares)


def _energy_in_numpy(singular_values):
    squares = singular_values.numpy() ** 2
    return torch.from_numpy(np.cumsum(squares) / np.sum(squares))


ENERGY_MISTAKES = [
    (
        "These are sums of singular values. Energy is the sum of their "
        "squares: only the squares add up to the squared norm of the matrix.",
        lambda s: s.cumsum(0) / s.sum(),
    ),
    (
        "This is the share of each direction alone. The curve adds up: the first, "
        "the first two, ..., all of them.",
        lambda s: s**2 / (s**2).sum(),
    ),
    ("The curve ends at the squared norm. Divide by it, so that it ends at 1.", lambda s: (s**2).cumsum(0)),
    (
        "This is the share of the norm. Energy is the share of the squared norm: no root.",
        lambda s: energy_curve(s).sqrt(),
    ),
    (
        "This is what is left when the first k are taken away. We want what they hold.",
        lambda s: 1 - energy_curve(s),
    ),
    (
        "You divide by the square of the sum. Divide by the sum of the squares, so that the curve ends at 1.",
        lambda s: (s**2).cumsum(0) / s.sum() ** 2,
    ),
    (
        "You divide by the sum, and add up squares. Divide by the sum of the squares.",
        lambda s: (s**2).cumsum(0) / s.sum(),
    ),
    (
        "You divide by the largest square. Divide by the sum of all squares, so that the curve ends at 1.",
        lambda s: (s**2).cumsum(0) / s[0] ** 2,
    ),
    (
        "You add from the smallest end. The values come largest first: keep that order.",
        lambda s: (s**2).flip(0).cumsum(0) / (s**2).sum(),
    ),
]


def _orthonormal(n, k):
    return torch.linalg.qr(torch.randn(n, k)).Q


def _matrix(rows, columns, size=1.0):
    """A matrix in random directions, each 0.7 as strong as the one before: no cut hangs on rounding."""
    count = min(rows, columns)
    return size * _orthonormal(rows, count) * 0.7 ** torch.arange(count) @ _orthonormal(columns, count).T


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
    return sum(S[k] * torch.outer(U[:, k], Vh[k]) for k in range(rank))


BEST_RANK_MISTAKES = [
    ("You return the whole matrix: the rank has no effect.", lambda matrix, rank: matrix.clone()),
    (
        "The singular values are missing: each direction must be as strong as it is "
        "in the matrix. Scale the columns of U by S.",
        _cut(lambda U, S, Vh, rank: U[:, :rank] @ Vh[:rank]),
    ),
    (
        "The singular values come in twice. Scale U or Vh, not both.",
        _cut(lambda U, S, Vh, rank: U[:, :rank] * S[:rank].square() @ Vh[:rank]),
    ),
    (
        "You keep the weakest directions. torch.linalg.svd gives the strongest first.",
        _cut(lambda U, S, Vh, rank: U[:, -rank:] * S[-rank:] @ Vh[-rank:]),
    ),
    (
        "This is what the cut leaves out. Return what it keeps.",
        lambda matrix, rank: matrix - best_rank(matrix, rank),
    ),
    (
        "You keep one direction too many: [:rank] are the first rank.",
        lambda matrix, rank: best_rank(matrix, rank + 1),
    ),
    (
        "You keep one direction too few: [:rank] are the first rank.",
        lambda matrix, rank: best_rank(matrix, rank - 1),
    ),
    (
        "You keep the rank-th direction alone. The cut is the sum of the first rank.",
        _cut(lambda U, S, Vh, rank: U[:, rank - 1 : rank] * S[rank - 1] @ Vh[rank - 1 : rank]),
    ),
    (
        "You take columns of Vh. It is V transposed already: direction k is its row k, Vh[k].",
        _cut(lambda U, S, Vh, rank: U[:, :rank] * S[:rank] @ Vh[:, :rank].T),
    ),
    (
        "This is always of rank 2. How many directions stay is the argument rank.",
        lambda matrix, rank: best_rank(matrix, 2),
    ),
    (
        "This is always of rank 1. How many directions stay is the argument rank.",
        lambda matrix, rank: best_rank(matrix, 1),
    ),
    (
        "These are the first rows of the matrix, in no order of importance. An SVD is needed.",
        lambda matrix, rank: matrix * (torch.arange(len(matrix)) < rank)[:, None],
    ),
]


def intrinsic_dimension(losses, base, full, share=0.9):
    """Smallest dimension whose loss makes `share` of the gain from base to full; None where none does.

    losses: {dimension: loss}. Li et al. 2018 (arXiv 1804.08838) and Aghajanyan et al. 2020 use 0.9.
    """
    enough = [d for d, loss in losses.items() if base - loss >= share * (base - full)]
    return min(enough, default=None)


def _runs():
    """Sweeps in any order: with a run exactly at the limit, with one that diverged."""
    losses = {1000: 1.05, 3: 3.95, 10: 3.5, 100: 1.15, 30: 2.0, 300: 1.08}
    return [
        (losses, 4.0, 1.0),
        call(losses, 4.0, 1.0, share=0.5),
        call({64: 2.25, 8: 2.5, 2: 3.75, 512: 1.125}, 4.0, 1.0, share=0.5),
        call({7: 5.1, 7000: 2.8, 70: 2.9, 700: 2.6}, 6.0, 2.5, share=0.6),
        ({3: 9.5, 4: 4.5, 300: 0.9, 30: 1.2}, 4.0, 1.0),
    ]


def _smallest(fault, default=None):
    """A wrong intrinsic_dimension: the smallest d with fault(its loss, base, full, share)."""

    def wrong(losses, base, full, share=0.9):
        return min((d for d, loss in losses.items() if fault(loss, base, full, share)), default=default)

    return wrong


def _enough(losses, base, full, share):
    return [d for d, loss in losses.items() if base - loss >= share * (base - full)]


def _last_loss(losses, base, full, share=0.9):
    return max((losses[d] for d in _enough(losses, base, full, share)), default=None)


def _first_in_dict(losses, base, full, share=0.9):
    return next(iter(_enough(losses, base, full, share)), None)


def _largest_enough(losses, base, full, share=0.9):
    return max(_enough(losses, base, full, share), default=None)


def _stops_at_none(losses, base, full, share=0.9):
    return min(_enough(losses, base, full, share))


def _stops_at_first(losses, base, full, share=0.9):
    return sorted(_enough(losses, base, full, share))[0]


def _smallest_of_all(losses, base, full, share=0.9):
    return min(losses)


def _best_run(losses, base, full, share=0.9):
    return min(losses, key=losses.get)


def _always_none(losses, base, full, share=0.9):
    return None


def _from_small_to_large(losses, base, full, share=0.9):
    for dimension in sorted(losses):
        if losses[dimension] <= base - share * (base - full):
            return dimension
    return None


def _in_arrays(losses, base, full, share=0.9):
    dimensions, values = np.array(list(losses)), np.array(list(losses.values()))
    enough = dimensions[(base - values) / (base - full) >= share]
    return enough.min() if len(enough) else None


NONE_ENOUGH = "Where no dimension is enough, return None."
NONE_INPUTS = [({10: 3.9, 20: 3.8}, 4.0, 1.0), call({5: 6.2, 50: 3.2}, 6.0, 2.5, share=0.95)]
ONE_OF_SEVERAL = (
    "You return the first in the dict, or the largest. Several dimensions may be enough: the "
    "smallest of them is asked."
)
INTRINSIC_MISTAKES = [
    (
        "The share has no effect.",
        lambda losses, base, full, share=0.9: intrinsic_dimension(losses, base, full),
    ),
    ("This is a loss. Return the dimension that reaches it.", _last_loss),
    (ONE_OF_SEVERAL, _first_in_dict),
    (ONE_OF_SEVERAL, _largest_enough),
    (
        "The sign of the gain is turned. A gain is a fall of the loss, base - loss: here no run makes one.",
        _smallest(lambda loss, base, full, share: loss - base >= share * (base - full)),
    ),
    (
        "This is the smallest dimension of all. Only those count whose gain, base - loss, is at least "
        "share * (base - full).",
        _smallest_of_all,
    ),
    (
        "The sign of the full gain is turned: full - base is negative, so that every run is enough. The "
        "measure is base - full.",
        _smallest(lambda loss, base, full, share: base - loss >= share * (full - base)),
    ),
    (
        "This is the dimension with the lowest loss. A smaller one may make `share` of the gain already.",
        _best_run,
    ),
    (
        "The loss is compared with a share of the base's loss. A gain is a fall of the loss: base - loss.",
        _smallest(lambda loss, base, full, share: loss <= share * base),
    ),
    (
        "The gain is compared with a share of the full loss. Compare it with a share of the full gain: "
        "base - loss against share * (base - full).",
        _smallest(lambda loss, base, full, share: base - loss >= share * full),
    ),
    (
        "Do not compare with full / share, the loss need not go to zero. Gains are asked: base - loss "
        "against share * (base - full).",
        _smallest(lambda loss, base, full, share: loss <= full / share),
    ),
    (
        "This asks for the whole gain: a share of it is enough.",
        _smallest(lambda loss, base, full, share: loss <= full),
    ),
    (
        "share and 1 - share are swapped: what may be left of the gain is 1 - share.",
        _smallest(lambda loss, base, full, share: loss <= full + share * (base - full)),
    ),
    (
        "A run that makes exactly `share` of the gain is enough: >=, not >.",
        _smallest(lambda loss, base, full, share: base - loss > share * (base - full)),
    ),
    ("Where no dimension is enough your function stops with an error. Return None.", _stops_at_none),
    ("Where no dimension is enough your function stops with an error. Return None.", _stops_at_first),
    (NONE_ENOUGH, _smallest(lambda loss, base, full, share: base - loss >= share * (base - full), default=0)),
    (NONE_ENOUGH, lambda losses, *rest, **share: intrinsic_dimension(losses, *rest, **share) or max(losses)),
]


def _subspaces():
    """At right angles; one within the other; random ones, once the second larger and once the first."""
    axes, turned = torch.eye(10), _orthonormal(3, 3)
    whole = _orthonormal(9, 4)
    return [
        (axes[:, :3], axes[:, 3:6]),
        (whole[:, 1:] @ turned, whole),
        (_orthonormal(10, 3), _orthonormal(10, 5)),
        (_orthonormal(12, 4), _orthonormal(12, 2)),
    ]


def _similarity(fault):
    """A wrong subspace_similarity: fault(cosines [i, j], i, j)."""
    return lambda first, second: fault(first.T @ second, first.shape[1], second.shape[1])


def _wrong_sides(first, second):
    return (first @ second.T).square().sum() / min(first.shape[1], second.shape[1])


def _one_by_one(first, second):
    k = min(first.shape[1], second.shape[1])
    return (first[:, :k] * second[:, :k]).sum(0).square().sum() / k


def _of_space(first, second):
    return (first.T @ second).square().sum() / len(first)


def _by_projectors(first, second):
    return torch.trace(first @ first.T @ second @ second.T) / min(first.shape[1], second.shape[1])


def _by_loops(first, second):
    columns = [(u, v) for u in first.numpy().T for v in second.numpy().T]
    return sum(float(np.dot(u, v)) ** 2 for u, v in columns) / min(first.shape[1], second.shape[1])


SIMILARITY_MISTAKES = [
    (
        "Two subspaces without a common direction come out as 1. first @ second.T multiplies "
        "the wrong sides; the cosines between directions are first.T @ second, [i, j].",
        _wrong_sides,
    ),
    (
        "You divide by the larger dimension. A subspace that lies within a larger one is all "
        "there, and should come out as 1: divide by the smaller one.",
        _similarity(lambda cosines, i, j: cosines.square().sum() / max(i, j)),
    ),
    (
        "You divide by the dimension of the first. Divide by the smaller one, whichever that is.",
        _similarity(lambda cosines, i, j: cosines.square().sum() / i),
    ),
    (
        "You divide by the dimension of the second. Divide by the smaller one, whichever that is.",
        _similarity(lambda cosines, i, j: cosines.square().sum() / j),
    ),
    (
        "The sum of squares is not divided: it goes up to min(i, j). Divide by that.",
        _similarity(lambda cosines, i, j: cosines.square().sum()),
    ),
    ("You divide by the dimension of the space. Divide by min(i, j).", _of_space),
    (
        "You take the mean over all pairs. Divide the sum of squares by min(i, j).",
        _similarity(lambda cosines, i, j: cosines.square().mean()),
    ),
    (
        "You add the cosines, not their squares. Only the squares of the cosines "
        "of a direction with orthonormal ones sum to at most 1.",
        _similarity(lambda cosines, i, j: cosines.abs().sum() / min(i, j)),
    ),
    (
        "You add the cosines, not their squares. Only the squares of the cosines "
        "of a direction with orthonormal ones sum to at most 1.",
        _similarity(lambda cosines, i, j: cosines.sum() / min(i, j)),
    ),
    (
        "You divide the norm. It is the squared norm that counts.",
        _similarity(lambda cosines, i, j: cosines.norm() / min(i, j)),
    ),
    (
        "This is the root of the value: the squared norm is divided, without a root.",
        _similarity(lambda cosines, i, j: (cosines.square().sum() / min(i, j)).sqrt()),
    ),
    (
        "You compare direction k with direction k alone. A "
        "subspace has no order: compare each with each, U^T V.",
        _one_by_one,
    ),
    (
        "Return one number. Add the squares of all entries of first.T @ second.",
        _similarity(lambda cosines, i, j: cosines.square()),
    ),
    (
        "Return one number. Add the squares of all entries of first.T @ second.",
        _similarity(lambda cosines, i, j: cosines.square() / min(i, j)),
    ),
]


def sketch_transpose(grad, coordinate, sign, dimension):
    """Gradient of z [d] from that of the weights [D]: every weight's, signed, added to its coordinate."""
    return grad.new_zeros(dimension).index_add_(0, coordinate, grad * sign)


def _sketches():
    """Gradient, coordinates, signs and dimension; some coordinates without a weight."""
    fixed = (
        torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0]),
        torch.tensor([0, 2, 0, 2, 2]),
        torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]),
        4,
    )
    coordinate = torch.tensor([5, 1, 1, 3, 5, 5, 3, 1, 5])
    scaled = 0.6 * (torch.randint(0, 2, (9,)) * 2.0 - 1)
    scaled[0], scaled[1] = 0.6, -0.6
    return [fixed, (torch.randn(9), coordinate, scaled, 6)]


def _long_sketch():
    return torch.randn(300), torch.randint(40, (300,)), torch.randint(0, 2, (300,)) * 2.0 - 1, 40


def _dense(grad, coordinate, sign, dimension):
    P = torch.zeros(len(grad), dimension)
    P[torch.arange(len(grad)), coordinate] = sign
    return P.T @ grad


def _one_hot(grad, coordinate, sign, dimension):
    return (grad * sign) @ torch.nn.functional.one_hot(coordinate, dimension).to(grad)


def _last_wins(grad, coordinate, sign, dimension):
    result = grad.new_zeros(dimension)
    result[coordinate] += grad * sign
    return result


def _mean_of_each(grad, coordinate, sign, dimension):
    return grad.new_zeros(dimension).scatter_reduce_(0, coordinate, grad * sign, "mean", include_self=False)


def _signs_alone(grad, coordinate, sign, dimension):
    return sketch_transpose(grad, coordinate, sign.sign(), dimension)


def _gradient_in_place(grad, coordinate, sign, dimension):
    grad *= sign
    return grad.new_zeros(dimension).index_add_(0, coordinate, grad)


def _by_bincount(grad, coordinate, sign, dimension):
    return torch.bincount(coordinate, weights=grad * sign, minlength=dimension)


def _weight_by_weight(grad, coordinate, sign, dimension):
    result = torch.zeros(dimension)
    for n in range(len(grad)):
        result[coordinate[n]] += sign[n] * grad[n]
    return result


def _by_autograd(grad, coordinate, sign, dimension):
    z = torch.zeros(dimension, requires_grad=True)
    return torch.autograd.grad((z[coordinate] * sign * grad).sum(), z)[0]


ONE_A_WEIGHT = (
    "You return one value a weight, [D]. The gradient of z has one a coordinate, [d]: add "
    "up the weights that follow it."
)
SKETCH_MISTAKES = [
    (
        "Only the last weight of each coordinate is left. Indexing with = or += "
        "writes every coordinate once, even if it comes up several times; "
        "index_add_ adds.",
        _last_wins,
    ),
    (
        "The signs are missing: a weight that moves against its coordinate must pull it the other way.",
        lambda g, c, s, d: g.new_zeros(d).index_add_(0, c, g),
    ),
    (
        "Only the direction of sign is used. It is a factor, and in a scaled sketch not 1: grad * sign.",
        _signs_alone,
    ),
    ("This is the mean over the weights of a coordinate. The transpose of a sum is a sum.", _mean_of_each),
    (
        "The direction is reversed: this is minus the gradient. The optimiser takes care of going downhill.",
        lambda g, c, s, d: -sketch_transpose(g, c, s, d),
    ),
    (ONE_A_WEIGHT, lambda g, c, s, d: g[c] * s),
    (ONE_A_WEIGHT, lambda g, c, s, d: g * s),
    (
        "A coordinate that no weight follows is missing. Start from dimension zeros.",
        lambda g, c, s, d: torch.bincount(c, weights=g * s),
    ),
]
SKETCH = compare(
    sketch_transpose,
    _sketches,
    SKETCH_MISTAKES,
    else_="Entry k is the sum of grad * sign over the weights whose coordinate is k.",
)


def _check_sketch_transpose(fn):
    SKETCH(fn)
    grad, coordinate, sign, dimension = _long_sketch()
    with Largest() as largest:
        fn(grad, coordinate, sign, dimension)
    if largest.values >= len(grad) * dimension:
        raise Mistake(
            "The values are right, and you make a matrix as large as P, [D, d], on the way. With millions of "
            "weights it would fit into no memory. Add each weight's gradient to its coordinate: index_add_."
        )


EXERCISES = [
    Exercise(
        name="energy_curve",
        lesson="04",
        minutes=5,
        difficulty=1,
        reference=energy_curve,
        check=compare(
            energy_curve,
            _spectra,
            ENERGY_MISTAKES,
            else_="Entry k is the sum of the first k + 1 squares over the sum of all squares.",
        ),
        wrong=[
            (_energy_in_place, "changes its argument singular_values in place"),
            (lambda s: None, "Is there a return"),
            (lambda s: energy_curve(s).tolist(), "should be a tensor"),
            (lambda s: energy_curve(s)[:-1], "should have the shape [4]"),
            (lambda s: torch.zeros_like(s), "sum of all squares"),
            (lambda s: torch.tensor([0.64, 0.8, 0.96, 1.0]), "should have the shape"),
        ],
        right=[_energy_one_by_one, _energy_in_numpy],
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
        check=compare(
            best_rank,
            lambda: [(_matrix(7, 5), 2), (_matrix(5, 7), 3), (_matrix(6, 6, 40.0), 1), (_matrix(4, 9), 4)],
            BEST_RANK_MISTAKES,
            else_="It is the sum of the first rank pieces: column k of U, times S[k], times row k of Vh.",
            tolerance=1e-4,
        ),
        wrong=[
            (_cut_in_place, "changes its argument matrix in place"),
            (lambda matrix, rank: -best_rank(matrix, rank), "the sum of the first rank pieces"),
            (lambda matrix, rank: torch.zeros_like(matrix), "the sum of the first rank pieces"),
            (lambda matrix, rank: best_rank(matrix, rank).T, "should have the shape [7, 5]"),
            (lambda matrix, rank: None, "Is there a return"),
        ],
        right=[_projected, _piece_by_piece],
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
        check=compare(
            subspace_similarity,
            _subspaces,
            SIMILARITY_MISTAKES,
            else_="It is the sum of the squares of first.T @ second, over the smaller number of columns.",
        ),
        wrong=[
            (lambda first, second: None, "Is there a return"),
            (lambda first, second: 1 - subspace_similarity(first, second), "the sum of the squares"),
            (lambda first, second: 0.0, "the sum of the squares"),
            (lambda first, second: subspace_similarity(first, second[:, :3]), "the sum of the squares"),
        ],
        right=[
            _by_projectors,
            _by_loops,
            _similarity(lambda cosines, i, j: torch.linalg.svdvals(cosines).square().mean()),
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
            *((wrong, message) for message, wrong in SKETCH_MISTAKES),
            (_dense, "as large as P"),
            (_one_hot, "as large as P"),
            (_gradient_in_place, "changes its argument grad in place"),
            (lambda g, c, s, d: g.new_zeros(d), "Entry k is the sum"),
            (lambda g, c, s, d: sketch_transpose(g, c, s, 4), "stopped"),
        ],
        right=[_by_bincount, _weight_by_weight, _by_autograd],
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
        check=compare(
            intrinsic_dimension,
            _runs,
            INTRINSIC_MISTAKES,
            else_="It is the smallest dimension with base - loss >= share * (base - full), or None.",
            extremes=[(NONE_ENOUGH, NONE_INPUTS)],
        ),
        wrong=[
            (_always_none, "Is there a return"),
            (_smallest(lambda loss, base, full, share: loss < base), "It is the smallest dimension with"),
            (lambda losses, base, full, share=0.9: str(_best_run(losses, base, full)), "should be a number"),
        ],
        right=[_from_small_to_large, _in_arrays],
        hints=(
            "The gain of a run is how far its loss lies below the base model's. Full fine-tuning's gain "
            "is the measure: which is the smallest dimension that makes 90% of it?",
            "losses.items() gives (dimension, loss) in any order. Keep the dimensions with base - loss >= "
            "share * (base - full), and return the smallest, or None: min(list, default=None).",
        ),
    ),
]
