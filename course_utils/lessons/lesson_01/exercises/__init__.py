"""Exercises of lesson 01: how far weights move, the loss of a language model, perplexity, a double shift."""

from course_utils.lessons.lesson_01.exercises import (
    batch_perplexity,
    library_loss,
    relative_change,
    token_losses,
)

EXERCISES = [module.EXERCISE for module in (relative_change, token_losses, batch_perplexity, library_loss)]
