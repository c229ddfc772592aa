"""Exercises of lesson 06: the 4-bit quantiser, terms of the loss, the layer's passes; of 06m: bits."""

from course_utils.lessons.lesson_06.exercises import QuantizedMatmul, bits_per_parameter, loss_terms, quantize

EXERCISES = [module.EXERCISE for module in (quantize, loss_terms, QuantizedMatmul, bits_per_parameter)]
