"""Lesson 04, subspace_similarity: similarity of subspaces."""

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_04.exercises.shared import orthonormal
from course_utils.methods.lora_analysis import subspace_similarity


def _subspaces():
    """Orthogonal subspaces; one within the other; random ones, with the second or the first larger."""
    axes, turned = torch.eye(10), orthonormal(3, 3)
    whole = orthonormal(9, 4)
    return [
        (axes[:, :3], axes[:, 3:6]),
        (whole[:, 1:] @ turned, whole),
        (orthonormal(10, 3), orthonormal(10, 5)),
        (orthonormal(12, 4), orthonormal(12, 2)),
    ]


def _similarity(fault):
    """A wrong subspace_similarity: fault(cosines [i, j], i, j)."""
    return lambda first, second: fault(first.T @ second, first.shape[1], second.shape[1])


def _wrong_sides(first, second):
    return (first @ second.T).square().sum() / min(first.shape[1], second.shape[1])


def _one_by_one(first, second):
    k = min(first.shape[1], second.shape[1])
    return (first[:, :k] * second[:, :k]).sum(0).square().sum() / k


def _of_space(first, second):
    return (first.T @ second).square().sum() / len(first)


def _by_projectors(first, second):
    return torch.trace(first @ first.T @ second @ second.T) / min(first.shape[1], second.shape[1])


def _by_loops(first, second):
    columns = [(u, v) for u in first.numpy().T for v in second.numpy().T]
    return sum(float(np.dot(u, v)) ** 2 for u, v in columns) / min(first.shape[1], second.shape[1])


SIMILARITY_MISTAKES = [
    (
        "You give two subspaces without a common direction the similarity 1. first @ second.T multiplies the "
        "wrong sides; the cosines between directions are first.T @ second, [i, j].",
        _wrong_sides,
    ),
    (
        "You divide by the larger dimension. A subspace that lies within a larger one has the similarity 1: "
        "divide by the smaller dimension.",
        _similarity(lambda cosines, i, j: cosines.square().sum() / max(i, j)),
    ),
    (
        "You divide by the dimension of the first. Divide by the smaller dimension.",
        _similarity(lambda cosines, i, j: cosines.square().sum() / i),
    ),
    (
        "You divide by the dimension of the second. Divide by the smaller dimension.",
        _similarity(lambda cosines, i, j: cosines.square().sum() / j),
    ),
    (
        "You do not divide the sum of squares. Its maximum is min(i, j): divide by that.",
        _similarity(lambda cosines, i, j: cosines.square().sum()),
    ),
    ("You divide by the dimension of the space. Divide by min(i, j).", _of_space),
    (
        "You take the mean over all pairs. Divide the sum of squares by min(i, j).",
        _similarity(lambda cosines, i, j: cosines.square().mean()),
    ),
    (
        "You add the cosines, not their squares. Only the squares of the cosines "
        "of a direction with orthonormal ones sum to at most 1.",
        _similarity(lambda cosines, i, j: cosines.abs().sum() / min(i, j)),
    ),
    (
        "You add the cosines, not their squares. Only the squares of the cosines "
        "of a direction with orthonormal ones sum to at most 1.",
        _similarity(lambda cosines, i, j: cosines.sum() / min(i, j)),
    ),
    (
        "You divide the norm. Divide the squared norm.",
        _similarity(lambda cosines, i, j: cosines.norm() / min(i, j)),
    ),
    (
        "This is the root of the value: divide the squared norm, without a root.",
        _similarity(lambda cosines, i, j: (cosines.square().sum() / min(i, j)).sqrt()),
    ),
    (
        "You compare direction k only with direction k. A subspace has no order: compare all pairs, U^T V.",
        _one_by_one,
    ),
    (
        "Return one number. Add the squares of all entries of first.T @ second.",
        _similarity(lambda cosines, i, j: cosines.square()),
    ),
    (
        "Return one number. Add the squares of all entries of first.T @ second.",
        _similarity(lambda cosines, i, j: cosines.square() / min(i, j)),
    ),
]

EXERCISE = Exercise(
    name="subspace_similarity",
    lesson="04m",
    minutes=10,
    difficulty=2,
    reference=subspace_similarity,
    check=compare(
        subspace_similarity,
        _subspaces,
        SIMILARITY_MISTAKES,
        else_="It is the sum of the squares of first.T @ second, divided by the smaller number of columns.",
    ),
    wrong=[
        (lambda first, second: None, "Is there a return"),
        (lambda first, second: 1 - subspace_similarity(first, second), "the sum of the squares"),
        (lambda first, second: 0.0, "the sum of the squares"),
        (lambda first, second: subspace_similarity(first, second[:, :3]), "the sum of the squares"),
    ],
    right=[
        _by_projectors,
        _by_loops,
        _similarity(lambda cosines, i, j: torch.linalg.svdvals(cosines).square().mean()),
    ],
    hints=(
        "first.T @ second contains the cosine of every direction of one subspace with every direction of the "
        "other. The squares of a row sum to the share of that direction that lies within the other "
        "subspace.",
        "first [n, i], second [n, j], cosines [i, j]. Add all squares and divide by min(i, j): at most all "
        "directions of the smaller subspace lie within the larger one.",
    ),
)
