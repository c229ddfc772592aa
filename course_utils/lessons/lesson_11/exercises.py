"""Exercises of lesson 11: k3, a batch's mean KL, rewards by token, the best policy, the next coefficient."""

from __future__ import annotations

import torch

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor
from course_utils.methods.kl import k1, k2, k3


def _check_k3(fn):
    current = torch.tensor([[-1.0, -2.0, -0.3], [-4.0, -1.5, -2.2]])
    reference = torch.tensor([[-1.4, -0.9, -0.3], [-1.0, -3.5, -2.0]])
    log_ratio, right = reference - current, k3(current, reference)
    result = expect_tensor(fn(current.clone(), reference.clone()))
    if result.shape == () and close(result, right.mean()):
        raise Mistake("This is the mean. Return one value for each token; averaging comes later.")
    expect_tensor(result, right.shape)
    if close(result, k3(reference, current)):
        raise Mistake(
            "The ratio is upside down. It is reference over policy, since the policy drew the "
            "samples: only then is its mean 1. This version is never negative either, and its mean "
            "is wrong."
        )
    if close(result, right + 1):
        raise Mistake(
            "Where the policies agree this is 1, and should be 0: what was added to k1 is ratio - 1."
        )
    if close(result, log_ratio.exp() - 1):
        raise Mistake("This is ratio - 1 alone, whose mean is 0 whatever the KL. Add it to k1.")
    if close(result, log_ratio.exp() - 1 + log_ratio):
        raise Mistake("k1 has the wrong sign in this sum: it is minus the log-ratio.")
    for name, other in (("k1", k1(current, reference)), ("k2", k2(current, reference))):
        if close(result, other):
            raise Mistake(f"This is {name}.")
    if close(result, log_ratio.abs()):
        raise Mistake("The absolute value is never negative, but its mean is not the KL.")
    if not close(result, right):
        raise Mistake(
            "With log_ratio = reference - current, it should be exp(log_ratio) - 1 - log_ratio for "
            "each token."
        )


def mean_sequence_kl(log_probs_current, log_probs_reference, mask):
    """Estimate of a sequence's KL in nats, the mean over the batch: a scalar. Arguments [batch, tokens]."""
    log_ratios = torch.where(mask.bool(), log_probs_current - log_probs_reference, 0.0)  # (batch, tokens)
    return log_ratios.sum(-1).mean()


def _check_mean_sequence_kl(fn):
    log_ratios = torch.tensor([[0.5, -0.2, 0.7, 0.4], [1.0, 0.3, 0.0, 0.0], [-0.6, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    current = torch.tensor([[-1.0, -2.0, -3.0, -0.5]]).expand(3, 4).clone()
    garbage = torch.where(mask, 0.0, torch.tensor([0.9, 0.4, 1.3, 2.0]))  # padding has log-probabilities too
    reference = current - log_ratios - garbage
    result = expect_tensor(fn(current.clone(), reference.clone(), mask.clone()))
    rows, every = log_ratios.sum(-1), log_ratios + garbage
    if result.shape != ():
        raise Mistake(
            "The result should be one number for the batch, and has the shape "
            f"{list(result.shape)}: after the sum over tokens comes the mean over sequences."
        )
    if close(result, every.sum(-1).mean()) or close(result, every.mean()):
        raise Mistake(
            "Padding is counted: the model gives it log-probabilities like any token. Use the mask."
        )
    if close(result, log_ratios.mean()):
        raise Mistake(
            "This is a mean over all positions, padding among them: the same sequences in a wider "
            "batch would seem nearer to the reference. Sum over tokens, then take the mean over "
            "sequences."
        )
    if close(result, log_ratios.sum() / mask.sum()):
        raise Mistake(
            "This is the KL of a token, the mean over real tokens. That of a sequence is the sum "
            "over its tokens."
        )
    if close(result, (rows / mask.sum(-1)).mean()):
        raise Mistake(
            "Each sequence is divided by its length. The KL of a sequence is the sum over its tokens."
        )
    if close(result, rows.sum()):
        raise Mistake("This is the sum over the batch. Over tokens it is a sum, over sequences a mean.")
    if close(result, -rows.mean()):
        raise Mistake("The sign is turned: log policy minus log reference.")
    if close(result, log_ratios.abs().sum(-1).mean()):
        raise Mistake(
            "Single log-ratios may be negative, and must be left so: without them the mean is too high."
        )
    if not close(result, rows.mean()):
        raise Mistake(
            f"For three sequences whose log-ratios sum to 1.4, 1.3 and -0.6 this should be 0.7, "
            f"and is {result.item():.3f}."
        )
    empty = torch.where(mask, current, -torch.inf)
    if not close(fn(empty, torch.where(mask, reference, -torch.inf), mask), rows.mean()):
        raise Mistake(
            "Where padding's log-probabilities are -inf, the result is not a number: 0 times nan "
            "is nan. Choose with torch.where(mask, ..., 0.0) instead of multiplying."
        )


def rewards_by_token(scores, penalties, mask):
    """Rewards for RL: minus each token's penalty, and the score on the last real token.

    scores [batch]; penalties and mask [batch, tokens], penalties already 0 at padding -> [batch, tokens].
    """
    rewards = -penalties
    last = mask.long().sum(-1) - 1  # (batch,)
    rewards[torch.arange(len(scores)), last] += scores
    return rewards


def _check_rewards_by_token(fn):
    scores = torch.tensor([2.0, -1.0, 0.5])
    penalties = torch.tensor([[0.1, -0.2, 0.3, 0.4], [0.5, 0.6, 0.0, 0.0], [0.7, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]).bool()
    right, given = rewards_by_token(scores, penalties, mask), penalties.clone()
    result = fn(scores.clone(), given, mask.clone())
    if result is not None and not torch.equal(given, penalties):
        raise Mistake(
            "The penalties that came in have changed: something was added to them in place. "
            "-penalties, or clone(), makes a tensor of its own."
        )
    result = expect_tensor(result, (3, 4))
    rows, last = torch.arange(3), mask.sum(-1) - 1
    twice = right.clone()
    twice[rows, last] -= penalties.sum(-1)
    if close(result, twice):
        raise Mistake(
            "The penalty is counted twice: by token, and as a sum at the end. One of the two, and "
            "by token it says which token is to blame."
        )
    only_end = torch.zeros(3, 4)
    only_end[rows, last] = scores - penalties.sum(-1)
    if close(result, only_end):
        raise Mistake(
            "All stands at the end. The total is right, but each token should carry its own penalty."
        )
    at_end = -penalties
    at_end[:, -1] += scores
    if close(result, at_end):
        raise Mistake(
            "The score is in the last column. Shorter rows end earlier: their last column is padding."
        )
    if close(result, -penalties + scores[:, None]) or close(result, -penalties + scores[:, None] * mask):
        raise Mistake(
            "Each token gets the score, so a long answer gets it many times. It belongs to the "
            "last real token."
        )
    added = right + 2 * penalties
    if close(result, added):
        raise Mistake("The penalties are added: the policy would be paid for leaving the reference.")
    overwritten = -penalties
    overwritten[rows, last] = scores
    if close(result, overwritten):
        raise Mistake("The score replaces the last token's penalty. It is added to it.")
    if close(result, -penalties):
        raise Mistake("The score is missing.")
    if not close(result, right):
        raise Mistake("The first row should be [-0.1, 0.2, -0.3, 1.6], the second [-0.5, -1.6, 0, 0].")


def best_policy(reference, reward, beta):
    """Maximises E[reward] - beta * KL(policy || reference): probabilities [V], as reference is."""
    return (reference.log() + reward / beta).softmax(-1)


def _check_best_policy(fn):
    reference, reward, beta = torch.tensor([0.5, 0.3, 0.15, 0.05]), torch.tensor([0.0, 1.0, -0.5, 2.0]), 0.8
    right = best_policy(reference, reward, beta)
    result = expect_tensor(fn(reference.clone(), reward.clone(), beta), (4,))
    weights = reference * (reward / beta).exp()
    if close(result, weights):
        raise Mistake(f"These sum to {weights.sum():.2f}. Probabilities sum to 1: divide by the sum.")
    if close(result, (reward / beta).softmax(-1)):
        raise Mistake(
            "The reference is missing: this is the best policy for a uniform one. The tilt "
            "multiplies the reference's probabilities."
        )
    if close(result, (reference.log() + reward * beta).softmax(-1)):
        raise Mistake(
            "beta multiplies the reward here. A larger penalty must keep the policy nearer to the "
            "reference: divide."
        )
    if close(result, (reference.log() + reward).softmax(-1)):
        raise Mistake("beta is missing.")
    if close(result, (reference + reward / beta).softmax(-1)):
        raise Mistake(
            "The reference's probability is added to the reward. Its logarithm is, or the "
            "probability is multiplied by the exponential."
        )
    if close(result, torch.tensor([0.0, 0.0, 0.0, 1.0])):
        raise Mistake("All on the best answer: that is the limit of no penalty at all.")
    if not close(result, right):
        raise Mistake("It should be reference * exp(reward / beta), divided by its sum.")
    sharp = fn(reference.clone(), reward.clone(), 0.01)
    if not close(sharp, best_policy(reference, reward, 0.01)):
        raise Mistake(
            "At beta = 0.01 exp(reward / beta) overflows, and the result is not a number. Stay "
            "with logarithms: log reference + reward / beta, then softmax."
        )


def next_coefficient(coefficient, kl, target, gain=0.1, clip=0.2):
    """The coefficient after a step whose KL was kl: coefficient * (1 + gain * clipped relative error)."""
    error = min(max((kl - target) / target, -clip), clip)
    return coefficient * (1 + gain * error)


def _check_next_coefficient(fn):
    def value(coefficient, kl, target, **options):
        result = fn(coefficient, kl, target, **options)
        if result is None:
            raise Mistake("the result is None. Is there a return?")
        return float(result)

    small, large, low = value(0.8, 4.4, 4.0), value(0.8, 40.0, 4.0), value(0.8, 0.4, 4.0)
    if close(value(0.8, 4.0, 4.0), 1.0) and close(small, 1.01):
        raise Mistake("This is the factor. The new coefficient is the old one times it.")
    if close(value(0.8, 4.0, 4.0), 0.0):
        raise Mistake(
            "On target the coefficient should stay as it is; here it becomes 0. The factor is "
            "1 + gain * error."
        )
    if small < 0.8 < low:
        raise Mistake(
            "The coefficient moves the wrong way: where the KL is above its target, the penalty must grow."
        )
    if close(small, 0.81):
        raise Mistake(
            "Added, not multiplied: the step would be as large for a coefficient of 0.001 as for 1."
        )
    if close(small, 0.88):
        raise Mistake("The gain is missing.")
    if close(small, 0.8 * 1.02):
        raise Mistake(
            "The error is not divided by the target: a target of 4 nats and one of 40 would be "
            "steered very differently."
        )
    if close(small, 0.8 * (1 + 0.1 * 0.4 / 4.4)):
        raise Mistake("The error is divided by the KL, not by the target.")
    if close(small, 0.808) and close(large, 0.8 * 1.9):
        raise Mistake(
            "The error is not clipped: one odd batch with ten times the target would nearly double "
            "the coefficient."
        )
    if close(large, 0.8 * 1.2):
        raise Mistake("What is clipped is gain * error. Clip the error, then multiply by the gain.")
    if close(large, 0.816) and close(low, 0.8 * 0.91):
        raise Mistake("The error is clipped from above only; it may be no lower than -clip either.")
    expected = [0.808, 0.816, 0.784, 2.0 * (1 + 0.3 * 0.05)]
    if not close([small, large, low, value(2.0, 10.0, 5.0, gain=0.3, clip=0.05)], expected):
        raise Mistake(
            "For a coefficient of 0.8 and a target of 4, a KL of 4.4 should give 0.808, one of 40 0.816."
        )


def _mean_kl(fault):
    """A wrong mean_sequence_kl: fault(log-ratios of all positions, mask)."""
    return lambda current, reference, mask: fault(current - reference, mask)


def _rewards(fault):
    """A wrong rewards_by_token: fault(minus the penalties, scores, places of the last real tokens)."""

    def wrong(scores, penalties, mask):
        rewards = -penalties
        fault(rewards, scores, (torch.arange(len(scores)), mask.sum(-1) - 1))
        return rewards

    return wrong


def _count_twice(rewards, scores, last):
    rewards[last] += scores + rewards.sum(-1)


def _all_at_the_end(rewards, scores, last):
    total = rewards.sum(-1)
    rewards.zero_()
    rewards[last] = scores + total


def _last_column(rewards, scores, last):
    rewards[:, -1] += scores


def _every_token(rewards, scores, last):
    rewards += scores[:, None]


def _replaced(rewards, scores, last):
    rewards[last] = scores


def _added(rewards, scores, last):
    rewards.neg_()
    rewards[last] += scores


def _in_place(scores, penalties, mask):
    penalties.neg_()
    penalties[torch.arange(len(scores)), mask.sum(-1) - 1] += scores
    return penalties


def _coefficient(fault):
    """A wrong next_coefficient: fault(coefficient, relative error, clipped error, gain)."""

    def wrong(coefficient, kl, target, gain=0.1, clip=0.2):
        error = (kl - target) / target
        return fault(coefficient, error, min(max(error, -clip), clip), gain)

    return wrong


EXERCISES = [
    Exercise(
        name="k3",
        lesson="11",
        minutes=10,
        difficulty=2,
        reference=k3,
        check=_check_k3,
        wrong=[
            (lambda current, reference: k3(reference, current), "upside down"),
            (lambda current, reference: k3(current, reference) + 1, "should be 0"),
            (lambda current, reference: (reference - current).exp() - 1, "alone"),
            (lambda current, reference: (reference - current).exp() - 1 + reference - current, "wrong sign"),
            (k1, "This is k1"),
            (k2, "This is k2"),
            (lambda current, reference: (reference - current).abs(), "absolute value"),
            (lambda current, reference: k3(current, reference).mean(), "one value for each token"),
            (lambda current, reference: 2 * k3(current, reference), "for each token"),
        ],
        hints=(
            "k1 is right on average and jumps about. Add to it something whose mean over the policy's "
            "samples is known to be zero, and which is large where k1 is small. The ratio of reference to "
            "policy has the mean 1 there.",
            "log_ratio = log_probs_reference - log_probs_current, any shape. k1 is -log_ratio; the ratio "
            "is exp(log_ratio); k3 = k1 + (ratio - 1). expm1 keeps the digits where the ratio is near 1.",
        ),
    ),
    Exercise(
        name="mean_sequence_kl",
        lesson="11",
        minutes=10,
        difficulty=2,
        reference=mean_sequence_kl,
        check=_check_mean_sequence_kl,
        wrong=[
            (_mean_kl(lambda ratios, mask: (ratios * mask).mean()), "wider batch"),
            (_mean_kl(lambda ratios, mask: (ratios * mask).sum() / mask.sum()), "KL of a token"),
            (_mean_kl(lambda ratios, mask: ((ratios * mask).sum(-1) / mask.sum(-1)).mean()), "by its length"),
            (_mean_kl(lambda ratios, mask: ratios.sum(-1).mean()), "Padding is counted"),
            (_mean_kl(lambda ratios, mask: ratios.mean()), "Padding is counted"),
            (_mean_kl(lambda ratios, mask: (ratios * mask).sum()), "sum over the batch"),
            (_mean_kl(lambda ratios, mask: (ratios * mask).sum(-1)), "one number for the batch"),
            (_mean_kl(lambda ratios, mask: -(ratios * mask).sum(-1).mean()), "sign is turned"),
            (_mean_kl(lambda ratios, mask: (ratios.abs() * mask).sum(-1).mean()), "must be left so"),
            (_mean_kl(lambda ratios, mask: (ratios * mask).sum(-1).mean()), "0 times nan"),
            (
                _mean_kl(lambda ratios, mask: 2 * torch.where(mask, ratios, 0.0).sum(-1).mean()),
                "should be 0.7",
            ),
        ],
        hints=(
            "The log-probability of a sequence is the sum over its tokens, so the log-ratio of a sequence "
            "is the sum of theirs. Only then is an average taken, over the sequences of the batch.",
            "log-ratios [batch, tokens], 0 where the mask is; sum(-1) gives [batch]; mean() a scalar. "
            "torch.where(mask, x, 0.0) is safe where x is -inf or nan.",
        ),
    ),
    Exercise(
        name="rewards_by_token",
        lesson="11",
        minutes=10,
        difficulty=2,
        reference=rewards_by_token,
        check=_check_rewards_by_token,
        wrong=[
            (_rewards(_count_twice), "counted twice"),
            (_rewards(_all_at_the_end), "All stands at the end"),
            (_rewards(_last_column), "last column"),
            (_rewards(_every_token), "many times"),
            (_rewards(_replaced), "replaces"),
            (_rewards(_added), "paid for leaving"),
            (_rewards(lambda rewards, scores, last: None), "score is missing"),
            (_rewards(lambda rewards, scores, last: rewards.mul_(2)), "The first row should be"),
            (_in_place, "in place"),
        ],
        hints=(
            "Each token pays its own penalty where it stands. The reward model reads the whole answer, so "
            "its score can only come at the end; the end of each row is told by the mask.",
            "-penalties is [batch, tokens]; mask.sum(-1) - 1 is the place of the last real token, "
            "[batch]. rewards[torch.arange(batch), last] += scores.",
        ),
    ),
    Exercise(
        name="best_policy",
        lesson="11",
        minutes=10,
        difficulty=2,
        reference=best_policy,
        check=_check_best_policy,
        wrong=[
            (lambda reference, reward, beta: reference * (reward / beta).exp(), "sum to 1"),
            (lambda reference, reward, beta: (reward / beta).softmax(-1), "reference is missing"),
            (
                lambda reference, reward, beta: best_policy(reference, reward, 1 / beta),
                "multiplies the reward",
            ),
            (lambda reference, reward, beta: best_policy(reference, reward, 1.0), "beta is missing"),
            (lambda reference, reward, beta: (reference + reward / beta).softmax(-1), "Its logarithm"),
            (lambda reference, reward, beta: torch.eye(4)[reward.argmax()], "no penalty at all"),
            (
                lambda reference, reward, beta: (
                    reference * (reward / beta).exp() / (reference * (reward / beta).exp()).sum()
                ),
                "overflows",
            ),
            (lambda reference, reward, beta: reference.flip(0), "divided by its sum"),
        ],
        hints=(
            "Write the objective as one sum over answers, p * (reward - beta * log(p / reference)), and "
            "set its derivative to a constant (the probabilities sum to 1). Then log(p / reference) is "
            "the reward over beta, but for a constant.",
            "p is proportional to reference * exp(reward / beta), [V]. In logarithms: log reference + "
            "reward / beta, and softmax(-1) divides by the sum without overflow.",
        ),
    ),
    Exercise(
        name="next_coefficient",
        lesson="11",
        minutes=5,
        difficulty=1,
        reference=next_coefficient,
        check=_check_next_coefficient,
        wrong=[
            (_coefficient(lambda beta, error, clipped, gain: beta * (1 + gain * error)), "not clipped"),
            (_coefficient(lambda beta, error, clipped, gain: beta * (1 - gain * clipped)), "wrong way"),
            (_coefficient(lambda beta, error, clipped, gain: beta + gain * clipped), "Added, not multiplied"),
            (_coefficient(lambda beta, error, clipped, gain: 1 + gain * clipped), "This is the factor"),
            (_coefficient(lambda beta, error, clipped, gain: beta * gain * clipped), "becomes 0"),
            (_coefficient(lambda beta, error, clipped, gain: beta * (1 + clipped)), "gain is missing"),
            (
                _coefficient(
                    lambda beta, error, clipped, gain: beta * (1 + min(max(gain * error, -0.2), 0.2))
                ),
                "Clip the error, then",
            ),
            (
                _coefficient(lambda beta, error, clipped, gain: beta * (1 + gain * min(error, 0.2))),
                "from above only",
            ),
            (
                _coefficient(lambda beta, error, clipped, gain: beta * (1 + gain * clipped / (1 + error))),
                "divided by the KL",
            ),
            (
                lambda beta, kl, target, gain=0.1, clip=0.2: next_coefficient(
                    beta, 1 + kl - target, 1, gain, clip
                ),
                "not divided by the target",
            ),
            (_coefficient(lambda beta, error, clipped, gain: None), "Is there a return"),
            (
                _coefficient(lambda beta, error, clipped, gain: beta * (1 + 0.1 * clipped)),
                "should give 0.808",
            ),
        ],
        hints=(
            "A thermostat: compare the KL with its target, as a share of the target, and turn the "
            "coefficient up or down by a small factor. Clipping keeps one odd batch from turning it far.",
            "error = (kl - target) / target, between -clip and clip; the result is "
            "coefficient * (1 + gain * error), all plain numbers.",
        ),
    ),
]
