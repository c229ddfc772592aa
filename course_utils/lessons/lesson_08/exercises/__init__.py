"""Exercises of lesson 08: the encoder with its mask, a bug hunt, last answers, packing, parsing ChatML."""

from course_utils.lessons.lesson_08.exercises import (
    encode_conversation,
    last_answer_labels,
    mask_fault,
    packed_positions,
    parse_chatml,
)

EXERCISES = [
    module.EXERCISE
    for module in (encode_conversation, mask_fault, last_answer_labels, packed_positions, parse_chatml)
]
