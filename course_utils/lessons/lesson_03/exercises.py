"""Exercises of lesson 03: counting, gradients by hand, query and value inside c_attn, an embedding."""

from __future__ import annotations

import torch
from torch import nn

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor


def break_even_rank(n_in, n_out):
    """The largest rank at which A [rank, in] and B [out, rank] together are smaller than W [out, in]."""
    return (n_in * n_out - 1) // (n_in + n_out)


def _check_break_even(fn):
    rank = fn(768, 2304)  # 768 * 2304 / 3072 is 576 exactly
    if rank is None:
        raise Mistake("The result is None. Is there a return?")
    if rank == 576:
        raise Mistake(
            "At rank 576 A and B have exactly as many values as a 768 x 2304 matrix. They should have fewer."
        )
    if rank in (2303, 2304, 767, 768) or fn(6, 10) in (5, 9):
        raise Mistake(
            "You count one of the two. A has rank * in values, B has out * rank: both are trained. "
            "(Or is this the largest rank that such a matrix can have?)"
        )
    if rank in (1151, 1152, 383, 384):
        raise Mistake(
            "2 * rank * width is for a square matrix. Here A has rank * 768 values, and B has 2304 * rank."
        )
    if isinstance(rank, float) and not rank.is_integer():
        raise Mistake(f"A rank is a whole number; yours is {rank:g}. Round down.")
    for sizes, expected in (((768, 2304), 575), ((4096, 4096), 2047), ((6, 10), 3), ((3, 5), 1)):
        if fn(*sizes) != expected:
            raise Mistake(
                f"For a matrix of {sizes[0]} x {sizes[1]} the rank should be {expected}; yours is "
                f"{fn(*sizes)}."
            )


def lora_gradients(x, grad, A, B, scale):
    """Gradients of A [r, in] and B [out, r] for y = W x + scale * B A x; x [n, in], grad of y [n, out]."""
    low = x @ A.T  # (n, r)
    grad_low = grad @ B  # (n, r)
    return scale * grad_low.T @ x, scale * grad.T @ low


def _check_lora_gradients(fn):
    n, n_in, n_out, rank, scale = 6, 5, 4, 2, 3.0
    x, grad, A, B = (torch.randn(shape) for shape in ((n, n_in), (n, n_out), (rank, n_in), (n_out, rank)))
    right = lora_gradients(x, grad, A, B, scale)
    result = fn(x, grad, A, B, scale)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two tensors: the gradient of A and the gradient of B.")
    for value in result:
        expect_tensor(value)
    shapes = [tuple(value.shape) for value in result]
    if shapes == [(n_out, rank), (rank, n_in)]:
        raise Mistake("A and B are swapped: the gradient of A comes first.")
    if shapes == [(n_in, rank), (rank, n_out)]:
        raise Mistake("Both are transposed. A gradient has the shape of its parameter: [r, in] and [out, r].")
    for name, value, parameter in (("A", result[0], A), ("B", result[1], B)):
        expect_tensor(value, parameter.shape, f"the gradient of {name}")
    for name, value, expected in zip("AB", result, right, strict=True):
        if close(value, expected / scale):
            raise Mistake(f"The scale is missing in the gradient of {name}.")
        if close(value, expected * scale):
            raise Mistake(f"The scale is in the gradient of {name} twice.")
        if close(value, expected / n):
            raise Mistake(
                f"The gradient of {name} is divided by the number of rows. The rows' parts add up: "
                "a mean, if there is one, is in `grad` already."
            )
    zero = torch.zeros_like(B)
    if fn(x, grad, A, zero, scale)[0].abs().max() > 0:
        raise Mistake("With B = 0 the gradient of A should be 0: it reaches A only through B.")
    if not all(close(value, expected) for value, expected in zip(result, right, strict=True)):
        raise Mistake(
            "The shapes are right and the values are not. With low = x A^T, the output's change is "
            "scale * low B^T: the gradient of B needs low, that of A needs grad B."
        )


def query_value_delta(A_q, B_q, A_v, B_v, scale):
    """The change of a fused c_attn, as Conv1D stores it, [d, 3d], by LoRA on query and value. A [r, d]."""
    query, value = scale * B_q @ A_q, scale * B_v @ A_v  # (d, d) each, [out, in]
    delta = torch.cat([query, torch.zeros_like(query), value])  # (3d, d)
    return delta.T


def _check_query_value(fn):
    d, rank, scale = 4, 2, 3.0
    A_q, A_v = torch.randn(rank, d), torch.randn(rank, d)
    B_q, B_v = torch.randn(d, rank), torch.randn(d, rank)
    query, value = scale * B_q @ A_q, scale * B_v @ A_v  # (d, d), [out, in]
    result = expect_tensor(fn(A_q, B_q, A_v, B_v, scale))
    if result.shape == (3 * d, d):
        raise Mistake(
            "This has the layout of an nn.Linear, [3d, d]. Conv1D stores its weight as [in, out], "
            "here [d, 3d]: transpose."
        )
    if result.shape in ((d, 2 * d), (2 * d, d)):
        raise Mistake(
            "The keys have no columns. c_attn gives query, key and value; a key that is left alone "
            "has a change of zeros."
        )
    if result.shape[-1] == rank or result.shape[0] == rank or result.shape[-1] == 3 * rank:
        raise Mistake("A and B are swapped: A B is [r, r]. The change is B A, [d, d].")
    expect_tensor(result, (d, 3 * d))
    zero = torch.zeros(d, d)
    if close(result, torch.cat([query.T, zero, value.T], 1) / scale):
        raise Mistake("The scale is missing.")
    if close(result, torch.cat([query, zero, value], 1)):
        raise Mistake(
            "The shape is right and both parts are transposed: B A is [out, in], Conv1D wants "
            "[in, out]. They are square, so no error tells you."
        )
    if close(result, torch.cat([query.T, value.T, zero], 1)):
        raise Mistake("The value's change stands in the columns of the key. The order is query, key, value.")
    if close(result, torch.cat([value.T, zero, query.T], 1)):
        raise Mistake("Query and value have changed places: the query's columns come first.")
    if not close(result, torch.cat([query.T, zero, value.T], 1)):
        raise Mistake(
            "Columns 0 to d should be (scale * B_q A_q)^T, the next d zero, the last d (scale * B_v A_v)^T."
        )


class LoRAEmbedding(nn.Module):
    """A frozen nn.Embedding with a low-rank change: token ids [...] -> [..., d].

    The change of the table [V, d] is scale * (B A)^T, with A [rank, V] and B [d, rank].
    """

    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__()
        self.original = original.requires_grad_(False)
        self.scale = alpha / rank
        device = original.weight.device
        self.lora_A = nn.Parameter(0.02 * torch.randn(rank, original.num_embeddings, device=device))
        self.lora_B = nn.Parameter(torch.zeros(original.embedding_dim, rank, device=device))

    def forward(self, ids):
        low = self.lora_A.T[ids]  # (..., rank)
        return self.original(ids) + self.scale * low @ self.lora_B.T


def _check_lora_embedding(cls):
    vocabulary, width, rank, alpha = 7, 5, 2, 6.0
    original = nn.Embedding(vocabulary, width)
    layer = cls(original, rank=rank, alpha=alpha)
    if not isinstance(layer, nn.Module):
        raise Mistake("LoRAEmbedding should be an nn.Module: class LoRAEmbedding(nn.Module).")
    for name, shape in (("lora_A", (rank, vocabulary)), ("lora_B", (width, rank))):
        value = getattr(layer, name, None)
        if value is None:
            raise Mistake(f"The layer has no {name}.")
        if not isinstance(value, nn.Parameter):
            raise Mistake(f"{name} is not an nn.Parameter: no optimiser would see it.")
        expect_tensor(value, shape, name)
    if any(parameter.requires_grad for parameter in original.parameters()):
        raise Mistake(
            "The base is not frozen: original.weight would be trained along. requires_grad_(False) on it."
        )
    if not (layer.lora_A.requires_grad and layer.lora_B.requires_grad):
        raise Mistake("A and B are frozen. They are what is trained.")
    ids = torch.tensor([[0, 3, 6], [2, 2, 5]])
    before = original.weight[ids]  # (2, 3, width)
    start = expect_tensor(layer(ids), (2, 3, width), "the layer's output")
    if layer.lora_A.abs().max() == 0 and layer.lora_B.abs().max() == 0:
        raise Mistake(
            "A and B are both zero: then neither ever gets a gradient, and nothing is learnt. Draw "
            "one of them at random."
        )
    if close(start, torch.zeros_like(before)):
        raise Mistake("The original is lost: the change is added to the original's rows.")
    if not close(start, before):
        raise Mistake("At the start the layer should give what the original gives. Is B zero?")
    with torch.no_grad():
        layer.lora_A.normal_()
        layer.lora_B.normal_()
    change = expect_tensor(layer(ids), (2, 3, width), "the layer's output") - before
    unscaled = (layer.lora_B @ layer.lora_A).T[ids]  # (2, 3, width)
    if close(change, torch.zeros_like(change)):
        raise Mistake("A and B have no effect: the output is that of the original alone.")
    if close(change, unscaled):
        raise Mistake("The scale is missing: the change is alpha / rank times B A.")
    if close(change, alpha * unscaled):
        raise Mistake("alpha is not divided by the rank.")
    if close(change, alpha / rank**0.5 * unscaled):
        raise Mistake("This is alpha over the root of the rank (rsLoRA). Here it is alpha over the rank.")
    if not close(change, alpha / rank * unscaled):
        raise Mistake("The change of the row of token i should be alpha / rank times B times column i of A.")


def _gradients(fault):
    """A wrong lora_gradients: fault(right gradients and what they are made of)."""

    def wrong(x, grad, A, B, scale):
        return fault(*lora_gradients(x, grad, A, B, scale), x, grad, A, B, scale)

    return wrong


def _qv(fault):
    """A wrong query_value_delta: fault(query's and value's change [d, d], zeros [d, d])."""

    def wrong(A_q, B_q, A_v, B_v, scale):
        query, value = scale * B_q @ A_q, scale * B_v @ A_v
        return fault(query, value, torch.zeros_like(query))

    return wrong


class _NotFrozen(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        original.requires_grad_(True)


class _RandomB(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        nn.init.normal_(self.lora_B)


class _BothZero(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        nn.init.zeros_(self.lora_A)


class _Unscaled(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        self.scale = 1.0


class _Undivided(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        self.scale = alpha


class _Root(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        self.scale = alpha / rank**0.5


class _Swapped(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        self.lora_A, self.lora_B = nn.Parameter(self.lora_B.T.clone()), nn.Parameter(self.lora_A.T.clone())


class _NoParameter(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        A = self.lora_A.data
        del self.lora_A
        self.lora_A = A


class _ChangeAlone(LoRAEmbedding):
    def forward(self, ids):
        return super().forward(ids) - self.original(ids)


EXERCISES = [
    Exercise(
        name="break_even_rank",
        lesson="03",
        minutes=5,
        difficulty=1,
        reference=break_even_rank,
        check=_check_break_even,
        wrong=[
            (lambda n_in, n_out: n_in * n_out // (n_in + n_out), "exactly as many"),
            (lambda n_in, n_out: (n_in * n_out - 1) // n_in, "You count one of the two"),
            (lambda n_in, n_out: min(n_in, n_out), "largest rank that such a matrix"),
            (lambda n_in, n_out: (n_in * n_out - 1) // (2 * n_in), "for a square matrix"),
            (lambda n_in, n_out: n_in * n_out / (n_in + n_out) - 0.5, "whole number"),
            (lambda n_in, n_out: (n_in * n_out - 1) // (n_in + n_out) - 1, "should be 575"),
        ],
        hints=(
            "LoRA trains rank rows of A and rank columns of B instead of all of W. Write both counts "
            "down; at which rank are they equal? One below it, if it is a whole number, is the answer.",
            "W has in * out values; A and B have rank * in + out * rank = rank * (in + out). The largest "
            "whole rank with rank * (in + out) < in * out: whole-number division with //, and mind the "
            "case where it divides evenly.",
        ),
    ),
    Exercise(
        name="lora_gradients",
        lesson="03",
        minutes=15,
        difficulty=3,
        reference=lora_gradients,
        check=_check_lora_gradients,
        wrong=[
            (_gradients(lambda gA, gB, x, grad, A, B, scale: (gA / scale, gB)), "in the gradient of A"),
            (_gradients(lambda gA, gB, x, grad, A, B, scale: (gA, gB / scale)), "in the gradient of B"),
            (_gradients(lambda gA, gB, x, grad, A, B, scale: (scale * gA, gB)), "twice"),
            (_gradients(lambda gA, gB, x, grad, A, B, scale: (gB, gA)), "A and B are swapped"),
            (_gradients(lambda gA, gB, x, grad, A, B, scale: (gA.T, gB.T)), "Both are transposed"),
            (_gradients(lambda gA, gB, x, grad, A, B, scale: (gA / len(x), gB / len(x))), "number of rows"),
            (_gradients(lambda gA, gB, x, grad, A, B, scale: (torch.ones_like(gA), gB)), "only through B"),
            (_gradients(lambda gA, gB, x, grad, A, B, scale: (gA, gB + 1)), "the values are not"),
            (_gradients(lambda gA, gB, x, grad, A, B, scale: gA), "Return two tensors"),
            (lambda x, grad, A, B, scale: (scale * x.T @ grad @ A, scale * grad.T @ x), "Your code stopped"),
        ],
        hints=(
            "Go through the layer in two steps, low = x A^T and change = scale * low B^T. Each is a "
            "matrix product, and for y = x M^T the gradients are grad^T x for M and grad M for x. W is "
            "not needed: it is frozen.",
            "low = x @ A.T is [n, r]. Gradient of B: scale * grad.T @ low, [out, r]. Back through B: "
            "grad @ B is [n, r]; gradient of A: scale * (grad @ B).T @ x, [r, in].",
        ),
    ),
    Exercise(
        name="query_value_delta",
        lesson="03",
        minutes=10,
        difficulty=2,
        reference=query_value_delta,
        check=_check_query_value,
        wrong=[
            (_qv(lambda q, v, zero: torch.cat([q, zero, v])), "layout of an nn.Linear"),
            (_qv(lambda q, v, zero: torch.cat([q, v]).T), "keys have no columns"),
            (_qv(lambda q, v, zero: torch.cat([q, zero, v], 1)), "both parts are transposed"),
            (_qv(lambda q, v, zero: torch.cat([q, v, zero]).T), "in the columns of the key"),
            (_qv(lambda q, v, zero: torch.cat([v, zero, q]).T), "have changed places"),
            (lambda A_q, B_q, A_v, B_v, scale: query_value_delta(A_q, B_q, A_v, B_v, 1.0), "scale is"),
            (
                lambda A_q, B_q, A_v, B_v, scale: torch.cat([A_q @ B_q, 0 * A_q @ B_q, A_v @ B_v]).T,
                "A B is [r, r]",
            ),
            (_qv(lambda q, v, zero: torch.cat([q, zero, v]).T + 1), "Columns 0 to d"),
        ],
        hints=(
            "Each of the two changes is a d x d matrix of its own. In the fused matrix they stand beside "
            "each other, and the key's place between them is empty. Only then comes the layout.",
            "B A is [d, d] as [out, in]. Stack query, zeros, value along out: [3d, d]. Conv1D stores "
            "[in, out]: the transpose, [d, 3d].",
        ),
    ),
    Exercise(
        name="LoRAEmbedding",
        lesson="03",
        minutes=15,
        difficulty=2,
        reference=LoRAEmbedding,
        check=_check_lora_embedding,
        wrong=[
            (_NotFrozen, "base is not frozen"),
            (_RandomB, "Is B zero?"),
            (_BothZero, "both zero"),
            (_Unscaled, "scale is missing"),
            (_Undivided, "not divided by the rank"),
            (_Root, "root of the rank"),
            (_Swapped, "lora_A should have the shape [2, 7]"),
            (_NoParameter, "not an nn.Parameter"),
            (_ChangeAlone, "The original is lost"),
        ],
        hints=(
            "An embedding is a linear layer whose input is a vector of zeros with a single one: x A^T "
            "then picks a column of A. So look rows up in A^T as the original looks them up in its table.",
            "lora_A [rank, V] random, lora_B [d, rank] zeros, both nn.Parameter; original frozen. "
            "low = lora_A.T[ids] is [..., rank]; original(ids) + alpha / rank * low @ lora_B.T is "
            "[..., d].",
        ),
    ),
]
