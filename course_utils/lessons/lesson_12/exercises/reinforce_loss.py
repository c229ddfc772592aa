"""Lesson 12, reinforce_loss: REINFORCE."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_12.exercises.shared import mask_of_answers
from course_utils.methods.reinforce import reinforce_loss


def _answered(rows, tokens):
    return -4 * torch.rand(rows, tokens), 3 * torch.randn(rows) + 2, mask_of_answers(rows, tokens)


def _reinforce(fault):
    """A wrong reinforce_loss: fault(log-probability of each answer, returns minus their mean)."""

    def wrong(log_probs, returns, mask):
        returns = returns.detach()
        return fault((log_probs * mask).sum(1), returns - returns.mean())

    return wrong


def _reinforce_in_place(log_probs, returns, mask):
    returns -= returns.mean()
    return reinforce_loss(log_probs, returns, mask)


def _answer_by_answer(log_probs, returns, mask):
    baseline, total = returns.mean().item(), 0.0
    for row, kept in enumerate(mask.bool()):
        total = total - (returns[row].item() - baseline) * log_probs[row, kept].sum()
    return total / len(returns)


ZERO = (
    "The loss is 0 whatever the answers are. That happens where every return is taken with every answer, "
    "[rows] times [rows, 1]: the returns minus their mean add up to 0."
)
REINFORCE_MISTAKES = [
    (
        "The sign is turned: the optimiser goes down, so the loss is minus the advantage times the "
        "log-probability.",
        _reinforce(lambda log_prob, advantages: (advantages * log_prob).mean()),
    ),
    (
        "The baseline is missing: take the mean return of the batch from every return.",
        lambda log_probs, returns, mask: -(returns.detach() * (log_probs * mask).sum(1)).mean(),
    ),
    (
        "Prompt and padding are counted: the policy did not choose them. Multiply by the mask.",
        lambda log_probs, returns, mask: reinforce_loss(log_probs, returns, torch.ones_like(mask)),
    ),
    (
        "The mean over an answer's tokens is not its log-probability: that is their sum.",
        lambda log_probs, returns, mask: reinforce_loss(log_probs / mask.sum(1, keepdim=True), returns, mask),
    ),
    (
        "All tokens of the batch share one mean here, so a long answer counts more than a short one. Sum "
        "over the tokens of each answer, and take the mean over the answers.",
        lambda log_probs, returns, mask: reinforce_loss(log_probs, returns, mask) * len(returns) / mask.sum(),
    ),
    (
        "This is the sum over the answers. Take the mean.",
        _reinforce(lambda log_prob, advantages: -(advantages * log_prob).sum()),
    ),
    (
        "This is n / (n - 1) times too large: the baseline leaves the answer out, or the sum is divided "
        "by n - 1. Here the baseline is the mean of all returns, and the mean is over all answers.",
        _reinforce(lambda log_prob, advantages: -(advantages * log_prob).sum() / (len(log_prob) - 1)),
    ),
    (
        "This weighs with the probability of the answer. The samples weigh already: likely answers come "
        "often. Take the logarithm.",
        _reinforce(lambda log_prob, advantages: -(advantages * log_prob.exp()).mean()),
    ),
    (
        "The returns are divided by their spread. Here the advantage is the plain difference from the mean.",
        _reinforce(lambda log_prob, advantages: -(advantages / advantages.std() * log_prob).mean()),
    ),
    (ZERO, _reinforce(lambda log_prob, advantages: -(advantages * log_prob[:, None]).mean())),
    (ZERO, _reinforce(lambda log_prob, advantages: 0 * log_prob.sum())),
    (
        "A gradient passes into the returns. They are numbers that somebody gave: returns.detach().",
        lambda log_probs, returns, mask: -((returns - returns.mean()) * (log_probs * mask).sum(1)).mean(),
    ),
    (
        "Return one number for the batch, not one for each answer.",
        _reinforce(lambda log_prob, advantages: -advantages * log_prob),
    ),
]

EXERCISE = Exercise(
    name="reinforce_loss",
    lesson="12",
    minutes=10,
    difficulty=2,
    reference=reinforce_loss,
    check=compare(
        reinforce_loss,
        lambda: [_answered(4, 6), _answered(5, 9)],
        REINFORCE_MISTAKES,
        else_="The loss is minus the mean over the answers of (return - mean return) * (sum of the "
        "answer's log-probabilities).",
        gradient=("log_probs", "returns"),
    ),
    wrong=[
        (_reinforce_in_place, "changes its argument returns in place"),
        (lambda log_probs, returns, mask: reinforce_loss(log_probs.detach(), returns, mask), "no gradient"),
        (_reinforce(lambda log_prob, a: -2 * (a * log_prob).mean()), "minus the mean over the answers"),
        (lambda log_probs, returns, mask: None, "Is there a return"),
    ],
    right=[
        _answer_by_answer,
        lambda log_probs, returns, mask: (
            -((returns - returns.mean()).detach()[:, None] * log_probs * mask).sum() / len(returns)
        ),
    ],
    hints=(
        "An answer that got more than the others should become likelier, and one that got less should "
        "become rarer. By how much: its return minus the mean return of the batch.",
        "(log_probs * mask).sum(1) is the log-probability of each answer, [rows]. Multiply by "
        "(returns - returns.mean()).detach(), [rows]; the loss is minus the mean.",
    ),
    then="The ten iterations below run on yours.",
)
