"""DPO and PPO on top of a model that LoRA has tuned, on the task of methods.py.

DPO is told that a right answer is better than the same words with another object; PPO gets 1 for a right
answer and 0 for a wrong one. Both see the questions that tuning has seen, and no others.
"""

import random
import time
from collections.abc import Sequence

import torch

from course_utils.data import IGNORE, encode, encode_prompt_completion
from course_utils.evaluation import exact_match
from course_utils.lessons.lesson_14.comparison import ALPHA, BATCH, RANK
from course_utils.methods.lora import apply_lora, attention_targets, lora_layers, merge_lora, unwrap_lora
from course_utils.methods.rollouts import answer_texts, frozen_copy

ON_TOP = ("DPO", "PPO")
ON_TOP_RATES = {"DPO": (2e-5, 1e-4, 5e-4), "PPO": (2e-5, 1e-4, 5e-4)}
DPO_STEPS = 40
ON_TOP_PPO = {"iterations": 10, "batch_size": 64, "rows": 16, "epochs": 1, "beta": 0.05}


def right_and_wrong(tokenizer, questions: Sequence[dict], asked: Sequence[dict], seed: int):
    """[(right answer, wrong answer)] to asked, as examples; the wrong one has another object of questions."""
    rng = random.Random(seed)
    objects = {}
    for row in questions:
        objects.setdefault(row["relation"], set()).add(row["object"])
    found = []
    for row in asked:
        other = rng.choice(sorted(objects[row["relation"]] - {row["object"]}))
        wrong = row["completion"].replace(row["object"], other)
        answers = (row["completion"], wrong)
        found.append(tuple(encode_prompt_completion(tokenizer, row["prompt"], text) for text in answers))
    return found


def rewarded(tokenizer, questions: Sequence[dict]):
    """(prompts as token ids, a reward for ppo: 1 for a right answer to its question, else 0)."""
    prompts = [encode(tokenizer, row["prompt"]) for row in questions]
    asked = {tuple(prompt): row for prompt, row in zip(prompts, questions, strict=True)}

    def reward(batch):
        scores = []
        lengths = (batch["labels"] != IGNORE).int().argmax(1)  # where the answer begins
        texts = answer_texts(tokenizer, batch)
        for ids, length, text in zip(batch["input_ids"], lengths, texts, strict=True):
            row = asked[tuple(ids[:length].tolist())]
            scores.append(float(exact_match(text, row["object"], row["kind"])))
        return torch.tensor(scores, device=batch["input_ids"].device)

    return prompts, reward


def on_top(
    model,
    tokenizer,
    method: str,
    questions: Sequence[dict],
    *,
    lr: float,
    seed: int,
    dpo_steps: int = DPO_STEPS,
    iterations: int = ON_TOP_PPO["iterations"],
):
    """(model, seconds) after DPO by a new adapter, or PPO of all weights. Merges the model's LoRA first."""
    from course_utils.methods.dpo import reference_log_probs, train_dpo
    from course_utils.methods.ppo import PPOSettings, train_ppo

    if method not in ON_TOP:
        raise ValueError(f"method is one of {', '.join(ON_TOP)}; got {method!r}")
    if lora_layers(model):
        merge_lora(model)
        unwrap_lora(model)
    pad = tokenizer.pad_token_id
    label = f"{method} on top, lr {lr:g}, seed {seed}"
    torch.manual_seed(seed)
    began = time.perf_counter()
    if method == "DPO":
        drawn = random.Random(seed).sample(questions, min(len(questions), dpo_steps * BATCH))
        pairs = right_and_wrong(tokenizer, questions, drawn, seed)
        reference = reference_log_probs(model, pairs, pad)
        apply_lora(model, RANK, ALPHA, attention_targets(model))
        train_dpo(
            model,
            pairs,
            reference,
            beta=0.1,
            steps=dpo_steps,
            batch_size=min(BATCH, len(pairs)),
            pad_id=pad,
            lr=lr,
            seed=seed,
            label=label,
        )
    else:
        prompts, reward = rewarded(tokenizer, questions)
        sampling = {"max_new_tokens": 24, "stop_ids": [tokenizer.eos_token_id], "pad_id": pad}
        train_ppo(
            model,
            frozen_copy(model),
            reward,
            prompts,
            sampling,
            PPOSettings(**ON_TOP_PPO | {"iterations": iterations}, lr=lr, seed=seed),
            label=label,
        )
    return model, time.perf_counter() - began


def on_top_step(method: str = "DPO", rows: int = BATCH, tokens: int = 64):
    """For memory.measure_peak: a step of DPO on pairs, or of PPO on answers, of so many random tokens.

    All tokens but the first are scored, as in methods.method_step. PPO makes two: the optimiser's moments
    are there from the second on.
    """
    from course_utils.data import Example
    from course_utils.memory import random_batch
    from course_utils.methods.dpo import reference_log_probs, train_dpo
    from course_utils.methods.ppo import PPOSettings, train_ppo
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    pad = tokenizer.pad_token_id
    ids = random_batch(model, 2 * rows, tokens)["input_ids"].tolist()
    if method == "DPO":
        examples = [Example(row, [IGNORE, *row[1:]]) for row in ids]
        pairs = list(zip(examples[:rows], examples[rows:], strict=True))
        reference = reference_log_probs(model, pairs, pad)
        apply_lora(model, RANK, ALPHA, attention_targets(model))
        return lambda: train_dpo(
            model, pairs, reference, beta=0.1, steps=1, lr=1e-5, pad_id=pad, batch_size=rows
        )
    reference, prompts = frozen_copy(model), [row[:1] for row in ids]
    sampling = {"max_new_tokens": tokens - 1, "stop_ids": [], "pad_id": pad}
    return lambda: train_ppo(
        model,
        reference,
        lambda batch: torch.rand(rows),
        prompts,
        sampling,
        PPOSettings(**ON_TOP_PPO | {"batch_size": rows, "iterations": 2}, lr=1e-5),
    )
