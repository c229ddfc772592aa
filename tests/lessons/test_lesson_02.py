"""Lesson 02: answers get their verdicts; the loop, its optimiser and its measures match definitions."""

import itertools
import re

import pytest
import torch
from helpers import draws_of, feed

from course_utils.data import IGNORE, load_facts, load_source_texts
from course_utils.lessons.lesson_02 import loop, measures, stored, suspects
from course_utils.models import load_model
from course_utils.training import accumulated_step, adamw, train
from course_utils.world.tables import bare


@pytest.mark.parametrize("exercise, seed", draws_of("02"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


@pytest.fixture(scope="module")
def tokenizer():
    return load_model("pocket")[1]


def test_adamw_by_hand_moves_as_torch_does(tokenizer):
    models = [load_model("pocket")[0] for _ in range(2)]
    by_hand = loop.adamw_by_hand(models[0], 1e-3, weight_decay=0.5)
    by_torch = adamw(models[1], 1e-3, weight_decay=0.5)
    first, later = [], []
    for model, optimizer in zip(models, (by_hand, by_torch), strict=True):
        loop.train_plain(model, measures.question_stream(tokenizer, 0), optimizer, 1, 1e-3)
        first.append([p.detach().clone() for p in model.parameters()])
        later.append(loop.train_plain(model, measures.question_stream(tokenizer, 1), optimizer, 4, 1e-3)[0])
    for one, other in zip(*first, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    assert later[0] == pytest.approx(later[1], rel=1e-2)


def test_the_loop_is_that_of_the_package(tokenizer):
    ours, theirs = (load_model("pocket")[0] for _ in range(2))
    losses, norms = loop.train_plain(ours, measures.question_stream(tokenizer, 3), adamw(ours, 5e-4), 6, 5e-4)
    history = train(theirs, measures.question_stream(tokenizer, 3), steps=6, lr=5e-4)
    assert losses == pytest.approx(history.column("loss")[1], rel=1e-4)
    assert norms == pytest.approx(history.column("grad_norm")[1], rel=1e-3)


def test_the_loop_stops_where_the_loss_is_not_finite(tokenizer):
    model, _ = load_model("pocket")
    losses, _ = loop.train_plain(
        model,
        measures.question_stream(tokenizer, 0),
        torch.optim.SGD(model.parameters(), 1.0),
        9,
        1.0,
        accumulate_fn=lambda *given: (float("nan"), accumulated_step(*given)[1]),
    )
    assert len(losses) == 1


def test_statements_have_loss_on_the_object_alone(tokenizer):
    facts = load_facts("held_out")[:40]
    for fact, example in zip(facts, measures.encode_statements(tokenizer, facts), strict=True):
        scored = [token for token in example.labels if token != IGNORE]
        assert tokenizer.decode(scored).removeprefix(" the").strip() == fact.object
        assert example.input_ids[-len(scored) :] == scored


def test_no_text_for_replay_states_a_measured_fact():
    texts = load_source_texts("replay")
    for fact in measures.never_replayed():
        both = [
            text
            for text in texts
            if re.search(rf"\b{re.escape(bare(fact.subject))}\b", text)
            and re.search(rf"\b{re.escape(fact.object)}\b", text)
        ]
        assert both == []


def test_statement_scores_are_those_of_greedy_completion(tokenizer):
    model, _ = load_model("pocket")
    facts = measures.never_replayed()[:20]
    examples = measures.encode_statements(tokenizer, facts)
    right = []
    for example in examples:
        start = [
            token for token, label in zip(example.input_ids, example.labels, strict=True) if label == IGNORE
        ]
        wanted = example.input_ids[len(start) :]
        ids = torch.tensor([start])
        for _ in wanted:
            with torch.no_grad():
                ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], 1)
        right.append(ids[0, len(start) :].tolist() == wanted)
    assert measures.statement_scores(model, examples)[1] == pytest.approx(sum(right) / len(right))


def test_replay_gives_questions_and_texts_in_turn(tokenizer):
    batches = list(itertools.islice(measures.replay_stream(tokenizer, 0, 2), 6))
    assert [len(batch["labels"]) for batch in batches[1::2]] == [2, 2, 2]
    questions = list(itertools.islice(measures.question_stream(tokenizer, 0), 3))
    for one, other in zip(batches[::2], questions, strict=True):
        assert torch.equal(one["input_ids"], other["input_ids"])


def test_the_three_steps_have_the_faults_of_their_names(tokenizer):
    model, _ = load_model("pocket")
    batches = list(itertools.islice(measures.question_stream(tokenizer, 0, 8), 2))
    right, tokens = accumulated_step(model, batches)
    assert suspects.masked_by_id(model, batches)[1] == tokens - 16
    assert suspects.shifted_twice(model, batches)[1] == tokens
    assert suspects.shifted_twice(model, batches)[0] > 2 * right
    one = suspects.mean_of_means(model, batches[:1])
    assert one == pytest.approx(accumulated_step(model, batches[:1]), rel=1e-5)


def test_the_stored_base_is_the_base(tokenizer):
    model, _ = load_model("pocket")
    found = measures.yardstick(tokenizer).measure(model)
    for name, value in found.items():
        assert stored.base_run()[name] == pytest.approx(value, rel=1e-3)


def test_no_tuning_and_plain_tuning_each_cost_all_of_it():
    base, tuned = stored.base_run(), stored.runs()[0]
    assert stored.cost(base, tuned, base) == (1.0, 0.0)
    assert stored.cost(tuned, tuned, base) == (0.0, 1.0)
    half = {name: (base[name] + tuned[name]) / 2 for name in ("answer_loss", "text_loss")}
    assert stored.cost(half, tuned, base) == pytest.approx((0.5, 0.5))


def test_both_sweeps_say_the_same_of_a_rate():
    for name, other in {"answer_loss": "target_loss", "forgetting": "forgetting"}.items():
        found = [run[name] for run in stored.runs(1e-5)]
        assert found == pytest.approx(stored.at_rates(other)[1e-5], rel=1e-2)
    assert stored.costs_of_rate(1e-5) == pytest.approx(
        [sum(both) for both in stored.costs_of(stored.runs(1e-5))], rel=1e-2
    )


def test_at_every_seed_only_replay_is_within_the_headlines_bound():
    within = {"replay, rate 2e-4", "the same, 73 steps", "replay, rate 5e-5"}
    for name, found in stored.compared_remedies().items():
        assert all((sum(both) <= 0.1) == (name in within) for both in stored.costs_of(found)), name


def test_replay_reads_as_many_tokens_in_fewer_steps(tokenizer):
    stream = list(itertools.islice(measures.replay_stream(tokenizer, 0, 2), 400))
    questions, texts = (sum(int(batch["attention_mask"].sum()) for batch in stream[i::2]) for i in (0, 1))
    assert stored.SAME_TOKENS[2] == pytest.approx(100 * questions / (questions + texts), abs=1.5)
    assert stored.SAME_TOKENS[0] == pytest.approx(100 * (questions + texts) / questions, abs=2.5)


def without_loss(stream):
    """Alternating questions and old texts, the texts without labels: replay that is read but not learned."""
    for questions, texts in zip(stream, stream, strict=False):
        yield questions
        yield texts | {"labels": torch.full_like(texts["labels"], IGNORE)}


def texts_alone(stream):
    """The old texts of the alternating stream, each twice: the questions have no gradient."""
    for _, texts in zip(stream, stream, strict=False):
        yield from (texts, texts)


@pytest.mark.night
def test_the_headline_shuts_out_broken_replay(tokenizer):
    """Remaining forgetting plus lost gain: at most a tenth, unless replay is broken."""
    base, _ = load_model("pocket")
    ruler = measures.yardstick(tokenizer, questions=60, texts=40, facts=20)
    before = ruler.measure(base)
    streams = {
        "questions": (measures.question_stream(tokenizer, 0), 1),
        "replay": (measures.replay_stream(tokenizer, 0, 2), 2),
        "texts without loss": (without_loss(measures.replay_stream(tokenizer, 0, 2)), 2),
        "texts alone": (texts_alone(measures.replay_stream(tokenizer, 0, 2)), 2),
    }
    lost, gained = {}, {}
    for name, (stream, accumulate) in streams.items():
        model, _ = load_model("pocket")
        loop.train_plain(model, stream, adamw(model, 2e-4), 60, 2e-4, accumulate=accumulate)
        after = ruler.measure(model)
        lost[name] = after["text_loss"] - before["text_loss"]
        gained[name] = before["answer_loss"] - after["answer_loss"]
    price = {
        name: lost[name] / lost["questions"] + 1 - gained[name] / gained["questions"] for name in streams
    }
    assert price["replay"] <= 0.1
    assert min(price["texts without loss"], price["texts alone"], price["questions"]) > 0.5
