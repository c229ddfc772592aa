"""Lesson 04, energy_curve: the energy curve."""

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.lora_analysis import energy_curve


def _spectra():
    """Singular values, largest first: fixed ones, some with trailing zeros, large ones, a single one."""
    drawn = (1 + torch.rand(5)).cumsum(0).flip(0) / 3
    return [
        (torch.tensor([4.0, 2.0, 2.0, 1.0]),),
        (torch.cat([drawn, torch.zeros(2)]),),
        (1000 * drawn[:3],),
        (drawn[:1],),
    ]


def _energy_in_place(singular_values):
    energy = singular_values.square_().cumsum(0)
    return energy / energy[-1]


def _energy_one_by_one(singular_values):
    total, held = sum(value**2 for value in singular_values), 0.0
    shares = []
    for value in singular_values:
        held = held + value**2
        shares.append(held / total)
    return torch.stack(shares)


def _energy_in_numpy(singular_values):
    squares = singular_values.numpy() ** 2
    return torch.from_numpy(np.cumsum(squares) / np.sum(squares))


ENERGY_MISTAKES = [
    (
        "These are sums of singular values. Energy is the sum of their "
        "squares: only the squares add up to the squared norm of the matrix.",
        lambda s: s.cumsum(0) / s.sum(),
    ),
    (
        "This is the share of each direction alone. The curve is cumulative: the first, the first two, ..., "
        "all of them.",
        lambda s: s**2 / (s**2).sum(),
    ),
    ("The curve ends at the squared norm. Divide by it, so that it ends at 1.", lambda s: (s**2).cumsum(0)),
    (
        "This is the share of the norm. Energy is the share of the squared norm: no root.",
        lambda s: energy_curve(s).sqrt(),
    ),
    (
        "This is the energy without the first k. Return the energy of the first k.",
        lambda s: 1 - energy_curve(s),
    ),
    (
        "You add before you square. Square each value first: (4 + 2)**2 is not 4**2 + 2**2.",
        lambda s: s.cumsum(0) ** 2 / s.sum() ** 2,
    ),
    (
        "You divide by the square of the sum. Divide by the sum of the squares, so that the curve ends at 1.",
        lambda s: (s**2).cumsum(0) / s.sum() ** 2,
    ),
    (
        "You add up squares but divide by the sum of the values. Divide by the sum of the squares.",
        lambda s: (s**2).cumsum(0) / s.sum(),
    ),
    (
        "You divide by the largest square. Divide by the sum of all squares, so that the curve ends at 1.",
        lambda s: (s**2).cumsum(0) / s[0] ** 2,
    ),
    (
        "You add from the smallest end. The values come largest first: keep that order.",
        lambda s: (s**2).flip(0).cumsum(0) / (s**2).sum(),
    ),
]

EXERCISE = Exercise(
    name="energy_curve",
    lesson="04",
    minutes=5,
    difficulty=1,
    reference=energy_curve,
    check=compare(
        energy_curve,
        _spectra,
        ENERGY_MISTAKES,
        else_="Entry k is the sum of the first k + 1 squares divided by the sum of all squares.",
    ),
    wrong=[
        (_energy_in_place, "changes its argument singular_values in place"),
        (lambda s: None, "Is there a return"),
        (lambda s: energy_curve(s).tolist(), "should be a tensor"),
        (lambda s: energy_curve(s)[:-1], "should have the shape [4]"),
        (lambda s: torch.zeros_like(s), "sum of all squares"),
        (lambda s: torch.tensor([0.64, 0.8, 0.96, 1.0]), "should have the shape"),
    ],
    right=[_energy_one_by_one, _energy_in_numpy],
    hints=(
        "A matrix is a sum of orthogonal rank-one pieces, so their squared norms add up (Pythagoras). Piece "
        "k has the squared norm s_k**2.",
        "singular_values is [n], largest first. Square, add up with cumsum(0), divide by the last "
        "entry. The result is [n] and ends at 1.",
    ),
)
