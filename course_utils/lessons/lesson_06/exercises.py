"""Exercises of lesson 06: int8 by blocks, FP4 from its bits, packing, counting bits, gradients of QLoRA."""

from __future__ import annotations

import torch

from course_utils.checks.compare import Mistake, compare
from course_utils.checks.exercises import Exercise, close, expect_tensor


def quantize_int8(x, block_size):
    """(codes [n] int8, -127 to 127; scales [n / block_size], a block's largest magnitude) of x [n]."""
    blocks = x.view(-1, block_size)  # (blocks, block_size)
    scales = blocks.abs().amax(dim=1)  # (blocks,)
    steps = scales.clamp(min=1e-30)[:, None] / 127
    return (blocks / steps).round().to(torch.int8).flatten(), scales


def _blocks(largest, block_size):
    """Values off the middle between two codes; `largest`: of each block the value of largest magnitude."""
    largest = torch.tensor(largest)[:, None]
    codes = torch.randint(-120, 121, (len(largest), block_size)) + 0.6 * torch.rand(1) - 0.3
    x = codes * largest.abs() / 127
    x[:, :1] = largest
    return x.flatten(), block_size


def _int8_inputs():
    """Fixed values, and drawn ones: blocks of three sizes, most of them with a negative largest value."""
    fixed = torch.tensor([0.9, -2.0, 1.1, 0.3, 0.022, 0.01, -0.04, 0.025])
    return [(fixed, 4), _blocks([-5.0, 0.3, -40.0], 6), _blocks([-0.7], 16)]


def _int8(fault):
    """A wrong quantize_int8: fault(blocks, largest magnitudes as a column, flat x)."""

    def wrong(x, block_size):
        blocks = x.view(-1, block_size)
        return fault(blocks, blocks.abs().amax(1, keepdim=True).clamp(min=1e-30), x)

    return wrong


def _rounded(blocks, scales, steps=127):
    return (blocks / scales * steps).round().to(torch.int8).flatten(), scales.flatten()


def _other_int8(change):
    """A wrong quantize_int8: change(codes, scales) of the right one."""
    return lambda x, block_size: change(*quantize_int8(x, block_size))


def _clamped_to_128(blocks, scales, x):
    return (blocks / scales * 128).round().clamp(-128, 127).to(torch.int8).flatten(), scales.flatten()


def _int8_in_place(x, block_size):
    scales = x.view(-1, block_size).abs().amax(1)
    x.view(-1, block_size).div_(scales[:, None] / 127)
    return x.round().to(torch.int8), scales


def _zero_by_zero(x, block_size):
    blocks = x.view(-1, block_size)
    scales = blocks.abs().amax(1)
    return (blocks / scales[:, None] * 127).round().nan_to_num(nan=-1).to(torch.int8).flatten(), scales


def _blocks_of_four(x, block_size):
    return quantize_int8(x, 4)


def _block_by_block(x, block_size):
    codes, scales = [], []
    for block in x.split(block_size):
        scale = max(abs(value) for value in block.tolist())
        codes += [round(127 * value / scale) if scale else 0 for value in block.tolist()]
        scales.append(scale)
    return torch.tensor(codes, dtype=torch.int8), torch.tensor(scales)


def _zero_scale_becomes_one(x, block_size):
    scales = x.abs().unflatten(0, (-1, block_size)).max(1).values
    scales = torch.where(scales == 0, 1.0, scales)
    each = scales.repeat_interleave(block_size)
    return [torch.round(x * 127 / each).char(), scales]


STEPS_OF_128 = "The largest magnitude should get the code 127 or -127. 128 steps overflow int8."
INT8_MISTAKES = [
    (
        "The scale is the largest value, and should be the largest magnitude: -2 is further "
        "from zero than 1.1, and falls outside the codes.",
        _int8(lambda blocks, scales, x: _rounded(blocks, blocks.amax(1, keepdim=True))),
    ),
    (
        "A scale is negative. Take the magnitude of the largest value, without its sign.",
        _int8(lambda blocks, scales, x: (_rounded(blocks, scales)[0], -scales.flatten())),
    ),
    (
        "A scale is negative. Take the magnitude of the largest value, without its sign.",
        _int8(lambda blocks, scales, x: _rounded(blocks, blocks.gather(1, blocks.abs().argmax(1)[:, None]))),
    ),
    (
        "Your scales are the step between two codes. Here a scale is the block's largest "
        "magnitude; the step is that over 127.",
        _other_int8(lambda codes, scales: (codes, scales / 127)),
    ),
    (
        "The codes are cut off, not rounded: 69.85 became 69. Use round().",
        _int8(lambda b, scales, x: ((b / scales * 127).to(torch.int8).flatten(), scales.flatten())),
    ),
    (
        "The codes are rounded down. Use round(), which takes the nearest.",
        _int8(lambda b, scales, x: ((b / scales * 127).floor().to(torch.int8).flatten(), scales.flatten())),
    ),
    (STEPS_OF_128, _int8(lambda blocks, scales, x: _rounded(blocks, scales, 128))),
    (STEPS_OF_128, _int8(_clamped_to_128)),
    (
        "These are codes for seven levels to each side, those of int4. int8 has 127.",
        _int8(lambda blocks, scales, x: _rounded(blocks, scales, 7)),
    ),
    (
        "The signs of the codes are lost: a negative value has a negative code.",
        _other_int8(lambda codes, scales: (codes.abs(), scales)),
    ),
    ("The codes come first, then the scales.", _other_int8(lambda codes, scales: (scales, codes))),
    ("These are blocks of 4. How long a block is, is the argument block_size.", _blocks_of_four),
    (
        "A block holds neighbours: x.view(-1, block_size), then a row is a block.",
        lambda x, block_size: quantize_int8(x.view(block_size, -1).T.flatten(), block_size),
    ),
]
INT8 = compare(
    quantize_int8,
    _int8_inputs,
    INT8_MISTAKES,
    else_="A scale is its block's largest magnitude, a code is round(x / (scale / 127)).",
)


def _check_quantize_int8(fn):
    x, block_size = _int8_inputs()[0]
    result = fn(x.clone(), block_size)
    if isinstance(result, tuple | list) and len(result) == 2:
        codes, scales = expect_tensor(result[0], None, "codes"), expect_tensor(result[1], None, "scales")
        if scales.numel() == 1:
            raise Mistake(
                "One scale for the whole tensor: a single large value makes every step large. Each "
                "block of block_size values has a scale of its own."
            )
        if scales.shape == (2, 1):
            raise Mistake(
                "The scales should have the shape [n / block_size], here [2], and have [2, 1]: with a column "
                "of scales later sums are broadcast to [n, n]. Take keepdim away, or flatten() them."
            )
        if codes.shape == (8,) and codes.dtype != torch.int8:
            raise Mistake(f"The codes should be of type int8, one byte each, and are {codes.dtype}.")
    INT8(fn)
    codes, scales = fn(torch.tensor([0.0, 0.0, 0.0, -2.0, 0.0, 1.0]), 3)
    if codes[:3].any() or not scales.isfinite().all():
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


LAST_BIT = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15]


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
    if close(table, right[LAST_BIT]):
        raise Mistake("The sign is read from the last bit. It is the first: codes 8 to 15 are negative.")
    if close(table, -right):
        raise Mistake("The sign bit is turned: 0 stands for plus, 1 for minus.")
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


def _table(magnitude):
    """A wrong e2m1_table from a function of exponent and mantissa."""
    values = [magnitude(code >> 1 & 3, code & 1) for code in range(8)]
    return torch.tensor(values + [-value for value in values]) / max(values)


def _written_out():
    half = torch.tensor([0, 1, 2, 3, 4, 6, 8, 12], dtype=torch.float64) / 12
    return torch.cat([half, -half])


def _in_tensors():
    code = torch.arange(16)
    sign, exponent, mantissa = 1 - 2 * (code // 8), code % 8 // 2, code % 2
    magnitude = torch.where(exponent > 0, 2.0 ** (exponent - 1) * (1 + mantissa / 2), mantissa / 2)
    table = sign * magnitude
    return table / table.max()


def pack_two_bits(codes):
    """Four 2-bit codes a byte, the first in the highest bits: [n] uint8 -> [n / 4] uint8."""
    four = codes.view(-1, 4)
    return four[:, 0] << 6 | four[:, 1] << 4 | four[:, 2] << 2 | four[:, 3]


def _code_inputs():
    """Fixed codes, drawn ones, and a single byte; the first and the last code of a byte are 3 at times."""
    fixed = torch.tensor([0, 1, 2, 3, 3, 3, 1, 0, 2, 0, 0, 1], dtype=torch.uint8)
    drawn = torch.randint(4, (40,), dtype=torch.uint8)
    return [(fixed,), (drawn,), (torch.tensor([3, 0, 2, 1], dtype=torch.uint8),)]


def _shifted_in_place(codes):
    four = codes.view(-1, 4)
    four <<= torch.tensor([6, 4, 2, 0], dtype=torch.uint8)
    return four.sum(1).to(torch.uint8)


def _by_weights(codes):
    return (codes.reshape(-1, 4).int() @ torch.tensor([64, 16, 4, 1], dtype=torch.int32)).to(torch.uint8)


def _byte_by_byte(codes):
    values = codes.tolist()
    packed = []
    for first in range(0, len(values), 4):
        byte = 0
        for code in values[first : first + 4]:
            byte = byte << 2 | code
        packed.append(byte)
    return torch.tensor(packed, dtype=torch.uint8)


PACK_MISTAKES = [
    ("Still one code a byte.", lambda codes: codes),
    (
        "Two codes a byte leave half of it empty: four codes of two bits fit.",
        lambda codes: codes[::2] << 4 | codes[1::2],
    ),
    (
        "Two codes a byte leave half of it empty: four codes of two bits fit.",
        lambda codes: codes[::2] << 2 | codes[1::2],
    ),
    (
        "The order within the byte is the other way round: the first code belongs in the "
        "highest bits. Whoever unpacks must agree.",
        lambda codes: pack_two_bits(codes.view(-1, 4).flip(1).flatten()),
    ),
    (
        "The codes are added up, all in the same two bits. Shift each to its place first.",
        lambda codes: codes.view(-1, 4).sum(1).to(torch.uint8),
    ),
    (
        "A byte should hold four neighbours, codes 0 to 3, then 4 to 7; yours takes them from afar.",
        lambda codes: pack_two_bits(codes.view(4, -1).T.flatten()),
    ),
    (
        "The places are one bit apart, and a code has two: shift by 6, 4, 2 and 0.",
        lambda codes: (codes.view(-1, 4) * torch.tensor([8, 4, 2, 1])).sum(1).to(torch.uint8),
    ),
    (
        "The codes are shifted by 2 too far: the first is lost. Shift by 6, 4, 2 and 0.",
        lambda codes: pack_two_bits(codes) << 2,
    ),
]
PACK = compare(pack_two_bits, _code_inputs, PACK_MISTAKES, else_="0, 1, 2, 3 should become 0b00011011 = 27.")


def _check_pack_two_bits(fn):
    PACK(fn)
    result = fn(_code_inputs()[0][0])
    if result.dtype != torch.uint8:
        raise Mistake(f"The result should be uint8, a byte each, and is {result.dtype}.")


def bits_per_weight(bits, block_size, double):
    """Bits held for each weight: its code and its share of a scale, which is fp32.

    double: scales are 8-bit codes with a fp32 scale for every 256 of them.
    """
    scale = 8 + 32 / 256 if double else 32
    return bits + scale / block_size


BITS_INPUTS = [(4, 64, False), (4, 64, True), (3, 32, True), (8, 4096, False), (4, 128, True), (2, 256, True)]


def _scale_bits(plain, double):
    """A wrong bits_per_weight: a scale's bits from the block's size, plain and double."""
    return lambda bits, block_size, twice: bits + (double if twice else plain)(block_size) / block_size


def _of_256_blocks(bits, block_size, double):
    weights = 256 * block_size
    held = weights * bits + 256 * (8 if double else 32)
    if double:
        held += 32
    return torch.tensor(held / weights)


def _in_bytes(bits, block_size, double):
    scale = 1 + 4 / 256 if double else 4
    return 8 * (bits / 8 + scale / block_size)


BITS_MISTAKES = [
    ("That is the code alone. Every block has a scale as well.", lambda bits, size, double: bits),
    (
        "The 32 bits of a scale are shared by the block_size weights of its block.",
        lambda bits, size, double: bits + (8 + 32 / 256 if double else 32),
    ),
    (
        "The 32 bits of a scale are shared by the block_size weights of its block.",
        lambda bits, size, double: bits + 32,
    ),
    ("A scale in fp32 has 32 bits, not 16.", _scale_bits(lambda size: 16, lambda size: 8 + 16 / 256)),
    ("A scale in fp32 has 32 bits, not 16.", lambda bits, size, double: bits + 16 / size),
    (
        "Each weight has a code of its own: only the scale is shared.",
        lambda bits, size, double: (bits + (8 + 32 / 256 if double else 32)) / size,
    ),
    (
        "Each weight has a code of its own: only the scale is shared.",
        lambda bits, size, double: (bits + 32) / size,
    ),
    (
        "double is turned: plain scales are those with double = False.",
        lambda bits, size, double: bits_per_weight(bits, size, not double),
    ),
    (
        "Double quantisation makes no difference in yours.",
        lambda bits, size, double: bits_per_weight(bits, size, False),
    ),
    (
        "The scales' own scales are missing: 32 bits for every 256 scales.",
        _scale_bits(lambda size: 32, lambda size: 8),
    ),
    (
        "256 scales share a second scale, and each of them serves block_size weights.",
        _scale_bits(lambda size: 32, lambda size: 8 + 32 / 256 * size),
    ),
    ("A second scale is shared by 256 scales.", _scale_bits(lambda size: 32, lambda size: 8 + 32)),
    (
        "With double quantisation a scale's code takes the place of its 32 bits. It does not come on top.",
        _scale_bits(lambda size: 32, lambda size: 32 + 8 + 32 / 256),
    ),
    (
        "The bits of a code and the block's size are arguments: these are 4 and 64 always.",
        lambda bits, size, double: bits_per_weight(4, 64, double),
    ),
    ("These are bytes: 8 bits are one.", lambda bits, size, double: bits_per_weight(bits, size, double) / 8),
]


def qlora_gradients(grad, x, weight, A, B, scale):
    """Gradients of y = x W^T + scale * (x A^T) B^T with a frozen, de-quantised W [out, in].

    grad, that of y: [n, out]; x [n, in]. Returns those of x, of W (None), of A [r, in] and of B [out, r].
    """
    low = x @ A.T  # (n, r)
    grad_low = scale * grad @ B  # (n, r)
    return grad @ weight + grad_low @ A, None, grad_low.T @ x, scale * grad.T @ low


def _layer(n, n_in, n_out, rank, scale):
    shapes = ((n, n_out), (n, n_in), (n_out, n_in), (rank, n_in), (n_out, rank))
    return *(torch.randn(shape) for shape in shapes), scale


def _layers():
    """Layers of different sizes; in the last all are equal, so that a transpose can be forgotten."""
    return [_layer(7, 5, 4, 2, 3.0), _layer(2, 4, 6, 1, -0.5), _layer(4, 4, 4, 4, 0.7)]


def _gradients(fault):
    """A wrong qlora_gradients: fault(right ones of x, A and B; grad, x, weight, A, B, scale)."""

    def wrong(grad, x, weight, A, B, scale):
        of_x, _, of_A, of_B = qlora_gradients(grad, x, weight, A, B, scale)
        return fault(of_x, of_A, of_B, grad, x, weight, A, B, scale)

    return wrong


def _gradients_in_place(grad, x, weight, A, B, scale):
    of_weight = grad @ weight
    grad *= scale
    return of_weight + grad @ B @ A, None, (grad @ B).T @ x, grad.T @ (x @ A.T)


def _by_autograd(grad, x, weight, A, B, scale):
    x, A, B = (tensor.clone().requires_grad_() for tensor in (x, A, B))
    y = x @ weight.T + scale * (x @ A.T) @ B.T
    of_x, of_A, of_B = torch.autograd.grad(y, (x, A, B), grad)
    return [of_x, None, of_A, of_B]


def _by_einsum(grad, x, weight, A, B, scale):
    of_product = scale * torch.einsum("no,ni->oi", grad, x)  # (out, in)
    of_x = torch.einsum("no,oi->ni", grad, weight + scale * B @ A)
    return of_x, None, B.mT @ of_product, of_product @ A.mT


WEIGHT_GRADIENT = (
    "You return a gradient for W. What is stored are codes, whole numbers from 0 to 15: a "
    "step of 1e-4 cannot move them. Return None in its place."
)
NO_SCALE = "The scale is missing on the way through A and B."
GRADIENT_MISTAKES = [
    (WEIGHT_GRADIENT, _gradients(lambda gx, gA, gB, grad, x, *rest: (gx, grad.T @ x, gA, gB))),
    (
        WEIGHT_GRADIENT,
        _gradients(lambda gx, gA, gB, grad, x, weight, *rest: (gx, torch.zeros_like(weight), gA, gB)),
    ),
    (
        "The gradient of x passes through W alone. It also comes back through B and A.",
        _gradients(lambda gx, gA, gB, grad, x, weight, *rest: (grad @ weight, None, gA, gB)),
    ),
    (
        "The gradient of x passes through A and B alone. W has no gradient of its own, but "
        "what is below it learns through W.",
        _gradients(lambda gx, gA, gB, grad, x, weight, *rest: (gx - grad @ weight, None, gA, gB)),
    ),
    (NO_SCALE, lambda grad, x, weight, A, B, scale: qlora_gradients(grad, x, weight, A, B, 1.0)),
    (NO_SCALE, _gradients(lambda gx, gA, gB, grad, x, W, A, B, s: (grad @ W + grad @ B @ A, None, gA, gB))),
    (NO_SCALE, _gradients(lambda gx, gA, gB, grad, x, W, A, B, s: (gx, None, gA / s, gB))),
    (NO_SCALE, _gradients(lambda gx, gA, gB, grad, x, W, A, B, s: (gx, None, gA, gB / s))),
    (
        "The scale is there twice: on the way through A and B it comes once.",
        lambda grad, x, weight, A, B, scale: qlora_gradients(grad, x, weight, A, B, scale**2),
    ),
    (
        "W is turned on the way back: y = x W^T, so the gradient of x is grad W.",
        _gradients(lambda gx, gA, gB, grad, x, W, A, B, s: (grad @ W.T + s * grad @ B @ A, None, gA, gB)),
    ),
    (
        "The gradients of A and B have changed places: first that of A [r, in], then that of B [out, r].",
        _gradients(lambda gx, gA, gB, *rest: (gx, None, gB, gA)),
    ),
    (
        "The gradients of A and B are transposed: each has the shape of its matrix.",
        _gradients(lambda gx, gA, gB, *rest: (gx, None, gA.T, gB.T)),
    ),
    (
        "Return four things: the gradients of x, of W (None), of A and of B.",
        _gradients(lambda gx, gA, gB, *rest: (gx, gA, gB)),
    ),
    (
        "The sign is turned: these are the steps downhill. The optimiser takes care of that.",
        _gradients(lambda gx, gA, gB, *rest: (-gx, None, -gA, -gB)),
    ),
]


EXERCISES = [
    Exercise(
        name="quantize_int8",
        lesson="06",
        minutes=10,
        difficulty=1,
        reference=quantize_int8,
        check=_check_quantize_int8,
        wrong=[
            *((wrong, message) for message, wrong in INT8_MISTAKES),
            (_int8(lambda blocks, scales, x: _rounded(blocks, x.abs().max().view(1, 1))), "One scale"),
            (_other_int8(lambda codes, scales: (codes, scales[:, None])), "here [2], and have [2, 1]"),
            (_other_int8(lambda codes, scales: (codes.float(), scales)), "type int8"),
            (_other_int8(lambda codes, scales: (codes.int(), scales)), "type int8"),
            (_other_int8(lambda codes, scales: (codes, 2 * scales)), "A scale is its block's"),
            (_other_int8(lambda codes, scales: (0 * codes, scales)), "A scale is its block's"),
            (_other_int8(lambda codes, scales: codes), "should be a tuple of 2"),
            (_int8_in_place, "changes its argument x in place"),
            (_zero_by_zero, "block of zeros"),
        ],
        right=[_block_by_block, _zero_scale_becomes_one],
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
            (lambda: e2m1_table()[LAST_BIT], "from the last bit"),
            (lambda: -e2m1_table(), "sign bit is turned"),
            (lambda: e2m1_table().sort().values, "their order is not"),
            (lambda: _table(lambda e, m: 2.0**e * (1 + m / 2) if e else m / 2), "bias"),
            (lambda: e2m1_table().abs(), "sign bit set"),
            (lambda: _table(lambda e, m: 2.0 ** (e - 1) * (1 + m / 4) if e else m / 2), "should be 0, 0.5"),
            (lambda: e2m1_table().tolist(), "should be a tensor"),
            (lambda: torch.zeros(16), "should be 0, 0.5"),
            (lambda: None, "Is there a return"),
        ],
        right=[_written_out, _in_tensors],
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
            *((wrong, message) for message, wrong in PACK_MISTAKES),
            (lambda codes: pack_two_bits(codes).int(), "should be uint8"),
            (lambda codes: pack_two_bits(codes) + 1, "0b00011011"),
            (lambda codes: pack_two_bits(codes[:12]), "should have the shape"),
            (_shifted_in_place, "changes its argument codes in place"),
            (lambda codes: None, "Is there a return"),
        ],
        right=[_by_weights, _byte_by_byte],
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
        check=compare(
            bits_per_weight,
            BITS_INPUTS,
            BITS_MISTAKES,
            else_="It is the code's bits and a scale's bits over block_size.",
        ),
        wrong=[
            (lambda bits, size, double: None, "Is there a return"),
            (lambda bits, size, double: bits_per_weight(4, size, double), "the code's bits and a scale's"),
            (lambda bits, size, double: 4.5, "the code's bits and a scale's"),
        ],
        right=[_of_256_blocks, _in_bytes],
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
        check=compare(
            qlora_gradients,
            _layers,
            GRADIENT_MISTAKES,
            else_="With low = x A^T: y = x W^T + scale * low B^T.",
        ),
        wrong=[
            (_gradients(lambda gx, gA, gB, *rest: (gx, None, gA, gB + 1)), "The result[3][0, 0] should be"),
            (_gradients(lambda gx, gA, gB, *rest: (0 * gx, None, gA, gB)), "With low = x A^T"),
            (_gradients_in_place, "changes its argument grad in place"),
            (lambda *arguments: None, "Is there a return"),
        ],
        right=[_by_autograd, _by_einsum],
        hints=(
            "Two paths lead from x to y: through W, and through A and B. The gradient of x is the sum of "
            "what comes back on both. W is needed for that, though it gets no gradient itself.",
            "low = x @ A.T [n, r]; grad_low = scale * grad @ B [n, r]. Of x: grad @ weight + grad_low @ "
            "A. Of A: grad_low.T @ x. Of B: scale * grad.T @ low.",
        ),
    ),
]
