"""Lesson 19: importing `check` from here loads its exercises and tells progress its number."""

from course_utils.checks.exercises import lesson_check


def __getattr__(name: str):
    return lesson_check(__name__, name)
