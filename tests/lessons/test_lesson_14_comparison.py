"""The task's three parts, what each method trains and writes, and answers scored one by one."""

import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils.data import encode, load_questions
from course_utils.lessons.lesson_14 import comparison
from course_utils.lessons.lesson_14.comparison import (
    TRAINED,
    examples_in_front,
    file_bytes,
    prepare,
    right_answers,
    task,
    tune,
)
from course_utils.methods.lora import count_trainable

SHORT = {"prompt": "Question: a?\nAnswer:", "completion": " Paris", "object": "Paris", "kind": "short"}
LONG = {**SHORT, "completion": " Paris sat on the mat.", "kind": "sentence"}


def facts(rows):
    return {(row["relation"], row["subject"]) for row in rows}


def test_no_fact_is_in_two_parts_and_each_is_asked_once():
    parts = task(40, 60)
    assert (len(parts.choose), len(parts.judge)) == (40, 60)
    assert len(facts(parts.choose + parts.judge)) == 100
    assert not facts(parts.tune) & facts(parts.choose + parts.judge)
    assert parts.tune == load_questions("tune")
    kinds = [row["kind"] for row in parts.judge]
    assert kinds.count("short") == kinds.count("sentence")


def test_examples_in_front_are_whole_questions_drawn_by_the_seed():
    text = examples_in_front([SHORT, LONG], 2, seed=0)
    assert sorted(text.splitlines()) == [
        "Answer: Paris",
        "Answer: Paris sat on the mat.",
        "Question: a?",
        "Question: a?",
    ]
    many = [{**SHORT, "completion": f" {number}"} for number in range(50)]
    assert examples_in_front(many, 3, 0) != examples_in_front(many, 3, 1)
    assert examples_in_front(many, 3, 1) == examples_in_front(many, 3, 1)
    assert examples_in_front(many, 0, 0) == ""


@pytest.mark.parametrize(
    "method, trained",
    [("prompt tuning", 16 * 32), ("LoRA", 2 * 8 * (32 + 96)), ("QLoRA", 2 * 8 * (32 + 96)), ("full", None)],
)
def test_what_is_trained(method, trained):
    model = tiny_model()
    total = count_trainable(model)[1]
    prepared = prepare(model, tiny_tokenizer(), method)
    assert count_trainable(prepared)[0] == (trained or total)


def test_an_unknown_method_is_said():
    with pytest.raises(ValueError, match="prompt tuning, LoRA, QLoRA, full; got 'luck'"):
        prepare(tiny_model(), tiny_tokenizer(), "luck")


@pytest.mark.parametrize("method", TRAINED)
def test_tuning_learns_and_the_seed_decides(method):
    tokenizer, rows = tiny_tokenizer(), [SHORT, LONG]
    lr = {"full": 3e-3, "prompt tuning": 0.3}.get(method, 3e-2)
    examples = comparison.encoded(tokenizer, rows)

    def loss_after(seed):
        from course_utils.evaluation import mean_loss

        model, seconds = tune(tiny_model(), tokenizer, method, rows, lr=lr, seed=seed, steps=8)
        assert seconds > 0
        return mean_loss(model, examples)

    first = loss_after(0)
    assert first == loss_after(0)
    from course_utils.evaluation import mean_loss

    assert first < mean_loss(tiny_model(), examples)


def test_answers_end_with_their_line(monkeypatch):
    said = ["Paris", " paris\n", "Rome", "Paris sat there."]
    seen = {}

    def generate(model, tokenizer, prompts, **settings):
        seen.update(settings, prompts=prompts)
        return said

    monkeypatch.setattr(comparison, "generate", generate)
    assert right_answers(None, None, [SHORT, SHORT, SHORT, LONG], "in front\n") == [1, 1, 0, 1]
    assert seen["prompts"][0] == "in front\nQuestion: a?\nAnswer:"
    assert "\n" in seen["stop"]


def test_files_hold_what_was_trained():
    tokenizer = tiny_tokenizer()
    for method in TRAINED:
        model = prepare(tiny_model(), tokenizer, method)
        values = 4 * count_trainable(model)[0]
        assert values < file_bytes(model, method) < values + 6000
    assert file_bytes(None, "prompting", "é?") == 3


@pytest.mark.parametrize("method", ["prompting", "LoRA"])
def test_the_measured_step_runs(method, monkeypatch):
    import course_utils.models

    monkeypatch.setattr(course_utils.models, "load_model", lambda name: (tiny_model(), tiny_tokenizer()))
    step = comparison.method_step(method, batch_size=2, tokens=8)
    result = step()
    assert result is None if method == "LoRA" else result.shape[0] == 2


def test_tokens_in_front():
    from course_utils.lessons.lesson_14.experiments import tokens_in_front

    tokenizer = tiny_tokenizer()
    assert tokens_in_front(prepare(tiny_model(), tokenizer, "prompt tuning"), tokenizer, "") == 16
    assert tokens_in_front(tiny_model(), tokenizer, "a cat\n") == len(encode(tokenizer, "a cat\n"))


def test_weights_of_a_frozen_base_do_not_move():
    tokenizer = tiny_tokenizer()
    model, _ = tune(tiny_model(), tokenizer, "LoRA", [SHORT, LONG], lr=0.03, seed=0, steps=3)
    before = dict(tiny_model().named_parameters())
    frozen = {
        name.replace(".original", ""): value
        for name, value in model.named_parameters()
        if "lora_" not in name
    }
    assert frozen.keys() == before.keys()
    assert all(torch.equal(frozen[name], before[name]) for name in before)
