"""Exercises of lesson 18: verifiable rewards and GRPO. The solutions are the package's own functions."""

from course_utils.lessons.lesson_18.exercises import (
    group_advantages,
    group_fault,
    grpo_loss,
    pass_at_k,
    token_weights,
)

EXERCISES = [
    module.EXERCISE for module in (pass_at_k, group_advantages, grpo_loss, group_fault, token_weights)
]
