"""Exercises of lesson 19: the KL of a token, the on-policy step, the later KL, who wrote it."""

from course_utils.lessons.lesson_19.exercises import distillation_step, later_kl, token_kl, writer_of

EXERCISES = [module.EXERCISE for module in (token_kl, distillation_step, writer_of, later_kl)]
