"""The bug hunt of lesson 00: a small GPT-2 that reads letters; and an interval for a share."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from course_utils.gpt2 import attention, mlp
from course_utils.models import untrained_gpt2

LETTERS, CONTEXT = 128, 32


def small_gpt2(seed: int):
    """A GPT-2 of two blocks for single letters, untrained."""
    torch.manual_seed(seed)
    return untrained_gpt2(
        n_layer=2,
        n_head=4,
        n_embd=64,
        vocab_size=LETTERS,
        n_positions=CONTEXT,
        initializer_range=0.1,  # narrow layers learn sooner from larger weights than GPT-2's 0.02
    )


def letters(text: str) -> torch.Tensor:
    """The text's letters as ids below LETTERS, [letters]."""
    return torch.tensor([min(ord(letter), LETTERS - 1) for letter in text])


def windows(ids: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Random pieces of CONTEXT letters and the next letter, [count, CONTEXT + 1]."""
    starts = torch.randint(len(ids) - CONTEXT, (count,), generator=generator)
    return ids[starts[:, None] + torch.arange(CONTEXT + 1)]


def held_out_windows(text: str, seed: int) -> torch.Tensor:
    """The pieces on which a run with this seed is evaluated."""
    return windows(letters(text), 64, torch.Generator().manual_seed(seed + 1))


def next_letter_loss(logits_of: Callable, model, pieces: torch.Tensor) -> torch.Tensor:
    """Mean loss on the next letter, in nats."""
    logits = logits_of(model, pieces[:, :-1])  # (count, CONTEXT, LETTERS)
    return F.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())


def train_on_letters(
    logits_of: Callable, texts: str, held_out: str, steps: int, seed: int
) -> tuple[object, dict[str, tuple[list[int], list[float]]]]:
    """(a small GPT-2 trained with that forward pass, {"training": (steps, losses), "held out": ...})."""
    model, generator = small_gpt2(seed), torch.Generator().manual_seed(seed)
    ids, unseen = letters(texts), held_out_windows(held_out, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    curves: dict = {"training": ([], []), "held out": ([], [])}
    for step in range(1, steps + 1):
        loss = next_letter_loss(logits_of, model, windows(ids, 16, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % max(1, steps // 20) == 0:
            with torch.no_grad():
                tested = next_letter_loss(logits_of, model, unseen)
            for name, value in (("training", loss), ("held out", tested)):
                curves[name][0].append(step)
                curves[name][1].append(value.item())
    return model.requires_grad_(False), curves


def write_letters(logits_of: Callable, model, start: str, count: int, seed: int) -> str:
    """The start, continued by `count` sampled letters."""
    ids, generator = letters(start)[None], torch.Generator().manual_seed(seed)
    for _ in range(count):
        probabilities = logits_of(model, ids[:, -CONTEXT:])[:, -1].softmax(-1)
        ids = torch.cat([ids, probabilities.multinomial(1, generator=generator)], 1)
    return "".join(map(chr, ids[0].tolist()))


def colleagues_logits(model, ids):
    """A colleague's forward pass of a GPT-2 (with a fault that the lesson asks for)."""
    body, tokens = model.transformer, ids.shape[1]
    visible = torch.ones(tokens, tokens, dtype=torch.bool, device=ids.device).tril(1)
    x = body.wte(ids) + body.wpe.weight[:tokens]
    for block in body.h:
        x = x + attention(block.attn, block.ln_1(x), visible)
        x = x + mlp(block.mlp, block.ln_2(x))
    return model.lm_head(body.ln_f(x))


def share_with_interval(counts: Sequence[tuple[int, int]], seed: int = 0) -> tuple[float, float, float]:
    """Share found over texts of (found, all), with a 95% interval from 1,000 bootstrap samples of texts."""
    rng = random.Random(seed)
    drawn = [counts, *(rng.choices(counts, k=len(counts)) for _ in range(1000))]
    share, *others = (sum(found for found, _ in each) / max(1, sum(n for _, n in each)) for each in drawn)
    others.sort()
    return share, others[25], others[-26]
