"""Lesson 16, process_loss: the loss of a process."""

import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.distributed import process_loss

LOSS_INPUTS = [
    call(torch.tensor(42.0), 70, 2, averaged=False),
    call(torch.tensor(42.0), 70, 2, averaged=True),
    call(torch.tensor(3.5), 1200, 8, averaged=True),
    call(torch.tensor(3.5), 1200, 8, averaged=False),
    call(torch.tensor(9.0), 36, 1, averaged=True),
]


def _loss_mean_first(loss, tokens, world, averaged=False):
    scale = {True: world, False: 1}[averaged]
    return loss.div(tokens / scale)


def _loss_by_cases(loss, tokens, world, averaged=False):
    if not averaged:
        return loss / tokens
    return sum(loss for _ in range(world)) / tokens


LOSS_MISTAKES = [
    (
        "You have the two cases the wrong way round: it is the average that divides by the number of "
        "processes.",
        lambda loss, tokens, world, averaged=False: process_loss(loss, tokens, world, not averaged),
    ),
    (
        "The loss is divided by the share of the tokens that a process has on average. Divide by all of "
        "them where gradients are added up.",
        lambda loss, tokens, world, averaged=False: loss / (tokens / world) * (world if averaged else 1),
    ),
    (
        "The number of processes is divided by where gradients are added up. The sum needs no factor.",
        lambda loss, tokens, world, averaged=False: loss / tokens / (1 if averaged else world),
    ),
    (
        "Where the gradients are averaged, each is divided by the number of processes afterwards. Multiply "
        "by it before.",
        lambda loss, tokens, world, averaged=False: loss / tokens,
    ),
    (
        "Where the gradients are added up, nothing is divided afterwards: there is no number of processes "
        "to undo.",
        lambda loss, tokens, world, averaged=False: loss * world / tokens,
    ),
    (
        "An average divides by the number of processes already. You divide by it once more: multiply.",
        lambda loss, tokens, world, averaged=False: loss / tokens / (world if averaged else 1),
    ),
    (
        "The summed loss is not divided by tokens at all: the step grows with the batch.",
        lambda loss, tokens, world, averaged=False: loss * (world if averaged else 1),
    ),
]

EXERCISE = Exercise(
    name="process_loss",
    lesson="16",
    minutes=6,
    difficulty=2,
    reference=process_loss,
    check=compare(
        process_loss,
        LOSS_INPUTS,
        LOSS_MISTAKES,
        else_="loss / tokens where gradients are added up; world times that where they are averaged.",
        gradient=["loss"],
    ),
    wrong=[
        (lambda loss, tokens, world, averaged=False: 0 * loss, "loss / tokens where"),
        (
            lambda loss, tokens, world, averaged=False: process_loss(loss, tokens, world, averaged).item(),
            "graph",
        ),
        (
            lambda loss, tokens, world, averaged=False: process_loss(loss.detach(), tokens, world, averaged),
            "graph",
        ),
        (lambda loss, tokens, world, averaged=False: None, "Is there a return"),
    ],
    right=[_loss_mean_first, _loss_by_cases],
    hints=(
        "The gradient of a sum is the sum of the gradients. The mean loss of the whole batch is a sum "
        "over its processes, divided by a number that all of them know.",
        "Divide the summed loss by the target tokens of all. If the wrapper averages, it divides the "
        "sum of the gradients by world: multiply by world before.",
    ),
)
