"""Exercises of lesson 19: the KL of a token, two steps, who wrote it; of its companion: the later KL."""

from course_utils.lessons.lesson_19.exercises import (
    distillation_step,
    later_kl,
    sampled_loss,
    token_kl,
    writer_of,
)

EXERCISES = [module.EXERCISE for module in (token_kl, distillation_step, sampled_loss, writer_of, later_kl)]
