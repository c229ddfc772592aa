"""Lesson 07, keys_and_values: keys and values."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.prompt_tuning import keys_and_values


def _flat(layers, heads, size, length):
    return torch.randn(length, layers * 2 * heads * size), layers, heads


def _split(view, *order):
    """A wrong keys_and_values: a wrong view, permuted to the right shape."""
    return lambda prefix, layers, heads: view(prefix, layers, heads).permute(*order)


def _by_indexing(prefix, layers, heads):
    parts = [[half.chunk(heads, 1) for half in layer.chunk(2, 1)] for layer in prefix.chunk(layers, 1)]
    return torch.stack([torch.stack([torch.stack(half) for half in layer]) for layer in parts])


def _tokens_moved(prefix, layers, heads):
    size = prefix.shape[1] // (2 * layers * heads)
    return prefix.reshape(-1, layers, 2, heads, size).movedim(0, 3)


SHAPE = "Split a token's values into layers, 2, heads, head size, in that order, then move the tokens."
KEYS_MISTAKES = [
    (
        "Swap heads and tokens: attention works on [heads, tokens, head size].",
        lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).transpose(2, 3),
    ),
    (
        "The layers come first, then keys and values.",
        lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).transpose(0, 1),
    ),
    (
        "You put the heads before keys and values: the result is [layers, 2, heads, P, head size].",
        lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).transpose(1, 2),
    ),
    (
        "You put the heads before keys and values: the result is [layers, 2, heads, P, head size].",
        _split(lambda prefix, layers, heads: prefix.view(len(prefix), layers, heads, 2, -1), 1, 2, 3, 0, 4),
    ),
    (
        "You split a layer's values into heads first, then into keys and values. Their order is the other "
        "way round: the keys of all heads, then the values of all heads.",
        _split(lambda prefix, layers, heads: prefix.view(len(prefix), layers, heads, 2, -1), 1, 3, 2, 0, 4),
    ),
    (
        "The shape is right but the values are scrambled: view reads the numbers in memory order, where the "
        "token comes first. Split the last dimension first, then permute.",
        lambda prefix, layers, heads: prefix.view(layers, 2, heads, len(prefix), -1),
    ),
    (
        "Keys and values are swapped: index 0 of the second dimension is the keys.",
        lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).flip(1),
    ),
    (
        "You read a token's values as all keys, then all values. They are stored layer by layer: keys and "
        "values of layer 0, then those of layer 1.",
        _split(lambda prefix, layers, heads: prefix.view(len(prefix), 2, layers, heads, -1), 2, 1, 3, 0, 4),
    ),
    (
        "Within keys or values, the heads follow one another: split into [heads, head size], not [head size, "
        "heads].",
        _split(lambda prefix, layers, heads: prefix.view(len(prefix), layers, 2, -1, heads), 1, 2, 4, 0, 3),
    ),
    (
        "You put the tokens first. They belong between heads and head size: permute.",
        lambda prefix, layers, heads: prefix.view(len(prefix), layers, 2, heads, -1),
    ),
]

EXERCISE = Exercise(
    name="keys_and_values",
    lesson="07",
    minutes=10,
    difficulty=3,
    reference=keys_and_values,
    check=compare(
        keys_and_values,
        lambda: [_flat(3, 4, 5, 6), _flat(4, 5, 3, 7), _flat(5, 3, 4, 1)],
        KEYS_MISTAKES,
        else_=SHAPE,
        gradient=("prefix",),
    ),
    wrong=[
        (lambda prefix, layers, heads: keys_and_values(prefix, layers, heads) + 1, SHAPE),
        (lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).detach(), "has no graph"),
        (
            lambda prefix, layers, heads: prefix.view(-1, 3, 2, 4, 5).permute(1, 2, 3, 0, 4),
            "The result should have the shape",
        ),
        (
            lambda prefix, layers, heads: keys_and_values(prefix.zero_(), layers, heads),
            "changes its argument prefix in place",
        ),
    ],
    right=[_by_indexing, _tokens_moved],
    then="The prefix below uses your function: run the cells below again.",
    hints=(
        "Each token has its own row. Split the row from the outside in: layers, keys and values, heads, and "
        "head size. Only then move the tokens to their place.",
        "prefix.view(P, layers, 2, heads, -1), then permute so that dimensions 1, 2, 3 come first, 0 "
        "(the tokens) next, 4 last: [layers, 2, heads, P, head size].",
    ),
)
