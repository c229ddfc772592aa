"""Lesson 06, quantize: the quantiser."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import Mistake, compare, expect_tensor
from course_utils.checks.exercises import Exercise
from course_utils.methods.quantization import NF4, quantize


def _weights(blocks, block_size, missing=0):
    """Values whose blocks have their largest magnitude alternately below and above zero."""
    x = 0.8 * torch.randn(blocks, block_size).clamp(-1, 1) * (0.3 + torch.rand(blocks, 1))
    x[:, 0] = 1.5 * x.abs().amax(1) * (1 - 2 * ((torch.arange(blocks) + 1) % 2))
    return x.flatten()[: blocks * block_size - missing]


def _quantize_inputs():
    """NF4; a matrix whose rows are not whole blocks, an unsorted table; an incomplete last block; one."""
    mixed = torch.tensor([0.35, -0.9, 0.0, 0.8, -0.42])
    return [
        (_weights(4, 8), NF4, 8),
        (_weights(6, 4).view(4, 6), mixed, 4),
        (0.1 * _weights(3, 10, missing=3), NF4, 10),
        (_weights(1, 64), NF4, 64),
    ]


def _zeros():
    return [
        (torch.cat([torch.zeros(4), _weights(1, 4)]), NF4, 4),
        (torch.zeros(4), torch.tensor([-1.0, -0.5, 0.5, 1.0, 0.0]), 4),
    ]


def _tiny_and_huge():
    tiny = _weights(1, 4)
    return [(torch.cat([1e-8 * tiny / tiny.abs().max(), 1e6 * _weights(1, 4)]), NF4, 4)]


def _close_to_the_middles():
    """Values on both sides of the midpoints between levels, in fp32, and on the grid of bf16."""
    middles = (NF4[1:] + NF4[:-1]) / 2
    beside = [middles + distance for distance in (-3e-3, -1e-3, -1e-4, 1e-4, 1e-3, 3e-3)]
    x = 0.37 * torch.cat([*beside, torch.tensor([1.0])])
    return [(x, NF4, 91), (x.bfloat16(), NF4, 91)]


def _by(fault):
    """A wrong quantize: fault(blocks, scales as a column, levels, n) -> (codes [blocks, size], scales)."""

    def wrong(x, levels, block_size=64):
        flat = x.detach().float().flatten()
        blocks = F.pad(flat, (0, -len(flat) % block_size)).view(-1, block_size)
        scales = blocks.abs().amax(1, keepdim=True).clamp(min=1e-38)
        codes, scales = fault(blocks, scales, levels)
        return codes.flatten()[: len(flat)].to(torch.uint8), scales.flatten()

    return wrong


def _nearest(scaled, levels):
    return (scaled[..., None] - levels).abs().argmin(-1)


def _exact(blocks):
    return blocks.abs().amax(1)


def _other(change):
    """A wrong quantize: change(right codes, right scales)."""
    return lambda x, levels, block_size=64: change(*quantize(x, levels, block_size))


def _down(blocks, scales, levels):
    """Codes of the level below a value, instead of the nearest."""
    order = levels.argsort()
    below = torch.bucketize(blocks / scales, levels[order], right=True) - 1
    return order[below.clamp(min=0)], scales


def _up(blocks, scales, levels):
    """Codes of the level above a value, instead of the nearest."""
    order = levels.argsort()
    above = torch.bucketize(blocks / scales, levels[order])
    return order[above.clamp(max=len(levels) - 1)], scales


def _guarded(scales):
    """Scales to divide by; one with a minus is taken for that of a block of zeros."""
    return torch.where(scales > 0, scales, 1.0)


def _largest_with_its_sign(blocks):
    return blocks.gather(1, blocks.abs().argmax(1, keepdim=True))


def _ranks(blocks, scales, levels):
    ascending = levels.sort().values
    return torch.bucketize(blocks / scales, (ascending[1:] + ascending[:-1]) / 2), scales


def _middles_of_the_table(blocks, scales, levels):
    return torch.bucketize(blocks / scales, ((levels[1:] + levels[:-1]) / 2).sort().values), scales


def _middles_unsorted(blocks, scales, levels):
    return torch.bucketize(blocks / scales, (levels[1:] + levels[:-1]) / 2), scales


def _middles_unsorted_then_order(blocks, scales, levels):
    codes, scales = _middles_unsorted(blocks, scales, levels)
    return levels.argsort()[codes], scales


def _whole_blocks_only(x, levels, block_size=64):
    flat = x.flatten()
    return quantize(flat[: len(flat) // block_size * block_size], levels, block_size)


def _padded(x, levels, block_size=64):
    flat = x.flatten()
    return quantize(F.pad(flat, (0, -len(flat) % block_size)), levels, block_size)


def _down_the_columns(x, levels, block_size=64):
    blocks = F.pad(x.flatten(), (0, -x.numel() % block_size)).view(block_size, -1).T
    codes, scales = quantize(blocks, levels, block_size)
    return codes.view(-1, block_size).T.flatten()[: x.numel()], scales


def _row_by_row(x, levels, block_size=64):
    rows = x.reshape(-1, x.shape[-1]) if x.dim() > 1 else [x]
    codes, scales = zip(*(quantize(row, levels, block_size) for row in rows), strict=True)
    return torch.cat(codes), torch.cat(scales)


def _padded_with_ones(x, levels, block_size=64):
    flat = x.flatten()
    codes, scales = quantize(F.pad(flat, (0, -len(flat) % block_size), value=1.0), levels, block_size)
    return codes[: len(flat)], scales


def _values(x, levels, block_size=64):
    codes, scales = quantize(x, levels, block_size)
    return levels[codes.int()], scales


def _zero_by_zero(x, levels, block_size=64):
    flat = x.float().flatten()
    blocks = F.pad(flat, (0, -len(flat) % block_size)).view(-1, block_size)
    scales = blocks.abs().amax(1, keepdim=True)
    codes = _nearest((blocks / scales).nan_to_num(nan=1.0), levels)
    return codes.flatten()[: len(flat)].to(torch.uint8), scales.flatten()


def _zeros_as_in_nf4(x, levels, block_size=64):
    codes, scales = quantize(x, levels, block_size)
    return codes.masked_fill((scales == 0).repeat_interleave(block_size)[: len(codes)], 7), scales


def _scales_as_they_come(x, levels, block_size=64):
    codes, scales = quantize(x, levels, block_size)
    return codes, scales.to(x.dtype)


def _with_epsilon(x, levels, block_size=64):
    return _by(lambda b, s, levels: (_nearest(b / (s + 1e-6), levels), s))(x, levels, block_size)


def _in_bf16(x, levels, block_size=64):
    def scaled(blocks, scales):
        return (blocks.bfloat16() / scales.bfloat16()).float()

    return _by(lambda b, s, levels: (_nearest(scaled(b, s), levels), s))(x, levels, block_size)


def _as_it_comes(x, levels, block_size=64):
    """In the dtype of x: right in fp32."""
    blocks = F.pad(x.flatten(), (0, -x.numel() % block_size)).view(-1, block_size)
    scales = blocks.abs().amax(1)
    scaled = blocks / torch.where(scales > 0, scales, 1)[:, None]
    return _nearest(scaled, levels).flatten()[: x.numel()].to(torch.uint8), scales.float()


def _in_place(x, levels, block_size=64):
    scales = quantize(x, levels, block_size)[1]
    each = scales.repeat_interleave(block_size)[: x.numel()].view_as(x)
    x.div_(each)
    return _nearest(x.flatten(), levels).to(torch.uint8), scales


def _block_by_block(x, levels, block_size=64):
    codes, scales = [], []
    for block in x.flatten().split(block_size):
        scale = float(block.abs().max())
        scaled = [value / scale if scale else 0.0 for value in block.tolist()]
        table = levels.tolist()
        codes += [min(range(len(table)), key=lambda i, v=value: abs(table[i] - v)) for value in scaled]
        scales.append(scale)
    return torch.tensor(codes, dtype=torch.uint8), torch.tensor(scales)


DIVIDE_IN_FP32 = (
    "Near the midpoint between two levels, a value gets the wrong code. Divide in fp32: in 16 bits it can be "
    "rounded to the other side."
)
QUANTIZE_MISTAKES = [
    (
        "You use the largest value as the scale. Use the largest magnitude: in a block where -2 is farthest "
        "from zero, the scale is 2.",
        _by(lambda b, s, levels: (_nearest(b / b.amax(1, keepdim=True), levels), b.amax(1, keepdim=True))),
    ),
    (
        "You use the largest value as the scale. Use the largest magnitude: in a block where -2 is farthest "
        "from zero, the scale is 2.",
        _by(
            lambda b, s, levels: (
                _nearest(b / _guarded(b.amax(1, keepdim=True)), levels),
                b.amax(1, keepdim=True),
            )
        ),
    ),
    (
        "You use the largest value as the scale. Use the largest magnitude: in a block where -2 is farthest "
        "from zero, the scale is 2.",
        _by(
            lambda b, s, levels: (
                _nearest(b / b.amax(1, keepdim=True).clamp(min=1e-12), levels),
                b.amax(1, keepdim=True),
            )
        ),
    ),
    (
        "Your scale has a sign. It must be a magnitude: take the absolute value first.",
        _by(
            lambda b, s, levels: (
                _nearest(b / _guarded(_largest_with_its_sign(b)), levels),
                _largest_with_its_sign(b),
            )
        ),
    ),
    (
        "Your scale has a sign. It must be a magnitude: take the absolute value first.",
        _by(lambda b, s, levels: (_nearest(b / s, levels), _largest_with_its_sign(b))),
    ),
    (
        "Your scale has a sign. It must be a magnitude: take the absolute value first.",
        _by(
            lambda b, s, levels: (
                _nearest(b / b.gather(1, b.abs().argmax(1, keepdim=True)), levels),
                b.gather(1, b.abs().argmax(1, keepdim=True)),
            )
        ),
    ),
    (
        "You take the level below a value. Take the nearest: the border between two levels is their "
        "midpoint.",
        _by(_down),
    ),
    (
        "You take the level above a value. Take the nearest: the border between two levels is their "
        "midpoint.",
        _by(_up),
    ),
    (
        "A code is the index of a level in the given table. Yours are indices in the sorted table, but the "
        "given table may be unsorted.",
        _by(_ranks),
    ),
    (
        "You take midpoints between neighbours in the table. Sort the table first: it may be unsorted.",
        _by(_middles_of_the_table),
    ),
    (
        "You take midpoints between neighbours in the table. Sort the table first: it may be unsorted.",
        _by(_middles_unsorted),
    ),
    (
        "You take midpoints between neighbours in the table. Sort the table first: it may be unsorted.",
        _by(_middles_unsorted_then_order),
    ),
    (
        "You use one scale for the whole tensor: a single large weight makes every block coarse. Each block "
        "of block_size weights has its own.",
        _by(lambda b, s, levels: (_nearest(b / s.max(), levels), s.max().expand(len(b), 1))),
    ),
    (
        "The scale is the root mean square of a block, so its largest weights fall outside the table. Use "
        "the largest magnitude.",
        _by(
            lambda b, s, levels: (
                _nearest(b / b.square().mean(1, keepdim=True).sqrt(), levels),
                b.square().mean(1, keepdim=True).sqrt(),
            )
        ),
    ),
    (
        "You do not divide the weights by their scale: the table covers -1 to 1.",
        _by(lambda b, s, levels: (_nearest(b, levels), s)),
    ),
    (
        "You multiply the weights by their scale. Divide, so that they lie between -1 and 1.",
        _by(lambda b, s, levels: (_nearest(b * s, levels), s)),
    ),
    (
        "You lose the signs of the weights before the search.",
        _by(lambda b, s, levels: (_nearest(b.abs() / s, levels), s)),
    ),
    (
        "You return 1 / scale. The scale is the factor of a level.",
        _other(lambda codes, scales: (codes, 1 / scales)),
    ),
    (
        "A block consists of neighbours: flatten, then view(-1, block_size), so that a row is a block.",
        _down_the_columns,
    ),
    (
        "Treat x as one row of n values: a block may begin in one row of a matrix and end in the next.",
        _row_by_row,
    ),
    ("Fill the last block with zeros. Your padding changes its scale.", _padded_with_ones),
    (
        "The scale is the block's largest magnitude, whatever the largest level is.",
        _by(lambda b, s, levels: (_nearest(b / s * levels.abs().max(), levels), s / levels.abs().max())),
    ),
    (
        "The scale of a block of zeros is 0. Divide by another number there, but return the 0.",
        _by(lambda b, s, levels: (_nearest(b / s, levels), torch.where(b.any(1, keepdim=True), s, 1.0))),
    ),
    (
        "A block of zeros gets the code 7, where NF4 has the level 0. Another table has it elsewhere: find "
        "the level nearest to 0.",
        _zeros_as_in_nf4,
    ),
    ("Use the argument block_size as the block length.", lambda x, levels, size=64: quantize(x, levels, 4)),
    (
        "Use the argument levels as the table: it is not always NF4.",
        lambda x, levels, size=64: quantize(x, NF4, size),
    ),
    (DIVIDE_IN_FP32, _in_bf16),
]
QUANTIZE = compare(
    quantize,
    _quantize_inputs,
    QUANTIZE_MISTAKES,
    else_="A scale is its block's largest magnitude; a code is the index of the level nearest to weight / "
    "scale.",
    extremes=[
        ("A block of zeros should get the code of the level 0: zero divided by zero is NaN.", _zeros),
        ("Very small and very large blocks should get the same codes as others.", _tiny_and_huge),
        (DIVIDE_IN_FP32, _close_to_the_middles),
    ],
)


def _check_quantize(fn):
    x, levels, block_size = _quantize_inputs()[2]  # 27 values in blocks of 10
    result = fn(x.clone(), levels, block_size)
    if isinstance(result, tuple | list) and len(result) == 2:
        codes, scales = expect_tensor(result[0], None, "codes"), expect_tensor(result[1], None, "scales")
        if codes.numel() == 3 and scales.numel() == 27:
            raise Mistake("The codes come first, then the scales.")
        if codes.numel() == 20:
            raise Mistake("The last block is incomplete, and its weights are lost. Fill it with zeros.")
        if codes.numel() == 30:
            raise Mistake(
                f"x has 27 values and you return {codes.numel()} codes: cut off the padding's codes."
            )
        if scales.shape == (3, 1):
            raise Mistake("The scales should have the shape [blocks], but have [blocks, 1]: flatten them.")
        if codes.is_floating_point():
            raise Mistake(
                "The codes are floating-point numbers. A code is the index of a level in the table, 0 to 15: "
                "uint8, not the level itself."
            )
        if codes.dtype != torch.uint8:
            raise Mistake(f"The codes should be uint8, a byte each, but are {codes.dtype}.")
        if codes.shape == (3, 10):
            raise Mistake("The codes should be flat, [n].")
        if scales.dtype != torch.float32:
            raise Mistake(f"The scales should be fp32, but are {scales.dtype}.")
    QUANTIZE(fn)
    scales = fn(x.bfloat16(), levels, block_size)[1]
    if scales.dtype != torch.float32:
        raise Mistake(
            f"For x in bf16, the scales should be fp32, too, but are {scales.dtype}: begin with x.float()."
        )


EXERCISE = Exercise(
    name="quantize",
    lesson="06",
    minutes=15,
    difficulty=2,
    reference=quantize,
    check=_check_quantize,
    wrong=[
        *((wrong, message) for message, wrong in QUANTIZE_MISTAKES),
        (_other(lambda codes, scales: (scales, codes)), "The codes come first"),
        (_other(lambda codes, scales: (codes, scales[:, None])), "have [blocks, 1]"),
        (_other(lambda codes, scales: (codes.long(), scales)), "should be uint8"),
        (_values, "not the level itself"),
        (_whole_blocks_only, "its weights are lost"),
        (_padded, "cut off the padding's codes"),
        (_zero_by_zero, "A block of zeros"),
        (_by(lambda b, s, levels: (_nearest(b / s.clamp(min=1e-6), levels), s)), "Very small and very"),
        (_with_epsilon, "Very small and very large blocks"),
        (_as_it_comes, "Divide in fp32"),
        (_other(lambda codes, scales: (codes, scales.bfloat16())), "should be fp32"),
        (_scales_as_they_come, "For x in bf16"),
        (_in_place, "changes its argument x in place"),
        (_other(lambda codes, scales: (codes, 2 * scales)), "A scale is its block's"),
        (_other(lambda codes, scales: codes), "should be a tuple of 2"),
        (lambda x, levels, block_size=64: None, "Is there a return"),
    ],
    right=[
        _block_by_block,
        _by(lambda blocks, scales, levels: (_nearest(blocks / scales, levels), _exact(blocks))),
    ],
    hints=(
        "Divide each block by its largest magnitude, and every weight lies between -1 and 1, where the "
        "levels are. The code is the index of the nearest level.",
        "x.float().flatten(), padded with zeros to whole blocks, view(-1, block_size). "
        "scales = blocks.abs().amax(1). Divide (a block of zeros has the scale 0). Sort the table, count the "
        "midpoints between levels that lie below a value with bucketize, and map indices in the sorted "
        "table back by argsort's order. Cut off the padding.",
    ),
    then="From here on your function quantises every matrix. Run the cells below again.",
)
