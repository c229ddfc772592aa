"""Lesson 16, bytes_on_card: bytes on a card."""

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_16.scaling import bytes_on_card

BYTES_INPUTS = [
    (weights, gradients, moments, cards, stage)
    for weights, gradients, moments, cards in [
        (4e9, 4e9, 8e9, 8),
        (14e9, 0.1e9, 0.2e9, 4),
        (3_000_000_000, 500_000_000, 700_000_000, 3),
        (2e9, 1e9, 5e9, 1),
    ]
    for stage in range(4)
]


def _bytes_by_list(weights, gradients, moments, cards, stage):
    parts = np.array([moments, gradients, weights])
    buckets = gradients * (cards > 1 and stage < 2)
    return parts[:stage].sum() / cards + parts[stage:].sum() + buckets


def _bytes_by_cases(weights, gradients, moments, cards, stage):
    if cards == 1:
        return torch.tensor(weights + gradients + moments)
    return {
        0: weights + 2 * gradients + moments,
        1: weights + 2 * gradients + moments / cards,
        2: weights + (gradients + moments) / cards,
        3: (weights + gradients + moments) / cards,
    }[stage]


def _once(weights, gradients, moments, cards, stage):
    """Wrong: leaves out the buckets."""
    held = moments / cards if stage >= 1 else moments
    held += gradients / cards if stage >= 2 else gradients
    return held + (weights / cards if stage >= 3 else weights)


BYTES_MISTAKES = [
    (
        "DDP keeps the gradients twice, once in the buckets that it sends: at stages 0 and 1, on several "
        "cards.",
        _once,
    ),
    (
        "A single card sends nothing, and needs no buckets.",
        lambda w, g, m, n, stage: _once(w, g, m, n, stage) + (g if stage < 2 else 0),
    ),
    (
        "At stages 2 and 3 no card has whole gradients: there is no second copy of them.",
        lambda w, g, m, n, stage: _once(w, g, m, n, stage) + (g if n > 1 else 0),
    ),
    (
        "At stage 1 the gradients are still summed as a whole: there are buckets, too.",
        lambda w, g, m, n, stage: _once(w, g, m, n, stage) + (g if n > 1 and stage == 0 else 0),
    ),
    (
        "Stage 0 splits nothing: every card holds everything, however many cards there are.",
        lambda w, g, m, n, stage: (w + g + m) / n,
    ),
    (
        "That is the total of all cards. Return the bytes on each card.",
        lambda w, g, m, n, stage: n * bytes_on_card(w, g, m, n, stage),
    ),
    (
        "At stage 1 you split the weights. The moments are split first.",
        lambda w, g, m, n, stage: bytes_on_card(m, g, w, n, stage),
    ),
    (
        "At stage 1 you split the gradients. The moments are split first.",
        lambda w, g, m, n, stage: _once(w, m, g, n, stage) + (g if n > 1 and stage < 2 else 0),
    ),
    (
        "Each stage also splits what the previous one split: at stage 2 the moments are split, too.",
        lambda w, g, m, n, stage: (
            w + g + m - [0, m, g, w][stage] * (1 - 1 / n) + (g if n > 1 and stage < 2 else 0)
        ),
    ),
    (
        "Every stage is one too late: stage 1 splits the moments.",
        lambda w, g, m, n, stage: bytes_on_card(w, g, m, n, max(stage - 1, 0)),
    ),
    (
        "At stage 3 the weights are split, too.",
        lambda w, g, m, n, stage: bytes_on_card(w, g, m, n, min(stage, 2)),
    ),
    (
        "The sizes of weights, gradients and moments are independent: with LoRA, the weights are nearly "
        "everything.",
        lambda w, g, m, n, stage: bytes_on_card(w, w, 2 * w, n, stage),
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
        else_="Each part is whole on every card, or split over all cards; a card holds the sum and, at "
        "stages 0 and 1 with several cards, the gradients once more.",
    ),
    wrong=[
        (lambda w, g, m, n, stage: w + g + m, "Each part is whole"),
        (lambda w, g, m, n, stage: None, "Is there a return"),
    ],
    right=[_bytes_by_list, _bytes_by_cases],
    hints=(
        "Look at each of the three parts alone: from which stage on is it split? The moments from stage "
        "1 on, the gradients from stage 2 on, the weights at stage 3. Then the buckets.",
        "For each part: part / cards if stage >= 1 (moments), 2 (gradients), 3 (weights), else part. "
        "Add the gradients once more if cards > 1 and stage < 2.",
    ),
)
