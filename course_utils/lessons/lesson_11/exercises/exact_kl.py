"""Lesson 11, exact_kl: the exact divergence."""

import math

import torch
import torch.nn.functional as F
from torch.distributions import Categorical, kl_divergence

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.kl import exact_kl


def _logits(*shape):
    """Logits of a policy and of a reference, neither of which are log-probabilities."""
    return 1.5 * torch.randn(*shape) + 2, 1.5 * torch.randn(*shape) - 1


def _kl(fault):
    """A wrong exact_kl: fault(log-probabilities of the policy, of the reference)."""
    return lambda current, reference: fault(current.log_softmax(-1), reference.log_softmax(-1))


def _without_the_unsaid(terms):
    """exact_kl by terms(log-probabilities of both), 0 where the policy's probability is 0."""
    return _kl(lambda p, q: torch.where(p > -torch.inf, terms(p, q), 0.0).sum(-1))


def _kl_in_place(current, reference):
    current -= current.logsumexp(-1, keepdim=True)
    return exact_kl(current, reference)


def _by_distributions(current, reference):
    return kl_divergence(Categorical(logits=current), Categorical(logits=reference))


def _log_of_softmax(current, reference):
    p, q = current.softmax(-1), reference.softmax(-1)
    return torch.where(p > 0, p * (p.log() - q.log()), 0.0).sum(-1)


def _by_kl_div(current, reference):
    mine, theirs = F.log_softmax(current, -1), F.log_softmax(reference, -1)
    never = mine.isneginf()
    terms = F.kl_div(
        theirs.masked_fill(never, 0.0), mine.masked_fill(never, 0.0), reduction="none", log_target=True
    )
    return terms.masked_fill(never, 0.0).sum(dim=-1)


def _by_kl_div_masked_late(current, reference):
    mine, theirs = F.log_softmax(current, -1), F.log_softmax(reference, -1)
    terms = F.kl_div(theirs, mine, reduction="none", log_target=True)
    return terms.masked_fill(mine.isneginf(), 0.0).sum(dim=-1)


def _by_where(current, reference):
    current, reference = current.log_softmax(-1), reference.log_softmax(-1)
    said = current > -torch.inf
    log_ratio = torch.where(said, current, 0.0) - torch.where(said, reference, 0.0)
    return (current.exp() * log_ratio).sum(-1)


def _place_by_place(current, reference):
    """In Python numbers, one distribution after the other: the values are right but have no gradient."""
    found = []
    rows = zip(
        current.reshape(-1, current.shape[-1]), reference.reshape(-1, reference.shape[-1]), strict=True
    )
    for mine, theirs in rows:
        p, q = mine.double().softmax(-1).tolist(), theirs.double().softmax(-1).tolist()
        terms = [a * math.log(a / b) if b else math.inf for a, b in zip(p, q, strict=True) if a]
        found.append(sum(terms))
    return torch.tensor(found).view(current.shape[:-1])


_UNSAID = torch.tensor([0.0, 1.0, -torch.inf])
EXACT_MISTAKES = [
    (
        "The two are swapped: this is KL(reference || policy). Weight the terms by the policy's "
        "probabilities, and put its log-probability first.",
        lambda current, reference: exact_kl(reference, current),
    ),
    (
        "You weight the terms by the reference's probabilities. The expectation is under the policy.",
        _kl(lambda p, q: (q.exp() * (p - q)).sum(-1)),
    ),
    ("The sign is wrong: log policy minus log reference.", _kl(lambda p, q: (p.exp() * (q - p)).sum(-1))),
    (
        "You do not weight the terms: weight each by the policy's probability of its token.",
        _kl(lambda p, q: (p - q).sum(-1)),
    ),
    (
        "This is a mean over the vocabulary. The probabilities are already the weights: sum.",
        _kl(lambda p, q: (p.exp() * (p - q)).mean(-1)),
    ),
    (
        "You take the log-ratio of logits, which are log-probabilities only after log_softmax.",
        lambda current, reference: (current.softmax(-1) * (current - reference)).sum(-1),
    ),
    (
        "You take the log-ratio of logits, which are log-probabilities only after log_softmax.",
        lambda current, reference: (current.exp() * (current - reference)).sum(-1),
    ),
    (
        "This is the cross-entropy. It still includes the policy's own entropy.",
        _kl(lambda p, q: -(p.exp() * q).sum(-1)),
    ),
    (
        "You multiply log-probabilities. The weights are probabilities: take exp.",
        _kl(lambda p, q: (p * (p - q)).sum(-1)),
    ),
    (
        "This is one number for all positions. Return the KL of each position.",
        _kl(lambda p, q: (p.exp() * (p - q)).sum()),
    ),
    (
        "This is one number for all positions. Return the KL of each position.",
        lambda current, reference: exact_kl(current, reference).mean(),
    ),
    ("These are the terms of the sum. Add them up over the vocabulary.", _kl(lambda p, q: p.exp() * (p - q))),
    (
        "Your softmax runs over another dimension. The vocabulary is the last one.",
        lambda current, reference: (
            current.softmax(0) * (current.log_softmax(0) - reference.log_softmax(0))
        ).sum(-1),
    ),
]
EXACT_NAN = (
    "If the policy's probability of a token is 0 (logit -inf), its term is 0 times infinity, which is not a "
    "number. The token contributes 0: where the policy's log-probability is -inf, replace both "
    "log-probabilities by 0 before you subtract."
)
EXACT_LATE = (
    "At a token that the policy never says (logit -inf) you put 0 in the place of the finished term. The "
    "value is right, but the gradient still goes through 0 times infinity. Replace both log-probabilities "
    "by 0 there first, then subtract."
)
EXACT_ELSE = "The sum over the vocabulary of p * (log p - log q), with p the policy's probabilities."
EXACT_INF = (
    "If the policy can say a token that the reference cannot, the KL is infinite: inf. A small number added "
    "to the probabilities, or a clamp, hides that."
)
EXACT_FAR = (
    "A token far below the others has a finite log-probability: at logits 0 and -200 the divergence is "
    "finite, and yours is not. softmax rounds the probability to 0, and log makes -inf of it. Take "
    "log_softmax (torch.distributions looks at the rounded probability, too)."
)
_FAR = torch.tensor([0.0, -200.0, 3.0])
_NEVER_SAID = [(_UNSAID, torch.zeros(3)), (_UNSAID, torch.tensor([1.0, 0.0, -torch.inf]))]

_COMPARE_EXACT = compare(
    exact_kl,
    lambda: [_logits(2, 3, 5), _logits(4, 7), _logits(6)],
    EXACT_MISTAKES,
    else_=EXACT_ELSE,
    extremes=[
        (EXACT_NAN, _NEVER_SAID),
        (EXACT_INF, [(torch.zeros(3), _UNSAID)]),
        (EXACT_FAR, [(torch.zeros(2), _FAR[:2]), (_FAR, torch.zeros(3)), (_FAR, _FAR.flip(0))]),
    ],
)
_COMPARE_GRADIENT = compare(
    exact_kl,
    lambda: [_logits(2, 5), _logits(6)],
    EXACT_MISTAKES,
    else_=EXACT_ELSE,
    gradient=("logits_current",),
    extremes=[(EXACT_LATE, _NEVER_SAID)],
)


def _check_exact(fn):
    """Check the values, then the gradient, both with extremes."""
    _COMPARE_EXACT(fn)
    _COMPARE_GRADIENT(fn)


def _with_epsilon(current, reference):
    p, q = current.softmax(-1), reference.softmax(-1)
    return (p * ((p + 1e-9).log() - (q + 1e-9).log())).sum(-1)


EXERCISE = Exercise(
    name="exact_kl",
    lesson="11",
    minutes=8,
    difficulty=2,
    reference=exact_kl,
    check=_check_exact,
    wrong=[
        *((wrong, message) for message, wrong in EXACT_MISTAKES),
        (_kl(lambda p, q: (p.exp() * (p - q)).sum(-1)), "not a number"),
        (_without_the_unsaid(lambda p, q: p.exp() * (p - q).clamp(max=30)), "the KL is infinite"),
        (_with_epsilon, "the KL is infinite"),
        (_log_of_softmax, "finite log-probability"),
        (_by_distributions, "finite log-probability"),
        (_kl_in_place, "changes its argument logits_current in place"),
        (lambda current, reference: 2 * exact_kl(current, reference), "The sum over the vocabulary"),
        (lambda current, reference: None, "Is there a return"),
        (_place_by_place, "has no graph"),
        (lambda current, reference: exact_kl(current, reference).detach(), "has no graph"),
        (_without_the_unsaid(lambda p, q: p.detach().exp() * (p - q)), "a gradient is not"),
        (_without_the_unsaid(lambda p, q: p.exp() * (p - q)), "first, then subtract"),
        (_by_kl_div_masked_late, "first, then subtract"),
    ],
    right=[_by_kl_div, _by_where],
    hints=(
        "Take both log-probabilities of each token, weight the difference by the policy's probability, and "
        "sum over the vocabulary. A token with policy probability 0 contributes 0.",
        "current = logits_current.log_softmax(-1), reference likewise, [..., V]. Where current is -inf, put "
        "0 for both in the difference (torch.where). Then current.exp() * difference, and sum(-1): [...].",
    ),
    then="The coloured text and a gradient ascent below use your function.",
)
