"""Exercises of lesson 09: what the loss is spent on, paired errors, answering or refusing, a full context."""

from __future__ import annotations

import random
import statistics
from collections import Counter, deque

import numpy as np
import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise, Mistake
from course_utils.data import Example
from course_utils.methods.chat import fit_context


def loss_share(examples, kinds):
    """{kind: share of all target tokens}; one kind for each example, labels -100 where there is no loss."""
    targets = {}
    for example, kind in zip(examples, kinds, strict=True):
        count = sum(label != -100 for label in example.labels)
        targets[kind] = targets.get(kind, 0) + count
    total = sum(targets.values())
    return {kind: count / total for kind, count in targets.items()}


def _example(prompt, answer):
    """An example of so many tokens; token 0 is among its targets."""
    ids = [(7 * i + prompt) % 5 for i in range(prompt + answer - 1)] + [0]
    return Example(ids, [-100] * prompt + ids[prompt:])


def _mixtures():
    facts = [_example(6, 1), _example(2, 12), _example(8, 2), _example(5, 1)]
    others = [_example(3, 4), _example(9, 5), _example(4, 10), _example(1, 2), _example(2, 3)]
    return [
        (facts, ["facts", "stories", "facts", "facts"]),
        (others, ["tasks", "tasks", "refusals", "chat", "refusals"]),
    ]


def _share(count):
    """A wrong loss_share: count(example) for each, summed by kind and divided by the sum."""

    def wrong(examples, kinds):
        sums = {
            kind: sum(count(e) for e, k in zip(examples, kinds, strict=True) if k == kind) for kind in kinds
        }
        return {kind: value / sum(sums.values()) for kind, value in sums.items()}

    return wrong


def _targets(example):
    return sum(label != -100 for label in example.labels)


def _numbers(examples, kinds):
    total = sum(map(_targets, examples))
    return {kind: total * share for kind, share in loss_share(examples, kinds).items()}


def _of_all_tokens(examples, kinds):
    factor = sum(map(_targets, examples)) / sum(len(example.labels) for example in examples)
    return {kind: factor * share for kind, share in loss_share(examples, kinds).items()}


def _mean_share(examples, kinds):
    means = {}
    for kind in kinds:
        counts = [_targets(e) for e, k in zip(examples, kinds, strict=True) if k == kind]
        means[kind] = sum(counts) / len(counts)
    return {kind: value / sum(means.values()) for kind, value in means.items()}


def _last_share(examples, kinds):
    counts = {kind: _targets(example) for example, kind in zip(examples, kinds, strict=True)}
    return {kind: value / sum(counts.values()) for kind, value in counts.items()}


def _by_counter(examples, kinds):
    counts = Counter()
    for example, kind in zip(examples, kinds, strict=True):
        counts[kind] += len(example.labels) - example.labels.count(-100)
    return {kind: np.float32(count / counts.total()) for kind, count in counts.items()}


def _by_tensors(examples, kinds):
    targets = torch.tensor([(torch.tensor(example.labels) != -100).sum() for example in examples])
    shares = targets.float() / targets.sum()
    return {kind: shares[[k == kind for k in kinds]].sum() for kind in set(kinds)}


SHARE_MISTAKES = [
    ("You count conversations. The loss is a sum over tokens: count those.", _share(lambda example: 1)),
    (
        "You count all tokens. The questions have no loss: count the labels that are not -100.",
        _share(lambda example: len(example.input_ids)),
    ),
    (
        "Token 0 does not count here. Only the label -100 marks what has no loss.",
        _share(lambda example: sum(label > 0 for label in example.labels)),
    ),
    ("These are numbers of tokens. Divide by the number of all target tokens.", _numbers),
    (
        "These are per cent. Return shares, which add up to 1.",
        lambda e, k: {kind: 100 * x for kind, x in loss_share(e, k).items()},
    ),
    ("You divide by the number of all tokens. Divide by that of all target tokens.", _of_all_tokens),
    (
        "You take the mean of a kind's examples. What counts is the sum: a kind with many short answers "
        "weighs as much as all of them together.",
        _mean_share,
    ),
    ("An example replaces the earlier ones of its kind. Add to what is there.", _last_share),
]


def paired_difference(before, after):
    """(accuracy after less accuracy before, its standard error) for the same questions: lists of bools."""
    differences = [int(b) - int(a) for a, b in zip(before, after, strict=True)]
    n = len(differences)
    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    return mean, (variance / n) ** 0.5


def _outcomes(both, gained, lost, neither):
    """Answers of two models to the same questions, in any order; many, so that n - 1 or n does not matter."""
    pairs = [(1, 1)] * both + [(0, 1)] * gained + [(1, 0)] * lost + [(0, 0)] * neither
    random.shuffle(pairs)
    return [bool(a) for a, _ in pairs], [bool(b) for _, b in pairs]


def _error(fault):
    """A wrong paired_difference: fault(difference, variance of the differences, p before, p after, n)."""

    def wrong(before, after):
        mean, error = paired_difference(before, after)
        n = len(before)
        return fault(mean, error**2 * n, sum(before) / n, sum(after) / n, n)

    return wrong


def _by_numpy(before, after):
    differences = np.array(after, dtype=np.float32) - np.array(before, dtype=np.float32)
    return [differences.mean(), differences.std() / np.sqrt(np.float32(len(differences)))]


def _by_torch(before, after):
    differences = torch.tensor(after).float() - torch.tensor(before).float()
    return differences.mean(), differences.std() / len(differences) ** 0.5


def _by_statistics(before, after):
    differences = [b - a for a, b in zip(before, after, strict=True)]
    return statistics.mean(differences), statistics.stdev(differences) / len(before) ** 0.5


ONE_ACCURACY = "This is the error of one of the two accuracies, not of their difference."
PAIRED_MISTAKES = [
    (
        "This is the error of two independent samples. The questions are the same: take the difference of "
        "every question first, then the error of those.",
        _error(lambda d, v, p, q, n: (d, ((p * (1 - p) + q * (1 - q)) / n) ** 0.5)),
    ),
    (
        "This is the standard deviation of a single difference. That of their mean is smaller by the root of "
        "their number.",
        _error(lambda d, v, p, q, n: (d, v**0.5)),
    ),
    (
        "This is the variance of the mean. The standard error is its root.",
        _error(lambda d, v, p, q, n: (d, v / n)),
    ),
    (ONE_ACCURACY, _error(lambda d, v, p, q, n: (d, (p * (1 - p) / n) ** 0.5))),
    (ONE_ACCURACY, _error(lambda d, v, p, q, n: (d, (q * (1 - q) / n) ** 0.5))),
    (
        "The difference is taken for a share: d * (1 - d) is not the variance of numbers -1, 0 and 1.",
        _error(lambda d, v, p, q, n: (d, (abs(d) * (1 - abs(d)) / n) ** 0.5)),
    ),
    (
        "The sign is the other way round: after less before.",
        _error(lambda d, v, p, q, n: (-d, (v / n) ** 0.5)),
    ),
    (
        "The sign is lost: where the accuracy falls, the difference is negative.",
        _error(lambda d, v, p, q, n: (abs(d), (v / n) ** 0.5)),
    ),
    (
        "This is a number of questions. Divide by how many there are.",
        _error(lambda d, v, p, q, n: (d * n, (v / n) ** 0.5)),
    ),
    (
        "This is a share of the questions that changed: losses count too, as -1.",
        lambda before, after: (
            sum(a != b for a, b in zip(before, after, strict=True)) / len(before),
            paired_difference(before, after)[1],
        ),
    ),
    (
        "The error comes first here. Return the difference, then its standard error.",
        lambda before, after: paired_difference(before, after)[::-1],
    ),
    (
        "Return two numbers: the difference and its standard error.",
        lambda before, after: paired_difference(before, after)[0],
    ),
]


def selective_accuracy(right, refused):
    """(share of questions answered, accuracy of those answers); nan for the second if all were refused."""
    answered = [r for r, no in zip(right, refused, strict=True) if not no]
    accuracy = sum(answered) / len(answered) if answered else float("nan")
    return len(answered) / len(refused), accuracy


def _asked(right, wrong, refused_right, refused_wrong):
    """Outcomes in any order; a refusal counts as right where the question was to be refused."""
    rows = [(True, False)] * right + [(False, False)] * wrong
    rows += [(True, True)] * refused_right + [(False, True)] * refused_wrong
    random.shuffle(rows)
    return [a for a, _ in rows], [b for _, b in rows]


def _check_selective_accuracy(fn):
    SELECTIVE(fn)
    try:
        coverage = float(fn([False, True, False], [True, True, True])[0])
    except ZeroDivisionError:
        raise Mistake(
            "Your function divides by zero where everything is refused: the share answered is 0 there, and "
            "nothing is known about the answers (float('nan') says so)."
        ) from None
    if coverage != 0:
        raise Mistake(f"Where everything is refused the share answered is 0, not {coverage:g}.")


def _selective(fault):
    """A wrong selective_accuracy: fault(right answers, answers, right in all, questions)."""

    def wrong(right, refused):
        answered = [r for r, no in zip(right, refused, strict=True) if not no]
        return fault(sum(answered), len(answered), sum(right), len(right))

    return wrong


def _selective_by_torch(right, refused):
    right, answered = torch.tensor(right), ~torch.tensor(refused)
    return answered.float().mean(), right[answered].float().mean()


def _zero_if_none(right, refused):
    answers = len(refused) - sum(refused)
    hits = sum(r and not no for r, no in zip(right, refused, strict=True))
    return [answers / len(refused), hits / answers if answers else 0.0]


SELECTIVE_MISTAKES = [
    (
        "The first number is the share refused. Return the share answered.",
        _selective(lambda hits, answers, right, n: (1 - answers / n, hits / max(1, answers))),
    ),
    (
        "You divide by all questions. The second number is about the answers alone: leave the refused ones "
        "out.",
        _selective(lambda hits, answers, right, n: (answers / n, hits / n)),
    ),
    (
        "You divide by all questions. The second number is about the answers alone: leave the refused ones "
        "out.",
        _selective(lambda hits, answers, right, n: (answers / n, right / n)),
    ),
    (
        "A refusal that counts as right is no answer: look only at the questions that were answered, above "
        "and below the line of the fraction.",
        _selective(lambda hits, answers, right, n: (answers / n, right / max(1, answers))),
    ),
    (
        "These are numbers of questions. Return shares.",
        _selective(lambda hits, answers, right, n: (answers, hits)),
    ),
    (
        "The accuracy comes first here. Return the share answered, then the accuracy of the answers.",
        _selective(lambda hits, answers, right, n: (hits / max(1, answers), answers / n)),
    ),
    (
        "Return two numbers: the share answered, and the accuracy of the answers.",
        _selective(lambda hits, answers, right, n: hits / max(1, answers)),
    ),
]
SELECTIVE = compare(
    selective_accuracy,
    lambda: [_asked(7, 1, 1, 1), _asked(5, 6, 3, 6), _asked(3, 2, 0, 0)],
    SELECTIVE_MISTAKES,
    else_="The share of questions that were answered, and the share of right ones among those.",
)


def _turns(*contents, system=None):
    roles = ("user", "assistant")
    spoken = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system else []) + spoken


def _letters(messages):
    return sum(len(message["content"]) for message in messages)


def _with_headers(messages):
    return 3 + sum(4 + len(message["content"]) for message in messages)


LONG = _turns("a" * 10, "b" * 5, "c" * 5, "d" * 5, "e" * 5, system="s" * 6)
CHATTY = _turns("a" * 9, "b" * 20, "c" * 7, "d" * 8, "e" * 3, "f" * 6, "g" * 4)
CONVERSATIONS = [
    (_turns("aa", "b", "cc"), _letters, 20),
    (LONG, _letters, 30),
    (LONG, _letters, 36),  # it fits exactly
    (LONG, _letters, 21),  # it fits exactly without the first exchange
    (LONG, _with_headers, 40),
    (CHATTY, _letters, 15),
    (CHATTY, _with_headers, 37),
    (_turns("a"), _letters, 5),
]


def _drop(fault):
    """A wrong fit_context: fault(system, turns) gives a shorter conversation, until it fits."""

    def wrong(messages, length, limit):
        while length(messages) > limit and len(messages) > 1:
            start = messages[0]["role"] == "system"
            messages = fault(messages[:start], messages[start:])
        return messages

    return wrong


def _at_least_once(messages, length, limit):
    start = messages[0]["role"] == "system"
    if len(messages) < start + 3:
        return messages
    return fit_context(messages[:start] + messages[start + 2 :], length, limit)


def _in_place(messages, length, limit):
    start = int(messages[0]["role"] == "system")
    while length(messages) > limit and len(messages) > start + 2:
        del messages[start : start + 2]
    return messages


def _system_not_counted(messages, length, limit):
    head = messages[:1] if messages[0]["role"] == "system" else []
    return head + fit_context(messages[len(head) :], length, limit)


def _first_stays(messages, length, limit):
    head, turns = messages[:1], messages[1:]
    while len(turns) > 2 and length(head + turns) > limit:
        turns = turns[2:]
    return head + turns


def _strictly(messages, length, limit):
    return fit_context(messages, lambda turns: length(turns) + 0.5, limit)


def _only_once(messages, length, limit):
    start = messages[0]["role"] == "system"
    if length(messages) <= limit or len(messages) < start + 3:
        return messages
    return messages[:start] + messages[start + 2 :]


def _too_much(messages, length, limit):
    return fit_context(messages, length, limit if length(messages) <= limit else limit / 2)


def _nothing_left(messages, length, limit):
    kept = fit_context(messages, length, limit)
    return kept if length(kept) <= limit else kept[:-1]


def _refusing(messages, length, limit):
    kept = fit_context(messages, length, limit)
    if length(kept) > limit:
        raise ValueError("too long")
    return kept


def _by_places(messages, length, limit):
    start = int(messages[0]["role"] == "system")
    for place in range(start, len(messages), 2):
        kept = [*messages[:start], *messages[place:]]
        if length(kept) <= limit:
            return kept
    return [*messages[:start], messages[-1]]


def _by_queue(messages, length, limit):
    system = [message for message in messages if message["role"] == "system"]
    turns = deque(message for message in messages if message["role"] != "system")
    while length(system + list(turns)) > limit and len(turns) >= 3:
        turns.popleft()
        turns.popleft()
    return [dict(message) for message in (*system, *turns)]


ALONE = (
    "The last turn alone is longer than the limit. Return it all the same: it is for the encoding to refuse "
    "it."
)
CONTEXT_MISTAKES = [
    (
        "The system line is gone. It stays, and the oldest exchange goes.",
        _drop(lambda head, turns: (head + turns)[2:]),
    ),
    (
        "The system line is gone. It stays, and the oldest exchange goes.",
        _drop(lambda head, turns: turns[2:]),
    ),
    (
        "The first message stays here whoever speaks it. It is a system line only where its role is system.",
        _first_stays,
    ),
    (
        "The conversation now begins with an answer whose question is gone. Take out question and answer "
        "together.",
        _drop(lambda head, turns: head + turns[1:]),
    ),
    (
        "The user's last turn is gone: that is the one to be answered.",
        _drop(lambda head, turns: head + turns[:-2]),
    ),
    ("A conversation that fits as it is should stay as it is.", _at_least_once),
    ("A conversation of exactly the limit fits: take out exchanges while the length is larger.", _strictly),
    (
        "Use the argument length: it knows what a conversation takes up, not only its contents' letters.",
        lambda messages, length, limit: fit_context(messages, _letters, limit),
    ),
    ("The result is longer than the limit: take out as many exchanges as it needs, not one.", _only_once),
    ("The result is longer than the limit: nothing was taken out.", lambda messages, length, limit: messages),
    ("The result is longer than the limit. Is the system line counted?", _system_not_counted),
    ("The conversation that was given has changed. Its owner still shows it: make a new list.", _in_place),
    ("Take out no more than needed, the oldest first.", _too_much),
    (ALONE, _nothing_left),
    (ALONE, _refusing),
]


EXERCISES = [
    Exercise(
        name="loss_share",
        lesson="09",
        minutes=5,
        difficulty=1,
        reference=loss_share,
        check=compare(
            loss_share,
            _mixtures,
            SHARE_MISTAKES,
            else_="A kind's share is the number of its target tokens over that of all.",
        ),
        wrong=[
            (lambda e, k: list(loss_share(e, k).values()), "should be a dictionary"),
            (lambda e, k: dict.fromkeys(k, 0.25), "A kind's share is"),
            (lambda e, k: {"facts": 0.25, "stories": 0.75}, "should have the keys"),
            (lambda e, k: None, "Is there a return"),
        ],
        right=[_by_counter, _by_tensors],
        hints=(
            "Every target token adds one term to the loss. Which labels are targets, and how many of them "
            "has each kind?",
            "For each example count the labels that are not -100 and add the count to its kind's. At the "
            "end divide each sum by the sum of all.",
        ),
    ),
    Exercise(
        name="paired_difference",
        lesson="09",
        minutes=10,
        difficulty=2,
        reference=paired_difference,
        check=compare(
            paired_difference,
            lambda: [_outcomes(100, 44, 12, 44), _outcomes(150, 18, 57, 75)],
            PAIRED_MISTAKES,
            else_="Give each question 1, 0 or -1; the mean of these, and their standard deviation over the "
            "root of their number.",
            tolerance=2e-3,
        ),
        wrong=[
            (lambda before, after: (0.16, 0.0357), "Give each question"),
            (_error(lambda d, v, p, q, n: (100 * d, 100 * (v / n) ** 0.5)), "Give each question"),
            (_error(lambda d, v, p, q, n: (d, 0.0)), "Give each question"),
        ],
        right=[_by_numpy, _by_torch, _by_statistics],
        hints=(
            "Most questions have the same outcome both times, and say nothing about the difference. Give "
            "every question a number: 1 for won, -1 for lost, 0 for the same.",
            "The difference of the accuracies is the mean of these n numbers. The standard error of a "
            "mean is the standard deviation of the numbers over the root of n.",
        ),
    ),
    Exercise(
        name="selective_accuracy",
        lesson="09",
        minutes=5,
        difficulty=1,
        reference=selective_accuracy,
        check=_check_selective_accuracy,
        wrong=[
            *((wrong, message) for message, wrong in SELECTIVE_MISTAKES),
            (_selective(lambda hits, answers, right, n: (answers / n, hits / answers)), "divides by zero"),
            (
                _selective(lambda hits, answers, right, n: (max(answers, 1) / n, hits / max(1, answers))),
                "the share answered is 0",
            ),
            (lambda right, refused: (0.8, 7 / 8), "The share of questions"),
            (lambda right, refused: None, "Is there a return"),
        ],
        right=[_selective_by_torch, _zero_if_none],
        hints=(
            "Two questions: how often does it answer at all, and how good is it when it does? The second "
            "looks at the answered questions only.",
            "Keep the entries of `right` where `refused` is False. The first number is how many they are "
            "over how many questions there are, the second their mean; float('nan') if there are none.",
        ),
    ),
    Exercise(
        name="fit_context",
        lesson="09",
        minutes=10,
        difficulty=2,
        reference=fit_context,
        check=compare(
            fit_context,
            CONVERSATIONS,
            CONTEXT_MISTAKES,
            else_="Take out the oldest question with its answer while length(messages) is above the limit; "
            "the system line and the last turn stay.",
            extremes=[(ALONE, [(_turns("a" * 5, "b" * 5, "c" * 50), _letters, 20), (LONG, _letters, 8)])],
        ),
        wrong=[
            (lambda messages, length, limit: None, "Is there a return"),
            (lambda messages, length, limit: messages[-1:], "should have 3 entries"),
        ],
        right=[_by_places, _by_queue],
        hints=(
            "Split off the system line, if the first message is one. Of the rest, which two go first? And "
            "which one must never go?",
            "head = the system line or nothing; turns = the rest. While length(head + turns) is above the "
            "limit and there are more than two turns, drop turns[0] and turns[1]. Return a new list.",
        ),
    ),
]
