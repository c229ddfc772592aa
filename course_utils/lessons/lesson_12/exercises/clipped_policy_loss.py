"""Lesson 12, clipped_policy_loss: the clipped loss."""

import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_12.exercises.shared import mask_of_answers
from course_utils.methods.ppo import clipped_policy_loss, masked_mean


def _moved(rows, tokens):
    """A policy that has moved: ratios on both sides of the clip, advantages of both signs."""
    old = -4 * torch.rand(rows, tokens)
    new = old + 0.4 * torch.randn(rows, tokens)
    return new, old, 2 * torch.randn(rows, tokens), mask_of_answers(rows, tokens)


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


def _loss_mean(fault):
    """A wrong clipped_policy_loss: fault(values of all tokens, mask) is the mean of the losses."""

    def wrong(log_probs, old_log_probs, advantages, mask, clip=0.2):
        loss, _ = _mean(fault)(log_probs, old_log_probs, advantages, mask, clip)
        return loss, clipped_policy_loss(log_probs, old_log_probs, advantages, mask, clip)[1]

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


MEANS = [  # (message, fault) of a mean of the losses, alone or in the share too
    (
        "The mean counts padding: divide by the number of tokens of the mask.",
        lambda x, mask: (x * mask).mean(),
    ),
    ("Only tokens of the mask count: sum loss * mask, and divide by mask.sum().", lambda x, mask: x.mean()),
    (
        "This is the mean of each answer, then over answers: a token of a short answer would count more. "
        "Divide the sum over all tokens by mask.sum().",
        lambda x, mask: ((x * mask).sum(1) / mask.sum(1)).mean(),
    ),
    ("This is the sum over the tokens. Take the mean over the mask.", lambda x, mask: (x * mask).sum()),
]

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
    *((message, wrong(fault)) for message, fault in MEANS for wrong in (_mean, _loss_mean)),
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

EXERCISE = Exercise(
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
    'again from here to the end of "With the penalty, and without".',
)
