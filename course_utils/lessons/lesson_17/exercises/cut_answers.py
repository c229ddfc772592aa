"""Lesson 17, cut_answers: what truncation cuts."""

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.data import Example


def cut_answers(examples, limit):
    """(share of the target tokens beyond the first `limit` tokens, examples that keep no target at all)."""
    kept = [sum(label != -100 for label in example.labels[:limit]) for example in examples]
    targets = [sum(label != -100 for label in example.labels) for example in examples]
    return 1 - sum(kept) / sum(targets), sum(count == 0 for count in kept)


def _example(*parts):
    """Parts: positive numbers are prompt tokens, negative ones targets."""
    labels = [label for part in parts for label in ([-100] * part if part > 0 else [7] * -part)]
    return Example([7] * len(labels), labels)


TRUNCATED = [
    ([_example(6, -4), _example(10, -4), _example(10, -6, 2), _example(12, -5), _example(7, -2)], 12),
    ([_example(3, -9), _example(8, -1), _example(1, -2, 3, -4)], 5),
    ([Example([1, 2, 3, 4, 5], [-100, -100, 0, 0, 9]), _example(2, -7), _example(4, -3)], 4),
    ([_example(2, -3), _example(1, -1)], 8),
]


def _counts(examples, limit, counts=lambda label: label != -100):
    """Targets of each example, and targets among its first `limit` tokens."""
    labels = [example.labels for example in examples]
    return [sum(map(counts, row)) for row in labels], [sum(map(counts, row[:limit])) for row in labels]


def _cut(fault, **options):
    """A wrong cut_answers: fault(targets, kept), each one number per example."""
    return lambda examples, limit: fault(*_counts(examples, limit, **options))


def _from_the_left(examples, limit):
    return cut_answers([Example(e.input_ids, e.labels[::-1]) for e in examples], limit)


def _all_tokens(examples, limit):
    lengths = [len(example.labels) for example in examples]
    return sum(max(0, n - limit) for n in lengths) / sum(lengths), cut_answers(examples, limit)[1]


def _tokens_and_their_examples(examples, limit):
    return _all_tokens(examples, limit)[0], sum(not example.labels[:limit] for example in examples)


def _all_tokens_over_targets(examples, limit):
    cut = sum(max(0, len(example.labels) - limit) for example in examples)
    return cut / sum(_counts(examples, limit)[0]), cut_answers(examples, limit)[1]


def _cut_in_place(examples, limit):
    result = cut_answers(examples, limit)
    for example in examples:
        del example.labels[limit:]
    return result


def _cut_with_tensors(examples, limit):
    rows = [torch.tensor(example.labels) != -100 for example in examples]
    beyond = torch.stack([row[limit:].sum() for row in rows])
    targets = torch.stack([row.sum() for row in rows])
    return beyond.sum() / targets.sum(), (beyond == targets).sum()


def _cut_in_a_loop(examples, limit):
    cut = total = empty = 0
    for example in examples:
        places = [place for place, label in enumerate(example.labels) if label != -100]
        cut += sum(place >= limit for place in places)
        total += len(places)
        empty += all(place >= limit for place in places)
    return [np.float64(cut) / total, empty]


ALL_TOKENS = "You count all tokens. Only targets have loss: count the labels that are not -100."
CUT_MISTAKES = [
    (
        "This is the share that is kept. Return the share that is cut.",
        _cut(lambda targets, kept: (sum(kept) / sum(targets), kept.count(0))),
    ),
    (ALL_TOKENS, _all_tokens),
    (ALL_TOKENS, _tokens_and_their_examples),
    (ALL_TOKENS, _all_tokens_over_targets),
    (
        "This is the mean of the examples' shares. Add up the tokens first: a long answer has a larger share "
        "of the loss.",
        _cut(
            lambda targets, kept: (
                sum(1 - k / t for t, k in zip(targets, kept, strict=True)) / len(kept),
                kept.count(0),
            )
        ),
    ),
    (
        "This is the number of targets that are cut. Return the share.",
        _cut(lambda targets, kept: (sum(targets) - sum(kept), kept.count(0))),
    ),
    ("You keep the end of each sequence. Truncation keeps the start.", _from_the_left),
    (
        "You count the examples that lose a target. Count those that keep none.",
        _cut(
            lambda targets, kept: (
                1 - sum(kept) / sum(targets),
                sum(k < t for t, k in zip(targets, kept, strict=True)),
            )
        ),
    ),
    (
        "You count the examples that keep a target. Count those that keep none.",
        _cut(lambda targets, kept: (1 - sum(kept) / sum(targets), len(kept) - kept.count(0))),
    ),
    (
        "Label 0 is a target like any other. Only -100 is not a target.",
        _cut(
            lambda targets, kept: (1 - sum(kept) / sum(targets), kept.count(0)),
            counts=lambda label: label > 0,
        ),
    ),
    ("Return the share first, then the number.", lambda examples, limit: cut_answers(examples, limit)[::-1]),
    (
        "This is a percentage. Return a share from 0 to 1.",
        _cut(lambda targets, kept: (100 * (1 - sum(kept) / sum(targets)), kept.count(0))),
    ),
    (
        "You keep one token too few: the first `limit` tokens are labels[:limit].",
        lambda examples, limit: cut_answers(examples, limit - 1),
    ),
    (
        "You keep one token too many: the first `limit` tokens are labels[:limit].",
        lambda examples, limit: cut_answers(examples, limit + 1),
    ),
    (
        "The second value is a share of the examples. Return their number.",
        _cut(lambda targets, kept: (1 - sum(kept) / sum(targets), kept.count(0) / len(kept))),
    ),
]

EXERCISE = Exercise(
    name="cut_answers",
    lesson="17",
    minutes=10,
    difficulty=2,
    reference=cut_answers,
    check=compare(
        cut_answers,
        TRUNCATED,
        CUT_MISTAKES,
        else_="Count the labels that are not -100, in all and among the first `limit`.",
    ),
    wrong=[
        (_cut_in_place, "changes its argument examples in place"),
        (lambda examples, limit: cut_answers(examples, limit)[0], "should be a tuple of 2"),
        (lambda examples, limit: (cut_answers(examples, limit)[0], 0), "Count the labels"),
        (lambda examples, limit: (11 / 21, 1), "Count the labels"),
        (lambda examples, limit: cut_answers(examples, 12), "Count the labels"),
        (lambda examples, limit: None, "Is there a return"),
    ],
    right=[_cut_with_tensors, _cut_in_a_loop],
    hints=(
        "Count targets, labels that are not -100: in each whole example, and in its first `limit` tokens. "
        "The difference was cut.",
        "kept = sum(label != -100 for label in example.labels[:limit]) for each example, targets the "
        "same "
        "without the slice. The share is 1 - sum(kept) / sum(targets); the number is the count of kept == 0.",
    ),
)
