"""Exercises of lesson 05: an adapter on disk, a batch of several adapters, sums, cutting a sum."""

from course_utils.lessons.lesson_05.exercises import cut_product, mixed_lora, save_adapter, stacked_sum

EXERCISES = [module.EXERCISE for module in (save_adapter, mixed_lora, stacked_sum, cut_product)]
