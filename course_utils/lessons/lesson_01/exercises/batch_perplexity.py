"""Lesson 01, batch_perplexity: the perplexity of a padded batch."""

import math

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def batch_perplexity(losses, labels):
    """Perplexity of a padded batch. losses [B, T - 1], 0 where not counted; labels [B, T] -> a number."""
    tokens = (labels[:, 1:] != -100).sum()
    return torch.exp(losses.sum() / tokens).item()


def _padded_losses(*rows):
    """Losses and labels of a batch; rows: the labels, padded on the right."""
    width = max(map(len, rows))
    labels = torch.tensor([[*row, *[-100] * (width - len(row))] for row in rows])
    return 2 * torch.rand(len(rows), width - 1) * (labels[:, 1:] != -100), labels


def _perplexity_batches():
    """Two batches with rows of different lengths; the second has a prompt, token 0 and losses of 0."""
    losses, labels = _padded_losses([-100, -100, 8, 0, 3], [6, 2, 7], [5, 0, 3, 3, 9, 1, 4])
    losses[2, [1, 2, 4]] = 0.0
    return [_padded_losses([5, 7, 2, 9, 4, 1], [3, 8]), (losses, labels)]


def _long_batch():
    """A batch whose summed loss, 1,200 nats or more, overflows exp even in double precision."""
    labels = torch.randint(0, 9, (3, 61))
    labels[1, 50:] = -100
    return [((8 + 4 * torch.rand(3, 60)) * (labels[:, 1:] != -100), labels)]


def _root_of_a_product(losses, labels):
    counted = labels[:, 1:] != -100
    return losses[counted].double().exp().prod() ** (1 / counted.sum())


def _root_of_small_products(losses, labels):
    counted = labels[:, 1:] != -100
    return (-losses[counted]).exp().prod() ** (-1 / counted.sum())


def _perplexity(fault):
    """A wrong batch_perplexity: fault(losses, which of them are counted), both [B, T - 1]."""
    return lambda losses, labels: fault(losses, labels[:, 1:] != -100)


ALL_POSITIONS = "You divide by all positions, padding included. Divide by the number of counted tokens."
LAST_LEFT_OUT = (
    "You count in labels[:, :-1]. Count the predicted labels, those that are not -100 in labels[:, 1:]."
)
OVERFLOW = (
    "On a batch with many tokens, exp of a sum or a product of exps overflows. Take the mean of the losses "
    "first, and exp last."
)
PERPLEXITY_MISTAKES = [
    (
        "This is the mean loss in nats. Perplexity is its exp.",
        _perplexity(lambda losses, counted: losses.sum() / counted.sum()),
    ),
    (
        "The losses are in nats (natural logarithm), so the base is e, not 2.",
        _perplexity(lambda losses, counted: 2 ** (losses.sum() / counted.sum())),
    ),
    (ALL_POSITIONS, lambda losses, labels: losses.mean().exp()),
    (ALL_POSITIONS, lambda losses, labels: (losses.sum() / labels.numel()).exp()),
    (
        "You divide by the number of labels that are not -100. No position predicts the first label of a "
        "row: count in labels[:, 1:].",
        lambda losses, labels: (losses.sum() / (labels != -100).sum()).exp(),
    ),
    (
        "You subtract one token per row. A row that begins with -100 has none to subtract: count the labels "
        "that are not -100 in labels[:, 1:].",
        lambda losses, labels: (losses.sum() / ((labels != -100).sum() - len(labels))).exp(),
    ),
    (LAST_LEFT_OUT, lambda losses, labels: (losses.sum() / (labels[:, :-1] != -100).sum()).exp()),
    (LAST_LEFT_OUT, lambda losses, labels: losses[labels[:, :-1] != -100].mean().exp()),
    (
        "You take the mean of each row and then the mean of the rows: a token of a short row weighs more "
        "than one of a long row. Sum all losses and divide once, by the number of tokens.",
        _perplexity(lambda losses, counted: (losses.sum(1) / counted.sum(1)).mean().exp()),
    ),
    (
        "You average the perplexities of the rows. Average the losses, over all tokens, and take exp once.",
        _perplexity(lambda losses, counted: (losses.sum(1) / counted.sum(1)).exp().mean()),
    ),
    (
        "You average exp of the losses. Average the losses first, then take exp once.",
        _perplexity(lambda losses, counted: losses[counted].exp().mean()),
    ),
    (
        "You average exp of the losses. Average the losses first, then take exp once.",
        lambda losses, labels: losses.exp().mean(),
    ),
    ("You did not divide by the number of tokens.", lambda losses, labels: losses.sum().exp()),
    (
        "You divide by the number of rows. Divide by the number of counted tokens.",
        lambda losses, labels: (losses.sum() / len(losses)).exp(),
    ),
    (
        "The sign is wrong: losses are already positive, so perplexity is exp(+mean loss).",
        _perplexity(lambda losses, counted: (-losses.sum() / counted.sum()).exp()),
    ),
    (
        "A token predicted with certainty has a loss of 0, and counts. Count the labels that are not -100, "
        "not the losses above 0.",
        lambda losses, labels: losses[losses > 0].mean().exp(),
    ),
    (
        "You leave out token 0. Only the label -100 marks what is not counted.",
        lambda losses, labels: (losses.sum() / (labels[:, 1:] > 0).sum()).exp(),
    ),
    (
        "The perplexity of a batch is one number; you return one for each token.",
        lambda losses, labels: losses.exp(),
    ),
    (
        "The perplexity of a batch is one number; you return one for each row.",
        _perplexity(lambda losses, counted: (losses.sum(1) / counted.sum(1)).exp()),
    ),
]

EXERCISE = Exercise(
    name="batch_perplexity",
    lesson="01",
    minutes=5,
    difficulty=1,
    reference=batch_perplexity,
    check=compare(
        batch_perplexity,
        _perplexity_batches,
        PERPLEXITY_MISTAKES,
        else_="It is exp of the sum of the losses divided by the number of counted tokens.",
        extremes=[(OVERFLOW, _long_batch)],
    ),
    wrong=[
        (_perplexity(lambda losses, counted: (losses.sum() / 6).exp()), "It is exp of the sum"),
        (lambda losses, labels: None, "Is there a return?"),
        (lambda losses, labels: f"{batch_perplexity(losses, labels):.2f}", "should be a number"),
        (lambda losses, labels: batch_perplexity(losses.mul_(2).div(2), labels), "losses in place"),
        (_root_of_a_product, "Take the mean of the losses first"),
        (_root_of_small_products, "Take the mean of the losses first"),
        (
            lambda losses, labels: (
                math.prod(losses.exp().flatten().tolist()) ** (1 / (labels[:, 1:] != -100).sum().item())
            ),
            "Take the mean of the losses first",
        ),
        (
            lambda losses, labels: losses.sum().exp() ** (1 / (labels[:, 1:] != -100).sum()),
            "Take the mean of the losses first",
        ),
    ],
    right=[
        lambda losses, labels: losses[labels[:, 1:] != -100].mean().exp(),
        lambda losses, labels: math.exp(float(losses.sum()) / int((labels[:, 1:] != -100).sum())),
        lambda losses, labels: np.exp(losses.numpy()[labels.numpy()[:, 1:] != -100].mean()),
    ],
    hints=(
        "Perplexity is exp of the mean loss over tokens: every counted token weighs the same, whichever row "
        "it is in.",
        "The sum of losses [B, T - 1] is already right, because ignored tokens are 0. Divide it "
        "by the number of labels[:, 1:] that are not -100, then exp, then .item().",
    ),
    then="Your function computes every perplexity below.",
)
