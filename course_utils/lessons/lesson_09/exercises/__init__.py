"""Exercises of lesson 09: the loss of a mixture and its shares, answers without an end, answering or
refusing, a full context; in its companion, paired errors.
"""

from course_utils.lessons.lesson_09.exercises import (
    fit_context,
    loss_share,
    paired_difference,
    selective_accuracy,
    sft_loss,
    why_no_end,
)

EXERCISES = [
    module.EXERCISE
    for module in (sft_loss, why_no_end, loss_share, selective_accuracy, fit_context, paired_difference)
]
