"""Lesson 11, best_policy: the best policy."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_11.small_kl import best_policy


def _choice(size, beta):
    """Probabilities of `size` answers, their rewards, and beta."""
    return torch.randn(size).softmax(-1), 1.5 * torch.randn(size), beta


_FOUR = torch.tensor([0.5, 0.3, 0.15, 0.05])


def _tilted(reference, reward, beta):
    weights = reference * (reward / beta).exp()
    return weights / weights.sum()


def _tilted_in_double(reference, reward, beta):
    return _tilted(reference.double(), reward.double(), beta).float()


def _from_the_best(reference, reward, beta):
    weights = reference * ((reward - reward.max()) / beta).exp()
    return weights / weights.sum()


def _with_logsumexp(reference, reward, beta):
    logits = reference.log() + reward / beta
    return (logits - torch.logsumexp(logits, 0)).exp()


def _shifted(reference, reward, beta):
    return reference * ((reward - reward.max()) / beta).exp()


def _with_minus_one(reference, reward, beta):
    """From the derivative set to 0, without the condition that the sum is 1."""
    return (reference.log() + reward / beta - 1).exp()


def _divided_by_another_sum(reference, reward, beta):
    scaled = reward / beta
    return reference * (scaled - scaled.logsumexp(-1)).exp()


UNNORMALISED = "These do not sum to 1 like probabilities: divide by the sum."
BEST_POLICY_MISTAKES = [
    (UNNORMALISED, lambda reference, reward, beta: reference * (reward / beta).exp()),
    *((UNNORMALISED, wrong) for wrong in (_shifted, _with_minus_one, _divided_by_another_sum)),
    (
        "The reference is missing: this is the best policy for a uniform one. Weight the reference's "
        "probabilities by the exponential.",
        lambda reference, reward, beta: (reward / beta).softmax(-1),
    ),
    (
        "You multiply the reward by beta. A larger penalty must keep the policy nearer to the reference: "
        "divide.",
        lambda reference, reward, beta: best_policy(reference, reward, 1 / beta),
    ),
    ("beta is missing.", lambda reference, reward, beta: best_policy(reference, reward, 1.0)),
    (
        "You add the reference's probability to the reward. Add its logarithm, or multiply the probability "
        "by the exponential.",
        lambda reference, reward, beta: (reference + reward / beta).softmax(-1),
    ),
    (
        "You also divide the reference's logarithm by beta. Divide only the reward.",
        lambda reference, reward, beta: ((reference.log() + reward) / beta).softmax(-1),
    ),
    (
        "The sign of the reward is wrong: this prefers the worst answers.",
        lambda reference, reward, beta: best_policy(reference, -reward, beta),
    ),
    (
        "These are logarithms. Return the probabilities.",
        lambda reference, reward, beta: best_policy(reference, reward, beta).log(),
    ),
    (
        "You give the best answer all probability: that is the limit without a penalty.",
        lambda reference, reward, beta: torch.eye(len(reward))[reward.argmax()],
    ),
]

EXERCISE = Exercise(
    name="best_policy",
    lesson="11",
    minutes=8,
    difficulty=3,
    reference=best_policy,
    check=compare(
        best_policy,
        lambda: [_choice(4, 0.8), _choice(7, 2.5)],
        BEST_POLICY_MISTAKES,
        else_="Is reward - beta * log(p / reference) the same number for all answers at your policy p, and "
        "does p sum to 1? Both must be.",
        extremes=[
            (
                "At a small beta, exp(reward / beta) overflows. Use logarithms: log reference + reward / "
                "beta, then softmax.",
                [(_FOUR, torch.tensor([0.0, 1.0, -0.5, 2.0]), beta) for beta in (0.01, 0.001)],
            )
        ],
    ),
    wrong=[
        (_tilted, "overflows"),
        (_tilted_in_double, "overflows"),
        (lambda reference, reward, beta: reference.flip(0), "the same number for all"),
        (lambda reference, reward, beta: 2 * best_policy(reference, reward, beta), "does p sum to 1"),
    ],
    right=[_from_the_best, _with_logsumexp],
    hints=(
        "Write the objective as one sum over answers, p * (reward - beta * log(p / reference)), and "
        "set its derivative to a constant (the probabilities sum to 1). Then log(p / reference) is reward / "
        "beta plus a constant.",
        "p is proportional to reference * exp(reward / beta), [V]. In logarithms: log reference + reward / "
        "beta; softmax(-1) normalises without overflow.",
    ),
)
