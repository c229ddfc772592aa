"""Lesson 18, grpo_loss: the loss."""

import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_18.exercises.shared import AGAIN, group_mask
from course_utils.methods.grpo import grpo_loss, token_weights


def _moved(rows, tokens, loss_type, limit=None):
    """A policy that has moved: ratios on both sides of the clip, advantages of both signs."""
    old = -4 * torch.rand(rows, tokens)
    new = old + 0.4 * torch.randn(rows, tokens)
    advantages = torch.linspace(-1.5, 2, rows)
    return new, old, advantages, token_weights(group_mask(rows, tokens), loss_type, limit)


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
    weights = token_weights(group_mask(4, 7), "dapo")
    return [(log_probs, log_probs.clone(), torch.linspace(-1, 1, 4), weights)]


def _loss(fault):
    """A wrong grpo_loss, with the token losses fault(ratio, clipped, advantages [rows, 1])."""

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


def _without_one(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    ratio = torch.exp(log_probs - old_log_probs)
    return (weights * _worse(ratio, ratio.clamp(clip_low, clip_high), advantages.detach()[:, None])).sum()


def _without_exp(log_probs, old_log_probs, advantages, weights, clip_low=0.2, clip_high=0.2):
    ratio = log_probs - old_log_probs
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return (weights * _worse(ratio, clipped, advantages.detach()[:, None])).sum()


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
    """The right value, but with a gradient where the clip should stop it."""
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
    """Right: the clip written out for both signs of the advantage."""
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
        "The sign is wrong: the optimiser minimises, so the loss of a token is minus advantage times ratio.",
        _loss(lambda ratio, clipped, a: -_worse(ratio, clipped, a)),
    ),
    (
        "The ratio is inverted: it is new over old, exp(log_probs - old_log_probs).",
        lambda new, old, *rest, **options: grpo_loss(old, new, *rest, **options),
    ),
    (
        "You do not clip: take the larger of -advantage * ratio and -advantage * clipped ratio.",
        _loss(lambda ratio, clipped, a: -a * ratio),
    ),
    (
        "You clip on both sides: a good token that has become less likely must keep its gradient. Take the "
        "larger of the two losses.",
        _loss(lambda ratio, clipped, a: -a * clipped),
    ),
    (
        "You take the smaller of the two losses, so the clip never stops the gradient. Take the larger.",
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
        "The limits are swapped: 1 - clip_low below, 1 + clip_high above.",
        _limits(lambda low, high: (high, low)),
    ),
    ("Your limits are always 0.2: use the arguments.", _limits(lambda low, high: (0.2, 0.2))),
    (
        "Your limits are clip_low and clip_high themselves. The ratio is kept between 1 - clip_low and 1 + "
        "clip_high.",
        _without_one,
    ),
    (
        "Your ratio is new over new, so it is always 1. The old probabilities are those of old_log_probs.",
        lambda new, old, *rest, **options: grpo_loss(new, new.detach(), *rest, **options),
    ),
    (
        "Your ratio is a difference of log-probabilities. The ratio of the probabilities is its exp.",
        _without_exp,
    ),
    ("The weights have no effect: multiply each token's loss by its weight, and sum.", _mean_of_all),
    (
        "The weights already include the division: sum the weighted losses, do not take their mean.",
        _mean_of_weighted,
    ),
    (
        "The weights already include the division, and need not sum to 1: sum, do not divide by "
        "weights.sum().",
        _mean_by_weight,
    ),
    (
        "advantages is [rows] and does not fit [rows, tokens]: advantages.detach()[:, None] is [rows, 1].",
        _advantages_as_columns,
    ),
    ("You do not detach the advantages: they are constants here, advantages.detach().", _not_detached),
    (
        "The value is right, but the gradient passes where the clip should stop it: take the maximum of the "
        "two losses, and detach only the advantages.",
        _clip_detached,
    ),
]

EXERCISE = Exercise(
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
                "As long as the policy equals the one that sampled, every ratio is 1, and the loss is minus "
                "the weighted sum of the advantages. Its gradient is not 0.",
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
        "Like PPO's loss in lesson 12, with three changes: one advantage for all tokens of an answer, two "
        "limits for the ratio, and a weighted sum instead of the mean.",
        "ratio = exp(log_probs - old_log_probs), [rows, tokens]; clamp it to 1 - clip_low and 1 + "
        "clip_high; advantages.detach()[:, None] is [rows, 1]; torch.maximum of the two losses; "
        "(weights * loss).sum().",
    ),
    then=f"The training below calls your function in every step. {AGAIN}",
)
