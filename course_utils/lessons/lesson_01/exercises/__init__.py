"""Exercises of lesson 01: the loss of a language model, perplexity, how far weights move, a double shift."""

from course_utils.lessons.lesson_01.exercises import (
    batch_perplexity,
    library_loss,
    relative_change,
    token_losses,
)

EXERCISES = [module.EXERCISE for module in (token_losses, batch_perplexity, relative_change, library_loss)]
