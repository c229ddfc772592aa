"""Exercises of lesson 14: choosing a setting, a bug hunt, an interval over questions and seeds, break-even,
what is not beaten; in the companion, bytes by rule.
"""

from course_utils.lessons.lesson_14.exercises import (
    break_even_answers,
    bytes_by_rule,
    choose_setting,
    difference_interval,
    not_beaten,
    report_fault,
)

EXERCISES = [
    module.EXERCISE
    for module in (
        choose_setting,
        report_fault,
        difference_interval,
        not_beaten,
        break_even_answers,
        bytes_by_rule,
    )
]
