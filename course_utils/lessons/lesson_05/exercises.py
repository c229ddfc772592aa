"""Exercises of lesson 05: an adapter's size and names on disk, a batch of several, sums, cutting a sum."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor
from course_utils.methods.lora_files import peft_tensors


def adapter_bytes(sizes, rank, bytes_per_value=4):
    """Bytes of A [rank, in] and B [out, rank] of layers; sizes: (in, out) of each."""
    return sum(rank * (n_in + n_out) for n_in, n_out in sizes) * bytes_per_value


def _check_adapter_bytes(fn):
    sizes, rank = [(6, 10), (6, 10), (20, 3)], 2  # 110 values
    result = fn(sizes, rank)
    if result is None:
        raise Mistake("The result is None. Is there a return?")
    if isinstance(result, float) and not result.is_integer():
        raise Mistake(f"A number of bytes is a whole number; yours is {result:g}.")
    known = {
        110: "These are values, not bytes: an fp32 value takes 4 bytes.",
        880: "8 is the number of bits in a byte. An fp32 value takes 4 bytes.",
        256: "You count A alone. B is saved too: rank columns of `out` values.",
        184: "You count B alone. A is saved too: rank rows of `in` values.",
        128: "This is the first layer only. Every adapted layer has an A and a B of its own.",
        720: "These are the weight matrices themselves. What is saved is A and B.",
        220: "The rank is missing: A has rank rows, B has rank columns.",
    }
    if result in known:
        raise Mistake(known[result])
    if result != 440:
        raise Mistake(
            f"Layers of 6 to 10, 6 to 10 and 20 to 3 values at rank 2 need 440 bytes in fp32; you "
            f"have {result}."
        )
    if fn(sizes, rank, 2) != 220:
        raise Mistake("bytes_per_value has no effect: in bf16 (2 bytes a value) it is half of that in fp32.")


def _check_peft_tensors(fn):
    A, B = torch.randn(2, 4), torch.randn(4, 2)
    C, D = torch.randn(2, 4), torch.randn(6, 2)
    result = fn({"h.0.attn.c_proj": (A, B), "h.0.attn.c_attn": (C, D)})
    if not isinstance(result, dict):
        raise Mistake(f"Return a dict from name to tensor, not {type(result).__name__}.")
    if len(result) != 4:
        raise Mistake(f"Two layers have two A's and two B's: 4 tensors. Yours are {len(result)}.")
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
    right = peft_tensors({"h.0.attn.c_proj": (A, B), "h.0.attn.c_attn": (C, D)})
    if set(names) != set(right):
        wrong = next(name for name in names if name not in right)
        raise Mistake(
            f"{wrong!r} is no name that PEFT looks for. It wants base_model.model.LAYER"
            ".lora_A.weight, and the same with lora_B."
        )
    for name, tensor in right.items():
        value = expect_tensor(result[name])
        other = right[name.translate(str.maketrans("AB", "BA"))]
        if value.shape == other.shape and close(value, other):
            raise Mistake(f"A and B are swapped: {name} holds the other one of the pair.")
        if value.shape == tensor.T.shape and close(value, tensor.T):
            raise Mistake(
                "The matrices are transposed. PEFT stores A as [rank, in] and B as [out, rank] for "
                "Conv1D too; only the layer's own weight lies the other way."
            )
        if not close(expect_tensor(value, tensor.shape, name), tensor):
            raise Mistake(f"{name} should be the tensor unchanged: no scale in it, that is in the config.")


def mixed_lora(x, A, B, which, scale):
    """Each row's change by its own adapter: x [b, t, in], A [n, r, in], B [n, out, r], which [b]."""
    low = x @ A[which].mT  # (b, t, r)
    return scale * low @ B[which].mT  # (b, t, out)


def _check_mixed_lora(fn):
    b, t, n, r, n_in, n_out, scale = 4, 3, 3, 2, 5, 6, 0.4
    x, which = torch.randn(b, t, n_in), torch.tensor([2, 0, 2, 1])
    A, B = torch.randn(n, r, n_in), torch.randn(n, n_out, r)
    every = torch.stack([scale * x @ a.T @ b.T for a, b in zip(A, B, strict=True)])  # (n, b, t, out)
    right = torch.stack([every[which[row], row] for row in range(b)])
    result = expect_tensor(fn(x, A, B, which, scale), (b, t, n_out), "the change")
    if close(result, right / scale):
        raise Mistake("The scale is missing.")
    if close(result, every[which[0]]):
        raise Mistake("Every row gets the first row's adapter. Each has its own: which[row].")
    if close(result, every.mean(0)) or close(result, every.sum(0)):
        raise Mistake("This adds all adapters up for every row. Each row wants one of them: which[row].")
    if close(result, torch.stack([every[row % n, row] for row in range(b)])):
        raise Mistake("The rows get the adapters in turn. It is `which` that says whose adapter a row wants.")
    if any(close(result[row], every[index, row]) for row, index in enumerate(which)) and not close(
        result, right
    ):
        raise Mistake("Some rows are right and some are not. Row i wants adapter which[i].")
    if not close(result, right):
        raise Mistake("Row i should be scale * (x[i] A^T) B^T, with A = A[which[i]] and B = B[which[i]].")


def stacked_sum(A1, B1, A2, B2, w1, w2):
    """A and B whose product B A is w1 B1 A1 + w2 B2 A2; A's [r, in], B's [out, r], ranks may differ."""
    A = torch.cat([A1, A2])  # (r1 + r2, in)
    B = torch.cat([w1 * B1, w2 * B2], dim=1)  # (out, r1 + r2)
    return A, B


def _pair(result):
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two tensors: A and B.")
    return [expect_tensor(value) for value in result]


def _check_stacked_sum(fn):
    n_in, n_out, w1, w2 = 6, 5, 0.7, -1.5
    A1, A2, A3 = torch.randn(2, n_in), torch.randn(2, n_in), torch.randn(3, n_in)
    B1, B2, B3 = torch.randn(n_out, 2), torch.randn(n_out, 2), torch.randn(n_out, 3)
    A, B = _pair(fn(A1, B1, A2, B2, w1, w2))
    first, second = B1 @ A1, B2 @ A2
    if A.shape[0] == n_out and B.shape[-1] == n_in:
        raise Mistake("A and B are swapped: A [r, in] comes first, then B [out, r].")
    if A.shape == (2, n_in) and B.shape == (n_out, 2):
        raise Mistake(
            "You add the A's and the B's. Their product then has cross terms, B1 A2 and B2 A1, "
            "that neither adapter knows. The result needs the rank 2 + 2: stack them."
        )
    if A.shape == (n_out, n_in) or B.shape == (n_out, n_in):
        raise Mistake(
            "One of the two is the whole matrix [out, in]. Keep it thin: rank 2 and rank 2 make rank 4."
        )
    if A.shape != (4, n_in) or B.shape != (n_out, 4):
        raise Mistake(
            f"A should be [4, {n_in}] and B [{n_out}, 4] for two adapters of rank 2; yours are "
            f"{list(A.shape)} and {list(B.shape)}. A grows by rows, B by columns."
        )
    made = B @ A
    if close(made, first + second):
        raise Mistake("The weights have no effect.")
    if close(made, w1**2 * first + w2**2 * second):
        raise Mistake(
            "The weights are in A and in B, so the product has their squares. Put them into one of the two."
        )
    if close(made, w2 * first + w1 * second):
        raise Mistake("The weights have changed places.")
    if close(made, w1 * B1 @ A2 + w2 * B2 @ A1) or close(made, w1 * B2 @ A1 + w2 * B1 @ A2):
        raise Mistake("The order in A and in B differs, so that B1 meets A2. Stack both in the same order.")
    if not close(made, w1 * first + w2 * second):
        raise Mistake("B A should be w1 B1 A1 + w2 B2 A2.")
    A, B = _pair(fn(A1, B1, A3, B3, w1, w2))
    if not close(B @ A, w1 * first + w2 * B3 @ A3):
        raise Mistake("With ranks 2 and 3 it goes wrong: the two ranks may differ.")


def cut_product(A, B, rank):
    """The best approximation of B A by a smaller rank, as (A [rank, in], B [out, rank])."""
    Q_B, R_B = torch.linalg.qr(B)  # (out, r), (r, r)
    Q_A, R_A = torch.linalg.qr(A.T)  # (in, r), (r, r)
    U, S, Vh = torch.linalg.svd(R_B @ R_A.T)  # of an r x r matrix
    return Vh[:rank] @ Q_A.T, Q_B @ (U[:, :rank] * S[:rank])


class _Largest(TorchDispatchMode):
    """Records the largest matrix that is made inside."""

    def __init__(self):
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.values = max(self.values, tensor.numel())
        return made


def _check_cut_product(fn):
    n_in, n_out, r, rank = 40, 50, 5, 2
    A, B = torch.randn(r, n_in), torch.randn(n_out, r)
    U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
    best = U[:, :rank] * S[:rank] @ Vh[:rank]
    with _Largest() as largest:
        result = fn(A.clone(), B.clone(), rank)
    A_cut, B_cut = _pair(result)
    if A_cut.shape == (n_out, rank) or B_cut.shape == (rank, n_in):
        raise Mistake("A and B are swapped: A [rank, in] comes first, then B [out, rank].")
    if A_cut.shape != (rank, n_in) or B_cut.shape != (n_out, rank):
        raise Mistake(
            f"A should be [{rank}, {n_in}] and B [{n_out}, {rank}]; yours are {list(A_cut.shape)} "
            f"and {list(B_cut.shape)}."
        )
    made = B_cut @ A_cut
    if close(made, U[:, :rank] @ Vh[:rank]):
        raise Mistake("The singular values are missing: scale one of the two factors by them.")
    if close(made, U[:, :rank] * S[:rank].square() @ Vh[:rank]):
        raise Mistake(
            "The singular values are in A and in B: their product has the squares. Put them into "
            "one, or their roots into both."
        )
    if close(made, U[:, r - rank : r] * S[r - rank : r] @ Vh[r - rank : r]):
        raise Mistake("You keep the weakest directions. The SVD gives the strongest first.")
    if close(made, B[:, :rank] @ A[:rank]):
        raise Mistake(
            "These are the first rows of A and the first columns of B. They stand in no order of "
            "importance: an SVD is needed."
        )
    if not close(made, best):
        raise Mistake(
            f"B A differs from the best approximation of rank {rank}: its error is "
            f"{(made - B @ A).norm() / (best - B @ A).norm():.2f} times the smallest possible one."
        )
    if largest.values >= n_in * n_out:
        raise Mistake(
            "The values are right, and you make a matrix as large as [out, in] on the way. In a "
            "large model that is the whole weight: bring it down to r x r with two QR "
            "decompositions first (torch.linalg.qr(B), torch.linalg.qr(A.T))."
        )


def _by_svd(A, B, rank, keep=slice(None), power=(0.0, 1.0)):
    """cut_product by the SVD of the whole product, with the faults of the wrong answers."""
    U, S, Vh = torch.linalg.svd(B @ A, full_matrices=False)
    U, S, Vh = U[:, : len(A)][:, keep][:, :rank], S[: len(A)][keep][:rank], Vh[: len(A)][keep][:rank]
    return S[:, None] ** power[0] * Vh, U * S ** power[1]


def _renamed(change):
    """A wrong peft_tensors: change(name) for every name."""
    return lambda tensors: {change(name): value for name, value in peft_tensors(tensors).items()}


EXERCISES = [
    Exercise(
        name="adapter_bytes",
        lesson="05",
        minutes=5,
        difficulty=1,
        reference=adapter_bytes,
        check=_check_adapter_bytes,
        wrong=[
            (lambda sizes, rank, bytes_per_value=4: adapter_bytes(sizes, rank, 1), "not bytes"),
            (lambda sizes, rank, bytes_per_value=4: adapter_bytes(sizes, rank, 8), "bits in a byte"),
            (lambda sizes, rank, bytes_per_value=4: 4 * rank * sum(n for n, _ in sizes), "You count A alone"),
            (lambda sizes, rank, bytes_per_value=4: 4 * rank * sum(n for _, n in sizes), "You count B alone"),
            (lambda sizes, rank, bytes_per_value=4: adapter_bytes(sizes[:1], rank), "first layer only"),
            (lambda sizes, rank, bytes_per_value=4: 4 * sum(i * o for i, o in sizes), "weight matrices"),
            (lambda sizes, rank, bytes_per_value=4: adapter_bytes(sizes, 1), "rank is missing"),
            (lambda sizes, rank, bytes_per_value=4: adapter_bytes(sizes, rank), "has no effect"),
            (lambda sizes, rank, bytes_per_value=4: adapter_bytes(sizes, rank) + 1, "need 440 bytes"),
        ],
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
            (
                lambda tensors: peft_tensors({n: (B, A) for n, (A, B) in tensors.items()}),
                "A and B are swapped",
            ),
            (lambda tensors: peft_tensors({n: (A.T, B.T) for n, (A, B) in tensors.items()}), "transposed"),
            (lambda tensors: peft_tensors({n: (A, 2 * B) for n, (A, B) in tensors.items()}), "no scale"),
            (lambda tensors: peft_tensors(dict(list(tensors.items())[:1])), "4 tensors"),
            (lambda tensors: list(peft_tensors(tensors).items()), "Return a dict"),
        ],
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
        check=_check_mixed_lora,
        wrong=[
            (lambda x, A, B, which, scale: mixed_lora(x, A, B, which, 1.0), "scale is missing"),
            (lambda x, A, B, which, scale: scale * x @ A[which[0]].T @ B[which[0]].T, "first row's adapter"),
            (
                lambda x, A, B, which, scale: sum(scale * x @ a.T @ b.T for a, b in zip(A, B, strict=True)),
                "adds all adapters up",
            ),
            (
                lambda x, A, B, which, scale: mixed_lora(x, A, B, torch.arange(len(x)) % len(A), scale),
                "in turn",
            ),
            (lambda x, A, B, which, scale: mixed_lora(x, A, B, which.sort().values, scale), "Some rows"),
            (lambda x, A, B, which, scale: 2 * mixed_lora(x, A, B, which, scale), "Row i should be"),
            (lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale).sum(1), "shape"),
        ],
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
            (
                lambda A1, B1, A2, B2, w1, w2: (
                    torch.cat([w1 * A1, w2 * A2]),
                    torch.cat([w1 * B1, w2 * B2], 1),
                ),
                "their squares",
            ),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w2, w1), "changed places"),
            (
                lambda A1, B1, A2, B2, w1, w2: (torch.cat([A2, A1]), torch.cat([w1 * B1, w2 * B2], 1)),
                "B1 meets A2",
            ),
            (lambda A1, B1, A2, B2, w1, w2: stacked_sum(A1, B1, A2, B2, w1, w2)[::-1], "are swapped"),
            (
                lambda A1, B1, A2, B2, w1, w2: (torch.eye(A1.shape[1]), w1 * B1 @ A1 + w2 * B2 @ A2),
                "whole matrix",
            ),
            (lambda A1, B1, A2, B2, w1, w2: w1 * B1 @ A1 + w2 * B2 @ A2, "Return two tensors"),
            (
                lambda A1, B1, A2, B2, w1, w2: (torch.cat([A1, A2], 1), torch.cat([w1 * B1, w2 * B2], 1)),
                "A grows by rows",
            ),
        ],
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
            (lambda A, B, rank: B @ A, "Return two tensors"),
        ],
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
