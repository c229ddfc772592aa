"""Exercises of lesson 15: confident errors, leaks, BM25, an embedding's loss, a threshold, a split."""

from course_utils.lessons.lesson_15.exercises import (
    bm25_scores,
    choose_threshold,
    confident_errors,
    contrastive_loss,
    leaks,
    split_by_country,
)

EXERCISES = [
    module.EXERCISE
    for module in (confident_errors, bm25_scores, choose_threshold, contrastive_loss, leaks, split_by_country)
]
