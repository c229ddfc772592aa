"""Lesson 19, token_kl: the KL of a token."""

import math

import torch
import torch.nn.functional as F

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_19.exercises.shared import AGAIN
from course_utils.methods.distillation import token_kl


def _logits(*shape):
    return 2 * torch.randn(*shape), 2 * torch.randn(*shape)


def _positions():
    first, second = _logits(3, 5), _logits(2, 4, 7)
    return [call(*first), call(*first, "forward"), call(*second, direction="forward"), call(*second)]


def _certain():
    """Logits so far apart that a probability is 0 in float32."""
    student, teacher = torch.tensor([[120.0, -120, 0], [0, 0, -300]]), torch.tensor([[0.0, 1, 0], [9, 0, 1]])
    return [
        *(call(student, teacher, direction) for direction in ("reverse", "forward")),
        *(call(teacher, student, direction) for direction in ("reverse", "forward")),
    ]


def _kl(fault):
    """A wrong token_kl: fault(first, second), given the log-probabilities for KL(first || second)."""

    def wrong(student, teacher, direction="reverse"):
        student, teacher = student.log_softmax(-1), teacher.detach().log_softmax(-1)
        return fault(*((student, teacher) if direction == "reverse" else (teacher, student)))

    return wrong


def _exchanged(student, teacher, direction="reverse"):
    return token_kl(student, teacher, {"reverse": "forward", "forward": "reverse"}[direction])


def _not_detached(student, teacher, direction="reverse"):
    student, teacher = student.log_softmax(-1), teacher.log_softmax(-1)
    first, second = (student, teacher) if direction == "reverse" else (teacher, student)
    return (first.exp() * (first - second)).sum(-1)


def _student_detached(student, teacher, direction="reverse"):
    return token_kl(student.detach(), teacher, direction)


def _of_raw_logits(student, teacher, direction="reverse"):
    first, second = (student, teacher.detach()) if direction == "reverse" else (teacher.detach(), student)
    return (first.softmax(-1) * (first - second)).sum(-1)


def _log_of_softmax(student, teacher, direction="reverse"):
    student, teacher = student.softmax(-1), teacher.detach().softmax(-1)
    first, second = (student, teacher) if direction == "reverse" else (teacher, student)
    return (first * (first.log() - second.log())).sum(-1)


def _unnormalised(student, teacher, direction="reverse"):
    first, second = (student, teacher.detach()) if direction == "reverse" else (teacher.detach(), student)
    return (first.exp() * (first - second)).sum(-1)


def _in_bits(student, teacher, direction="reverse"):
    return token_kl(student, teacher, direction) / math.log(2)


def _both_directions(student, teacher, direction="reverse"):
    return (token_kl(student, teacher) + token_kl(student, teacher, "forward")) / 2


def _one_mean(student, teacher, direction="reverse"):
    return token_kl(student, teacher, direction).mean()


def _with_a_floor(student, teacher, direction="reverse"):
    student, teacher = student.softmax(-1), teacher.detach().softmax(-1)
    first, second = (student, teacher) if direction == "reverse" else (teacher, student)
    return (first * ((first + 1e-9).log() - (second + 1e-9).log())).sum(-1)


def _without_log_target(student, teacher, direction="reverse"):
    first, second = student.log_softmax(-1), teacher.detach().log_softmax(-1)
    if direction == "forward":
        first, second = second, first
    return F.kl_div(second, first, reduction="none").sum(-1)


def _over_places(student, teacher, direction="reverse"):
    student, teacher = student.log_softmax(0), teacher.detach().log_softmax(0)
    first, second = (student, teacher) if direction == "reverse" else (teacher, student)
    return (first.exp() * (first - second)).sum(-1)


def _by_torch(student, teacher, direction="reverse"):
    first, second = student.log_softmax(-1), teacher.detach().log_softmax(-1)
    if direction == "forward":
        first, second = second, first
    return F.kl_div(second, first, reduction="none", log_target=True).sum(-1)


def _by_entropies(student, teacher, direction="reverse"):
    """Cross-entropy minus entropy."""
    pair = [F.log_softmax(student, -1), F.log_softmax(teacher.detach(), -1)]
    p, q = pair if direction == "reverse" else pair[::-1]
    weights = torch.exp(p)
    return torch.einsum("...v,...v->...", weights, p) - torch.einsum("...v,...v->...", weights, q)


KL_MISTAKES = [
    (
        "The directions are swapped. reverse is KL(student || teacher): the expectation is under the "
        "student.",
        _exchanged,
    ),
    (
        "direction has no effect: this is the reverse KL both times.",
        lambda student, teacher, direction="reverse": token_kl(student, teacher),
    ),
    ("The sign is wrong: a KL is never negative.", _kl(lambda p, q: (p.exp() * (q - p)).sum(-1))),
    (
        "The entropy is missing: this is only the cross-entropy. The KL is 0 where both models agree.",
        _kl(lambda p, q: -(p.exp() * q).sum(-1)),
    ),
    (
        "You weight all tokens of the vocabulary equally. Weight each by the first model's probability.",
        _kl(lambda p, q: (p - q).mean(-1)),
    ),
    (
        "This is the mean over the vocabulary. The probabilities are already the weights: sum.",
        _kl(lambda p, q: (p.exp() * (p - q)).mean(-1)),
    ),
    (
        "Return a number for each position, [...]: sum only over the vocabulary, the last dimension.",
        _kl(lambda p, q: (p.exp() * (p - q)).sum()),
    ),
    (
        "You compare logits. A constant added to all logits of a model changes your result: take "
        "log_softmax first.",
        _of_raw_logits,
    ),
    ("Logits are no log-probabilities: take log_softmax(-1) of both first.", _unnormalised),
    ("This is in bits. Take natural logarithms, for nats.", _in_bits),
    ("This is the mean of both directions. `direction` names the one that is wanted.", _both_directions),
    (
        "This is the mean over the positions. Return a number for each position, [...]: F.kl_div averages "
        'unless reduction="none".',
        _one_mean,
    ),
    ("Your softmax runs over the positions. The vocabulary is the last dimension.", _over_places),
    ("F.kl_div needs probabilities as its second argument, or log_target=True.", _without_log_target),
    ("The teacher is a constant here: teacher.detach().", _not_detached),
    (
        "The values are right, but part of the gradient is missing: in the reverse KL, the weights are the "
        "student's own and must not be detached.",
        _kl(lambda p, q: (p.exp().detach() * (p - q)).sum(-1)),
    ),
]

EXERCISE = Exercise(
    name="token_kl",
    lesson="19",
    minutes=10,
    difficulty=2,
    reference=token_kl,
    check=compare(
        token_kl,
        _positions,
        KL_MISTAKES,
        else_="reverse: the sum over the vocabulary of p * (log p - log q), with p the student and q the "
        "teacher; forward: with p the teacher.",
        gradient=("student", "teacher"),
        extremes=[
            (
                "A probability can be too small for float32 although its logarithm is not: take log_softmax, "
                "not the logarithm of softmax.",
                _certain,
            )
        ],
    ),
    wrong=[
        (_student_detached, "no graph"),
        (_log_of_softmax, "take log_softmax"),
        (_with_a_floor, "take log_softmax"),
        (_kl(lambda p, q: 2 * (p.exp() * (p - q)).sum(-1)), "the sum over the vocabulary"),
        (lambda student, teacher, direction="reverse": None, "Is there a return"),
    ],
    right=[_by_torch, _by_entropies],
    hints=(
        "KL(p || q) is the expectation of log p - log q under p. Over a vocabulary, it is a sum: nothing is "
        "sampled. reverse: p is the student.",
        "log_softmax(-1) of both, the teacher's detached, [..., V]; swap them if the direction is "
        "forward; (first.exp() * (first - second)).sum(-1) is [...].",
    ),
    then=f"The colours and the training below use your function. {AGAIN}",
)
