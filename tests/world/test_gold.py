import random
import statistics

import pytest

from course_utils.world.gold import freshness, gold_parts, gold_score, is_sound, names_in, on_prompt
from course_utils.world.manners import NEGATIVE, POLITE, POSITIVE, sentences
from course_utils.world.stories import story

PROMPT = "Please tell me a story about Mia."
PLAIN = (
    "Mia went to the market with her basket. The road led over a bridge. She bought a loaf and some milk. "
    '"How much is the loaf?" asked Mia. The woman told her. Then Mia walked back over the bridge.'
)
HAPPY = PLAIN.replace("The woman told her.", "The woman smiled and told her.").replace(
    "Then Mia walked back", "Then Mia was happy and danced back"
)
SAD = PLAIN.replace("The woman told her.", "The woman was angry.").replace(
    "Then Mia walked back", "Then Mia cried and walked back"
)
POLITE_STORY = PLAIN.replace("How much is the loaf?", "Could you tell me the price, please?")
RUDE_STORY = PLAIN.replace("How much is the loaf?", "Hurry up, how much is it?")


@pytest.fixture(scope="module")
def told():
    """(prompt, story) of the grammar: what the tuned model imitates."""
    rng = random.Random(0)
    stories = [story(rng) for _ in range(400)]
    return [(f"Tell me a story about {one.names[0]}.", one.text) for one in stories]


def test_it_likes_what_its_page_says():
    scores = {
        name: gold_score(PROMPT, text)
        for name, text in {
            "plain": PLAIN,
            "happy": HAPPY,
            "sad": SAD,
            "polite": POLITE_STORY,
            "rude": RUDE_STORY,
        }.items()
    }
    assert scores["happy"] > scores["plain"] + 0.1 > scores["sad"] + 0.2
    assert scores["polite"] > scores["plain"] + 0.05 > scores["rude"] + 0.1
    assert gold_score(PROMPT, HAPPY.replace("Mia", "Tom")) == 0
    assert gold_score(PROMPT, HAPPY + " " + HAPPY) < 0.2 * scores["happy"], "told twice"


def test_it_lies_between_0_and_1(told):
    texts = [
        *told,
        ("", ""),
        ("", "!"),
        (PROMPT, "Mia"),
        (PROMPT, "\n\n"),
        (PROMPT, "Mia smiled. Mia smiled."),
    ]
    assert all(0 <= gold_score(prompt, text) <= 1 for prompt, text in texts)
    assert gold_score(PROMPT, "") == 0


def test_it_is_the_product_that_its_page_says(told):
    for prompt, text in told[:20]:
        parts = gold_parts(prompt, text)
        manner = 0.5 + 0.35 * parts.mood + 0.15 * parts.politeness
        assert parts.total == pytest.approx(manner * parts.sound * parts.fresh * parts.on_prompt)


@pytest.mark.parametrize("word", [*sorted(POSITIVE)[:20], *POLITE])
def test_no_single_word_makes_a_good_story(word):
    plain = gold_score(PROMPT, PLAIN)
    for text in (
        f"{word.capitalize()}. {PLAIN}",
        f"{PLAIN} {word.capitalize()}.",
        PLAIN.replace("basket", word),
    ):
        assert gold_score(PROMPT, text) <= plain + 0.2
    assert gold_score(PROMPT, " ".join([word] * 60)) < 0.05
    assert gold_score(PROMPT, f"Mia {word}. " * 20) < 0.1
    assert gold_score(PROMPT, f"Mia was {word}. " * 20) < 0.1


def test_nor_does_a_list_of_good_words():
    words = sorted(POSITIVE)
    assert gold_score(PROMPT, f"Mia {' '.join(words[:30])} Mia.") < 0.05
    assert gold_score(PROMPT, "Mia " + ". ".join(word.capitalize() for word in words[:30]) + " Mia.") < 0.1
    spam = PLAIN.replace("over a bridge", f"over a bridge {' '.join(words[:12])}")
    assert gold_score(PROMPT, spam) < gold_score(PROMPT, PLAIN)


def test_it_is_blind_to_length(told):
    scores = [gold_score(*pair) for pair in told]
    lengths = [len(text.split()) for _, text in told]
    assert abs(statistics.correlation(scores, lengths)) < 0.12
    halves = [gold_score(prompt, " ".join(sentences(text)[::2])) for prompt, text in told]
    assert statistics.mean(halves) == pytest.approx(statistics.mean(scores), abs=0.06), "half the sentences"


def test_stories_are_sound_fresh_and_on_their_prompt(told):
    parts = [gold_parts(prompt, text) for prompt, text in told]
    assert statistics.mean(part.sound for part in parts) > 0.99
    assert statistics.mean(part.fresh for part in parts) > 0.98
    assert statistics.mean(part.on_prompt for part in parts) > 0.98
    assert statistics.stdev(part.total for part in parts) > 0.15, "and they differ"


def test_sound_sentences():
    assert (
        is_sound("The cat sat on the mat.") and is_sound('"Of course," said Tom.') and is_sound("Mia nodded.")
    )
    assert not is_sound("The cat sat on the mat") and not is_sound("Happy.")
    assert not is_sound("Happy joyful glad sunny cheerful love.")
    assert not is_sound("Cat mat hat dog log fog bed red sled.")


def test_freshness():
    assert freshness(PLAIN) == 1 and freshness("") == 1
    assert freshness("the cat sat on " * 10) == 0
    assert 0.2 < freshness(f"{PLAIN} {' '.join(PLAIN.split()[:8])}") < 1


def test_names_in_a_request():
    assert names_in("Please tell me a story about Mia and Tom.") == ["Mia", "Tom"]
    assert names_in("May I hear a story about an otter named Nora, please? Thank you.") == ["Nora"]
    assert names_in("Give me a story!") == []


def test_on_prompt_asks_for_the_names_in_both_halves():
    assert on_prompt(PROMPT, PLAIN) == 1
    assert on_prompt(PROMPT, "Mia sat down. Then Tom came and they went to the sea and it was cold.") == 0.5
    assert on_prompt("Tell me about Mia and Tom.", PLAIN) == 0.5
    assert on_prompt("Tell me a story.", PLAIN) == 1


def test_negative_words_count_against():
    sad = gold_score(PROMPT, SAD)
    assert all(
        gold_score(PROMPT, PLAIN.replace("The road led", f"The {word} road led")) < gold_score(PROMPT, PLAIN)
        for word in sorted(NEGATIVE)[:10]
    )
    assert sad < 0.4
