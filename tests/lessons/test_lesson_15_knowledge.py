import pytest
from helpers import tiny_tokenizer

from course_utils.data import Fact, load_facts
from course_utils.evaluation import exact_match, question_text
from course_utils.lessons.lesson_15 import knowledge

INVENTED = load_facts("invented")


def test_what_is_tested_is_never_stated():
    for fact in INVENTED:
        said = {sentence for way in knowledge.WAYS for sentence in knowledge.statements(fact, way)}
        for which in ("new", "backwards"):
            probe = knowledge.probes([fact], which)[0]
            assert not any(sentence.startswith(probe.prompt) for sentence in said)
        trained = knowledge.probes([fact], "trained on")[0]
        assert knowledge.statements(fact, "one sentence")[0].startswith(trained.prompt)


def test_one_direction_names_the_subject_first_and_both_do_not():
    for fact in INVENTED:
        name = fact.subject.split(" ")[-1].lower()

        def forward(sentence, fact=fact, name=name):
            return sentence.lower().index(name) < sentence.lower().rindex(fact.object.lower())

        many, both = (knowledge.statements(fact, way) for way in knowledge.WAYS[1:])
        assert len(many) >= 4 and all(map(forward, many))
        assert set(many) < set(both) and not all(map(forward, both))


def test_an_unknown_way_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="one sentence, many sentences"):
        knowledge.statements(INVENTED[0], "two sentences")


def test_a_probe_is_the_beginning_of_a_sentence():
    wanted = {"trained on": "Keldrith", "new": "Keldrith", "backwards": "Zorvania"}
    prompts = {
        "trained on": "The capital of Zorvania is",
        "new": "The city called the capital of Zorvania is",
        "backwards": "Keldrith is the capital of",
    }
    for which in wanted:
        assert knowledge.probes(INVENTED[:1], which) == [knowledge.Probe(prompts[which], wanted[which])]
    assert knowledge.cut_before("A cat is a cat.", "cat") == "A cat is a"


@pytest.mark.parametrize(
    "text, good",
    [
        (" Keldrith.", True),
        (' "Keldrith"', True),
        (" the Keldrith and", True),
        (" keldrith", True),
        (" Keldrithia", False),
        (" Tavask, not Keldrith", False),
        ("", False),
    ],
)
def test_a_completion_begins_with_the_name(text, good, monkeypatch):
    monkeypatch.setattr(knowledge, "generate", lambda model, tokenizer, prompts, **options: [text])
    assert knowledge.completes(None, None, knowledge.probes(INVENTED[:1], "new")) == [good]


def test_a_name_of_the_same_relation_is_a_guess(monkeypatch):
    facts = [
        Fact("capital", "Zorvania", "Keldrith", ""),
        Fact("capital", "the Republic of Bod", "Tavask", ""),
        Fact("young", "a grupkin", "morlop", ""),
    ]
    texts = [" Republic of Bod.", " Zorvanian", " Zorvania"]
    monkeypatch.setattr(knowledge, "generate", lambda model, tokenizer, prompts, **options: texts)
    assert knowledge.names_a_subject(None, None, facts) == [True, False, False]


def test_questions_are_answered_by_their_completion():
    for kind in ("short", "sentence"):
        rows = knowledge.questions_about(INVENTED, kind)
        assert rows == knowledge.questions_about(INVENTED, kind)
        new = knowledge.questions_about(INVENTED, kind, new_words=True)
        assert not {row["prompt"] for row in rows} & {row["prompt"] for row in new}
        for fact, row in zip(INVENTED, rows, strict=True):
            assert exact_match(row["completion"], fact.object, kind)
            assert fact.subject.split(" ")[-1] in question_text(row)


def test_made_up_names_are_nobodys():
    names = {name for fact in load_facts() for name in (fact.subject, fact.object)}
    made = knowledge.made_up(12, seed=1)
    assert len(made) == 84 and not names & {fact.subject for fact in made}
    assert made == knowledge.made_up(12, 1) != knowledge.made_up(12, 2)


def test_both_facts_of_a_chain_are_in_the_data():
    known = {(f.relation, f.subject, f.object) for f in load_facts() if f.split != "invented"}
    found = knowledge.chains()
    assert len(found) > 150
    for chain in found:
        assert (chain.relation, chain.country, chain.answer) in known
        assert ("landmark", chain.landmark, chain.country.removeprefix("the ")) in known
        assert chain.landmark in chain.question and chain.answer not in chain.question
        assert chain.steps.endswith(f"{chain.answer}.")
    eiffel = next(c for c in found if c.landmark == "the Eiffel Tower" and c.relation == "capital")
    assert eiffel.steps == "The Eiffel Tower can be seen in France. The capital of France is Paris."


def test_an_entry_is_a_sentence_under_its_heading():
    sentence = "In Plovenia, people pay with the drelk."
    fact = next(fact for fact in INVENTED if fact.subject == "Plovenia")
    assert knowledge.entry(fact, sentence) == f"The currency of Plovenia. {sentence}"


def test_examples_state_every_fact_once_a_round():
    tokenizer = tiny_tokenizer()
    facts = INVENTED[:5]
    stream = knowledge.statement_examples(tokenizer, facts, "many sentences", seed=0)
    for _ in range(3):
        texts = [tokenizer.decode(next(stream).input_ids[:-1]) for _ in facts]
        assert (
            sorted(
                sum(text in knowledge.statements(fact, "many sentences") for text in texts) for fact in facts
            )
            == [1] * 5
        )
