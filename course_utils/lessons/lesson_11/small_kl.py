"""Solutions of lesson 11 that no later lesson takes from `methods.kl`."""

import torch


def mean_sequence_kl(log_probs_current, log_probs_reference, mask):
    """Estimate of a sequence's KL in nats, the mean over the batch: a scalar. Arguments [batch, tokens]."""
    log_ratios = torch.where(mask.bool(), log_probs_current - log_probs_reference, 0.0)  # (batch, tokens)
    return log_ratios.sum(-1).mean()


def rewards_by_token(scores, penalties, mask):
    """Rewards for RL: minus each token's penalty, and the score on the last real token.

    scores [batch]; penalties and mask [batch, tokens], penalties already 0 at padding -> [batch, tokens].
    """
    rewards = -penalties
    last = mask.long().sum(-1) - 1  # (batch,)
    rewards[torch.arange(len(scores)), last] += scores
    return rewards


def best_policy(reference, reward, beta):
    """Maximises E[reward] - beta * KL(policy || reference): probabilities [V], as reference is."""
    return (reference.log() + reward / beta).softmax(-1)


def next_coefficient(coefficient, kl, target, gain=0.1, clip=0.2):
    """The coefficient after a step whose KL was kl: coefficient * (1 + gain * clipped relative error)."""
    error = min(max((kl - target) / target, -clip), clip)
    return coefficient * (1 + gain * error)
