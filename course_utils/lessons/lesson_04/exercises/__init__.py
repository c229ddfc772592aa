"""Exercises of lesson 04: energy, the best cut, cutting a whole model, subspaces, a count-sketch."""

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
