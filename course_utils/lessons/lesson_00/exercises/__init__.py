"""Exercises of lesson 00: the next token, a text, the rules of sampling; in its companion an attention head,
a leak, min-p."""

from course_utils.lessons.lesson_00.exercises import (
    append_tokens,
    attention_head,
    filter_logits,
    greedy_next_token,
    min_p_filter,
    sees_future,
)

EXERCISES = [
    module.EXERCISE
    for module in (greedy_next_token, append_tokens, filter_logits, attention_head, sees_future, min_p_filter)
]
