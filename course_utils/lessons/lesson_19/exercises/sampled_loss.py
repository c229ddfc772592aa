"""Lesson 19, sampled_loss: one number of the teacher a token."""

import torch

from course_utils.checks.compare import Mistake, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_19.exercises.shared import AGAIN
from course_utils.methods.distillation import sampled_loss


def _answers():
    def batch(rows, tokens):
        student, teacher = (-3 * torch.rand(rows, tokens) - 0.1 for _ in range(2))
        mask = torch.zeros(rows, tokens)
        mask[0, 1:3] = 1
        mask[1:, 1:] = 1
        return student * mask, teacher * mask - 0.5 * (1 - mask), mask

    toy = torch.tensor([[0.4, 0.9, 0.2, 0.98]]).log(), torch.tensor([[0.1, 0.95, 0.6, 0.98]]).log()
    return [(*toy, torch.ones(1, 4)), batch(2, 5), batch(4, 8)]


def _gradient_of(fn):
    """sampled_loss's arguments -> the gradient of fn's result with respect to student, [rows, tokens]."""

    def gradient(student, teacher, mask):
        student, teacher = student.clone().requires_grad_(), teacher.clone().requires_grad_()
        loss = fn(student, teacher, mask)
        if loss is None:
            raise Mistake("The result is None. Is there a return?")
        if not isinstance(loss, torch.Tensor) or loss.shape != ():
            raise Mistake("Return one number as a tensor, with its graph: the mean over all answer tokens.")
        if not loss.requires_grad:
            raise Mistake(
                "The result has no graph, so nothing can learn from it. The advantages are constants, "
                "student is not: detach only them."
            )
        found = torch.autograd.grad(loss, (student, teacher), allow_unused=True)
        if found[1] is not None and found[1].any():
            raise Mistake("teacher gets a gradient. The advantages are constants: detach them.")
        return torch.zeros_like(student) if found[0] is None else found[0]

    return gradient


def _mean(values, mask):
    return (values * mask).sum() / mask.sum()


def _sampled(fault):
    """A wrong sampled_loss: fault(advantages, student, mask), the advantages detached."""
    return lambda student, teacher, mask: fault((teacher - student).detach(), student, mask)


def _returns(advantages, student, mask):
    later = (advantages * mask).flip(1).cumsum(1).flip(1)
    return -_mean(later * student, mask)


SAMPLED_MISTAKES = [
    (
        "The sign is wrong: your loss makes the tokens less likely that the teacher finds likelier.",
        _sampled(lambda a, s, m: _mean(a * s, m)),
    ),
    (
        "You differentiate the mean log-ratio itself. Its gradient is 0 on average over samples, because the "
        "sampling is left out. The log-ratio is a constant here, the advantage of log p(token).",
        lambda student, teacher, mask: _mean(student - teacher.detach(), mask),
    ),
    (
        "The advantage is not detached: the gradient passes through it, too.",
        lambda student, teacher, mask: -_mean((teacher.detach() - student) * student, mask),
    ),
    (
        "The student learns the sampled tokens alike, without the teacher: multiply by the advantage.",
        _sampled(lambda a, s, m: -_mean(s, m)),
    ),
    (
        "Only the sign of the log-ratio counts in your loss. Take its value.",
        _sampled(lambda a, s, m: -_mean(a.sign() * s, m)),
    ),
    (
        "You give each token the sum of its own and all later log-ratios. Here a token has only its own.",
        _sampled(_returns),
    ),
    (
        "Each token has the sum of its answer's log-ratios, as with one reward an answer. Here a token has "
        "its own.",
        _sampled(lambda a, s, m: -_mean((a * m).sum(1, keepdim=True) * s, m)),
    ),
    ("The mask has no effect: only the answers' tokens count.", _sampled(lambda a, s, m: -(a * s).mean())),
    (
        "You divide by all places. Divide by the number of answer tokens, mask.sum().",
        _sampled(lambda a, s, m: -(a * s * m).mean()),
    ),
    (
        "You divide by the answers' tokens, but sum over all places: multiply by the mask before you sum.",
        _sampled(lambda a, s, m: -(a * s).sum() / m.sum()),
    ),
    (
        "This pushes the probability, not its logarithm: multiply the advantage with `student` itself.",
        _sampled(lambda a, s, m: -_mean(a * s.exp(), m)),
    ),
    (
        "The advantage is the log-ratio log q - log p, not the ratio q / p.",
        _sampled(lambda a, s, m: -_mean(a.exp() * s, m)),
    ),
    (
        "You subtract a baseline. On average that changes nothing (lesson 12), but here the advantage is the "
        "log-ratio alone.",
        _sampled(lambda a, s, m: -_mean((a - _mean(a, m)) * s, m)),
    ),
    ("This is the sum over the tokens. Take the mean.", _sampled(lambda a, s, m: -(a * s * m).sum())),
    (
        "You average each answer by itself, so a token of a short one counts more. Take one mean over all "
        "tokens.",
        _sampled(lambda a, s, m: -((a * s * m).sum(1) / m.sum(1)).mean()),
    ),
]
_compared = compare(
    _gradient_of(sampled_loss),
    _answers,
    [(message, _gradient_of(wrong)) for message, wrong in SAMPLED_MISTAKES],
    else_="Compared is the gradient with respect to student: at an answer token it is minus its log-ratio "
    "over the number of answer tokens.",
)


def _check_sampled_loss(fn):
    _compared(_gradient_of(fn))


_check_sampled_loss.mistakes = SAMPLED_MISTAKES


def _half_square(student, teacher, mask):
    """Right: half the squared log-ratio has the same gradient."""
    return 0.5 * _mean((student - teacher.detach()) ** 2, mask)


def _by_ratio(student, teacher, mask):
    """Right: the ratio to the policy that sampled is 1, and has the gradient of log p."""
    ratio = (student - student.detach()).exp()
    return -(ratio * (teacher - student).detach())[mask == 1].mean()


def _row_by_row(student, teacher, mask):
    total = 0.0
    for ours, theirs, counts in zip(student, teacher.tolist(), mask.bool().tolist(), strict=True):
        for one, other, counted in zip(ours, theirs, counts, strict=True):
            total = total - (other - one.item()) * one if counted else total
    return total / sum(map(sum, mask.tolist()))


EXERCISE = Exercise(
    name="sampled_loss",
    lesson="19",
    minutes=10,
    difficulty=2,
    reference=sampled_loss,
    check=_check_sampled_loss,
    wrong=[
        (lambda student, teacher, mask: None, "Is there a return"),
        (lambda student, teacher, mask: -((teacher - student).detach() * student * mask), "one number"),
        (lambda student, teacher, mask: _mean(student - teacher, mask), "teacher gets a gradient"),
        (lambda student, teacher, mask: -_mean((teacher - student) * student.detach(), mask), "teacher gets"),
        (lambda student, teacher, mask: _mean(student.detach() - teacher.detach(), mask), "no graph"),
        (lambda student, teacher, mask: -3 * sampled_loss(student, teacher, mask), "Compared is"),
    ],
    right=[_half_square, _by_ratio, _row_by_row],
    hints=(
        "REINFORCE, with a reward for each token: minus the mean of advantage times log p(token). The "
        "advantage of a token is log q - log p, and it is a constant.",
        "advantages = (teacher - student).detach(), [rows, tokens]; multiply with student and mask, sum, "
        "divide by mask.sum(), and turn the sign.",
    ),
    then=f"The training below calls your function in every step. {AGAIN}",
)
