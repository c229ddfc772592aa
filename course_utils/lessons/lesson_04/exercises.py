"""Exercises of lesson 04: energy, the best cut, cutting a whole model, subspaces, a count-sketch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.checks.compare import Mistake, close, compare
from course_utils.checks.exercises import Exercise
from course_utils.checks.largest import Largest
from course_utils.methods.lora_analysis import (
    RankCut,
    best_rank,
    energy_curve,
    subspace_similarity,
    weight_matrix,
)


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
        "You add first and square then. Square each value first: (4 + 2)**2 is not 4**2 + 2**2.",
        lambda s: s.cumsum(0) ** 2 / s.sum() ** 2,
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
    pieces = (S[k] * torch.outer(U[:, k], Vh[k]) for k in range(min(rank, len(S))))
    return sum(pieces, torch.zeros_like(matrix))


def _by_eigenvectors(matrix, rank):
    _, vectors = torch.linalg.eigh((matrix.T @ matrix).double())  # the weakest first
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
    ("The sign is turned: this is minus the cut.", lambda matrix, rank: -best_rank(matrix, rank)),
    (
        "These are the first rows of the matrix, in no order of importance. An SVD is needed.",
        lambda matrix, rank: matrix * (torch.arange(len(matrix)) < rank)[:, None],
    ),
]


class _Pair(nn.Module):
    """Three layers; the third is never named, so no cut may touch it."""

    def __init__(self, kind, sizes):
        super().__init__()
        make = (lambda n_in, n_out: Conv1D(n_out, n_in)) if kind is Conv1D else nn.Linear
        self.first, self.second, self.third = (make(*size) for size in sizes)


PAIR = ["first", "second"]


def _before_and_after(kind, sizes):
    before, after = _Pair(kind, sizes), _Pair(kind, sizes)
    with torch.no_grad():
        for name, layer in before.named_children():
            tuned, n_in = after.get_submodule(name), sizes[0][0]
            layer.weight.normal_()
            change = _matrix(*layer.weight.shape, 2.0)
            tuned.weight.copy_(layer.weight + change)
            tuned.bias.copy_(layer.bias + n_in)
    return before, after


def _weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


NAMED_CUTS = [  # (message, what stands in the layer [out, in] given W, its change D and the rank r)
    ("The rank has no effect: this is the cut to rank 2 each time.", lambda W, D, r: W + best_rank(D, 2)),
    ("The cut has no effect: the tuned weights still stand in the layer.", lambda W, D, r: W + D),
    ("The change is missing: this is the base model's weight at every rank.", lambda W, D, r: W),
    (
        "set(0) puts the tuned weights back. 0 counts as false: ask whether rank is None.",
        lambda W, D, r: W + best_rank(D, r) if r else W + D,
    ),
    (
        "W is missing: the cut change alone stands in the layer. Add self.base.",
        lambda W, D, r: best_rank(D, r),
    ),
    (
        "You cut the whole weight. Only the change is cut; W stays as it is.",
        lambda W, D, r: best_rank(W + D, r),
    ),
    ("This is what the cut leaves out. Add what it keeps.", lambda W, D, r: W + D - best_rank(D, r)),
    ("The change is subtracted from W. Add it.", lambda W, D, r: W - best_rank(D, r)),
    ("The cut is added to the tuned weight, not to W.", lambda W, D, r: W + D + best_rank(D, r)),
    ("One direction too many stays: [:rank] are the first rank.", lambda W, D, r: W + best_rank(D, r + 1)),
    (
        "The singular values are missing: scale the columns of U by S.",
        lambda W, D, r: (
            W
            + torch.linalg.svd(D, full_matrices=False)[0][:, :r]
            @ torch.linalg.svd(D, full_matrices=False)[2][:r]
        ),
    ),
    (
        "The weakest directions stay. torch.linalg.svd gives the strongest first.",
        lambda W, D, r: W + D - best_rank(D, min(D.shape) - r),
    ),
]


def _check_rank_cut(cls):
    for kind, sizes in (
        (nn.Linear, [(7, 5), (5, 6), (6, 3)]),
        (Conv1D, [(5, 7), (7, 5), (5, 4)]),
        (Conv1D, [(5, 5), (5, 5), (5, 5)]),
    ):
        before, after = _before_and_after(kind, sizes)
        start, tuned = _weights(before), _weights(after)
        base, full = ({n: weight_matrix(model.get_submodule(n)) for n in PAIR} for model in (before, after))
        changes = {n: full[n] - base[n] for n in PAIR}
        cut, held = cls(before, after, PAIR), {}
        for rank in (2, 1, 3, 0):
            returned = cut.set(rank)
            if returned is not after:
                raise Mistake(
                    "set should return the model that it has cut, self.model, so that "
                    f"mean_loss(cut.set(8), ...) works; it returned {type(returned).__name__}."
                )
            held[rank] = {n: weight_matrix(after.get_submodule(n)) for n in PAIR}
        _compare_cuts(held, base, changes, kind)
        for again in (False, True):
            if cut.set(None) is not after:
                raise Mistake(
                    "set(None) should return the model too, for mean_loss(cut.set(None), ...). Is there a "
                    "return without self.model, or none, where rank is None?"
                )
            if any(not torch.equal(after.state_dict()[f"{n}.weight"], tuned[f"{n}.weight"]) for n in PAIR):
                raise Mistake(
                    "After set(None), set(1), set(None) the weights are not the tuned ones. Copy self.tuned "
                    "into the layer. If the layer holds that tensor itself, the next cut writes into it."
                    if again
                    else "set(None) should put the tuned weights back, bit for bit: self.tuned has them."
                )
            cut.set(1)
        cut.set(None)
        if not all(torch.equal(value, start[name]) for name, value in _weights(before).items()):
            raise Mistake("The cut changes the model before tuning: add to a copy of its weights.")
        others = [name for name in tuned if name not in {f"{n}.weight" for n in PAIR}]
        if any(not torch.equal(after.state_dict()[name], tuned[name]) for name in others):
            raise Mistake("Only the weights of the named layers are cut; biases and other layers stay.")


def _compare_cuts(held, base, changes, kind):
    """Mistake unless at every rank the layers hold W + the best cut, [out, in]: {rank: {name: weight}}."""

    def fits(wrong, names=PAIR):
        """Whether what is held is wrong(W, change, rank) everywhere."""
        return all(
            close(layers[n], wrong(base[n], changes[n], rank), 1e-4)
            for rank, layers in held.items()
            for n in names
        )

    def right(W, D, r):
        return W + best_rank(D, r)

    if fits(right):
        return
    if fits(right, PAIR[:1]):
        raise Mistake("Only the first layer is cut. A return or an indent inside the loop over the layers?")
    square = base["first"].shape[0] == base["first"].shape[1]
    if square and (fits(lambda W, D, r: W + best_rank(D, r).T) or fits(lambda W, D, r: right(W, D, r).T)):
        raise Mistake(
            "On a square Conv1D the result is transposed. self.base and the SVDs are [out, in], the weight "
            "of a Conv1D is [in, out]: transpose before you copy. Other shapes would stop with an error."
        )
    for message, wrong in NAMED_CUTS:
        if fits(wrong):
            raise Mistake(message)
    where = "a Conv1D" if kind is Conv1D else "an nn.Linear"
    rank = next(
        r for r, one in held.items() if not close(one["first"], right(base["first"], changes["first"], r))
    )
    raise Mistake(
        f"After set({rank}) the weight of {where} is not W plus the best cut of its change to rank {rank}. "
        "The ranks were set in the order 2, 1, 3, 0: start each time from self.base and the kept SVDs, "
        "change neither of them, and do not start from what the layer holds."
    )


def _cut_class(set_rank):
    """RankCut with another set(rank); set_rank(self, name, rank) gives the weight as [out, in]."""

    class Wrong(RankCut):
        @torch.no_grad()
        def set(self, rank):
            for name in self.svds:
                layer = self.model.get_submodule(name)
                if rank is None:
                    layer.weight.copy_(self.tuned[name])
                    continue
                weight = set_rank(self, name, rank)
                layer.weight.copy_(weight.T if isinstance(layer, Conv1D) else weight)
            return self.model

    return Wrong


def _named_cut(wrong):
    def weight(self, name, rank):
        U, S, Vh = self.svds[name]
        return wrong(self.base[name], U * S @ Vh, rank)

    return _cut_class(weight)


def _cut_of_a_cut(self, name, rank):
    held = weight_matrix(self.model.get_submodule(name))
    return self.base[name] + best_rank(held - self.base[name], rank)


class _NoModelBack(RankCut):
    def set(self, rank):
        super().set(rank)


class _NeverBack(RankCut):
    def set(self, rank):
        return super().set(10**6 if rank is None else rank)


class _NoModelAtNone(RankCut):
    def set(self, rank):
        model = super().set(rank)
        return None if rank is None else model


class _TunedItself(RankCut):
    """At None the layer holds the kept tensor itself, not a copy."""

    def set(self, rank):
        if rank is not None:
            return super().set(rank)
        for name, weight in self.tuned.items():
            self.model.get_submodule(name).weight.data = weight
        return self.model


class _NothingAtNone(RankCut):
    def set(self, rank):
        return self.model if rank is None else super().set(rank)


class _OneLayer(RankCut):
    def set(self, rank):
        kept, self.svds = self.svds, dict([next(iter(self.svds.items()))])
        super().set(rank)
        self.svds = kept
        return self.model


class _Untransposed(RankCut):
    @torch.no_grad()
    def set(self, rank):
        for name, (U, S, Vh) in self.svds.items():
            layer = self.model.get_submodule(name)
            if rank is None:
                layer.weight.copy_(self.tuned[name])
                continue
            cut = U[:, :rank] * S[:rank] @ Vh[:rank]
            square = cut.shape[0] == cut.shape[1]
            base = self.base[name] + cut
            layer.weight.copy_(base.T if isinstance(layer, Conv1D) and not square else base)
        return self.model


class _IntoTheBase(RankCut):
    def __init__(self, before, after, names=None):
        super().__init__(before, after, names)
        self.before = before

    @torch.no_grad()
    def set(self, rank):
        super().set(rank)
        for name in self.svds:
            self.before.get_submodule(name).weight.add_(0.1)
        return self.model


class _BiasesToo(RankCut):
    @torch.no_grad()
    def set(self, rank):
        super().set(rank)
        for name in self.svds:
            self.model.get_submodule(name).bias.zero_()
        return self.model


class _NewParameters(RankCut):
    """Right: another Parameter each time, and the SVD made anew."""

    def __init__(self, before, after, names=None):
        super().__init__(before, after, names)
        self.changes = {name: U * S @ Vh for name, (U, S, Vh) in self.svds.items()}

    def set(self, rank):
        for name, change in self.changes.items():
            layer = self.model.get_submodule(name)
            weight = self.base[name] + best_rank(change, 0 if rank is None else rank)
            weight = weight.T if isinstance(layer, Conv1D) else weight
            layer.weight = nn.Parameter(self.tuned[name] if rank is None else weight.clone())
        return self.model


class _ThroughData(RankCut):
    """Right: every piece is added on its own, and the data is replaced."""

    def set(self, rank):
        for name, (U, S, Vh) in self.svds.items():
            layer, weight = self.model.get_submodule(name), self.base[name].clone()
            for k in range(min(rank or 0, len(S))):
                weight += S[k] * torch.outer(U[:, k], Vh[k])
            weight = weight.T if isinstance(layer, Conv1D) else weight
            layer.weight.data = self.tuned[name].clone() if rank is None else weight.contiguous()
        return self.model


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
            extremes=[
                ("At rank 0 no direction stays: zeros.", lambda: [(_matrix(5, 4), 0)]),
                ("From rank min(out, in) on the whole matrix stays.", lambda: [(_matrix(3, 5), 8)]),
                ("A change of zero is its own cut.", [(torch.zeros(4, 6), 2)]),
            ],
            tolerance=1e-4,
        ),
        wrong=[
            (_cut_in_place, "changes its argument matrix in place"),
            (lambda matrix, rank: best_rank(matrix, max(rank, 1)), "At rank 0"),
            (_stops_above_the_sizes, "Your code stopped"),
            (_of_unit_norm, "A change of zero"),
            (lambda matrix, rank: torch.zeros_like(matrix), "the sum of the first rank pieces"),
            (lambda matrix, rank: best_rank(matrix, rank).T, "should have the shape [7, 5]"),
            (lambda matrix, rank: None, "Is there a return"),
        ],
        right=[_projected, _piece_by_piece, _by_eigenvectors],
        then="From here on the cuts of this lesson are yours.",
        hints=(
            "The SVD writes the matrix as a sum of s_k u_k v_k^T, strongest first. Keep the first r "
            "terms: no other matrix of rank r is closer (Eckart and Young).",
            "U, S, Vh = torch.linalg.svd(matrix, full_matrices=False) gives U [out, n], S [n], Vh [n, in] "
            "with n = min(out, in). Take the first rank columns of U, times the first rank values of S, "
            "times the first rank rows of Vh.",
        ),
    ),
    Exercise(
        name="RankCut",
        lesson="04",
        minutes=15,
        difficulty=3,
        reference=RankCut,
        check=_check_rank_cut,
        wrong=[
            *((_named_cut(wrong), message) for message, wrong in NAMED_CUTS),
            (_cut_class(_cut_of_a_cut), "the order 2, 1, 3"),
            (_NoModelBack, "should return the model"),
            (_NoModelAtNone, "should return the model too"),
            (_NeverBack, "bit for bit"),
            (_NothingAtNone, "bit for bit"),
            (_TunedItself, "the next cut writes into it"),
            (_OneLayer, "Only the first layer"),
            (_Untransposed, "On a square Conv1D"),
            (_IntoTheBase, "changes the model before tuning"),
            (_BiasesToo, "biases and other layers stay"),
        ],
        right=[_NewParameters, _ThroughData],
        hints=(
            "For each layer the weight is W, plus the first rank pieces of its change. Everything is kept "
            "already: W in self.base, the pieces in self.svds. Begin anew from W each time.",
            "Loop over self.svds.items(): U [out, n], S [n], Vh [n, in]. The cut is U[:, :rank] * S[:rank] "
            "@ Vh[:rank], as in best_rank; add self.base[name]. A Conv1D stores [in, out], so transpose for "
            "it. layer.weight.copy_(...) writes in place. Return self.model after the loop.",
        ),
        then="From here on all cuts of a model are made by your class.",
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
]
