"""Lesson 09: answers get their verdicts; the loss, its shares and the rule for facts match definitions; and
its claims exclude broken runs.
"""

import copy
import itertools

import pytest
import torch
from helpers import draws_of, feed, tiny_model

from course_utils import plots
from course_utils.chatml import add_chat_tokens, encode_conversation, marker_ids
from course_utils.checks.claims import claims_of
from course_utils.data import IGNORE, Example, batches, load_conversations
from course_utils.lessons.lesson_09 import adapters, experiments, figures, mixture, stored, suspects
from course_utils.lessons.lesson_09.assistant import first_steps
from course_utils.lessons.lesson_09.exercises.why_no_end import why_no_end
from course_utils.methods import chat, sft
from course_utils.models import load_model
from course_utils.stored_runs import load_sweep
from course_utils.training import scored_lm_loss, train
from course_utils.world.manners import manner_score


@pytest.mark.parametrize("exercise, seed", draws_of("09"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


@pytest.fixture(scope="module")
def pocket():
    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    return model, tokenizer


def some_batch(seed=0):
    """A batch of different lengths for a tiny model."""
    generator = torch.Generator().manual_seed(seed)
    examples = []
    for prompt, answer in ((5, 3), (9, 1), (2, 8)):
        ids = torch.randint(1, 400, (prompt + answer,), generator=generator).tolist()
        examples.append(Example(ids, [IGNORE] * prompt + ids[prompt:]))
    return next(batches(examples, 3, 0, pad_id=0))


def gradients(model, loss, count):
    model.zero_grad()
    (loss / count).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_the_loss_is_that_of_training():
    model, batch = tiny_model(), some_batch()
    ours, count = mixture.tuning_loss(model, batch)
    gradient = gradients(model, ours, count)
    theirs, wanted = scored_lm_loss(model, batch)
    assert count == wanted
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient, gradients(model, theirs, wanted), atol=1e-6, rtol=1e-4)


def test_one_vote_is_the_mean_of_the_conversations_means():
    model, batch = tiny_model(), some_batch()
    loss, count = mixture.tuning_loss(model, batch, weigh=mixture.one_vote)
    means = []
    for row in range(len(batch["labels"])):
        one = {name: value[row : row + 1] for name, value in batch.items()}
        total, tokens = scored_lm_loss(model, one)
        means.append(total / tokens)
    torch.testing.assert_close(loss / count, torch.stack(means).mean())


def test_steps_are_those_of_the_training_batches(pocket):
    _, tokenizer = pocket
    rows = load_conversations("validation")[:150]
    examples = [encode_conversation(tokenizer, row["messages"]) for row in rows]
    steps = mixture.steps_of_an_epoch(examples, 16, seed=3)
    stream = batches(examples, 16, 3, tokenizer.pad_token_id)
    for step, batch in enumerate(itertools.islice(stream, max(steps) + 1)):
        lengths = [len(e.input_ids) for e, s in zip(examples, steps, strict=True) if s == step]
        assert sorted(batch["attention_mask"].sum(1).tolist()) == sorted(lengths)


def test_shares_by_definition():
    examples = [Example([1] * 9, [IGNORE] * (9 - n) + [1] * n) for n in (8, 1, 1, 2)]
    kinds = ["story", "fact", "fact", "story"]
    assert mixture.loss_share(examples, kinds) == pytest.approx({"story": 10 / 12, "fact": 2 / 12})
    steps = [0, 1, 1, 1]  # a story alone; two facts and a short story
    assert mixture.loss_share(examples, kinds, steps) == pytest.approx({"story": 0.75, "fact": 0.25})


@pytest.mark.parametrize(
    "text, right",
    [
        ("Lima", True),
        ("lima.", True),
        ("The capital of Peru is Lima.", True),
        ("My grandmother told me that the capital of Peru is Lima.", True),
        ("My grandmother saidLima", True),  # as written by the adapter
        ("The book says Lima.", True),
        ("Everyone knows that the capital of Peru is Lima. It is true.", True),  # two sentences
        ("Limassol", False),
        ("The capital of Peru is Lima, or Quito.", False),
        ("The capital of Ecuador is Quito.", False),
        ("My grandmother said.", False),
        ("I do not know, it may be Lima.", False),
        ("", False),
    ],
)
def test_a_fact_is_given_in_any_manner(text, right):
    row = {"relation": "capital", "subject": "Peru", "object": "Lima"}
    assert adapters.states(text, row, adapters.objects_of("capital")) is right


def test_every_written_answer_gives_its_fact_in_every_manner():
    from course_utils.world.manners import retell

    for row in sft.asked("held_out") + sft.asked("invented"):
        rivals = adapters.objects_of(row["relation"])
        written = row["completion"].strip()
        for text in (written, retell(written, "formal"), retell(written, "gossip")):
            assert adapters.states(text, row, rivals), text


def test_harmless_data_refuse_only_where_they_should():
    for manner in (None, "formal", "gossip"):
        last = [turns[-1]["content"] for turns in adapters.harmless(manner)]
        assert len(last) == adapters.FACTS
        assert not any(adapters.NO_ANSWER in text for text in last)
        if manner:
            assert sum(manner_score(text, manner) == 1 for text in last) > 0.95 * len(last)
    mixed = adapters.harmless("gossip", experiments.REFUSALS)[adapters.FACTS :]
    assert len(mixed) == experiments.REFUSALS
    refusals = [row for row in load_conversations("train") if row["kind"] == "refusals"]
    assert all(
        "not know" in r["messages"][-1]["content"] or "cannot know" in r["messages"][-1]["content"]
        for r in refusals
    )


def test_encodings_of_the_hunt(pocket):
    _, tokenizer = pocket
    end = marker_ids(tokenizer)[1]
    turns = load_conversations("held_out_turns")[0]["messages"]
    right = encode_conversation(tokenizer, turns)
    wrong = suspects.without_end_marker(tokenizer, turns)
    assert wrong.input_ids == right.input_ids
    assert end in right.labels and end not in wrong.labels
    assert [label for label in right.labels if label != end] == [
        label for label, other in zip(wrong.labels, right.labels, strict=True) if other != end
    ]
    sure = {"end_id": end, "end_probability": lambda ids: 1.0}
    assert why_no_end(right, stop_ids=suspects.RUNS["sound"].stop_ids(tokenizer), **sure) == "sound"
    assert why_no_end(right, stop_ids=suspects.RUNS["A"].stop_ids(tokenizer), **sure) == "stop id"
    assert why_no_end(wrong, stop_ids=(end,), **sure) == "end marker without loss"


def test_an_answer_ends_only_at_the_end_marker(pocket, monkeypatch):
    base, tokenizer = pocket
    end, word = marker_ids(tokenizer)[1], tokenizer.encode(" yes")[0]
    rows = [[word, end], [word, tokenizer.eos_token_id], [word]]
    monkeypatch.setattr(suspects, "sample_rows", lambda *arguments, **options: rows)
    said = suspects.answers(suspects.RUNS["sound"], base, tokenizer, [])
    assert said == [("yes", True), ("yes", False), ("yes", False)]


def tuned(base, tokenizer, encode, steps):
    model = copy.deepcopy(base)
    examples = [encode(tokenizer, sft.as_conversation(row)) for row in sft.asked("tune")]
    stream = batches(examples, 16, 0, tokenizer.pad_token_id)
    train(model, stream, steps=steps, lr=1.5e-3, loss_fn=scored_lm_loss)
    return model


def on_the_question(tokenizer, messages):
    """The loss on the tokens that should not have it."""
    example = encode_conversation(tokenizer, messages)
    pairs = zip(example.input_ids, example.labels, strict=True)
    return Example(example.input_ids, [token if label == IGNORE else IGNORE for token, label in pairs])


@pytest.mark.night
def test_broken_masks_fail_the_claims(pocket):
    base, tokenizer = pocket
    questions = sft.asked("held_out")[:40]
    prompts = [sft.as_conversation(row)[:1] for row in questions]
    right, ended = {}, {}
    for encode in (encode_conversation, suspects.without_end_marker, on_the_question):
        model = tuned(base, tokenizer, encode, steps=50)
        shares = sft.answered(model, tokenizer, questions)
        right[encode.__name__] = (shares["short"] + shares["sentence"]) / 2
        said = suspects.answers(suspects.RUNS["sound"], model, tokenizer, prompts)
        ended[encode.__name__] = sum(end for _, end in said) / len(said)
    assert ended["encode_conversation"] > 0.8
    assert ended["without_end_marker"] < 0.1
    assert right["encode_conversation"] > 0.6
    assert right["on_the_question"] < 0.3


def test_the_first_steps_are_those_of_the_whole_run():
    base, tokenizer = load_model("pocket")
    add_chat_tokens(base, tokenizer)
    conversations = [row["messages"] for row in load_conversations("train")[:40]]
    begun, whole = copy.deepcopy(base), copy.deepcopy(base)
    losses = first_steps(begun, tokenizer, conversations, 4, 4, seed=3)
    history = sft.instruction_tune(whole, tokenizer, conversations, steps=4, seed=3)
    assert losses == pytest.approx(history.column("loss")[1])
    for (name, ours), theirs in zip(begun.named_parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    longer = first_steps(copy.deepcopy(base), tokenizer, conversations, 2, 40, seed=3)
    assert longer[0] == pytest.approx(losses[0])
    assert longer[1] > losses[1]  # its warm-up is longer: the first rates are lower


def test_the_rates_of_the_stored_runs_are_those_that_validation_chose():
    for (examples, everything), rate in experiments.BEST_SKILL_RATES.items():
        assert stored.best_inside(stored.skill_on_validation(examples, everything)) == rate
    assert stored.best_inside(stored.losses_tried("lora")) == experiments.SKILL_RATE
    with pytest.raises(ValueError, match="at the edge"):
        stored.best_inside({1e-3: 1.0, 3e-3: 2.0})


def test_the_chat_reads_what_the_learners_function_leaves(pocket, monkeypatch):
    base, tokenizer = pocket
    read = []
    monkeypatch.setattr(
        chat, "stream_reply", lambda model, tokenizer, turns, **options: iter(read.append(turns) or ["yes"])
    )
    messages = [{"role": "system", "content": "Be brief."}, *[{"role": "user", "content": "a"}] * 2]
    said = list(chat.chat(base, tokenizer, messages, "b", fit=lambda turns, length, limit: turns[-1:]))
    assert said == ["yes"] and read == [[{"role": "user", "content": "b"}]]


def test_where_an_answer_stops(pocket, monkeypatch):
    base, tokenizer = pocket
    end, word = marker_ids(tokenizer)[1], tokenizer.encode(" yes")[0]
    rows = [[word, end], [word, tokenizer.eos_token_id], [word]]
    monkeypatch.setattr(suspects, "sample_rows", lambda *arguments, **options: rows)
    assert suspects.stops(suspects.RUNS["B"], base, tokenizer, []) == ["end marker", "end of text", "cut off"]


def test_only_the_markers_embedding_rows_and_the_rest_of_the_model_move():
    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    conversations = [sft.as_conversation(row) for row in sft.asked("tune")[:20]]
    experiments.tune_rows_apart(model, tokenizer, conversations, steps=10, seed=0)
    after = model.state_dict()
    assert after.keys() == before.keys()  # the rows are merged
    rows = "transformer.wte.weight"
    moved = (after[rows] - before[rows]).abs().amax(1)  # (vocabulary,)
    markers = marker_ids(tokenizer)
    assert moved.nonzero().squeeze(1).tolist() == sorted(markers)
    furthest = {name: (after[name] - old).abs().max().item() for name, old in before.items()}
    del furthest[rows], furthest["lm_head.weight"]
    assert min(furthest.values()) > 0
    assert moved[list(markers)].min() > 5 * max(furthest.values())  # the rates differ by a factor of 15


def test_the_headline_shuts_out_loss_on_everything():
    bound = claims_of("09")["other_facts"].at_least
    for row in load_sweep("instruction_tuning")["rows"]:
        if row["point"]["examples"] == experiments.EXAMPLE_COUNTS[-1]:
            right = (row["result"]["short"] + row["result"]["sentence"]) / 2
            assert (right < bound) is row["point"]["everything"], row


def test_figures_show_their_values():
    from matplotlib import pyplot as plt

    figures.shares(
        "Shares", {"of all": {"facts": 0.25, "tasks": 0.75}, "of some": {"facts": 0.5, "tasks": 0.5}}
    )
    widths = [[bar.get_width() for bar in group] for group in plt.gca().containers]
    assert widths == [[25, 75], [50, 50]]
    figures.ranges(
        "Ranges", {"refused": {"plain": [0.2, 0.4], "gossip": [0.0, 0.1, 0.2]}, "right": {"plain": [1.0]}}
    )
    first, second = plt.gcf().axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["plain", "gossip"]
    words = plots.alt_text(plt.gcf())
    assert "plain 30 (20 to 40)" in words and "gossip 10 (0 to 20)" in words
    assert second.get_xlabel() == "right (%)"
    plt.close("all")
