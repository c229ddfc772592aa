"""Exercises of lesson 18: verifiable rewards and GRPO. The solutions are the package's own functions."""

import math

import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_18.passing import pass_at_k
from course_utils.lessons.lesson_18.suspects import batch_advantages, group_fault, mixed_advantages
from course_utils.methods.grpo import centred_advantages, grpo_loss, token_weights
from course_utils.methods.ppo import group_advantages


def _counts(*values):
    return torch.tensor(values)


def _passes():
    return [
        (_counts(0, 1, 3, 16), 16, 4),
        (_counts(2, 0, 128, 127, 1), 128, 64),
        (_counts(5, 7), 8, 1),
        (_counts(1, 4, 6), 6, 3),
    ]


def _each(formula):
    """A wrong pass_at_k: formula(right, total, k) of one question."""

    def wrong(right, total, k):
        return torch.tensor([float(formula(int(count), total, k)) for count in right])

    return wrong


def _as_factors(right, total, k):
    """The chance that k draws without replacement are all wrong, as a product."""
    result = []
    for count in right.tolist():
        wrong = 1.0
        for drawn in range(k):
            wrong *= max(total - count - drawn, 0) / (total - drawn)
        result.append(1 - wrong)
    return torch.tensor(result)


def _by_log_gamma(right, total, k):
    wrong = total - right.double()
    logs = torch.lgamma(wrong + 1) - torch.lgamma((wrong - k + 1).clamp(min=1))
    logs = logs - math.lgamma(total + 1) + math.lgamma(total - k + 1)
    return torch.where(wrong < k, 1.0, 1 - logs.exp()).float()


PASS_MISTAKES = [
    (
        "This takes the k answers as drawn with replacement, 1 - (share of wrong ones)^k. It is too low "
        "wherever some are right: among k different answers of `total` a right one is met sooner.",
        _each(lambda c, n, k: 1 - (1 - c / n) ** k),
    ),
    (
        "This is whether any of all the answers is right: pass@total. Count the choices of k answers that "
        "are all wrong.",
        _each(lambda c, n, k: c > 0),
    ),
    ("k has no effect: this is pass@1, the share of right answers.", _each(lambda c, n, k: c / n)),
    (
        "This is the chance that all k answers are wrong. Subtract it from 1.",
        _each(lambda c, n, k: math.comb(n - c, k) / math.comb(n, k)),
    ),
    (
        "This is the chance that all k answers are right. One right answer is enough.",
        _each(lambda c, n, k: math.comb(c, k) / math.comb(n, k)),
    ),
    (
        "This is k times the share of right answers. Chances of events that can happen together do not add "
        "up.",
        _each(lambda c, n, k: min(1, k * c / n)),
    ),
    (
        "This is the expected number of right answers among k, not the chance of at least one.",
        _each(lambda c, n, k: k * c / n),
    ),
    (
        "This is the mean over the questions. Return one chance for each question, so that an interval over "
        "questions can be made.",
        lambda right, total, k: pass_at_k(right, total, k).mean(),
    ),
]


def _scores(prompts, group):
    scores = torch.randint(0, 2, (prompts * group,)).float()
    scores[:group] = 0  # a group without a signal
    scores[group : 2 * group] = 1
    scores[-group:] = torch.arange(group) % 2
    return scores, group


def _advantages():
    return [_scores(4, 4), _scores(3, 8), (3 * torch.randn(10), 5), (torch.tensor([1.0, 0.0, 0.0, 0.0]), 2)]


def _groups(fault):
    """A wrong group_advantages: fault(scores [prompts, group])."""
    return lambda scores, group: fault(scores.view(-1, group)).flatten()


def _centred(grouped):
    return grouped - grouped.mean(1, keepdim=True)


def _mixed(scores, group):
    grouped = scores.view(group, -1)
    return ((grouped - grouped.mean(0)) / (grouped.std(0) + 1e-4)).flatten()


def _mixed_rows(scores, group):
    return group_advantages(scores.view(group, -1).T.flatten(), group)


def _whole_batch(scores, group):
    return (scores - scores.mean()) / (scores.std() + 1e-4)


def _advantages_in_place(scores, group):
    scores -= scores.view(-1, group).mean(1).repeat_interleave(group)
    return group_advantages(scores, group)


def _one_by_one(scores, group):
    parts = [part - part.mean() for part in scores.split(group)]
    return torch.cat([part / (part.square().sum().div(group - 1).sqrt() + 1e-4) for part in parts])


def _by_repeat(scores, group):
    grouped = scores.reshape(len(scores) // group, group)
    mean = grouped.mean(1).repeat_interleave(group)
    spread = torch.std(grouped, dim=1, correction=1).repeat_interleave(group)
    return (scores - mean) / (1e-4 + spread)


ADVANTAGE_MISTAKES = [
    (
        "Mean and deviation are those of the whole batch. Only answers to the same prompt are comparable: "
        "scores.view(-1, group), and one mean for each row.",
        _whole_batch,
    ),
    (
        "The groups mix prompts: view(group, -1) puts answers to different prompts into one column. The "
        "answers to one prompt stand together, so the view is (-1, group).",
        _mixed,
    ),
    (
        "The groups mix prompts, and the advantages stand at the wrong answers. The answers to one prompt "
        "stand together: view(-1, group).",
        _mixed_rows,
    ),
    (
        "A group in which all scores are the same gives nan: its deviation is 0. Add 1e-4 to the deviation.",
        _groups(lambda g: _centred(g) / g.std(1, keepdim=True)),
    ),
    (
        "The deviation is missing: this is Dr. GRPO's advantage, which comes later. Divide by the group's "
        "standard deviation + 1e-4.",
        _groups(_centred),
    ),
    ("The mean is not subtracted.", _groups(lambda g: g / (g.std(1, keepdim=True) + 1e-4))),
    (
        "The sign is turned: a right answer among wrong ones should have a positive advantage.",
        _groups(lambda g: -_centred(g) / (g.std(1, keepdim=True) + 1e-4)),
    ),
    (
        "This divides by the variance. Divide by its root, the standard deviation.",
        _groups(lambda g: _centred(g) / (g.var(1, keepdim=True) + 1e-4)),
    ),
    (
        "The deviation here divides by group; std with its default divides by group - 1, as in TRL.",
        _groups(lambda g: _centred(g) / (g.std(1, keepdim=True, correction=0) + 1e-4)),
    ),
    (
        "keepdim=True is missing: a mean of shape [prompts] is laid along the columns, or does not fit. Keep "
        "mean and deviation [prompts, 1].",
        _groups(lambda g: (g - g.mean(1)) / (g.std(1) + 1e-4)),
    ),
    (
        "The shape is [prompts, group]. Flatten it: one advantage for each answer.",
        lambda scores, group: group_advantages(scores, group).view(-1, group),
    ),
]


def _mask(rows, tokens):
    """1 on an answer in each row: of one token, to the last column, and others."""
    mask = torch.zeros(rows, tokens)
    mask[0, 2:3] = 1
    mask[1, 1:] = 1
    mask[2:, 1 : tokens - 2] = 1
    return mask


def _masks():
    first, second = _mask(3, 6), _mask(5, 9)
    return [
        call(first, "grpo"),
        call(first, "dapo"),
        call(first, "dr_grpo", limit=8),
        call(second, "dr_grpo", 24),
        call(second, "grpo", limit=24),
        call(second, "dapo", limit=24),
        call(second),
    ]


def _weights(**faults):
    """A wrong token_weights: for some loss types another one's, or a function of (mask, limit)."""

    def wrong(mask, loss_type="grpo", limit=None):
        fault = faults.get(loss_type)
        return token_weights(mask, loss_type, limit) if fault is None else fault(mask, limit)

    return wrong


def _grpo(mask, limit=None):
    return token_weights(mask, "grpo")


def _dapo(mask, limit=None):
    return token_weights(mask, "dapo")


def _weights_in_place(mask, loss_type="grpo", limit=None):
    weights = token_weights(mask, loss_type, limit)
    mask /= mask.sum()
    return weights


def _by_division(mask, loss_type="grpo", limit=None):
    rows = len(mask)
    lengths = mask.sum(1)
    divisors = {"grpo": lengths * rows, "dapo": lengths.sum().expand(rows)}
    divisor = divisors.get(loss_type)
    if divisor is None:
        divisor = torch.full((rows,), float(rows * limit))
    return torch.where(mask == 1, 1 / divisor[:, None], 0.0)


def _by_mean(mask, loss_type="grpo", limit=None):
    if loss_type == "grpo":
        return torch.stack([row / row.sum() for row in mask]) / mask.shape[0]
    total = mask.sum() if loss_type == "dapo" else mask.shape[0] * limit
    return mask / total


WEIGHT_MISTAKES = [
    (
        "grpo and dapo are exchanged: in grpo every answer counts alike, in dapo every token does.",
        _weights(grpo=_dapo, dapo=_grpo),
    ),
    (
        "grpo: these are the weights of dapo, where a long answer counts more. Divide each row by its own "
        "length first, then by the number of rows.",
        _weights(grpo=_dapo),
    ),
    ("dapo: these are the weights of grpo. Divide by the number of all tokens.", _weights(dapo=_grpo)),
    (
        "grpo: the rows add up to 1 each. Divide by the number of rows as well: all weights add up to 1.",
        _weights(grpo=lambda mask, limit: mask / mask.sum(1, keepdim=True)),
    ),
    (
        "dr_grpo: divide by rows times `limit`, the most tokens an answer may have, not by the width of the "
        "batch. The width changes with the longest answer of the batch.",
        _weights(dr_grpo=lambda mask, limit: mask / mask.numel()),
    ),
    ("dr_grpo: divide by the number of rows as well.", _weights(dr_grpo=lambda mask, limit: mask / limit)),
    (
        "dr_grpo: divide by the limit as well as by the number of rows.",
        _weights(dr_grpo=lambda mask, limit: mask / len(mask)),
    ),
    (
        "The lengths are counted along the wrong axis: an answer is a row, so sum over dim 1.",
        _weights(grpo=lambda mask, limit: mask / mask.sum(0).clamp(min=1) / len(mask)),
    ),
    (
        "grpo: keepdim=True is missing. mask.sum(1) is [rows] and does not fit [rows, tokens]; keep it "
        "[rows, 1].",
        _weights(grpo=lambda mask, limit: mask / mask.sum(1) / len(mask)),
    ),
    (
        "Prompt and padding have weights too: multiply by the mask.",
        lambda mask, loss_type="grpo", limit=None: token_weights(torch.ones_like(mask), loss_type, limit),
    ),
    (
        "Return a weight for each token, [rows, tokens], not their sum.",
        lambda *arguments, **options: token_weights(*arguments, **options).sum(1),
    ),
]


def _moved(rows, tokens, loss_type, limit=None):
    """A policy that has moved: ratios on both sides of the clip, advantages of both signs."""
    old = -4 * torch.rand(rows, tokens)
    new = old + 0.4 * torch.randn(rows, tokens)
    advantages = torch.linspace(-1.5, 2, rows)
    return new, old, advantages, token_weights(_mask(rows, tokens), loss_type, limit)


def _losses():
    first, second = _moved(4, 7, "grpo"), _moved(6, 10, "dr_grpo", 16)  # the weights sum to 1, and to less
    return [
        call(*first),
        call(*second, 0.2, 0.28),
        call(*second, clip_low=0.1, clip_high=0.4),
        call(*first, clip_high=0.05),
    ]


def _same_policy():
    log_probs = -4 * torch.rand(4, 7)
    weights = token_weights(_mask(4, 7), "dapo")
    return [(log_probs, log_probs.clone(), torch.linspace(-1, 1, 4), weights)]


def _loss(fault):
    """A wrong grpo_loss: fault(ratio, clipped, advantages [rows, 1]) is the loss of each token."""

    def wrong(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
        ratio = torch.exp(log_probs - old_log_probs)
        clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
        return (weights * fault(ratio, clipped, advantages.detach()[:, None])).sum()

    return wrong


def _worse(ratio, clipped, a):
    return torch.maximum(-a * ratio, -a * clipped)


def _limits(change):
    """A wrong grpo_loss with the limits change(clip_low, clip_high)."""

    def wrong(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
        return grpo_loss(log_probs, old_log_probs, advantages, weights, *change(clip_low, clip_high))

    return wrong


def _not_detached(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    ratio = torch.exp(log_probs - old_log_probs)
    return (weights * _worse(ratio, ratio.clamp(1 - clip_low, 1 + clip_high), advantages[:, None])).sum()


def _mean_of_all(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    ratio = torch.exp(log_probs - old_log_probs)
    return _worse(ratio, ratio.clamp(1 - clip_low, 1 + clip_high), advantages.detach()[:, None]).mean()


def _mean_of_weighted(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    ratio = torch.exp(log_probs - old_log_probs)
    loss = _worse(ratio, ratio.clamp(1 - clip_low, 1 + clip_high), advantages.detach()[:, None])
    return (weights * loss).mean()


def _mean_by_weight(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    return grpo_loss(log_probs, old_log_probs, advantages, weights, clip_low, clip_high) / weights.sum()


def _advantages_as_columns(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    ratio = torch.exp(log_probs - old_log_probs)
    return (weights * _worse(ratio, ratio.clamp(1 - clip_low, 1 + clip_high), advantages.detach())).sum()


def _clip_detached(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    """The right value; pushes where the clip should stop it."""
    loss = grpo_loss(log_probs, old_log_probs, advantages, weights, clip_low, clip_high)
    plain = -(weights * advantages.detach()[:, None] * torch.exp(log_probs - old_log_probs)).sum()
    return loss.detach() + plain - plain.detach()


def _both_detached(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    return grpo_loss(log_probs.detach(), old_log_probs, advantages, weights, clip_low, clip_high)


def _loss_in_place(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    with torch.no_grad():
        advantages *= 2
    return grpo_loss(log_probs, old_log_probs, advantages / 2, weights, clip_low, clip_high)


def _by_cases(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    """The clip written out for both signs of the advantage."""
    total = 0
    for row, advantage in enumerate(advantages.detach()):
        ratio = (log_probs[row] - old_log_probs[row]).exp()
        kept = ratio.clamp(max=1 + clip_high) if advantage > 0 else ratio.clamp(min=1 - clip_low)
        total = total - advantage * (weights[row] * kept).sum()
    return total


def _by_minimum(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    a = advantages.detach().unsqueeze(-1).expand_as(log_probs)
    ratio = log_probs.exp() / old_log_probs.exp()
    gain = torch.min(ratio * a, torch.clip(ratio, 1 - clip_low, 1 + clip_high) * a)
    return -torch.einsum("rt,rt->", weights, gain)


LOSS_MISTAKES = [
    (
        "The sign is turned: the optimiser goes down, so the loss of a token is minus advantage times ratio.",
        _loss(lambda ratio, clipped, a: -_worse(ratio, clipped, a)),
    ),
    (
        "The ratio is inverted: it is new over old, exp(log_probs - old_log_probs).",
        lambda new, old, *rest, **options: grpo_loss(old, new, *rest, **options),
    ),
    (
        "Nothing is clipped: take the larger of -advantage * ratio and -advantage * clipped ratio.",
        _loss(lambda ratio, clipped, a: -a * ratio),
    ),
    (
        "Clipped on both sides: a good token that has become less likely must keep its gradient. Take the "
        "larger of the two losses.",
        _loss(lambda ratio, clipped, a: -a * clipped),
    ),
    (
        "This is the smaller of the two losses, so nothing stops the push. Take the larger.",
        _loss(lambda ratio, clipped, a: torch.minimum(-a * ratio, -a * clipped)),
    ),
    (
        "clip_high has no effect: the upper limit of the ratio is 1 + clip_high.",
        _limits(lambda low, high: (low, low)),
    ),
    (
        "clip_low has no effect: the lower limit of the ratio is 1 - clip_low.",
        _limits(lambda low, high: (high, high)),
    ),
    (
        "The limits are exchanged: 1 - clip_low below, 1 + clip_high above.",
        _limits(lambda low, high: (high, low)),
    ),
    ("The limits are always 0.2: use the arguments.", _limits(lambda low, high: (0.2, 0.2))),
    ("The weights have no effect: multiply each token's loss by its weight, and sum.", _mean_of_all),
    (
        "The weights already hold the division: sum the weighted losses, do not take their mean.",
        _mean_of_weighted,
    ),
    (
        "The weights already hold the division, and need not sum to 1: sum, do not divide by weights.sum().",
        _mean_by_weight,
    ),
    (
        "advantages is [rows] and does not fit [rows, tokens]: advantages.detach()[:, None] is [rows, 1].",
        _advantages_as_columns,
    ),
    ("The advantage is not detached: it is a constant here, advantages.detach().", _not_detached),
    (
        "The value is right, and the gradient passes where the clip should stop it: take the maximum of the "
        "two losses, with nothing detached but the advantages.",
        _clip_detached,
    ),
]


def _advantage_functions():
    """Functions of all three kinds, in more than one guise."""
    return [
        (group_advantages,),
        (mixed_advantages,),
        (batch_advantages,),
        (centred_advantages,),
        (_by_columns,),
        (lambda scores, group: scores - scores.mean(),),
    ]


def _by_columns(scores, group):
    """Another one that mixes prompts: every group-th answer belongs together."""
    others = torch.stack([scores[first::group].mean() for first in range(group)])
    return scores - others.repeat(len(scores) // group)


SILENT, SPEAKING = torch.tensor([1.0, 1, 0, 0]), torch.tensor([1.0, 0, 1, 0])


def _fault_by_silent_groups(advantages):
    return "mixed" if advantages(SILENT, 2).any() else "sound"


def _fault_by_speaking_groups(advantages):
    return "sound" if advantages(SPEAKING, 2).any() else "mixed"


def _fault_of_equal_scores(advantages):
    return "whole batch" if advantages(torch.ones(4), 2).any() else "sound"


def _fault_unless_ours(advantages):
    """Compares with a function that is sound: another sound one is refused."""
    scores = torch.tensor([1.0, 0, 0, 0])
    if torch.equal(advantages(scores, 2), group_advantages(scores, 2)):
        return "sound"
    return "whole batch" if advantages(SPEAKING, 2).any() else "mixed"


def _fault_in_three_prompts(advantages):
    """Right, with groups of 3 and other scores."""
    silent = advantages(torch.tensor([2.0, 2, 2, 5, 5, 5, 0, 0, 0]), 3)
    speaking = advantages(torch.tensor([2.0, 5, 0, 2, 5, 0, 2, 5, 0]), 3)
    if silent.abs().max() == 0:
        return "sound"
    return "mixed" if speaking.abs().max() == 0 else "whole batch"


def _fault_in_one_batch(advantages):
    """Right: does an advantage change with the scores of its own prompt, with those of the other one?"""
    base = advantages(torch.tensor([1.0, 0, 0, 0]), 2)
    own, others = (advantages(torch.tensor(scores), 2) for scores in ([1.0, 1, 0, 0], [1.0, 0, 0, 1]))
    if others[0] == base[0]:
        return "sound" if own[0] != base[0] else "mixed"
    return "whole batch"


FAULT_MISTAKES = [
    (
        "The two faults are exchanged: where prompts are mixed, first answers are compared with first "
        "answers, so 1, 0 and 1, 0 give no advantages.",
        lambda advantages: {"mixed": "whole batch", "whole batch": "mixed"}.get(
            group_fault(advantages), "sound"
        ),
    ),
    (
        'This says "sound" of every function. In all three equal scores have no advantages, and advantages '
        "sum to 0: give the two prompts different scores, and ask any().",
        _fault_of_equal_scores,
    ),
    (
        "Two prompts without a signal alone do not separate the two faults: both give advantages there. Try "
        "two prompts with the scores 1, 0 and 1, 0 as well.",
        _fault_by_silent_groups,
    ),
    (
        "This tries prompts that have a signal. The mean of the whole batch gives advantages there too, as a "
        "sound function does. Try two prompts without a signal first: 1, 1 and 0, 0.",
        _fault_by_speaking_groups,
    ),
    (
        "A function without a fault is sound: it gives no advantages to 1, 1 and 0, 0.",
        lambda advantages: {"sound": "mixed", "mixed": "sound"}.get(group_fault(advantages), "whole batch"),
    ),
    (
        'This says "whole batch" of every function. A sound one gives no advantages to 1, 1 and 0, 0.',
        lambda advantages: "whole batch",
    ),
    (
        "A sound function need not be equal to ours: one that leaves out the division is sound too. Ask "
        "where the advantages are 0.",
        _fault_unless_ours,
    ),
]

AGAIN = 'Run the cells again from here to the end of "Training".'

EXERCISES = [
    Exercise(
        name="pass_at_k",
        lesson="18",
        minutes=10,
        difficulty=2,
        reference=pass_at_k,
        check=compare(
            pass_at_k,
            _passes,
            PASS_MISTAKES,
            else_="With 1 right answer of 4 the chance that 2 of them hold it is 1 - C(3, 2) / C(4, 2), "
            "which is 1/2.",
        ),
        wrong=[
            (_each(lambda c, n, k: 0.5), "With 1 right answer of 4"),
            (lambda right, total, k: None, "Is there a return"),
            (lambda right, total: right / total, "should take the arguments"),
        ],
        right=[_as_factors, _by_log_gamma],
        hints=(
            "Choose k of the `total` answers. There are C(total, k) ways. In how many of them are all k "
            "wrong? Those hold none of the right answers.",
            "For each count in right: math.comb(total - count, k) / math.comb(total, k) is the chance that "
            "all are wrong (math.comb is 0 where there are fewer than k wrong ones). One minus that, as a "
            "tensor [questions].",
        ),
        then="All curves below are made with yours. Run the cells below again.",
    ),
    Exercise(
        name="group_advantages",
        lesson="18",
        minutes=5,
        difficulty=1,
        reference=group_advantages,
        check=compare(
            group_advantages,
            _advantages,
            ADVANTAGE_MISTAKES,
            else_="A group with the scores 1, 0, 0, 0 has the mean 1/4 and the deviation 1/2: its "
            "advantages are 1.5 and three times -0.5.",
        ),
        wrong=[
            (_advantages_in_place, "changes its argument scores in place"),
            (lambda scores, group: 0 * scores, "has the mean 1/4"),
            (_groups(lambda g: 2 * _centred(g) / (g.std(1, keepdim=True) + 1e-4)), "has the mean 1/4"),
        ],
        right=[_one_by_one, _by_repeat],
        hints=(
            "An answer is good if it is better than the other answers to the same prompt. Subtract the "
            "group's mean, and divide by the group's standard deviation.",
            "scores.view(-1, group) is [prompts, group]; mean(1, keepdim=True) and std(1, keepdim=True) are "
            "[prompts, 1]. Add 1e-4 to the deviation, since it may be 0. Flatten to [rows].",
        ),
        then=f"The training below calls yours for every batch of answers. {AGAIN}",
    ),
    Exercise(
        name="token_weights",
        lesson="18",
        minutes=10,
        difficulty=2,
        reference=token_weights,
        check=compare(
            token_weights,
            _masks,
            WEIGHT_MISTAKES,
            else_="Two answers of 1 and 3 tokens, a limit of 10: grpo weighs their tokens 1/2 and 1/6, "
            "dapo 1/4 and 1/4, dr_grpo 1/20 and 1/20.",
        ),
        wrong=[
            (_weights_in_place, "changes its argument mask in place"),
            (lambda mask, loss_type="grpo", limit=None: 0 * mask, "Two answers of 1 and 3 tokens"),
            (lambda mask: token_weights(mask), "should take the arguments"),
        ],
        right=[_by_division, _by_mean],
        hints=(
            "Every one of the three is the mask divided by something. In grpo it is the answer's own length "
            "and the number of answers; in dapo the number of all tokens; in dr_grpo a constant.",
            "mask.sum(1, keepdim=True) is [rows, 1], the lengths; len(mask) the number of answers; "
            "mask.sum() all tokens; limit the most tokens of an answer.",
        ),
        then="The table below is made with yours, and TRL's three normalisers are compared with them.",
    ),
    Exercise(
        name="grpo_loss",
        lesson="18",
        minutes=15,
        difficulty=3,
        reference=grpo_loss,
        check=compare(
            grpo_loss,
            _losses,
            LOSS_MISTAKES,
            else_="The loss of a token is the larger of -advantage * ratio and -advantage * clipped "
            "ratio; the result is the sum of weights * loss.",
            gradient=("log_probs", "advantages"),
            extremes=[
                (
                    "While the policy is the one that sampled, every ratio is 1, and the loss is minus the "
                    "weighted sum of the advantages. Its gradient is not 0.",
                    _same_policy,
                )
            ],
        ),
        wrong=[
            (_both_detached, "log_probs gets no gradient"),
            (_loss_in_place, "changes its argument advantages in place"),
            (_loss(lambda ratio, clipped, a: 2 * _worse(ratio, clipped, a)), "The loss of a token is"),
            (_loss(lambda ratio, clipped, a: 0 * ratio), "The loss of a token is"),
        ],
        right=[_by_cases, _by_minimum],
        hints=(
            "As PPO's loss in lesson 12, with three changes: one advantage for all tokens of an answer, two "
            "limits for the ratio, and a weighted sum in place of the mean.",
            "ratio = exp(log_probs - old_log_probs), [rows, tokens]; clamp it to 1 - clip_low and 1 + "
            "clip_high; advantages.detach()[:, None] is [rows, 1]; torch.maximum of the two losses; "
            "(weights * loss).sum().",
        ),
        then=f"The training below calls yours for every step. {AGAIN}",
    ),
    Exercise(
        name="group_fault",
        lesson="18",
        minutes=8,
        difficulty=2,
        reference=group_fault,
        check=compare(
            group_fault,
            _advantage_functions,
            FAULT_MISTAKES,
            else_="The function is called as advantages(scores, group); scores of four answers to two "
            "prompts are enough.",
        ),
        wrong=[
            (lambda advantages: "batch", "scores of four answers"),
            (lambda advantages: None, "Is there a return"),
            (lambda: "mixed", "should take the arguments"),
        ],
        right=[_fault_in_three_prompts, _fault_in_one_batch],
        hints=(
            "Make the scores by hand. What does a sound function give to two prompts without a signal, one "
            "all right and one all wrong? And what if both prompts have the scores 1, 0?",
            "advantages(torch.tensor([1.0, 1, 0, 0]), 2).any() is False for a sound function. For the scores "
            "1, 0, 1, 0 it is False where prompts are mixed, since first answers are compared with first "
            "answers, and True where the mean is that of the whole batch.",
        ),
        then="The verdicts below are yours.",
    ),
]
