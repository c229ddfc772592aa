"""Lesson 10, bradley_terry_loss: the loss of a pair."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_10.pairs import bradley_terry_loss


def _loss(fault):
    """A wrong bradley_terry_loss: fault(margins)."""
    return lambda chosen, rejected: fault(chosen - rejected)


def _loss_in_place(chosen, rejected):
    chosen -= rejected
    return -F.logsigmoid(chosen).mean()


def _by_cross_entropy(chosen, rejected):
    scores = torch.stack([chosen, rejected], 1)
    return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))


TURNED_ROUND = "The difference is reversed: this loss is small if the rejected answer scores higher."
OWN_SIGMOID = "You apply a sigmoid to each score. Apply it only to the difference of the two."
NO_LOG = "The log is missing. Without it, a badly wrong pair has hardly any gradient."
LARGE = (
    "Right, but not for a difference of -2000: exp overflows or sigmoid rounds to 0, so the loss is "
    "infinite, or, with a small number added or a clamp, has no gradient. torch.nn.functional.logsigmoid "
    "computes both in one step."
)
LOSS_MISTAKES = [
    (TURNED_ROUND, lambda chosen, rejected: bradley_terry_loss(rejected, chosen)),
    (
        "The sign is wrong: the log of a probability is negative, and minimising it would make the chosen "
        "answer less and less likely.",
        lambda chosen, rejected: -bradley_terry_loss(chosen, rejected),
    ),
    (
        "This is the sum. Return the mean, which does not depend on the batch size.",
        _loss(lambda margin: -F.logsigmoid(margin).sum()),
    ),
    (NO_LOG, _loss(lambda margin: -torch.sigmoid(margin).mean())),
    (NO_LOG, _loss(lambda margin: 1 - torch.sigmoid(margin).mean())),
    ("You return one loss per pair. Return their mean.", _loss(lambda margin: -F.logsigmoid(margin))),
    (
        "You take the mean before the log. Average the losses of the pairs.",
        _loss(lambda margin: -torch.log(torch.sigmoid(margin).mean())),
    ),
    (
        "You take the mean of the differences. Average the losses of the pairs.",
        _loss(lambda margin: -F.logsigmoid(margin.mean())),
    ),
    (OWN_SIGMOID, lambda chosen, rejected: -(F.logsigmoid(chosen) - F.logsigmoid(rejected)).mean()),
    (OWN_SIGMOID, lambda chosen, rejected: -(F.logsigmoid(chosen) + F.logsigmoid(-rejected)).mean()),
    (
        "This is the difference of the scores, without -log sigmoid around it.",
        _loss(lambda margin: -margin.mean()),
    ),
]

EXERCISE = Exercise(
    name="bradley_terry_loss",
    lesson="10",
    minutes=8,
    difficulty=1,
    reference=bradley_terry_loss,
    check=compare(
        bradley_terry_loss,
        lambda: [(torch.randn(3), torch.randn(3) - 0.5), (2 * torch.randn(5) - 1, torch.randn(5))],
        LOSS_MISTAKES,
        else_="It is the mean over pairs of -log sigmoid(chosen - rejected).",
        gradient=("chosen", "rejected"),
        extremes=[
            (LARGE, [(torch.tensor([-1000.0, 1.0]), torch.tensor([1000.0, 0.5]))]),
            (LARGE, [(torch.tensor([-20.0]), torch.tensor([15.0]))]),
        ],
    ),
    wrong=[
        (_loss(lambda margin: -torch.log(torch.sigmoid(margin)).mean()), "is infinite"),
        (_loss(lambda margin: -margin.double().sigmoid().log().mean().float()), "is infinite"),
        (_loss(lambda margin: torch.log1p(torch.exp(-margin)).mean()), "exp overflows"),
        (_loss(lambda margin: -torch.log(torch.sigmoid(margin) + 1e-12).mean()), "has no gradient"),
        (_loss(lambda margin: -margin.sigmoid().clamp(min=1e-8).log().mean()), "has no gradient"),
        (
            _loss(lambda margin: F.binary_cross_entropy(margin.sigmoid(), torch.ones_like(margin))),
            "has no gradient",
        ),
        (lambda chosen, rejected: bradley_terry_loss(chosen, rejected.detach()), "rejected gets no gradient"),
        (lambda chosen, rejected: bradley_terry_loss(chosen, rejected).detach(), "has no graph"),
        (lambda chosen, rejected: bradley_terry_loss(chosen, rejected).item(), "has no graph"),
        (_loss_in_place, "changes its argument chosen in place"),
        (_loss(lambda margin: margin.square().mean()), "It is the mean over pairs"),
        (lambda chosen, rejected: None, "Is there a return"),
    ],
    right=[
        _by_cross_entropy,
        _loss(lambda margin: F.softplus(-margin).mean()),
        _loss(lambda margin: F.binary_cross_entropy_with_logits(margin, torch.ones_like(margin))),
    ],
    hints=(
        "The model says that the chosen answer wins with probability sigmoid(chosen - rejected). The loss is "
        "minus the log of the probability of what did happen.",
        "margin = chosen - rejected is [pairs]; minus torch.nn.functional.logsigmoid of it, then the "
        "mean, a single number.",
    ),
    then="The reward model below uses your loss.",
)
