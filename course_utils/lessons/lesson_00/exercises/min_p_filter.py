"""Lesson 00, min_p_filter: min-p (optional)."""

import math

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_00.exercises.shared import STILL_DRAWN, ZERO_IS_A_LOGIT


def min_p_filter(logits, min_p):
    """Tokens less probable than min_p times the most probable one get -inf. logits [B, V] -> [B, V].

    Nguyen et al., 2024, "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs".
    """
    probabilities = logits.softmax(dim=-1)
    threshold = min_p * probabilities.max(dim=-1, keepdim=True).values
    return logits.masked_fill(probabilities < threshold, float("-inf"))


def _min_p_batches():
    """Probabilities far from the thresholds, in unsorted columns; logits above and below 0."""
    few = torch.tensor([[0.4, 0.29, 0.2, 0.11], [0.9, 0.06, 0.02, 0.02]])
    more = [[0.5, 0.28, 0.12, 0.06, 0.04], [0.22, 0.21, 0.2, 0.19, 0.18], [0.96, 0.01, 0.01, 0.01, 0.01]]
    one = torch.tensor([[0.6, 0.25, 0.1, 0.05]])  # over a batch of one, no value is below the largest
    batches = ((few, 1, 0.3), (torch.tensor(more), -7, 0.1), (one, 0, 0.2))
    return [(_turned(rows).log() + shift, min_p) for rows, shift, min_p in batches]


def _turned(rows):
    """Each row rotated by a different number of places, so that the largest is not first."""
    by = 1 + torch.randperm(rows.shape[1] - 1)
    return torch.stack([row.roll(int(places)) for row, places in zip(rows, by, strict=False)])


def _filtered(fault):
    """A wrong min_p_filter: fault(probabilities, min_p) is the mask of removed tokens."""
    return lambda logits, min_p: logits.masked_fill(fault(logits.softmax(-1), min_p), -torch.inf)


def _filled(value):
    """A wrong min_p_filter: `value` for the removed tokens."""
    return lambda logits, min_p: min_p_filter(logits, min_p).masked_fill(
        min_p_filter(logits, min_p).isneginf(), value
    )


def _below_or_equal(p, min_p):
    return p <= min_p * p.amax(-1, keepdim=True)


def _filter_in_place(logits, min_p):
    return logits.masked_fill_(min_p_filter(logits, min_p).isneginf(), -torch.inf)


def _by_logits(logits, min_p):
    return torch.where(logits < logits.amax(-1, keepdim=True) + math.log(min_p), -torch.inf, logits)


def _row_by_row(logits, min_p):
    rows = logits.clone()
    for row, p in zip(rows, logits.softmax(-1), strict=True):
        row[p < min_p * p.max()] = -torch.inf
    return rows


OVER_THE_BATCH = (
    "Your softmax or maximum runs over the batch. Both must run over the vocabulary: softmax(-1), amax(-1, "
    "keepdim=True)."
)
MIN_P_MISTAKES = [
    (ZERO_IS_A_LOGIT, _filled(0.0)),
    (STILL_DRAWN, _filled(-1e9)),
    (STILL_DRAWN, _filled(torch.finfo(torch.float32).min)),
    (STILL_DRAWN, _filled(-1e4)),
    ("No token was removed. Removed tokens need the logit -inf.", lambda logits, min_p: logits.clone()),
    (
        "You kept tokens above min_p itself. The threshold is min_p times the largest "
        "probability of the row: 0.3 * 0.4, if min_p is 0.3 and the largest 0.4.",
        _filtered(lambda p, min_p: p < min_p),
    ),
    (
        "The threshold of one row comes from another. Take the maximum over the vocabulary "
        "only (dim=-1, keepdim=True).",
        _filtered(lambda p, min_p: p < min_p * p.max()),
    ),
    (OVER_THE_BATCH, _filtered(lambda p, min_p: p < min_p * p.amax(0))),
    (
        "You subtract min_p from the largest probability. Multiply them.",
        _filtered(lambda p, min_p: p < p.amax(-1, keepdim=True) - min_p),
    ),
    (
        "You compare logits. min-p is about probabilities: softmax first.",
        lambda logits, min_p: logits.masked_fill(logits < min_p * logits.amax(-1, keepdim=True), -torch.inf),
    ),
    (
        OVER_THE_BATCH,
        lambda logits, min_p: logits.masked_fill(
            logits.softmax(0) < min_p * logits.softmax(0).amax(-1, keepdim=True), -torch.inf
        ),
    ),
    (
        "The comparison is reversed: you removed the probable tokens.",
        _filtered(lambda p, min_p: p >= min_p * p.amax(-1, keepdim=True)),
    ),
    ("min_p is an argument: use it instead of 0.1.", lambda logits, min_p: min_p_filter(logits, 0.1)),
    (
        "The remaining logits should not change. Are these probabilities?",
        lambda logits, min_p: min_p_filter(logits, min_p).softmax(-1),
    ),
    (
        "The remaining logits should not change. Are these probabilities?",
        lambda logits, min_p: min_p_filter(logits, min_p).exp(),
    ),
    (
        "The remaining logits should not change, and removed ones become -inf. Are these probabilities?",
        lambda logits, min_p: logits.softmax(-1).masked_fill(min_p_filter(logits, min_p).isneginf(), 0),
    ),
    (
        "The remaining logits should not change. These are log-probabilities: return the logits themselves.",
        lambda logits, min_p: min_p_filter(logits, min_p).log_softmax(-1),
    ),
]

EXERCISE = Exercise(
    name="min_p_filter",
    lesson="00m",
    minutes=10,
    difficulty=2,
    reference=min_p_filter,
    check=compare(
        min_p_filter,
        _min_p_batches,
        MIN_P_MISTAKES,
        else_="Tokens below min_p times the largest probability of their row get -inf, the others stay.",
        extremes=[
            (
                "With min_p = 1 the most probable token must stay: remove a token if its probability is less "
                "than the threshold (<), not if it equals it (<=).",
                [(torch.tensor([[0.5, 2.0, -1.0], [-3.0, -1.0, -1.0]]), 1.0)],
            )
        ],
    ),
    wrong=[
        (_filtered(_below_or_equal), "must stay"),
        (_filter_in_place, "changes its argument logits in place"),
        (_filled(-1e8), "get -inf, the others stay"),
        (lambda logits, min_p: logits[logits.softmax(-1) > min_p], "should have the shape [2, 4]"),
        (lambda logits, min_p: None, "Is there a return?"),
    ],
    right=[_by_logits, _row_by_row],
    hints=(
        "How many tokens are plausible depends on how sure the model is. Compare every probability with the "
        "largest of its row: if that is 0.5 and min_p is 0.2, tokens below 0.1 are removed.",
        "probabilities [B, V] by softmax; their maximum over the vocabulary with keepdim=True is "
        "[B, 1], so that the comparison broadcasts; masked_fill puts -inf where it is true.",
    ),
)
