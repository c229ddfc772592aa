"""Lesson 07: verdicts on answers; the learner's code is what trains; broken batches fail its claims."""

import random
from collections import Counter
from statistics import mean

import pytest
import torch
import torch.nn.functional as F
from helpers import draws_of, feed, tiny_gpt2

from course_utils.checks import claims
from course_utils.data import batches, encode, load_questions
from course_utils.evaluation import mean_loss
from course_utils.generation import generate
from course_utils.lessons.lesson_04.experiments import question_examples
from course_utils.lessons.lesson_07 import experiments, stored, suspects
from course_utils.lessons.lesson_07.small_prompts import (
    SoftPrefix,
    SoftPrompt,
    prompt_fault,
    prompt_loss,
    start_from_words,
    with_prompt,
)
from course_utils.methods.prompt_tuning import PrefixTuning, PromptTuning, prefix_width
from course_utils.models import load_model
from course_utils.notebook_files import code_cells, lessons, read_notebook
from course_utils.stored_runs import load_sweep, ratios
from course_utils.training import fast_lm_loss, train


@pytest.mark.parametrize("exercise, seed", draws_of("07"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


# --- the small versions equal the package's


@pytest.fixture
def batch():
    ids = torch.randint(1, 64, (3, 7), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(7) < torch.tensor([7, 4, 6])[:, None]).long()
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, 0] = -100  # only a prompt can predict the first token
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_in_small_loss_and_gradient_are_the_package_s(kind, batch):
    model = tiny_gpt2()
    torch.manual_seed(0)
    if kind == "prompt":
        values = torch.randn(5, 32)
        small, whole = SoftPrompt(model, values), PromptTuning(model, values)
    else:
        values = torch.randn(5, prefix_width(model.config))
        small, whole = SoftPrefix(model, values), PrefixTuning(model, values)
    losses = {}
    for each, loss_fn in ((small, prompt_loss), (whole, fast_lm_loss)):
        loss, count = loss_fn(each, batch)
        loss.backward()
        losses[each] = loss.item(), int(count), getattr(each, kind).grad
    torch.testing.assert_close(*losses.values(), rtol=1e-4, atol=1e-5)


def test_left_padded_the_prompt_is_read_as_alone(batch):
    model, prompt = tiny_gpt2(), torch.randn(5, 32)
    table, ids = model.get_input_embeddings().weight.detach(), batch["input_ids"]
    mask = batch["attention_mask"].flip(1)
    embeddings, read, _, positions = with_prompt(prompt, table[ids], mask, ids)
    with torch.no_grad():
        logits = model(inputs_embeds=embeddings, attention_mask=read, position_ids=positions).logits[:, -1]
        whole = PromptTuning(model, prompt)
        alone = [whole(row[real == 1][None]).logits[0, -1] for row, real in zip(ids, mask, strict=True)]
    torch.testing.assert_close(logits, torch.stack(alone))


def test_a_relation_s_commonest_answer_is_right_as_often_as_the_lesson_says():
    asked = random.Random(0).sample(load_questions("held_out"), 100)
    trained_on: dict[str, Counter] = {}
    for row in load_questions("tune"):
        trained_on.setdefault(row["relation"], Counter())[row["object"]] += 1
    right = sum(row["object"] == trained_on[row["relation"]].most_common(1)[0][0] for row in asked)
    text = " ".join(read_notebook(lessons(["07"])[0]).cells[8].source.split())
    assert f"commonest answer in training is right for {right}% only" in text


# --- the bug hunt


def test_the_script_puts_the_text_at_the_prompt_s_positions(batch):
    prompt, mask = torch.randn(5, 32), batch["attention_mask"].flip(1)
    embeddings = torch.randn(3, 7, 32)
    _, read, positions = suspects.inputs_of_script(prompt, embeddings, mask)
    assert prompt_fault(mask, read, positions, 5) == "wrong positions"
    _, read, _, positions = with_prompt(prompt, embeddings, mask, mask)
    assert prompt_fault(mask, read, positions, 5) == "right"


def test_answers_behind_a_prompt_are_those_of_the_package():
    model, tokenizer = load_model("pocket")
    prompt = start_from_words(model, encode(tokenizer, experiments.START_WORDS), 5).detach()
    questions = [
        {"prompt": f"Question: What is the capital of {each}?\nAnswer:"}
        for each in ("Peru", "the Netherlands")
    ]

    def inputs(prompt, embeddings, mask):
        embeddings, read, _, positions = with_prompt(prompt, embeddings, mask, mask)
        return embeddings, read, positions

    answers = suspects.answers_behind(prompt, inputs, model, tokenizer, questions, new=4)
    texts = [question["prompt"] for question in questions]
    alone = generate(PromptTuning(model, prompt), tokenizer, texts, max_new_tokens=4)
    assert answers == [text.strip() for text in alone]


# --- claims, and what is broken


def mask_not_extended(prompt, embeddings, mask, labels):
    embeddings, _, labels, positions = with_prompt(prompt, embeddings, mask, labels)
    return embeddings, F.pad(mask, (0, len(prompt))), labels, positions


def trained(make, loss_fn, steps=6):
    """(the initial prompt, the tuned model) on the lesson's task."""
    model, tokenizer = load_model("pocket")
    started = start_from_words(model, encode(tokenizer, experiments.START_WORDS), 16).detach()
    tuned = make(model, started)
    stream = batches(question_examples("tune"), 16, 0, tokenizer.pad_token_id)
    train(tuned, stream, steps=steps, lr=0.06, loss_fn=loss_fn, weight_decay=0.0, label="test")
    return started, tuned


def labels_at_the_end(prompt, embeddings, mask, labels):
    embeddings, mask, _, positions = with_prompt(prompt, embeddings, mask, labels)
    return embeddings, mask, F.pad(labels, (0, len(prompt)), value=-100), positions


@pytest.mark.night
def test_side_by_side_a_broken_batch_is_seen():
    started, whole = trained(PromptTuning, fast_lm_loss)
    apart = {}
    broken = (mask_not_extended, labels_at_the_end, experiments.text_from_0)
    for in_front in (with_prompt, *broken):
        small = trained(lambda model, prompt, f=in_front: SoftPrompt(model, prompt, f), prompt_loss)[1]
        apart[in_front] = ((small.prompt - whole.prompt).norm() / (whole.prompt - started).norm()).item()
    assert apart[with_prompt] < 0.02 < min(apart[each] for each in broken)


def headline():
    """Its bounds in the saved lesson, and the stored losses of LoRA and the prompt whose ratio it is."""
    [bounds] = [record for record in claims.read(read_notebook(lessons(["07"])[0])) if record["headline"]]
    wanted = {"lora": ("LoRA", 1, "", 0.01), "prompt": ("prompt", 16, "words", 0.06)}
    rows = load_sweep("prompt_tuning")["rows"]
    losses = {
        name: [row["result"]["loss"] for row in rows if tuple(row["point"].values()) == point]
        for name, point in wanted.items()
    }
    ratios = [prompt / lora for prompt, lora in zip(losses["prompt"], losses["lora"], strict=True)]
    assert bounds["value"] == pytest.approx(mean(ratios))
    return bounds, mean(losses["lora"]), mean(losses["prompt"])


def test_a_lora_that_never_learns_fails_the_headline():
    bounds, _, prompt = headline()
    base = mean_loss(load_model("pocket")[0], question_examples("held_out", sample=100))
    assert prompt / base < bounds["at_least"]


@pytest.mark.night
def test_a_prompt_that_training_does_not_read_fails_the_headline():
    bounds, lora, _ = headline()
    tuned = trained(lambda model, prompt: SoftPrompt(model, prompt, mask_not_extended), prompt_loss, 50)[1]
    served = PromptTuning(tuned.model, tuned.prompt)
    assert mean_loss(served, question_examples("held_out", sample=100)) / lora > bounds["at_most"]


def test_losses_are_those_of_the_runs_at_the_rate_that_validation_chose():
    for method, point in {"prompt": (16, "words", 0.06), "LoRA": (1, "", 0.01)}.items():
        rows = _points_of("prompt_tuning", method)
        wanted = [row["result"]["loss"] for row in rows if tuple(row["point"].values())[1:] == point]
        assert len(wanted) == 5 and stored.held_out_losses(method) == wanted
    longer = [row["result"]["loss"] for row in _points_of("prompt_longer", "LoRA")]
    assert stored.held_out_losses("LoRA", 250) == longer
    assert ratios([3.0, 1.0], [2.0, 4.0]) == [1.5, 0.25]


def test_a_rate_at_the_edge_of_those_tried_is_refused(monkeypatch):
    monkeypatch.setattr(stored, "on_validation", lambda *kind: {0.01: 0.1, 0.03: 0.2, 0.1: 0.3})
    with pytest.raises(ValueError, match="is at the edge"):
        stored.chosen_rate("prompt")


def test_numberings_are_the_runs_of_both_trainings():
    for row in load_sweep("prompt_positions")["rows"]:
        for used in "P0":
            loss = row["result"][f"loss, text at {used}"]
            assert loss in stored.crossed_numberings()[row["point"]["text at"], used]


def test_rates_of_the_longer_runs_are_those_that_validation_chose():
    on_validation = {}
    for row in load_sweep("prompt_rates")["rows"] + load_sweep("prompt_rates_wide")["rows"]:
        point = row["point"]
        found = on_validation.setdefault((point["method"], point["size"], point["steps"]), {})
        found.setdefault(point["lr"], []).append(row["result"]["validation"])
    for (method, size, steps), losses in on_validation.items():
        best = min(losses, key=lambda rate: sum(losses[rate]))
        assert min(losses) < best < max(losses), (method, size, steps)
        if size == 64:
            assert {row["point"]["lr"] for row in _points_of("prompt_tuning", method, size)} == {best}
        if steps == 250:
            assert {row["point"]["lr"] for row in _points_of("prompt_longer", method)} == {best}


def _points_of(sweep, method, size=None):
    rows = [row for row in load_sweep(sweep)["rows"] if row["point"]["method"] == method]
    return [row for row in rows if size in (None, row["point"]["size"])]


# --- the notebook, with a learner's answer


START = ["import os", "start(MODEL, SCALE", "# What this lesson imports", "# base and tokenizer"]
TRAINED = [
    *START,
    "LENGTH, STEPS =",
    "check.start_from_words(",
    "check.with_prompt(",
    "class SoftPrompt(",
    "yours = SoftPrompt(",
]


@pytest.mark.slow
def test_what_the_learner_wrote_is_trained(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SCALE", "smoke")
    calls = []

    def answer(prompt, embeddings, mask, labels):
        calls.append(prompt.requires_grad)
        return with_prompt(prompt, embeddings, mask, labels)

    answer.__name__ = "with_prompt"
    namespace = {"__name__": "__main__", "answer": answer}
    cells = [cell.source for cell in code_cells(read_notebook(lessons(["07"])[0]))]
    for mark in TRAINED:
        source = next(source for source in cells if mark in source)
        if "check.with_prompt(" in mark:
            source = "with_prompt = check.with_prompt(answer)"
        exec(compile(source, f"lesson 07, the cell with {mark}", "exec"), namespace)
        if "check.with_prompt(" in mark:
            in_the_check = len(calls)
    assert "your with_prompt" in capsys.readouterr().out
    assert len(calls) > in_the_check and all(calls[in_the_check:])
