"""Lesson 11, exact_kl: the exact divergence."""

import math

import torch
from torch.distributions import Categorical, kl_divergence

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.kl import exact_kl


def _logits(*shape):
    """Logits of a policy and of a reference, neither of them log-probabilities."""
    return 1.5 * torch.randn(*shape) + 2, 1.5 * torch.randn(*shape) - 1


def _kl(fault):
    """A wrong exact_kl: fault(log-probabilities of the policy, of the reference)."""
    return lambda current, reference: fault(current.log_softmax(-1), reference.log_softmax(-1))


def _without_the_unsaid(terms):
    """exact_kl by terms(log-probabilities of both), 0 where the policy never says a token."""
    return _kl(lambda p, q: torch.where(p > -torch.inf, terms(p, q), 0.0).sum(-1))


def _kl_in_place(current, reference):
    current -= current.logsumexp(-1, keepdim=True)
    return exact_kl(current, reference)


def _by_distributions(current, reference):
    return kl_divergence(Categorical(logits=current), Categorical(logits=reference))


def _place_by_place(current, reference):
    """In Python's numbers, one distribution after the other: the values are right, and nothing can learn."""
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
        "The two are swapped: this is the KL of the reference from the policy. The policy's probabilities "
        "weigh the terms, and its log-probability comes first.",
        lambda current, reference: exact_kl(reference, current),
    ),
    (
        "The terms are weighted by the reference's probabilities. The mean is over what the policy says.",
        _kl(lambda p, q: (q.exp() * (p - q)).sum(-1)),
    ),
    ("The sign is turned: log policy minus log reference.", _kl(lambda p, q: (p.exp() * (q - p)).sum(-1))),
    (
        "The terms are not weighted: each counts by the probability that the policy gives to its token.",
        _kl(lambda p, q: (p - q).sum(-1)),
    ),
    (
        "This is a mean over the vocabulary. The probabilities are the weights already: sum.",
        _kl(lambda p, q: (p.exp() * (p - q)).mean(-1)),
    ),
    (
        "The log-ratio is taken of logits, which are log-probabilities only after log_softmax.",
        lambda current, reference: (current.softmax(-1) * (current - reference)).sum(-1),
    ),
    (
        "The log-ratio is taken of logits, which are log-probabilities only after log_softmax.",
        lambda current, reference: (current.exp() * (current - reference)).sum(-1),
    ),
    (
        "This is the cross-entropy. What the policy itself finds surprising is still in it.",
        _kl(lambda p, q: -(p.exp() * q).sum(-1)),
    ),
    (
        "Log-probabilities are multiplied here. The weights are probabilities: exp of them.",
        _kl(lambda p, q: (p * (p - q)).sum(-1)),
    ),
    (
        "This is one number for all places. Each place of the text has a KL of its own.",
        _kl(lambda p, q: (p.exp() * (p - q)).sum()),
    ),
    (
        "This is one number for all places. Each place of the text has a KL of its own.",
        lambda current, reference: exact_kl(current, reference).mean(),
    ),
    ("These are the terms of the sum. Add them up over the vocabulary.", _kl(lambda p, q: p.exp() * (p - q))),
    (
        "The softmax runs over another dimension. The vocabulary is the last one.",
        lambda current, reference: (
            current.softmax(0) * (current.log_softmax(0) - reference.log_softmax(0))
        ).sum(-1),
    ),
]
EXACT_NAN = (
    "Where the policy never says a token (logit -inf), its term is 0 times something infinite, and that is "
    "not a number. The token adds nothing: torch.where(log_probs > -torch.inf, terms, 0.0)."
)
EXACT_ELSE = "The sum over the vocabulary of p * (log p - log q), with p the policy's probabilities."
EXACT_INF = (
    "What the policy says and the reference never does costs without limit: inf. A small number added to the "
    "probabilities, or a clamp, hides that."
)

_COMPARE_EXACT = compare(
    exact_kl,
    lambda: [_logits(2, 3, 5), _logits(4, 7), _logits(6)],
    EXACT_MISTAKES,
    else_=EXACT_ELSE,
    extremes=[
        (EXACT_NAN, [(_UNSAID, torch.zeros(3)), (_UNSAID, torch.tensor([1.0, 0.0, -torch.inf]))]),
        (EXACT_INF, [(torch.zeros(3), _UNSAID)]),
    ],
)
_COMPARE_GRADIENT = compare(
    exact_kl,
    lambda: [_logits(2, 5), _logits(6)],
    EXACT_MISTAKES,
    else_=EXACT_ELSE,
    gradient=("logits_current",),
)


def _check_exact(fn):
    """The values with their extremes; then the gradient, where all logits are finite."""
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
        (_without_the_unsaid(lambda p, q: p.exp() * (p - q).clamp(max=30)), "costs without limit"),
        (_with_epsilon, "costs without limit"),
        (_kl_in_place, "changes its argument logits_current in place"),
        (lambda current, reference: 2 * exact_kl(current, reference), "The sum over the vocabulary"),
        (lambda current, reference: None, "Is there a return"),
        (_place_by_place, "has no graph"),
        (lambda current, reference: exact_kl(current, reference).detach(), "has no graph"),
        (_without_the_unsaid(lambda p, q: p.detach().exp() * (p - q)), "a gradient is not"),
    ],
    right=[_by_distributions, _without_the_unsaid(lambda p, q: p.exp() * (p - q))],
    hints=(
        "Take both log-probabilities of each token, weigh the difference with the policy's probability, "
        "and add up over the vocabulary. A token that the policy never says adds nothing.",
        "current = logits_current.log_softmax(-1), reference likewise, [..., V]. current.exp() * "
        "(current - reference), with torch.where in the place of 0 * inf, then sum(-1): [...].",
    ),
    then="The coloured text below is computed with your function, and so is a gradient ascent.",
)
