"""Lesson 09, loss_share: shares of the weight in the loss."""

from collections import Counter

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.data import Example
from course_utils.lessons.lesson_09.mixture import loss_share


def _example(prompt, answer):
    """An example with these numbers of tokens; token 0 is among its targets."""
    ids = [(7 * i + prompt) % 5 for i in range(prompt + answer - 1)] + [0]
    return Example(ids, [-100] * prompt + ids[prompt:])


def _mixtures():
    facts = [_example(6, 1), _example(2, 12), _example(8, 2), _example(5, 1)]
    others = [_example(3, 4), _example(9, 5), _example(4, 10), _example(1, 2), _example(2, 3)]
    kinds = ["facts", "stories", "facts", "facts"]
    mixed = ["tasks", "tasks", "refusals", "chat", "refusals"]
    return [
        (facts, kinds),
        (others, mixed),
        (facts, kinds, [0, 1, 1, 0]),
        (others, mixed, [2, 0, 0, 1, 2]),
        (facts, kinds, [3, 1, 1, 3]),
    ]


def _share(count):
    """A wrong loss_share: it sums count(example) by kind, within the steps."""

    def wrong(examples, kinds, steps=None):
        steps = [0] * len(examples) if steps is None else steps
        totals = Counter()
        for example, step in zip(examples, steps, strict=True):
            totals[step] += count(example)
        shares = dict.fromkeys(kinds, 0.0)
        for example, kind, step in zip(examples, kinds, steps, strict=True):
            shares[kind] += count(example) / totals[step] / len(totals)
        return shares

    return wrong


def _targets(example):
    return sum(label != -100 for label in example.labels)


def _scaled(factor):
    """A wrong loss_share: the right one times factor(examples, steps)."""

    def wrong(examples, kinds, steps=None):
        shares = loss_share(examples, kinds, steps)
        return {kind: factor(examples, steps) * share for kind, share in shares.items()}

    return wrong


def _tokens_of(examples):
    return sum(map(_targets, examples))


def _mean_share(examples, kinds, steps=None):
    means = {}
    for kind in kinds:
        counts = [_targets(e) for e, k in zip(examples, kinds, strict=True) if k == kind]
        means[kind] = sum(counts) / len(counts)
    return {kind: value / sum(means.values()) for kind, value in means.items()}


def _last_share(examples, kinds, steps=None):
    counts = {kind: _targets(example) for example, kind in zip(examples, kinds, strict=True)}
    return {kind: value / sum(counts.values()) for kind, value in counts.items()}


def _by_conversations_of_a_step(examples, kinds, steps=None):
    if steps is None:
        return loss_share(examples, kinds)
    return _share(lambda example: 1)(examples, kinds, steps)


def _over_highest(plus):
    """A wrong loss_share: it divides by the highest step (plus 0 or 1), not by the number of steps."""

    def wrong(examples, kinds, steps=None):
        steps = [0] * len(examples) if steps is None else steps
        totals, shares = Counter(), dict.fromkeys(kinds, 0.0)
        for example, step in zip(examples, steps, strict=True):
            totals[step] += _targets(example)
        for example, kind, step in zip(examples, kinds, steps, strict=True):
            shares[kind] += _targets(example) / totals[step] / (max(steps) + plus)
        return shares

    return wrong


def _by_counter(examples, kinds, steps=None):
    counts = Counter()
    steps = list(range(1)) * len(examples) if steps is None else steps
    sizes = Counter()
    for example, step in zip(examples, steps, strict=True):
        sizes[step] += len(example.labels) - example.labels.count(-100)
    for example, kind, step in zip(examples, kinds, steps, strict=True):
        counts[kind] += (len(example.labels) - example.labels.count(-100)) / sizes[step]
    return {kind: np.float32(count / counts.total()) for kind, count in counts.items()}


def _by_tensors(examples, kinds, steps=None):
    targets = torch.tensor([(torch.tensor(example.labels) != -100).sum() for example in examples]).float()
    steps = torch.zeros(len(examples)) if steps is None else torch.tensor(steps)
    for step in steps.unique():
        targets[steps == step] /= targets[steps == step].sum()
    shares = targets / targets.sum()
    return {kind: shares[[k == kind for k in kinds]].sum() for kind in set(kinds)}


SHARE_MISTAKES = [
    ("You count conversations. The loss is a sum over tokens: count those.", _share(lambda example: 1)),
    (
        "You count conversations. The loss is a sum over tokens: count those.",
        lambda examples, kinds, steps=None: {kind: kinds.count(kind) / len(kinds) for kind in kinds},
    ),
    ("You divide by the highest step plus one. Divide by the number of different steps.", _over_highest(1)),
    ("You divide by the highest step. Divide by the number of different steps.", _over_highest(0)),
    (
        "You divide by the highest step. Divide by the number of different steps.",
        _scaled(lambda examples, steps: len(set(steps)) / max(steps) if steps else 1),
    ),
    (
        "You count all tokens. The questions have no loss: count the labels that are not -100.",
        _share(lambda example: len(example.input_ids)),
    ),
    (
        "You do not count token 0. Only the label -100 marks what has no loss.",
        _share(lambda example: sum(label > 0 for label in example.labels)),
    ),
    (
        "You do not use the steps. Each step divides by its own target tokens, and all steps count equally.",
        lambda examples, kinds, steps=None: loss_share(examples, kinds),
    ),
    ("Within a step you count conversations. Count target tokens there, too.", _by_conversations_of_a_step),
    (
        "The shares add up to the number of steps. Divide by it.",
        _scaled(lambda examples, steps: len(set(steps or [0]))),
    ),
    (
        "These are numbers of tokens. Divide by the number of all target tokens.",
        _scaled(lambda examples, steps: _tokens_of(examples)),
    ),
    ("These are percentages. Return shares, which add up to 1.", _scaled(lambda examples, steps: 100)),
    (
        "You divide by the number of all tokens. Divide by the number of all target tokens.",
        _scaled(
            lambda examples, steps: _tokens_of(examples) / sum(len(example.labels) for example in examples)
        ),
    ),
    (
        "You take the mean of a kind's examples. Take the sum: a kind with many short answers weighs as much "
        "as all of them together.",
        _mean_share,
    ),
    ("An example replaces the earlier ones of its kind. Add it to them.", _last_share),
]

EXERCISE = Exercise(
    name="loss_share",
    lesson="09",
    minutes=8,
    difficulty=2,
    reference=loss_share,
    check=compare(
        loss_share,
        _mixtures,
        SHARE_MISTAKES,
        else_="A kind's share is that of its target tokens in each step, averaged over the steps.",
    ),
    wrong=[
        (lambda e, k, steps=None: list(loss_share(e, k, steps).values()), "should be a dictionary"),
        (lambda e, k, steps=None: dict.fromkeys(k, 0.25), "A kind's share is"),
        (lambda e, k, steps=None: {"facts": 0.25, "stories": 0.75}, "should have the keys"),
        (lambda e, k, steps=None: None, "Is there a return"),
    ],
    right=[_by_counter, _by_tensors],
    hints=(
        "Every target token adds one term to the loss of its step, and the step divides by the number of "
        "its target tokens. So within a step a kind has a share, and these are averaged over the steps.",
        "Count the labels that are not -100 in each example. Sum them by step. Then add to a kind, for "
        "each of its examples, count / (the sum of its step) / (the number of steps).",
    ),
    then="The figure of the shares below uses it.",
)
