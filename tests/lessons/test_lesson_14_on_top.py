"""Pairs of a right and a wrong answer, a reward that checks facts, and training on top of LoRA."""

import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils.data import IGNORE, Example, collate, encode
from course_utils.lessons.lesson_14.on_top import ON_TOP, on_top, on_top_step, rewarded, right_and_wrong
from course_utils.methods.lora import apply_lora, count_trainable, lora_layers

ROWS = [
    {"prompt": "a cat?", "completion": " the mat", "object": "mat", "relation": "sits", "kind": "short"},
    {
        "prompt": "a dog?",
        "completion": " the dog sat on the hat.",
        "object": "hat",
        "relation": "sits",
        "kind": "sentence",
    },
    {"prompt": "Paris?", "completion": " France", "object": "France", "relation": "capital", "kind": "short"},
    {"prompt": "Rome?", "completion": " Italy", "object": "Italy", "relation": "capital", "kind": "short"},
]


def answer(tokenizer, example):
    return tokenizer.decode([token for token in example.labels if token != IGNORE], skip_special_tokens=True)


def test_a_wrong_answer_has_the_words_of_the_right_one_and_another_object():
    tokenizer = tiny_tokenizer()
    pairs = right_and_wrong(tokenizer, ROWS, ROWS, seed=0)
    said = [tuple(answer(tokenizer, example).strip() for example in pair) for pair in pairs]
    assert said == [
        ("the mat", "the hat"),
        ("the dog sat on the hat.", "the dog sat on the mat."),
        ("France", "Italy"),
        ("Italy", "France"),
    ]
    for right, wrong in pairs:
        prompt = right.labels.count(IGNORE)
        assert right.input_ids[:prompt] == wrong.input_ids[:prompt] and prompt == wrong.labels.count(IGNORE)


def test_the_other_object_may_be_of_a_question_that_is_not_asked():
    tokenizer = tiny_tokenizer()
    ((right, wrong),) = right_and_wrong(tokenizer, ROWS, [ROWS[2]], seed=0)
    assert [answer(tokenizer, right).strip(), answer(tokenizer, wrong).strip()] == ["France", "Italy"]


def test_the_reward_reads_the_answer_against_its_own_question():
    tokenizer = tiny_tokenizer()
    prompts, reward = rewarded(tokenizer, ROWS)
    assert prompts == [encode(tokenizer, row["prompt"]) for row in ROWS]

    def scores(*answers):
        examples = [
            Example(prompt + encode(tokenizer, text), [IGNORE] * len(prompt) + encode(tokenizer, text))
            for prompt, text in zip(prompts, answers, strict=True)
        ]
        return reward(collate(examples, tokenizer.pad_token_id)).tolist()

    right = [row["completion"] for row in ROWS]
    assert scores(*right) == [1, 1, 1, 1]
    assert scores(right[0], right[0], right[3], right[3]) == [1, 0, 0, 1]


@pytest.mark.parametrize("method", ON_TOP)
def test_on_top_merges_lora_and_trains_from_where_it_was(method):
    tokenizer, model = tiny_tokenizer(), apply_lora(tiny_model(), 4, 8.0)
    for layer in lora_layers(model).values():
        torch.nn.init.normal_(layer.lora_B, std=0.1)
    batch = torch.tensor([encode(tokenizer, ROWS[0]["prompt"])])
    before = model(batch).logits.detach()
    still, seconds = on_top(model, tokenizer, method, ROWS, lr=0.0, seed=0, dpo_steps=1, iterations=1)
    torch.testing.assert_close(still(batch).logits, before, atol=1e-5, rtol=1e-5)
    assert seconds > 0 and bool(lora_layers(still)) == (method == "DPO")
    moved, _ = on_top(still, tokenizer, method, ROWS, lr=1e-2, seed=0, dpo_steps=2, iterations=2)
    assert (moved(batch).logits - before).abs().max() > 1e-3
    trained, total = count_trainable(moved)
    assert trained == total if method == "PPO" else trained < total / 2


def test_an_unknown_method_is_said():
    with pytest.raises(ValueError, match="DPO, PPO; got 'LoRA'"):
        on_top(tiny_model(), tiny_tokenizer(), "LoRA", ROWS, lr=0.1, seed=0)


@pytest.mark.parametrize("method", ON_TOP)
def test_the_measured_step_runs(method, monkeypatch):
    import course_utils.models

    monkeypatch.setattr(course_utils.models, "load_model", lambda name: (tiny_model(), tiny_tokenizer()))
    step = on_top_step(method, rows=2, tokens=16)
    assert step() is not None
