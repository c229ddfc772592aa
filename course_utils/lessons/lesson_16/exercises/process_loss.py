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
    call(torch.tensor(42.0), 71, 2, averaged=True),
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
        "The two cases are swapped: averaging divides by the number of processes.",
        lambda loss, tokens, world, averaged=False: process_loss(loss, tokens, world, not averaged),
    ),
    (
        "You round the number of target tokens of a process. Divide by all tokens first, then multiply.",
        lambda loss, tokens, world, averaged=False: loss / (tokens // (world if averaged else 1)),
    ),
    (
        "You divide the loss by the mean number of tokens per process. Divide by all tokens if gradients are "
        "summed.",
        lambda loss, tokens, world, averaged=False: loss / (tokens / world) * (world if averaged else 1),
    ),
    (
        "You divide by the number of processes when gradients are summed. The sum needs no factor.",
        lambda loss, tokens, world, averaged=False: loss / tokens / (1 if averaged else world),
    ),
    (
        "If the gradients are averaged, each is divided by the number of processes afterwards. Multiply by "
        "it before.",
        lambda loss, tokens, world, averaged=False: loss / tokens,
    ),
    (
        "If the gradients are summed, nothing is divided afterwards: do not multiply by the number of "
        "processes.",
        lambda loss, tokens, world, averaged=False: loss * world / tokens,
    ),
    (
        "An average already divides by the number of processes. You divide by it again: multiply.",
        lambda loss, tokens, world, averaged=False: loss / tokens / (world if averaged else 1),
    ),
    (
        "You do not divide the summed loss by tokens: the step grows with the batch.",
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
        else_="loss / tokens if gradients are summed; world times that if they are averaged.",
        gradient=["loss"],
    ),
    wrong=[
        (lambda loss, tokens, world, averaged=False: 0 * loss, "loss / tokens if"),
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
        "The gradient of a sum is the sum of the gradients. The mean loss of the whole batch is a sum over "
        "the processes, divided by a number that all of them know.",
        "Divide the summed loss by the target tokens of all processes. If the wrapper averages, it divides "
        "the sum of the gradients by world: multiply by world before.",
    ),
)
