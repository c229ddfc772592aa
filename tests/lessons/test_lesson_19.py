"""Lesson 19: right answers to its exercises pass, and wrong ones get their own message."""

import pytest
from helpers import draws_of, feed


@pytest.mark.parametrize("exercise, seed", draws_of("19"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)
