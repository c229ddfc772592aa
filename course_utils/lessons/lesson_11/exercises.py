"""Exercises of lesson 11: exact and sampled KL, rewards by token, the best policy, the coefficient, k3."""

from __future__ import annotations

import math

import torch
from torch.distributions import Categorical, kl_divergence

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_11.parts import (
    best_policy,
    mean_sequence_kl,
    next_coefficient,
    rewards_by_token,
)
from course_utils.methods.kl import exact_kl, k1, k2, k3


def _logits(*shape):
    """Logits of a policy and of a reference, neither of them log-probabilities."""
    return 1.5 * torch.randn(*shape) + 2, 1.5 * torch.randn(*shape) - 1


def _kl(fault):
    """A wrong exact_kl: fault(log-probabilities of the policy, of the reference)."""
    return lambda current, reference: fault(current.log_softmax(-1), reference.log_softmax(-1))


def _without_the_unsaid(terms):
    """exact_kl by terms(log-probabilities of both), 0 where the policy never says a token."""
    return _kl(lambda p, q: torch.where(p > -torch.inf, terms(p, q), 0.0).sum(-1))


def _kl_in_place(current, reference):
    current -= current.logsumexp(-1, keepdim=True)
    return exact_kl(current, reference)


def _by_distributions(current, reference):
    return kl_divergence(Categorical(logits=current), Categorical(logits=reference))


def _place_by_place(current, reference):
    """In Python's numbers, one distribution after the other: the values are right, and nothing can learn."""
    found = []
    rows = zip(
        current.reshape(-1, current.shape[-1]), reference.reshape(-1, reference.shape[-1]), strict=True
    )
    for mine, theirs in rows:
        p, q = mine.double().softmax(-1).tolist(), theirs.double().softmax(-1).tolist()
        terms = [a * math.log(a / b) if b else math.inf for a, b in zip(p, q, strict=True) if a]
        found.append(sum(terms))
    return torch.tensor(found).view(current.shape[:-1])


_UNSAID = torch.tensor([0.0, 1.0, -torch.inf])
EXACT_MISTAKES = [
    (
        "The two are swapped: this is the KL of the reference from the policy. The policy's probabilities "
        "weigh the terms, and its log-probability comes first.",
        lambda current, reference: exact_kl(reference, current),
    ),
    (
        "The terms are weighted by the reference's probabilities. The mean is over what the policy says.",
        _kl(lambda p, q: (q.exp() * (p - q)).sum(-1)),
    ),
    ("The sign is turned: log policy minus log reference.", _kl(lambda p, q: (p.exp() * (q - p)).sum(-1))),
    (
        "The terms are not weighted: each counts by the probability that the policy gives to its token.",
        _kl(lambda p, q: (p - q).sum(-1)),
    ),
    (
        "This is a mean over the vocabulary. The probabilities are the weights already: sum.",
        _kl(lambda p, q: (p.exp() * (p - q)).mean(-1)),
    ),
    (
        "The log-ratio is taken of logits, which are log-probabilities only after log_softmax.",
        lambda current, reference: (current.softmax(-1) * (current - reference)).sum(-1),
    ),
    (
        "The log-ratio is taken of logits, which are log-probabilities only after log_softmax.",
        lambda current, reference: (current.exp() * (current - reference)).sum(-1),
    ),
    (
        "This is the cross-entropy. What the policy itself finds surprising is still in it.",
        _kl(lambda p, q: -(p.exp() * q).sum(-1)),
    ),
    (
        "Log-probabilities are multiplied here. The weights are probabilities: exp of them.",
        _kl(lambda p, q: (p * (p - q)).sum(-1)),
    ),
    (
        "This is one number for all places. Each place of the text has a KL of its own.",
        _kl(lambda p, q: (p.exp() * (p - q)).sum()),
    ),
    (
        "This is one number for all places. Each place of the text has a KL of its own.",
        lambda current, reference: exact_kl(current, reference).mean(),
    ),
    ("These are the terms of the sum. Add them up over the vocabulary.", _kl(lambda p, q: p.exp() * (p - q))),
    (
        "The softmax runs over another dimension. The vocabulary is the last one.",
        lambda current, reference: (
            current.softmax(0) * (current.log_softmax(0) - reference.log_softmax(0))
        ).sum(-1),
    ),
]
EXACT_NAN = (
    "Where the policy never says a token (logit -inf), its term is 0 times something infinite, and that is "
    "not a number. The token adds nothing: torch.where(log_probs > -torch.inf, terms, 0.0)."
)
EXACT_ELSE = "The sum over the vocabulary of p * (log p - log q), with p the policy's probabilities."
EXACT_INF = (
    "What the policy says and the reference never does costs without limit: inf. A small number added to the "
    "probabilities, or a clamp, hides that."
)


_COMPARE_EXACT = compare(
    exact_kl,
    lambda: [_logits(2, 3, 5), _logits(4, 7), _logits(6)],
    EXACT_MISTAKES,
    else_=EXACT_ELSE,
    extremes=[
        (EXACT_NAN, [(_UNSAID, torch.zeros(3)), (_UNSAID, torch.tensor([1.0, 0.0, -torch.inf]))]),
        (EXACT_INF, [(torch.zeros(3), _UNSAID)]),
    ],
)
_COMPARE_GRADIENT = compare(
    exact_kl,
    lambda: [_logits(2, 5), _logits(6)],
    EXACT_MISTAKES,
    else_=EXACT_ELSE,
    gradient=("logits_current",),
)


def _check_exact(fn):
    """The values with their extremes; then the gradient, where all logits are finite."""
    _COMPARE_EXACT(fn)
    _COMPARE_GRADIENT(fn)


def _with_epsilon(current, reference):
    p, q = current.softmax(-1), reference.softmax(-1)
    return (p * ((p + 1e-9).log() - (q + 1e-9).log())).sum(-1)


def _log_probs(*shape):
    """Log-probabilities of a policy and of a reference not far from it."""
    current = -3 * torch.rand(*shape) - 0.1
    return current, current + 0.7 * torch.randn(*shape)


def _ratio(fault):
    """A wrong k3: fault(log of reference over policy)."""
    return lambda current, reference: fault(reference - current)


def _k3_in_place(current, reference):
    current -= reference
    return (-current).expm1() + current


K3_MISTAKES = [
    (
        "The ratio is upside down. It is reference over policy, since the policy drew the samples: only then "
        "is its mean 1. This version is never negative either, and its mean is wrong.",
        lambda current, reference: k3(reference, current),
    ),
    (
        "Where the policies agree this is 1, and should be 0: what was added to k1 is ratio - 1.",
        lambda current, reference: k3(current, reference) + 1,
    ),
    ("This is ratio - 1 alone, whose mean is 0 whatever the KL. Add it to k1.", _ratio(torch.expm1)),
    (
        "k1 has the wrong sign in this sum: it is minus the log-ratio.",
        _ratio(lambda log_ratio: log_ratio.expm1() + log_ratio),
    ),
    ("This is k1.", k1),
    ("This is k1 with its sign turned.", _ratio(lambda log_ratio: log_ratio)),
    ("This is k2.", k2),
    ("The absolute value is never negative, but its mean is not the KL.", _ratio(torch.abs)),
    (
        "This is the mean. Return one value for each token; averaging comes later.",
        lambda current, reference: k3(current, reference).mean(),
    ),
    (
        "This is a sum. Return one value for each token; adding up comes later.",
        lambda current, reference: k3(current, reference).sum(),
    ),
]


def _masked(*lengths, padding=None):
    """Log-probabilities as `_log_probs` gives them, and the mask of sequences of these lengths.

    padding: value of both log-probabilities there; by default the model's own, as of any token.
    """
    current, reference = _log_probs(len(lengths), max(lengths))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    if padding is not None:
        current, reference = (torch.where(mask, values, padding) for values in (current, reference))
    return current, reference, mask


def _mean_kl(fault):
    """A wrong mean_sequence_kl: fault(log-ratios of all positions, mask)."""
    return lambda current, reference, mask: fault(current - reference, mask)


def _mean_kl_in_place(current, reference, mask):
    current -= reference
    current[~mask] = 0
    return current.sum(-1).mean()


def _by_filling(current, reference, mask):
    return (current - reference).masked_fill(mask == 0, 0.0).sum(1).mean()


def _sequence_by_sequence(current, reference, mask):
    rows = zip(current, reference, mask.bool(), strict=True)
    sums = [(now[real] - before[real]).sum().item() for now, before, real in rows]
    return sum(sums) / len(sums)


PADDING = "Padding is counted: the model gives it log-probabilities like any token. Use the mask."
WITHOUT_NEGATIVES = (
    "Single log-ratios may be negative, and must be left so: without them the mean is too high."
)
MEAN_KL_MISTAKES = [
    (PADDING, _mean_kl(lambda ratios, mask: ratios.sum(-1).mean())),
    (PADDING, _mean_kl(lambda ratios, mask: ratios.mean())),
    (
        "This is a mean over all positions, padding among them: the same sequences in a wider batch would "
        "seem nearer to the reference. Sum over tokens, then take the mean over sequences.",
        _mean_kl(lambda ratios, mask: (ratios * mask).mean()),
    ),
    (
        "This is the KL of a token, the mean over real tokens. A sequence's is the sum over its tokens.",
        _mean_kl(lambda ratios, mask: (ratios * mask).sum() / mask.sum()),
    ),
    (
        "Each sequence is divided by its length. The KL of a sequence is the sum over its tokens.",
        _mean_kl(lambda ratios, mask: ((ratios * mask).sum(-1) / mask.sum(-1)).mean()),
    ),
    (
        "This is the sum over the batch. Over tokens it is a sum, over sequences a mean.",
        _mean_kl(lambda ratios, mask: (ratios * mask).sum()),
    ),
    (
        "The sign is turned: the log-ratio is log policy minus log reference.",
        _mean_kl(lambda ratios, mask: -(ratios * mask).sum(-1).mean()),
    ),
    (WITHOUT_NEGATIVES, _mean_kl(lambda ratios, mask: (ratios.abs() * mask).sum(-1).mean())),
    (WITHOUT_NEGATIVES, _mean_kl(lambda ratios, mask: (ratios.clamp(min=0) * mask).sum(-1).mean())),
    (
        "The terms are weighted by their probability. The tokens were drawn by it already: each counts once.",
        lambda current, reference, mask: (current.exp() * (current - reference) * mask).sum(-1).mean(),
    ),
    (
        "The result should be one number for the batch: after the sum over tokens comes the mean over "
        "sequences.",
        _mean_kl(lambda ratios, mask: (ratios * mask).sum(-1)),
    ),
]
NOT_A_NUMBER = (
    "Where padding's log-probabilities are -inf, the result is not a number: 0 times nan is nan. "
    "Choose with torch.where(mask, ..., 0.0) instead of multiplying."
)


HIDDEN_INF = (
    "A real token to which the reference gives no probability makes the KL infinite, and that must show. "
    "Replace what stands at padding, and nothing else."
)


def _never_said(*lengths):
    """The same, with a real token that the reference never says."""
    current, reference, mask = _masked(*lengths)
    reference[0, 1] = -torch.inf
    return current, reference, mask


def _scored(*lengths):
    """Scores, penalties and mask of answers of these lengths, as rewards_by_token takes them."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths)) + 0.2, torch.randn(mask.shape) * mask, mask


def _unpenalised(*lengths):
    """The same, from a policy that still is the reference."""
    scores, penalties, mask = _scored(*lengths)
    return scores, 0 * penalties, mask


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


def _in_every_row(rewards, scores, last):
    rewards[:, last[1]] += scores


def _first_column(rewards, scores, last):
    rewards[:, 0] += scores


def _after_the_last(rewards, scores, last):
    rewards[last[0], (last[1] + 1).clamp(max=rewards.shape[1] - 1)] += scores


def _replaced(rewards, scores, last):
    rewards[last] = scores


def _added(rewards, scores, last):
    rewards.neg_()
    rewards[last] += scores


def _penalties_in_place(scores, penalties, mask):
    penalties.neg_()
    penalties[torch.arange(len(scores)), mask.sum(-1) - 1] += scores
    return penalties


def _end_by_penalties(scores, penalties, mask):
    places = torch.arange(mask.shape[1])
    last = (places * (penalties != 0)).amax(-1, keepdim=True)
    return scores[:, None] * (places == last) - penalties


def _by_one_hot(scores, penalties, mask):
    places = torch.arange(mask.shape[1])
    last = (places * mask).amax(-1, keepdim=True)
    return scores[:, None] * (places == last) - penalties


def _answer_by_answer(scores, penalties, mask):
    rewards = penalties.clone().neg()
    for row, real in enumerate(mask):
        rewards[row, int(real.nonzero()[-1])] += scores[row]
    return rewards


MANY_TIMES = (
    "Each token gets the score, so a long answer gets it many times. It belongs to the last real token."
)
REWARDS_MISTAKES = [
    (
        "The penalty is counted twice: by token, and as a sum at the end. One of the two, and by token it "
        "says which token is to blame.",
        _rewards(_count_twice),
    ),
    (
        "All stands at the end. The total is right, but each token should carry its own penalty.",
        _rewards(_all_at_the_end),
    ),
    (
        "The score is in the last column. Shorter rows end earlier: their last column is padding.",
        _rewards(_last_column),
    ),
    (
        "rewards[:, last] is these columns of every row. One place a row: "
        "rewards[torch.arange(batch), last].",
        _rewards(_in_every_row),
    ),
    (
        "The score is in the first column. The reward model reads the whole answer: it belongs to the end.",
        _rewards(_first_column),
    ),
    (
        "The score is one place too late: the last real token is at mask.sum(-1) - 1.",
        _rewards(_after_the_last),
    ),
    (MANY_TIMES, lambda scores, penalties, mask: scores[:, None] - penalties),
    (MANY_TIMES, lambda scores, penalties, mask: scores[:, None] * mask - penalties),
    ("The penalties are added: the policy would be paid for leaving the reference.", _rewards(_added)),
    ("The score replaces the last token's penalty. It is added to it.", _rewards(_replaced)),
    (
        "The end of a row is read off the penalties, which may be 0 at a real token too. The mask tells it.",
        _end_by_penalties,
    ),
    ("The score is missing.", lambda scores, penalties, mask: -penalties),
]


def _choice(size, beta):
    """Probabilities of `size` answers, their rewards, and beta."""
    return torch.randn(size).softmax(-1), 1.5 * torch.randn(size), beta


_FOUR = torch.tensor([0.5, 0.3, 0.15, 0.05])


def _tilted(reference, reward, beta):
    weights = reference * (reward / beta).exp()
    return weights / weights.sum()


def _tilted_in_double(reference, reward, beta):
    return _tilted(reference.double(), reward.double(), beta).float()


def _from_the_best(reference, reward, beta):
    weights = reference * ((reward - reward.max()) / beta).exp()
    return weights / weights.sum()


def _with_logsumexp(reference, reward, beta):
    logits = reference.log() + reward / beta
    return (logits - torch.logsumexp(logits, 0)).exp()


BEST_POLICY_MISTAKES = [
    (
        "These do not sum to 1, as probabilities do: divide by the sum.",
        lambda reference, reward, beta: reference * (reward / beta).exp(),
    ),
    (
        "The reference is missing: this is the best policy for a uniform one. The tilt multiplies the "
        "reference's probabilities.",
        lambda reference, reward, beta: (reward / beta).softmax(-1),
    ),
    (
        "beta multiplies the reward here. A larger penalty must keep the policy nearer to the reference: "
        "divide.",
        lambda reference, reward, beta: best_policy(reference, reward, 1 / beta),
    ),
    ("beta is missing.", lambda reference, reward, beta: best_policy(reference, reward, 1.0)),
    (
        "The reference's probability is added to the reward. Its logarithm is, or the probability is "
        "multiplied by the exponential.",
        lambda reference, reward, beta: (reference + reward / beta).softmax(-1),
    ),
    (
        "beta divides the reference's logarithm too. It belongs to the reward alone.",
        lambda reference, reward, beta: ((reference.log() + reward) / beta).softmax(-1),
    ),
    (
        "The sign of the reward is turned: this prefers the worst answers.",
        lambda reference, reward, beta: best_policy(reference, -reward, beta),
    ),
    (
        "These are logarithms. Return the probabilities.",
        lambda reference, reward, beta: best_policy(reference, reward, beta).log(),
    ),
    (
        "All on the best answer: that is the limit of no penalty at all.",
        lambda reference, reward, beta: torch.eye(len(reward))[reward.argmax()],
    ),
]


NEXT_INPUTS = [
    (0.8, 4.4, 4.0),
    (0.8, 40.0, 4.0),
    (0.8, 0.4, 4.0),
    (0.03, 1.95, 2.0),
    (0.8, 4.0, 4.0),
    call(2.0, 10.0, 5.0, gain=0.3, clip=0.05),
    call(2.0, 0.5, 5.0, gain=0.5, clip=0.4),
]


def _coefficient(fault):
    """A wrong next_coefficient: fault(coefficient, relative error, clipped error, gain, clip)."""

    def wrong(coefficient, kl, target, gain=0.1, clip=0.2):
        error = (kl - target) / target
        return fault(coefficient, error, min(max(error, -clip), clip), gain, clip)

    return wrong


def _absolute_error(coefficient, kl, target, gain=0.1, clip=0.2):
    return coefficient * (1 + gain * min(max(kl - target, -clip), clip))


def _divided_by_kl(coefficient, kl, target, gain=0.1, clip=0.2):
    return coefficient * (1 + gain * min(max((kl - target) / kl, -clip), clip))


def _without_options(coefficient, kl, target):
    return next_coefficient(coefficient, kl, target)


def _by_clamp(coefficient, kl, target, gain=0.1, clip=0.2):
    error = torch.tensor((kl - target) / target).clamp(-clip, clip)
    return coefficient * (1 + gain * error)


def _by_cases(coefficient, kl, target, gain=0.1, clip=0.2):
    if kl > (1 + clip) * target:
        return coefficient + coefficient * gain * clip
    if kl < (1 - clip) * target:
        return coefficient - coefficient * gain * clip
    return coefficient + coefficient * gain * (kl / target - 1)


SWAPPED = "min and max are swapped: the error is -clip or clip, never between. min(max(error, -clip), clip)."
NEXT_MISTAKES = [
    (
        "This is the factor. The new coefficient is the old one times it.",
        _coefficient(lambda beta, error, clipped, gain, clip: 1 + gain * clipped),
    ),
    (
        "On target the coefficient should stay as it is; here it becomes 0. The factor is 1 + gain * error.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * gain * clipped),
    ),
    (
        "The coefficient moves the wrong way: where the KL is above its target, the penalty must grow.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 - gain * clipped)),
    ),
    (
        "Added, not multiplied: the step would be as large for a coefficient of 0.001 as for 1.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta + gain * clipped),
    ),
    ("The gain is missing.", _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 + clipped))),
    (
        "The error is not divided by the target: a target of 4 nats and one of 40 would be steered very "
        "differently.",
        _absolute_error,
    ),
    ("The error is divided by the KL, not by the target.", _divided_by_kl),
    (
        "The error is not clipped: one odd batch with ten times the target would nearly double the "
        "coefficient.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 + gain * error)),
    ),
    (
        "What is clipped is gain * error. Clip the error, then multiply by the gain.",
        _coefficient(
            lambda beta, error, clipped, gain, clip: beta * (1 + min(max(gain * error, -clip), clip))
        ),
    ),
    (
        "The error is clipped from above only; it may be no lower than -clip either.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 + gain * min(error, clip))),
    ),
    (
        "The error is clipped from below only; it may be no higher than clip either.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 + gain * max(error, -clip))),
    ),
    (
        SWAPPED,
        _coefficient(
            lambda beta, error, clipped, gain, clip: beta * (1 + gain * max(min(error, -clip), clip))
        ),
    ),
    (
        SWAPPED,
        _coefficient(
            lambda beta, error, clipped, gain, clip: beta * (1 + gain * min(max(error, clip), -clip))
        ),
    ),
    (
        "gain and clip are arguments: use them instead of 0.1 and 0.2.",
        lambda beta, kl, target, gain=0.1, clip=0.2: next_coefficient(beta, kl, target),
    ),
    (
        "gain is an argument: use it instead of 0.1.",
        _coefficient(lambda beta, error, clipped, gain, clip: beta * (1 + 0.1 * clipped)),
    ),
    (
        "clip is an argument: use it instead of 0.2.",
        lambda beta, kl, target, gain=0.1, clip=0.2: next_coefficient(beta, kl, target, gain),
    ),
]


EXERCISES = [
    Exercise(
        name="exact_kl",
        lesson="11",
        minutes=8,
        difficulty=2,
        reference=exact_kl,
        check=_check_exact,
        wrong=[
            *((wrong, message) for message, wrong in EXACT_MISTAKES),
            (_kl(lambda p, q: (p.exp() * (p - q)).sum(-1)), "not a number"),
            (_without_the_unsaid(lambda p, q: p.exp() * (p - q).clamp(max=30)), "costs without limit"),
            (_with_epsilon, "costs without limit"),
            (_kl_in_place, "changes its argument logits_current in place"),
            (lambda current, reference: 2 * exact_kl(current, reference), "The sum over the vocabulary"),
            (lambda current, reference: None, "Is there a return"),
            (_place_by_place, "has no graph"),
            (lambda current, reference: exact_kl(current, reference).detach(), "has no graph"),
            (_without_the_unsaid(lambda p, q: p.detach().exp() * (p - q)), "a gradient is not"),
        ],
        right=[_by_distributions, _without_the_unsaid(lambda p, q: p.exp() * (p - q))],
        hints=(
            "Take both log-probabilities of each token, weigh the difference with the policy's probability, "
            "and add up over the vocabulary. A token that the policy never says adds nothing.",
            "current = logits_current.log_softmax(-1), reference likewise, [..., V]. current.exp() * "
            "(current - reference), with torch.where in the place of 0 * inf, then sum(-1): [...].",
        ),
        then="The coloured text below is computed with your function, and so is a gradient ascent.",
    ),
    Exercise(
        name="mean_sequence_kl",
        lesson="11",
        minutes=6,
        difficulty=2,
        reference=mean_sequence_kl,
        check=compare(
            mean_sequence_kl,
            lambda: [_masked(4, 2, 1), _masked(3, 6, 2, 5, 1)],
            MEAN_KL_MISTAKES,
            else_="Sum the log-ratios over each sequence's real tokens, then take the mean over sequences.",
            extremes=[
                (NOT_A_NUMBER, lambda: [_masked(4, 2, 1, padding=-torch.inf)]),
                (HIDDEN_INF, lambda: [_never_said(3, 2)]),
            ],
        ),
        wrong=[
            (_mean_kl(lambda ratios, mask: (ratios * mask).sum(-1).mean()), "0 times nan"),
            (_mean_kl(lambda ratios, mask: (ratios.nan_to_num() * mask).sum(-1).mean()), "must show"),
            (_mean_kl(lambda ratios, mask: 2 * ratios[mask].sum() / len(mask)), "Sum the log-ratios"),
            (_mean_kl_in_place, "changes its argument log_probs_current in place"),
        ],
        right=[_by_filling, _sequence_by_sequence],
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
        minutes=8,
        difficulty=2,
        reference=rewards_by_token,
        check=compare(
            rewards_by_token,
            lambda: [_scored(4, 2, 1), _scored(2, 6, 3, 5), _unpenalised(3, 2)],
            REWARDS_MISTAKES,
            else_="Minus the penalty at every token, and the score added at the last real one.",
        ),
        wrong=[
            (_rewards(lambda rewards, scores, last: rewards.mul_(2)), "Minus the penalty at every token"),
            (_penalties_in_place, "changes its argument penalties in place"),
            (lambda scores, penalties, mask: scores - penalties.sum(-1), "should have the shape"),
        ],
        right=[_by_one_hot, _answer_by_answer],
        hints=(
            "Each token pays its own penalty where it stands. The reward model reads the whole answer, so "
            "its score can only come at the end; the end of each row is told by the mask.",
            "-penalties is [batch, tokens]; completions start in column 0, so mask.sum(-1) - 1 is the place "
            "of the last real token, [batch] (so is lesson 10's last_token). Then "
            "rewards[torch.arange(batch), last] += scores.",
        ),
        then="The training with the penalty below runs on your function.",
    ),
    Exercise(
        name="best_policy",
        lesson="11",
        minutes=8,
        difficulty=3,
        reference=best_policy,
        check=compare(
            best_policy,
            lambda: [_choice(4, 0.8), _choice(7, 2.5)],
            BEST_POLICY_MISTAKES,
            else_="Is the derivative of p * (reward - beta * log(p / reference)) the same number for all "
            "answers at your policy? It has to be.",
            extremes=[
                (
                    "At a small beta exp(reward / beta) overflows. Stay with logarithms: log reference + "
                    "reward / beta, then softmax.",
                    [(_FOUR, torch.tensor([0.0, 1.0, -0.5, 2.0]), beta) for beta in (0.01, 0.001)],
                )
            ],
        ),
        wrong=[
            (_tilted, "overflows"),
            (_tilted_in_double, "overflows"),
            (lambda reference, reward, beta: reference.flip(0), "the same number for all"),
        ],
        right=[_from_the_best, _with_logsumexp],
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
        check=compare(
            next_coefficient,
            NEXT_INPUTS,
            NEXT_MISTAKES,
            else_="It is coefficient * (1 + gain * error), with the error between -clip and clip.",
        ),
        wrong=[
            (_coefficient(lambda beta, error, clipped, gain, clip: None), "Is there a return"),
            (_without_options, "should take the arguments"),
            (_coefficient(lambda beta, error, clipped, gain, clip: beta), "between -clip and clip"),
        ],
        right=[_by_clamp, _by_cases],
        hints=(
            "A thermostat: compare the KL with its target, as a share of the target, and turn the "
            "coefficient up or down by a small factor. Clipping keeps one odd batch from turning it far.",
            "error = (kl - target) / target, between -clip and clip; the result is "
            "coefficient * (1 + gain * error), all plain numbers.",
        ),
    ),
    Exercise(
        name="k3",
        lesson="11",
        minutes=8,
        difficulty=2,
        reference=k3,
        check=compare(
            k3,
            lambda: [_log_probs(2, 3), _log_probs(7)],
            K3_MISTAKES,
            else_="With log_ratio = reference - current: exp(log_ratio) - 1 - log_ratio for each token.",
            gradient=("log_probs_current",),
        ),
        wrong=[
            (lambda current, reference: k3(current, reference).detach(), "has no graph"),
            (
                lambda current, reference: k3(current.detach(), reference),
                "log_probs_current gets no gradient",
            ),
            (_ratio(lambda log_ratio: log_ratio.detach().expm1() - log_ratio), "a gradient is not"),
            (_k3_in_place, "changes its argument log_probs_current in place"),
            (lambda current, reference: 2 * k3(current, reference), "for each token"),
            (lambda current, reference: None, "Is there a return"),
        ],
        right=[
            _ratio(lambda log_ratio: log_ratio.exp() - 1 - log_ratio),
            lambda c, r: c.sub(r).add(torch.exp(r) / torch.exp(c)).sub(1),
        ],
        hints=(
            "k1 is right on average and jumps about. Add to it something whose mean over the policy's "
            "samples is known to be zero, and which is large where k1 is small. The ratio of reference to "
            "policy has the mean 1 there.",
            "log_ratio = log_probs_reference - log_probs_current, any shape. k1 is -log_ratio; the ratio "
            "is exp(log_ratio); k3 = k1 + (ratio - 1). expm1 keeps the digits where the ratio is near 1.",
        ),
    ),
]
