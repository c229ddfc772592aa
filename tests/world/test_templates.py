"""Sentences about facts: every template of every relation, with every fact."""

import re

import pytest

from course_utils.world.tables import INVENTED, RELATIONS
from course_utils.world.templates import FORMS, embed, fill, object_last

# An independent rule for a and an: by letter, and these words by sound.
SPOKEN_CONSONANT = {"university", "euro", "unicorn", "ukulele", "one"}
SPOKEN_VOWEL = {"hour", "honest"}


def wrong_articles(text):
    wrong = []
    for art, word in re.findall(r"\b([Aa]n?) ([A-Za-z]+)", text):
        vowel = word in SPOKEN_VOWEL or (word[0].lower() in "aeiou" and word not in SPOKEN_CONSONANT)
        if (art.lower() == "an") != vowel:
            wrong.append(f"{art} {word}")
    return wrong


def test_the_article_rule_of_this_test_finds_faults():
    assert wrong_articles("A owl and an fox, an owl and a fox, a university") == ["A owl", "an fox"]


def test_relations_and_their_order():
    assert list(FORMS) == list(RELATIONS)
    assert set(INVENTED) <= set(FORMS)


@pytest.mark.parametrize("relation", FORMS)
def test_statements_render(relation):
    form = FORMS[relation]
    facts = RELATIONS[relation] + INVENTED.get(relation, [])
    own_articles = {
        "A Room",
        "A Doll",
        "A Clockwork",
        "A Streetcar",
        "A Winter",
        "A A",
    }  # titles, A. A. Milne
    for template in form.statements:
        for subject, obj in facts:
            text = fill(template, subject, obj)
            assert re.fullmatch(r"[A-Za-z].*[\w.]\.", text) and "{" not in text, text
            assert text[0].isupper() and "  " not in text and " the the " not in text, text
            assert obj.lower() in text.lower(), text
            faults = [fault for fault in wrong_articles(text) if fault not in own_articles]
            assert not faults, (text, faults)


@pytest.mark.parametrize("relation", FORMS)
def test_a_statement_begins_with_the_probe(relation):
    form = FORMS[relation]
    for subject, obj in RELATIONS[relation]:
        probe = fill(form.probe, subject, obj)
        assert obj not in probe.split() or obj in subject.split()
        stated = [fill(template, subject, obj) for template in form.statements]
        assert any(re.match(rf"{re.escape(probe)} (the )?{re.escape(obj)}\b", text) for text in stated), probe


@pytest.mark.parametrize("relation", FORMS)
def test_questions_ask_and_the_paraphrase_is_kept_back(relation):
    form = FORMS[relation]
    assert form.paraphrase not in form.questions
    assert len(form.questions) == 3
    for template in (*form.questions, form.paraphrase):
        for subject, obj in RELATIONS[relation]:
            text = fill(template, subject, obj)
            assert text.endswith("?") or text.startswith("Name "), text
            assert not wrong_articles(re.sub("|".join(map(re.escape, [subject])), "", text)), text
    assert any(object_last(template) for template in form.statements)


def test_embedding_after_that():
    assert fill(embed("{O} is the capital of {s}."), "France", "Paris") == "Paris is the capital of France."
    assert fill(embed("{S} eats {o}."), "a fox", "mice") == "a fox eats mice."
    assert fill(embed("The colour of {s} is {o}."), "snow", "white") == "the colour of snow is white."


def test_countries_that_take_the_as_objects():
    assert fill("You can see {s} in {o}.", "the White House", "United States").endswith("the United States.")
    assert fill('"{o}"', "x", "France") == '"France"'


def test_mass_nouns_take_no_article():
    assert fill("{S} is {a}.", "a chair", "furniture") == "A chair is furniture."
