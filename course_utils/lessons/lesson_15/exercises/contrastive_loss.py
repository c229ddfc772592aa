"""Lesson 15, contrastive_loss: the contrastive loss."""

from math import inf

import torch
import torch.nn.functional as F

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.retrieval import contrastive_loss


def _vectors(*sizes):
    return lambda: [(torch.randn(rows, width), torch.randn(rows, width)) for rows, width in sizes]


def _near_pairs(temperature):
    """Each question has a passage with a cosine near 1 in another row: the loss is far from 0."""
    questions = torch.randn(3, 4)
    return call(questions, (questions + 0.1 * torch.randn(3, 4)).roll(1, 0), temperature)


def _cosines(questions, passages):
    return F.normalize(questions, dim=-1) @ F.normalize(passages, dim=-1).T


def _by_log_softmax(questions, passages, temperature=0.05):
    q, p = (each / each.norm(dim=1, keepdim=True) for each in (questions, passages))
    return -torch.log_softmax(q @ p.T / temperature, dim=1).diagonal().mean()


def _by_a_loop(questions, passages, temperature=0.05):
    losses = []
    for row, question in enumerate(questions):
        scores = F.cosine_similarity(question[None], passages) / temperature
        losses.append(scores.logsumexp(0) - scores[row])
    return torch.stack(losses).mean()


def _against_the_others(questions, passages, temperature=0.05):
    scores = _cosines(questions, passages) / temperature
    others = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -inf)
    return (others.logsumexp(1) - scores.diagonal()).mean()


def _by_exp(questions, passages, temperature=0.05):
    weights = torch.exp(_cosines(questions, passages) / temperature)
    return -torch.log(weights.diagonal() / weights.sum(1)).mean()


CONTRASTIVE_MISTAKES = [
    (
        "You do not normalise the vectors. A long vector scores high with everything: divide each by its "
        "norm.",
        lambda q, p, temperature=0.05: F.cross_entropy(q @ p.T / temperature, torch.arange(len(q))),
    ),
    (
        "You do not use the temperature. Cosines differ by at most 2, so a softmax over them is nearly flat.",
        lambda q, p, temperature=0.05: F.cross_entropy(_cosines(q, p), torch.arange(len(q))),
    ),
    (
        "You multiply the cosines by the temperature. Divide by it.",
        lambda q, p, temperature=0.05: F.cross_entropy(_cosines(q, p) * temperature, torch.arange(len(q))),
    ),
    (
        "In your loss, each passage chooses its question. In use, a question chooses a passage: the softmax "
        "must run over the passages.",
        lambda q, p, temperature=0.05: F.cross_entropy(_cosines(p, q) / temperature, torch.arange(len(q))),
    ),
    (
        "This is the mean of both directions, as in CLIP. Use only the questions' direction.",
        lambda q, p, temperature=0.05: (
            (contrastive_loss(q, p, temperature) + contrastive_loss(p, q, temperature)) / 2
        ),
    ),
    (
        "You use only the matching pairs. Then all vectors may become equal: the other passages of the batch "
        "must be pushed away.",
        lambda q, p, temperature=0.05: -_cosines(q, p).diagonal().mean() / temperature,
    ),
    (
        "This is the sum over the questions. Return their mean.",
        lambda q, p, temperature=0.05: contrastive_loss(q, p, temperature) * len(q),
    ),
    (
        "The sign is wrong: the loss should fall as the matching passage becomes more likely.",
        lambda q, p, temperature=0.05: -contrastive_loss(q, p, temperature),
    ),
    (
        "You divide by the norm of the whole matrix. Divide each row by its own: norm(dim=1, keepdim=True).",
        lambda q, p, temperature=0.05: F.cross_entropy(
            (q / q.norm()) @ (p / p.norm()).T / temperature, torch.arange(len(q))
        ),
    ),
    (
        "You normalise the columns. Each row is a vector: dim=1.",
        lambda q, p, temperature=0.05: F.cross_entropy(
            F.normalize(q, dim=0) @ F.normalize(p, dim=0).T / temperature, torch.arange(len(q))
        ),
    ),
    ("The matching passage belongs in the denominator, too: j runs over all passages.", _against_the_others),
    (
        "cross_entropy computes the softmax itself: give it the scores.",
        lambda q, p, temperature=0.05: F.cross_entropy(
            (_cosines(q, p) / temperature).softmax(-1), torch.arange(len(q))
        ),
    ),
    (
        "The passages get no gradient: you detach them, but both sides should learn.",
        lambda q, p, temperature=0.05: contrastive_loss(q, p.detach(), temperature),
    ),
    (
        "You use a temperature of your own instead of the argument.",
        lambda q, p, temperature=0.05: contrastive_loss(q, p),
    ),
]

EXERCISE = Exercise(
    name="contrastive_loss",
    lesson="15m",
    minutes=10,
    difficulty=2,
    reference=contrastive_loss,
    check=compare(
        contrastive_loss,
        lambda: [*_vectors((3, 4), (5, 8), (2, 3))(), call(torch.randn(4, 6), torch.randn(4, 6), 0.5)],
        CONTRASTIVE_MISTAKES,
        else_="It is a cross-entropy over the batch's passages; the right class is the question's own row.",
        gradient=("questions", "passages"),
        extremes=[
            (
                "With a small temperature, exp overflows: use log_softmax or cross_entropy.",
                lambda: [_near_pairs(0.005)],
            )
        ],
    ),
    wrong=[
        (lambda questions, passages, temperature=0.05: None, "Is there a return"),
        (
            lambda questions, passages, temperature=0.05: contrastive_loss(
                questions, passages, temperature
            ).item(),
            "no graph",
        ),
        (
            lambda questions, passages, temperature=0.05: _cosines(questions, passages) / temperature,
            "should be one number",
        ),
        (_by_exp, "exp overflows"),
    ],
    right=[_by_log_softmax, _by_a_loop],
    then="The embedding below uses it.",
    hints=(
        "Each question chooses among the passages of the batch. Which loss trains a choice among several?",
        "Normalise both to length 1, scores = q @ p.T / temperature (rows x rows). The right class of "
        "row i is i: F.cross_entropy(scores, torch.arange(rows, device=scores.device)).",
    ),
)
