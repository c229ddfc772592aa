"""Exercises of lesson 10: the pair loss, the last real token, the score read there."""

from course_utils.lessons.lesson_10.exercises import bradley_terry_loss, last_token, score

EXERCISES = [module.EXERCISE for module in (bradley_terry_loss, last_token, score)]
