"""Lesson 06, loss_terms: the two terms."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_06.loss_terms import loss_terms


def _change_inputs():
    """Logits, a change and targets; the change has a part common to all words."""

    def one(n, vocabulary, size):
        logits = 2 * torch.randn(n, vocabulary)
        change = size * torch.randn(n, vocabulary) + 0.5
        return logits, change, torch.randint(vocabulary, (n,))

    return [one(3, 5, 0.3), one(4, 9, 1.0), one(1, 4, 0.1)]


def _sure_and_shifted():
    logits, change, targets = _change_inputs()[0]
    return [(400 * logits, change, targets), (logits, change + 30, targets)]


def _terms(fault):
    """A wrong loss_terms: fault(p, change, value of the change at the target, first, second)."""

    def wrong(logits, change, targets):
        first, second = loss_terms(logits, change, targets)
        at_target = change.gather(1, targets[:, None]).squeeze(1)
        return fault(logits.softmax(-1), change, at_target, first, second)

    return wrong


def _terms_of_the_changed(logits, change, targets):
    return loss_terms(logits + change, change, targets)


def _terms_by_exp(logits, change, targets):
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    mean = (p * change).sum(-1)
    second = (p * (change - mean[:, None]) ** 2).sum(-1) / 2
    return mean - change[torch.arange(len(targets)), targets], second


def _terms_token_by_token(logits, change, targets):
    first, second = [], []
    for row, moved, target in zip(logits, change, targets, strict=True):
        p = torch.softmax(row, 0)
        mean = p @ moved
        first.append(mean - moved[target])
        second.append(p @ (moved - mean) ** 2 / 2)
    return torch.stack(first), torch.stack(second)


def _terms_by_derivatives(logits, change, targets):
    logits, change = logits.double(), change.double()

    def loss(t):
        return F.cross_entropy(logits + t[:, None] * change, targets, reduction="none").sum()

    t = torch.zeros(len(targets), dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(loss(t), t, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), t)
    return first.detach().float(), second.float() / 2


TERMS_MISTAKES = [
    (
        "The sign of the first term is wrong: the loss falls if the target's logit rises more than the "
        "others.",
        _terms(lambda p, d, at, first, second: (-first, second)),
    ),
    (
        "You add the change of the target's logit to the mean. Subtract it.",
        _terms(lambda p, d, at, first, second: (first + 2 * at, second)),
    ),
    (
        "The mean under p is missing in the first term: a change common to all words does not change the "
        "probabilities, so the term must be 0.",
        _terms(lambda p, d, at, first, second: (-at, second)),
    ),
    (
        "The target is missing in the first term: subtract the change of the target's logit.",
        _terms(lambda p, d, at, first, second: (first + at, second)),
    ),
    (
        "The second term is half the variance. The half is missing.",
        _terms(lambda p, d, at, first, second: (first, 2 * second)),
    ),
    (
        "This is half the mean square. Subtract the square of the mean: a change common to all words has no "
        "variance.",
        _terms(lambda p, d, at, first, second: (first, (p * d**2).sum(-1) / 2)),
    ),
    (
        "This is the unweighted variance over the vocabulary. Weight the words by their probabilities p.",
        _terms(lambda p, d, at, first, second: (first, d.var(-1, correction=0) / 2)),
    ),
    (
        "This is the unweighted variance over the vocabulary. Weight the words by their probabilities p.",
        _terms(lambda p, d, at, first, second: (first, d.var(-1) / 2)),
    ),
    (
        "In the first term, the mean over the words is unweighted. Weight the words by p.",
        _terms(lambda p, d, at, first, second: (d.mean(-1) - at, second)),
    ),
    (
        "The mean over the words is unweighted, in both terms. Weight the words by p.",
        _terms(
            lambda p, d, at, first, second: (
                d.mean(-1) - at,
                (p * (d - d.mean(-1, keepdim=True)).square()).sum(-1) / 2,
            )
        ),
    ),
    (
        "In the second term, the mean over the words is unweighted. Weight the words by p.",
        _terms(
            lambda p, d, at, first, second: (first, (p * (d - d.mean(-1, keepdim=True)).square()).sum(-1) / 2)
        ),
    ),
    (
        "This is the standard deviation. The second term has the variance, its square.",
        _terms(lambda p, d, at, first, second: (first, (2 * second).sqrt() / 2)),
    ),
    ("The two terms are swapped.", _terms(lambda p, d, at, first, second: (second, first))),
    ("p must be the probabilities before the change. You use those after it.", _terms_of_the_changed),
    (
        "You return means over the tokens. Return the terms of each token, [n]; the mean comes later.",
        _terms(lambda p, d, at, first, second: (first.mean(), second.mean())),
    ),
    ("Return both terms separately, not their sum.", _terms(lambda p, d, at, first, second: first + second)),
]

EXERCISE = Exercise(
    name="loss_terms",
    lesson="06",
    minutes=10,
    difficulty=2,
    reference=loss_terms,
    check=compare(
        loss_terms,
        _change_inputs,
        TERMS_MISTAKES,
        else_="With p = softmax(logits): the mean of the change under p minus its value at the target, "
        "and half its variance under p.",
        extremes=[
            (
                "It should also hold with logits in the hundreds, or a change with a large part common to "
                "all words: use softmax, and subtract the mean before you square.",
                _sure_and_shifted,
            )
        ],
        tolerance=1e-4,
    ),
    wrong=[
        (_terms_by_exp, "with logits in the hundreds"),
        (
            _terms(lambda p, d, at, first, second: (first, ((p * d * d).sum(-1) - (p * d).sum(-1) ** 2) / 2)),
            "with logits in the hundreds",
        ),
        (_terms(lambda p, d, at, first, second: (first, 3 * second)), "half its variance under p"),
        (lambda logits, change, targets: None, "Is there a return"),
    ],
    right=[_terms_token_by_token, _terms_by_derivatives],
    hints=(
        "p = softmax(logits) weights the words. A mean under p is (p * ...).sum(-1).",
        "mean = (p * change).sum(-1), [n]. The change at the target: change.gather(1, targets[:, None])"
        ".squeeze(1). The variance: (p * (change - mean[:, None])**2).sum(-1).",
    ),
    then="The table below uses your terms.",
)
