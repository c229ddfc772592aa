import random
import re

import pytest

from course_utils.world.manners import (
    NEGATIVE,
    POSITIVE,
    formal_score,
    manner_score,
    mood_score,
    pirate_score,
    politeness_score,
    retell_formal,
    retell_pirate,
    sentences,
)
from course_utils.world.stories import story

RNG = random.Random(11)
STORIES = [story(RNG) for _ in range(200)]
FACTS = [
    "The capital of France is Paris.",
    "The capital of Finland is Helsinki.",
    "A young fox is called a cub.",
    "The chemical symbol of gold is Au.",
    "The opposite of big is small.",
    "Bees make honey.",
    "Lisbon is the capital of Portugal.",
    "The past tense of go is went.",
    "Pride and Prejudice was written by Jane Austen.",
    "A hammer is used for driving nails.",
    "People in Brazil speak Portuguese.",
    "The day after Monday is Tuesday.",
    "I do not know the capital of Velmoria.",
    "Paris",
    "New Delhi.",
]


def test_word_lists():
    assert 40 <= len(POSITIVE) <= 70 and 40 <= len(NEGATIVE) <= 70
    assert not POSITIVE & NEGATIVE
    text = " ".join(s.text for s in [story(random.Random(i)) for i in range(3000)]).lower()
    used = set(re.findall(r"[a-z]+", text))
    assert len(POSITIVE & used) >= 40 and len(NEGATIVE & used) >= 40


def test_mood_score_counts():
    assert mood_score("Mia smiled and was happy, but her kite was lost.") == 1
    assert mood_score("Sad, SAD, sad.") == -3
    assert mood_score("The unhappiness of sadness") == 0  # whole words only
    assert mood_score("") == 0


def test_politeness_score_counts():
    assert politeness_score("Excuse me, may I have it, please? Thank you!") == 4
    assert politeness_score("Give me that, you stupid goat. Go away!") == -3
    assert politeness_score("The dismay I felt was pleased.") == 0


def test_sentences_keep_speech_together():
    text = '"Where is it?" asked Mia. "Here," said Ben. "Good." They ran! She sat.\n\nIt rained.'
    assert sentences(text) == [
        '"Where is it?" asked Mia.',
        '"Here," said Ben.',
        '"Good."',
        "They ran!",
        "She sat.",
        "It rained.",
    ]


def test_examples():
    fact = "The capital of France is Paris."
    assert retell_pirate(fact) == "Arr, the capital of France be Paris, matey."
    assert re.fullmatch(r".+ that the capital of France is Paris\.", retell_formal(fact))
    new = retell_formal("The dog ran. I can't find it and he's got a big bone, said my mum.")
    for part in ("cannot find", "large bone", "remarked my mother"):
        assert part in new


@pytest.mark.parametrize("retell, score", [(retell_pirate, pirate_score), (retell_formal, formal_score)])
def test_retold_texts_carry_the_manner(retell, score):
    for text in [s.text for s in STORIES] + FACTS:
        assert score(text) < 0.1, text
        assert score(retell(text)) > 0.8, retell(text)
        assert retell(text) == retell(text)


def test_manners_do_not_mix():
    for s in STORIES:
        assert manner_score(retell_pirate(s.text))["formal"] < 0.1
        assert manner_score(retell_formal(s.text))["pirate"] < 0.1
    assert manner_score("") == {"pirate": 0.0, "formal": 0.0}


@pytest.mark.parametrize("retell", [retell_pirate, retell_formal])
def test_facts_survive(retell):
    for fact in FACTS:
        new = retell(fact)
        last = re.findall(r"\w+", fact)[-1]
        assert re.search(rf"\b{last}\b", new), new
        for name in re.findall(r"(?<!^)\b[A-Z]\w*", fact):
            assert re.search(rf"\b{name}\b", new), new
    for s in STORIES:
        new = retell(s.text)
        assert new.count("\n\n") == s.text.count("\n\n")
        for name in s.names:
            assert len(re.findall(rf"\b{name}\b", new)) == len(re.findall(rf"\b{name}\b", s.text))


def test_openings_vary_with_the_text():
    starts = {" ".join(retell_formal(fact).split()[:3]) for fact in FACTS}
    assert len(starts) >= 4


def test_little_words_lose_their_capital_and_links_fit():
    for s in STORIES:
        pirate, formal = retell_pirate(s.text), retell_formal(s.text)
        assert not re.search(r"(?:Arr|Ahoy|Aye), (?:Thank|Please|Excuse|May|The|He|She|But)\b", pirate)
        assert not re.search(r"\bthat that\b|, but\b[^.]*\bbut\b|observed, but", formal), formal
    assert retell_formal("The sky was grey. But Mia smiled.").endswith(" However, Mia smiled.")
