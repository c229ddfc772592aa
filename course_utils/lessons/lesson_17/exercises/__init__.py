"""Exercises of lesson 17: bad lines, truncation, word overlap, a split and its leaks, an interval."""

from course_utils.lessons.lesson_17.exercises import (
    bad_lines,
    cut_answers,
    held_out_rows,
    leak_of,
    weighted_overlap,
    wilson_interval,
)

EXERCISES = [
    module.EXERCISE
    for module in (bad_lines, weighted_overlap, cut_answers, held_out_rows, leak_of, wilson_interval)
]
