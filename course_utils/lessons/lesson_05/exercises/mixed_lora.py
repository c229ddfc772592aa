"""Lesson 05, mixed_lora: each row its adapter."""

import torch

from course_utils.checks.compare import Mistake, compare
from course_utils.checks.exercises import Exercise
from course_utils.checks.largest import Largest
from course_utils.lessons.lesson_05.small_adapters import mixed_lora


def _requests(b, t, n, r, n_in, n_out, scale, which):
    """A batch of b rows for n adapters of rank r, in mixed_lora's order."""
    tensors = torch.randn(b, t, n_in), torch.randn(n, r, n_in), torch.randn(n, n_out, r)
    return *tensors, torch.tensor(which), scale


def _mixed_batches():
    """An adapter for two rows, more adapters than rows, and a batch in which all matrix sizes are equal."""
    return [
        _requests(4, 3, 4, 2, 5, 6, 0.4, [2, 0, 2, 1]),
        _requests(2, 5, 4, 1, 6, 3, -1.5, [3, 1]),
        _requests(3, 3, 3, 3, 3, 3, 2.0, [1, 2, 1]),
    ]


def _mixed(fault):
    """A wrong mixed_lora, with the adapters fault(which, number of adapters)."""
    return lambda x, A, B, which, scale: mixed_lora(x, A, B, fault(which, len(A)), scale)


def _of_all_adapters(x, A, B, which, scale):
    return sum(scale * x @ a.mT @ b.mT for a, b in zip(A, B, strict=True))


def _all_of_A(x, A, B, which, scale):
    return scale * torch.einsum("bti,nri->btr", x, A) @ B[which].mT


def _all_of_B(x, A, B, which, scale):
    return scale * torch.einsum("btr,nor->bto", x @ A[which].mT, B)


def _all_of_both(x, A, B, which, scale):
    return scale * torch.einsum("bti,nri,mor->bto", x, A, B)


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


def _reshaped(of_A, of_B):
    """A wrong mixed_lora: A, B or both are reshaped instead of transposed."""

    def turned(tensor, wrong):
        return tensor.reshape(len(tensor), tensor.shape[2], tensor.shape[1]) if wrong else tensor.mT

    return lambda x, A, B, which, scale: scale * x @ turned(A[which], of_A) @ turned(B[which], of_B)


def _picked_last(x, A, B, which, scale):
    low = torch.einsum("bti,nri->bntr", x, A)[torch.arange(len(x)), which]
    return scale * low @ B[which].mT


def _mixed_by_einsum(x, A, B, which, scale):
    return scale * torch.einsum("bti,bri,bor->bto", x, A[which], B[which])


ALL_ADAPTERS = "You add up all adapters for every row. Each row uses one of them: which[row]."
ALL_OF_ONE = (
    "You add up the {} of all adapters, as an index of einsum does that the result lacks. Row i goes through "
    "those of adapter which[i] alone."
)
SOME_ROWS = "Some rows are right and some are not. Row i uses adapter which[i]."
NO_TRANSPOSE = (
    "A or B is not transposed. A is [r, in] and B [out, r]: multiply x [t, in] by A.mT [in, r], then by B.mT "
    "[r, out]. .mT swaps the last two dimensions of each matrix of a batch."
)
RESHAPED = (
    "reshape and view do not transpose: they keep the numbers in their order. .mT swaps the last two "
    "dimensions of each matrix of a batch."
)
MIXED_MISTAKES = [
    ("The scale is missing.", lambda x, A, B, which, scale: mixed_lora(x, A, B, which, 1.0)),
    (
        "You apply the scale twice. Apply it once to the product.",
        lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale**2),
    ),
    (
        "Every row gets the first row's adapter. Each row has its own: which[row].",
        _mixed(lambda which, n: which[:1].expand(len(which))),
    ),
    (
        "Every row gets the first adapter. Each row has its own: which[row].",
        _mixed(lambda which, n: torch.zeros_like(which)),
    ),
    (ALL_ADAPTERS, _of_all_adapters),
    (ALL_ADAPTERS, lambda x, A, B, which, scale: _of_all_adapters(x, A, B, which, scale) / len(A)),
    (ALL_OF_ONE.format("A's"), _all_of_A),
    (ALL_OF_ONE.format("B's"), _all_of_B),
    (ALL_OF_ONE.format("A's and the B's"), _all_of_both),
    (
        "Row 0 gets adapter 0, row 1 adapter 1, and so on. Use `which`: row i wants adapter which[i].",
        _mixed(lambda which, n: torch.arange(len(which)) % n),
    ),
    (
        "You choose rows of x by `which`. It chooses adapters: row i of x stays row i.",
        lambda x, A, B, which, scale: mixed_lora(x[which], A, B, torch.arange(len(which)), scale),
    ),
    (
        "You choose rows of x by `which`, too. It chooses adapters: row i of x stays row i.",
        lambda x, A, B, which, scale: mixed_lora(x[which], A, B, which, scale),
    ),
    (SOME_ROWS, _mixed(lambda which, n: which.sort().values)),
    (SOME_ROWS, _mixed(lambda which, n: which.flip(0))),
    ("which counts from 0: adapter 0 is the first.", _mixed(lambda which, n: which - 1)),
    (NO_TRANSPOSE, lambda x, A, B, which, scale: scale * x @ A[which] @ B[which]),
    (NO_TRANSPOSE, lambda x, A, B, which, scale: scale * x @ A[which] @ B[which].mT),
    (NO_TRANSPOSE, lambda x, A, B, which, scale: scale * x @ A[which].mT @ B[which]),
    (RESHAPED, _reshaped(True, True)),
    (RESHAPED, _reshaped(True, False)),
    (RESHAPED, _reshaped(False, True)),
    (
        "A and B are swapped: first down with A, [t, r], then up with B, [t, out].",
        lambda x, A, B, which, scale: scale * x @ B[which].mT @ A[which].mT,
    ),
    (
        "You add x. Return only the change; the frozen matrix is applied elsewhere.",
        lambda x, A, B, which, scale: x + mixed_lora(x, A, B, which, scale),
    ),
]

MIXED = compare(
    mixed_lora,
    _mixed_batches,
    MIXED_MISTAKES,
    else_="Row i should be scale * (x[i] A^T) B^T, with A = A[which[i]] and B = B[which[i]].",
    gradient=("x", "A", "B"),
    extremes=[
        ("In a batch of one row:", lambda: [_requests(1, 3, 2, 2, 5, 4, 0.5, [1])]),
        ("With more rows than adapters:", lambda: [_requests(3, 2, 2, 2, 4, 5, 0.5, [1, 0, 1])]),
        ("With one adapter for all rows:", lambda: [_requests(3, 2, 1, 2, 4, 5, 0.5, [0, 0, 0])]),
        ("With one token per row, as in generation:", lambda: [_requests(2, 1, 3, 2, 5, 4, 0.5, [2, 0])]),
    ],
)


def _check_mixed(fn):
    MIXED(fn)
    n_in, n_out = 40, 50
    arguments = _requests(3, 4, 2, 2, n_in, n_out, 0.5, [0, 1, 1])
    with Largest() as largest:
        fn(*arguments)
    if largest.values >= n_in * n_out:
        raise Mistake(
            "The values are right, but you compute B A, which is as large as the weight, for every row. "
            "Multiply from the left: x A^T first, then B^T with its r numbers."
        )
    n, t, r = 60, 50, 2
    with Largest() as largest:
        fn(*_requests(2, t, n, r, 40, 50, 0.5, [7, 0]))
    if largest.values >= 2 * n * t * r:
        raise Mistake(
            "The values are right, but every row goes through all adapters before you select one. A server "
            "has thousands of them: select first, A[which], then multiply."
        )


def _one_adapter_only(x, A, B, which, scale):
    if len(x) == 1:
        which = torch.zeros_like(which)
    return mixed_lora(x, A, B, which, scale)


EXERCISE = Exercise(
    name="mixed_lora",
    lesson="05",
    minutes=10,
    difficulty=2,
    reference=mixed_lora,
    check=_check_mixed,
    wrong=[
        *((wrong, message) for message, wrong in MIXED_MISTAKES),
        (lambda x, A, B, which, scale: scale * x @ (B[which] @ A[which]).mT, "as large as the weight"),
        (_picked_last, "through all adapters"),
        (_one_adapter_only, "In a batch of one row"),
        (lambda x, A, B, which, scale: scale * x @ A[: len(x)].mT @ B[: len(x)].mT, "row i wants adapter"),
        (
            lambda x, A, B, which, scale: torch.stack(
                [scale * row @ A[i].T @ B[i].T for i, row in enumerate(x)]
            ),
            "row i wants adapter",
        ),
        (
            lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale).squeeze(1),
            "With one token per row",
        ),
        (lambda x, A, B, which, scale: 2 * mixed_lora(x, A, B, which, scale), "Row i should be"),
        (lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale).sum(1), "shape"),
        (_mixed_in_place, "changes its argument x in place"),
        (lambda x, A, B, which, scale: mixed_lora(x, A, B, which, scale).detach(), "has no graph"),
        (lambda x, A, B, which, scale: mixed_lora(x, A.detach(), B, which, scale), "A gets no gradient"),
        (lambda x, A, B, which, scale: torch.zeros(len(x), x.shape[1], B.shape[1]), "Row i should be"),
    ],
    right=[_row_by_row, _adapter_by_adapter, _mixed_by_einsum],
    hints=(
        "A[which] selects an A for every row of the batch: [b, r, in]. `@` multiplies matrices pairwise "
        "along the first dimension.",
        "x [b, t, in] @ A[which].mT [b, in, r] is [b, t, r]; that @ B[which].mT [b, r, out] is [b, t, out]. "
        "Multiply by scale.",
    ),
)
