"""Lesson 13, answer_log_probs: the log-probability of an answer."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.log_probs import answer_log_probs


def _scored_batches():
    """Answers of several lengths: one ends in the last column, one has token 0, one is a single token."""
    off = -100
    labels = torch.tensor([[off, off, 3, 1, 0, off], [off, 2, 4, 4, 1, 3], [off, off, off, 0, 2, off]])
    longer = torch.tensor([[off, 6, 0, 5, off, off, off, off], [off] * 7 + [2]])
    return [(torch.randn(3, 6, 5), labels), (3 * torch.randn(2, 8, 7) - 4, longer)]


def _long_answers():
    """Two answers of about sixty tokens, whose probabilities underflow in fp32."""
    labels = torch.randint(0, 8, (2, 64))
    labels[0, :4], labels[1, :6] = -100, -100
    return [(3 * torch.randn(2, 64, 8), labels)]


def _gathered(logits, labels):
    targets = labels[:, 1:]
    chosen = logits[:, :-1].log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    return chosen, targets != -100


def _answer(fault):
    """A wrong answer_log_probs: fault(log-probabilities of all targets, mask), both [rows, T - 1]."""
    return lambda logits, labels: fault(*_gathered(logits, labels))


def _unshifted(logits, labels):
    chosen = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None]).squeeze(-1)
    return (chosen * (labels != -100)).sum(1)


def _of_logits(logits, labels):
    targets = labels[:, 1:]
    chosen = logits[:, :-1].gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    return (chosen * (targets != -100)).sum(1)


def _without(place):
    """A wrong answer_log_probs, without the first (0) or the last (-1) token of each answer."""

    def wrong(logits, labels):
        labels = labels.clone()
        for row in labels:
            row[(row != -100).nonzero()[place]] = -100
        return answer_log_probs(logits, labels)

    return wrong


def _labels_in_place(logits, labels):
    right = answer_log_probs(logits, labels)
    labels.clamp_(min=0)
    return right


def _log_of_product(logits, labels):
    chosen, scored = _gathered(logits, labels)
    return (chosen * scored).exp().prod(1).log()


def _by_cross_entropy(logits, labels):
    losses = F.cross_entropy(logits[:, :-1].mT, labels[:, 1:], ignore_index=-100, reduction="none")
    return -losses.sum(1)


def _row_by_row(logits, labels):
    rows = []
    for row, targets in zip(logits, labels, strict=True):
        places = (targets[1:] != -100).nonzero()[:, 0]
        rows.append(row.log_softmax(-1)[places, targets[places + 1]].sum())
    return torch.stack(rows)


ANSWER_MISTAKES = [
    (
        "This is the mean over the answer's tokens. The probability of an answer is the product over its "
        "tokens, so its logarithm is the sum. With the mean, a long answer's tokens count less.",
        _answer(lambda chosen, scored: (chosen * scored).sum(1) / scored.sum(1)),
    ),
    (
        "This is a mean over the whole width: padding and prompt dilute it. Take the sum.",
        _answer(lambda chosen, scored: (chosen * scored).mean(1)),
    ),
    (
        "The sign is wrong: this is the loss. Log-probabilities are negative.",
        lambda logits, labels: -answer_log_probs(logits, labels),
    ),
    ("You do not shift: the logits of position t predict the token at t + 1.", _unshifted),
    (
        "You count prompt and padding, too (their label -100 became token 0). Mask them out.",
        _answer(lambda chosen, scored: chosen.sum(1)),
    ),
    ("These are sums of logits. Take log_softmax over the vocabulary first.", _of_logits),
    (
        "The last column is missing: after the shift the targets are labels[:, 1:], up to the end.",
        _answer(lambda chosen, scored: (chosen * scored)[:, :-1].sum(1)),
    ),
    ("The last token of each answer is missing. It ends the answer, and belongs to it.", _without(-1)),
    ("The first token of each answer is missing. The last token of the prompt predicts it.", _without(0)),
    (
        "You do not count token 0. Only the label -100 marks what is left out.",
        lambda logits, labels: answer_log_probs(logits, labels.masked_fill(labels == 0, -100)),
    ),
    (
        "This is one number for the batch. Each row is an answer with its own log-probability.",
        lambda logits, labels: answer_log_probs(logits, labels).sum(),
    ),
    (
        "This is one number for the batch. Each row is an answer with its own log-probability.",
        lambda logits, labels: answer_log_probs(logits, labels).mean(),
    ),
    (
        "Return the sum of each row. These are the log-probabilities of the tokens.",
        _answer(lambda chosen, scored: chosen * scored),
    ),
]
PRODUCT = (
    "The product of many probabilities underflows in fp32, and its logarithm is -inf. Add up the logarithms "
    "instead."
)

EXERCISE = Exercise(
    name="answer_log_probs",
    lesson="13",
    minutes=10,
    difficulty=2,
    reference=answer_log_probs,
    check=compare(
        answer_log_probs,
        _scored_batches,
        ANSWER_MISTAKES,
        else_="Each row is the sum of its answer's log-probabilities.",
        gradient=("logits",),
        extremes=[(PRODUCT, _long_answers)],
    ),
    wrong=[
        (_log_of_product, "product of many probabilities underflows"),
        (_labels_in_place, "changes its argument labels in place"),
        (lambda logits, labels: answer_log_probs(logits.detach(), labels), "has no graph"),
        (lambda logits, labels: answer_log_probs(logits, labels) + 1, "The result[0] should be"),
        (lambda logits, labels: None, "Is there a return"),
        (lambda logits, labels: answer_log_probs(logits, labels).tolist(), "should be a tensor"),
    ],
    right=[_by_cross_entropy, _row_by_row],
    hints=(
        "The probability of an answer is the product of the probabilities of its tokens, each given all "
        "before it. The logits at position t predict the token at t + 1.",
        "log_softmax of logits[:, :-1] is [rows, T - 1, V]; targets are labels[:, 1:]. gather selects each "
        "target's entry (-100 is not an index: clamp it first), the mask targets != -100 sets the rest "
        "to 0, and the sum over dim 1 is [rows].",
    ),
    then="`sequence_log_probs` calls yours, and so does every step of the training. Run the cells again "
    'from here to the end of "Train".',
)
