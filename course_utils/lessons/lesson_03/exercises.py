"""Exercises of lesson 03: counting, gradients by hand, query and value inside c_attn, an embedding."""

from __future__ import annotations

import torch
from torch import nn

from course_utils.checks.compare import (
    Mistake,
    close,
    compare,
    expect_gradients,
    expect_tensor,
    first_difference,
)
from course_utils.checks.exercises import Exercise


def break_even_rank(n_in, n_out):
    """The largest rank at which A [rank, in] and B [out, rank] together are smaller than W [out, in]."""
    return (n_in * n_out - 1) // (n_in + n_out)


RANK_INPUTS = [(768, 2304), (4096, 4096), (6, 10), (3, 5), (9, 3), (1, 7)]  # 768 * 2304 / 3072 is 576 exactly


def _by_ceiling(n_in, n_out):
    return -(-n_in * n_out // (n_in + n_out)) - 1


def _in_float_tensors(n_in, n_out):
    return torch.ceil(torch.tensor(n_in * n_out, dtype=torch.float64) / (n_in + n_out)) - 1


def _counting_up(n_in, n_out):
    rank = 0
    while (rank + 1) * n_in + n_out * (rank + 1) < n_in * n_out:
        rank += 1
    return rank


ONE_OF_TWO = "You count one of the two. A has rank * in values, B has out * rank: both are trained."
SQUARE = "2 * rank * width is for a square matrix. Here A has rank * in values, and B has out * rank."
ROUND_DOWN = "You round up, and A and B no longer have fewer values than W. Round down."
RANK_MISTAKES = [
    (
        "A rank is a whole number. Round down, and mind the case where it divides evenly.",
        lambda n_in, n_out: n_in * n_out / (n_in + n_out),
    ),
    ("A rank is a whole number. Round down.", lambda n_in, n_out: (n_in * n_out - 1) / (n_in + n_out)),
    ("A rank is a whole number. Round down.", lambda n_in, n_out: n_in * n_out / (n_in + n_out) - 0.5),
    (ROUND_DOWN, lambda n_in, n_out: -(-n_in * n_out // (n_in + n_out))),
    (ROUND_DOWN, lambda n_in, n_out: round(n_in * n_out / (n_in + n_out))),
    (
        "At rank 576 A and B have exactly as many values as a 768 x 2304 matrix. They should have fewer.",
        lambda n_in, n_out: n_in * n_out // (n_in + n_out),
    ),
    (
        "This is the largest rank that such a matrix can have. There A and B together have more values than "
        "W.",
        lambda n_in, n_out: min(n_in, n_out),
    ),
    (ONE_OF_TWO, lambda n_in, n_out: (n_in * n_out - 1) // n_in),
    (ONE_OF_TWO, lambda n_in, n_out: (n_in * n_out - 1) // n_out),
    (ONE_OF_TWO, lambda n_in, n_out: n_in * n_out // n_in),
    (ONE_OF_TWO, lambda n_in, n_out: n_in * n_out // n_out),
    (SQUARE, lambda n_in, n_out: (n_in * n_out - 1) // (2 * n_in)),
    (SQUARE, lambda n_in, n_out: (n_in * n_out - 1) // (2 * n_out)),
    (SQUARE, lambda n_in, n_out: n_in * n_out // (2 * n_in)),
    (SQUARE, lambda n_in, n_out: n_in * n_out // (2 * n_out)),
    (SQUARE, lambda n_in, n_out: min(n_in, n_out) // 2),
    (SQUARE, lambda n_in, n_out: (min(n_in, n_out) - 1) // 2),
    (
        "One too low: with one rank more, A and B still have fewer values than W.",
        lambda n_in, n_out: break_even_rank(n_in, n_out) - 1,
    ),
    (
        "One too low where it does not divide evenly: there the number rounded down is smaller already.",
        lambda n_in, n_out: n_in * n_out // (n_in + n_out) - 1,
    ),
]


def lora_gradients(x, grad, A, B, scale):
    """Gradients of A [r, in] and B [out, r] for y = W x + scale * B A x; x [n, in], grad of y [n, out]."""
    low = x @ A.T  # (n, r)
    grad_low = grad @ B  # (n, r)
    return scale * grad_low.T @ x, scale * grad.T @ low


def _layer(n, n_in, n_out, rank, scale):
    shapes = (n, n_in), (n, n_out), (rank, n_in), (n_out, rank)
    return *(torch.randn(shape) for shape in shapes), scale


def _layers():
    """Three layers; in the second everything is square, so that no shape tells a transpose."""
    return [_layer(6, 5, 4, 2, 3.0), _layer(3, 3, 3, 3, 0.5), _layer(4, 2, 7, 1, -1.5)]


def _untrained():
    x, grad, A, B, scale = _layer(3, 4, 2, 2, 2.0)
    return [(x, grad, A, torch.zeros_like(B), scale)]


def _gradients(fault):
    """A wrong lora_gradients: fault(right gradients and what they are made of)."""

    def wrong(x, grad, A, B, scale):
        return fault(*lora_gradients(x, grad, A, B, scale), x, grad, A, B, scale)

    return wrong


def _gradients_in_place(x, grad, A, B, scale):
    grad *= scale
    return lora_gradients(x, grad, A, B, 1.0)


def _over_the_norm_of_B(x, grad, A, B, scale):
    of_A, of_B = lora_gradients(x, grad, A, B, scale)
    return of_A / B.norm() * B.norm(), of_B


def _by_einsum(x, grad, A, B, scale):
    of_A = scale * torch.einsum("no,or,ni->ri", grad, B, x)
    return [of_A, scale * torch.einsum("no,ni,ri->or", grad, x, A)]


def _by_autograd(x, grad, A, B, scale):
    A, B = A.detach().clone().requires_grad_(), B.detach().clone().requires_grad_()
    with torch.enable_grad():
        change = scale * (x @ A.T) @ B.T
    return torch.autograd.grad(change, (A, B), grad_outputs=grad)


def _from_the_gradient_of_W(x, grad, A, B, scale):
    of_W = scale * grad.mT @ x
    return B.mT @ of_W, of_W @ A.mT


BOTH_SCALES = "The scale is missing in the gradient of A and in that of B: y depends on both through it."
ADD_UP = (
    "divided by the number of rows. The rows' parts add up: a mean, if there is one, is in `grad` already."
)
LORA_GRADIENT_MISTAKES = [
    (BOTH_SCALES, _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / scale, of_B / scale))),
    (
        "The scale is missing in the gradient of A.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / scale, of_B)),
    ),
    (
        "The scale is missing in the gradient of B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B / scale)),
    ),
    (
        "The scale is in both gradients twice.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (scale * of_A, scale * of_B)),
    ),
    (
        "The scale is in the gradient of A twice.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (scale * of_A, of_B)),
    ),
    (
        "The scale is in the gradient of B twice.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, scale * of_B)),
    ),
    (
        "A and B are swapped: the gradient of A comes first.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_B, of_A)),
    ),
    (
        "Both are transposed. A gradient has the shape of its parameter: [r, in] and [out, r].",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A.T, of_B.T)),
    ),
    (
        "The gradient of A is transposed. A gradient has the shape of its parameter: [r, in].",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A.T, of_B)),
    ),
    (
        "The gradient of B is transposed. A gradient has the shape of its parameter: [out, r].",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B.T)),
    ),
    (
        f"Both gradients are {ADD_UP}",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / len(x), of_B / len(x))),
    ),
    (
        f"The gradient of A is {ADD_UP}",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A / len(x), of_B)),
    ),
    (
        f"The gradient of B is {ADD_UP}",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B / len(x))),
    ),
    (
        "Both have the wrong sign. The optimiser goes against the gradient by itself.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (-of_A, -of_B)),
    ),
    (
        "The first is the gradient of W. A stands before B: its gradient comes back through B, grad B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (scale * grad.T @ x, of_B)),
    ),
    (
        "The second is the gradient of W. What goes into B is not x but low = x A^T.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, scale * grad.T @ x)),
    ),
    (
        "Return two tensors: the gradient of A and the gradient of B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: of_A),
    ),
    (
        "Return two tensors: the gradient of A and the gradient of B.",
        _gradients(lambda of_A, of_B, x, grad, A, B, scale: of_B),
    ),
]


def query_value_delta(A_q, B_q, A_v, B_v, scale):
    """The change of a fused c_attn, as Conv1D stores it, [d, 3d], by LoRA on query and value. A [r, d]."""
    query, value = scale * B_q @ A_q, scale * B_v @ A_v  # (d, d) each, [out, in]
    delta = torch.cat([query, torch.zeros_like(query), value])  # (3d, d)
    return delta.T


def _pairs(d, rank, scale):
    return *(torch.randn(shape) for shape in ((rank, d), (d, rank)) * 2), scale


def _two_pairs():
    """Pairs of rank 2, 1 and 3; in the last, A and B are square."""
    return [_pairs(4, 2, 3.0), _pairs(5, 1, 0.5), _pairs(3, 3, -1.5)]


def _qv(fault):
    """A wrong query_value_delta: fault(query's and value's change [d, d], zeros [d, d], scale)."""

    def wrong(A_q, B_q, A_v, B_v, scale):
        query, value = scale * B_q @ A_q, scale * B_v @ A_v
        return fault(query, value, torch.zeros_like(query), scale)

    return wrong


def _products_A_B(A_q, B_q, A_v, B_v, scale):
    query, value = scale * A_q @ B_q, scale * A_v @ B_v  # (r, r)
    return torch.cat([query, torch.zeros_like(query), value])


def _products_A_B_and_zeros(A_q, B_q, A_v, B_v, scale):
    d = len(B_q)
    return torch.cat([scale * A_q @ B_q, torch.zeros(d, d), scale * A_v @ B_v]).T


def _delta_in_place(A_q, B_q, A_v, B_v, scale):
    B_q *= scale
    B_v *= scale
    return query_value_delta(A_q, B_q, A_v, B_v, 1.0)


def _of_size_four(A_q, B_q, A_v, B_v, scale):
    delta = torch.zeros(4, 12)
    delta[:, :4], delta[:, 8:] = (scale * B_q @ A_q).T, (scale * B_v @ A_v).T
    return delta


def _delta_by_einsum(A_q, B_q, A_v, B_v, scale):
    A, B = torch.stack([A_q, 0 * A_q, A_v]), torch.stack([B_q, 0 * B_q, B_v])
    return scale * torch.einsum("kri,kor->iko", A, B).flatten(1)


def _into_zeros(A_q, B_q, A_v, B_v, scale):
    d = A_q.shape[1]
    delta = torch.zeros(d, 3 * d)
    delta[:, :d] = scale * A_q.T @ B_q.T
    delta[:, -d:] = A_v.T @ (scale * B_v).T
    return delta


SCALE_TWICE = (
    "The scale is in there twice. It belongs to the product B A: to one of its factors, not to both."
)
SCALE_OF_BOTH = "The scale is on one part only. Query and value both have it."
A_TIMES_B = "A and B are swapped: A B is [r, r]. The change is B A, [d, d]."
NO_KEYS = (
    "The keys have no columns. c_attn gives query, key and value; a key that is left alone has a change of "
    "zeros."
)
KEY_FILLED = "The key's columns are not zero. Only query and value have LoRA: the key is left alone."
CROSSED = "A and B of different parts are multiplied: B_q goes with A_q, and B_v with A_v."
QUERY_VALUE_MISTAKES = [
    (
        "This has the layout of an nn.Linear, [3d, d]. Conv1D stores its weight as [in, out], "
        "here [d, 3d]: transpose.",
        _qv(lambda q, v, zero, scale: torch.cat([q, zero, v])),
    ),
    (NO_KEYS, _qv(lambda q, v, zero, scale: torch.cat([q, v]).T)),
    (NO_KEYS, _qv(lambda q, v, zero, scale: torch.cat([q, v]))),
    (NO_KEYS, _qv(lambda q, v, zero, scale: torch.cat([q, v], 1))),
    (
        "The shape is right and both parts are transposed: B A is [out, in], Conv1D wants "
        "[in, out]. They are square, so no error tells you.",
        _qv(lambda q, v, zero, scale: torch.cat([q, zero, v], 1)),
    ),
    (
        "The query's part is transposed, the value's is not. Both stand as [in, out].",
        _qv(lambda q, v, zero, scale: torch.cat([q, zero, v.T], 1)),
    ),
    (
        "The value's part is transposed, the query's is not. Both stand as [in, out].",
        _qv(lambda q, v, zero, scale: torch.cat([q.T, zero, v], 1)),
    ),
    (
        "reshape and view read the numbers row by row in the new shape: that is no transpose, and mixes "
        "the parts. Use .T.",
        _qv(lambda q, v, zero, scale: torch.cat([q, zero, v]).reshape(len(q), -1)),
    ),
    (
        "The value's change stands in the columns of the key. The order is query, key, value.",
        _qv(lambda q, v, zero, scale: torch.cat([q, v, zero]).T),
    ),
    (
        "The query's change stands in the columns of the key. The order is query, key, value.",
        _qv(lambda q, v, zero, scale: torch.cat([zero, q, v]).T),
    ),
    (
        "Query and value have changed places: the query's columns come first.",
        _qv(lambda q, v, zero, scale: torch.cat([v, zero, q]).T),
    ),
    (KEY_FILLED, _qv(lambda q, v, zero, scale: torch.cat([q, q, v]).T)),
    (KEY_FILLED, _qv(lambda q, v, zero, scale: torch.cat([q, v, v]).T)),
    (KEY_FILLED, _qv(lambda q, v, zero, scale: torch.cat([q, q + v, v]).T)),
    ("The scale is missing.", lambda A_q, B_q, A_v, B_v, scale: query_value_delta(A_q, B_q, A_v, B_v, 1.0)),
    (SCALE_OF_BOTH, _qv(lambda q, v, zero, scale: torch.cat([q, zero, v / scale]).T)),
    (SCALE_OF_BOTH, _qv(lambda q, v, zero, scale: torch.cat([q / scale, zero, v]).T)),
    (SCALE_TWICE, _qv(lambda q, v, zero, scale: scale * torch.cat([q, zero, v]).T)),
    (A_TIMES_B, _products_A_B),
    (A_TIMES_B, lambda *given: _products_A_B(*given).T),
    (A_TIMES_B, _products_A_B_and_zeros),
    (CROSSED, lambda A_q, B_q, A_v, B_v, scale: query_value_delta(A_v, B_q, A_q, B_v, scale)),
    (CROSSED, lambda A_q, B_q, A_v, B_v, scale: query_value_delta(A_q, B_q, A_q, B_v, scale)),
    (CROSSED, lambda A_q, B_q, A_v, B_v, scale: query_value_delta(A_q, B_q, A_v, B_q, scale)),
    (
        "The change has the wrong sign: it is added to the weight.",
        _qv(lambda q, v, zero, scale: -torch.cat([q, zero, v]).T),
    ),
]


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
    _expect_lora_embedding(cls, 7, 5, torch.tensor([[0, 3, 6], [2, 2, 5]]), rank=2, alpha=6.0)
    _expect_lora_embedding(cls, 4, 6, torch.tensor([3, 0]), rank=3, alpha=2.0)
    _expect_lora_embedding(cls, 11, 9, torch.tensor([[[10], [4]]]))


def _expect_lora_embedding(cls, vocabulary, width, ids, **options):
    original = nn.Embedding(vocabulary, width)
    table = original.weight.detach().clone()
    layer = cls(original, **options)
    if not isinstance(layer, nn.Module):
        raise Mistake("LoRAEmbedding should be an nn.Module: class LoRAEmbedding(nn.Module).")
    rank, alpha = options.get("rank", 8), options.get("alpha", 16.0)
    _expect_factor(layer, "lora_A", (rank, vocabulary))
    _expect_factor(layer, "lora_B", (width, rank))
    _expect_frozen(layer, original)
    _expect_start(layer, ids, table)
    with torch.no_grad():
        layer.lora_A.normal_()
        layer.lora_B.normal_()
    output = _same_twice(layer, ids, table, original)
    _expect_change(output.detach() - table[ids], (layer.lora_B @ layer.lora_A).T[ids], rank, alpha)
    learn = {"lora_A": layer.lora_A, "lora_B": layer.lora_B}
    expect_gradients(output, learn=learn, rest={"original.weight": original.weight})


def _expect_factor(layer, name, shape):
    value = getattr(layer, name, None)
    if value is None:
        raise Mistake(f"The layer has no {name}.")
    if not isinstance(value, nn.Parameter):
        raise Mistake(f"{name} is not an nn.Parameter: no optimiser would see it.")
    expect_tensor(value, shape, name)
    if not value.requires_grad:
        raise Mistake(f"{name} is frozen. A and B are what is trained.")


def _expect_frozen(layer, original):
    """A and B are all that the layer trains; the table may be a module, a frozen parameter or a buffer."""
    learn = (layer.lora_A, layer.lora_B)
    rest = {
        name: value
        for name, value in layer.named_parameters()
        if value.requires_grad and not any(value is factor for factor in learn)
    }
    if any(value is original.weight for value in rest.values()):
        raise Mistake(
            "The base is not frozen: original.weight would be trained along. requires_grad_(False) on it."
        )
    if rest:
        raise Mistake(f"The layer trains {next(iter(rest))} along. Only lora_A and lora_B should learn.")


def _expect_start(layer, ids, table):
    start = expect_tensor(layer(ids), (*ids.shape, table.shape[1]), "the layer's output")
    A, B = layer.lora_A.detach(), layer.lora_B.detach()
    if not A.any() and not B.any():
        raise Mistake(
            "A and B are both zero: then neither ever gets a gradient, and nothing is learnt. Draw "
            "one of them at random."
        )
    if any(factor.any() and (factor == factor[0, 0]).all() for factor in (A, B)):
        raise Mistake(
            "All values of a factor are the same at the start: then all its ranks learn the same, as if "
            "there were one. Draw them at random."
        )
    if not start.any():
        raise Mistake("The original is lost: the change is added to the original's rows.")
    if not close(start, table[ids]):
        if (B @ A).any():
            raise Mistake("At the start the layer should give what the original gives. Is B zero?")
        difference = first_difference(start, table[ids], what="the layer's output")
        raise Mistake(f"B A is zero at the start, so the layer should give the original's rows. {difference}")


def _same_twice(layer, ids, table, original):
    """The output of the layer, which a call may not change, nor the original's table."""
    first, second = (expect_tensor(layer(ids), what="the layer's output") for _ in range(2))
    if not torch.equal(original.weight, table):
        raise Mistake(
            "The layer writes into the original's table: the base is no longer what it was, and every "
            "call adds B A once more. Add the change to the rows that you look up."
        )
    if not close(first, second):
        raise Mistake(
            "Two calls with the same token ids give different rows: forward changes something in the layer."
        )
    return second


def _expect_change(change, product, rank, alpha):
    """Is the change of the looked up rows alpha / rank times B A's?"""
    if close(change, alpha / rank * product):
        return
    for message, factor in (
        ("A and B have no effect: the output is that of the original alone.", 0),
        ("The scale is missing: the change is alpha / rank times B A.", 1),
        ("alpha is not divided by the rank.", alpha),
        (
            "This is alpha over the root of the rank (rsLoRA). Here it is alpha over the rank.",
            alpha / rank**0.5,
        ),
        ("The scale is upside down: it is alpha / rank.", rank / alpha),
        ("The scale comes in twice: the change is alpha / rank times B A.", (alpha / rank) ** 2),
        ("The change is taken off. Add it to the original's rows.", -alpha / rank),
    ):
        if close(change, factor * product):
            raise Mistake(message)
    raise Mistake("The change of the row of token i should be alpha / rank times B times column i of A.")


class _NotFrozen(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        original.requires_grad_(True)


class _TrainedCopy(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        self.table = nn.Parameter(original.weight.detach().clone())


class _HiddenTable(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        del self.original
        self.original = original.requires_grad_(True).forward


class _RandomB(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        nn.init.normal_(self.lora_B)


class _BothZero(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        nn.init.zeros_(self.lora_A)


class _AllOnes(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        nn.init.ones_(self.lora_A)


class _FrozenA(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        self.lora_A.requires_grad_(False)


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


class _OtherDefaults(LoRAEmbedding):
    def __init__(self, original, rank=4, alpha=8.0):
        super().__init__(original, rank, alpha)


class _ProductAtTheStart(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        self.change = self.scale * (self.lora_B @ self.lora_A).T.detach()

    def forward(self, ids):
        return self.original(ids) + self.change[ids]


class _AddedIntoTheTable(LoRAEmbedding):
    def forward(self, ids):
        self.original.weight.data += self.scale * (self.lora_B @ self.lora_A).T.detach()
        return self.original(ids)


class _AddedIntoACopy(LoRAEmbedding):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__(original, rank, alpha)
        self.table = original.weight.detach().clone()

    def forward(self, ids):
        self.table = self.table + self.scale * (self.lora_B @ self.lora_A).T
        return self.table[ids]


class _WithoutGradient(LoRAEmbedding):
    def forward(self, ids):
        with torch.no_grad():
            return super().forward(ids)


class _DetachedA(LoRAEmbedding):
    def forward(self, ids):
        low = self.lora_A.detach().T[ids]
        return self.original(ids) + self.scale * low @ self.lora_B.T


class _DetachedB(LoRAEmbedding):
    def forward(self, ids):
        return self.original(ids) + self.scale * self.lora_A.T[ids] @ self.lora_B.data.T


class _ChangeAlone(LoRAEmbedding):
    def forward(self, ids):
        return super().forward(ids) - self.original(ids)


class _OriginalTwice(LoRAEmbedding):
    def forward(self, ids):
        return super().forward(ids) + self.original(ids)


class _Flattened(LoRAEmbedding):
    def forward(self, ids):
        return super().forward(ids.flatten())


class _OtherRows(LoRAEmbedding):
    def forward(self, ids):
        return self.original(ids) + self.scale * self.lora_A.T[ids - 1] @ self.lora_B.T


def _scaled(scale):
    """A wrong LoRAEmbedding: scale(rank, alpha) stands in for alpha / rank."""

    class Wrong(LoRAEmbedding):
        def __init__(self, original, rank=8, alpha=16.0):
            super().__init__(original, rank, alpha)
            self.scale = scale(rank, alpha)

    return Wrong


class _TableAsBuffer(nn.Module):
    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__()
        self.register_buffer("table", original.weight.detach())
        self.lora_A = nn.Parameter(torch.empty(rank, original.num_embeddings).normal_(std=0.01))
        self.lora_B = nn.Parameter(torch.zeros(original.embedding_dim, rank))
        self.alpha, self.rank = alpha, rank

    def forward(self, ids):
        change = torch.einsum("dr,r...->...d", self.lora_B, self.lora_A[:, ids])
        return self.table[ids] + change * self.alpha / self.rank


class _OneHot(nn.Module):
    """B random and A zero, as PEFT has it for an embedding."""

    def __init__(self, original, rank=8, alpha=16.0):
        super().__init__()
        self.base = nn.Embedding.from_pretrained(original.weight)
        self.lora_A = nn.Parameter(torch.zeros(rank, original.num_embeddings))
        self.lora_B = nn.Parameter(torch.randn(original.embedding_dim, rank))
        self.scale = alpha / rank

    def forward(self, ids):
        x = nn.functional.one_hot(ids, self.base.num_embeddings).float()
        low = nn.functional.linear(x, self.lora_A)
        return self.base(ids) + self.scale * nn.functional.linear(low, self.lora_B)


class _WholeTable(LoRAEmbedding):
    def forward(self, ids):
        table = self.original.weight + (self.scale * self.lora_B @ self.lora_A).T
        return nn.functional.embedding(ids, table)


EXERCISES = [
    Exercise(
        name="break_even_rank",
        lesson="03",
        minutes=5,
        difficulty=1,
        reference=break_even_rank,
        check=compare(
            break_even_rank,
            RANK_INPUTS,
            RANK_MISTAKES,
            else_="It is the largest whole rank with rank * (in + out) < in * out.",
        ),
        wrong=[
            (lambda n_in, n_out: 0, "should be 575"),
            (lambda n_in, n_out: 575 if n_in == 768 else 2047, "should be 3"),
            (lambda n_in, n_out: max(1, break_even_rank(n_in, n_out)), "should be 0"),
            (lambda n_in, n_out: None, "Is there a return?"),
        ],
        right=[_by_ceiling, _in_float_tensors, _counting_up],
        hints=(
            "LoRA trains rank rows of A and rank columns of B instead of all of W. Write both counts "
            "down; at which rank are they equal? One below it, if it is a whole number, is the answer.",
            "W has in * out values; A and B have rank * in + out * rank = rank * (in + out). The largest "
            "whole rank with rank * (in + out) < in * out: whole-number division with //, and mind the "
            "case where it divides evenly.",
        ),
        then="The next cell asks your function for three matrices: run it again.",
    ),
    Exercise(
        name="lora_gradients",
        lesson="03",
        minutes=15,
        difficulty=3,
        reference=lora_gradients,
        check=compare(
            lora_gradients,
            _layers,
            LORA_GRADIENT_MISTAKES,
            else_="With low = x A^T, the output's change is scale * low B^T: the gradient of B needs low, "
            "that of A needs grad B.",
            extremes=[("With B = 0 the gradient of A should be 0: it reaches A only through B.", _untrained)],
        ),
        wrong=[
            (_gradients(lambda of_A, of_B, x, grad, A, B, scale: (of_A, of_B + 1)), "of B needs low"),
            (_gradients(lambda of_A, of_B, x, grad, A, B, scale: (0 * of_A, 0 * of_B)), "of A needs grad B"),
            (_over_the_norm_of_B, "only through B"),
            (_gradients_in_place, "changes its argument grad in place"),
            (lambda x, grad, A, B, scale: (scale * x.T @ grad @ A, scale * grad.T @ x), "Your code stopped"),
            (lambda x, grad, A, B, scale: None, "Is there a return?"),
        ],
        right=[_by_einsum, _by_autograd, _from_the_gradient_of_W],
        hints=(
            "Go through the layer in two steps, low = x A^T and change = scale * low B^T. Each is a "
            "matrix product, and for y = x M^T the gradients are grad^T x for M and grad M for x. W is "
            "not needed: it is frozen.",
            "low = x @ A.T is [n, r]. Gradient of B: scale * grad.T @ low, [out, r]. Back through B: "
            "grad @ B is [n, r]; gradient of A: scale * (grad @ B).T @ x, [r, in].",
        ),
        then="The next cell puts your gradients of the layer above beside those of autograd: run it again.",
    ),
    Exercise(
        name="query_value_delta",
        lesson="03",
        minutes=10,
        difficulty=2,
        reference=query_value_delta,
        check=compare(
            query_value_delta,
            _two_pairs,
            QUERY_VALUE_MISTAKES,
            else_="Columns 0 to d should be (scale * B_q A_q)^T, the next d zero, the last d "
            "(scale * B_v A_v)^T.",
        ),
        wrong=[
            (_qv(lambda q, v, zero, scale: torch.cat([q, zero, v]).T + 1), "Columns 0 to d"),
            (_qv(lambda q, v, zero, scale: torch.cat([zero, zero, zero]).T), "Columns 0 to d"),
            (_of_size_four, "Your code stopped"),
            (_delta_in_place, "changes its argument B_q in place"),
            (lambda A_q, B_q, A_v, B_v, scale: None, "Is there a return?"),
        ],
        right=[_delta_by_einsum, _into_zeros],
        hints=(
            "Each of the two changes is a d x d matrix of its own. In the fused matrix they stand beside "
            "each other, and the key's place between them is empty. Only then comes the layout.",
            "B A is [d, d] as [out, in]. Stack query, zeros, value along out: [3d, d]. Conv1D stores "
            "[in, out]: the transpose, [d, 3d].",
        ),
        then="The next cell adds your change to a c_attn of GPT-2's size, and looks at what queries, keys "
        "and values do: run it again.",
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
            (_TrainedCopy, "trains table along"),
            (_HiddenTable, "original.weight should stay as it is, and gets a gradient"),
            (_RandomB, "Is B zero?"),
            (_BothZero, "both zero"),
            (_AllOnes, "All values of a factor are the same"),
            (_FrozenA, "lora_A is frozen"),
            (_Swapped, "lora_A should have the shape [2, 7]"),
            (_NoParameter, "not an nn.Parameter"),
            (_OtherDefaults, "lora_A should have the shape [8, 11]"),
            (_ProductAtTheStart, "have no effect"),
            (_AddedIntoTheTable, "writes into the original's table"),
            (_AddedIntoACopy, "give different rows"),
            (_WithoutGradient, "no graph"),
            (_DetachedA, "lora_A gets no gradient"),
            (_DetachedB, "lora_B gets no gradient"),
            (_ChangeAlone, "The original is lost"),
            (_OriginalTwice, "B A is zero at the start"),
            (_Flattened, "the layer's output should have the shape [2, 3, 5]"),
            (_OtherRows, "The change of the row of token i"),
            (_scaled(lambda rank, alpha: 1.0), "scale is missing"),
            (_scaled(lambda rank, alpha: alpha), "not divided by the rank"),
            (_scaled(lambda rank, alpha: alpha / rank**0.5), "root of the rank"),
            (_scaled(lambda rank, alpha: rank / alpha), "upside down"),
            (_scaled(lambda rank, alpha: (alpha / rank) ** 2), "comes in twice"),
            (_scaled(lambda rank, alpha: -alpha / rank), "taken off"),
            (_scaled(lambda rank, alpha: 3.0), "should be alpha / rank times B"),
        ],
        right=[_TableAsBuffer, _OneHot, _WholeTable],
        hints=(
            "An embedding is a linear layer whose input is a vector of zeros with a single one: x A^T "
            "then picks a column of A. So look rows up in A^T as the original looks them up in its table.",
            "lora_A [rank, V] random, lora_B [d, rank] zeros, both nn.Parameter; original frozen. "
            "low = lora_A.T[ids] is [..., rank]; original(ids) + alpha / rank * low @ lora_B.T is "
            "[..., d].",
        ),
        then="The next cell puts your class around the model's table of tokens, and counts: run it again.",
    ),
]
