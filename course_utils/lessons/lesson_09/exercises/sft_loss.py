"""Lesson 09, sft_loss: the loss of a mixture."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.data import IGNORE
from course_utils.lessons.lesson_09.mixture import sft_loss
from course_utils.log_probs import token_losses


def _batch(seed, lengths, vocabulary=7, first=False):
    """(logits, labels) of conversations, padded on the right; lengths: of prompt and answer in each row.

    first: the first token of the first row has a label, which no position predicts.
    """
    generator = torch.Generator().manual_seed(seed)
    width = max(map(sum, lengths)) + 1
    logits = 2 * torch.randn(len(lengths), width, vocabulary, generator=generator)
    labels = torch.full((len(lengths), width), IGNORE)
    for row, (prompt, answer) in enumerate(lengths):
        labels[row, prompt : prompt + answer] = torch.randint(0, vocabulary, (answer,), generator=generator)
        labels[row, prompt] = 0  # token 0 is a token
    if first:
        labels[0, 0] = 1
    return logits, labels


def _batches_to_weigh():
    return [
        _batch(1, [(2, 3), (4, 1)]),
        (*_batch(2, [(1, 6), (3, 2), (2, 1)]), torch.tensor([0.5, 2.0, 1.0])),
        _batch(3, [(3, 2), (1, 1), (2, 5), (1, 3)], vocabulary=11, first=True),
        (*_batch(4, [(2, 2), (1, 7)]), torch.tensor([3.0, 0.25])),
    ]


def _of_rows(fault):
    """A wrong sft_loss: fault(losses [rows, tokens - 1], scored, weights [rows], labels)."""

    def wrong(logits, labels, weights=None):
        weights = logits.new_ones(len(labels)) if weights is None else weights
        return fault(token_losses(logits, labels), labels[:, 1:] != IGNORE, weights, labels)

    return wrong


def _not_shifted(logits, labels, weights=None):
    return sft_loss(logits, F.pad(labels[:, :-1], (1, 0), value=IGNORE), weights)


def _shifted_twice(logits, labels, weights=None):
    return sft_loss(logits, F.pad(labels[:, 1:], (0, 1), value=IGNORE), weights)


def _prompts_too(logits, labels, weights=None):
    return sft_loss(logits, labels.clamp(min=0), weights)


def _without_token_0(logits, labels, weights=None):
    return sft_loss(logits, labels.masked_fill(labels == 0, IGNORE), weights)


def _without_last(logits, labels, weights=None):
    last = F.pad(labels[:, 1:], (0, 1), value=IGNORE) == IGNORE
    return sft_loss(logits, labels.masked_fill(last, IGNORE), weights)


def _soft_then_log(logits, labels, weights=None):
    weights = logits.new_ones(len(labels)) if weights is None else weights
    targets = labels[:, 1:]
    chosen = logits[:, :-1].softmax(-1).gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    losses = torch.where(targets == IGNORE, 0.0, -chosen.log())
    return (weights[:, None] * losses).sum(), (weights[:, None] * (targets != IGNORE)).sum()


def _by_gather(logits, labels, weights=None):
    total, count = 0.0, 0.0
    for row, (scores, targets) in enumerate(zip(logits[:, :-1], labels[:, 1:], strict=True)):
        kept = targets != -100
        weight = 1.0 if weights is None else weights[row]
        chosen = scores.log_softmax(-1)[kept].gather(1, targets[kept][:, None])
        total, count = total - weight * chosen.sum(), count + weight * kept.sum()
    return total, count


def _by_cross_entropy(logits, labels, weights=None):
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
    scored = labels[:, 1:].ne(-100)
    if weights is None:
        return losses.sum(), scored.sum()
    return weights @ losses.sum(1), weights @ scored.sum(1).float()


SFT_MISTAKES = [
    ("Position t predicts token t + 1: compare logits[:, :-1] with labels[:, 1:].", _not_shifted),
    ("You shift the labels twice: a position must predict the token after the next one.", _shifted_twice),
    (
        "Questions and padding have loss. Where the label is -100, there is no loss and nothing to count.",
        _prompts_too,
    ),
    ("You give token 0 no loss. Only the label -100 marks tokens without loss.", _without_token_0),
    (
        "The last token of every answer has no loss. It is the end marker, and is learned like any other "
        "token.",
        _without_last,
    ),
    (
        "This is already the mean. Return the sum and its divisor.",
        _of_rows(
            lambda x, s, w, y: ((w[:, None] * x).sum() / (w[:, None] * s).sum(), (w[:, None] * s).sum())
        ),
    ),
    (
        "The divisor leaves out tokens with a loss of 0. A token predicted with certainty counts, too: count "
        "the labels that are not -100.",
        _of_rows(lambda x, s, w, y: ((w[:, None] * x).sum(), (w[:, None] * (x > 0)).sum())),
    ),
    (
        "The divisor counts padding and questions. Count the tokens with a label.",
        _of_rows(lambda x, s, w, y: ((w[:, None] * x).sum(), (w[:, None] * torch.ones_like(x)).sum())),
    ),
    (
        "The divisor counts a label of the first token. No position predicts it: count labels[:, 1:].",
        _of_rows(lambda x, s, w, y: ((w[:, None] * x).sum(), (w[:, None] * (y != IGNORE)).sum())),
    ),
    ("You do not use the weights.", _of_rows(lambda x, s, w, y: (x.sum(), s.sum()))),
    (
        "The weights are in the sum but not in the divisor, so they would also change the effective "
        "learning rate.",
        _of_rows(lambda x, s, w, y: ((w[:, None] * x).sum(), s.sum())),
    ),
    (
        "The divisor counts each conversation once. Count each token with a label, times the weight of its "
        "conversation.",
        _of_rows(lambda x, s, w, y: ((w[:, None] * x).sum(), w.sum())),
    ),
    (
        "You take the mean of each conversation first, so a token of a short answer counts more than one of "
        "a long answer. Sum over the tokens.",
        _of_rows(lambda x, s, w, y: ((w * x.sum(1) / s.sum(1)).sum(), w.sum())),
    ),
    (
        "The graph is cut, so the loss has no gradient.",
        lambda logits, labels, weights=None: sft_loss(logits.detach(), labels, weights),
    ),
]
LARGE = (
    "With large logits exp overflows, or a probability is 0 with an infinite logarithm. Use cross_entropy or "
    "log_softmax."
)


def _large():
    logits, labels = _batch(5, [(2, 4), (1, 2)])
    return [(300 * logits, labels), (300 * logits, labels, torch.tensor([1.0, 0.5]))]


CERTAIN = "A token predicted with certainty has a loss of 0, and counts."


def _certain():
    logits, labels = _batch(6, [(2, 3), (1, 2)])
    logits[0, 1] = 0
    logits[0, 1, labels[0, 2]] = 200
    return [(logits, labels), (logits, labels, torch.tensor([0.5, 2.0]))]


EXERCISE = Exercise(
    name="sft_loss",
    lesson="09",
    minutes=12,
    difficulty=2,
    reference=sft_loss,
    check=compare(
        sft_loss,
        _batches_to_weigh,
        SFT_MISTAKES,
        else_="Sum the cross-entropy of the tokens with a label, each times the weight of its "
        "conversation; count the same tokens with the same weights.",
        gradient=["logits"],
        extremes=[(LARGE, _large), (CERTAIN, _certain)],
    ),
    wrong=[
        (lambda logits, labels, weights=None: None, "Is there a return"),
        (lambda logits, labels, weights=None: sft_loss(logits, labels, weights)[0], "should be a tuple"),
        (lambda logits, labels, weights=None: (1.0, 2.0), "Sum the cross-entropy"),
        (_soft_then_log, "log_softmax"),
    ],
    right=[_by_gather, _by_cross_entropy],
    hints=(
        "It is the loss of lesson 01 on the tokens whose label is not -100. The weight of a conversation "
        "multiplies the loss of each of its tokens, and also each token in the count.",
        "token_losses(logits, labels) returns [rows, tokens - 1], with 0 where there is no loss. labels[:, "
        "1:] != IGNORE has the same shape. weights[:, None] multiplies both; without weights use "
        "ones. Return the two sums.",
    ),
    then="The one-skill run and the mixture below use it. After a change, run their cells again.",
)
