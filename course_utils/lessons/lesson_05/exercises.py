"""Exercises of lesson 05: an adapter's size and names on disk, a batch of several, sums, cutting a sum."""

from __future__ import annotations

import numpy as np
import torch

from course_utils.checks.compare import Mistake, call, compare, unchanged
from course_utils.checks.exercises import Exercise, close, expect_tensor
from course_utils.checks.largest import Largest
from course_utils.methods.lora_files import peft_tensors


def adapter_bytes(sizes, rank, bytes_per_value=4):
    """Bytes of A [rank, in] and B [out, rank] of layers; sizes: (in, out) of each."""
    return sum(rank * (n_in + n_out) for n_in, n_out in sizes) * bytes_per_value


BYTES_INPUTS = [
    ([(6, 10), (6, 10), (20, 3)], 2),
    call([(64, 192), (64, 64), (256, 64), (64, 256)], 5, bytes_per_value=2),
    call([(7, 9)], 3, bytes_per_value=1),
]


def _bytes(fault):
    """A wrong adapter_bytes: fault(sizes, rank, bytes of a value)."""
    return lambda sizes, rank, bytes_per_value=4: fault(sizes, rank, bytes_per_value)


def _bytes_in_numpy(sizes, rank, bytes_per_value=4):
    return np.sum(sizes) * rank * bytes_per_value


def _bytes_of_tensors(sizes, rank, bytes_per_value=4):
    values = 0
    for n_in, n_out in sizes:
        values += torch.empty(rank, n_in).numel() + torch.empty(n_out, rank).numel()
    return bytes_per_value * values


BYTES_MISTAKES = [
    (
        "These are values, not bytes: an fp32 value takes 4 bytes.",
        _bytes(lambda sizes, rank, each: adapter_bytes(sizes, rank, 1)),
    ),
    (
        "8 is the number of bits in a byte. An fp32 value takes 4 bytes.",
        _bytes(lambda sizes, rank, each: adapter_bytes(sizes, rank, 8)),
    ),
    (
        "These are bits: bytes_per_value is in bytes already.",
        _bytes(lambda sizes, rank, each: 8 * adapter_bytes(sizes, rank, each)),
    ),
    (
        "You count A alone. B is saved too: rank columns of `out` values.",
        _bytes(lambda sizes, rank, each: each * rank * sum(n for n, _ in sizes)),
    ),
    (
        "You count B alone. A is saved too: rank rows of `in` values.",
        _bytes(lambda sizes, rank, each: each * rank * sum(n for _, n in sizes)),
    ),
    (
        "This is the first layer only. Every adapted layer has an A and a B of its own.",
        _bytes(lambda sizes, rank, each: adapter_bytes(sizes[:1], rank, each)),
    ),
    (
        "These are the weight matrices themselves. What is saved is A and B.",
        _bytes(lambda sizes, rank, each: each * sum(i * o for i, o in sizes)),
    ),
    (
        "This is the size of the products B A. What is saved is A and B.",
        _bytes(lambda sizes, rank, each: each * rank * sum(i * o for i, o in sizes)),
    ),
    (
        "The rank is missing: A has rank rows, B has rank columns.",
        _bytes(lambda sizes, rank, each: adapter_bytes(sizes, 1, each)),
    ),
    (
        "bytes_per_value has no effect: in bf16 (2 bytes a value) it is half of that in fp32.",
        _bytes(lambda sizes, rank, each: adapter_bytes(sizes, rank)),
    ),
]


def _check_peft_tensors(fn):
    draw = torch.randn
    _expect_named(
        fn, {"h.0.attn.c_proj": (draw(2, 4), draw(4, 2)), "h.0.attn.c_attn": (draw(2, 4), draw(6, 2))}
    )
    _expect_named(fn, {"model.layers.11.mlp.up_proj": (draw(3, 5), draw(7, 3))})
    _expect_named(fn, {f"layer.{number}": (draw(1, 3), draw(3, 1)) for number in range(3)})


def _expect_named(fn, tensors):
    right = peft_tensors(tensors)
    with unchanged(tensors=tensors):
        result = fn(tensors)
    if result is None:
        raise Mistake("the result is None. Is there a return?")
    if not isinstance(result, dict):
        raise Mistake(f"Return a dict from name to tensor, not {type(result).__name__}.")
    if len(result) != len(right):
        raise Mistake(f"Each layer has an A and a B: {len(right)} tensors. Yours are {len(result)}.")
    names = sorted(map(str, result))
    if any(".default" in name for name in names):
        raise Mistake(
            '"default" is the adapter\'s name while it is in a PeftModel. The file does not have '
            "it: one file, one adapter."
        )
    if not all(name.startswith("base_model.model.") for name in names):
        raise Mistake(
            'Every name begins with "base_model.model.": PEFT wraps the model twice, and the '
            "names are those of the wrapped one."
        )
    if not all(name.endswith(".weight") for name in names):
        raise Mistake(
            'The names end with ".weight": in PEFT lora_A and lora_B are nn.Linear layers, and '
            "this is their weight."
        )
    if set(names) != set(right):
        wrong = next(name for name in names if name not in right)
        raise Mistake(
            f"{wrong!r} is no name that PEFT looks for. It wants base_model.model.LAYER"
            ".lora_A.weight, and the same with lora_B."
        )
    for name, tensor in right.items():
        value = expect_tensor(result[name])
        other = right[name.replace(".lora_A.", ".lora_?.").replace(".lora_B.", ".lora_A.").replace("?", "B")]
        if value.shape == other.shape and close(value, other):
            raise Mistake(f"A and B are swapped: {name} holds the other one of the pair.")
        if value.shape == tensor.T.shape and close(value, tensor.T):
            raise Mistake(
                "The matrices are transposed. PEFT stores A as [rank, in] and B as [out, rank] for "
                "Conv1D too; only the layer's own weight lies the other way."
            )
        if not close(expect_tensor(value, tensor.shape, name), tensor):
            raise Mistake(f"{name} should be the tensor unchanged: no scale in it, that is in the config.")


def _renamed(change):
    """A wrong peft_tensors: change(name) for every name."""
    return lambda tensors: {change(name): value for name, value in peft_tensors(tensors).items()}


def _other_pairs(change):
    """A wrong peft_tensors: change(A, B) gives the two tensors to store."""
    return lambda tensors: peft_tensors({name: change(A, B) for name, (A, B) in tensors.items()})


def _scaled_in_place(tensors):
    for _, B in tensors.values():
        B.mul_(2)
    return peft_tensors(tensors)


def _two_loops(tensors):
    result = {}
    for index, letter in enumerate("AB"):
        for layer in tensors:
            name = ".".join(["base_model", "model", layer, f"lora_{letter}", "weight"])
            result[name] = tensors[layer][index].clone()
    return result


def _one_expression(tensors):
    return {
        "base_model.model." + layer + ".lora_" + letter + ".weight": value
        for layer, pair in tensors.items()
        for letter, value in zip("AB", pair, strict=True)
    }


def mixed_lora(x, A, B, which, scale):
    """Each row's change by its own adapter: x [b, t, in], A [n, r, in], B [n, out, r], which [b]."""
    low = x @ A[which].mT  # (b, t, r)
    return scale * low @ B[which].mT  # (b, t, out)


def _requests(b, t, n, r, n_in, n_out, scale, which):
    """A batch of b rows for n adapters of rank r, in mixed_lora's order."""
    tensors = torch.randn(b, t, n_in), torch.randn(n, r, n_in), torch.randn(n, n_out, r)
    return *tensors, torch.tensor(which), scale


def _mixed_batches():
    """More rows than adapters, more adapters than rows, and one in which all sizes of a matrix are equal."""
    return [
        _requests(4, 3, 3, 2, 5, 6, 0.4, [2, 0, 2, 1]),
        _requests(2, 5, 4, 1, 6, 3, -1.5, [3, 1]),
        _requests(3, 3, 3, 3, 3, 3, 2.0, [1, 2, 1]),
    ]


def _mixed(fault):
    """A wrong mixed_lora: another choice of adapters, fault(which, number of adapters)."""
    return lambda x, A, B, which, scale: mixed_lora(x, A, B, fault(which, len(A)), scale)


def _of_all_adapters(x, A, B, which, scale):
    return sum(scale * x @ a.mT @ b.mT for a, b in zip(A, B, strict=True))


def _first_adapters_rows(x, A, B, which, scale):
    return scale * x @ A[which].mT @ B[: len(which)].mT


def _mixed_in_place(x, A, B, which, scale):
    x *= scale
    return mixed_lora(x, A, B, which, 1.0)


def _row_by_row(x, A, B, which, scale):
    rows = [scale * x[row] @ A[number].T @ B[number].T for row, number in enumerate(which.tolist())]
    return torch.stack(rows)


def _adapter_by_adapter(x, A, B, which, scale):
    result = x.new_zeros(len(x), x.shape[1], B.shape[1])
    for number in range(len(A)):
        rows = which == number
        result[rows] = (x[rows] @ A[number].T) @ (scale * B[number].T)
    return result


def _mixed_by_einsum(x, A, B, which, scale):
    return scale * torch.einsum("bti,bri,bor->bto", x, A[which], B[which])


ALL_ADAPTERS = "This adds all adapters up for every row. Each row wants one of them: which[row]."
SOME_ROWS = "Some rows are right and some are not. Row i wants adapter which[i]."
NO_TRANSPOSE = (
    "A or B is not transposed. A is [r, in] and B [out, r]: x [t, in] meets A.mT [in, r], then B.mT "
    "[r, out]. .mT turns the last two dimensions of each matrix of a batch."
)
MIXED_MISTAKES = [
    ("The scale is missing.", lambda x, A, B, which, scale: mixed_lora(x, A, B, which, 1.0)),
    (
        "The scale is there twice: once for the product.",
        lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale**2),
    ),
    (
        "Every row gets the first row's adapter. Each has its own: which[row].",
        _mixed(lambda which, n: which[:1].expand(len(which))),
    ),
    (
        "Every row gets the first adapter. Each has its own: which[row].",
        _mixed(lambda which, n: torch.zeros_like(which)),
    ),
    (ALL_ADAPTERS, _of_all_adapters),
    (ALL_ADAPTERS, lambda x, A, B, which, scale: _of_all_adapters(x, A, B, which, scale) / len(A)),
    (
        "The rows get the adapters in turn. It is `which` that says whose adapter a row wants.",
        _mixed(lambda which, n: torch.arange(len(which)) % n),
    ),
    (SOME_ROWS, _mixed(lambda which, n: which.sort().values)),
    (SOME_ROWS, _mixed(lambda which, n: which.flip(0))),
    ("which counts from 0: adapter 0 is the first.", _mixed(lambda which, n: which - 1)),
    (NO_TRANSPOSE, lambda x, A, B, which, scale: scale * x @ A[which] @ B[which]),
    (NO_TRANSPOSE, lambda x, A, B, which, scale: scale * x @ A[which] @ B[which].mT),
    (NO_TRANSPOSE, lambda x, A, B, which, scale: scale * x @ A[which].mT @ B[which]),
    (
        "A and B have changed places: first down with A, [t, r], then up with B, [t, out].",
        lambda x, A, B, which, scale: scale * x @ B[which].mT @ A[which].mT,
    ),
    (
        "x is added. What is asked is the change alone; the frozen matrix gives its part elsewhere.",
        lambda x, A, B, which, scale: x + mixed_lora(x, A, B, which, scale),
    ),
]


def stacked_sum(A1, B1, A2, B2, w1, w2):
    """A and B whose product B A is w1 B1 A1 + w2 B2 A2; A's [r, in], B's [out, r], ranks may differ."""
    A = torch.cat([A1, A2])  # (r1 + r2, in)
    B = torch.cat([w1 * B1, w2 * B2], dim=1)  # (out, r1 + r2)
    return A, B


def _pair(result):
    if result is None:
        raise Mistake("the result is None. Is there a return?")
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two tensors: A and B.")
    return [expect_tensor(value) for value in result]


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
    A, B = _pair(result)
    if A.shape == (n_out, rank) and B.shape == (rank, n_in):
        raise Mistake("A and B are swapped: A [r, in] comes first, then B [out, r].")
    if r1 == r2 and A.shape == (r1, n_in) and B.shape == (n_out, r1):
        raise Mistake(
            "You add the A's and the B's. Their product then has cross terms, B1 A2 and B2 A1, "
            f"that neither adapter knows. The result needs the rank {r1} + {r2}: stack them."
        )
    if A.shape == (n_out, n_in) or B.shape == (n_out, n_in):
        raise Mistake(
            "One of the two is the whole matrix [out, in]. Keep it thin: rank "
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
        raise Mistake("The order in A and in B differs, so that B1 meets A2. Stack both in the same order.")
    _expect_product(B @ A, B1 @ A1, B2 @ A2, w1, w2)


def _expect_product(made, first, second, w1, w2):
    if not made.isfinite().all():
        raise Mistake("B A is not a number: a weight may be negative, and has no root then.")
    known = [
        ("The weights have no effect.", first + second),
        (
            "The weights are in A and in B, so the product has their squares. Put them into one of the two.",
            w1**2 * first + w2**2 * second,
        ),
        ("The weights have changed places.", w2 * first + w1 * second),
        ("The first weight is missing.", first + w2 * second),
        ("The second weight is missing.", w1 * first + second),
        ("This is the first weight for both.", w1 * (first + second)),
        ("The sign of a weight is lost.", abs(w1) * first + abs(w2) * second),
        ("Only the first adapter is there.", w1 * first),
        ("Only the second adapter is there.", w2 * second),
    ]
    right = w1 * first + w2 * second
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


def cut_product(A, B, rank):
    """The best approximation of B A by a smaller rank, as (A [rank, in], B [out, rank])."""
    Q_B, R_B = torch.linalg.qr(B)  # (out, r), (r, r)
    Q_A, R_A = torch.linalg.qr(A.T)  # (in, r), (r, r)
    U, S, Vh = torch.linalg.svd(R_B @ R_A.T)  # of an r x r matrix
    return Vh[:rank] @ Q_A.T, Q_B @ (U[:, :rank] * S[:rank])


def _factors(n_in, n_out, r):
    """A and B whose product has the singular values 3, 1.8, 1.08, ...; no cut hangs on rounding."""
    Q_A, Q_B = torch.linalg.qr(torch.randn(n_in, r)).Q, torch.linalg.qr(torch.randn(n_out, r)).Q
    left, right = torch.linalg.qr(torch.randn(2, r, r)).Q
    lengths = torch.linspace(0.5, 2, r)
    mixed, back = left * lengths @ right, right.T / lengths @ left.T  # each the other's inverse
    return back @ Q_A.T, Q_B * (3 * 0.6 ** torch.arange(r)) @ mixed


def _check_cut_product(fn):
    _expect_cut(fn, 40, 50, 5, 2)
    _expect_cut(fn, 32, 24, 4, 3)
    _expect_cut(fn, 20, 30, 3, 1)


def _expect_cut(fn, n_in, n_out, r, rank):
    A, B = _factors(n_in, n_out, r)
    with unchanged(A=A, B=B), Largest() as largest:
        result = fn(A, B, rank)
    A_cut, B_cut = _pair(result)
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
            "The values are right, and you make a matrix as large as [out, in] on the way. In a "
            "large model that is the whole weight: bring it down to r x r with two QR "
            "decompositions first (torch.linalg.qr(B), torch.linalg.qr(A.T))."
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
            "You keep the weakest directions. The SVD gives the strongest first.",
            U[:, r - rank : r] * S[r - rank : r] @ Vh[r - rank : r],
        ),
        (
            "These are the first rows of A and the first columns of B. They stand in no order of "
            "importance: an SVD is needed.",
            B[:, :rank] @ A[:rank],
        ),
        (
            "This is the best cut of B alone. What is cut is the product: the lengths of A's rows count too.",
            _cut_of_B(A, B, rank)[1] @ _cut_of_B(A, B, rank)[0],
        ),
        (
            "R_A is not transposed: A is R_A^T Q_A^T, so R_B R_A^T stands in the middle.",
            _untransposed(A, B, rank)[1] @ _untransposed(A, B, rank)[0],
        ),
        (
            "You take columns of Vh. It is V transposed already: direction k is its row k, Vh[k].",
            _columns_of_Vh(A, B, rank)[1] @ _columns_of_Vh(A, B, rank)[0],
        ),
        ("The sign is turned: this is minus the best approximation.", -best),
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
    """cut_product by the SVD of the whole product, with the faults of the wrong answers."""
    U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
    U, S, Vh = U[:, : len(A)][:, keep][:, :rank], S[: len(A)][keep][:rank], Vh[: len(A)][keep][:rank]
    return S[:, None] ** power[0] * Vh, U * S ** power[1]


def _cut_of_B(A, B, rank):
    U, S, Vh = torch.linalg.svd(B, full_matrices=False)
    return Vh[:rank] @ A, U[:, :rank] * S[:rank]


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


EXERCISES = [
    Exercise(
        name="adapter_bytes",
        lesson="05",
        minutes=5,
        difficulty=1,
        reference=adapter_bytes,
        check=compare(
            adapter_bytes,
            BYTES_INPUTS,
            BYTES_MISTAKES,
            else_="A layer has rank * (in + out) values, each of bytes_per_value bytes.",
        ),
        wrong=[
            (_bytes(lambda sizes, rank, each: adapter_bytes(sizes, rank, each) + 1), "rank * (in + out)"),
            (_bytes(lambda sizes, rank, each: None), "Is there a return"),
            (_bytes(lambda sizes, rank, each: 440), "rank * (in + out)"),
            (_bytes(lambda sizes, rank, each: adapter_bytes(sizes, 2, each)), "rank * (in + out)"),
        ],
        right=[_bytes_in_numpy, _bytes_of_tensors],
        hints=(
            "Only A and B are saved, for every adapted layer. How many values have they, and how many "
            "bytes is one?",
            "A is [rank, in], B is [out, rank]: rank * (in + out) values a layer. Sum over the layers, "
            "times bytes_per_value.",
        ),
    ),
    Exercise(
        name="peft_tensors",
        lesson="05",
        minutes=8,
        difficulty=1,
        reference=peft_tensors,
        check=_check_peft_tensors,
        wrong=[
            (_renamed(lambda name: name.removeprefix("base_model.model.")), "begins with"),
            (_renamed(lambda name: name.removesuffix(".weight")), "end with"),
            (_renamed(lambda name: name.replace(".weight", ".default.weight")), "one file, one adapter"),
            (_renamed(lambda name: name.replace(".lora_", ".weight.lora_")), "no name that PEFT looks for"),
            (_renamed(lambda name: name.replace(".attn.c_attn.", ".")), "no name that PEFT looks for"),
            (_other_pairs(lambda A, B: (B, A)), "A and B are swapped"),
            (_other_pairs(lambda A, B: (A.T, B.T)), "transposed"),
            (_other_pairs(lambda A, B: (A, 2 * B)), "no scale"),
            (_scaled_in_place, "tensors was changed"),
            (lambda tensors: peft_tensors(dict(list(tensors.items())[:1])), "4 tensors"),
            (lambda tensors: list(peft_tensors(tensors).items()), "Return a dict"),
            (lambda tensors: None, "Is there a return"),
        ],
        right=[_two_loops, _one_expression],
        hints=(
            "One loop over the layers that puts two entries into a new dict. The tensors stay as they "
            "are; only the names are made.",
            'f"base_model.model.{layer}.lora_A.weight" for A [rank, in], and the same with lora_B for B '
            "[out, rank].",
        ),
    ),
    Exercise(
        name="mixed_lora",
        lesson="05",
        minutes=10,
        difficulty=2,
        reference=mixed_lora,
        check=compare(
            mixed_lora,
            _mixed_batches,
            MIXED_MISTAKES,
            else_="Row i should be scale * (x[i] A^T) B^T, with A = A[which[i]] and B = B[which[i]].",
            gradient=("x", "A", "B"),
        ),
        wrong=[
            (lambda x, A, B, which, scale: 2 * mixed_lora(x, A, B, which, scale), "Row i should be"),
            (lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale).sum(1), "shape"),
            (_mixed_in_place, "changes its argument x in place"),
            (lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale).detach(), "has no graph"),
            (lambda x, A, B, which, scale: mixed_lora(x, A.detach(), B, which, scale), "A gets no gradient"),
            (lambda x, A, B, which, scale: torch.zeros(len(x), x.shape[1], B.shape[1]), "Row i should be"),
        ],
        right=[_row_by_row, _adapter_by_adapter, _mixed_by_einsum],
        hints=(
            "A[which] picks an A for every row of the batch: [b, r, in]. `@` multiplies matrices pairwise "
            "along the first dimension.",
            "x [b, t, in] @ A[which].mT [b, in, r] is [b, t, r]; that @ B[which].mT [b, r, out] is "
            "[b, t, out]. Times scale.",
        ),
    ),
    Exercise(
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
            (_roots_in_both, "has no root"),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w2, w1), "changed places"),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, 1, w2), "first weight is missing"),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w1, 1), "second weight is missing"),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, abs(w1), abs(w2)), "is lost"),
            (
                lambda A1, B1, A2, B2, w1, w2: (torch.cat([A2, A1]), torch.cat([w1 * B1, w2 * B2], 1)),
                "B1 meets A2",
            ),
            (_as_pair(lambda A, B: (B, A)), "are swapped"),
            (_as_pair(lambda A, B: (torch.eye(A.shape[1]), B @ A)), "whole matrix"),
            (_as_pair(lambda A, B: B @ A), "Return two tensors"),
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
            "A product of matrices is a sum over the inner dimension. Put the inner dimensions of the two "
            "products one after the other, and the product is the sum of both.",
            "[B1 B2] times [A1; A2] is B1 A1 + B2 A2: torch.cat([A1, A2]) is [r1 + r2, in], "
            "torch.cat([..., ...], dim=1) is [out, r1 + r2]. The weights go into one of the two only.",
        ),
    ),
    Exercise(
        name="cut_product",
        lesson="05",
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
            (_untransposed, "R_A is not transposed"),
            (_columns_of_Vh, "columns of Vh"),
            (_cut_in_place, "A was changed"),
            (lambda A, B, rank: (cut_product(A, B, rank)[0], -cut_product(A, B, rank)[1]), "sign is turned"),
            (lambda A, B, rank: None, "Is there a return"),
        ],
        right=[_by_two_svds, _values_in_A],
        hints=(
            "The SVD of B A is what the cut needs (lesson 04), and B A has at most r singular values that "
            "are not zero. An orthonormal basis of B's columns and one of A's rows change neither them "
            "nor the norm: what is left between the two bases is r x r.",
            "Q_B, R_B = qr(B) and Q_A, R_A = qr(A.T) give B A = Q_B (R_B R_A^T) Q_A^T. SVD of the r x r "
            "matrix in the middle: B_new = Q_B U[:, :rank] * S[:rank] is [out, rank], A_new = Vh[:rank] "
            "Q_A^T is [rank, in].",
        ),
    ),
]
