"""A policy's sampled answers, their log-probabilities, and its distance from the reference.

A batch is right-padded: input_ids, attention_mask and labels [rows, tokens], with labels -100 outside the
answer. Per-token results are [rows, tokens - 1]: entry t belongs to token t + 1.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_utils.chatml import IM_END, encode_conversation
from course_utils.data import IGNORE, Batch, Example, collate
from course_utils.generation import pad_left, sample_tokens
from course_utils.models import Model
from course_utils.training import ProgressBar

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Reward = Callable[[Batch], Tensor]  # the score of each answer of a rollout, [rows]


def frozen_copy(model: Model) -> Model:
    """A copy of the model in eval mode and without gradients: a fixed reference."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def answer_mask(batch: Batch) -> Tensor:
    """1 where the next token belongs to the answer, [rows, tokens - 1]."""
    return (batch["labels"][:, 1:] != IGNORE).float()


@torch.no_grad()
def rollout(
    model: nn.Module,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int],
    pad_id: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Batch:
    """One sampled answer for each prompt (a list of token ids), as a batch with labels on the answer.

    An answer ends with, and includes, the first of stop_ids; "ended" [rows] is False if none came within
    max_new_tokens.
    """
    ids, mask = pad_left(prompts, pad_id, next(model.parameters()).device)
    new = sample_tokens(
        model,
        ids,
        mask,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        stop_ids=stop_ids,
        generator=generator,
    )
    stops, examples, ended = set(stop_ids), [], []
    for prompt, row in zip(prompts, new.tolist(), strict=True):
        end = next((place + 1 for place, token in enumerate(row) if token in stops), None)
        examples.append(Example([*prompt, *row[:end]], [IGNORE] * len(prompt) + row[:end]))
        ended.append(end is not None)
    batch = {name: value.to(ids.device) for name, value in collate(examples, pad_id).items()}
    return batch | {"ended": torch.tensor(ended, device=ids.device)}


def learn(
    model: nn.Module,
    prompts: Sequence[list[int]],
    step: Callable[[Batch, random.Random], dict],
    sampling: dict[str, Any],
    *,
    iterations: int,
    batch_size: int,
    group: int = 1,
    seed: int = 0,
    on_iteration: Callable[[dict], object] | None = None,
    label: str,
) -> list[dict]:
    """Repeatedly sample `group` answers to each prompt and call step(batch, rng) on them.

    step updates the model and returns metrics; the result is a row of them per iteration. sampling: the other
    arguments of rollouts.rollout. on_iteration(row) is called after each iteration; Stop in a notebook
    returns the rows so far.
    """
    rng = random.Random(seed)
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    history = []
    with ProgressBar(iterations, label) as bar:
        for iteration in range(1, iterations + 1):
            asked = [prompt for prompt in rng.choices(prompts, k=batch_size // group) for _ in range(group)]
            batch = rollout(model, asked, generator=generator, **sampling)
            history.append({"iteration": iteration, **step(batch, rng)})
            if on_iteration is not None:
                on_iteration(history[-1])
            told = f"score {history[-1]['score']:.2f}"
            bar.update(iteration, told + (f", KL {history[-1]['kl']:.1f}" if "reference" in batch else ""))
    return history


def answer_texts(tokenizer: PreTrainedTokenizerBase, batch: Batch) -> list[str]:
    """The answers of a batch as texts, stripped and without special tokens."""
    rows = [[token for token in row if token != IGNORE] for row in batch["labels"].tolist()]
    return [tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]


def sampling_of(tokenizer: PreTrainedTokenizerBase, max_new_tokens: int = 150) -> dict[str, Any]:
    """The sampling arguments of rollout for answers in ChatML."""
    stop = tokenizer.convert_tokens_to_ids(IM_END)
    return {"max_new_tokens": max_new_tokens, "stop_ids": [stop], "pad_id": tokenizer.pad_token_id}


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[list[dict]]) -> list[list[int]]:
    """Lists of messages as token ids that end with the assistant's header."""
    return [encode_conversation(tokenizer, messages, True).input_ids for messages in prompts]
