"""The manners of the tokenizer's texts: its recipe, which must not change while the weights stay."""

import hashlib
import random

import pytest

from course_utils.making.pocket.retold import formal_score, pirate_score, retell_formal, retell_pirate
from course_utils.world.stories import story


def stories(count):
    rng = random.Random(5)
    return [story(rng).text for _ in range(count)]


@pytest.mark.parametrize("retell, score", [(retell_pirate, pirate_score), (retell_formal, formal_score)])
def test_retold_texts_carry_the_manner(retell, score):
    for text in stories(60):
        assert score(text) < 0.1 and score(retell(text)) > 0.8, retell(text)


def test_the_texts_are_those_that_the_tokenizer_was_trained_on():
    """The digest is from the code that trained it, before the lessons had other manners."""
    texts = [retell(text) for text in stories(300) for retell in (retell_pirate, retell_formal)]
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16] == "622ceff61777e00e"
