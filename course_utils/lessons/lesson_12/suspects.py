"""Bug hunt of lesson 12: PPO's update with the ratio against other log-probabilities than it should be."""

import copy
import dataclasses
import random
from unittest import mock

import torch

from course_utils.data import IGNORE
from course_utils.methods import ppo, rollouts
from course_utils.models import untrained_gpt2


def against_the_reference(policy, optimizer, batch, rng, settings):
    """The reference's log-probabilities in the place of the sampling policy's: two tensors of one shape."""
    return ppo.update(policy, optimizer, batch | {"log_probs": batch["reference"]}, rng, settings)


def against_itself(policy, optimizer, batch, rng, settings):
    """The log-probabilities are computed anew before every step, so the policy is compared with itself."""
    one_pass, rows = dataclasses.replace(settings, epochs=1), []
    for _ in range(settings.epochs):
        for part in ppo.shuffled(batch, settings.rows, rng):
            with torch.no_grad():
                part["log_probs"] = policy(part)[0]
            rows.append(ppo.update(policy, optimizer, part, rng, one_pass))
    return ppo.mean_of_rows(rows)


UPDATES = {"A": against_itself, "B": ppo.update, "C": against_the_reference}
VERDICTS = {"A": "itself", "B": "sound", "C": "reference"}


def ratio_fault(before, after):
    """Against which log-probabilities an update takes its ratios: "reference", "itself" or "sound".

    before, after: the ratios of some answers' tokens before the first step on them and after it, [tokens].
    """
    if (before - 1).abs().max() > 1e-3:
        return "reference"
    if (after - 1).abs().max() < 1e-3:
        return "itself"
    return "sound"


def ratios_of(update, policy, batch, settings):
    """(before, after) of ratio_fault: two steps of an update on one whole batch, on a copy of the policy."""
    policy = copy.deepcopy(policy)
    optimizer = torch.optim.Adam(policy.parameters(), lr=settings.lr)
    settings = dataclasses.replace(settings, epochs=2, rows=len(batch["input_ids"]))
    kept, policy_loss = [], ppo.clipped_policy_loss

    def watched(log_probs, old_log_probs, advantages, mask, clip):
        kept.append((log_probs - old_log_probs).detach()[mask == 1].exp())
        return policy_loss(log_probs, old_log_probs, advantages, mask, clip)

    with mock.patch.object(ppo, "clipped_policy_loss", watched):
        update(policy, optimizer, dict(batch), random.Random(0), settings)
    return kept


SAMPLING = {"max_new_tokens": 12, "stop_ids": [], "pad_id": 0}
PROMPTS = [[5, 6], [7, 8], [9]]


def even_tokens(batch):
    """A reward that a small model learns in seconds: the share of even tokens in the answer."""
    answer = batch["labels"] != IGNORE
    return (answer & (batch["labels"] % 2 == 0)).sum(1) / answer.sum(1)


def small_policy(seed):
    """(an untrained GPT-2 with a value head, its frozen copy), for the hunt."""
    torch.manual_seed(seed)
    model = untrained_gpt2(
        n_layer=2, n_head=2, n_embd=32, vocab_size=64, n_positions=32, initializer_range=0.2, pad_token_id=0
    )
    return ppo.PolicyWithValue(model), rollouts.frozen_copy(model)


def trained_with(update, policy, reference, settings, label):
    """Rows of numbers by iteration of PPO with that update, on the share of even tokens."""
    optimizer = torch.optim.Adam(policy.parameters(), lr=settings.lr)

    def step(batch, rng):
        batch, row = ppo.experience(policy, reference, even_tokens, batch, settings.beta, settings)
        return row | update(policy, optimizer, batch, rng, settings)

    return rollouts.learn(
        policy.model,
        PROMPTS,
        step,
        SAMPLING,
        iterations=settings.iterations,
        batch_size=settings.batch_size,
        seed=settings.seed,
        label=label,
    )
