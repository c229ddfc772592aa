"""Exercises of lesson 04: the best cut, a whole model cut, energy; of its companion subspaces, a sketch."""

from course_utils.lessons.lesson_04.exercises import (
    RankCut,
    best_rank,
    energy_curve,
    sketch_transpose,
    subspace_similarity,
)

EXERCISES = [
    module.EXERCISE for module in (best_rank, RankCut, energy_curve, subspace_similarity, sketch_transpose)
]
