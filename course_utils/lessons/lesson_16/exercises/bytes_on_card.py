"""Lesson 16, bytes_on_card: bytes on a card."""

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_16.scaling import bytes_on_card

BYTES_INPUTS = [
    (*parts, cards, stage)
    for *parts, cards in [
        (4e9, 4e9, 8e9, 0.5e9, 8),
        (14e9, 0.1e9, 0.2e9, 3e9, 4),
        (3_000_000_000, 500_000_000, 700_000_000, 900_000_000, 3),
        (2e9, 1e9, 5e9, 0.3e9, 1),
    ]
    for stage in range(4)
]


def _bytes_by_list(weights, gradients, moments, gathered, cards, stage):
    parts = np.array([moments, gradients, weights])
    sent = gradients if stage < 2 else gathered * (stage == 3)
    return parts[:stage].sum() / cards + parts[stage:].sum() + sent * (cards > 1)


def _bytes_by_cases(weights, gradients, moments, gathered, cards, stage):
    if cards == 1:
        return torch.tensor(weights + gradients + moments)
    return {
        0: weights + 2 * gradients + moments,
        1: weights + 2 * gradients + moments / cards,
        2: weights + (gradients + moments) / cards,
        3: (weights + gradients + moments) / cards + gathered,
    }[stage]


def _kept(weights, gradients, moments, cards, stage):
    """Without buckets and gathered weights."""
    held = moments / cards if stage >= 1 else moments
    held += gradients / cards if stage >= 2 else gradients
    return held + (weights / cards if stage >= 3 else weights)


def _with(gathered, cards, stage):
    """Gathered weights, where there are any."""
    return gathered if cards > 1 and stage == 3 else 0


BYTES_MISTAKES = [
    (
        "DDP keeps the gradients twice, once in the buckets that it sends: at stages 0 and 1, on several "
        "cards.",
        lambda w, g, m, t, n, stage: _kept(w, g, m, n, stage) + _with(t, n, stage),
    ),
    (
        "At stage 3 a card also holds what it has gathered, on several cards.",
        lambda w, g, m, t, n, stage: bytes_on_card(w, g, m, 0, n, stage),
    ),
    (
        "Weights are gathered at stage 3 alone: below it every card has them all.",
        lambda w, g, m, t, n, stage: bytes_on_card(w, g, m, 0, n, stage) + (t if n > 1 else 0),
    ),
    (
        "A single card sends nothing and gathers nothing.",
        lambda w, g, m, t, n, stage: (
            _kept(w, g, m, n, stage) + (g if stage < 2 else 0) + (t if stage == 3 else 0)
        ),
    ),
    (
        "At stages 2 and 3 no card has whole gradients: a second copy of them is not counted.",
        lambda w, g, m, t, n, stage: _kept(w, g, m, n, stage) + (g if n > 1 else 0) + _with(t, n, stage),
    ),
    (
        "At stages 2 and 3 no part of a second copy is counted: leave it out, and do not split it.",
        lambda w, g, m, t, n, stage: (
            bytes_on_card(w, g, m, t, n, stage) + (g / n if n > 1 and stage >= 2 else 0)
        ),
    ),
    (
        "At stages 2 and 3 no part of a second copy is counted: leave it out, and do not split it.",
        lambda w, g, m, t, n, stage: (
            bytes_on_card(w, g, m, t, n, stage) + (g / n if n > 1 and stage == 2 else 0)
        ),
    ),
    (
        "Buckets are as large as the gradients, not as the weights: with LoRA, only the adapter has "
        "gradients.",
        lambda w, g, m, t, n, stage: (
            _kept(w, g, m, n, stage) + (w if n > 1 and stage < 2 else 0) + _with(t, n, stage)
        ),
    ),
    (
        "What stage 3 gathers is held whole, beside the card's own part: do not subtract that part.",
        lambda w, g, m, t, n, stage: bytes_on_card(w, g, m, t * (n - 1) / n, n, stage),
    ),
    (
        "At stage 1 the gradients are still summed as a whole: there are buckets, too.",
        lambda w, g, m, t, n, stage: (
            _kept(w, g, m, n, stage) + (g if n > 1 and stage == 0 else 0) + _with(t, n, stage)
        ),
    ),
    (
        "Stage 0 splits nothing: every card holds everything, however many cards there are.",
        lambda w, g, m, t, n, stage: (w + g + m) / n + _with(t, n, stage),
    ),
    (
        "That is the total of all cards. Return the bytes on each card.",
        lambda w, g, m, t, n, stage: n * bytes_on_card(w, g, m, t, n, stage),
    ),
    (
        "At stage 1 you split the weights. The moments are split first.",
        lambda w, g, m, t, n, stage: bytes_on_card(m, g, w, t, n, stage),
    ),
    (
        "At stage 1 you split the gradients. The moments are split first.",
        lambda w, g, m, t, n, stage: (
            _kept(w, m, g, n, stage) + (g if n > 1 and stage < 2 else 0) + _with(t, n, stage)
        ),
    ),
    (
        "Each stage also splits what the previous one split: at stage 2 the moments are split, too.",
        lambda w, g, m, t, n, stage: (
            w
            + g
            + m
            - [0, m, g, w][stage] * (1 - 1 / n)
            + (g if n > 1 and stage < 2 else 0)
            + _with(t, n, stage)
        ),
    ),
    (
        "Every stage is one too late: stage 1 splits the moments.",
        lambda w, g, m, t, n, stage: bytes_on_card(w, g, m, t, n, max(stage - 1, 0)),
    ),
    (
        "At stage 3 the weights are split, too.",
        lambda w, g, m, t, n, stage: bytes_on_card(w, g, m, t, n, min(stage, 2)),
    ),
    (
        "The sizes of weights, gradients and moments are independent: with LoRA, the weights are nearly "
        "everything.",
        lambda w, g, m, t, n, stage: bytes_on_card(w, w, 2 * w, t, n, stage),
    ),
]

EXERCISE = Exercise(
    name="bytes_on_card",
    lesson="16",
    minutes=8,
    difficulty=2,
    reference=bytes_on_card,
    check=compare(
        bytes_on_card,
        BYTES_INPUTS,
        BYTES_MISTAKES,
        else_="Each part is whole on every card, or split over all cards; a card holds the sum and, with "
        "several cards, the gradients once more at stages 0 and 1, and what is gathered at stage 3.",
    ),
    wrong=[
        (lambda w, g, m, t, n, stage: w + g + m, "Each part is whole"),
        (lambda w, g, m, t, n, stage: None, "Is there a return"),
    ],
    right=[_bytes_by_list, _bytes_by_cases],
    hints=(
        "Look at each of the three parts alone: from which stage on is it split? The moments from stage "
        "1 on, the gradients from stage 2 on, the weights at stage 3. Then the buckets and what is gathered.",
        "For each part: part / cards if stage >= 1 (moments), 2 (gradients), 3 (weights), else part. "
        "If cards > 1, add the gradients once more at stage < 2, and what is gathered at stage 3.",
    ),
)
