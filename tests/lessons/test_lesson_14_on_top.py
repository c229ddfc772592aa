"""Pairs of a right and a wrong list, a reward that verifies, and training on top of LoRA."""

import pytest
import torch
from helpers import tiny_model, tiny_tokenizer

from course_utils.data import IGNORE, Example, collate, encode
from course_utils.lessons.lesson_14.on_top import ON_TOP, on_top, on_top_step, rewarded, right_and_wrong
from course_utils.methods.lora import apply_lora, count_trainable, lora_layers


def row(prompt, answers, relations):
    return {
        "prompt": f"{prompt}\nAnswer:",
        "completion": f" {', '.join(answers)}.",
        "answers": answers,
        "relations": relations,
    }


ROWS = [
    row("a cat, Paris?", ["mat", "France"], ["sits", "capital"]),
    row("a dog, Rome?", ["hat", "Italy"], ["sits", "capital"]),
    row("a wolf?", ["Answer"], ["alone"]),
]


def answer(tokenizer, example):
    return tokenizer.decode([token for token in example.labels if token != IGNORE], skip_special_tokens=True)


def test_a_wrong_list_differs_in_one_name_of_the_same_relation():
    tokenizer = tiny_tokenizer()
    others = {"mat": "hat", "hat": "mat", "France": "Italy", "Italy": "France"}
    for seed in range(4):
        pairs = right_and_wrong(tokenizer, ROWS, seed)
        assert len(pairs) == 2  # a relation with one name has no other
        for (right, wrong), given in zip(pairs, ROWS, strict=False):
            prompt = right.labels.count(IGNORE)
            assert right.input_ids[:prompt] == wrong.input_ids[:prompt] and prompt == wrong.labels.count(
                IGNORE
            )
            texts = [
                answer(tokenizer, example).strip().removesuffix(".").split(", ") for example in (right, wrong)
            ]
            assert texts[0] == given["answers"]
            changed = [(one, other) for one, other in zip(*texts, strict=True) if one != other]
            assert len(changed) == 1 and others[changed[0][0]] == changed[0][1]


def test_the_reward_verifies_an_answer_against_its_own_request():
    tokenizer = tiny_tokenizer()
    prompts, reward = rewarded(tokenizer, ROWS)
    assert prompts == [encode(tokenizer, each["prompt"]) for each in ROWS]

    def scores(*answers, ended=True):
        examples = [
            Example(prompt + encode(tokenizer, text), [IGNORE] * len(prompt) + encode(tokenizer, text))
            for prompt, text in zip(prompts, answers, strict=True)
        ]
        batch = collate(examples, tokenizer.pad_token_id)
        return reward(batch | {"ended": torch.full((len(answers),), float(ended))}).tolist()

    right = [each["completion"] for each in ROWS]
    assert scores(*right) == [1, 1, 1]
    assert scores(right[1], right[1], right[0]) == [0, 1, 0]
    assert scores(" mat.", " Italy, hat.", right[2]) == [0, 0, 1]
    assert scores(*right, ended=False) == [0, 0, 0]


@pytest.mark.parametrize("method", ON_TOP)
def test_on_top_merges_lora_and_trains_from_where_it_was(method, monkeypatch):
    from course_utils.lessons.lesson_14 import on_top as module

    random_scores = torch.Generator().manual_seed(0)  # otherwise no answer of a random model is right
    monkeypatch.setattr(
        module,
        "rewarded",
        lambda tokenizer, lists: (
            [encode(tokenizer, each["prompt"]) for each in lists],
            lambda batch: torch.rand(len(batch["input_ids"]), generator=random_scores),
        ),
    )
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
    assert trained == total if method == "GRPO" else trained < total / 2


def test_an_unknown_method_is_said():
    with pytest.raises(ValueError, match="DPO, GRPO; got 'PPO'"):
        on_top(tiny_model(), tiny_tokenizer(), "PPO", ROWS, lr=0.1, seed=0)


@pytest.mark.parametrize("method", ON_TOP)
def test_the_measured_step_runs(method, monkeypatch):
    import course_utils.models

    monkeypatch.setattr(course_utils.models, "load_model", lambda name: (tiny_model(), tiny_tokenizer()))
    step = on_top_step(method, rows=2, tokens=16)
    assert step() is not None
