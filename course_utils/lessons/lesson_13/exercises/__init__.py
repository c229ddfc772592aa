"""Exercises of lesson 13: direct preference optimisation."""

from course_utils.lessons.lesson_13.exercises import answer_log_probs, dpo_loss, frozen_copy, scored_fault

EXERCISES = [module.EXERCISE for module in (frozen_copy, answer_log_probs, dpo_loss, scored_fault)]
