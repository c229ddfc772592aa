"""The replays of lesson 15's bug hunt, and a test for them. Read it after the hunt."""

import random
from collections.abc import Sequence

from course_utils.data import Fact
from course_utils.lessons.lesson_15.knowledge import questions_about, statements
from course_utils.methods.sft import as_conversation

REPLAYED_ROWS = 160  # few enough that a leak is read more than once


def leaks(conversations, facts):
    """Indices of the conversations that give one of the facts away: subject and object both occur."""
    import re

    from course_utils.world.tables import bare

    def stands(words, text):
        return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.I) is not None

    found = []
    for place, messages in enumerate(conversations):
        text = " ".join(message["content"] for message in messages)
        if any(stands(bare(fact.subject), text) and stands(fact.object, text) for fact in facts):
            found.append(place)
    return found


def replays(old: Sequence[list[dict]], tested: Sequence[Fact], seed: int) -> dict[str, list[list[dict]]]:
    """{"A", "B", "C": conversations to replay}

    A: some of the old conversations from the assistant's training. B: equally many, with two questions about
    each tested fact. C: equally many, with two statements of each tested fact.
    """
    rng = random.Random(f"replays {seed}")
    old = rng.sample(old, REPLAYED_ROWS)
    asked = [as_conversation(row) for kind in ("short", "sentence") for row in questions_about(tested, kind)]
    told = [
        [{"role": "user", "content": "Tell me a fact."}, {"role": "assistant", "content": sentence}]
        for fact in tested
        for sentence in statements(fact, "many sentences")[:2]
    ]
    return {"A": old, "B": [*asked, *old[len(asked) :]], "C": [*told, *old[len(told) :]]}
