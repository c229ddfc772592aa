"""RLHF with PPO, and three relatives, as functions on tensors, and the loop that joins them.

Per-token tensors are [rows, tokens]; mask is 1 on the answer's tokens, which stand together in a row.
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
from course_utils.methods.rollouts import Reward, answer_mask, rollout
from course_utils.training import ProgressBar

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CLIP = 0.2  # how far from 1 the ratio of new and old probability still counts
VALUE_CLIP = 0.2  # the same for a value, from what it was


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of the mask."""
    return (values * mask).sum() / mask.sum()


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Shifted and scaled to mean 0 and variance 1 over the tokens of the mask; 0 elsewhere."""
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
    """Scores [rows], minus the penalty where the answer did not come to an end."""
    return scores - penalty * (~ended).to(scores.dtype)


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and the returns that the values should meet, [rows, tokens] each.

    delta_t = r_t + gamma * V_{t+1} - V_t, A_t = delta_t + gamma * lam * A_{t+1}, with V and A zero after the
    answer's last token (Schulman et al. 2015, arXiv 1506.02438).
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

    The advantages are constants: no gradient passes through them.
    """
    ratio = torch.exp(log_probs - old_log_probs)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    advantages = advantages.detach()
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    return masked_mean(loss, mask), masked_mean((ratio != clipped).float(), mask)


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float = VALUE_CLIP
) -> Tensor:
    """Half the squared error of the values, the larger of that of the values and of the clipped ones."""
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    loss = torch.maximum((values - returns).square(), (clipped - returns).square())
    return 0.5 * masked_mean(loss, mask)


def approx_kl(log_probs: Tensor, old_log_probs: Tensor, mask: Tensor) -> Tensor:
    """KL(old || new) in nats a token, from what the old policy sampled: how far this update has moved."""
    return masked_mean(k3(old_log_probs, log_probs), mask)


def reinforce_advantages(returns: Tensor) -> Tensor:
    """Return of each answer minus the mean over the batch, [rows] (Williams 1992)."""
    return returns - returns.mean()


def reinforce_loss(log_probs: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """REINFORCE with the batch's mean of n returns as baseline.

    Its gradient is minus (n - 1) / n of that of the expected return, since the mean holds the answer itself.
    log_probs, mask [rows, tokens], returns [rows]. The log-probability of an answer is the sum over its
    tokens. No gradient passes through the returns.
    """
    advantages = reinforce_advantages(returns.detach())
    return -(advantages * (log_probs * mask).sum(1)).mean()


def leave_one_out_advantages(returns: Tensor, group: int) -> Tensor:
    """Return minus the mean return of the other answers to the same prompt, [rows] (RLOO, arXiv 2402.14740).

    `group` answers to one prompt stand together.
    """
    grouped = returns.view(-1, group)
    others = (grouped.sum(1, keepdim=True) - grouped) / (group - 1)
    return (grouped - others).flatten()


def group_advantages(scores: Tensor, group: int) -> Tensor:
    """Score minus its group's mean, over its group's standard deviation, [rows] (GRPO, arXiv 2402.03300)."""
    grouped = scores.view(-1, group)
    centred = grouped - grouped.mean(1, keepdim=True)
    return (centred / (grouped.std(1, keepdim=True) + 1e-4)).flatten()


class PolicyWithValue(nn.Module):
    """A language model and a value head on the hidden states that its output head reads.

    The head starts at zero. Calling it with a batch gives log-probabilities and values, [rows, tokens - 1].
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
    """The batch in minibatches of `rows` rows, in random order, without the columns that are all padding."""
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
    """The numbers of a run of PPO.

    beta: of the penalty, a number or a coefficient that is told the KL (kl.AdaptiveKL). batch_size: answers
    an iteration, passed over `epochs` times in minibatches of `rows`. lam: of gae; 1 trusts the values least,
    which is right in a short run, whose value head has hardly learnt. kl_limit: nats a token after which the
    rest of the passes is skipped.
    """

    iterations: int
    beta: float | AdaptiveKL
    lr: float
    batch_size: int = 32
    rows: int = 16
    epochs: int = 2
    lam: float = 1.0
    clip: float = CLIP
    value_clip: float = VALUE_CLIP
    value_weight: float = 0.1
    kl_limit: float = 0.1
    no_end_penalty: float = 1.0
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
    """Adds to a rollout what PPO's update needs, all [rows, tokens - 1], and gives numbers to look at.

    entropy: nats per token, estimated from what was sampled.
    """
    mask = answer_mask(batch)
    log_probs, values = policy(batch)
    reference_log_probs = fast_token_log_probs(reference, batch)
    scores = reward(batch)
    penalised = penalise_no_end(scores, batch["ended"], settings.no_end_penalty)
    rewards = per_token_rewards(penalised, log_probs, reference_log_probs, mask, beta)
    advantages, returns = gae(rewards, values, mask, lam=settings.lam)
    batch |= {"mask": mask, "log_probs": log_probs, "reference": reference_log_probs}
    batch |= {"values": values, "returns": returns, "advantages": whiten(advantages, mask)}
    kl = ((log_probs - reference_log_probs) * mask).sum(1).mean()
    return batch, {
        "score": scores.mean().item(),
        "kl": kl.item(),
        "beta": beta,
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
    """PPO's passes over one batch of experience, in place; stops early where the policy has moved too far."""
    seen: list[dict[str, float]] = []
    for _ in range(settings.epochs):
        for part in shuffled(batch, settings.rows, rng):
            log_probs, values = policy(part)
            loss, clipped = clipped_policy_loss(
                log_probs, part["log_probs"], part["advantages"], part["mask"], settings.clip
            )
            value = clipped_value_loss(
                values, part["values"], part["returns"], part["mask"], settings.value_clip
            )
            moved = approx_kl(log_probs.detach(), part["log_probs"], part["mask"])
            if moved > settings.kl_limit:
                return mean_of_rows(seen) | {"stopped": 1.0}
            optimizer.zero_grad()
            (loss + settings.value_weight * value).backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            seen.append(
                {
                    "policy_loss": loss.item(),
                    "value_loss": value.item(),
                    "clipped": float(clipped),
                    "moved": moved.item(),
                }
            )
    return mean_of_rows(seen) | {"stopped": 0.0}


def mean_of_rows(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in (rows[0] if rows else ())}


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
    """Samples `group` answers to each prompt and calls step(batch, rng) on them, again and again.

    step updates the model and returns numbers; so does this, a row an iteration. sampling: what
    rollouts.rollout takes beside model and prompts. on_iteration(row) is called after each iteration; Stop
    in a notebook returns the rows there are.
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
            bar.update(iteration, f"score {history[-1]['score']:.2f}, KL {history[-1]['kl']:.1f}")
    return history


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
    """Trains the model in place by PPO and returns a row of numbers for each iteration.

    reference: frozen. reward(batch): the score of each answer of a rollout, [rows]. prompts: lists of token
    ids. sampling, on_iteration: see learn. settings: PPOSettings.
    """
    policy = PolicyWithValue(model)
    optimizer = torch.optim.Adam(policy.parameters(), lr=settings.lr, fused=True)
    controller: Any = settings.beta if hasattr(settings.beta, "update") else FixedKL(settings.beta)

    def step(batch: Batch, rng: random.Random) -> dict[str, float]:
        beta = controller.coefficient
        batch, row = experience(policy, reference, reward, batch, beta, settings)
        row |= update(policy, optimizer, batch, rng, settings)
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


GROUP_METHODS = ("reinforce", "rloo", "grpo")


def group_loss(
    model: nn.Module, batch: Batch, method: str, beta: float, group: int
) -> tuple[Tensor, dict[str, float]]:
    """(loss, numbers) of one update without a value head, on answers that the model has just sampled.

    The batch has "scores" [rows] and "reference" [rows, tokens - 1]. reinforce and rloo take the KL into the
    reward of the whole answer, grpo adds k3 of every token to the loss.
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
    """train_ppo's relatives: `group` answers to each prompt, one update a batch, no value head."""
    if method not in GROUP_METHODS:
        raise ValueError(f"method is one of {', '.join(GROUP_METHODS)}, got {method!r}")
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
