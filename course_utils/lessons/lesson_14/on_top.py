"""DPO and GRPO on top of a model tuned with LoRA, on the task of comparison.py.

DPO prefers a right list to the same list with one wrong name; GRPO gets 1 for a right list and 0 for a wrong
one. Both see only the lists that tuning has seen.
"""

import random
import time
from collections.abc import Sequence

import torch

from course_utils.data import IGNORE, encode, encode_prompt_completion
from course_utils.lessons.lesson_14.comparison import ALPHA, BATCH, NEW_TOKENS, RANK
from course_utils.methods.lora import apply_lora, lora_layers, merge_lora, unwrap_lora
from course_utils.methods.rollouts import answer_texts, frozen_copy
from course_utils.world.lists import verify

ON_TOP = ("DPO", "GRPO")
ON_TOP_RATES = {"DPO": (3e-5, 1e-4, 3e-4, 1e-3), "GRPO": (1e-5, 3e-5, 1e-4, 3e-4)}
DPO_STEPS = 40
GRPO_RUN = {"iterations": 10, "batch_size": 64, "group": 8, "beta": 0.0, "no_end_penalty": 0.0}


def right_and_wrong(tokenizer, lists: Sequence[dict], seed: int):
    """[(right answer, wrong answer)] to lists, as examples: one name is exchanged within its relation."""
    rng = random.Random(seed)
    objects = {}
    for row in lists:
        for relation, name in zip(row["relations"], row["answers"], strict=True):
            objects.setdefault(relation, set()).add(name)
    pairs = []
    for row in lists:
        places = [p for p in range(len(row["answers"])) if len(objects[row["relations"][p]]) > 1]
        if not places:
            continue
        names, place = list(row["answers"]), rng.choice(places)
        names[place] = rng.choice(sorted(objects[row["relations"][place]] - {names[place]}))
        answers = (row["completion"], f" {', '.join(names)}.")
        pairs.append(tuple(encode_prompt_completion(tokenizer, row["prompt"], text) for text in answers))
    return pairs


def rewarded(tokenizer, lists: Sequence[dict]):
    """(prompts as token ids, a reward for train_group: 1 for a right answer to its request, else 0)."""
    prompts = [encode(tokenizer, row["prompt"]) for row in lists]
    asked = {tuple(prompt): row for prompt, row in zip(prompts, lists, strict=True)}

    def reward(batch):
        scores = []
        lengths = (batch["labels"] != IGNORE).int().argmax(1)  # start of the answer
        texts = answer_texts(tokenizer, batch)
        for ids, length, text in zip(batch["input_ids"], lengths, texts, strict=True):
            scores.append(verify(text, asked[tuple(ids[:length].tolist())]["answers"]))
        return torch.tensor(scores, device=batch["input_ids"].device) * batch["ended"]

    return prompts, reward


def on_top(
    model,
    tokenizer,
    method: str,
    lists: Sequence[dict],
    *,
    lr: float,
    seed: int,
    dpo_steps: int = DPO_STEPS,
    iterations: int = GRPO_RUN["iterations"],
):
    """(model, seconds) after DPO of a new adapter, or GRPO of all weights. Merges the model's LoRA first."""
    from course_utils.methods.dpo import reference_log_probs, train_dpo
    from course_utils.methods.reinforce import train_group

    if method not in ON_TOP:
        raise ValueError(f"method must be one of {', '.join(ON_TOP)}; got {method!r}")
    if lora_layers(model):
        merge_lora(model)
        unwrap_lora(model)
    pad = tokenizer.pad_token_id
    torch.manual_seed(seed)
    began = time.perf_counter()
    if method == "DPO":
        pairs = right_and_wrong(tokenizer, lists, seed)
        reference = reference_log_probs(model, pairs, pad)
        apply_lora(model, RANK, ALPHA)
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
            label=f"DPO on top, lr {lr:g}, seed {seed}",
        )
    else:
        prompts, reward = rewarded(tokenizer, lists)
        sampling = {"max_new_tokens": NEW_TOKENS, "stop_ids": [tokenizer.eos_token_id], "pad_id": pad}
        settings = GRPO_RUN | {"iterations": iterations}
        train_group(
            model, frozen_copy(model), reward, prompts, sampling, method="grpo", lr=lr, seed=seed, **settings
        )
    return model, time.perf_counter() - began


def on_top_step(method: str = "DPO", rows: int = BATCH, tokens: int = 64):
    """For memory.measure_peak: a step of DPO on pairs, or of GRPO on answers, with random tokens.

    All tokens but the first are scored, as in comparison.method_step. GRPO makes two steps: the optimiser's
    moments exist from the second on.
    """
    from course_utils.data import Example
    from course_utils.memory import random_batch
    from course_utils.methods.dpo import reference_log_probs, train_dpo
    from course_utils.methods.reinforce import train_group
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    pad = tokenizer.pad_token_id
    ids = random_batch(model, 2 * rows, tokens)["input_ids"].tolist()
    if method == "DPO":
        examples = [Example(row, [IGNORE, *row[1:]]) for row in ids]
        pairs = list(zip(examples[:rows], examples[rows:], strict=True))
        reference = reference_log_probs(model, pairs, pad)
        apply_lora(model, RANK, ALPHA)
        return lambda: train_dpo(
            model, pairs, reference, beta=0.1, steps=1, lr=1e-5, pad_id=pad, batch_size=rows
        )
    reference, prompts = frozen_copy(model), [row[:1] for row in ids]
    sampling = {"max_new_tokens": tokens - 1, "stop_ids": [], "pad_id": pad}
    settings = GRPO_RUN | {"batch_size": rows, "iterations": 2, "group": min(rows, GRPO_RUN["group"])}
    return lambda: train_group(
        model,
        reference,
        lambda batch: torch.rand(rows),
        prompts,
        sampling,
        method="grpo",
        lr=1e-5,
        **settings,
    )
