"""Lesson 16: right answers to its exercises pass, wrong ones get their own message; the bug hunt's script."""

import pytest
import torch
from helpers import draws_of, feed, tiny_model

from course_utils.lessons.lesson_16.exercises.script_fault import script_fault
from course_utils.lessons.lesson_16.suspects import log_of_script


@pytest.mark.parametrize("exercise, seed", draws_of("16"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


def test_the_script_divides_wrongly_and_does_the_rest_right():
    ids = torch.arange(24).view(4, 6)
    labels = ids.clone()
    labels[::2, :4] = -100  # process 0 has fewer target tokens
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    log = log_of_script(tiny_model(), batch, 2)
    assert script_fault(**log) == "division"
    assert script_fault(**log | {"divisors": [sum(log["tokens"])] * 2}) == "right"
