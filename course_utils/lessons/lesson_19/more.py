"""Lesson 19's companion: importing `check` or `claim` from here tells progress its key."""

from course_utils.checks.exercises import of_lesson


def __getattr__(name: str):
    return of_lesson(__name__, name)
