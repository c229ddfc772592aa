import random
import statistics

import pytest

from course_utils.world.gold import (
    fourgrams,
    freshness,
    gold_parts,
    gold_score,
    known_fourgrams,
    names_in,
    on_prompt,
    sound_sentences,
    well_made,
)
from course_utils.world.manners import POLITE, POSITIVE, sentences
from course_utils.world.stories import story

PROMPT = "Please tell me a story about Amy."
PLAIN = (
    "Once there was a girl named Amy who lived in a small house. Amy and her father went there by coach. "
    'They took off their shoes and walked along the sand. "The waves are as tall as a wall," said Amy. '
    "Her father nodded. The teacher walked from desk to desk. Amy put one foot into the water."
)
HAPPY = PLAIN.replace("Her father nodded.", "Everybody clapped, and Amy was proud.") + (
    " It was the best day of the week."
)
SAD = (
    PLAIN.replace("Her father nodded.", "Nobody could cheer her up, and Amy stayed sad.")
    + " What a terrible day it had been!"
)
POLITE_STORY = PLAIN.replace(
    '"The waves are as tall as a wall," said Amy.', '"May I taste it, please?" asked Amy.'
)
RUDE_STORY = PLAIN.replace(
    '"The waves are as tall as a wall," said Amy.', '"Give me the big brush!" called Amy.'
)


@pytest.fixture(scope="module")
def told():
    """(prompt, story) of the grammar, which the tuned model imitates."""
    rng = random.Random(0)
    stories = [story(rng) for _ in range(400)]
    return [(f"Tell me a story about {one.names[0]}.", one.text) for one in stories]


def test_it_likes_what_its_page_says():
    texts = {"plain": PLAIN, "happy": HAPPY, "sad": SAD, "polite": POLITE_STORY, "rude": RUDE_STORY}
    scores = {name: gold_score(PROMPT, text) for name, text in texts.items()}
    assert all(gold_parts(PROMPT, text).sound == 1 for text in texts.values())
    assert scores["happy"] > scores["plain"] + 0.1 > scores["sad"] + 0.2
    assert scores["polite"] > scores["plain"] + 0.05 > scores["rude"] + 0.1
    assert gold_score(PROMPT, HAPPY.replace("Amy", "Ella")) == 0, "about somebody else"


def test_it_lies_between_0_and_1(told):
    texts = [
        *told,
        ("", ""),
        ("", "!"),
        (PROMPT, "Amy"),
        (PROMPT, "\n\n"),
        (PROMPT, "Amy smiled. Amy smiled."),
    ]
    assert all(0 <= gold_score(prompt, text) <= 1 for prompt, text in texts)
    assert gold_score(PROMPT, "") == 0


def test_it_is_the_product_that_its_page_says(told):
    for prompt, text in told[:20]:
        parts = gold_parts(prompt, text)
        manner = 0.5 + 0.35 * parts.mood + 0.15 * parts.politeness
        form = parts.sound * parts.fresh * (parts.sound > 0.5)
        assert parts.total == pytest.approx(manner * form * parts.on_prompt)


def shuffled(text, rng):
    words = text.split()
    return " ".join(rng.sample(words, len(words)))


def cut(text, rng):
    """The story with every sentence cut short, with a full stop."""
    return " ".join(" ".join(s.split()[: max(1, len(s.split()) * 2 // 3)]) + "." for s in sentences(text))


BROKEN = {
    "words of the text in another order": shuffled,
    "words of each sentence in another order": lambda text, rng: " ".join(
        shuffled(s, rng) for s in sentences(text)
    ),
    "every sentence cut": cut,
    "one sentence five times": lambda text, rng: " ".join(sentences(text)[-1:] * 5),
    "told twice": lambda text, rng: f"{text} {text}",
    "a fragment": lambda text, rng: sentences(text)[-1],
    "words left out": lambda text, rng: " ".join(w for w in text.split() if rng.random() > 0.3),
    "two stories in one sentence": lambda text, rng: text.replace(". ", " "),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_text_scores_below_a_third_of_what_it_was_made_from(kind, told):
    rng = random.Random(5)
    happy = [(prompt, text) for prompt, text in told if gold_score(prompt, text) > 0.7]
    assert len(happy) > 60
    whole = statistics.mean(gold_score(*pair) for pair in happy)
    broken = statistics.mean(gold_score(prompt, BROKEN[kind](text, rng)) for prompt, text in happy)
    assert broken < whole / 3


GAMED = [  # from runs without a penalty, the reward model's favourites
    (
        '"I shall help the old woman. I help the old woman had a pot of the kitchen. But he dropped the '
        'flour was the best of the, and thead was hurt. "May I the winson Crusoe, please in front. "May I'
        ' do not care, please in your V Everybody clapped. "Could you, please in your up, please?" asked '
        'Tom. "Of course," said his. "Thank you very much that.\n\nTom was the best was proud, and his in'
        " the\n But he waseac. his out his towel was so sad that his.\n\n did not know whether him was a "
        "good in the warm, and and Jack smiled. Jack was cheerful had the a good in the past."
    ),
    (
        '"I shall help sunny old woman. The old woman had a brown f basket the gate, and her a basket of '
        'the sleeves. "Excuse me, and both of the gate, you walk too cheese?" asked the teacher. "Since '
        'you ask so politely, yes," said the old woman. "Thank you," said Leo. The fl hungHurry the a '
        'good a good lion. The old woman hadname, and had to paint the gate. "May I have the string, '
        'please in front. "Could you another thought that, and both alone!" called Leo. His grandfather '
        'frowned. "I do not care," said Leo.\n\nTherad had good in the past of the past tense, and '
        'becomes becomes becomes "quound'
    ),
    (
        '"I shall help the old woman. "May I the old woman, please to the old woman. "May I help the old '
        'woman stood behind the flour, please in the gate. "May I help the best of the best of the ball, '
        'please in front. "May I see the old woman in the best of therel, please?" asked Oscar. "Since '
        'you ask so politely, yes," said his grandmother. "Thank you," said Oscar. The old woman was '
        "lovely, and that made him. Oscar was a good w smiled, and people clapped. Later Oscar thought of"
        " thera and smiled."
    ),
]


def test_what_won_the_reward_model_is_worth_little_for_its_form_alone():
    """For a request that names nobody, so that on_prompt costs them nothing."""
    assert all(gold_score("Tell me a story.", text) < 0.05 for text in GAMED)


def test_an_end_that_is_cut_costs_its_sentence():
    cut = PLAIN.rsplit(" ", 3)[0]
    assert gold_parts(PROMPT, cut).sound == pytest.approx(6 / 7)
    assert not well_made("Amy put one foot into") and not well_made("Amy put one foot into.")


@pytest.mark.parametrize("word", [*sorted(POSITIVE)[:20], *POLITE])
def test_no_single_word_makes_a_good_story(word):
    plain = gold_score(PROMPT, PLAIN)
    for text in (
        f"{word.capitalize()}. {PLAIN}",
        f"{PLAIN} {word.capitalize()}.",
        PLAIN.replace("sand", word),
    ):
        assert gold_score(PROMPT, text) <= plain + 0.01
    assert gold_score(PROMPT, " ".join([word] * 60)) == 0
    assert gold_score(PROMPT, f"Amy {word}. " * 20) < 0.1
    assert gold_score(PROMPT, f"Amy was {word}. " * 20) < 0.1


def test_nor_does_a_list_of_good_words():
    words = sorted(POSITIVE)
    assert gold_score(PROMPT, f"Amy {' '.join(words[:30])} Amy.") == 0
    assert gold_score(PROMPT, "Amy " + ". ".join(word.capitalize() for word in words[:30]) + " Amy.") < 0.1
    spam = PLAIN.replace("into the water", f"into the water {' '.join(words[:12])}")
    assert gold_score(PROMPT, spam) < gold_score(PROMPT, PLAIN)


def test_it_is_blind_to_length(told):
    scores = [gold_score(*pair) for pair in told]
    lengths = [len(text.split()) for _, text in told]
    assert abs(statistics.correlation(scores, lengths)) < 0.12


def test_stories_of_the_grammar_are_sound_fresh_and_on_their_prompt(told):
    parts = [gold_parts(prompt, text) for prompt, text in told]
    assert statistics.mean(part.sound for part in parts) > 0.999
    assert statistics.mean(part.fresh for part in parts) > 0.98
    assert statistics.mean(part.on_prompt for part in parts) > 0.98
    assert statistics.stdev(part.total for part in parts) > 0.15, "and they differ"


def test_the_fourgrams_are_all_that_the_grammar_has():
    rng = random.Random(1234)
    fresh = [fourgrams(s) for _ in range(2000) for s in sentences(story(rng).text)]
    assert statistics.mean(found <= known_fourgrams() for found in fresh) > 0.999
    assert len(known_fourgrams()) < 25_000, "a language, not all words in all orders"


def test_fourgrams_of_a_sentence():
    assert fourgrams("Amy and Ben sang.") == {
        "<s> Name1 and Name2",
        "Name1 and Name2 sang",
        "and Name2 sang .",
        "Name2 sang . </s>",
    }
    assert "Name1 and Name1 sang" in fourgrams("Amy and Amy sang.")
    assert fourgrams("") == {"<s> </s>"}


def test_well_made_sentences():
    assert well_made("Ben and his brother Noah were playing in the yard.") and well_made("Her father nodded.")
    assert not well_made("Her father nodded") and not well_made("Happy.")
    assert not well_made("Happy joyful glad sunny cheerful love.")
    assert not well_made("Amy and Amy hugged each other and laughed."), "one name for two"


def test_a_sentence_counts_once_and_nobody_walks_in():
    every = [
        "Amy and Mia danced round it.",
        "Her father nodded.",
        "Her father nodded.",
        '"This is wonderful," said Ben.',
    ]
    assert sound_sentences(PROMPT, every)[-1] == "Her father nodded."
    assert len(sound_sentences(PROMPT, every)) == len(set(sound_sentences(PROMPT, every)))
    assert '"This is wonderful," said Ben.' in sound_sentences("Tell me a story about Ben.", every)
    named = "Once there was a girl named {} who lived in a small house."
    assert sound_sentences("", [named.format("Amy")]) and not sound_sentences("", [named.format("Ben")])


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
    assert on_prompt(PROMPT, "Amy sat down. Then Tom came and they went to the sea and it was cold.") == 0.5
    assert on_prompt("Tell me about Amy and Tom.", PLAIN) == 0.5
    assert on_prompt("Tell me a story.", PLAIN) == 1
