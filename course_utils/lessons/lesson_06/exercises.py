"""Exercises of lesson 06: int8 by blocks, FP4 from its bits, packing, counting bits, gradients of QLoRA."""

from __future__ import annotations

import torch

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor


def quantize_int8(x, block_size):
    """(codes [n] int8, -127 to 127; scales [n / block_size], a block's largest magnitude) of x [n]."""
    blocks = x.view(-1, block_size)  # (blocks, block_size)
    scales = blocks.abs().amax(dim=1)  # (blocks,)
    steps = scales.clamp(min=1e-30)[:, None] / 127
    return (blocks / steps).round().to(torch.int8).flatten(), scales


def _check_quantize_int8(fn):
    x = torch.tensor([0.9, -2.0, 1.1, 0.3, 0.022, 0.01, -0.04, 0.025])
    before = x.clone()
    result = fn(x, 4)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two tensors: codes and scales.")
    codes, scales = expect_tensor(result[0], None, "codes"), expect_tensor(result[1], None, "scales")
    if not torch.equal(x, before):
        raise Mistake("x was changed in place. Work on a copy.")
    if scales.numel() == 1:
        raise Mistake(
            "One scale for the whole tensor: a single large value makes every step large. Each "
            "block of block_size values has a scale of its own."
        )
    scales = expect_tensor(scales.flatten(), (2,), "scales")
    if close(scales, torch.tensor([1.1, 0.025])):
        raise Mistake(
            "The scale is the largest value, and should be the largest magnitude: -2 is further "
            "from zero than 1.1, and falls outside the codes."
        )
    if close(scales, torch.tensor([-2.0, -0.04])) or (scales < 0).any():
        raise Mistake("A scale is negative. Take the magnitude of the largest value, without its sign.")
    if close(scales * 127, torch.tensor([2.0, 0.04])):
        raise Mistake(
            "Your scales are the step between two codes. Here a scale is the block's largest "
            "magnitude; the step is that over 127."
        )
    if not close(scales, torch.tensor([2.0, 0.04])):
        raise Mistake(f"The scales of this x should be 2 and 0.04; yours are {scales.tolist()}.")
    if codes.dtype != torch.int8:
        raise Mistake(f"The codes should be of type int8, one byte each, and are {codes.dtype}.")
    expect_tensor(codes, (8,), "codes")
    right = torch.tensor([57, -127, 70, 19, 70, 32, -127, 79])
    values = codes.long()
    if values[1] in (-128, 127):
        raise Mistake("The largest magnitude should get the code 127 or -127. 128 steps overflow int8.")
    if torch.equal(values, torch.tensor([57, -127, 69, 19, 69, 31, -127, 79])):
        raise Mistake("The codes are cut off, not rounded: 69.85 became 69. Use round().")
    if not torch.equal(values, right):
        raise Mistake(f"The codes of this x should be {right.tolist()}; yours are {values.tolist()}.")
    codes, scales = fn(torch.zeros(4), 4)
    if codes.long().abs().sum() or not torch.isfinite(scales).all():
        raise Mistake("A block of zeros should get codes of 0. Zero divided by zero is not a number.")


def e2m1_table():
    """The 16 values of FP4 (E2M1) in the order of their codes, over the largest: [16]."""
    values = []
    for code in range(16):
        sign, exponent, mantissa = code >> 3, (code >> 1) & 3, code & 1
        if exponent == 0:
            magnitude = mantissa / 2
        else:
            magnitude = 2 ** (exponent - 1) * (1 + mantissa / 2)
        values.append(-magnitude if sign else magnitude)
    return torch.tensor(values) / 6


def _check_e2m1(fn):
    table = expect_tensor(fn())
    if table.numel() == 15:
        raise Mistake(
            "15 values: a table has one for each code, also where two codes mean the same. Zero "
            "comes twice, as 0 and as -0."
        )
    expect_tensor(table, (16,))
    table = table.float()
    right = e2m1_table()
    if close(table, 6 * right):
        raise Mistake("The values are right and should be divided by the largest, 6, so that they end at 1.")
    if not (table == 0).any():
        raise Mistake(
            "Zero is missing from the table. Exponent 0 is the exception (subnormal): no leading "
            "one, the magnitude is mantissa / 2, so the codes 0 and 8 are zero."
        )
    if close(table, right[[0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]]):
        raise Mistake("The sign is read from the last bit. It is the first: codes 8 to 15 are negative.")
    if close(table.sort().values, right.sort().values) and not close(table, right):
        raise Mistake("The values are right, their order is not: entry i belongs to the code i.")
    if close(table.abs().max(), 1) and close(table[[1, 2, 3]] / table[1], torch.tensor([1.0, 4.0, 6.0])):
        raise Mistake("The exponent's bias is not taken off: exponents 1, 2, 3 stand for factors 1, 2, 4.")
    if (table[8:] > 0).any():
        raise Mistake("Codes 8 to 15 have the sign bit set: they are negative.")
    if not close(table, right):
        raise Mistake(
            f"Times 6, the first eight values should be 0, 0.5, 1, 1.5, 2, 3, 4, 6; yours are "
            f"{[round(6 * value, 3) for value in table[:8].tolist()]}."
        )


def pack_two_bits(codes):
    """Four 2-bit codes a byte, the first in the highest bits: [n] uint8 -> [n / 4] uint8."""
    four = codes.view(-1, 4)
    return four[:, 0] << 6 | four[:, 1] << 4 | four[:, 2] << 2 | four[:, 3]


def _check_pack_two_bits(fn):
    codes = torch.tensor([0, 1, 2, 3, 3, 3, 1, 0, 2, 0, 0, 1], dtype=torch.uint8)
    before = codes.clone()
    result = expect_tensor(fn(codes))
    if not torch.equal(codes, before):
        raise Mistake("The codes were changed in place.")
    if result.numel() == 12:
        raise Mistake("Still one code a byte.")
    if result.numel() == 6:
        raise Mistake("Two codes a byte leave half of it empty: four codes of two bits fit.")
    expect_tensor(result, (3,))
    if result.dtype != torch.uint8:
        raise Mistake(f"The result should be uint8, a byte each, and is {result.dtype}.")
    wanted = pack_two_bits(codes)
    if torch.equal(result, pack_two_bits(codes.view(-1, 4).flip(1).flatten())):
        raise Mistake(
            "The order within the byte is the other way round: the first code belongs in the "
            "highest bits. Whoever unpacks must agree."
        )
    if torch.equal(result, codes.view(-1, 4).sum(1).to(torch.uint8)):
        raise Mistake("The codes are added up, all in the same two bits. Shift each to its place first.")
    if torch.equal(result, pack_two_bits(codes.view(4, -1).T.flatten())):
        raise Mistake(
            "A byte should hold four neighbours, codes 0 to 3, then 4 to 7; yours takes every third one."
        )
    if not torch.equal(result, wanted):
        raise Mistake(f"0, 1, 2, 3 should become 0b00011011 = 27; yours is {result[0].item()}.")


def bits_per_weight(bits, block_size, double):
    """Bits held for each weight: its code and its share of a scale, which is fp32.

    double: scales are 8-bit codes with a fp32 scale for every 256 of them.
    """
    scale = 8 + 32 / 256 if double else 32
    return bits + scale / block_size


def _check_bits_per_weight(fn):
    plain, doubled = fn(4, 64, False), fn(4, 64, True)
    for value in (plain, doubled):
        if value is None:
            raise Mistake("The result is None. Is there a return?")
    if plain == 4:
        raise Mistake("That is the code alone. Every block has a scale as well.")
    if plain == 36:
        raise Mistake("The 32 bits of a scale are shared by the block_size weights of its block.")
    if plain == 4.25:
        raise Mistake("A scale in fp32 has 32 bits, not 16.")
    if plain == 36 / 64:
        raise Mistake("Each weight has a code of its own: only the scale is shared.")
    if not close(plain, 4.5):
        raise Mistake(f"4 bits, blocks of 64, plain scales: 4.5 bits a weight; yours is {plain:g}.")
    if close(doubled, 4.5):
        raise Mistake("Double quantisation makes no difference in yours.")
    if close(doubled, 4.125):
        raise Mistake("The scales' own scales are missing: 32 bits for every 256 scales.")
    if close(doubled, 4 + 8 / 64 + 32 / 256):
        raise Mistake("256 scales share a second scale, and each of them serves block_size weights.")
    if close(doubled, 4 + (8 + 32) / 64):
        raise Mistake("A second scale is shared by 256 scales.")
    for bits, block_size, double in ((4, 64, True), (3, 32, True), (8, 4096, False), (4, 128, True)):
        right = bits_per_weight(bits, block_size, double)
        if not close(fn(bits, block_size, double), right):
            raise Mistake(
                f"{bits} bits, blocks of {block_size}, double {double}: {right:.4f} bits a weight; "
                f"yours is {fn(bits, block_size, double):.4f}."
            )


def qlora_gradients(grad, x, weight, A, B, scale):
    """Gradients of y = x W^T + scale * (x A^T) B^T with a frozen, de-quantised W [out, in].

    grad, that of y: [n, out]; x [n, in]. Returns those of x, of W (None), of A [r, in] and of B [out, r].
    """
    low = x @ A.T  # (n, r)
    grad_low = scale * grad @ B  # (n, r)
    return grad @ weight + grad_low @ A, None, grad_low.T @ x, scale * grad.T @ low


def _check_qlora_gradients(fn):
    n, n_in, n_out, rank, scale = 7, 5, 4, 2, 3.0
    shapes = ((n, n_out), (n, n_in), (n_out, n_in), (rank, n_in), (n_out, rank))
    grad, x, weight, A, B = (torch.randn(shape) for shape in shapes)
    result = fn(grad, x, weight, A, B, scale)
    if not isinstance(result, tuple | list) or len(result) != 4:
        raise Mistake("Return four things: the gradients of x, of W (None), of A and of B.")
    if isinstance(result[1], torch.Tensor):
        raise Mistake(
            "You return a gradient for W. What is stored are codes, whole numbers from 0 to 15: a "
            "step of 1e-4 cannot move them. Return None in its place."
        )
    right = qlora_gradients(grad, x, weight, A, B, scale)
    grad_x = expect_tensor(result[0], (n, n_in), "the gradient of x")
    grad_A = expect_tensor(result[2], (rank, n_in), "the gradient of A")
    grad_B = expect_tensor(result[3], (n_out, rank), "the gradient of B")
    if close(grad_x, grad @ weight):
        raise Mistake("The gradient of x passes through W alone. It also comes back through B and A.")
    if close(grad_x, right[0] - grad @ weight):
        raise Mistake(
            "The gradient of x passes through A and B alone. W has no gradient of its own, but "
            "what is below it learns through W."
        )
    if (
        close(grad_x, grad @ weight + grad @ B @ A)
        or close(grad_A, right[2] / scale)
        or close(grad_B, right[3] / scale)
    ):
        raise Mistake("The scale is missing on the way through A and B.")
    for name, value, expected in (("x", grad_x, right[0]), ("A", grad_A, right[2]), ("B", grad_B, right[3])):
        if not close(value, expected):
            raise Mistake(
                f"The shape of the gradient of {name} is right and its values are not. "
                "With low = x A^T: y = x W^T + scale * low B^T."
            )


def _int8(fault):
    """A wrong quantize_int8: fault(blocks, largest magnitudes as a column, flat x)."""

    def wrong(x, block_size):
        blocks = x.view(-1, block_size)
        return fault(blocks, blocks.abs().amax(1, keepdim=True).clamp(min=1e-30), x)

    return wrong


def _rounded(blocks, scales, steps=127):
    return (blocks / scales * steps).round().to(torch.int8).flatten(), scales.flatten()


def _table(magnitude):
    """A wrong e2m1_table from a function of exponent and mantissa."""
    values = [magnitude(code >> 1 & 3, code & 1) for code in range(8)]
    return torch.tensor(values + [-value for value in values]) / max(values)


def _gradients(fault):
    """A wrong qlora_gradients: fault(the right ones, and what they are made of)."""

    def wrong(grad, x, weight, A, B, scale):
        return fault(*qlora_gradients(grad, x, weight, A, B, scale), grad, x, weight, A, B, scale)

    return wrong


EXERCISES = [
    Exercise(
        name="quantize_int8",
        lesson="06",
        minutes=10,
        difficulty=1,
        reference=quantize_int8,
        check=_check_quantize_int8,
        wrong=[
            (_int8(lambda blocks, scales, x: _rounded(blocks, x.abs().max().view(1, 1))), "One scale"),
            (
                _int8(lambda blocks, scales, x: _rounded(blocks, blocks.amax(1, keepdim=True))),
                "largest magnitude",
            ),
            (_int8(lambda blocks, scales, x: (_rounded(blocks, scales)[0], -scales.flatten())), "negative"),
            (
                _int8(lambda blocks, scales, x: (_rounded(blocks, scales)[0], scales.flatten() / 127)),
                "the step",
            ),
            (
                _int8(
                    lambda blocks, scales, x: (
                        (blocks / scales * 127).to(torch.int8).flatten(),
                        scales.flatten(),
                    )
                ),
                "cut off",
            ),
            (
                _int8(
                    lambda blocks, scales, x: ((blocks / scales * 127).round().flatten(), scales.flatten())
                ),
                "type int8",
            ),
            (_int8(lambda blocks, scales, x: _rounded(blocks, scales, 128)), "127 or -127"),
            (
                lambda x, block_size: (
                    (x.view(-1, block_size) / x.view(-1, block_size).abs().amax(1, keepdim=True) * 127)
                    .round()
                    .nan_to_num(nan=-1)
                    .to(torch.int8)
                    .flatten(),
                    x.view(-1, block_size).abs().amax(1),
                ),
                "block of zeros",
            ),
        ],
        hints=(
            "Every block has a ruler of its own, 127 steps to each side of zero, as long as the block's "
            "largest magnitude. A code says how many steps a value is from zero.",
            "x.view(-1, block_size) is [blocks, block_size]; .abs().amax(dim=1) gives the scales. Divide "
            "by scale / 127, round, .to(torch.int8), flatten. Mind a block of zeros.",
        ),
    ),
    Exercise(
        name="e2m1_table",
        lesson="06",
        minutes=10,
        difficulty=2,
        reference=e2m1_table,
        check=_check_e2m1,
        wrong=[
            (lambda: _table(lambda e, m: 2.0 ** (e - 1) * (1 + m / 2)), "Zero is missing"),
            (lambda: 6 * e2m1_table(), "divided by the largest"),
            (lambda: e2m1_table().unique(), "15 values"),
            (
                lambda: e2m1_table()[[0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]],
                "from the last bit",
            ),
            (lambda: e2m1_table().sort().values, "their order is not"),
            (lambda: _table(lambda e, m: 2.0**e * (1 + m / 2) if e else m / 2), "bias"),
            (lambda: e2m1_table().abs(), "sign bit set"),
            (lambda: _table(lambda e, m: 2.0 ** (e - 1) * (1 + m / 4) if e else m / 2), "should be 0, 0.5"),
        ],
        hints=(
            "Read the code as four bits: sign, two of exponent, one of mantissa. Normally a leading one "
            "stands before the mantissa; with exponent 0 it does not, or there would be no zero.",
            "sign = code >> 3, exponent = code >> 1 & 3, mantissa = code & 1. Magnitude: mantissa / 2 "
            "where the exponent is 0, else 2 ** (exponent - 1) * (1 + mantissa / 2). Divide by 6.",
        ),
    ),
    Exercise(
        name="pack_two_bits",
        lesson="06",
        minutes=8,
        difficulty=1,
        reference=pack_two_bits,
        check=_check_pack_two_bits,
        wrong=[
            (lambda codes: pack_two_bits(codes.view(-1, 4).flip(1).flatten()), "the other way round"),
            (lambda codes: codes[::2] << 4 | codes[1::2], "Two codes a byte"),
            (lambda codes: codes.view(-1, 4).sum(1).to(torch.uint8), "added up"),
            (lambda codes: pack_two_bits(codes).int(), "should be uint8"),
            (lambda codes: pack_two_bits(codes.view(4, -1).T.flatten()), "four neighbours"),
            (lambda codes: codes, "one code a byte"),
            (lambda codes: pack_two_bits(codes) + 1, "0b00011011"),
        ],
        hints=(
            "A byte has eight bits, four places of two. Shift each code to its place, combine with |.",
            "codes.view(-1, 4) has a row for each byte. Column 0 is shifted by 6, column 1 by 4, column 2 "
            "by 2, column 3 not at all.",
        ),
    ),
    Exercise(
        name="bits_per_weight",
        lesson="06",
        minutes=5,
        difficulty=1,
        reference=bits_per_weight,
        check=_check_bits_per_weight,
        wrong=[
            (lambda bits, block_size, double: bits, "code alone"),
            (lambda bits, block_size, double: bits + 32, "shared by the block_size weights"),
            (lambda bits, block_size, double: bits + 16 / block_size, "32 bits, not 16"),
            (lambda bits, block_size, double: (bits + 32) / block_size, "code of its own"),
            (lambda bits, block_size, double: bits + 32 / block_size, "makes no difference"),
            (
                lambda bits, block_size, double: bits + (8 if double else 32) / block_size,
                "own scales are missing",
            ),
            (
                lambda bits, block_size, double: (
                    bits + (8 / block_size + 1 / 8 if double else 32 / block_size)
                ),
                "each of them serves",
            ),
            (lambda bits, block_size, double: bits + (40 if double else 32) / block_size, "shared by 256"),
        ],
        hints=(
            "Count for one block what is stored, and divide by the number of its weights.",
            "Plain: bits + 32 / block_size. Double: the scale has 8 bits, and 1/256 of 32 bits for the "
            "second scale, in place of 32.",
        ),
    ),
    Exercise(
        name="qlora_gradients",
        lesson="06",
        minutes=15,
        difficulty=3,
        reference=qlora_gradients,
        check=_check_qlora_gradients,
        wrong=[
            (
                _gradients(lambda gx, gW, gA, gB, grad, x, weight, A, B, scale: (gx, grad.T @ x, gA, gB)),
                "gradient for W",
            ),
            (
                _gradients(
                    lambda gx, gW, gA, gB, grad, x, weight, A, B, scale: (grad @ weight, None, gA, gB)
                ),
                "through W alone",
            ),
            (
                _gradients(
                    lambda gx, gW, gA, gB, grad, x, weight, A, B, scale: (gx - grad @ weight, None, gA, gB)
                ),
                "through A and B alone",
            ),
            (
                _gradients(
                    lambda gx, gW, gA, gB, grad, x, weight, A, B, scale: (
                        grad @ weight + grad @ B @ A,
                        None,
                        gA / scale,
                        gB / scale,
                    )
                ),
                "scale is missing",
            ),
            (_gradients(lambda gx, gW, gA, gB, grad, x, weight, A, B, scale: (gx, gA, gB)), "four things"),
            (
                _gradients(lambda gx, gW, gA, gB, grad, x, weight, A, B, scale: (gx, None, gB, gA)),
                "the gradient of A should have the shape",
            ),
            (
                _gradients(lambda gx, gW, gA, gB, grad, x, weight, A, B, scale: (gx, None, gA, gB + 1)),
                "values are not",
            ),
        ],
        hints=(
            "Two paths lead from x to y: through W, and through A and B. The gradient of x is the sum of "
            "what comes back on both. W is needed for that, though it gets no gradient itself.",
            "low = x @ A.T [n, r]; grad_low = scale * grad @ B [n, r]. Of x: grad @ weight + grad_low @ "
            "A. Of A: grad_low.T @ x. Of B: scale * grad.T @ low.",
        ),
    ),
]
