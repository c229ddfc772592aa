"""Lesson 16, script_fault: bug hunt, the log of a step."""

import itertools
import math
import operator

import numpy as np

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def script_fault(rows, weights, tokens, divisors):
    """What is wrong with a script's first step, by its log of each process, or "right"."""
    everyone = sorted(row for part in rows for row in part)
    if everyone != list(range(len(everyone))):
        return "rows"
    if len(set(weights)) > 1:
        return "starts"
    if any(divisor != sum(tokens) for divisor in divisors):
        return "division"
    return "right"


def _log(rows=((0, 2), (1, 3)), weights=(1.5, 1.5), tokens=(30, 20), divisors=(50, 50)):
    return [list(part) for part in rows], list(weights), list(tokens), list(divisors)


HUNT_INPUTS = [
    _log(),
    _log(divisors=(60, 40)),
    _log(divisors=(30, 20)),
    _log(divisors=(70, 30)),
    _log(weights=(1.5, 1.25)),
    _log(rows=((0, 1), (0, 1))),
    _log(rows=((0, 2), (1, 2))),
    _log(rows=((0, 1), (3, 4))),
    _log(rows=((0, 1), (0, 1)), weights=(1.5, 1.25), divisors=(60, 40)),
    _log(weights=(1.5, 1.25), divisors=(60, 40)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.5, 0.5), (10, 10, 10), (30, 30, 30)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.5, 0.75), (10, 10, 10), (30, 30, 30)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.5, 0.5), (10, 12, 8), (30, 36, 24)),
    _log(((3, 0), (4, 1), (5, 2)), (0.5, 0.5, 0.5), (10, 12, 8), (30, 30, 30)),
    _log(tokens=(25, 25), divisors=(25, 25)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.75, 0.5), (10, 10, 10), (30, 30, 30)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.5, 0.5), (10, 12, 8), (30, 24, 30)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.5, 0.5), (10, 12, 8), (30, 36, 30)),
    _log(rows=((0, 3), (0, 3))),
    _log(weights=(0.5, 0.5001)),
    _log(divisors=(50, 51)),
    _log(divisors=(100, 100)),
    _log(divisors=(20, 30)),
    _log(divisors=(90, 30)),
    _log(((0, 1), (2,), (0, 3)), (0.5, 0.5, 0.5), (10, 12, 8), (30, 30, 30)),
    _log(((0, 3), (1, 4), (2, 5)), (1.5, 1.0, 2.0), (10, 12, 8), (30, 30, 30)),
]


def _hunt_by_sets(rows, weights, tokens, divisors):
    dealt = [row for part in rows for row in part]
    faults = {
        "rows": set(dealt) != set(range(len(dealt))),
        "starts": max(weights) != min(weights),
        "division": set(divisors) != {sum(tokens)},
        "right": True,
    }
    return next(name for name, found in faults.items() if found)


def _hunt_with_numpy(rows, weights, tokens, divisors):
    if not np.array_equal(np.sort(np.concatenate(rows)), np.arange(sum(map(len, rows)))):
        return "rows"
    if np.ptp(weights) > 0:
        return "starts"
    return "right" if np.all(np.array(divisors) == np.sum(tokens)) else "division"


def _skipping(*skipped):
    """A wrong script_fault that skips these tests."""

    def wrong(rows, weights, tokens, divisors):
        if "rows" in skipped:
            rows = [[index] for index in range(len(rows))]
        if "starts" in skipped:
            weights = weights[:1]
        return script_fault(rows, weights, tokens, divisors)

    return wrong


def _dividing(is_right):
    """A wrong script_fault that takes divisors for right where is_right(tokens, divisors)."""

    def wrong(rows, weights, tokens, divisors):
        return script_fault(rows, weights, tokens, [sum(tokens) if is_right(tokens, divisors) else 0])

    return wrong


def _each(is_right):
    """is_right(own tokens, divisor, tokens) for each process."""
    return lambda tokens, divisors: all(
        is_right(own, divisor, tokens) for own, divisor in zip(tokens, divisors, strict=True)
    )


HUNT_MISTAKES = [
    ("You always return the same verdict, whatever the log says.", lambda *log: "right"),
    ("You always return the same verdict, whatever the log says.", lambda *log: "division"),
    ("No row may be missing, and no row may be in two processes. You do not check both.", _skipping("rows")),
    (
        "You only check for rows in two processes. A row in none is a fault, too.",
        lambda rows, *rest: (
            "rows"
            if len({r for p in rows for r in p}) < sum(map(len, rows))
            else _skipping("rows")(rows, *rest)
        ),
    ),
    (
        "You only check for rows in no process. A row in two processes is a fault, too.",
        lambda rows, *rest: (
            "rows"
            if (dealt := {row for part in rows for row in part}) != set(range(max(dealt) + 1))
            else _skipping("rows")(rows, *rest)
        ),
    ),
    (
        "You compare a sum of the rows. Other rows can have the same sum, such as 0 and 3 taken twice: "
        "compare the sorted rows themselves with 0, 1, 2 and so on.",
        lambda rows, *rest: (
            "rows"
            if sum(map(sum, rows)) != sum(range(sum(map(len, rows))))
            else _skipping("rows")(rows, *rest)
        ),
    ),
    (
        "You compare each process with the next one. Any two may have the same row: sort the rows of all "
        "together.",
        lambda rows, *rest: (
            "rows"
            if any(set(a) & set(b) for a, b in itertools.pairwise(rows))
            or len({row for part in rows for row in part}) <= max(row for part in rows for row in part)
            else _skipping("rows")(rows, *rest)
        ),
    ),
    ("Different initial weights of the processes are a fault: compare them.", _skipping("starts")),
    (
        "You compare the first process with the second. There may be more.",
        lambda rows, weights, tokens, divisors: script_fault(rows, weights[:2], tokens, divisors),
    ),
    (
        "You compare the mean of the weights. One process may be above it and another below: compare the "
        "weights of all.",
        lambda rows, weights, *rest: script_fault(rows, [weights[0], sum(weights) / len(weights)], *rest),
    ),
    (
        "Weights of two processes may differ little. Processes that start alike have the same sum, to the "
        "last digit.",
        lambda rows, weights, *rest: script_fault(rows, [round(weight, 2) for weight in weights], *rest),
    ),
    (
        "The smallest divisor can be right and another one wrong. Compare each with the target tokens of all "
        "processes.",
        lambda *log: script_fault(*log[:3], [min(log[3])]),
    ),
    (
        "A divisor that is off by one is wrong, too.",
        _dividing(_each(lambda own, divisor, tokens: abs(divisor - sum(tokens)) <= 1)),
    ),
    (
        "Every divisor must be the number of target tokens of all processes. A right sum does not make each "
        "divisor right.",
        _dividing(lambda tokens, divisors: sum(divisors) == len(tokens) * sum(tokens)),
    ),
    (
        "The divisors need not add up to the number of target tokens of all processes. Each of them must be "
        "that number.",
        _dividing(lambda tokens, divisors: sum(divisors) == sum(tokens)),
    ),
    (
        "A process that divides by its own target tokens makes its own mean. Each divisor must be the number "
        "of target tokens of all processes.",
        _dividing(_each(lambda own, divisor, tokens: divisor == own)),
    ),
    (
        "A process that divides by its own target tokens makes its own mean. Each divisor must be the number "
        "of target tokens of all processes.",
        _dividing(_each(lambda own, divisor, tokens: divisor in (sum(tokens), own))),
    ),
    (
        "You expect of each process its own target tokens times the number of processes: that averages the "
        "means. Each divisor must be the number of target tokens of all processes.",
        _dividing(_each(lambda own, divisor, tokens: divisor == own * len(tokens))),
    ),
    (
        "You expect the target tokens of all, times the number of processes. The divisors of the log count "
        "the averaging already.",
        _dividing(_each(lambda own, divisor, tokens: divisor == len(tokens) * sum(tokens))),
    ),
    (
        "Equal divisors can all be wrong. Compare each with the target tokens of all processes.",
        lambda rows, weights, tokens, divisors: script_fault(
            rows, weights, tokens, [sum(tokens)] * 2 if len(set(divisors)) == 1 else divisors
        ),
    ),
    (
        "Target tokens over divisors can add up to 1 although the divisors are wrong. Each divisor must be "
        "the number of target tokens of all processes.",
        _dividing(lambda *log: math.isclose(sum(map(operator.truediv, *log)), 1)),
    ),
    (
        "You accept a process that divides by its own tokens times the number of processes, which averages "
        "the means.",
        _dividing(_each(lambda own, divisor, tokens: divisor in (sum(tokens), own * len(tokens)))),
    ),
    (
        "Return the first fault in this order: rows, starts, division.",
        lambda rows, weights, tokens, divisors: (
            "division"
            if any(d != sum(tokens) for d in divisors)
            else script_fault(rows, weights, tokens, divisors)
        ),
    ),
    (
        "Return the first fault in this order: rows, starts, division.",
        lambda rows, weights, *rest: (
            "starts" if len(set(weights)) > 1 else script_fault(rows, weights, *rest)
        ),
    ),
]

EXERCISE = Exercise(
    name="script_fault",
    lesson="16",
    minutes=8,
    difficulty=2,
    reference=script_fault,
    check=compare(
        script_fault,
        HUNT_INPUTS,
        HUNT_MISTAKES,
        else_="Check the rows of all processes together, then the starts, then every divisor.",
    ),
    wrong=[
        (lambda rows, weights, tokens, divisors: "rows", "Check the rows"),
        (lambda rows, weights, *rest: script_fault(rows, [weights[0], weights[-1]], *rest), "Check the rows"),
        (lambda *log: script_fault(*log[:3], log[3][-1:]), "Check the rows"),
        (lambda *log: script_fault(*log[:3], [max(log[3])]), "Check the rows"),
        (lambda rows, weights, tokens, divisors: None, "Is there a return"),
    ],
    right=[_hunt_by_sets, _hunt_with_numpy],
    hints=(
        "Three tests, one after the other: do the sorted rows of all processes run from 0 on? Do all start "
        "with "
        "the same number? Does each divide by the sum of the tokens?",
        "sorted(row for part in rows for row in part) against list(range(...)); len(set(weights)); "
        "every divisor against sum(tokens). Return the name of the first that fails.",
    ),
)
