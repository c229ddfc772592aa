"""Exercises of lesson 07: a prompt from words, one before a batch, a script's fault, a prefix's layout."""

from course_utils.lessons.lesson_07.exercises import (
    keys_and_values,
    prompt_fault,
    start_from_words,
    with_prompt,
)

EXERCISES = [module.EXERCISE for module in (start_from_words, with_prompt, prompt_fault, keys_and_values)]
