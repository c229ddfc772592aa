"""Exercises of lesson 08: the encoder, a bug hunt, last answers; of its companion packing, parsing."""

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
