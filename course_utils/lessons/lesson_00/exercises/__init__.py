"""Exercises of lesson 00: the next token, the rules of sampling, min-p, an attention head, a leak."""

from course_utils.lessons.lesson_00.exercises import (
    attention_head,
    filter_logits,
    greedy_next_token,
    min_p_filter,
    sees_future,
)

EXERCISES = [
    module.EXERCISE
    for module in (greedy_next_token, filter_logits, min_p_filter, attention_head, sees_future)
]
