"""RLHF with PPO, and three relatives, as functions on tensors, and the loop that joins them.

Per-token tensors are [rows, tokens]; mask is 1 on the answer's tokens, which stand together in a row.
Schulman et al. 2017 (arXiv 1707.06347); for language models Ziegler et al. 2019 (arXiv 1909.08593) and "The N
implementation details of RLHF with PPO" (Huang et al. 2023).
"""

import random

import torch
from torch import nn

from course_utils.policies import (
    answer_mask,
    fast_token_log_probs,
    last_hidden,
    rollout,
    scored_log_probs,
)
from course_utils.training import ProgressBar


def masked_mean(values, mask):
    """Mean over the tokens of the mask."""
    return (values * mask).sum() / mask.sum()


def whiten(values, mask):
    """Shifted and scaled to mean 0 and variance 1 over the tokens of the mask; 0 elsewhere."""
    centred = (values - masked_mean(values, mask)) * mask
    return centred * torch.rsqrt(masked_mean(centred.square(), mask) + 1e-8)


def per_token_rewards(scores, log_probs, reference_log_probs, mask, beta):
    """-beta * log(policy / reference) at every token of the answer, plus the score at its last one.

    scores [rows]; the rest [rows, tokens].
    """
    rewards = -beta * (log_probs - reference_log_probs) * mask
    last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1, keepdim=True)
    return rewards.scatter_add(1, last, scores[:, None].to(rewards.dtype))


def penalise_no_end(scores, ended, penalty):
    """Scores [rows], less the penalty where the answer did not come to an end."""
    return scores - penalty * (~ended).to(scores.dtype)


def gae(rewards, values, mask, gamma=1.0, lam=0.95):
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


def clipped_policy_loss(log_probs, old_log_probs, advantages, mask, clip=0.2):
    """(PPO's policy loss, share of tokens whose ratio is clipped), means over the mask."""
    ratio = torch.exp(log_probs - old_log_probs)
    clipped = ratio.clamp(1 - clip, 1 + clip)
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    return masked_mean(loss, mask), masked_mean((ratio != clipped).float(), mask)


def clipped_value_loss(values, old_values, returns, mask, clip=0.2):
    """Half the squared error of the values, the larger of that of the values and of the clipped ones."""
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    loss = torch.maximum((values - returns).square(), (clipped - returns).square())
    return 0.5 * masked_mean(loss, mask)


def approx_kl(log_probs, old_log_probs, mask):
    """How far this update has moved from the policy that sampled, nats a token (k3, never negative)."""
    log_ratio = log_probs - old_log_probs
    return masked_mean(log_ratio.exp() - 1 - log_ratio, mask)


def reinforce_advantages(returns):
    """Return of each answer less the mean over the batch, [rows] (Williams 1992)."""
    return returns - returns.mean()


def leave_one_out_advantages(returns, group):
    """Return less the mean return of the other answers to the same prompt, [rows] (RLOO, arXiv 2402.14740).

    `group` answers to one prompt stand together.
    """
    grouped = returns.view(-1, group)
    others = (grouped.sum(1, keepdim=True) - grouped) / (group - 1)
    return (grouped - others).flatten()


def group_advantages(scores, group):
    """Score less its group's mean, over its group's standard deviation, [rows] (GRPO, arXiv 2402.03300)."""
    grouped = scores.view(-1, group)
    centred = grouped - grouped.mean(1, keepdim=True)
    return (centred / (grouped.std(1, keepdim=True) + 1e-4)).flatten()


def k3_penalty(log_probs, reference_log_probs):
    """GRPO's KL term of each token, ref / policy - 1 - log(ref / policy), with its gradient."""
    log_ratio = reference_log_probs - log_probs
    return log_ratio.exp() - 1 - log_ratio


class PolicyWithValue(nn.Module):
    """A language model and a value head on the hidden states that its output head reads.

    The head starts at zero. Calling it with a batch gives log-probabilities and values, [rows, tokens - 1].
    """

    def __init__(self, model):
        super().__init__()
        self.model = model.eval().requires_grad_(True)  # eval: no dropout, so that the ratio starts at 1
        head = model.get_output_embeddings()
        self.value = nn.Linear(head.weight.shape[1], 1, device=head.weight.device)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, batch):
        hidden = last_hidden(self.model, batch)[:, :-1]  # (rows, tokens - 1, width)
        log_probs = scored_log_probs(self.model, hidden, batch["labels"])
        return log_probs, self.value(hidden).squeeze(-1).float()


def shuffled(batch, rows, rng):
    """The batch in minibatches of `rows` rows, in random order."""
    order = list(range(len(batch["input_ids"])))
    rng.shuffle(order)
    for start in range(0, len(order), rows):
        chunk = order[start : start + rows]
        yield {name: value[chunk] for name, value in batch.items()}


@torch.no_grad()
def experience(policy, reference, reward, batch, beta, no_end_penalty):
    """Adds to a rollout what PPO's update needs, all [rows, tokens - 1], and gives numbers to look at."""
    mask = answer_mask(batch)
    log_probs, values = policy(batch)
    reference_log_probs = fast_token_log_probs(reference, batch)
    scores = reward(batch)
    penalised = penalise_no_end(scores, batch["ended"], no_end_penalty)
    rewards = per_token_rewards(penalised, log_probs, reference_log_probs, mask, beta)
    advantages, returns = gae(rewards, values, mask)
    batch |= {"mask": mask, "log_probs": log_probs, "values": values, "returns": returns}
    batch["advantages"] = whiten(advantages, mask)
    kl = ((log_probs - reference_log_probs) * mask).sum(1).mean()
    return batch, {
        "score": scores.mean().item(), "kl": kl.item(), "beta": beta, "length": mask.sum(1).mean().item(),
        "ended": batch["ended"].float().mean().item(),
    }  # fmt: skip


def update(policy, optimizer, batch, rng, *, epochs, rows, clip, value_weight, kl_limit):
    """PPO's passes over one batch of experience, in place; stops early where the policy has moved too far."""
    seen = []
    for _ in range(epochs):
        for part in shuffled(batch, rows, rng):
            log_probs, values = policy(part)
            loss, clipped = clipped_policy_loss(
                log_probs, part["log_probs"], part["advantages"], part["mask"], clip
            )
            value = clipped_value_loss(values, part["values"], part["returns"], part["mask"], clip)
            moved = approx_kl(log_probs.detach(), part["log_probs"], part["mask"])
            if moved > kl_limit:
                return _means(seen) | {"stopped": 1.0}
            optimizer.zero_grad()
            (loss + value_weight * value).backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            seen.append({"policy_loss": loss.item(), "value_loss": value.item(), "clipped": clipped.item(),
                         "moved": moved.item()})  # fmt: skip
    return _means(seen) | {"stopped": 0.0}


def _means(rows):
    return {name: sum(row[name] for row in rows) / len(rows) for name in (rows[0] if rows else ())}


def train_ppo(model, reference, reward, prompts, *, iterations, beta, lr, max_new_tokens, stop_ids, pad_id,
              batch_size=32, minibatch=16, epochs=2, clip=0.2, value_weight=0.1, kl_limit=0.1,
              no_end_penalty=1.0, controller=None, on_iteration=None, seed=0, label="PPO"):  # fmt: skip
    """Trains the model in place by PPO and returns a row of numbers for each iteration.

    reference: frozen. reward(batch): the score of each answer, [rows], from a batch of policies.rollout.
    prompts: lists of token ids. controller, if given, sets beta from the KL after every iteration: beta =
    controller(beta, kl). on_iteration(number, row) is called after each; Ctrl-C returns what there is.
    """
    device = next(model.parameters()).device
    policy, rng = PolicyWithValue(model), random.Random(seed)
    generator = torch.Generator(device).manual_seed(seed)
    optimizer = torch.optim.Adam(policy.parameters(), lr=lr, fused=True)
    history, bar = [], ProgressBar(iterations, label)
    try:
        for iteration in range(1, iterations + 1):
            batch = rollout(
                model, rng.choices(prompts, k=batch_size), max_new_tokens=max_new_tokens, stop_ids=stop_ids,
                pad_id=pad_id, generator=generator,
            )  # fmt: skip
            batch, row = experience(policy, reference, reward, batch, beta, no_end_penalty)
            row |= update(policy, optimizer, batch, rng, epochs=epochs, rows=minibatch, clip=clip,
                          value_weight=value_weight, kl_limit=kl_limit)  # fmt: skip
            if controller is not None:
                beta = controller(beta, row["kl"])
            history.append({"iteration": iteration} | row)
            if on_iteration is not None:
                on_iteration(iteration, history[-1])
            bar.update(iteration, f"score {row['score']:.2f}, KL {row['kl']:.1f}")
    except KeyboardInterrupt:
        bar.close(f"interrupted after {len(history)} iterations")
        return history
    bar.close()
    return history


METHODS = ("reinforce", "rloo", "grpo")


def group_loss(model, batch, method, beta, group):
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
        loss = loss + beta * k3_penalty(log_probs, batch["reference"])
    return masked_mean(loss, mask), {"score": batch["scores"].mean().item(), "kl": kl.mean().item()}


def train_group(model, reference, reward, prompts, *, method, iterations, beta, lr, max_new_tokens, stop_ids,
                pad_id, batch_size=32, group=4, no_end_penalty=1.0, on_iteration=None, seed=0):  # fmt: skip
    """train_ppo's relatives: `group` answers to each prompt, one update a batch, no value head."""
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}, got {method!r}")
    device = next(model.parameters()).device
    model.eval().requires_grad_(True)
    rng, generator = random.Random(seed), torch.Generator(device).manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    history, bar = [], ProgressBar(iterations, method)
    for iteration in range(1, iterations + 1):
        asked = [prompt for prompt in rng.choices(prompts, k=batch_size // group) for _ in range(group)]
        batch = rollout(model, asked, max_new_tokens=max_new_tokens, stop_ids=stop_ids, pad_id=pad_id,
                        generator=generator)  # fmt: skip
        with torch.no_grad():
            batch["scores"] = penalise_no_end(reward(batch), batch["ended"], no_end_penalty)
            batch["reference"] = fast_token_log_probs(reference, batch)
        loss, row = group_loss(model, batch, method, beta, group)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append({"iteration": iteration} | row)
        if on_iteration is not None:
            on_iteration(iteration, history[-1])
        bar.update(iteration, f"score {row['score']:.2f}, KL {row['kl']:.1f}")
    bar.close()
    return history
