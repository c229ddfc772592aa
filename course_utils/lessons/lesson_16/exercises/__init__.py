"""Exercises of lesson 16: rows and losses of several processes, a ring, a bug hunt, bytes and FLOP."""

from course_utils.lessons.lesson_16.exercises import (
    bytes_on_card,
    process_loss,
    ring_all_reduce,
    rows_of_process,
    script_fault,
    training_flop,
)

EXERCISES = [
    module.EXERCISE
    for module in (rows_of_process, script_fault, process_loss, ring_all_reduce, bytes_on_card, training_flop)
]
