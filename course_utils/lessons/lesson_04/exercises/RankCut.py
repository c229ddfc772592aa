"""Lesson 04, RankCut: the rank cut."""

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.checks.compare import Mistake, close
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_04.exercises.shared import fading_matrix
from course_utils.methods.lora_analysis import RankCut, best_rank, weight_matrix


class _Pair(nn.Module):
    """Three layers; the third is never named, so no cut may change it."""

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
            change = fading_matrix(*layer.weight.shape, 2.0)
            tuned.weight.copy_(layer.weight + change)
            tuned.bias.copy_(layer.bias + n_in)
    return before, after


def _weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


NAMED_CUTS = [  # (message, the layer's weight [out, in] given W, its change D and the rank r)
    ("The rank has no effect: you always cut to rank 2.", lambda W, D, r: W + best_rank(D, 2)),
    ("The cut has no effect: the layer still has the tuned weights.", lambda W, D, r: W + D),
    ("The change is missing: this is the base model's weight at every rank.", lambda W, D, r: W),
    (
        "set(0) restores the tuned weights. 0 counts as false: test whether rank is None.",
        lambda W, D, r: W + best_rank(D, r) if r else W + D,
    ),
    ("W is missing: the layer has only the cut change. Add self.base.", lambda W, D, r: best_rank(D, r)),
    ("You cut the whole weight. Cut only the change; W stays as it is.", lambda W, D, r: best_rank(W + D, r)),
    ("You add what the cut leaves out. Add what it keeps.", lambda W, D, r: W + D - best_rank(D, r)),
    ("You subtract the change from W. Add it.", lambda W, D, r: W - best_rank(D, r)),
    ("You add the cut to the tuned weight. Add it to W.", lambda W, D, r: W + D + best_rank(D, r)),
    (
        "You keep one direction too many: [:rank] selects the first rank ones.",
        lambda W, D, r: W + best_rank(D, r + 1),
    ),
    (
        "The singular values are missing: scale the columns of U by S.",
        lambda W, D, r: (
            W
            + torch.linalg.svd(D, full_matrices=False)[0][:, :r]
            @ torch.linalg.svd(D, full_matrices=False)[2][:r]
        ),
    ),
    (
        "You keep the weakest directions. torch.linalg.svd returns the strongest first.",
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
                    "set should return the model, self.model, so that "
                    f"mean_loss(cut.set(8), ...) works; it returned {type(returned).__name__}."
                )
            held[rank] = {n: weight_matrix(after.get_submodule(n)) for n in PAIR}
        _compare_cuts(held, base, changes, kind)
        for again in (False, True):
            if cut.set(None) is not after:
                raise Mistake(
                    "set(None) should return the model too, for mean_loss(cut.set(None), ...). If rank is "
                    "None, is the return missing, or without self.model?"
                )
            if any(not torch.equal(after.state_dict()[f"{n}.weight"], tuned[f"{n}.weight"]) for n in PAIR):
                raise Mistake(
                    "After set(None), set(1), set(None) the weights are not the tuned ones. Copy self.tuned "
                    "into the layer. If the layer holds that tensor itself, the next cut writes into it."
                    if again
                    else "set(None) should restore the tuned weights, bit for bit: self.tuned has them."
                )
            cut.set(1)
        cut.set(None)
        if not all(torch.equal(value, start[name]) for name, value in _weights(before).items()):
            raise Mistake("The cut changes the model before tuning: add the change to a copy of its weights.")
        others = [name for name in tuned if name not in {f"{n}.weight" for n in PAIR}]
        if any(not torch.equal(after.state_dict()[name], tuned[name]) for name in others):
            raise Mistake("Cut only the weights of the named layers; biases and other layers stay.")


def _compare_cuts(held, base, changes, kind):
    """Mistake unless held, {rank: {name: weight}}, is W + the best cut, [out, in], at every rank."""

    def fits(wrong, names=PAIR):
        """Whether every weight held is wrong(W, change, rank)."""
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
        raise Mistake("You cut only the first layer. Is the return inside the loop over the layers?")
    square = base["first"].shape[0] == base["first"].shape[1]
    if square and (fits(lambda W, D, r: W + best_rank(D, r).T) or fits(lambda W, D, r: right(W, D, r).T)):
        raise Mistake(
            "On a square Conv1D the result is transposed. self.base and the SVDs are [out, in], the weight "
            "of a Conv1D is [in, out]: transpose before you copy. Other shapes would raise an error."
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
        "The ranks were set in the order 2, 1, 3, 0: start each time from self.base and the stored SVDs, "
        "change neither, and do not start from the layer's current weight."
    )


def _cut_class(set_rank):
    """RankCut with another set(rank); set_rank(self, name, rank) returns the weight as [out, in]."""

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
    """At None, the layer uses the stored tensor itself, not a copy."""

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
    """Right: a new Parameter each time, and a new SVD."""

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
    """Right: adds every piece separately, and replaces the data."""

    def set(self, rank):
        for name, (U, S, Vh) in self.svds.items():
            layer, weight = self.model.get_submodule(name), self.base[name].clone()
            for k in range(min(rank or 0, len(S))):
                weight += S[k] * torch.outer(U[:, k], Vh[k])
            weight = weight.T if isinstance(layer, Conv1D) else weight
            layer.weight.data = self.tuned[name].clone() if rank is None else weight.contiguous()
        return self.model


EXERCISE = Exercise(
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
        (_OneLayer, "only the first layer"),
        (_Untransposed, "On a square Conv1D"),
        (_IntoTheBase, "changes the model before tuning"),
        (_BiasesToo, "biases and other layers stay"),
    ],
    right=[_NewParameters, _ThroughData],
    hints=(
        "The weight of each layer is W plus the first rank pieces of its change. Everything is already "
        "stored: W in self.base, the pieces in self.svds. Start from W each time.",
        "Loop over self.svds.items(): U [out, n], S [n], Vh [n, in]. The cut is U[:, :rank] * S[:rank] "
        "@ Vh[:rank], as in best_rank; add self.base[name]. A Conv1D stores [in, out], so transpose for "
        "it. layer.weight.copy_(...) writes in place. Return self.model after the loop.",
    ),
    then="From here on your class makes all cuts of a model.",
)
