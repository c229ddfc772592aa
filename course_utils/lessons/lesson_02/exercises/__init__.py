"""Exercises of lesson 02, parts of a training loop and a test for others' loops, and of its companion."""

from course_utils.lessons.lesson_02.exercises import (
    accumulated_step,
    adamw_step,
    interpolate_weights,
    train_step,
    warmup_cosine,
    which_fault,
)

EXERCISES = [
    module.EXERCISE
    for module in (accumulated_step, adamw_step, train_step, which_fault, interpolate_weights, warmup_cosine)
]
