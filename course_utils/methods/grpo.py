"""GRPO and its relatives: advantages within a group, three normalisers, a clip with two limits, the loop.

Per-token tensors are [rows, tokens]; mask is 1 on the answer's tokens; the answers to one prompt stand
together. GRPO: Shao et al. 2024 (arXiv 2402.03300); Dr. GRPO: Liu et al. 2025 (arXiv 2503.20783); DAPO: Yu et
al. 2025 (arXiv 2503.14476).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_utils.data import Batch
from course_utils.log_probs import fast_token_log_probs
from course_utils.methods.kl import k3
from course_utils.methods.ppo import masked_mean, mean_of_rows, shuffled
from course_utils.methods.rollouts import Reward, answer_mask, learn

Advantages = Callable[[Tensor, int], Tensor]
LOSS_TYPES = ("grpo", "dapo", "dr_grpo")


def group_advantages(scores: Tensor, group: int) -> Tensor:
    """Score minus its group's mean, over its group's standard deviation, [rows] (GRPO, arXiv 2402.03300)."""
    grouped = scores.view(-1, group)
    centred = grouped - grouped.mean(1, keepdim=True)
    return (centred / (grouped.std(1, keepdim=True) + 1e-4)).flatten()


def centred_advantages(scores: Tensor, group: int) -> Tensor:
    """Score minus its group's mean, not divided by the standard deviation, [rows] (Dr. GRPO)."""
    grouped = scores.view(-1, group)
    return (grouped - grouped.mean(1, keepdim=True)).flatten()


def silent_groups(scores: Tensor, group: int) -> Tensor:
    """True for each group whose scores are all equal, [prompts]: it has no advantage and no gradient."""
    grouped = scores.view(-1, group)
    return (grouped == grouped[:, :1]).all(1)


def token_weights(mask: Tensor, loss_type: str = "grpo", limit: int | None = None) -> Tensor:
    """What each token counts in the mean over a batch, [rows, tokens]; 0 off the mask.

    grpo: every answer counts alike, and in it every token. dapo: every token of the batch counts alike.
    dr_grpo: every token counts 1 / (rows * limit), limit being the most tokens an answer may have.
    """
    if loss_type == "grpo":
        return mask / mask.sum(1, keepdim=True).clamp(min=1) / len(mask)
    if loss_type == "dapo":
        return mask / mask.sum().clamp(min=1)
    if loss_type == "dr_grpo":
        if limit is None:
            raise ValueError("dr_grpo divides by the maximum answer length in tokens: pass limit=")
        return mask / (len(mask) * limit)
    raise ValueError(f"loss_type must be one of {', '.join(LOSS_TYPES)}, got {loss_type!r}")


def grpo_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Tensor:
    """Clipped policy loss, with one advantage per answer [rows], summed with the tokens' weights.

    log_probs, old_log_probs, weights [rows, tokens]. No gradient passes through the advantages.
    """
    ratio = torch.exp(log_probs - old_log_probs)
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    advantages = advantages.detach()[:, None]  # one number for all tokens of an answer
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    return (weights * loss).sum()


@dataclass(frozen=True)
class GRPOSettings:
    """The hyperparameters of GRPO.

    batch_size: answers per iteration, in groups of `group`; one pass over them in `updates` minibatches.
    beta: weight of the KL to the reference; kl_in: "loss" (k3 per token) or "reward" (k1, summed over the
    answer).
    """

    iterations: int
    lr: float
    batch_size: int = 64
    group: int = 8
    updates: int = 1
    loss_type: str = "grpo"
    clip_low: float = 0.2
    clip_high: float = 0.2
    beta: float = 0.0
    kl_in: str = "loss"
    seed: int = 0


@torch.no_grad()
def grpo_experience(
    model: nn.Module,
    reference: nn.Module | None,
    reward: Reward,
    batch: Batch,
    settings: GRPOSettings,
    advantages: Advantages = group_advantages,
) -> tuple[Batch, dict[str, float]]:
    """Add to a rollout what the update needs: log-probabilities [rows, tokens - 1] and advantages [rows].

    Also returns metrics. score: mean reward. silent: share of groups without a signal. entropy: nats per
    token, estimated from the samples. kl: to the reference, in nats per answer; 0 without one.
    """
    mask, scores = answer_mask(batch), reward(batch)
    batch["log_probs"] = fast_token_log_probs(model, batch)
    row = {
        "score": scores.mean().item(),
        "silent": silent_groups(scores, settings.group).float().mean().item(),
        "entropy": -masked_mean(batch["log_probs"], mask).item(),
        "length": mask.sum(1).mean().item(),
        "kl": 0.0,
    }
    if reference is not None:
        batch["reference"] = fast_token_log_probs(reference, batch)
        kl = ((batch["log_probs"] - batch["reference"]) * mask).sum(1)  # k1 of each answer
        row["kl"] = kl.mean().item()
        if settings.kl_in == "reward":
            scores = scores - settings.beta * kl
    batch["advantages"] = advantages(scores, settings.group)
    return batch, row


def grpo_batch_loss(
    model: nn.Module, batch: Batch, settings: GRPOSettings, limit: int
) -> tuple[Tensor, float]:
    """(loss, share of tokens outside the clip) of a batch of experience or a part of it."""
    mask = answer_mask(batch)
    weights = token_weights(mask, settings.loss_type, limit)
    log_probs, old = fast_token_log_probs(model, batch), batch["log_probs"]
    loss = grpo_loss(log_probs, old, batch["advantages"], weights, settings.clip_low, settings.clip_high)
    if settings.beta and settings.kl_in == "loss":
        loss = loss + settings.beta * (weights * k3(log_probs, batch["reference"])).sum()
    ratio = (log_probs.detach() - old).exp()
    outside = (ratio < 1 - settings.clip_low) | (ratio > 1 + settings.clip_high)
    return loss, masked_mean(outside.float(), mask).item()


def train_grpo(
    model: nn.Module,
    reward: Reward,
    prompts: Sequence[list[int]],
    sampling: dict[str, Any],
    settings: GRPOSettings,
    *,
    reference: nn.Module | None = None,
    advantages: Advantages = group_advantages,
    label: str = "GRPO",
) -> list[dict]:
    """Train the model's trainable parameters in place; returns a row of metrics per iteration.

    reward(batch): the score of each answer of a rollout, [rows]. prompts: lists of token ids. sampling: the
    other arguments of rollouts.rollout. reference: frozen; required unless beta is 0.
    """
    if settings.beta and reference is None:
        raise ValueError("a KL penalty needs the reference: pass reference=, or beta=0")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("nothing of the model requires a gradient, so nothing would be trained")
    model.eval()  # no dropout, so that the ratio starts at 1
    optimizer = torch.optim.Adam(parameters, lr=settings.lr, fused=True)

    def step(batch: Batch, rng: random.Random) -> dict[str, float]:
        batch, row = grpo_experience(model, reference, reward, batch, settings, advantages)
        seen = []
        for part in shuffled(batch, settings.batch_size // settings.updates, rng):
            loss, clipped = grpo_batch_loss(model, part, settings, sampling["max_new_tokens"])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            seen.append({"clipped": clipped})
        return row | mean_of_rows(seen)

    numbers = {name: getattr(settings, name) for name in ("iterations", "batch_size", "group", "seed")}
    return learn(model, prompts, step, sampling, label=label, **numbers)
