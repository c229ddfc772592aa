"""Exercises of lesson 01: the loss of a language model, perplexity, how far weights move, a double shift."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare, expect_gradients
from course_utils.checks.exercises import Exercise
from course_utils.checks.operations import without_loops
from course_utils.data import IGNORE, Example, collate
from course_utils.lessons.lesson_01.parts import colleagues_loss, relative_change
from course_utils.log_probs import token_losses
from course_utils.models import untrained_gpt2
from course_utils.training import fast_lm_loss, lm_loss


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
    """A wrong token_losses: fault(logits of all but the last position, targets), then 0 at -100."""

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
    "Token 0 is a token like any other, and its loss is 0 in what you return. Only the label -100 marks what "
    "does not count."
)
NO_ID = (
    "Without -100 among the labels your losses are right; with it, looking up stops: -100 is "
    "no token id. Look up any valid id in its place, and set that loss to 0 afterwards."
)
EVERY_POSITION = (
    "You return a loss for every position. The last position has no next "
    "token in the sequence, and the first token is predicted by none: T - 1 losses are left."
)
JUST_READ = (
    "You go by the label of the token just read. Whether a loss is 0 goes by the label of "
    "the token that is predicted: labels[:, 1:]."
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
        "Your losses are negative: these are the log-probabilities. The loss is minus them.",
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
        lambda logits, labels: token_losses(logits, labels) / math.log(2),
    ),
    (
        "The softmax is taken twice: cross_entropy takes logits.",
        _loss(lambda logits, targets: -_picked(logits.softmax(-1).log_softmax(-1), targets)),
    ),
    (TOKEN_0, lambda logits, labels: token_losses(logits, labels).masked_fill(labels[:, 1:] <= 0, 0.0)),
    (TOKEN_0, _times_above_zero),
    (TOKEN_0, _ignoring_token_0),
    (
        "The losses are right and stand in the wrong places. flatten goes row by row, so the way back is "
        "view(B, T - 1).",
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
        "You flatten first and shift then, so the last token of a text predicts the first one of the next. "
        "Shift each row: logits[:, :-1] and labels[:, 1:].",
        _flat_before_the_shift,
    ),
    (
        "Where the label is -100 the loss should be 0, and you return something else.",
        lambda logits, labels: -_picked(logits[:, :-1].log_softmax(-1), labels[:, 1:]),
    ),
    (
        "Where the label is -100 the loss is dropped. Keep its place, with a 0: [B, T - 1] stays.",
        lambda logits, labels: (
            token_losses(logits, labels)[labels[:, 1:] != -100].view(1, -1)
            if (labels == -100).any()
            else token_losses(logits, labels)
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
    """Two batches whose rows differ in length; in the second a prompt, token 0 and losses of 0."""
    losses, labels = _padded_losses([-100, -100, 8, 0, 3], [6, 2, 7], [5, 0, 3, 3, 9, 1, 4])
    losses[2, [1, 2, 4]] = 0.0
    return [_padded_losses([5, 7, 2, 9, 4, 1], [3, 8]), (losses, labels)]


def _long_batch():
    """A batch the sum of whose losses no exp can take, in double precision neither: 1,200 nats or more."""
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
    """A wrong batch_perplexity: fault(losses, which of them count), both [B, T - 1]."""
    return lambda losses, labels: fault(losses, labels[:, 1:] != -100)


ALL_POSITIONS = "You divide by all positions, padding too. Divide by the number of tokens that are counted."
LAST_LEFT_OUT = (
    "You go by labels[:, :-1]. What counts are the labels that are not -100 in labels[:, 1:], those that are "
    "predicted."
)
OVERFLOW = (
    "On a batch with many tokens, exp of a sum and a product of exps are larger than any number of the "
    "computer. Take the mean of the losses first, and exp last."
)
PERPLEXITY_MISTAKES = [
    (
        "This is the mean loss in nats. Perplexity is exp of it.",
        _perplexity(lambda losses, counted: losses.sum() / counted.sum()),
    ),
    (
        "The losses are in nats (natural logarithm), so the power is of e, not of 2.",
        _perplexity(lambda losses, counted: 2 ** (losses.sum() / counted.sum())),
    ),
    (ALL_POSITIONS, lambda losses, labels: losses.mean().exp()),
    (ALL_POSITIONS, lambda losses, labels: (losses.sum() / labels.numel()).exp()),
    (
        "You divide by the number of labels that are not -100. The first label of each row is "
        "predicted by nobody: count in labels[:, 1:].",
        lambda losses, labels: (losses.sum() / (labels != -100).sum()).exp(),
    ),
    (
        "You take one token off for each row. A row that begins with -100 has none to take off: count the "
        "labels that are not -100 in labels[:, 1:].",
        lambda losses, labels: (losses.sum() / ((labels != -100).sum() - len(labels))).exp(),
    ),
    (LAST_LEFT_OUT, lambda losses, labels: (losses.sum() / (labels[:, :-1] != -100).sum()).exp()),
    (LAST_LEFT_OUT, lambda losses, labels: losses[labels[:, :-1] != -100].mean().exp()),
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


def _models():
    """Weights before and after: one model of three tensors, the last of which changes least, and one of two,
    the bias of which starts at 0."""
    before = [torch.randn(4, 3), torch.randn(3), torch.ones(2, 2)]
    scales = (0.1, 0.5, 0.02)
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
    (
        "It is upside down: divide the norm of the change by the norm of the weights before.",
        _of_vectors(lambda old, new: old.norm() / (new - old).norm()),
    ),
    (
        "You take the largest ratio of a tensor. Sum the squares over all tensors first.",
        _of_norms(lambda changes, sizes: (changes / sizes).max()),
    ),
    (
        "Only the matrices are looked at. The vectors (biases, for example) are weights, too.",
        lambda before, after: relative_change(
            *[[tensor for tensor in side if tensor.ndim == 2] for side in (before, after)]
        ),
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


def library_loss(model, batch):
    """Summed loss of a batch by transformers' labels=, and the number of tokens that it is the sum over."""
    output = model(batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"])
    count = (batch["labels"][:, 1:] != IGNORE).sum()
    return output.loss * count, count


def _small_model(vocabulary, width):
    return untrained_gpt2(
        n_layer=1, n_head=2, n_embd=width, vocab_size=vocabulary, n_positions=16, initializer_range=0.5
    )


def _example(prompt, completion):
    """Token ids, the last of them an end of text (0), with labels on those after the prompt."""
    return Example([*prompt, *completion, 0], [IGNORE] * len(prompt) + [*completion, 0])


def _batches_for_the_library():
    """A model and a padded batch, twice: all tokens scored and 0 as the pad; prompts without loss, pad 1."""
    whole = [_example([], row) for row in ([5, 3, 8, 2, 6], [4, 7, 1])]
    answers = [_example([5, 3, 8, 2], [6, 4]), _example([2, 9], [7]), _example([], [3, 6, 1, 5])]
    return [(_small_model(10, 8), collate(whole, 0)), (_small_model(12, 6), collate(answers, 1))]


def _by_labels(fault):
    """A wrong library_loss, whose labels are fault(batch); the count is right."""

    def wrong(model, batch):
        output = model(batch["input_ids"], attention_mask=batch["attention_mask"], labels=fault(batch))
        count = (batch["labels"][:, 1:] != IGNORE).sum()
        return output.loss * count, count

    return wrong


def _shifted_by_hand(model, batch):
    """Both sides shifted by hand, and then once more by the library."""
    output = model(batch["input_ids"][:, :-1], labels=batch["labels"][:, 1:])
    count = (batch["labels"][:, 1:] != IGNORE).sum()
    return output.loss * count, count


def _with_count(count_of):
    """A wrong library_loss, which takes count_of(batch) for the number of tokens."""

    def wrong(model, batch):
        total, count = library_loss(model, batch)
        other = torch.as_tensor(count_of(batch))
        return total / count * other, other

    return wrong


def _twice_and_counted_after(model, batch):
    labels = F.pad(batch["labels"][:, 1:], (0, 1), value=IGNORE)
    return library_loss(model, {**batch, "labels": labels})


def _padding_alone_masked(model, batch):
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORE)
    return library_loss(model, {**batch, "labels": labels})


def _mean_of_rows(model, batch):
    rows = [{name: part[i : i + 1] for name, part in batch.items()} for i in range(len(batch["labels"]))]
    means = [total / count for total, count in (library_loss(model, row) for row in rows)]
    count = library_loss(model, batch)[1]
    return sum(means) / len(means) * count, count


def _by_hand_on_logits(model, batch):
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    targets = batch["labels"][:, 1:]
    return F.cross_entropy(logits[:, :-1].mT, targets, reduction="sum"), (targets != IGNORE).sum()


TWICE = (
    "The labels are still shifted twice: once here, and once inside the model. transformers takes the labels "
    "as they are, unshifted."
)
COUNT = (
    "The mean of the library is over the labels that are predicted, and you multiply by another number. The "
    "first label of a row is predicted by none: count in labels[:, 1:]."
)
LIBRARY_MISTAKES = [
    (TWICE, colleagues_loss),
    (TWICE, _by_labels(lambda batch: F.pad(batch["labels"][:, 1:], (0, 1), value=IGNORE))),
    (TWICE, _shifted_by_hand),
    (TWICE, _twice_and_counted_after),
    (
        "roll moves the labels too, and the library shifts once more. It takes the labels as they are.",
        _by_labels(lambda batch: batch["labels"].roll(-1, 1)),
    ),
    (
        "The labels go one place to the right, so each position is to give the token that it has just read. "
        "The library takes the labels as they are.",
        _by_labels(lambda batch: F.pad(batch["labels"][:, :-1], (1, 0), value=IGNORE)),
    ),
    (
        "Padding and prompts are scored: you give the input ids as labels. The labels of the batch have -100 "
        "there.",
        _by_labels(lambda batch: batch["input_ids"]),
    ),
    (
        "Prompts are scored: you mask the padding alone. The labels of the batch have -100 at both.",
        _padding_alone_masked,
    ),
    (COUNT, _with_count(lambda batch: (batch["labels"] != IGNORE).sum())),
    (COUNT, _with_count(lambda batch: batch["labels"][:, 1:].numel())),
    (COUNT, _with_count(lambda batch: batch["labels"].numel())),
    (COUNT, _with_count(lambda batch: batch["attention_mask"].sum())),
    (COUNT, _with_count(lambda batch: len(batch["labels"]))),
    (
        "The sum is right, and the number is not. Return the number that you multiply by: that of "
        "labels[:, 1:] that are not -100.",
        lambda model, batch: (library_loss(model, batch)[0], (batch["labels"] != IGNORE).sum()),
    ),
    (
        "You divide the library's mean by the number of tokens. It is a mean already: multiply.",
        lambda model, batch: (
            library_loss(model, batch)[0] / library_loss(model, batch)[1] ** 2,
            library_loss(model, batch)[1],
        ),
    ),
    (
        "You take the mean of the rows' means: a token of a short row then weighs more. Give the library the "
        "whole batch at once.",
        _mean_of_rows,
    ),
    (
        "The order is turned: first the summed loss, then the number.",
        lambda model, batch: library_loss(model, batch)[::-1],
    ),
    (
        "The library's loss is a mean. Training wants the sum: multiply it by the number of tokens.",
        lambda model, batch: (
            library_loss(model, batch)[0] / library_loss(model, batch)[1],
            library_loss(model, batch)[1],
        ),
    ),
]
_compared = compare(
    library_loss,
    _batches_for_the_library,
    LIBRARY_MISTAKES,
    else_="It is the library's mean times the number of labels that are predicted, and that number.",
)


def _check_library_loss(fn):
    _compared(fn)
    model, batch = _batches_for_the_library()[1]
    expect_gradients(fn(model, batch)[0], {"The model": model.transformer.wte.weight})


EXERCISES = [
    Exercise(
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
                else_="Position t's loss is minus the log-probability that it gives to token t + 1.",
                gradient=("logits",),
                extremes=[
                    (LARGE, lambda: [(40 * logits.round(), labels) for logits, labels in _texts()]),
                    ("With -100 among the labels, the losses of the other tokens changed.", _padded_texts),
                ],
            ),
            lambda: (torch.randn(40, 12, 5), torch.randint(0, 5, (40, 12))),
            60,
            "A loop over texts or tokens makes every training below slower: flatten(0, 1) makes one batch of "
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
            "Position t has read tokens 0 to t and predicts token t + 1. So the logits lose their last "
            "position and the labels their first. Then row and place of both agree.",
            "logits[:, :-1] is [B, T - 1, V] and labels[:, 1:] is [B, T - 1]. F.cross_entropy(predictions, "
            'targets, reduction="none") wants predictions [n, V] and targets [n]: flatten(0, 1) and '
            "flatten(). It gives [n], with 0 at -100: view it as [B, T - 1].",
        ),
        then="From here on your token_losses measures every loss, and trains the models. After a change, run "
        "the cells below again.",
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
            "Perplexity is exp of the mean loss, and the mean is over tokens: every counted token weighs "
            "the same, whichever row it stands in.",
            "The sum of losses [B, T - 1] is right as it stands, because ignored tokens are 0. Divide it "
            "by the number of labels[:, 1:] that are not -100, then exp, then .item().",
        ),
        then="Every perplexity below is computed by your function.",
    ),
    Exercise(
        name="relative_change",
        lesson="01",
        minutes=5,
        difficulty=1,
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
        then="It measures how far both models move below.",
    ),
    Exercise(
        name="library_loss",
        lesson="01",
        minutes=10,
        difficulty=2,
        reference=library_loss,
        check=_check_library_loss,
        wrong=[
            *((wrong, message) for message, wrong in LIBRARY_MISTAKES),
            (lambda model, batch: library_loss(model, batch)[0], "should be a tuple of 2"),
            (
                lambda model, batch: (2 * library_loss(model, batch)[0], library_loss(model, batch)[1]),
                "times the",
            ),
            (
                lambda model, batch: tuple(part.detach() for part in library_loss(model, batch)),
                "has no graph",
            ),
            (lambda model, batch: None, "Is there a return?"),
        ],
        right=[lm_loss, fast_lm_loss, _by_hand_on_logits],
        hints=(
            "One sentence is enough for a test, before any training: its loss by this function, and by "
            "yours. Without padding in it, padding is not the cause where they differ.",
            'transformers shifts inside the model: labels=batch["labels"], as they are. Its loss is the mean '
            "over the labels after each row's first that are not -100; multiply by their number.",
        ),
        then="The training below runs on your library_loss.",
    ),
]
