"""Lesson 01: verdicts on answers to its exercises; its control; its headline, which a broken loss fails."""

import copy

import pytest
import torch
from helpers import draws_of, feed, tiny_model, tiny_tokenizer

from course_utils.checks.claims import claims_of
from course_utils.data import Fact, batches, encode_text
from course_utils.evaluation import answer_questions, score_answers
from course_utils.lessons.lesson_01 import experiments
from course_utils.lessons.lesson_01.weights_and_loss import colleagues_loss
from course_utils.models import load_model
from course_utils.training import fast_lm_loss, train


@pytest.mark.parametrize("exercise, seed", draws_of("01"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


@pytest.mark.parametrize("size", [1.0, 3.0])
def test_a_random_change_is_as_long_as_the_other_in_every_tensor_and_has_another_direction(size):
    before, after = tiny_model(0), tiny_model(1)
    changed = experiments.random_change(copy.deepcopy(before), before, after, seed=0, size=size)
    for old, new, random in zip(before.parameters(), after.parameters(), changed.parameters(), strict=True):
        change, noise = (new - old).flatten(), (random - old).flatten()
        assert noise.norm().item() == pytest.approx(size * change.norm().item(), rel=1e-4)
        if len(change) > 500 and change.any():
            assert abs(torch.cosine_similarity(change, noise, dim=0)) < 0.2


def test_a_rotated_change_has_the_other_changes_singular_values_and_none_of_its_directions():
    before, after = tiny_model(0), tiny_model(1)
    changed = experiments.rotated_change(copy.deepcopy(before), before, after, seed=0, size=2.0)
    for old, new, rotated in zip(before.parameters(), after.parameters(), changed.parameters(), strict=True):
        change, noise = (new - old).detach(), (rotated - old).detach()
        assert noise.norm().item() == pytest.approx(2 * change.norm().item(), rel=1e-4)
        if old.ndim == 2:
            values = (torch.linalg.svdvals(each) for each in (noise, 2 * change))
            torch.testing.assert_close(*values, rtol=1e-3, atol=1e-4)
        if change.numel() > 500 and change.any():
            assert abs(torch.cosine_similarity(change.flatten(), noise.flatten(), dim=0)) < 0.2


def test_along_a_change_distance_one_is_the_changed_model():
    before, after = tiny_model(0), tiny_model(1)
    there = experiments.moved_along(copy.deepcopy(before), before, after, 1.0)
    half = experiments.moved_along(copy.deepcopy(before), before, after, 0.5)
    models = (before, after, there, half)
    for old, new, at_one, at_half in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(at_one, new)
        torch.testing.assert_close(at_half, (old + new) / 2)


def test_the_norm_is_that_of_one_long_vector():
    tensors = [torch.randn(3, 4), torch.randn(5)]
    assert experiments.norm(tensors) == pytest.approx(torch.cat([t.flatten() for t in tensors]).norm().item())


def test_a_statement_is_completed_by_the_object_as_a_whole_word(monkeypatch):
    texts = [" Paris, on the Seine", ' "the Paris" of old', " Parisian", " Rome"]
    monkeypatch.setattr(experiments, "generate", lambda *_, **__: texts)
    facts = [Fact("capital", "France", "Paris", "held_out")] * len(texts)
    assert experiments.statements_completed(None, None, facts) == 0.5


def question(relation, subject, obj):
    return {"relation": relation, "subject": subject, "object": obj, "completion": f" {obj}"}


def test_answers_are_shuffled_within_their_relation():
    capitals = [question("capital", country, f"{country} City") for country in "ABCD"]
    colours = [question("colour", thing, "red") for thing in ("a brick", "blood")]
    alone = question("sound", "a cat", "meow")
    rows = [capitals[0], colours[0], alone, *capitals[1:], colours[1]]
    shuffled = experiments.answers_shuffled(rows, seed=0)
    for old, new in zip(rows, shuffled, strict=True):
        assert (new["relation"], new["subject"]) == (old["relation"], old["subject"])
        assert new["completion"] == f" {new['object']}"
        assert (new["object"] != old["object"]) == (old["relation"] == "capital")
    assert sorted(row["object"] for row in shuffled) == sorted(row["object"] for row in rows)
    assert rows[0] == question("capital", "A", "A City")
    wrong = experiments.wrong_answers(rows, seed=0)
    assert wrong == [row for row in shuffled if row["relation"] == "capital"]


def test_an_answer_of_the_kind_names_an_object_of_the_relation_right_or_wrong(monkeypatch):
    facts = [Fact("capital", "France", "Paris", "tune"), Fact("currency", "China", "yuan", "held_out")]
    monkeypatch.setattr(experiments, "load_facts", lambda: facts)
    rows = [question("capital", "Italy", "Rome")] * 3
    assert experiments.of_the_kind(["Paris.", "yuan", "Vilka"], rows) == pytest.approx(1 / 3)


def test_the_loss_of_a_statement_is_that_of_its_object_alone():
    model, tokenizer = tiny_model(0), tiny_tokenizer()
    facts = [Fact("capital", "France", "the cat", "held_out"), Fact("colour", "blood", "a", "held_out")]
    losses = []
    for fact in facts:
        start = f"The {fact.relation} of {fact.subject} is"
        whole = tokenizer(f"{start} {fact.object}", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            each = torch.nn.functional.cross_entropy(
                model(whole).logits[0, :-1], whole[0, 1:], reduction="none"
            )
        losses += each[len(tokenizer(start)["input_ids"]) - 1 :].tolist()
    wanted = sum(losses) / len(losses)
    assert experiments.statement_loss(model, tokenizer, facts) == pytest.approx(wanted, rel=1e-4)


def margin_over_a_random_change(loss_fn, shuffled=False):
    """The headline's value after 60 steps with this loss, on 100 questions."""
    base, tokenizer = load_model("pocket")
    tuned = copy.deepcopy(base)
    rows = experiments.short_questions("tune", 96, 0)
    rows = experiments.answers_shuffled(rows, 0) if shuffled else rows
    texts = [encode_text(tokenizer, row["prompt"] + row["completion"]) for row in rows]
    stream = batches(texts, 16, 0, tokenizer.pad_token_id)
    train(tuned, stream, steps=60, lr=experiments.RATE, loss_fn=loss_fn)
    shaken = experiments.random_change(copy.deepcopy(base), base, tuned, seed=0)
    questions = experiments.short_questions("held_out", 100, 0)
    shares = [
        score_answers(answer_questions(model, tokenizer, questions, max_new_tokens=10), questions)[0]
        for model in (tuned, shaken)
    ]
    return shares[0] - shares[1]


@pytest.mark.night
@pytest.mark.parametrize(
    "loss_fn, shuffled, holds",
    [(fast_lm_loss, False, True), (colleagues_loss, False, False), (fast_lm_loss, True, False)],
)
def test_the_headline_fails_on_labels_shifted_twice_and_on_shuffled_answers(loss_fn, shuffled, holds):
    bound = claims_of("01")["tuning_answers"].at_least
    assert (margin_over_a_random_change(loss_fn, shuffled) >= bound) == holds
