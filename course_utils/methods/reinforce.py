"""REINFORCE and relatives on groups of answers: RLOO, and GRPO with one update per batch; no value head.

Per-token tensors are [rows, tokens]; mask is 1 on the answer's tokens. GRPO with its settings is in grpo.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.data import Batch
from course_utils.log_probs import fast_token_log_probs
from course_utils.methods.grpo import group_advantages
from course_utils.methods.kl import k3
from course_utils.methods.ppo import masked_mean, penalise_no_end
from course_utils.methods.rollouts import Reward, answer_mask, learn


def reinforce_advantages(returns: Tensor) -> Tensor:
    """Return of each answer minus the mean over the batch, [rows] (Williams 1992)."""
    return returns - returns.mean()


def reinforce_loss(log_probs: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """REINFORCE with the mean of the batch's n returns as baseline.

    Its gradient is -(n - 1) / n times that of the expected return, since the mean includes the answer itself.
    log_probs, mask [rows, tokens], returns [rows]. The log-probability of an answer is the sum over its
    tokens. No gradient passes through the returns.
    """
    advantages = reinforce_advantages(returns.detach())
    return -(advantages * (log_probs * mask).sum(1)).mean()


def leave_one_out_advantages(returns: Tensor, group: int) -> Tensor:
    """Return minus the mean return of the other answers to the same prompt, [rows] (RLOO, arXiv 2402.14740).

    The `group` answers to one prompt are adjacent rows.
    """
    grouped = returns.view(-1, group)
    others = (grouped.sum(1, keepdim=True) - grouped) / (group - 1)
    return (grouped - others).flatten()


GROUP_METHODS = ("reinforce", "rloo", "grpo")


def group_loss(
    model: nn.Module, batch: Batch, method: str, beta: float, group: int
) -> tuple[Tensor, dict[str, float]]:
    """(loss, metrics) of one update without a value head, on answers that the model has just sampled.

    The batch has "scores" [rows] and "reference" [rows, tokens - 1]. reinforce and rloo include the KL in the
    reward of the whole answer; grpo adds k3 of every token to the loss.
    """
    mask = answer_mask(batch)
    log_probs = fast_token_log_probs(model, batch)
    kl = ((log_probs.detach() - batch["reference"]) * mask).sum(1)
    if method == "grpo":
        advantages = group_advantages(batch["scores"], group)
    elif method == "rloo":
        advantages = leave_one_out_advantages(batch["scores"] - beta * kl, group)
    else:
        advantages = reinforce_advantages(batch["scores"] - beta * kl)
    ratio = torch.exp(log_probs - log_probs.detach())  # 1, with the gradient of log_probs
    loss = -advantages[:, None] * ratio
    if method == "grpo":
        loss = loss + beta * k3(log_probs, batch["reference"])
    return masked_mean(loss, mask), {"score": batch["scores"].mean().item(), "kl": kl.mean().item()}


def train_group(
    model: nn.Module,
    reference: nn.Module,
    reward: Reward,
    prompts: Sequence[list[int]],
    sampling: dict[str, Any],
    *,
    method: str,
    iterations: int,
    beta: float,
    lr: float,
    batch_size: int = 32,
    group: int = 4,
    no_end_penalty: float = 1.0,
    seed: int = 0,
    on_iteration: Callable[[dict], object] | None = None,
) -> list[dict]:
    """Training as in train_ppo, with `group` answers per prompt, one update per batch and no value head."""
    if method not in GROUP_METHODS:
        raise ValueError(f"method must be one of {', '.join(GROUP_METHODS)}, got {method!r}")
    model.eval().requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)

    def step(batch: Batch, rng: random.Random) -> dict[str, float]:
        with torch.no_grad():
            batch["scores"] = penalise_no_end(reward(batch), batch["ended"], no_end_penalty)
            batch["reference"] = fast_token_log_probs(reference, batch)
        loss, row = group_loss(model, batch, method, beta, group)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return row

    return learn(
        model,
        prompts,
        step,
        sampling,
        iterations=iterations,
        batch_size=batch_size,
        group=group,
        seed=seed,
        on_iteration=on_iteration,
        label=method,
    )
