"""Lesson 11, mean_sequence_kl: the KL of a batch."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_11.exercises.shared import nearby_log_probs
from course_utils.lessons.lesson_11.small_kl import mean_sequence_kl


def _masked(*lengths, padding=None):
    """Log-probabilities from `nearby_log_probs`, and the mask of sequences of these lengths.

    padding: value of both log-probabilities at padding; by default unchanged, as at any token.
    """
    current, reference = nearby_log_probs(len(lengths), max(lengths))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    if padding is not None:
        current, reference = (torch.where(mask, values, padding) for values in (current, reference))
    return current, reference, mask


def _mean_kl(fault):
    """A wrong mean_sequence_kl: fault(log-ratios of all positions, mask)."""
    return lambda current, reference, mask: fault(current - reference, mask)


def _mean_kl_in_place(current, reference, mask):
    current -= reference
    current[~mask] = 0
    return current.sum(-1).mean()


def _by_filling(current, reference, mask):
    return (current - reference).masked_fill(mask == 0, 0.0).sum(1).mean()


def _sequence_by_sequence(current, reference, mask):
    rows = zip(current, reference, mask.bool(), strict=True)
    sums = [(now[real] - before[real]).sum().item() for now, before, real in rows]
    return sum(sums) / len(sums)


PADDING = "You count padding: the model gives it log-probabilities like any token. Use the mask."
WITHOUT_NEGATIVES = "Single log-ratios may be negative; keep them: otherwise the mean is too high."
MEAN_KL_MISTAKES = [
    (PADDING, _mean_kl(lambda ratios, mask: ratios.sum(-1).mean())),
    (PADDING, _mean_kl(lambda ratios, mask: ratios.mean())),
    (
        "This is a mean over all positions, padding included: the same sequences in a wider batch would seem "
        "nearer to the reference. Sum over tokens, then take the mean over sequences.",
        _mean_kl(lambda ratios, mask: (ratios * mask).mean()),
    ),
    (
        "This is the KL per token, the mean over real tokens. The KL of a sequence is the sum over its "
        "tokens.",
        _mean_kl(lambda ratios, mask: (ratios * mask).sum() / mask.sum()),
    ),
    (
        "You divide each sequence by its length. The KL of a sequence is the sum over its tokens.",
        _mean_kl(lambda ratios, mask: ((ratios * mask).sum(-1) / mask.sum(-1)).mean()),
    ),
    (
        "This is the sum over the batch. Over tokens it is a sum, over sequences a mean.",
        _mean_kl(lambda ratios, mask: (ratios * mask).sum()),
    ),
    (
        "The sign is wrong: the log-ratio is log policy minus log reference.",
        _mean_kl(lambda ratios, mask: -(ratios * mask).sum(-1).mean()),
    ),
    (WITHOUT_NEGATIVES, _mean_kl(lambda ratios, mask: (ratios.abs() * mask).sum(-1).mean())),
    (WITHOUT_NEGATIVES, _mean_kl(lambda ratios, mask: (ratios.clamp(min=0) * mask).sum(-1).mean())),
    (
        "You weight the terms by their probability. The tokens were already sampled with it: each counts "
        "once.",
        lambda current, reference, mask: (current.exp() * (current - reference) * mask).sum(-1).mean(),
    ),
    (
        "Return one number for the batch: sum over tokens, then take the mean over sequences.",
        _mean_kl(lambda ratios, mask: (ratios * mask).sum(-1)),
    ),
]
NOT_A_NUMBER = (
    "If padding's log-probabilities are -inf, their difference is nan, and 0 times nan is nan. Use "
    "torch.where(mask, ..., 0.0) instead of multiplying."
)

HIDDEN_INF = (
    "A real token with reference probability 0 makes the KL infinite, and that must show. Replace only the "
    "values at padding."
)


def _never_said(*lengths):
    """Like _masked, with a real token whose reference probability is 0."""
    current, reference, mask = _masked(*lengths)
    reference[0, 1] = -torch.inf
    return current, reference, mask


EXERCISE = Exercise(
    name="mean_sequence_kl",
    lesson="11",
    minutes=6,
    difficulty=2,
    reference=mean_sequence_kl,
    check=compare(
        mean_sequence_kl,
        lambda: [_masked(4, 2, 1), _masked(3, 6, 2, 5, 1)],
        MEAN_KL_MISTAKES,
        else_="Sum the log-ratios over each sequence's real tokens, then take the mean over sequences.",
        extremes=[
            (NOT_A_NUMBER, lambda: [_masked(4, 2, 1, padding=-torch.inf)]),
            (HIDDEN_INF, lambda: [_never_said(3, 2)]),
        ],
    ),
    wrong=[
        (_mean_kl(lambda ratios, mask: (ratios * mask).sum(-1).mean()), "0 times nan"),
        (_mean_kl(lambda ratios, mask: (ratios.nan_to_num() * mask).sum(-1).mean()), "must show"),
        (_mean_kl(lambda ratios, mask: 2 * ratios[mask].sum() / len(mask)), "Sum the log-ratios"),
        (_mean_kl_in_place, "changes its argument log_probs_current in place"),
    ],
    right=[_by_filling, _sequence_by_sequence],
    hints=(
        "The log-probability of a sequence is the sum over its tokens, so the log-ratio of a sequence "
        "is the sum of theirs. Only then average, over the sequences of the batch.",
        "log-ratios [batch, tokens], 0 where the mask is; sum(-1) gives [batch]; mean() a scalar. "
        "torch.where(mask, x, 0.0) is safe if x is -inf or nan.",
    ),
)
