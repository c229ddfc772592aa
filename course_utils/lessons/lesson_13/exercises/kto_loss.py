"""Lesson 13's companion, kto_loss: KTO's loss."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.dpo import kto_loss


def _pairs(count, chosen, rejected, beta):
    """Arguments of kto_loss: log-ratios around `chosen` and `rejected`."""
    references = -20 + torch.randn(2, count)
    ratios = torch.tensor([[chosen], [rejected]]) + torch.randn(2, count)
    return (*(references + ratios), *references, beta)


def _cases():
    """Mean rewards above and below 0, on either side."""
    return [
        _pairs(3, 2.0, -2.0, 0.3),
        _pairs(4, -2.0, 3.0, 0.5),
        _pairs(5, 2.0, 1.0, 1.2),
        _pairs(4, -2.0, -3.0, 0.4),
    ]


def _rewards(chosen, rejected, reference_chosen, reference_rejected, beta):
    return beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)


def _point(rewards):
    return rewards.detach().mean().clamp(min=0)


def _loss(fault):
    """A wrong kto_loss: fault(rewards of the chosen answers, of the rejected ones)."""

    def wrong(*arguments):
        rewards = _rewards(*arguments)
        return fault(*rewards), *rewards

    return wrong


def _with_point(point):
    """A wrong kto_loss: point(chosen rewards, rejected rewards) gives the points of both sides."""

    def loss(chosen, rejected):
        of_chosen, of_rejected = point(chosen, rejected)
        return 1 - (torch.sigmoid(chosen - of_rejected) + torch.sigmoid(of_chosen - rejected)) / 2

    return _loss(loss)


def _parts(chosen, rejected):
    """The sigmoids of both answers."""
    return torch.sigmoid(chosen - _point(rejected)), torch.sigmoid(_point(chosen) - rejected)


def _swapped(*arguments):
    loss, chosen, rejected = kto_loss(*arguments)
    return loss, rejected, chosen


def _without_beta(*arguments):
    return kto_loss(*arguments)[0], *(each / arguments[-1] for each in _rewards(*arguments))


def _pair_losses(chosen, rejected, reference_chosen, reference_rejected, beta):
    return kto_loss(chosen, rejected, reference_chosen, reference_rejected, beta)[0]


def _by_answer(chosen, rejected, reference_chosen, reference_rejected, beta):
    ratios = torch.stack([chosen - reference_chosen, rejected - reference_rejected])
    with torch.no_grad():
        points = beta * ratios.mean(1, keepdim=True).relu().flip(0)
    signs = torch.tensor([[1.0], [-1.0]])
    losses = torch.sigmoid(-signs * (beta * ratios - points))
    return losses.mean(0), beta * ratios[0], beta * ratios[1]


def _no_grad_points(chosen, rejected, reference_chosen, reference_rejected, beta):
    chosen_reward, rejected_reward = (
        beta * (chosen - reference_chosen),
        beta * (rejected - reference_rejected),
    )
    points = [max(0.0, each.mean().item()) for each in (chosen_reward, rejected_reward)]
    loss = (1 - torch.sigmoid(chosen_reward - points[1])) / 2
    return [loss + (1 - torch.sigmoid(points[0] - rejected_reward)) / 2, chosen_reward, rejected_reward]


LOSS_MISTAKES = [
    (
        "The point is missing: a reward counts from the mean reward of the batch's other side.",
        _with_point(lambda c, r: (0.0, 0.0)),
    ),
    (
        "The point is the mean of the other side: a chosen answer is compared with the rejected ones.",
        _with_point(lambda c, r: (_point(r), _point(c))),
    ),
    ("The point is at least 0.", _with_point(lambda c, r: (c.detach().mean(), r.detach().mean()))),
    (
        "The point is the mean, cut at 0. You cut each reward at 0 and take the mean then.",
        _with_point(lambda c, r: (c.detach().clamp(min=0).mean(), r.detach().clamp(min=0).mean())),
    ),
    (
        "Each answer is compared with its partner alone. The point is a mean over the batch.",
        _with_point(lambda c, r: (c.detach().clamp(min=0), r.detach().clamp(min=0))),
    ),
    (
        "The sign of the rejected answers is wrong: their loss falls as their reward falls.",
        _loss(lambda c, r: 1 - (torch.sigmoid(c - _point(r)) + torch.sigmoid(r - _point(c))) / 2),
    ),
    ("This is the sum of the two losses. A pair has their mean.", _loss(lambda c, r: 2 - sum(_parts(c, r)))),
    (
        "The loss of an answer is 1 - sigmoid, not -log sigmoid.",
        _loss(lambda c, r: -(_parts(c, r)[0].log() + _parts(c, r)[1].log()) / 2),
    ),
    ("The 1 is missing, or the sign: the loss is 1 - sigmoid.", _loss(lambda c, r: sum(_parts(c, r)) / 2)),
    ("The loss of the rejected answers is missing.", _loss(lambda c, r: (1 - _parts(c, r)[0]) / 2)),
    (
        "This is one number. Return the loss of each pair; the training loop takes the mean.",
        _loss(lambda c, r: 1 - (sum(_parts(c, r)) / 2).mean()),
    ),
    (
        "Return three tensors: the loss of each pair, and the implicit rewards of the chosen and of the "
        "rejected answers.",
        _pair_losses,
    ),
    ("The rewards lack beta: they are beta times the log-ratios.", _without_beta),
    ("The rewards are swapped: return that of the chosen answers first.", _swapped),
]
LOSS = "The loss of each pair is 1 - (sigmoid(chosen - point) + sigmoid(point - rejected)) / 2."
_moving_point = _with_point(lambda c, r: (c.mean().clamp(min=0), r.mean().clamp(min=0)))
CONSTANT = [
    (
        "The point is a constant: no gradient may pass through it (detach).",
        lambda *arguments: _moving_point(*arguments)[0],
    )
]
_check_values = compare(kto_loss, _cases, LOSS_MISTAKES, else_=LOSS)
_check_gradients = compare(_pair_losses, _cases, CONSTANT, else_=LOSS, gradient=("chosen", "rejected"))


def _check_kto_loss(fn):
    _check_values(fn)
    _check_gradients(lambda *arguments: fn(*arguments)[0])


EXERCISE = Exercise(
    name="kto_loss",
    lesson="13m",
    minutes=8,
    difficulty=2,
    reference=kto_loss,
    check=_check_kto_loss,
    wrong=[
        *((wrong, message) for message, wrong in LOSS_MISTAKES),
        (_moving_point, "no gradient may pass through it"),
        (lambda *arguments: (kto_loss(*arguments)[0].detach(), *_rewards(*arguments)), "has no graph"),
        (lambda *arguments: tuple(0 * one for one in arguments[:3]), "The loss of each pair is"),
        (lambda *arguments: None, "Is there a return"),
    ],
    right=[_by_answer, _no_grad_points],
    hints=(
        "The rewards are those of DPO. The point of the chosen answers is the mean reward of the rejected "
        "ones, at least 0, and the other way round. It is a constant.",
        "of_chosen = chosen_reward.detach().mean().clamp(min=0), likewise of_rejected; the loss is 1 - "
        "(sigmoid(chosen_reward - of_rejected) + sigmoid(of_chosen - rejected_reward)) / 2.",
    ),
    then="The training below calls yours.",
)
