"""Lesson 01, token_losses: the loss of every token."""

import math

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.checks.operations import without_loops
from course_utils.data import IGNORE
from course_utils.log_probs import token_losses


def _texts():
    """Logits and labels without padding, with token 0."""
    labels = torch.tensor([[0, 3, 1, 0, 4, 2], [2, 0, 0, 3, 1, 4]])
    longer = torch.cat([torch.randint(0, 7, (3, 4)), torch.zeros(3, 1).long()], 1)
    return [(3 * torch.randn(2, 6, 5), labels), (2 * torch.randn(3, 5, 7) - 4, longer)]


def _padded_texts():
    """Like _texts, with labels of -100: a prompt, padding, and one in the middle."""
    (logits, labels), (other_logits, other) = _texts()
    labels[0, :3] = -100
    labels[1, 4:] = -100
    other[0, 2] = -100
    other[2, 1:] = -100
    return [(logits, labels), (other_logits, other)]


def _picked(values, ids):
    return values.gather(-1, ids.clamp(min=0).unsqueeze(-1)).squeeze(-1)


def _loss(fault):
    """A wrong token_losses: fault(logits without the last position, targets), then 0 at -100."""

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
    right = token_losses(logits, labels)
    labels.clamp_(min=0)
    return right


def _by_gather(logits, labels):
    targets = labels[:, 1:]  # (B, T - 1)
    losses = -_picked(logits[:, :-1].log_softmax(-1), targets)
    return losses.masked_fill(targets == IGNORE, 0.0)


def _times_above_zero(logits, labels):
    return _loss(lambda rest, targets: -_picked(rest.log_softmax(-1), targets) * (targets > 0))(
        logits, labels
    )


def _ignoring_token_0(logits, labels):
    targets = labels[:, 1:].clamp(min=0)
    return F.cross_entropy(logits[:, :-1].mT, targets, ignore_index=0, reduction="none")


def _view_the_wrong_way(logits, labels):
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none")
    return losses.view(-1, len(labels)).T


def _flat_before_the_shift(logits, labels):
    losses = F.cross_entropy(logits.flatten(0, 1)[:-1], labels.flatten()[1:], reduction="none")
    return losses[: labels.numel() - len(labels)].view(len(labels), -1)


def _token_by_token(logits, labels):
    losses = torch.zeros(len(labels), labels.shape[1] - 1)
    log_probabilities = logits.log_softmax(-1)
    for row in range(len(labels)):
        for place in range(labels.shape[1] - 1):
            target = labels[row, place + 1]
            if target != -100:
                losses[row, place] = -log_probabilities[row, place, target]
    return losses


def _by_one_hot(logits, labels):
    targets = labels[:, 1:]
    chosen = F.one_hot(targets.clamp(min=0), logits.shape[-1])  # (B, T - 1, V)
    log_probabilities = logits[:, :-1] - logits[:, :-1].logsumexp(-1, keepdim=True)
    return torch.where(targets == -100, 0.0, -(log_probabilities * chosen).sum(-1))


def _row_by_row(logits, labels):
    rows = []
    for row, targets in zip(logits[:, :-1], labels[:, 1:], strict=True):
        rows.append(F.nll_loss(row - row.logsumexp(-1, keepdim=True), targets, reduction="none"))
    return torch.stack(rows)


ONE_NUMBER = "You return one number. Return the loss of every token, [B, T - 1]; the mean comes later."
READ = "You compare position t with token t, which it has just read. Position t predicts token t + 1."
TOKEN_0 = (
    "You return a loss of 0 for token 0, which is a token like any other. Only the label -100 marks what is "
    "not counted."
)
NO_ID = (
    "Without -100 among the labels your losses are right; with it, the lookup fails: -100 is not a token id. "
    "Look up any valid id instead, and set that loss to 0 afterwards."
)
EVERY_POSITION = (
    "You return a loss for every position. The last position has no next token, and no position predicts the "
    "first token: T - 1 losses remain."
)
JUST_READ = (
    "You mask by the label of the token just read. Mask by the label of the predicted token: labels[:, 1:]."
)
LOSS_MISTAKES = [
    (EVERY_POSITION, _each),
    (EVERY_POSITION, lambda logits, labels: F.pad(token_losses(logits, labels), (0, 1))),
    (EVERY_POSITION, lambda logits, labels: F.pad(token_losses(logits, labels), (1, 0))),
    (ONE_NUMBER, lambda logits, labels: token_losses(logits, labels).mean()),
    (ONE_NUMBER, lambda logits, labels: token_losses(logits, labels).sum()),
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
        lambda logits, labels: token_losses(logits[:, 1:], labels[:, :-1]),
    ),
    (
        "Your losses are negative: these are the log-probabilities. The loss is their negative.",
        lambda logits, labels: -token_losses(logits, labels),
    ),
    (READ, lambda logits, labels: _each(logits, labels)[:, :-1]),
    (READ, lambda logits, labels: _each(logits, labels)[:, 1:]),
    (
        "The shift goes the wrong way: you compare position t + 1 with token t. Drop the last "
        "position of the logits and the first of the labels.",
        _backwards,
    ),
    (
        "These are negative logits. Turn them into log-probabilities first: log_softmax over the vocabulary.",
        _loss(lambda logits, targets: -_picked(logits, targets)),
    ),
    (
        "These are negative probabilities. The loss is minus their logarithm.",
        _loss(lambda logits, targets: -_picked(logits.softmax(-1), targets)),
    ),
    (
        "These are probabilities. The loss is minus their logarithm.",
        _loss(lambda logits, targets: _picked(logits.softmax(-1), targets)),
    ),
    (
        "Your softmax runs over the positions. It must run over the vocabulary, the last dimension.",
        _loss(lambda logits, targets: -_picked(logits.log_softmax(1), targets)),
    ),
    (
        "These are bits (log2). Nats use the natural logarithm.",
        lambda logits, labels: token_losses(logits, labels) / math.log(2),
    ),
    (
        "You take the softmax twice: cross_entropy takes logits.",
        _loss(lambda logits, targets: -_picked(logits.softmax(-1).log_softmax(-1), targets)),
    ),
    (TOKEN_0, lambda logits, labels: token_losses(logits, labels).masked_fill(labels[:, 1:] <= 0, 0.0)),
    (TOKEN_0, _times_above_zero),
    (TOKEN_0, _ignoring_token_0),
    (
        "The losses are right but in the wrong places. flatten goes row by row, so reverse it with view(B, T "
        "- 1).",
        _view_the_wrong_way,
    ),
    (NO_ID, _gather_without_clamp),
    (NO_ID, _by_rows_and_columns),
    (
        JUST_READ,
        lambda logits, labels: token_losses(logits, labels.clamp(min=0)).masked_fill(
            labels[:, :-1] == -100, 0.0
        ),
    ),
    (JUST_READ, lambda logits, labels: token_losses(logits, labels).masked_fill(labels[:, :-1] == -100, 0.0)),
    (
        "You flatten before you shift, so the last token of a text predicts the first token of the next. "
        "Shift each row: logits[:, :-1] and labels[:, 1:].",
        _flat_before_the_shift,
    ),
    (
        "Where the label is -100 the loss should be 0, but you return something else.",
        lambda logits, labels: -_picked(logits[:, :-1].log_softmax(-1), labels[:, 1:]),
    ),
    (
        "You drop the losses where the label is -100. Keep their places, with 0: the shape is [B, T - 1].",
        lambda logits, labels: (
            token_losses(logits, labels)[labels[:, 1:] != -100].view(1, -1)
            if (labels == -100).any()
            else token_losses(logits, labels)
        ),
    ),
]
LARGE = (
    "With large logits the result is not finite or not exact: the probability rounds to 0 and its logarithm "
    "is -inf. Use log_softmax, which never computes the probability."
)

EXERCISE = Exercise(
    name="token_losses",
    lesson="01",
    minutes=10,
    difficulty=2,
    reference=token_losses,
    check=without_loops(
        compare(
            token_losses,
            _texts,
            LOSS_MISTAKES,
            else_="The loss at position t is minus the log-probability that it gives to token t + 1.",
            gradient=("logits",),
            extremes=[
                (LARGE, lambda: [(40 * logits.round(), labels) for logits, labels in _texts()]),
                ("With -100 among the labels, the losses of the other tokens changed.", _padded_texts),
            ],
        ),
        lambda: (torch.randn(40, 12, 5), torch.randint(0, 5, (40, 12))),
        60,
        "A loop over texts or tokens slows down all that is measured below: flatten(0, 1) makes one batch of "
        "all positions.",
    ),
    wrong=[
        (lambda logits, labels: 2 * token_losses(logits, labels), "minus the log-probability that"),
        (_loss(lambda logits, targets: -_picked(logits.softmax(-1), targets).log()), "Use log_softmax"),
        (
            _loss(lambda logits, targets: -(_picked(logits.softmax(-1), targets) + 1e-12).log()),
            "Use log_softmax",
        ),
        (lambda logits, labels: token_losses(logits, labels).T, "should have the shape [2, 5]"),
        (lambda logits, labels: token_losses(logits, labels).detach(), "has no graph"),
        (_labels_in_place, "changes its argument labels in place"),
        (_token_by_token, "operations of torch where a few would do"),
        (_row_by_row, "operations of torch where a few would do"),
        (lambda logits, labels: None, "Is there a return?"),
    ],
    right=[_by_gather, _by_one_hot],
    hints=(
        "Position t has read tokens 0 to t and predicts token t + 1. So drop the last position of the logits "
        "and the first label. Then both align.",
        "logits[:, :-1] is [B, T - 1, V] and labels[:, 1:] is [B, T - 1]. F.cross_entropy(predictions, "
        'targets, reduction="none") takes predictions [n, V] and targets [n]: flatten(0, 1) and '
        "flatten(). It returns [n], with 0 at -100: view it as [B, T - 1].",
    ),
    then="From here on your token_losses measures every loss. After a change, run the cells below again.",
)
