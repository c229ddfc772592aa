"""Exercises of lesson 13, direct preference optimisation, and last its companion's."""

from course_utils.lessons.lesson_13.exercises import (
    answer_log_probs,
    dpo_loss,
    frozen_copy,
    kto_loss,
    orpo_loss,
    scored_fault,
)

EXERCISES = [
    module.EXERCISE for module in (frozen_copy, answer_log_probs, dpo_loss, scored_fault, orpo_loss, kto_loss)
]
