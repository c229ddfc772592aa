"""The stream of documents: the same for a seed, balanced, and free of what it must not contain."""

import random
import re
from collections import Counter
from itertools import islice

import pytest

from course_utils.making.pocket.corpus import (
    DOCUMENT_KINDS,
    FACT_FORMS,
    TWICE,
    Deck,
    Document,
    bare_answers,
    documents,
)
from course_utils.world.passages import REAL, UNANSWERED, invented_word, passage, roll_call
from course_utils.world.tables import INVENTED, RELATIONS, all_facts, bare
from course_utils.world.templates import PIECES


@pytest.fixture(scope="module")
def sample():
    return list(islice(documents(5), 12_000))


def test_a_seed_gives_the_same_documents():
    first, again, other = (list(islice(documents(seed), 300)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_shares_of_kinds_and_forms(sample):
    pieces = Counter()
    for document in sample:
        pieces[document.kind] += len(PIECES.findall(document.text))
    facts = sum(pieces[form] for form in FACT_FORMS)
    for kind, share in DOCUMENT_KINDS.items():
        measured = (facts if kind == "facts" else pieces[kind]) / pieces.total()
        assert measured == pytest.approx(share, abs=0.005), kind
    for form, share in FACT_FORMS.items():
        assert pieces[form] / facts == pytest.approx(share, abs=0.005), form


def test_a_deck_deals_every_fact_once_a_round():
    facts = all_facts()
    deck = Deck(random.Random(0), facts, lambda fact: fact[0], 8)
    dealt = []
    while len(dealt) < 2 * len(facts):
        group = deck.deal()
        assert len({fact[0] for fact in group}) == 1
        dealt += group
    assert Counter(dealt) == {fact: 2 for fact in facts}


def test_every_fact_is_stated_equally_often(sample):
    seen = Counter(fact for document in sample for fact in document.facts)
    twice = {fact for fact in all_facts() if fact[0] in TWICE}
    counts = [seen[fact] for fact in all_facts() if fact not in twice]
    assert min(counts) > 0.6 * sum(counts) / len(counts)
    assert max(counts) < 1.5 * sum(counts) / len(counts)
    often = [seen[fact] for fact in twice]
    assert sum(often) / len(often) == pytest.approx(2 * sum(counts) / len(counts), rel=0.15)


def test_facts_are_stated_and_never_asked(sample):
    for document in sample:
        if document.kind in FACT_FORMS:
            assert "?" not in document.text
            assert not re.search(r"\b(Question|Answer)\b", document.text)
            for _, _, obj in document.facts:
                assert obj.lower() in " ".join(document.text.lower().split()), document.text


def test_passages_are_about_nothing_real(sample):
    texts = [document.text for document in sample if document.kind == "passages"]
    assert all("?" in text or "Name the" in text for text in texts)
    real = {
        bare(s) for r in ("capital", "language", "currency", "landmark", "author") for s, _ in RELATIONS[r]
    }
    real |= {o for r in ("capital", "language", "author") for _, o in RELATIONS[r]}
    # Subjects of one short word, such as the capital Male, can only be found with their capital letter.
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, sorted(real))) + r")\b")
    found = {match for text in texts for match in pattern.findall(text)}
    assert not found


def is_unanswered(text):
    return all(line.endswith(("?", "in a sentence.")) or "Name the" in line for line in text.splitlines())


def test_passages_answer_their_questions():
    rng, unanswered = random.Random(3), 0
    for _ in range(600):
        text = passage(rng, ("Mia",))
        if is_unanswered(text):
            unanswered += 1
            continue
        last = re.sub(r"^(Answer|A): ", "", text.splitlines()[-1])
        words = re.findall(r"[\w-]+", last)
        assert any(text.lower().count(word.lower()) > 1 for word in words), text
    assert unanswered / 600 == pytest.approx(UNANSWERED, abs=0.05)


def test_a_roll_call_repeats_its_names():
    rng = random.Random(2)
    for _ in range(100):
        words = Counter(re.findall(r"\w+", roll_call(rng)))
        assert sum(count >= 2 for count in words.values()) >= 2


def test_invented_facts_do_not_occur(sample):
    names = {bare(text) for facts in INVENTED.values() for fact in facts for text in fact}
    names = {name for name in names if len(name) > 2}  # not the symbols
    assert len(names) > 140
    everything = "\n".join(document.text for document in sample)
    inside = [name for name in names if name in everything]  # perhaps as part of a longer word
    assert not [name for name in inside if re.search(rf"\b{re.escape(name)}\b", everything)]


def test_invented_words_are_in_no_table():
    rng = random.Random(0)
    made = {invented_word(rng) for _ in range(3000)}
    assert not made & REAL
    assert not [word for word in made if "shit" in word or "fuck" in word or "poo" in word]
    assert len(made) > 2500


@pytest.mark.parametrize(
    "kind, text, found",
    [
        ("tables", "country,capital\nFrance,Paris", True),
        ("quotes", 'The capital of France is "Paris".', True),
        ("entries", "The capital of France\nParis\nThe capital of France is Paris.", True),
        ("entries", "The capital of France\nThe capital of France is Paris.", False),
        ("running", "The capital of France is Paris.", False),
    ],
)
def test_bare_answers(kind, text, found):
    fact = ("capital", "France", "Paris")
    assert bare_answers(Document(kind, text, (fact,))) == ([fact] if found else [])
