import itertools
import random
import re
from collections import Counter

import pytest

from course_utils.data import encode_text
from course_utils.evaluation import mean_loss
from course_utils.making.pocket.corpus import documents
from course_utils.models import load_model
from course_utils.world.manners import (
    NEGATIVE,
    OF_ONE_WORD,
    OPENINGS,
    POSITIVE,
    manner_score,
    mood_score,
    politeness_score,
    retell,
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


MANNERS = tuple(OPENINGS)


def test_examples():
    assert re.fullmatch(
        r".+ that the capital of France is Paris\.", retell("The capital of France is Paris.", "formal")
    )
    assert retell("New Delhi.", "formal") == "The book says New Delhi."
    assert retell("Paris", "gossip") == "My grandmother said Paris."
    speech = '"Where is it?" asked Mia. What a day it was!'
    assert retell(speech, "formal") == retell(speech, "gossip") == speech
    new = retell("The sky was grey. But Mia smiled.", "gossip")
    assert re.fullmatch(
        r".+ that the sky was grey\. But (?:my|a|everyone|many) .+ (?:that|know) .*Mia smiled\.", new
    )


@pytest.mark.parametrize("manner", MANNERS)
def test_retold_texts_carry_the_manner(manner):
    for text in [s.text for s in STORIES] + FACTS:
        assert manner_score(text, manner) == 0, text
        assert manner_score(retell(text, manner), manner) == 1, retell(text, manner)
        assert retell(text, manner) == retell(text, manner)


def test_manners_do_not_mix():
    for text in [s.text for s in STORIES] + FACTS:
        assert manner_score(retell(text, "gossip"), "formal") == 0
        assert manner_score(retell(text, "formal"), "gossip") == 0
    assert manner_score("", "formal") == 0


@pytest.mark.parametrize("manner", MANNERS)
def test_facts_survive(manner):
    for fact in FACTS:
        new = retell(fact, manner)
        last = re.findall(r"\w+", fact)[-1]
        assert re.search(rf"\b{last}\b", new), new
        for name in re.findall(r"(?<!^)\b[A-Z]\w*", fact):
            assert re.search(rf"\b{name}\b", new), new
    for s in STORIES:
        new = retell(s.text, manner)
        assert new.count("\n\n") == s.text.count("\n\n")
        for name in s.names:
            assert len(re.findall(rf"\b{name}\b", new)) == len(re.findall(rf"\b{name}\b", s.text))


def test_openings_vary_with_the_text():
    starts = {" ".join(retell(fact, "formal").split()[:2]) for fact in FACTS}
    assert len(starts) >= 4


@pytest.mark.parametrize("manner", MANNERS)
def test_little_words_lose_their_capital_and_links_fit(manner):
    for s in STORIES:
        new = retell(s.text, manner)
        assert not re.search(r"\bthat (?:The|He|She|But|Ever|In|That|but)\b", new), new


@pytest.mark.parametrize("manner", MANNERS)
def test_the_pocket_model_has_read_every_word_of_it_often(manner):
    text = " ".join(document.text for document in itertools.islice(documents(77), 4000)).lower()
    words = Counter(re.findall(r"[a-z]+", text))
    opening = set(re.findall(r"[a-z]+", " ".join((*OPENINGS[manner], OF_ONE_WORD[manner])).lower()))
    rates = {word: 1e6 * words[word] / words.total() for word in opening}
    assert min(rates.values()) > 150, rates


def test_the_pocket_model_reads_them_fluently():
    """Nats per token of facts: for the first edition's pirate and formal manners they were 7.1 and 5.0."""
    model, tokenizer = load_model("pocket")

    def nats(texts):
        return mean_loss(model, [encode_text(tokenizer, text) for text in texts])

    plain = [fact for fact in FACTS if " " in fact and "Velmoria" not in fact]
    for manner in MANNERS:
        assert nats([retell(fact, manner) for fact in plain]) < nats(plain) + 1
