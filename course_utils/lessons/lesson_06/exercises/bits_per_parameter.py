"""Lesson 06's companion, bits_per_parameter: bits a weight."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.quantization import bits_per_parameter

BITS_INPUTS = [(4, 64, False), (4, 64, True), (3, 32, True), (8, 4096, False), (4, 128, True), (2, 256, True)]


def _scale_bits(plain, double):
    """A wrong bits_per_parameter: functions from block size to a scale's bits, plain and double."""
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
    ("You count only the code. Every block also has a scale.", lambda bits, size, double: bits),
    (
        "The block_size weights of a block share the 32 bits of its scale.",
        lambda bits, size, double: bits + (8 + 32 / 256 if double else 32),
    ),
    (
        "The block_size weights of a block share the 32 bits of its scale.",
        lambda bits, size, double: bits + 32,
    ),
    ("A scale in fp32 has 32 bits, not 16.", _scale_bits(lambda size: 16, lambda size: 8 + 16 / 256)),
    ("A scale in fp32 has 32 bits, not 16.", lambda bits, size, double: bits + 16 / size),
    (
        "Each weight has its own code: only the scale is shared.",
        lambda bits, size, double: (bits + (8 + 32 / 256 if double else 32)) / size,
    ),
    (
        "double is inverted: double = False means plain scales.",
        lambda bits, size, double: bits_per_parameter(bits, size, not double),
    ),
    ("Double quantisation has no effect.", lambda bits, size, double: bits_per_parameter(bits, size, False)),
    (
        "The scales' own scales are missing: 32 bits for every 256 scales.",
        _scale_bits(lambda size: 32, lambda size: 8),
    ),
    (
        "256 scales share a second scale, and each of them is shared by block_size weights.",
        _scale_bits(lambda size: 32, lambda size: 8 + 32 / 256 * size),
    ),
    ("256 scales share a second scale.", _scale_bits(lambda size: 32, lambda size: 8 + 32)),
    (
        "With double quantisation, a scale's code replaces its 32 bits. It is not added to them.",
        _scale_bits(lambda size: 32, lambda size: 32 + 8 + 32 / 256),
    ),
    (
        "The bits of a code and the block size are arguments: you always use 4 and 64.",
        lambda bits, size, double: bits_per_parameter(4, 64, double),
    ),
    (
        "These are bytes: a byte has 8 bits.",
        lambda bits, size, double: bits_per_parameter(bits, size, double) / 8,
    ),
]

EXERCISE = Exercise(
    name="bits_per_parameter",
    lesson="06m",
    minutes=5,
    difficulty=1,
    reference=bits_per_parameter,
    check=compare(
        bits_per_parameter,
        BITS_INPUTS,
        BITS_MISTAKES,
        else_="It is the code's bits plus a scale's bits divided by block_size.",
    ),
    wrong=[
        (lambda bits, size, double: None, "Is there a return"),
        (lambda bits, size, double: bits_per_parameter(4, size, double), "the code's bits plus a scale's"),
        (lambda bits, size, double: 4.5, "the code's bits plus a scale's"),
    ],
    right=[_of_256_blocks, _in_bytes],
    hints=(
        "Count the stored bits of one block, and divide by its number of weights.",
        "Plain: bits + 32 / block_size. Double: instead of 32 bits, the scale has 8 bits and 1/256 of the "
        "second scale's 32 bits.",
    ),
)
