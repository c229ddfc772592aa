"""Which pairs are trained on, which choose the rate and which judge: parts that share no prompt."""

from collections.abc import Sequence
from typing import NamedTuple

from course_utils.preferences import Pair, Preferences, request

VALIDATION_PROMPTS = 32  # prompts of the training file that are kept apart
EACH = 3  # pairs of a prompt that judge: a prompt with many pairs counts no more than another


class Split(NamedTuple):
    """train: to learn from; validation: to choose by; held_out: to report on, EACH pairs of every prompt."""

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
    """The first `count` pairs of every prompt, prompt by prompt; prompts with fewer are left out."""
    by_prompt: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_prompt.setdefault(request(pair.prompt), []).append(pair)
    return [pair for part in by_prompt.values() if len(part) >= count for pair in part[:count]]
