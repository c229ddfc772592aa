"""Lesson 06, bits_per_parameter: bits a weight (optional)."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.quantization import bits_per_parameter

BITS_INPUTS = [(4, 64, False), (4, 64, True), (3, 32, True), (8, 4096, False), (4, 128, True), (2, 256, True)]


def _scale_bits(plain, double):
    """A wrong bits_per_parameter: a scale's bits from the block's size, plain and double."""
    return lambda bits, block_size, twice: bits + (double if twice else plain)(block_size) / block_size


def _of_256_blocks(bits=4, block_size=64, double=True):
    weights = 256 * block_size
    held = weights * bits + 256 * (8 if double else 32)
    if double:
        held += 32
    return torch.tensor(held / weights)


def _in_bytes(bits=4, block_size=64, double=True):
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
        "double is turned: plain scales are those with double = False.",
        lambda bits, size, double: bits_per_parameter(bits, size, not double),
    ),
    (
        "Double quantisation makes no difference in yours.",
        lambda bits, size, double: bits_per_parameter(bits, size, False),
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
        lambda bits, size, double: bits_per_parameter(4, 64, double),
    ),
    (
        "These are bytes: 8 bits are one.",
        lambda bits, size, double: bits_per_parameter(bits, size, double) / 8,
    ),
]

EXERCISE = Exercise(
    name="bits_per_parameter",
    lesson="06",
    minutes=5,
    difficulty=1,
    reference=bits_per_parameter,
    check=compare(
        bits_per_parameter,
        BITS_INPUTS,
        BITS_MISTAKES,
        else_="It is the code's bits and a scale's bits over block_size.",
    ),
    wrong=[
        (lambda bits, size, double: None, "Is there a return"),
        (lambda bits, size, double: bits_per_parameter(4, size, double), "the code's bits and a scale's"),
        (lambda bits, size, double: 4.5, "the code's bits and a scale's"),
    ],
    right=[_of_256_blocks, _in_bytes],
    hints=(
        "Count for one block what is stored, and divide by the number of its weights.",
        "Plain: bits + 32 / block_size. Double: the scale has 8 bits, and 1/256 of 32 bits for the "
        "second scale, in place of 32.",
    ),
)
