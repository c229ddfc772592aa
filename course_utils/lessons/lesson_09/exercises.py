"""Exercises of lesson 09: what the loss is spent on, paired errors, answering or refusing, a full context."""

from __future__ import annotations

import math

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


def _check_loss_share(fn):
    def example(prompt, answer):
        ids = list(range(1, prompt + answer + 1))
        return Example(ids, [-100] * prompt + ids[prompt:])

    kinds = ["facts", "stories", "facts", "facts"]
    examples = [example(6, 1), example(2, 12), example(8, 2), example(5, 1)]  # 4 and 12 of 16 targets
    shares = fn(examples, kinds)
    if not isinstance(shares, dict):
        raise Mistake("Return a dict: the share of each kind. (None means that a return is missing.)")
    if set(shares) != set(kinds):
        raise Mistake(f"The keys should be the kinds, {sorted(set(kinds))}; yours are {sorted(shares)}.")
    found = shares["stories"]
    if math.isclose(found, 1 / 4):
        raise Mistake("You count conversations. The loss is a sum over tokens: count those.")
    if math.isclose(found, 14 / 37):
        raise Mistake("You count all tokens. The questions have no loss: count the labels that are not -100.")
    if math.isclose(found, 12):
        raise Mistake("These are numbers of tokens. Divide by the number of all target tokens.")
    if math.isclose(found, 75):
        raise Mistake("These are per cent. Return shares, which add up to 1.")
    if math.isclose(found, 12 / (12 + 4 / 3)):
        raise Mistake(
            "You take the mean of a kind's examples. What counts is the sum: a kind with many "
            "short answers weighs as much as all of them together."
        )
    if math.isclose(found, 12 / 13):
        raise Mistake("An example replaces the earlier ones of its kind. Add to what is there.")
    if not (math.isclose(found, 0.75) and math.isclose(shares["facts"], 0.25)):
        raise Mistake(f"Of 16 target tokens here, 12 are in a story: its share is 0.75; yours is {found:g}.")


def paired_difference(before, after):
    """(accuracy after less accuracy before, its standard error) for the same questions: lists of bools."""
    differences = [int(b) - int(a) for a, b in zip(before, after, strict=True)]
    n = len(differences)
    mean = sum(differences) / n
    variance = sum((d - mean) ** 2 for d in differences) / (n - 1)
    return mean, math.sqrt(variance / n)


def _check_paired_difference(fn):
    both, gained, lost, neither = 50, 22, 6, 22
    n = both + gained + lost + neither
    before = [True] * both + [False] * gained + [True] * lost + [False] * neither
    after = [True] * both + [True] * gained + [False] * lost + [False] * neither
    result = fn(before, after)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two numbers: the difference and its standard error.")
    difference, error = (float(value) for value in result)
    if math.isclose(difference, -0.16, abs_tol=1e-9):
        raise Mistake("The sign is the other way round: after less before.")
    if math.isclose(difference, 16, abs_tol=1e-9):
        raise Mistake("This is a number of questions. Divide by how many there are.")
    if not math.isclose(difference, 0.16, abs_tol=1e-9):
        raise Mistake(
            f"22 questions were won and 6 lost, of 100: the difference is 0.16, not {difference:g}."
        )
    spread = (gained + lost) / n - 0.16**2  # variance of the differences
    p, q = 0.56, 0.72
    if math.isclose(error, math.sqrt((p * (1 - p) + q * (1 - q)) / n), rel_tol=0.01):
        raise Mistake(
            "This is the error of two independent samples. The questions are the same: take the "
            "difference of every question first, then the error of those."
        )
    if math.isclose(error, math.sqrt(spread), rel_tol=0.01):
        raise Mistake(
            "This is the standard deviation of a single difference. That of their mean is smaller "
            "by the root of their number."
        )
    if math.isclose(error, spread / n, rel_tol=0.02):
        raise Mistake("This is the variance of the mean. The standard error is its root.")
    if math.isclose(error, math.sqrt(p * (1 - p) / n), rel_tol=0.005) or math.isclose(
        error, math.sqrt(q * (1 - q) / n), rel_tol=0.005
    ):
        raise Mistake("This is the error of one of the two accuracies, not of their difference.")
    if not math.isclose(error, math.sqrt(spread / n), rel_tol=0.01):
        raise Mistake(
            f"The standard error should be {math.sqrt(spread / n):.4f}; yours is {error:.4f}. It "
            "is the standard deviation of the differences, over the root of their number."
        )


def selective_accuracy(right, refused):
    """(share of questions answered, accuracy of those answers); nan for the second if all were refused."""
    answered = [r for r, no in zip(right, refused, strict=True) if not no]
    accuracy = sum(answered) / len(answered) if answered else math.nan
    return len(answered) / len(refused), accuracy


def _check_selective_accuracy(fn):
    #          7 right       1 wrong    2 refused: one of them counted as right, because it was to be refused
    right = [True] * 7 + [False] + [False, True]
    refused = [False] * 8 + [True] * 2
    result = fn(list(right), list(refused))
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two numbers: the share answered, and the accuracy of the answers.")
    coverage, accuracy = (float(value) for value in result)
    if math.isclose(coverage, 0.2):
        raise Mistake("The first number is the share refused. Return the share answered.")
    if not math.isclose(coverage, 0.8):
        raise Mistake(f"8 of 10 questions were answered: the share is 0.8, not {coverage:g}.")
    if math.isclose(accuracy, 0.7) or math.isclose(accuracy, 0.8):
        raise Mistake(
            "You divide by all questions. The second number is about the answers alone: leave the "
            "refused ones out."
        )
    if math.isclose(accuracy, 1.0):
        raise Mistake(
            "A refusal that counts as right is no answer: look only at the questions that were "
            "answered, above and below the line of the fraction."
        )
    if not math.isclose(accuracy, 7 / 8):
        raise Mistake(f"Of 8 answers 7 are right: 0.875, not {accuracy:g}.")
    coverage, accuracy = fn([False, False], [True, True])
    if coverage != 0 or not math.isnan(accuracy):
        raise Mistake("Where everything is refused, nothing is known about the answers: (0, nan).")


def _check_fit_context(fn):
    def turns(*contents, system=None):
        roles = ("user", "assistant")
        spoken = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
        return ([{"role": "system", "content": system}] if system else []) + spoken

    def length(messages):
        return sum(len(message["content"]) for message in messages)

    short = turns("aa", "b", "cc")
    kept = fn(list(short), length, 20)
    if kept is None:
        raise Mistake("The result is None. Is there a return?")
    if kept != short:
        raise Mistake("This conversation fits as it is, and should stay as it is.")
    long = turns("a" * 10, "b" * 5, "c" * 5, "d" * 5, "e" * 5, system="s" * 6)
    given = [dict(message) for message in long]
    kept = fn(given, length, 30)
    if given != long:
        raise Mistake(
            "The conversation that was given has changed. Its owner still shows it: make a new list."
        )
    if not kept or kept[0]["role"] != "system":
        raise Mistake("The system line is gone. It stays, and the oldest exchange goes.")
    if kept[-1] != long[-1]:
        raise Mistake("The user's last turn is gone: that is the one to be answered.")
    if kept[1]["role"] == "assistant":
        raise Mistake(
            "The conversation now begins with an answer whose question is gone. Take out question "
            "and answer together."
        )
    if length(kept) > 30:
        raise Mistake(
            f"The result has a length of {length(kept)}, and 30 is the limit. Is the system line counted?"
        )
    if kept != [long[0], *long[3:]]:
        raise Mistake("Take out no more than needed, the oldest first: here the first question and answer.")
    if fn(turns("a" * 5, "b" * 5, "c" * 50), length, 20) != turns("c" * 50):
        raise Mistake(
            "The last turn alone is longer than the limit. Return it all the same: it is for the "
            "encoding to refuse it."
        )


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


def _mean_share(examples, kinds):
    means = {}
    for kind in kinds:
        counts = [_targets(e) for e, k in zip(examples, kinds, strict=True) if k == kind]
        means[kind] = sum(counts) / len(counts)
    return {kind: value / sum(means.values()) for kind, value in means.items()}


def _last_share(examples, kinds):
    counts = {kind: _targets(example) for example, kind in zip(examples, kinds, strict=True)}
    return {kind: value / sum(counts.values()) for kind, value in counts.items()}


def _error(fault):
    """A wrong paired_difference: fault(difference, variance of the differences, p before, p after, n)."""

    def wrong(before, after):
        mean, error = paired_difference(before, after)
        n = len(before)
        return fault(mean, error**2 * n, sum(before) / n, sum(after) / n, n)

    return wrong


def _drop(fault):
    """A wrong fit_context: fault(system, turns) gives a shorter conversation, until it fits."""

    def wrong(messages, length, limit):
        while length(messages) > limit and len(messages) > 1:
            start = messages[0]["role"] == "system"
            messages = fault(messages[:start], messages[start:])
        return messages

    return wrong


def _in_place(messages, length, limit):
    start = int(messages[0]["role"] == "system")
    while length(messages) > limit and len(messages) > start + 2:
        del messages[start : start + 2]
    return messages


def _system_not_counted(messages, length, limit):
    head = messages[:1] if messages[0]["role"] == "system" else []
    return head + fit_context(messages[len(head) :], length, limit)


EXERCISES = [
    Exercise(
        name="loss_share",
        lesson="09",
        minutes=5,
        difficulty=1,
        reference=loss_share,
        check=_check_loss_share,
        wrong=[
            (_share(lambda example: 1), "You count conversations"),
            (_share(lambda example: len(example.input_ids)), "You count all tokens"),
            (lambda e, k: {kind: 16 * x for kind, x in loss_share(e, k).items()}, "numbers of tokens"),
            (lambda e, k: {kind: 100 * x for kind, x in loss_share(e, k).items()}, "per cent"),
            (_mean_share, "mean of a kind's examples"),
            (_last_share, "replaces the earlier ones"),
            (lambda e, k: list(loss_share(e, k).values()), "Return a dict"),
        ],
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
        check=_check_paired_difference,
        wrong=[
            (_error(lambda d, v, p, q, n: (d, math.sqrt((p * (1 - p) + q * (1 - q)) / n))), "independent"),
            (_error(lambda d, v, p, q, n: (d, math.sqrt(v))), "of a single difference"),
            (_error(lambda d, v, p, q, n: (d, v / n)), "the variance of the mean"),
            (_error(lambda d, v, p, q, n: (d, math.sqrt(p * (1 - p) / n))), "one of the two accuracies"),
            (_error(lambda d, v, p, q, n: (-d, math.sqrt(v / n))), "the other way round"),
            (_error(lambda d, v, p, q, n: (d * n, math.sqrt(v / n))), "number of questions"),
            (_error(lambda d, v, p, q, n: d), "Return two numbers"),
        ],
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
            (lambda r, no: (sum(no) / len(no), 7 / 8), "share refused"),
            (lambda r, no: (1 - sum(no) / len(no), sum(r) / len(r)), "You divide by all questions"),
            (lambda r, no: (1 - sum(no) / len(no), sum(r) / max(1, len(no) - sum(no))), "is no answer"),
            (
                lambda r, no: (
                    1 - sum(no) / len(no),
                    sum(x for x, y in zip(r, no, strict=True) if not y) / max(1, len(no) - sum(no)),
                ),
                "(0, nan)",
            ),
            (lambda r, no: (1.0, 7 / 8), "8 of 10"),
        ],
        hints=(
            "Two questions: how often does it answer at all, and how good is it when it does? The second "
            "looks at the answered questions only.",
            "Keep the entries of `right` where `refused` is False. The first number is how many they are "
            "over how many questions there are, the second their mean; math.nan if there are none.",
        ),
    ),
    Exercise(
        name="fit_context",
        lesson="09",
        minutes=10,
        difficulty=2,
        reference=fit_context,
        check=_check_fit_context,
        wrong=[
            (_drop(lambda head, turns: turns[2:]), "The system line is gone"),
            (_drop(lambda head, turns: head + turns[1:]), "begins with an answer"),
            (_drop(lambda head, turns: head + turns[:-2]), "last turn is gone"),
            (lambda messages, length, limit: fit_context(messages, length, -1), "fits as it is"),
            (lambda messages, length, limit: messages, "and 30 is the limit"),
            (_system_not_counted, "Is the system line"),
            (_in_place, "that was given has changed"),
            (
                lambda messages, length, limit: fit_context(
                    messages, length, limit if length(messages) <= limit else limit / 2
                ),
                "no more than needed",
            ),
        ],
        hints=(
            "Split off the system line, if the first message is one. Of the rest, which two go first? And "
            "which one must never go?",
            "head = the system line or nothing; turns = the rest. While length(head + turns) is above the "
            "limit and there are more than two turns, drop turns[0] and turns[1]. Return a new list.",
        ),
    ),
]
