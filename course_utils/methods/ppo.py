"""RLHF with PPO: functions on tensors, and the loop that combines them.

Per-token tensors are [rows, tokens]; mask is 1 on the answer's tokens, which are contiguous. train_ppo's
plain path is `experience` and `update`; a clip of the values, a stop within an iteration and an adaptive
penalty are switches of PPOSettings.

Schulman et al. 2017 (arXiv 1707.06347); for language models Ziegler et al. 2019 (arXiv 1909.08593) and "The N
implementation details of RLHF with PPO" (Huang et al. 2023).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from course_utils.data import Batch
from course_utils.log_probs import fast_token_log_probs, last_hidden, scored_log_probs
from course_utils.methods.kl import AdaptiveKL, FixedKL, k3, rlhf_kl_penalty
from course_utils.methods.rollouts import Reward, answer_mask, learn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CLIP = 0.2  # range of the ratio of new to old probability around 1 that still has a gradient
VALUE_CLIP = 0.2  # the same for a value, around its old value


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of the mask."""
    return (values * mask).sum() / mask.sum()


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Normalised to mean 0 and variance 1 over the tokens of the mask; 0 elsewhere."""
    centred = (values - masked_mean(values, mask)) * mask
    return centred * torch.rsqrt(masked_mean(centred.square(), mask) + 1e-8)


def per_token_rewards(
    scores: Tensor, log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor, beta: float
) -> Tensor:
    """-beta * log(policy / reference) at every token of the answer, plus the score at its last one.

    scores [rows]; the rest [rows, tokens].
    """
    rewards = -rlhf_kl_penalty(log_probs, reference_log_probs, beta, mask)
    last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1, keepdim=True)
    return rewards.scatter_add(1, last, scores[:, None].to(rewards.dtype))


def penalise_no_end(scores: Tensor, ended: Tensor, penalty: float) -> Tensor:
    """Scores [rows], minus the penalty for answers that did not end."""
    return scores - penalty * (~ended).to(scores.dtype)


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and the targets of the values, [rows, tokens] each.

    delta_t = r_t + gamma * V_{t+1} - V_t, A_t = delta_t + gamma * lam * A_{t+1}, with V and A zero after the
    answer's last token (Schulman et al. 2015, arXiv 1506.02438). The target is A_t + V_t; at gamma = lam = 1
    it is the token's return, the sum of the rewards from it to the answer's end.
    """
    values = values * mask
    advantages = torch.zeros_like(rewards)
    following_value = following_advantage = rewards.new_zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following_value - values[:, t]
        following_advantage = (delta + gamma * lam * following_advantage) * mask[:, t]
        following_value = values[:, t]
        advantages[:, t] = following_advantage
    return advantages, advantages + values


def clipped_policy_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, mask: Tensor, clip: float = CLIP
) -> tuple[Tensor, Tensor]:
    """(PPO's policy loss, share of tokens whose ratio is outside 1 +- clip), means over the mask.

    No gradient passes through the advantages.
    """
    ratio = torch.exp(log_probs - old_log_probs)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    advantages = advantages.detach()
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    return masked_mean(loss, mask), masked_mean((ratio != clipped).float(), mask)


def value_loss(values: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Half the squared error of the values, mean over the mask."""
    return 0.5 * masked_mean((values - targets).square(), mask)


def clipped_value_loss(
    values: Tensor, old_values: Tensor, targets: Tensor, mask: Tensor, clip: float = VALUE_CLIP
) -> Tensor:
    """Half the squared error of the values: per token the larger of the clipped and the unclipped error."""
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    loss = torch.maximum((values - targets).square(), (clipped - targets).square())
    return 0.5 * masked_mean(loss, mask)


def approx_kl(log_probs: Tensor, old_log_probs: Tensor, mask: Tensor) -> Tensor:
    """KL(old || new) in nats per token, estimated from the old policy's samples: the size of this update."""
    return masked_mean(k3(old_log_probs, log_probs), mask)


class PolicyWithValue(nn.Module):
    """A language model with a value head on the hidden states that its output head reads.

    The head starts at zero. Called with a batch, it returns log-probabilities and values, [rows, tokens - 1].
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(True)  # eval: no dropout, so that the ratio starts at 1
        head = model.get_output_embeddings()
        self.value = nn.Linear(head.weight.shape[1], 1, device=head.weight.device)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        hidden = last_hidden(self.model, batch)[:, :-1]  # (rows, tokens - 1, width)
        log_probs = scored_log_probs(self.model, hidden, batch["labels"])
        return log_probs, self.value(hidden).squeeze(-1).float()


def shuffled(batch: Batch, rows: int, rng: random.Random) -> Iterator[Batch]:
    """The batch in minibatches of `rows` rows, in random order, without columns of padding only."""
    order = list(range(len(batch["input_ids"])))
    rng.shuffle(order)
    tokens = batch["input_ids"].shape[1]
    for start in range(0, len(order), rows):
        part = {name: value[order[start : start + rows]] for name, value in batch.items()}
        padding = tokens - int(part["attention_mask"].sum(1).max())
        yield {
            name: value[:, : value.shape[1] - padding] if value.ndim == 2 else value
            for name, value in part.items()
        }


@dataclass(frozen=True)
class PPOSettings:
    """The hyperparameters of PPO.

    batch_size: answers per iteration, with `epochs` passes over them in minibatches of `rows`. lam: of gae; 1
    relies least on the values, which suits a short run, whose value head has hardly learnt.
    no_end_penalty: what an answer without an end loses.

    Switches: beta may be a coefficient that is updated with the KL (kl.AdaptiveKL) instead of a number.
    value_clip: how far a value may move in an iteration; None: no limit. kl_limit: nats per token beyond
    which the remaining passes are skipped; None: no limit.
    """

    iterations: int
    beta: float | AdaptiveKL
    lr: float
    batch_size: int = 32
    rows: int = 8
    epochs: int = 1
    lam: float = 1.0
    clip: float = CLIP
    value_weight: float = 0.1
    no_end_penalty: float = 1.0
    value_clip: float | None = None
    kl_limit: float | None = None
    seed: int = 0


@torch.no_grad()
def experience(
    policy: PolicyWithValue,
    reference: nn.Module,
    reward: Reward,
    batch: Batch,
    beta: float,
    settings: PPOSettings,
) -> tuple[Batch, dict[str, float]]:
    """Add to a rollout what PPO's update needs, all [rows, tokens - 1]; also returns metrics.

    entropy: nats per token, estimated from the samples.
    """
    mask = answer_mask(batch)
    log_probs, values = policy(batch)
    reference_log_probs = fast_token_log_probs(reference, batch)
    scores = reward(batch)
    penalised = penalise_no_end(scores, batch["ended"], settings.no_end_penalty)
    rewards = per_token_rewards(penalised, log_probs, reference_log_probs, mask, beta)
    advantages, targets = gae(rewards, values, mask, lam=settings.lam)
    batch |= {"mask": mask, "log_probs": log_probs, "reference": reference_log_probs}
    batch |= {"values": values, "targets": targets, "advantages": whiten(advantages, mask)}
    return batch, batch_gauges(batch, scores) | {"beta": beta}


def batch_gauges(batch: Batch, scores: Tensor) -> dict[str, float]:
    """Means over a batch of experience: score, kl and length of an answer, share that ended, entropy.

    kl: nats an answer, from the log-ratio. entropy: nats a token, estimated from what was sampled.
    """
    mask, log_probs = batch["mask"], batch["log_probs"]
    return {
        "score": scores.mean().item(),
        "kl": ((log_probs - batch["reference"]) * mask).sum(1).mean().item(),
        "entropy": -masked_mean(log_probs, mask).item(),
        "length": mask.sum(1).mean().item(),
        "ended": batch["ended"].float().mean().item(),
    }


def update(
    policy: PolicyWithValue,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rng: random.Random,
    settings: PPOSettings,
) -> dict[str, float]:
    """PPO's passes over one batch of experience, in place."""
    seen: list[dict[str, float]] = []
    for _ in range(settings.epochs):
        for part in shuffled(batch, settings.rows, rng):
            log_probs, values = policy(part)
            loss, outside = clipped_policy_loss(
                log_probs, part["log_probs"], part["advantages"], part["mask"], settings.clip
            )
            error = value_loss(values, part["targets"], part["mask"])
            optimizer.zero_grad()
            (loss + settings.value_weight * error).backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            seen.append({"policy_loss": loss.item(), "value_loss": error.item(), "clipped": float(outside)})
    return mean_of_rows(seen)


def guarded_update(
    policy: PolicyWithValue,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rng: random.Random,
    settings: PPOSettings,
) -> dict[str, float]:
    """`update` with the switches value_clip and kl_limit; also says how far the policy had moved."""
    seen: list[dict[str, float]] = []
    limits = (settings.value_clip, settings.kl_limit)
    value_clip, kl_limit = (float("inf") if limit is None else limit for limit in limits)
    for _ in range(settings.epochs):
        for part in shuffled(batch, settings.rows, rng):
            log_probs, values = policy(part)
            loss, outside = clipped_policy_loss(
                log_probs, part["log_probs"], part["advantages"], part["mask"], settings.clip
            )
            error = clipped_value_loss(values, part["values"], part["targets"], part["mask"], value_clip)
            moved = approx_kl(log_probs.detach(), part["log_probs"], part["mask"])
            if moved > kl_limit:
                return mean_of_rows(seen) | {"stopped": 1.0}
            optimizer.zero_grad()
            (loss + settings.value_weight * error).backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            numbers = {"policy_loss": loss.item(), "value_loss": error.item(), "clipped": float(outside)}
            seen.append(numbers | {"moved": moved.item()})
    return mean_of_rows(seen) | {"stopped": 0.0}


def mean_of_rows(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in (rows[0] if rows else ())}


def train_ppo(
    model: PreTrainedModel,
    reference: nn.Module,
    reward: Reward,
    prompts: Sequence[list[int]],
    sampling: dict[str, Any],
    settings: PPOSettings,
    *,
    on_iteration: Callable[[dict], object] | None = None,
    label: str = "PPO",
) -> list[dict]:
    """Train the model in place by PPO; returns a row of metrics per iteration.

    reference: frozen. reward(batch): the score of each answer of a rollout, [rows]. prompts: lists of token
    ids. sampling, on_iteration: see learn. settings: PPOSettings.
    """
    policy = PolicyWithValue(model)
    optimizer = torch.optim.Adam(policy.parameters(), lr=settings.lr, fused=True)
    is_plain = settings.value_clip is None and settings.kl_limit is None
    controller: Any = settings.beta if hasattr(settings.beta, "update") else FixedKL(settings.beta)

    def step(batch: Batch, rng: random.Random) -> dict[str, float]:
        beta = controller.coefficient
        batch, row = experience(policy, reference, reward, batch, beta, settings)
        row |= (update if is_plain else guarded_update)(policy, optimizer, batch, rng, settings)
        controller.update(row["kl"])
        return row

    return learn(
        model,
        prompts,
        step,
        sampling,
        iterations=settings.iterations,
        batch_size=settings.batch_size,
        seed=settings.seed,
        on_iteration=on_iteration,
        label=label,
    )
