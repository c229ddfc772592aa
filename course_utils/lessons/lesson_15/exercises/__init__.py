"""Exercises of lesson 15 and its companion: confident errors, BM25, a threshold, leaks; a loss, a split."""

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
    for module in (confident_errors, bm25_scores, choose_threshold, leaks, contrastive_loss, split_by_country)
]
