"""The pairs for training, for choosing the rate and for evaluation: parts that share no prompt."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from course_utils.preferences import Pair, Preferences, request

VALIDATION_PROMPTS = 32  # prompts of the training file that are kept for validation
EACH = 3  # pairs per prompt for evaluation: a prompt with many pairs counts no more than another


class Split(NamedTuple):
    """train: for training; validation: for choices; held_out: for the report, EACH pairs of every prompt."""

    train: list[Pair]
    validation: list[Pair]
    held_out: list[Pair]


def split_pairs(preferences: Preferences) -> Split:
    """The pairs of lesson 10 for DPO. Validation pairs are those of the last prompts of the training file."""
    asked = list(dict.fromkeys(request(pair.prompt) for pair in preferences.train))
    kept = set(asked[-VALIDATION_PROMPTS:])
    train = [pair for pair in preferences.train if request(pair.prompt) not in kept]
    validation = [pair for pair in preferences.train if request(pair.prompt) in kept]
    return Split(train, of_each_prompt(validation, EACH), of_each_prompt(preferences.held_out, EACH))


def of_each_prompt(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The first `count` pairs of every prompt, prompt by prompt, without prompts that have fewer."""
    by_prompt: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_prompt.setdefault(request(pair.prompt), []).append(pair)
    return [pair for part in by_prompt.values() if len(part) >= count for pair in part[:count]]


def over_prompts(values: torch.Tensor, pairs: Sequence[Pair]) -> tuple[float, float, float]:
    """(mean, low, high) of values [pairs]: the 95% interval where pairs of one prompt are not independent.

    The residuals of a prompt's pairs are added up before they are squared.
    """
    mean, sums = values.mean().item(), dict.fromkeys((request(pair.prompt) for pair in pairs), 0.0)
    for value, pair in zip(values.tolist(), pairs, strict=True):
        sums[request(pair.prompt)] += value - mean
    room = 1.96 * sum(each**2 for each in sums.values()) ** 0.5 / len(pairs)
    return mean, mean - room, mean + room
