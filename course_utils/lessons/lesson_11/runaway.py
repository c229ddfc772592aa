"""A policy trained for the reward model's score, with or without the KL penalty.

The training is REINFORCE, the simplest policy gradient; lesson 12 derives it. Here it only serves to make
policies that have left their reference.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch

from course_utils.generation import pad_left, sample_tokens
from course_utils.lessons.lesson_11.small_kl import mean_sequence_kl, rewards_by_token
from course_utils.methods.kl import completion_log_probs, completion_mask, rlhf_kl_penalty
from course_utils.methods.reward import score
from course_utils.methods.rollouts import encode_prompts, sampling_of
from course_utils.preferences import request
from course_utils.training import ProgressBar
from course_utils.world.gold import gold_score

LR, BATCH, ITERATIONS, MAX_NEW_TOKENS = 2e-4, 12, 10, 130


def sample(model, tokenizer, asked: Sequence[list[dict]], seed: int, max_new_tokens: int = MAX_NEW_TOKENS):
    """Answers to prompts: (prompts [batch, tokens], their mask, completions [batch, new], their mask)."""
    sampling = sampling_of(tokenizer, max_new_tokens)
    device = next(model.parameters()).device
    prompts, prompt_mask = pad_left(encode_prompts(tokenizer, asked), sampling["pad_id"], device)
    new = sample_tokens(
        model,
        prompts,
        prompt_mask,
        max_new_tokens=max_new_tokens,
        stop_ids=sampling["stop_ids"],
        generator=torch.Generator(device).manual_seed(seed),
    )
    return prompts, prompt_mask, new, completion_mask(new, sampling["stop_ids"])


def texts_of(tokenizer, completions, mask) -> list[str]:
    """The completions as texts, without special tokens."""
    rows = zip(completions, mask, strict=True)
    return [tokenizer.decode(row[real], skip_special_tokens=True).strip() for row, real in rows]


def shown_token(tokenizer, token: int) -> str:
    """A token as text; its number if that cannot be printed."""
    text = tokenizer.decode(token)
    return text if text.isprintable() else f"<{token}>"


def texts_and_scores(tokenizer, completions, mask, proxy, gold, places: Sequence[int]) -> list[str]:
    """The completions at these places of the batch, each with both of its scores below."""
    texts = texts_of(tokenizer, completions[places], mask[places])
    scores = zip(texts, proxy[places].tolist(), gold[places].tolist(), strict=True)
    return [f"{text}\n\n[proxy {one:.2f}, gold score {other:.2f}]" for text, one, other in scores]


@torch.no_grad()
def proxy_and_gold(reward_model, tokenizer, asked, prompts, prompt_mask, new, mask):
    """(the reward model's scores [batch], the gold scores [batch]) of completions."""
    whole = torch.cat([prompt_mask, mask.long()], 1)
    proxy = score(reward_model, torch.cat([prompts, new], 1), whole).float()
    texts = texts_of(tokenizer, new, mask)
    gold = [gold_score(request(prompt), text) for prompt, text in zip(asked, texts, strict=True)]
    return proxy, torch.tensor(gold)


@torch.no_grad()
def measured(
    policy, reference, reward_model, tokenizer, asked, seed: int, max_new_tokens: int = MAX_NEW_TOKENS
):
    """One answer of the policy to each prompt: {"proxy", "gold", "kl" (nats per answer): [prompts]}."""
    batch = sample(policy, tokenizer, asked, seed, max_new_tokens)
    return measured_on(batch, policy, reference, reward_model, tokenizer, asked)


@torch.no_grad()
def measured_on(batch, policy, reference, reward_model, tokenizer, asked) -> dict[str, torch.Tensor]:
    """What `measured` says of a batch that `sample` has returned."""
    proxy, gold = proxy_and_gold(reward_model, tokenizer, asked, *batch)
    ids, ids_mask, new, mask = batch
    ours, theirs = (completion_log_probs(model, ids, ids_mask, new) for model in (policy, reference))
    return {"proxy": proxy, "gold": gold, "kl": torch.where(mask, ours - theirs, 0.0).sum(-1)}


def with_error(values: torch.Tensor) -> tuple[float, float, float]:
    """A mean over answers, and two standard errors below and above it, as a cell of `show_table`."""
    mean, error = values.mean().item(), 2 * values.std().item() / len(values) ** 0.5
    return mean, mean - error, mean + error


def train_for_score(
    policy,
    reference,
    reward_model,
    tokenizer,
    prompts: Sequence[list[dict]],
    *,
    beta: float,
    iterations: int = ITERATIONS,
    lr: float = LR,
    seed: int = 0,
    penalty: Callable = rlhf_kl_penalty,
    rewards: Callable = rewards_by_token,
    distance: Callable = mean_sequence_kl,
    max_new_tokens: int = MAX_NEW_TOKENS,
    after_update: Callable[[int], object] = lambda done: None,
) -> list[dict]:
    """Train the policy in place; returns the means of each iteration's answers: proxy, gold, kl.

    A token's weight in the gradient is its rewards to go minus the batch's mean, divided by the standard
    deviation. after_update(number of updates so far) is called after each.
    """
    rng, rows = random.Random(seed), []
    policy.eval().requires_grad_(True)
    optimizer = torch.optim.Adam(policy.parameters(), lr=lr)
    with ProgressBar(iterations, f"beta {beta:g}", 0) as bar:
        for step in range(iterations):
            asked = rng.sample(list(prompts), min(BATCH, len(prompts)))
            batch = sample(policy, tokenizer, asked, 1000 * seed + step, max_new_tokens)
            ids, ids_mask, new, mask = batch
            proxy, gold = proxy_and_gold(reward_model, tokenizer, asked, *batch)
            log_probs = completion_log_probs(policy, ids, ids_mask, new)  # (batch, new)
            with torch.no_grad():
                theirs = completion_log_probs(reference, ids, ids_mask, new)
            penalties = penalty(log_probs.detach(), theirs, beta, mask)
            to_come = rewards(proxy, penalties, mask).flip(1).cumsum(1).flip(1)
            advantage = (to_come - to_come[mask].mean()) / (to_come[mask].std() + 1e-6)
            optimizer.zero_grad()
            (-(advantage * log_probs)[mask].mean()).backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            after_update(step + 1)
            kl = float(distance(log_probs.detach(), theirs, mask))
            rows.append({"proxy": proxy.mean().item(), "gold": gold.mean().item(), "kl": kl})
            bar.update(step + 1, f"score {rows[-1]['proxy']:.2f}, KL {rows[-1]['kl']:.1f}")
    policy.requires_grad_(False)
    return rows
