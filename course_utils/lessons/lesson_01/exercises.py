"""Exercises of lesson 01: the loss of a language model, perplexity, and how far weights move."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def shifted_loss(logits, labels):
    """Loss of every next token in nats, 0 where its label is -100. [B, T, V], [B, T] -> [B, T - 1]."""
    targets = labels[:, 1:]  # (B, T - 1): position t predicts token t + 1
    log_probabilities = logits[:, :-1].log_softmax(dim=-1)  # (B, T - 1, V)
    ids = targets.clamp(min=0).unsqueeze(-1)  # (B, T - 1, 1): any valid id where the label is -100
    losses = -log_probabilities.gather(-1, ids).squeeze(-1)
    return losses.masked_fill(targets == -100, 0.0)


def _texts():
    """Logits and labels without padding, token 0 among them."""
    labels = torch.tensor([[0, 3, 1, 0, 4, 2], [2, 0, 0, 3, 1, 4]])
    longer = torch.cat([torch.randint(0, 7, (3, 4)), torch.zeros(3, 1).long()], 1)
    return [(3 * torch.randn(2, 6, 5), labels), (2 * torch.randn(3, 5, 7) - 4, longer)]


def _padded_texts():
    """As _texts, with labels of -100: a prompt's, padding's, and one in the middle."""
    (logits, labels), (other_logits, other) = _texts()
    labels[0, :3] = -100
    labels[1, 4:] = -100
    other[0, 2] = -100
    other[2, 1:] = -100
    return [(logits, labels), (other_logits, other)]


def _picked(values, ids):
    return values.gather(-1, ids.clamp(min=0).unsqueeze(-1)).squeeze(-1)


def _loss(fault):
    """A wrong shifted_loss: fault(logits of all but the last position, targets), then 0 at -100."""

    def wrong(logits, labels):
        losses = fault(logits[:, :-1], labels[:, 1:])
        return losses.masked_fill(labels[:, 1:] == -100, 0.0)

    return wrong


def _each(logits, labels):
    return F.cross_entropy(logits.mT, labels, reduction="none")


def _backwards(logits, labels):
    return _each(logits[:, 1:], labels[:, :-1])


def _by_rows_and_columns(logits, labels):
    rows, places = torch.arange(len(labels))[:, None], torch.arange(labels.shape[1] - 1)
    losses = -logits.log_softmax(-1)[rows, places, labels[:, 1:]]
    return losses.masked_fill(labels[:, 1:] == -100, 0.0)


def _gather_without_clamp(logits, labels):
    losses = -logits.log_softmax(-1)[:, :-1].gather(-1, labels[:, 1:, None])[..., 0]
    return losses.masked_fill(labels[:, 1:] == -100, 0.0)


def _labels_in_place(logits, labels):
    right = shifted_loss(logits, labels)
    labels.clamp_(min=0)
    return right


def _by_cross_entropy(logits, labels):
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none")
    return losses.view(len(labels), -1)


def _row_by_row(logits, labels):
    rows = []
    for row, targets in zip(logits[:, :-1], labels[:, 1:], strict=True):
        rows.append(F.nll_loss(row - row.logsumexp(-1, keepdim=True), targets, reduction="none"))
    return torch.stack(rows)


ONE_NUMBER = "You return one number. Return the loss of every token, [B, T - 1]; the mean comes later."
READ = "You compare position t with token t, which it has just read. Position t predicts token t + 1."
NO_ID = (
    "Without -100 among the labels your losses are right; with it, looking up stops: -100 is "
    "no token id. Look up any valid id in its place, and set that loss to 0 afterwards."
)
LOSS_MISTAKES = [
    (
        "You return a loss for every position. The last position has no next "
        "token in the sequence, and the first token is predicted by none: T - 1 losses are left.",
        _each,
    ),
    (ONE_NUMBER, lambda logits, labels: shifted_loss(logits, labels).mean()),
    (ONE_NUMBER, lambda logits, labels: shifted_loss(logits, labels).sum()),
    (ONE_NUMBER, lambda logits, labels: F.cross_entropy(logits[:, :-1].mT, labels[:, 1:])),
    (
        "You return T - 2 losses for T tokens: two shifts. Shift once, by one position.",
        lambda logits, labels: _each(logits[:, 1:-1], labels[:, 2:]),
    ),
    (
        "You return T - 2 losses for T tokens: two shifts. Shift once, by one position.",
        lambda logits, labels: _each(logits[:, :-2], labels[:, 2:]),
    ),
    (
        "You return T - 2 losses for T tokens: two shifts. Shift once, by one position.",
        lambda logits, labels: shifted_loss(logits[:, 1:], labels[:, :-1]),
    ),
    (
        "Your losses are negative: these are the log-probabilities. The loss is minus them.",
        lambda logits, labels: -shifted_loss(logits, labels),
    ),
    (READ, lambda logits, labels: _each(logits, labels)[:, :-1]),
    (READ, lambda logits, labels: _each(logits, labels)[:, 1:]),
    (
        "The shift goes the wrong way: you compare position t + 1 with token t. Drop the last "
        "position of the logits and the first of the labels.",
        _backwards,
    ),
    (
        "These are logits with a minus. Turn them into log-probabilities first: log_softmax over the "
        "vocabulary.",
        _loss(lambda logits, targets: -_picked(logits, targets)),
    ),
    (
        "These are probabilities with a minus. The loss is minus their logarithm.",
        _loss(lambda logits, targets: -_picked(logits.softmax(-1), targets)),
    ),
    (
        "These are probabilities. The loss is minus their logarithm.",
        _loss(lambda logits, targets: _picked(logits.softmax(-1), targets)),
    ),
    (
        "Your softmax runs over the positions. It runs over the vocabulary, the last dimension.",
        _loss(lambda logits, targets: -_picked(logits.log_softmax(1), targets)),
    ),
    (
        "These are bits (log2). Nats use the natural logarithm.",
        lambda logits, labels: shifted_loss(logits, labels) / math.log(2),
    ),
    (
        "The softmax is taken twice: cross_entropy takes logits.",
        _loss(lambda logits, targets: -_picked(logits.softmax(-1).log_softmax(-1), targets)),
    ),
    (
        "Token 0 does not count here. Only the label -100 marks what is left out.",
        lambda logits, labels: shifted_loss(logits, labels).masked_fill(labels[:, 1:] <= 0, 0.0),
    ),
    (
        "The losses are right and stand in the wrong order. flatten goes row by row, so the way back is "
        "view(B, T - 1).",
        lambda logits, labels: shifted_loss(logits, labels).reshape(-1, len(labels)).T,
    ),
    (NO_ID, _gather_without_clamp),
    (NO_ID, _by_rows_and_columns),
    (
        "You go by the label of the token just read. Whether a loss is 0 goes by the label of "
        "the token that is predicted: labels[:, 1:].",
        lambda logits, labels: shifted_loss(logits, labels.clamp(min=0)).masked_fill(
            labels[:, :-1] == -100, 0.0
        ),
    ),
    (
        "Where the label is -100 the loss should be 0, and you return something else.",
        lambda logits, labels: -_picked(logits[:, :-1].log_softmax(-1), labels[:, 1:]),
    ),
    (
        "Where the label is -100 the loss is dropped. Keep its place, with a 0: [B, T - 1] stays.",
        lambda logits, labels: (
            shifted_loss(logits, labels)[labels[:, 1:] != -100].view(1, -1)
            if (labels == -100).any()
            else shifted_loss(logits, labels)
        ),
    ),
]
LARGE = (
    "With large logits the result is not finite or not exact: the probability rounds to 0 "
    "and its logarithm is -inf. Use log_softmax, which never forms the probability."
)


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
    """Two batches whose rows differ in length; in the second a prompt, token 0 and a loss of exactly 0."""
    losses, labels = _padded_losses([-100, -100, 8, 0, 3], [6, 2, 7], [5, 0, 3, 3, 9, 1, 4])
    losses[2, 1] = 0.0
    return [_padded_losses([5, 7, 2, 9, 4, 1], [3, 8]), (losses, labels)]


def _perplexity(fault):
    """A wrong batch_perplexity: fault(losses, which of them count), both [B, T - 1]."""
    return lambda losses, labels: fault(losses, labels[:, 1:] != -100)


PERPLEXITY_MISTAKES = [
    (
        "This is the mean loss in nats. Perplexity is exp of it.",
        _perplexity(lambda losses, counted: losses.sum() / counted.sum()),
    ),
    (
        "The losses are in nats (natural logarithm), so the power is of e, not of 2.",
        _perplexity(lambda losses, counted: 2 ** (losses.sum() / counted.sum())),
    ),
    (
        "You divide by all positions, padding too. Divide by the number of tokens that are counted.",
        lambda losses, labels: losses.mean().exp(),
    ),
    (
        "You divide by the number of labels that are not -100. The first label of each row is "
        "predicted by nobody: count in labels[:, 1:].",
        lambda losses, labels: (losses.sum() / (labels != -100).sum()).exp(),
    ),
    (
        "You count in labels[:, :-1]. Count the labels that are not -100 in labels[:, 1:], those that are "
        "predicted.",
        lambda losses, labels: (losses.sum() / (labels[:, :-1] != -100).sum()).exp(),
    ),
    (
        "You take the mean of each row and then the mean of the rows: a "
        "token of a short row weighs more than one of a long row. Sum all "
        "losses and divide once by all tokens.",
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
        "You divide by the number of rows. Divide by the number of tokens that are counted.",
        lambda losses, labels: (losses.sum() / len(losses)).exp(),
    ),
    (
        "The sign is turned: losses are positive already, so perplexity is exp(+mean loss).",
        _perplexity(lambda losses, counted: (-losses.sum() / counted.sum()).exp()),
    ),
    (
        "A token predicted with certainty has a loss of 0, and counts. Count the labels that are not -100, "
        "not the losses above 0.",
        lambda losses, labels: losses[losses > 0].mean().exp(),
    ),
    (
        "Token 0 is left out. Only the label -100 marks what does not count.",
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


def relative_change(before, after):
    """Norm of the change over norm of the weights, all tensors of the two lists taken as one vector."""
    change = sum((new - old).square().sum() for old, new in zip(before, after, strict=True))
    size = sum(old.square().sum() for old in before)
    return (change / size).sqrt().item()


def _models():
    """Weights before and after: one model of three tensors, one of two, the bias of which starts at 0."""
    before = [torch.randn(4, 3), torch.randn(3), torch.ones(2, 2)]
    scales = (0.1, 0.5, 0.3)
    after = [old + scale * torch.randn(old.shape) for old, scale in zip(before, scales, strict=True)]
    other = [0.2 * torch.randn(5, 2), torch.zeros(5)]
    return [(before, after), (other, [1.5 * other[0] + 0.1 * torch.randn(5, 2), 0.3 * torch.randn(5)])]


def _flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


def _of_vectors(fault):
    """A wrong relative_change: fault(all weights before, all weights after), each one vector."""
    return lambda before, after: fault(_flat(before), _flat(after))


def _of_norms(fault):
    """A wrong relative_change: fault(norms of the changes, norms before), each [tensors]."""

    def wrong(before, after):
        changes = [(new - old).norm() for old, new in zip(before, after, strict=True)]
        return fault(torch.stack(changes), torch.stack([old.norm() for old in before]))

    return wrong


def _change_in_place(before, after):
    for old, new in zip(before, after, strict=True):
        new -= old
    return (_flat(after).norm() / _flat(before).norm()).item()


def _in_numpy(before, after):
    old, new = (np.concatenate([tensor.numpy().ravel() for tensor in side]) for side in (before, after))
    return np.linalg.norm(new - old) / np.linalg.norm(old)


def _with_floats(before, after):
    change = sum(float((new - old).norm()) ** 2 for old, new in zip(before, after, strict=True))
    return math.sqrt(change) / math.sqrt(sum(float(old.norm()) ** 2 for old in before))


OF_THE_NORM = (
    "This is the change of the norm. Weights that turn and keep their length have moved too: take the "
    "norm of the change."
)
ONE_FOR_ALL = "One number is asked for: take all tensors of a list together, as one long vector."
BY_ELEMENT = "You divide element by element, and small weights then dominate. Divide the norm by the norm."
CHANGE_MISTAKES = [
    (
        "This is the square of the answer: the root is missing.",
        lambda before, after: relative_change(before, after) ** 2,
    ),
    (OF_THE_NORM, _of_vectors(lambda old, new: (new.norm() - old.norm()) / old.norm())),
    (OF_THE_NORM, _of_vectors(lambda old, new: (new.norm() - old.norm()).abs() / old.norm())),
    (
        "You divide by the norm of the new weights. Divide by that of the old.",
        _of_vectors(lambda old, new: (new - old).norm() / new.norm()),
    ),
    (
        "This is the norm of the change. Divide it by the norm of the weights before.",
        _of_vectors(lambda old, new: (new - old).norm()),
    ),
    (
        "You average the ratios of the tensors: a bias of 3 numbers counts as much as a matrix of 12. "
        "Sum the squares over all tensors first.",
        _of_norms(lambda changes, sizes: (changes / sizes).mean()),
    ),
    (
        "You add up norms. Norms of parts do not add, their squares do: sum the "
        "squares over all tensors, then take the root.",
        _of_norms(lambda changes, sizes: changes.sum() / sizes.sum()),
    ),
    (BY_ELEMENT, _of_vectors(lambda old, new: ((new - old) / old).norm())),
    (BY_ELEMENT, _of_vectors(lambda old, new: ((new - old) / old).abs().mean())),
    (
        "These are sums of absolute values. The norm is the root of the sum of squares.",
        _of_vectors(lambda old, new: (new - old).abs().sum() / old.abs().sum()),
    ),
    (
        "The changes are added up with their signs and cancel. Square them first.",
        _of_vectors(lambda old, new: (new - old).sum() / old.sum()),
    ),
    ("This is the ratio of the norms, new over old.", _of_vectors(lambda old, new: new.norm() / old.norm())),
    (
        "Only the first tensor of the list is looked at.",
        lambda before, after: relative_change(before[:1], after[:1]),
    ),
    (
        "Only the last tensor of the list is looked at: add up inside the loop.",
        lambda before, after: ((after[-1] - before[-1]).norm() / before[-1].norm()).item(),
    ),
    (ONE_FOR_ALL, _of_norms(lambda changes, sizes: changes / sizes)),
    (ONE_FOR_ALL, _of_norms(lambda changes, sizes: list(changes / sizes))),
]


def gpt2_parameters(vocabulary, positions, width, layers):
    """Number of parameters of a GPT-2 of these sizes; the head shares the token embedding."""
    embeddings = vocabulary * width + positions * width
    norm = 2 * width
    attention = (width * 3 * width + 3 * width) + (width * width + width)
    mlp = (width * 4 * width + 4 * width) + (4 * width * width + width)
    return embeddings + layers * (norm + attention + norm + mlp) + norm


def _count(fault):
    """A wrong gpt2_parameters: what is counted too much, fault(vocabulary, positions, width, layers)."""
    return lambda *sizes: gpt2_parameters(*sizes) + fault(*sizes)


def _by_tensors(vocabulary, positions, width, layers):
    shapes = [(width,), (width,), (width, 3 * width), (3 * width,), (width, width), (width,)]
    shapes += [(width,), (width,), (width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    outside = [(vocabulary, width), (positions, width), (width,), (width,)]
    return sum(map(math.prod, outside)) + layers * sum(map(math.prod, shapes))


def _by_formula(vocabulary, positions, width, layers):
    return width * (vocabulary + positions + 2 + layers * (12 * width + 13.0))


NO_NORMS = "The layer norms are missing: a scale and a shift for each feature."
COUNT_MISTAKES = [
    (
        "Your count has the head's matrix beside the token embedding. They are one matrix (tied): "
        "count it once.",
        _count(lambda v, p, d, n: v * d),
    ),
    ("The token embedding is missing.", _count(lambda v, p, d, n: -v * d)),
    ("The position embedding is missing: one vector for each position.", _count(lambda v, p, d, n: -p * d)),
    ("The last layer norm, after the blocks, is missing.", _count(lambda v, p, d, n: -2 * d)),
    (
        "The two layer norms of each block are missing: a scale and a shift for each feature.",
        _count(lambda v, p, d, n: -n * 4 * d),
    ),
    (NO_NORMS, _count(lambda v, p, d, n: -n * 4 * d - 2 * d)),
    (
        "Each block has two layer norms, before the attention and before the MLP.",
        _count(lambda v, p, d, n: -n * 2 * d),
    ),
    (
        "A layer norm has a scale and a shift for each feature. You count one of the two.",
        _count(lambda v, p, d, n: -n * 2 * d - d),
    ),
    (
        "The biases of the four matrices of each block are missing: 3, 1, 4 and 1 times the width.",
        _count(lambda v, p, d, n: -n * 9 * d),
    ),
    ("The biases and the layer norms are missing.", _count(lambda v, p, d, n: -n * 13 * d - 2 * d)),
    (
        "c_attn makes query, key and value in one: its matrix is width x 3 width, its bias 3 width. You "
        "count a third of it.",
        _count(lambda v, p, d, n: -n * (2 * d * d + 2 * d)),
    ),
    (
        "c_attn makes query, key and value in one: its matrix is width x 3 width. You count width x width.",
        _count(lambda v, p, d, n: -n * 2 * d * d),
    ),
    (
        "In each block the attention's output projection is missing (width x width).",
        _count(lambda v, p, d, n: -n * d * d),
    ),
    (
        "In each block the attention's output projection is missing.",
        _count(lambda v, p, d, n: -n * (d * d + d)),
    ),
    (
        "The MLP has two matrices, up to 4 times the width and back.",
        _count(lambda v, p, d, n: -n * 4 * d * d),
    ),
    (
        "The MLP has two matrices, up to 4 times the width and back.",
        _count(lambda v, p, d, n: -n * (4 * d * d + d)),
    ),
    (
        "The MLP is 4 times as wide as the rest: its matrices are width x 4 width and 4 width x width.",
        _count(lambda v, p, d, n: -n * (6 * d * d + 3 * d)),
    ),
    (
        "The blocks are counted once. There are `layers` of them.",
        lambda v, p, d, n: gpt2_parameters(v, p, d, 1),
    ),
    (
        "The embeddings and the last layer norm are there once, not in each block.",
        lambda v, p, d, n: n * gpt2_parameters(v, p, d, 1),
    ),
]


EXERCISES = [
    Exercise(
        name="gpt2_parameters",
        lesson="01",
        minutes=10,
        difficulty=2,
        reference=gpt2_parameters,
        check=compare(
            gpt2_parameters,
            [(1000, 64, 48, 3), (7, 5, 4, 1), (50257, 1024, 768, 12)],
            COUNT_MISTAKES,
            else_="Count embeddings, blocks and the last layer norm one by one.",
        ),
        wrong=[
            (lambda v, p, d, n: v * d, "one by one"),
            (lambda v, p, d, n: gpt2_parameters(v, p, d, n) + 1, "one by one"),
            (lambda v, p, d, n: gpt2_parameters(v, p, 48, n), "one by one"),
            (lambda v, p, d, n: None, "Is there a return?"),
        ],
        right=[_by_tensors, _by_formula],
        hints=(
            "Count the matrices and vectors of one block, multiply by the number of blocks, add what "
            "stands before and after the blocks. The head is the token embedding again and adds nothing.",
            "With width d: embeddings V d and P d; in a block two layer norms (2 d each), c_attn d x 3d "
            "with a bias of 3d, c_proj d x d with d, the MLP d x 4d with 4d and 4d x d with d; at the end "
            "a layer norm.",
        ),
    ),
    Exercise(
        name="shifted_loss",
        lesson="01",
        minutes=10,
        difficulty=2,
        reference=shifted_loss,
        check=compare(
            shifted_loss,
            _texts,
            LOSS_MISTAKES,
            else_="Position t's loss is minus the log-probability that it gives to token t + 1.",
            gradient=("logits",),
            extremes=[
                (LARGE, lambda: [(40 * logits.round(), labels) for logits, labels in _texts()]),
                ("With -100 among the labels, the losses of the other tokens changed.", _padded_texts),
            ],
        ),
        wrong=[
            (lambda logits, labels: 2 * shifted_loss(logits, labels), "minus the log-probability that"),
            (_loss(lambda logits, targets: -_picked(logits.softmax(-1), targets).log()), "Use log_softmax"),
            (
                _loss(lambda logits, targets: -(_picked(logits.softmax(-1), targets) + 1e-12).log()),
                "Use log_softmax",
            ),
            (lambda logits, labels: shifted_loss(logits, labels).T, "should have the shape [2, 5]"),
            (lambda logits, labels: shifted_loss(logits, labels).detach(), "has no graph"),
            (_labels_in_place, "changes its argument labels in place"),
            (lambda logits, labels: None, "Is there a return?"),
        ],
        right=[_by_cross_entropy, _row_by_row],
        hints=(
            "Position t has read tokens 0 to t and predicts token t + 1. So the logits lose their last "
            "position and the labels their first; then minus the log-probability of the label is picked "
            "out.",
            "logits[:, :-1].log_softmax(-1) is [B, T - 1, V]; gather(-1, ids) wants ids [B, T - 1, 1] and "
            "gives [B, T - 1, 1]: unsqueeze before, squeeze after. -100 is no id: clamp it to 0, and put "
            "0 into the losses with masked_fill where the label is -100.",
        ),
    ),
    Exercise(
        name="batch_perplexity",
        lesson="01",
        minutes=5,
        difficulty=1,
        reference=batch_perplexity,
        check=compare(
            batch_perplexity,
            _perplexity_batches,
            PERPLEXITY_MISTAKES,
            else_="It is exp of the sum of the losses over the number of tokens that are counted.",
        ),
        wrong=[
            (_perplexity(lambda losses, counted: (losses.sum() / 6).exp()), "It is exp of the sum"),
            (lambda losses, labels: None, "Is there a return?"),
            (lambda losses, labels: f"{batch_perplexity(losses, labels):.2f}", "should be a number"),
            (lambda losses, labels: batch_perplexity(losses.mul_(2).div(2), labels), "losses in place"),
        ],
        right=[
            lambda losses, labels: losses[labels[:, 1:] != -100].mean().exp(),
            lambda losses, labels: math.exp(float(losses.sum()) / int((labels[:, 1:] != -100).sum())),
            lambda losses, labels: np.exp(losses.numpy()[labels.numpy()[:, 1:] != -100].mean()),
        ],
        hints=(
            "Perplexity is exp of the mean loss, and the mean is over tokens: every counted token weighs "
            "the same, whichever row it stands in.",
            "The sum of losses [B, T - 1] is right as it stands, because ignored tokens are 0. Divide it "
            "by the number of labels[:, 1:] that are not -100, then exp, then .item().",
        ),
    ),
    Exercise(
        name="relative_change",
        lesson="01",
        minutes=10,
        difficulty=2,
        reference=relative_change,
        check=compare(
            relative_change,
            _models,
            CHANGE_MISTAKES,
            else_="It is the root of (the sum of all squared changes over the sum of all squared weights "
            "before).",
        ),
        wrong=[
            (_change_in_place, "changes its argument after in place"),
            (_of_vectors(lambda old, new: (new - old).norm() / len(old)), "sum of all squared changes"),
            (lambda before, after: None, "Is there a return?"),
        ],
        right=[
            _in_numpy,
            _with_floats,
            _of_vectors(lambda old, new: (new - old).norm() / old.norm()),
            _of_norms(lambda changes, sizes: changes.norm() / sizes.norm()),
        ],
        hints=(
            "Think of all tensors of a list laid end to end as one vector. The norm of that vector is the "
            "root of the sum of all squares.",
            "Sum (new - old).square().sum() over the pairs, sum old.square().sum() over the old ones, "
            "divide, take the root, .item().",
        ),
    ),
]
