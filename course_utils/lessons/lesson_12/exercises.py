"""Exercises of lesson 12: RLHF with PPO. The solutions are the package's own functions."""

import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_12.suspects import ratio_fault
from course_utils.methods.ppo import (
    clipped_policy_loss,
    gae,
    leave_one_out_advantages,
    masked_mean,
    per_token_rewards,
    reinforce_loss,
)


def _mask(rows, tokens):
    """1 on an answer in each row: one of a single token, one to the last column, others between."""
    mask = torch.zeros(rows, tokens)
    mask[0, 2:4] = 1
    mask[1, 1:] = 1
    mask[2, tokens - 2] = 1
    mask[3:, : tokens - 3] = 1
    return mask


def _answered(rows, tokens):
    return -4 * torch.rand(rows, tokens), 3 * torch.randn(rows) + 2, _mask(rows, tokens)


def _reinforce(fault):
    """A wrong reinforce_loss: fault(log-probability of each answer, returns minus their mean)."""

    def wrong(log_probs, returns, mask):
        returns = returns.detach()
        return fault((log_probs * mask).sum(1), returns - returns.mean())

    return wrong


def _reinforce_in_place(log_probs, returns, mask):
    returns -= returns.mean()
    return reinforce_loss(log_probs, returns, mask)


def _answer_by_answer(log_probs, returns, mask):
    baseline, total = returns.mean().item(), 0.0
    for row, kept in enumerate(mask.bool()):
        total = total - (returns[row].item() - baseline) * log_probs[row, kept].sum()
    return total / len(returns)


ZERO = (
    "The loss is 0 whatever the answers are. That happens where every return is taken with every answer, "
    "[rows] times [rows, 1]: the returns minus their mean add up to 0."
)
REINFORCE_MISTAKES = [
    (
        "The sign is turned: the optimiser goes down, so the loss is minus the advantage times the "
        "log-probability.",
        _reinforce(lambda log_prob, advantages: (advantages * log_prob).mean()),
    ),
    (
        "The baseline is missing: take the mean return of the batch from every return.",
        lambda log_probs, returns, mask: -(returns.detach() * (log_probs * mask).sum(1)).mean(),
    ),
    (
        "Prompt and padding are counted: the policy did not choose them. Multiply by the mask.",
        lambda log_probs, returns, mask: reinforce_loss(log_probs, returns, torch.ones_like(mask)),
    ),
    (
        "The mean over an answer's tokens is not its log-probability: that is their sum.",
        lambda log_probs, returns, mask: reinforce_loss(log_probs / mask.sum(1, keepdim=True), returns, mask),
    ),
    (
        "All tokens of the batch share one mean here, so a long answer counts more than a short one. Sum "
        "over the tokens of each answer, and take the mean over the answers.",
        lambda log_probs, returns, mask: reinforce_loss(log_probs, returns, mask) * len(returns) / mask.sum(),
    ),
    (
        "This is the sum over the answers. Take the mean.",
        _reinforce(lambda log_prob, advantages: -(advantages * log_prob).sum()),
    ),
    (
        "This is n / (n - 1) times too large: the baseline leaves the answer out, or the sum is divided "
        "by n - 1. Here the baseline is the mean of all returns, and the mean is over all answers.",
        _reinforce(lambda log_prob, advantages: -(advantages * log_prob).sum() / (len(log_prob) - 1)),
    ),
    (
        "This weighs with the probability of the answer. The samples weigh already: likely answers come "
        "often. Take the logarithm.",
        _reinforce(lambda log_prob, advantages: -(advantages * log_prob.exp()).mean()),
    ),
    (
        "The returns are divided by their spread. Here the advantage is the plain difference from the mean.",
        _reinforce(lambda log_prob, advantages: -(advantages / advantages.std() * log_prob).mean()),
    ),
    (ZERO, _reinforce(lambda log_prob, advantages: -(advantages * log_prob[:, None]).mean())),
    (ZERO, _reinforce(lambda log_prob, advantages: 0 * log_prob.sum())),
    (
        "A gradient passes into the returns. They are numbers that somebody gave: returns.detach().",
        lambda log_probs, returns, mask: -((returns - returns.mean()) * (log_probs * mask).sum(1)).mean(),
    ),
    (
        "Return one number for the batch, not one for each answer.",
        _reinforce(lambda log_prob, advantages: -advantages * log_prob),
    ),
]


def _scored(rows, tokens, beta):
    log_probs = -4 * torch.rand(rows, tokens)
    reference = log_probs + 0.8 * torch.randn(rows, tokens)
    return 3 * torch.randn(rows), log_probs, reference, _mask(rows, tokens), beta


def _agreeing(rows, tokens, beta, start):
    """Policy and reference agree from column `start` on: the penalty is 0 there."""
    scores, log_probs, reference, mask, beta = _scored(rows, tokens, beta)
    reference[:, start:] = log_probs[:, start:]
    return scores, log_probs, reference, mask, beta


def _parts(scores, log_probs, reference_log_probs, mask, beta):
    """(KL penalty of all positions, the scores at their places, scores, mask)."""
    at_end = per_token_rewards(scores, log_probs, log_probs, mask, 0.0)
    return beta * (log_probs - reference_log_probs), at_end, scores, mask


def _rewards(fault):
    """A wrong per_token_rewards: fault(KL penalty of all positions, scores at the end, scores, mask)."""

    def wrong(scores, log_probs, reference_log_probs, mask, beta):
        return fault(*_parts(scores, log_probs, reference_log_probs, mask, beta))

    return wrong


def _summed(kl, mask):
    return (kl * mask).sum(1, keepdim=True)


def _score_at(place):
    """A wrong per_token_rewards, with the score in column place(mask) of each row."""

    def wrong(scores, log_probs, reference_log_probs, mask, beta):
        rewards = -beta * (log_probs - reference_log_probs) * mask
        rewards[torch.arange(len(scores)), place(mask)] += scores
        return rewards

    return wrong


def _score_after_a_penalty(scores, log_probs, reference_log_probs, mask, beta):
    rewards = -beta * (log_probs - reference_log_probs) * mask
    rewards[torch.arange(len(scores)), _last(rewards != 0)] += scores
    return rewards


def _overwritten(scores, log_probs, reference_log_probs, mask, beta):
    rewards = -beta * (log_probs - reference_log_probs) * mask
    rewards[torch.arange(len(scores)), _last(mask)] = scores
    return rewards


def _score_in_all_rows(scores, log_probs, reference_log_probs, mask, beta):
    rewards = -beta * (log_probs - reference_log_probs) * mask
    rewards[:, _last(mask)] += scores
    return rewards


def _last(mask):
    return (mask * torch.arange(mask.shape[1])).argmax(1)


def _rewards_in_place(scores, log_probs, reference_log_probs, mask, beta):
    log_probs -= reference_log_probs
    return per_token_rewards(scores, log_probs, 0 * log_probs, mask, beta)


def _row_by_row(scores, log_probs, reference_log_probs, mask, beta):
    rewards = torch.zeros_like(log_probs)
    for row, kept in enumerate(mask.bool()):
        rewards[row, kept] = beta * (reference_log_probs - log_probs)[row, kept]
        rewards[row, kept.nonzero()[-1]] += scores[row]
    return rewards


REWARD_MISTAKES = [
    (
        "The sign of the KL is turned: this rewards moving away from the reference.",
        _rewards(lambda kl, at_end, scores, mask: at_end + kl * mask),
    ),
    (
        "Prompt or padding is penalised too: multiply the penalty by the mask.",
        _rewards(lambda kl, at_end, scores, mask: at_end - kl),
    ),
    (
        "The score stands at every token. It belongs to the last one.",
        _rewards(lambda kl, at_end, scores, mask: (scores[:, None] - kl) * mask),
    ),
    (
        "The score stands in the last column. That is padding where the answer is shorter: look for the "
        "last token of each row's mask.",
        _score_at(lambda mask: -1),
    ),
    (
        "The score stands at mask.sum(1) - 1. In lesson 11 the mask began in the first column; here the "
        "prompt stands before the answer, so the last token is the largest position where the mask is 1.",
        _score_at(lambda mask: mask.long().sum(1) - 1),
    ),
    ("The score stands at the first token of the answer.", _score_at(lambda mask: mask.argmax(1))),
    (
        "The score stands one token after the answer's last.",
        _score_at(lambda mask: _last(mask).add(1).clamp(max=mask.shape[1] - 1)),
    ),
    ("The score stands one token before the answer's last.", _score_at(lambda mask: _last(mask) - 1)),
    (
        "Every row has the other rows' scores too: rewards[:, last] are these columns of all rows. Write "
        "rewards[torch.arange(rows), last].",
        _score_in_all_rows,
    ),
    (
        "The score stands at the last token with a penalty. Where policy and reference agree, as before the "
        "first step, the penalty is 0: look for the last token in the mask.",
        _score_after_a_penalty,
    ),
    ("The KL penalty is missing.", _rewards(lambda kl, at_end, scores, mask: at_end)),
    ("The score is missing.", _rewards(lambda kl, at_end, scores, mask: -kl * mask)),
    ("The last token has the score and not its penalty: add the score, do not overwrite.", _overwritten),
    (
        "The KL is counted twice: at every token, and as a sum at the last one.",
        _rewards(lambda kl, at_end, scores, mask: at_end - kl * mask - _summed(kl, mask) * (at_end != 0)),
    ),
    (
        "The whole KL stands at the last token. Its sum is right; but give every token its own part, so "
        "that it is known which one moved.",
        _rewards(lambda kl, at_end, scores, mask: at_end - _summed(kl, mask) * (at_end != 0)),
    ),
    (
        "The KL is divided by the answer's length.",
        _rewards(lambda kl, at_end, scores, mask: at_end - kl * mask / mask.sum(1, keepdim=True)),
    ),
    (
        "beta has no effect.",
        lambda scores, log_probs, reference, mask, beta: per_token_rewards(
            scores, log_probs, reference, mask, 1.0
        ),
    ),
    (
        "This is the sum of each row. Return a reward for every token, [rows, tokens].",
        lambda *arguments: per_token_rewards(*arguments).sum(1),
    ),
]


def _valued(rows, tokens):
    """Rewards that are 0 off the answer; values are of every position, as a value head gives them."""
    mask = _mask(rows, tokens)
    return torch.randn(rows, tokens) * mask, 2 * torch.randn(rows, tokens), mask


def _advantages():
    first, second, third = _valued(4, 6), _valued(5, 9), _valued(3, 5)
    return [call(*first, gamma=0.9, lam=0.5), call(*second, 0.7, 0.8), call(*third), call(*third, lam=1.0)]


def _gae(fault):
    """A wrong gae: fault(rewards, values, mask, gamma, lam)."""
    return lambda rewards, values, mask, gamma=1.0, lam=0.95: fault(rewards, values, mask, gamma, lam)


def _bootstrapped(rewards, values, mask, gamma, lam):
    """With the values off the answer left in."""
    following = torch.cat([values[:, 1:], torch.zeros(len(values), 1)], 1)
    delta = rewards + gamma * following - values
    advantages, carried = torch.zeros_like(rewards), torch.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        carried = (delta[:, t] + gamma * lam * carried) * mask[:, t]
        advantages[:, t] = carried
    return advantages, (advantages + values) * mask


def _forward(rewards, values, mask, gamma, lam):
    turned = (value.flip(1) for value in (rewards, values, mask))
    return tuple(part.flip(1) for part in gae(*turned, gamma, lam))


def _off_the_answer(rewards, values, mask, gamma, lam):
    """Nothing is set to 0 before the answer begins."""
    values = values * mask
    advantages, carried = torch.zeros_like(rewards), torch.zeros(len(rewards))
    following = torch.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        carried = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * carried
        following, advantages[:, t] = values[:, t], carried
    return advantages, advantages + values


def _without_mask(rewards, values, mask, gamma, lam):
    return gae(rewards, values, torch.ones_like(mask), gamma, lam)


def _to_come(rewards):
    """The rewards of each position and all after it."""
    return rewards.flip(1).cumsum(1).flip(1)


def _gae_in_place(rewards, values, mask, gamma=1.0, lam=0.95):
    values *= mask
    return gae(rewards, values, mask, gamma, lam)


def _gae_into_rewards(rewards, values, mask, gamma=1.0, lam=0.95):
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    rewards.copy_(advantages)
    return rewards, returns


def _by_deltas(rewards, values, mask, gamma=1.0, lam=0.95):
    """All one-step errors first, then their sums."""
    values = torch.where(mask == 1, values, 0.0)
    delta = (rewards + gamma * torch.nn.functional.pad(values[:, 1:], (0, 1)) - values) * mask
    tokens = range(rewards.shape[1])
    weights = torch.tensor([[(gamma * lam) ** (u - t) if u >= t else 0.0 for u in tokens] for t in tokens])
    advantages = (delta @ weights.T) * mask
    return advantages, advantages + values


def _by_columns(rewards, values, mask, gamma=1.0, lam=0.95):
    values, columns, carried = values * mask, [], 0.0
    for t in range(rewards.shape[1] - 1, -1, -1):
        later = values[:, t + 1] if t + 1 < rewards.shape[1] else 0.0
        carried = mask[:, t] * (rewards[:, t] + gamma * later - values[:, t] + gamma * lam * carried)
        columns.insert(0, carried)
    advantages = torch.stack(columns, 1)
    return [advantages, values + advantages]


GAE_MISTAKES = [
    (
        "The value of the position after the answer is used. The answer has ended there: what follows "
        "is worth 0. Multiply the values by the mask first.",
        _gae(_bootstrapped),
    ),
    ("lam has no effect: these are the one-step errors.", _gae(lambda r, v, m, g, lam: gae(r, v, m, g, 0.0))),
    ("lam has no effect: this is its value at lam = 1.", _gae(lambda r, v, m, g, lam: gae(r, v, m, g, 1.0))),
    (
        "lam has no effect: it is 0.95 whatever is asked for.",
        _gae(lambda r, v, m, g, lam: gae(r, v, m, g, 0.95)),
    ),
    ("gamma has no effect.", _gae(lambda r, v, m, g, lam: gae(r, v, m, 1.0, lam))),
    (
        "Without gamma and lam the defaults should hold: gamma=1.0, lam=0.95.",
        lambda r, v, m, gamma=0.99, lam=0.95: gae(r, v, m, gamma, lam),
    ),
    (
        "The errors are weighted by lam alone: each step back takes gamma * lam.",
        _gae(lambda r, v, m, g, lam: gae(r, v, m, g, lam / g)),
    ),
    ("The values are not subtracted.", _gae(lambda r, v, m, g, lam: gae(r, 0 * v, m, g, lam))),
    (
        "The recursion runs forward: a token would be credited with what came before it. Start at the end.",
        _gae(_forward),
    ),
    ("Prompt and padding have advantages too: multiply by the mask.", _gae(_off_the_answer)),
    ("The mask has no effect: what is off the answer counts.", _gae(_without_mask)),
    (
        "The returns are advantage plus value, not plus reward.",
        _gae(lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0], gae(r, v, m, g, lam)[0] + r * m)),
    ),
    (
        "The returns are the advantages plus the values: what the values should have been.",
        _gae(lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0],) * 2),
    ),
    *(
        (
            "These returns are the rewards to come, which is right at lam = 1 alone. Returns are advantages "
            "plus values.",
            _gae(returns),
        )
        for returns in (
            lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0], gae(r, v, m, g, 1.0)[1]),
            lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0], _to_come(r) * m),
            lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0], _to_come(r)),
        )
    ),
    (
        "The returns are off the answer too: use the values that were multiplied by the mask.",
        _gae(lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0], gae(r, v, m, g, lam)[0] + v)),
    ),
    (
        "Advantages and returns are exchanged: first the advantages.",
        _gae(lambda r, v, m, g, lam: gae(r, v, m, g, lam)[::-1]),
    ),
    (
        "Return two tensors: the advantages and the returns.",
        _gae(lambda r, v, m, g, lam: gae(r, v, m, g, lam)[0]),
    ),
]


def _moved(rows, tokens):
    """A policy that has moved: ratios on both sides of the clip, advantages of both signs."""
    old = -4 * torch.rand(rows, tokens)
    new = old + 0.4 * torch.randn(rows, tokens)
    return new, old, 2 * torch.randn(rows, tokens), _mask(rows, tokens)


def _policies():
    first, second = _moved(4, 7), _moved(6, 10)
    return [call(*first, 0.2), call(*second, clip=0.05), call(*first)]


def _policy(fault):
    """A wrong clipped_policy_loss: fault(ratio, clipped ratio, advantages) gives the loss of each token."""

    def wrong(log_probs, old_log_probs, advantages, mask, clip=0.2):
        ratio = torch.exp(log_probs - old_log_probs)
        clipped = ratio.clamp(1 - clip, 1 + clip)
        loss = fault(ratio, clipped, advantages.detach())
        return masked_mean(loss, mask), masked_mean((ratio != clipped).float(), mask)

    return wrong


def _ratio(fault):
    """A wrong clipped_policy_loss: fault(log_probs, old_log_probs) is the ratio."""

    def wrong(log_probs, old_log_probs, advantages, mask, clip=0.2):
        ratio = fault(log_probs, old_log_probs)
        clipped = ratio.clamp(1 - clip, 1 + clip)
        loss = _worse(ratio, clipped, advantages.detach())
        return masked_mean(loss, mask), masked_mean((ratio != clipped).float(), mask)

    return wrong


def _mean(fault):
    """A wrong clipped_policy_loss: fault(values of all tokens, mask) is the mean of losses and of clips."""

    def wrong(log_probs, old_log_probs, advantages, mask, clip=0.2):
        ratio = torch.exp(log_probs - old_log_probs)
        clipped = ratio.clamp(1 - clip, 1 + clip)
        loss = _worse(ratio, clipped, advantages.detach())
        return fault(loss, mask), fault((ratio != clipped).float(), mask)

    return wrong


def _share(fault):
    """A wrong clipped_policy_loss: fault(ratio, clipped ratio, advantages, mask) is the share."""

    def wrong(log_probs, old_log_probs, advantages, mask, clip=0.2):
        ratio = torch.exp(log_probs - old_log_probs)
        loss, _ = clipped_policy_loss(log_probs, old_log_probs, advantages, mask, clip)
        return loss, fault(ratio, ratio.clamp(1 - clip, 1 + clip), advantages, mask)

    return wrong


def _worse(ratio, clipped, advantages):
    return torch.maximum(-advantages * ratio, -advantages * clipped)


def _inverted(log_probs, old_log_probs, advantages, mask, clip=0.2):
    return clipped_policy_loss(old_log_probs, log_probs, advantages, mask, clip)


def _not_detached(log_probs, old_log_probs, advantages, mask, clip=0.2):
    ratio = (log_probs - old_log_probs).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    loss = masked_mean(_worse(ratio, clipped, advantages), mask)
    return loss, masked_mean((ratio != clipped).float(), mask)


def _ratio_detached(log_probs, old_log_probs, advantages, mask, clip=0.2):
    return clipped_policy_loss(log_probs.detach(), old_log_probs, advantages, mask, clip)


def _clip_detached(log_probs, old_log_probs, advantages, mask, clip=0.2):
    """The right value; pushes where the clip should stop it."""
    loss, share = clipped_policy_loss(log_probs, old_log_probs, advantages, mask, clip)
    plain = masked_mean(-advantages.detach() * torch.exp(log_probs - old_log_probs), mask)
    return loss.detach() + plain - plain.detach(), share


def _ratio_in_place(log_probs, old_log_probs, advantages, mask, clip=0.2):
    with torch.no_grad():
        old_log_probs *= mask
    return clipped_policy_loss(log_probs, old_log_probs, advantages, mask, clip)


def _by_cases(log_probs, old_log_probs, advantages, mask, clip=0.2):
    """The clip written out for both signs of the advantage."""
    advantages = advantages.detach()
    ratio = (log_probs - old_log_probs).exp()
    good = torch.minimum(ratio, torch.tensor(1 + clip))
    bad = torch.maximum(ratio, torch.tensor(1 - clip))
    loss = -advantages * torch.where(advantages > 0, good, bad)
    inside = mask == 1
    outside = (ratio > 1 + clip) | (ratio < 1 - clip)
    return loss[inside].mean(), outside[inside].float().mean().item()


def _by_minimum(log_probs, old_log_probs, advantages, mask, clip=0.2):
    with torch.no_grad():
        advantages = advantages.clone()
    ratio = torch.exp(log_probs) / torch.exp(old_log_probs)
    gain = torch.min(ratio * advantages, torch.clip(ratio, 1 - clip, 1 + clip) * advantages)
    clipped = ((ratio - 1).abs() > clip) * mask
    return [-(gain * mask).sum() / mask.sum(), clipped.sum() / mask.sum()]


CLIP_MISTAKES = [
    (
        "The sign is turned: the optimiser goes down, so the loss is minus ratio times advantage.",
        _policy(lambda ratio, clipped, a: -_worse(ratio, clipped, a)),
    ),
    ("The ratio is inverted: it is new over old, exp(log_probs - old_log_probs).", _inverted),
    (
        "The ratio is one of probabilities, and these are log-probabilities: exp(log_probs - old_log_probs).",
        _ratio(lambda new, old: new / old),
    ),
    (
        "This is the ratio's logarithm. The ratio is exp(log_probs - old_log_probs).",
        _ratio(lambda new, old: new - old),
    ),
    (
        "Nothing is clipped: at ratio 1.5 and advantage 2 there is nothing more to gain beyond 1.2, so "
        "the loss stops at -2.4.",
        _policy(lambda ratio, clipped, a: -a * ratio),
    ),
    (
        "This is the smaller of the two losses, so nothing stops the push. Take the larger.",
        _policy(lambda ratio, clipped, a: torch.minimum(-a * ratio, -a * clipped)),
    ),
    (
        "Clipped on the wrong side: at ratio 0.5 a good token has become less likely. That must be "
        "repaired, so the gradient stays. The clip only takes what would be gained: the larger of the "
        "two losses.",
        _policy(lambda ratio, clipped, a: -a * clipped),
    ),
    (
        "For negative advantages the clip works the other way round: the loss is 1.6 at ratio 0.5 and 3.0 at "
        "ratio 1.5 (advantage -2, clip 0.2).",
        _policy(lambda ratio, clipped, a: -a * torch.minimum(ratio, clipped)),
    ),
    (
        "The clip is always 0.2: use the argument.",
        lambda new, old, advantages, mask, clip=0.2: clipped_policy_loss(new, old, advantages, mask, 0.2),
    ),
    (
        "The advantage is not detached: its gradient would reach the value head through the policy loss "
        "and teach it to flatter. It is a constant here: advantages.detach().",
        _not_detached,
    ),
    (
        "The values are right, and the gradient passes where the clip should stop it: take the maximum of "
        "the two losses, with nothing detached but the advantages.",
        _clip_detached,
    ),
    (
        "The mean counts padding: divide by the number of tokens of the mask.",
        _mean(lambda x, mask: (x * mask).mean()),
    ),
    (
        "Only tokens of the mask count: sum loss * mask, and divide by mask.sum().",
        _mean(lambda x, mask: x.mean()),
    ),
    (
        "This is the mean of each answer, then over answers: a token of a short answer would count more. "
        "Divide the sum over all tokens by mask.sum().",
        _mean(lambda x, mask: ((x * mask).sum(1) / mask.sum(1)).mean()),
    ),
    (
        "This is the sum over the tokens. Take the mean over the mask.",
        _mean(lambda x, mask: (x * mask).sum()),
    ),
    (
        "The share counts prompt and padding too: take its mean over the mask, as of the loss.",
        _share(lambda ratio, clipped, a, mask: (ratio != clipped).float().mean()),
    ),
    (
        "The share is of the tokens whose ratio is outside 1 +- clip, whichever of the two losses is taken.",
        _share(lambda ratio, clipped, a, mask: masked_mean((-a * clipped > -a * ratio).float(), mask)),
    ),
    (
        "This is the number of clipped tokens. Return their share of the mask's tokens.",
        _share(lambda ratio, clipped, a, mask: ((ratio != clipped) * mask).sum()),
    ),
    (
        "Return two numbers: the loss, and the share of clipped tokens.",
        lambda *arguments, **options: clipped_policy_loss(*arguments, **options)[0],
    ),
]


def _groups(fault):
    """A wrong leave_one_out_advantages: fault(returns [prompts, group])."""
    return lambda returns, group: fault(returns.view(-1, group)).flatten()


def _others(grouped):
    return (grouped.sum(1, keepdim=True) - grouped) / (grouped.shape[1] - 1)


def _left_out_in_place(returns, group):
    grouped = returns.view(-1, group)
    grouped -= grouped.mean(1, keepdim=True)
    return returns * group / (group - 1)


def _one_by_one(returns, group):
    values, result = returns.tolist(), []
    for start in range(0, len(values), group):
        part = values[start : start + group]
        result += [value - (sum(part) - value) / (group - 1) for value in part]
    return torch.tensor(result)


LEFT_OUT_MISTAKES = [
    (
        "The baseline contains the answer itself: with a group of k the advantage comes out (k - 1) / k "
        "times too small. Leave it out.",
        _groups(lambda grouped: grouped - grouped.mean(1, keepdim=True)),
    ),
    (
        "The baseline runs over the whole batch. Only answers to the same prompt are comparable: "
        "view(-1, group).",
        lambda returns, group: returns - (returns.sum() - returns) / (len(returns) - 1),
    ),
    (
        "The rows are grouped wrongly: the answers to one prompt stand together.",
        lambda returns, group: leave_one_out_advantages(returns.view(group, -1).T.flatten(), group),
    ),
    (
        "The rows are grouped wrongly: the answers to one prompt stand together.",
        lambda returns, group: (
            leave_one_out_advantages(returns.view(group, -1).T.flatten(), group).view(-1, group).T.flatten()
        ),
    ),
    (
        "The sign is turned: a better answer than the others should have a positive advantage.",
        _groups(lambda grouped: _others(grouped) - grouped),
    ),
    (
        "The other answers are group - 1, not group.",
        _groups(lambda grouped: grouped - (grouped.sum(1, keepdim=True) - grouped) / grouped.shape[1]),
    ),
    (
        "This is GRPO's advantage, divided by the standard deviation. Here it is the plain difference.",
        _groups(lambda g: (g - g.mean(1, keepdim=True)) / (g.std(1, keepdim=True) + 1e-4)),
    ),
    ("This is the baseline. Subtract it from the answer's own return.", _groups(_others)),
    (
        "The shape is [prompts, group]. Flatten it: one advantage for each answer.",
        lambda returns, group: leave_one_out_advantages(returns, group).view(-1, group),
    ),
]


def _ratios():
    """Ratios of updates of each kind, some near the threshold, with the rounding of two forward passes."""

    def ones():
        return 1 + 1e-5 * torch.randn(50)

    def moved():
        return torch.exp(0.1 * torch.randn(50))

    above, below = ones(), ones()
    above[7], below[3] = 1.3, 0.7  # one token alone
    rare = 1 + 1e-5 * torch.randn(500)
    rare[40] = 1.02
    near, beyond, all_alike = (torch.full((50,), ratio) for ratio in (1.0005, 1.005, 1.2))
    return [
        (ones(), moved()),
        (moved(), moved()),
        (ones(), ones()),
        (above, moved()),
        (below, moved()),
        (ones(), above),
        (ones(), below),
        (near, moved()),
        (ones(), near),
        *((far, moved()) for far in (beyond, all_alike, rare)),
        *((ones(), far) for far in (beyond, all_alike, rare)),
    ]


def _within(threshold, size=lambda ratios: (ratios - 1).abs().max()):
    """A wrong ratio_fault, which takes ratios for 1 where their `size` is below a threshold."""
    return lambda before, after: (
        "reference" if size(before) > threshold else "itself" if size(after) < threshold else "sound"
    )


RATIO_MISTAKES = [
    (
        "The first ratio tells of the first fault: before any step a sound update has 1 everywhere, and the "
        "reference's log-probabilities give something else.",
        lambda before, after: "itself" if (after - 1).abs().max() < 1e-3 else "sound",
    ),
    (
        "A policy that is compared with itself has ratio 1 after its step too: look at `after`.",
        lambda before, after: "reference" if (before - 1).abs().max() > 1e-3 else "sound",
    ),
    (
        "Two forward passes round differently: a ratio within 0.001 of 1 counts as 1.",
        lambda before, after: (
            "reference" if (before != 1).any() else "itself" if (after == 1).all() else "sound"
        ),
    ),
    ("Two forward passes round differently: a ratio within 0.001 of 1 counts as 1.", _within(1e-4)),
    (
        "The spread is 0 where all ratios are alike, and they may all be 1.2. Look at the largest difference "
        "from 1.",
        _within(1e-3, lambda ratios: ratios.std()),
    ),
    ("The threshold is too wide: only what is within 0.001 of 1 counts as 1.", _within(0.1)),
    ("The threshold is too wide: only what is within 0.001 of 1 counts as 1.", _within(0.01)),
    (
        "The mean hides a single token that has moved. Look at the largest difference from 1.",
        _within(1e-3, lambda ratios: (ratios - 1).abs().mean()),
    ),
    (
        "The mean hides it: ratios above and below 1 cancel. Look at the largest difference from 1.",
        lambda before, after: (
            "reference"
            if (before.mean() - 1).abs() > 0.05
            else "itself"
            if (after.mean() - 1).abs() < 0.05
            else "sound"
        ),
    ),
    (
        "Only ratios above 1 are seen: take the absolute difference.",
        lambda before, after: (
            "reference" if (before - 1).max() > 1e-3 else "itself" if (after - 1).max() < 1e-3 else "sound"
        ),
    ),
    (
        "The verdicts are exchanged: a first ratio that is not 1 comes from another policy.",
        lambda before, after: {"reference": "itself", "itself": "reference"}.get(
            ratio_fault(before, after), "sound"
        ),
    ),
]


EXERCISES = [
    Exercise(
        name="reinforce_loss",
        lesson="12",
        minutes=10,
        difficulty=2,
        reference=reinforce_loss,
        check=compare(
            reinforce_loss,
            lambda: [_answered(4, 6), _answered(5, 9)],
            REINFORCE_MISTAKES,
            else_="The loss is minus the mean over the answers of (return - mean return) * (sum of the "
            "answer's log-probabilities).",
            gradient=("log_probs", "returns"),
        ),
        wrong=[
            (_reinforce_in_place, "changes its argument returns in place"),
            (
                lambda log_probs, returns, mask: reinforce_loss(log_probs.detach(), returns, mask),
                "no gradient",
            ),
            (_reinforce(lambda log_prob, a: -2 * (a * log_prob).mean()), "minus the mean over the answers"),
            (lambda log_probs, returns, mask: None, "Is there a return"),
        ],
        right=[
            _answer_by_answer,
            lambda log_probs, returns, mask: (
                -((returns - returns.mean()).detach()[:, None] * log_probs * mask).sum() / len(returns)
            ),
        ],
        hints=(
            "An answer that got more than the others should become likelier, and one that got less should "
            "become rarer. By how much: its return minus the mean return of the batch.",
            "(log_probs * mask).sum(1) is the log-probability of each answer, [rows]. Multiply by "
            "(returns - returns.mean()).detach(), [rows]; the loss is minus the mean.",
        ),
        then="The ten iterations below run on yours.",
    ),
    Exercise(
        name="per_token_rewards",
        lesson="12",
        minutes=10,
        difficulty=2,
        reference=per_token_rewards,
        check=compare(
            per_token_rewards,
            lambda: [
                _scored(4, 6, 0.3),
                _scored(5, 9, 1.7),
                _agreeing(4, 7, 0.5, start=3),
                _agreeing(4, 6, 0.2, start=0),
            ],
            REWARD_MISTAKES,
            else_="Every token of the answer has -beta * (log_probs - reference_log_probs), its last one the "
            "score besides, and everything else 0.",
        ),
        wrong=[
            (_rewards_in_place, "changes its argument log_probs in place"),
            (_rewards(lambda kl, at_end, scores, mask: 2 * at_end - kl * mask), "Every token of the answer"),
            (lambda *arguments: torch.zeros_like(arguments[1]), "Every token of the answer"),
            (lambda *arguments: None, "Is there a return"),
        ],
        right=[_score_at(_last), _score_at(lambda mask: mask.cumsum(1).argmax(1)), _row_by_row],
        hints=(
            "Two parts. The KL penalty is paid at every token of the answer, when it is chosen. The reward "
            "model has read the whole answer, so its score comes with the last token.",
            "-beta * (log_probs - reference_log_probs) * mask is [rows, tokens]; lesson 11's rlhf_kl_penalty "
            "gives it without the sign. The last token of a row: mask.cumsum(1) is largest "
            "from there on, and argmax(1) gives the first such place. Add the score there.",
        ),
        then="`experience` calls yours for every batch of answers, so both trainings below run on it. Run "
        'the cells again from here to the end of "One answer at each place".',
    ),
    Exercise(
        name="gae",
        lesson="12",
        minutes=15,
        difficulty=3,
        reference=gae,
        check=compare(
            gae,
            _advantages,
            GAE_MISTAKES,
            else_="At the answer's last token the advantage is reward minus value; before it, delta_t + "
            "gamma * lam * (advantage of the next token). The returns are advantages plus values.",
        ),
        wrong=[
            (_gae_in_place, "changes its argument values in place"),
            (_gae_into_rewards, "changes its argument rewards in place"),
            (_gae(lambda r, v, m, g, lam: gae(2 * r, v, m, g, lam)), "last token the advantage is"),
            (_gae(lambda r, v, m, g, lam: (0 * r, 0 * r)), "last token the advantage is"),
            (lambda rewards, values, mask: gae(rewards, values, mask), "should take the arguments"),
        ],
        right=[_by_deltas, _by_columns],
        hints=(
            "How much better was a token than expected? Its own error is delta = reward + gamma * (value of "
            "the next position) - value. GAE adds the errors of the tokens after it, each weighted by gamma "
            "* lam once more.",
            "values = values * mask. From the last column to the first: delta [rows], A = (delta + gamma * "
            "lam * A of the next column) * mask[:, t]. Past the end, value and A are 0. Returns: A + values.",
        ),
        then="`experience` calls yours for every batch of answers, so both trainings below run on it. Run "
        'the cells again from here to the end of "One answer at each place".',
    ),
    Exercise(
        name="clipped_policy_loss",
        lesson="12",
        minutes=15,
        difficulty=3,
        reference=clipped_policy_loss,
        check=compare(
            clipped_policy_loss,
            _policies,
            CLIP_MISTAKES,
            else_="The loss of a token is the larger of -advantage * ratio and -advantage * clipped ratio; "
            "both results are means over the mask.",
            gradient=("log_probs", "advantages"),
        ),
        wrong=[
            (_ratio_detached, "log_probs gets no gradient"),
            (_ratio_in_place, "changes its argument old_log_probs in place"),
            (_policy(lambda ratio, clipped, a: 2 * _worse(ratio, clipped, a)), "The loss of a token is"),
            (_policy(lambda ratio, clipped, a: 0 * ratio), "The loss of a token is"),
            (_share(lambda ratio, clipped, a, mask: torch.tensor(0.0)), "The loss of a token is"),
        ],
        right=[_by_cases, _by_minimum],
        hints=(
            "The plain loss is -advantage * ratio, ratio = new probability over old. The clipped one uses a "
            "ratio that is kept within 1 - clip and 1 + clip. Of the two, always take the more pessimistic.",
            "ratio = exp(log_probs - old_log_probs), [rows, tokens]; clamp it; torch.maximum of the two "
            "losses, with advantages.detach(). masked_mean of the losses, and of (ratio != clamped).float().",
        ),
        then="`update` calls yours for every minibatch, so both trainings below run on it. Run the cells "
        'again from here to the end of "One answer at each place".',
    ),
    Exercise(
        name="ratio_fault",
        lesson="12",
        minutes=8,
        difficulty=2,
        reference=ratio_fault,
        check=compare(ratio_fault, _ratios, RATIO_MISTAKES),
        wrong=[
            (lambda before, after: "wrong", "and is 'wrong'"),
            (lambda before, after: None, "Is there a return"),
        ],
        right=[
            lambda before, after: (
                "reference"
                if not torch.allclose(before, torch.ones_like(before), atol=1e-3)
                else "itself"
                if torch.allclose(after, torch.ones_like(after), atol=1e-3)
                else "sound"
            ),
            lambda before, after: (
                "reference"
                if any(abs(ratio - 1) > 1e-3 for ratio in before.tolist())
                else "itself"
                if all(abs(ratio - 1) < 1e-3 for ratio in after.tolist())
                else "sound"
            ),
        ],
        hints=(
            "What should the ratio be before the first step, when the policy still is the one that sampled? "
            "And after a step?",
            "(before - 1).abs().max() is the largest difference from 1. Above 0.001: reference. If not, and "
            "the same of `after` is below 0.001: itself. Else sound.",
        ),
        then="The table below gives its verdicts.",
    ),
    Exercise(
        name="leave_one_out_advantages",
        lesson="12",
        minutes=10,
        difficulty=2,
        reference=leave_one_out_advantages,
        check=compare(
            leave_one_out_advantages,
            lambda: [(3 * torch.randn(6), 3), (torch.randn(8) - 4, 2), (torch.randn(10), 5)],
            LEFT_OUT_MISTAKES,
            else_="An answer with the return 1 beside others with 2 and 6 has 1 - (2 + 6) / 2 = -3.",
        ),
        wrong=[
            (_left_out_in_place, "changes its argument returns in place"),
            (
                lambda returns, group: leave_one_out_advantages(returns, group) / 2,
                "beside others with 2 and 6",
            ),
            (lambda returns, group: leave_one_out_advantages(returns, 3), "is invalid for input of size 8"),
            (lambda returns, group: 0 * returns, "beside others with 2 and 6"),
        ],
        right=[_one_by_one, _groups(lambda g: (g - g.mean(1, keepdim=True)) * g.shape[1] / (g.shape[1] - 1))],
        hints=(
            "What would the others have given? The mean of the other answers to the same prompt is a "
            "baseline that does not depend on this answer.",
            "returns.view(-1, group) is [prompts, group]. The sum of the others is the group's sum minus the "
            "return; divide by group - 1, subtract from the return, flatten to [rows].",
        ),
        then="The expected gradient below is that of yours, and RLOO in `group_loss` calls it, which is "
        "compared with TRL's step. Run all cells below again.",
    ),
]
