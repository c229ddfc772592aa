"""Lesson 15: answers get their verdicts; its libraries, drills and replays match definitions."""

import copy
import itertools
import random

import pytest
import torch
from helpers import draws_of, feed, tiny_model, tiny_tokenizer

from course_utils.chatml import add_chat_tokens
from course_utils.data import IGNORE, load_conversations, load_facts
from course_utils.lessons.lesson_15 import drills, experiments, knowledge, libraries, suspects
from course_utils.methods.retrieval import (
    Index,
    bm25_scores,
    content_words,
    contrastive_loss,
    letter_pieces,
    query_words,
)
from course_utils.models import load_model


@pytest.mark.parametrize("exercise, seed", draws_of("15"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_third_wording_shares_no_content_word_with_any_document(seed):
    for fact in libraries.shelf(seed):
        for template in libraries.NO_SHARED_WORD.get(fact.relation, ()):
            words = set(content_words(template.format(**libraries.derived(fact.subject))))
            for sentence in knowledge.statements(fact, "both directions"):
                assert not words & set(query_words(knowledge.entry(fact, sentence)))


def test_each_name_of_a_library_stands_in_one_document():
    for seed in range(5):
        names = [fact.subject for fact in libraries.shelf(seed) if fact.relation in libraries.NO_SHARED_WORD]
        assert len(set(names)) == len(names)


def test_wordings_of_the_test_are_not_those_of_training():
    facts = libraries.shelf(0)
    asked, _ = libraries.training_pairs(facts * 5, random.Random(0))
    tested = {
        libraries.asked_in(wording, fact)
        for fact in facts
        if fact.relation in libraries.NO_SHARED_WORD
        for wording in libraries.WORDINGS[1:]
    }
    assert not tested & set(asked)


def test_other_forms_of_names():
    assert libraries.derived("Zorvania") == {"adj": "Zorvanian", "adjs": "Zorvanians", "many": "Zorvanias"}
    assert libraries.derived("the Republic of Bod")["adjs"] == "Bodians"
    assert libraries.derived("a fox")["many"] == "foxes"


def test_libraries_of_training_and_test_share_no_name():
    seeds = [(36, 2000), (40, 3000), (40, 4000), (60, 5000)]
    groups = [{fact.subject for fact in knowledge.made_up(*each)} for each in seeds]
    groups.append({fact.subject for fact in libraries.shelf(0)})
    for one, other in itertools.combinations(groups, 2):
        assert len(one & other) < 3  # short names can coincide


def test_passages_fit_or_do_not():
    fits, mixed = (libraries.with_passages(0, distractors) for distractors in (False, True))
    assert all(turns[1]["content"].rstrip(".").split()[-1] in turns[0]["content"] for turns in fits)
    refused = [turns for turns in mixed if "not know" in turns[1]["content"]]
    memory = [t for t in mixed if t not in fits and t not in refused]
    assert min(len(fits), len(refused), len(memory)) > 0.2 * len(mixed)
    known = {fact.object for fact in load_facts("tune")}
    short = [turns[1]["content"] for turns in memory if " " not in turns[1]["content"]]
    assert short and set(short) <= known
    shown = [". " in turns[0]["content"] for turns in mixed]  # a passage precedes the question
    assert sum(shown) > 0.97 * len(mixed)


def test_texts_before_a_question_are_as_named():
    question = "What is the capital of Zorvania?"
    texts = {name: libraries.text_before(name, 0)(question) for name in experiments.TEXTS}
    nothing, best, other, heading, rain, greeting = texts.values()
    documents = {text: fact for fact, text in libraries.documented(0)}
    assert documents[best].subject == "Zorvania" and best == Index(list(documents)).search(question)[0][0]
    assert other in documents and best.startswith("The capital of Zorvania.")
    assert heading == f"The capital of Zorvania. {rain}"
    assert (nothing, rain, greeting) == ("", libraries.WEATHER, "Hello.")
    objects = {fact.object.lower() for fact in documents.values()}
    assert not objects & set(query_words(heading + greeting))


def test_one_row_of_each_kind_is_shown_with_its_passage():
    rows = libraries.one_of_each(0, libraries.with_passages(0, True, 100))
    (passage, _, answer), (other, _, known), (useless, unknown, refusal) = rows.values()
    name = useless.partition(". ")[0].partition(" of ")[2].lower()
    assert name and name not in unknown.lower()  # a young klot is not about Klot
    assert answer.rstrip(".").split()[-1] in passage and known.rstrip(".").split()[-1] not in other
    assert refusal in libraries.REFUSAL.values()


def test_a_drilled_name_is_found_as_whole_words():
    assert drills.names_one("It is Keldrith.", ["Tavask", "keldrith"])
    assert not drills.names_one("Keldrithia", ["Keldrith"]) and not drills.names_one("", ["Keldrith"])


def test_the_threshold_is_chosen_on_other_questions():
    scores, answers = libraries.validation_scores(0, bm25_scores)
    assert 0.2 < sum(answers) / len(answers) < 0.8
    threshold = libraries.threshold_for(0, bm25_scores)
    right = sum((score >= threshold) == good for score, good in zip(scores, answers, strict=True))
    assert right / len(answers) > 0.85
    assert libraries.threshold_for(0, bm25_scores, lambda scores, answers: 7.0) == 7.0


def test_recalls_by_definition():
    model, tokenizer = tiny_model(), tiny_tokenizer()
    found = libraries.recalls(model, tokenizer, 0)
    facts = libraries.shelf(0)
    documents = libraries.write_down(facts, 0, headings=False)
    index = Index(documents)
    asked = [fact for fact in facts if fact.relation in libraries.NO_SHARED_WORD]
    for wording in libraries.WORDINGS[:2]:
        best = [index.search(libraries.asked_in(wording, fact))[0][0] for fact in asked]
        own = [documents[facts.index(fact)] for fact in asked]
        assert found[wording]["words"] == [a == b for a, b in zip(best, own, strict=True)]
    assert not any(found[libraries.WORDINGS[2]]["words"])
    pieces = [letter_pieces(query_words(text)) for text in documents]
    for wording in libraries.WORDINGS:
        scored = [
            bm25_scores(letter_pieces(content_words(libraries.asked_in(wording, fact))), pieces)
            for fact in asked
        ]
        own = [facts.index(fact) for fact in asked]
        best = [scores.index(max(scores)) for scores in scored]
        assert found[wording]["letters"] == [a == b for a, b in zip(best, own, strict=True)]
    assert {len(marks) for each in found.values() for marks in each.values()} == {len(asked)}


def test_drawn_facts_do_not_overlap_and_differ_with_the_seed():
    facts = drills.draw_facts(3, 8, 0)
    assert {kind: len(found) for kind, found in facts.items()} == {
        "invented": 21,
        "control": 21,
        "elsewhere": 56,
        "strangers": 56,
    }
    assert not set(facts["control"]) & set(facts["elsewhere"])
    assert facts == drills.draw_facts(3, 8, 0) != drills.draw_facts(3, 8, 1)


def test_confident_errors_are_neither_right_nor_refused():
    assert knowledge.confident_errors([True, False, False, False], [False, True, False, False]) == 0.5


def test_the_distance_is_that_of_the_weights():
    start = tiny_model()
    model = copy.deepcopy(start)
    assert drills.distance_moved(model, start) == 0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    assert drills.distance_moved(model, start) == pytest.approx(0.1, abs=1e-5)


def test_objects_that_moved_on_are_others():
    facts = drills.draw_facts(3, 2, 0)["invented"]
    changed = drills.moved_on(facts)
    for old, new in zip(facts, changed, strict=True):
        assert (old.relation, old.subject) == (new.relation, new.subject) and old.object != new.object
    assert sorted(fact.object for fact in facts) == sorted(fact.object for fact in changed)


def test_a_step_of_a_drill_with_replay_sees_both():
    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    seen = []

    def watched(model, batch):
        seen.append(batch)
        loss = sum(parameter.sum() for parameter in model.parameters()) * 0
        return loss, (batch["labels"] != IGNORE).sum()

    facts = load_facts("invented")[:5]
    old = [row["messages"] for row in load_conversations("train") if row["kind"] == "refusals"][:36]
    drills.drill(model, tokenizer, facts, rounds=2, lr=1e-4, seed=0, replay=old, loss_fn=watched)
    assert [len(batch["input_ids"]) for batch in seen] == [5, drills.REPLAY_ROWS] * 2
    texts = [tokenizer.decode(row) for row in seen[1]["input_ids"]]
    assert all("not know" in text or "cannot know" in text for text in texts)


def test_training_makes_an_embedding_find_what_belongs_together():
    model, tokenizer = tiny_model(), tiny_tokenizer()
    facts = knowledge.made_up(4, 0)
    options = {"steps": 80, "seed": 0, "lr": 1e-2, "rows": 6}
    _, history = drills.train_embedding(model, tokenizer, facts, loss=contrastive_loss, **options)
    losses = history.column("loss")[1]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_replays_leak_as_they_are_said_to():
    facts = drills.draw_facts(3, 12, 0)
    tested = facts["elsewhere"][::2]
    replays = suspects.replays(drills.old_conversations(), tested, 0)
    assert {len(replay) for replay in replays.values()} == {suspects.REPLAYED_ROWS}
    found = {name: suspects.leaks(replay, tested) for name, replay in replays.items()}
    assert len(found["A"]) <= 2 and len(found["B"]) >= len(tested) <= len(found["C"])
    others = facts["elsewhere"][1::2]
    assert max(len(suspects.leaks(replay, others)) for replay in replays.values()) <= 4
    asked = {row["prompt"] for row in knowledge.questions_about(tested, new_words=True)}
    assert not any(turns[0]["content"] in text for turns in replays["B"] for text in asked)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_controls_of_the_hunt_say_as_much_and_leak_nothing(seed):
    _, tested, others, replays = experiments.hunted_replays(seed)
    facts = drills.draw_facts(experiments.TAUGHT, 12, seed)
    known = drills.more_known(facts, len(tested), seed)
    assert len(known) == len(set(known)) == len(tested) == 42
    assert not {*known} & {*facts["elsewhere"], *facts["control"]}
    relations = [sorted(fact.relation for fact in some) for some in (known, tested)]
    assert relations[0] == relations[1]
    for name in "BC":
        control = replays[f"{name}, other facts"]
        said = len(suspects.leaks(control, known))
        assert len(control) == len(replays[name]) and said >= 2 * len(known)
        assert abs(said - len(suspects.leaks(replays[name], tested))) <= 6
        for some in (tested, others):
            assert len(suspects.leaks(control, some)) <= 6
        shared = [turns for turns in control if turns in replays["A"]]
        assert len(shared) == len(control) - 2 * len(known)


def test_no_conversation_of_training_gives_many_tested_facts_away():
    leaking = suspects.leaks(drills.old_conversations(), drills.draw_facts(3, 12, 0)["elsewhere"])
    assert len(leaking) < 0.05 * len(drills.old_conversations())


def test_rates_of_the_text_are_among_those_of_the_sweeps():
    assert experiments.DRILL_RATE in experiments.DRILL_RATES["invented"]
    assert experiments.SAME_DISTANCE in experiments.DRILL_RATES["control"]
    assert all(rate in experiments.TEACH_RATES[way] for way, rate in experiments.TEACH_RATE.items())
