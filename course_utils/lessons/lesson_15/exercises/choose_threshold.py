"""Lesson 15, choose_threshold: the threshold."""

import itertools
from math import inf

import numpy as np

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.retrieval import choose_threshold

THRESHOLD_INPUTS = [
    ([5.0, 1.0, 4.0, 2.0], [True, False, True, False]),
    ([3.0, 1.0, 2.0, 4.0, 2.5, 6.0], [True, False, True, False, False, True]),
    ([1.0, 2.0, 3.0, 4.0, 5.0], [False, True, False, True, True]),
    ([2.0, 7.0, 7.0, 3.0, 3.0], [False, True, True, True, False]),
    ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [True, False, False, False, True, True]),
    ([1.0, 2.0, 3.0, 4.0, 5.0], [False, True, True, False, True]),
    ([1.0, 2.0, 3.0, 3.5, 4.0, 5.0], [True, False, True, True, False, True]),
    ([1.5, 2.5, 9.0], [True, True, True]),
    ([1.5, 2.5, 9.0], [False, False, False]),
    ([0.0, 0.0, 3.0, 8.0, 8.5, 9.5, 11.0], [False, False, False, True, False, True, True]),
]


def _right_decisions(scores, answers, threshold):
    return sum((score >= threshold) == good for score, good in zip(scores, answers, strict=True))


def _candidates(scores):
    ordered = sorted(set(scores))
    return [-inf, *((a + b) / 2 for a, b in itertools.pairwise(ordered)), inf]


def _not_sorted(scores):
    return [-inf, *((a + b) / 2 for a, b in itertools.pairwise(scores)), inf]


def _not_sorted_once_each(scores):
    return _not_sorted(list(dict.fromkeys(scores)))


def _lowest_not_sorted(scores, answers):
    cuts = _not_sorted(scores)
    most = max(_right_decisions(scores, answers, cut) for cut in cuts)
    return min(cut for cut in cuts if _right_decisions(scores, answers, cut) == most)


def _with_outer_numbers(scores):
    return [min(scores) - 1, *_candidates(scores)[1:-1], max(scores) + 1]


def _best_of(key=_right_decisions, candidates=_candidates, order=1):
    """A choose_threshold by another measure, with other candidates, or from the top (order -1)."""
    return lambda scores, answers: max(candidates(scores)[::order], key=lambda t: key(scores, answers, t))


def _found(scores, answers, threshold):
    return sum(score >= threshold and good for score, good in zip(scores, answers, strict=True))


def _precision(scores, answers, threshold):
    shown = sum(score >= threshold for score in scores)
    return _found(scores, answers, threshold) / shown if shown else 0.0


def _between_the_means(scores, answers):
    groups = [[s for s, good in zip(scores, answers, strict=True) if good == side] for side in (True, False)]
    if not all(groups):
        return choose_threshold(scores, answers)
    return sum(sum(group) / len(group) for group in groups) / 2


def _lowest_of_the_right(scores, answers):
    return min((s for s, good in zip(scores, answers, strict=True) if good), default=inf)


def _above_all_wrong(scores, answers):
    return max((s for s, good in zip(scores, answers, strict=True) if not good), default=-inf)


def _threshold_by_arrays(scores, answers):
    values, good = np.array(scores), np.array(answers)
    ordered = np.unique(values)
    cuts = np.concatenate([[-np.inf], (ordered[:-1] + ordered[1:]) / 2, [np.inf]])
    right = ((values[None] >= cuts[:, None]) == good[None]).sum(1)
    return cuts[right.argmax()]


def _threshold_by_a_sweep(scores, answers):
    pairs = sorted(zip(scores, answers, strict=True))
    best, most = float("-inf"), sum(answers)
    right = most
    for place, (score, good) in enumerate(pairs):
        right += -1 if good else 1  # this one is no longer shown
        last = place + 1 == len(pairs)
        if not last and pairs[place + 1][0] == score:
            continue
        if right > most:
            best, most = (float("inf") if last else (score + pairs[place + 1][0]) / 2), right
    return best


THRESHOLD_MISTAKES = [
    (
        "Of several thresholds with equally many right decisions you take the highest. Take the lowest.",
        _best_of(order=-1),
    ),
    *(
        (
            "You take one of the scores. Take the midpoint between two neighbours: no new score falls on it.",
            _best_of(candidates=candidates),
        )
        for candidates in (
            lambda scores: [*sorted(set(scores)), inf],
            lambda scores: [-inf, *sorted(set(scores)), inf],
            lambda scores: [-inf, *sorted(set(scores))],
            lambda scores: sorted(set(scores)),
        )
    ),
    (
        "-inf and inf are not among your candidates. If all passages answer, the threshold is -inf, and if "
        "none does, inf.",
        _best_of(candidates=lambda scores: _candidates(scores)[1:-1]),
    ),
    (
        "Showing nothing is not among your candidates. If no passage answers, the threshold is inf.",
        _best_of(candidates=lambda scores: _candidates(scores)[:-1]),
    ),
    (
        "Always showing is not among your candidates. If all passages answer, the threshold is -inf.",
        _best_of(candidates=lambda scores: _candidates(scores)[1:]),
    ),
    (
        "Your outer candidates are finite. Use -inf and inf, which hold for any new score.",
        _best_of(candidates=_with_outer_numbers),
    ),
    (
        "You count the passages that answer and are shown. Not showing a useless passage is a right "
        "decision, too.",
        _best_of(_found),
    ),
    (
        "You take the share of shown passages that answer. By that, a threshold that shows only one passage "
        "could be the best.",
        _best_of(_precision),
    ),
    (
        "This is the midpoint between the two mean scores. That does not ensure right decisions: count them.",
        _between_the_means,
    ),
    *(
        ("Sort the scores first: a midpoint lies between two scores that are neighbours by size.", wrong)
        for wrong in (
            _best_of(candidates=_not_sorted),
            _best_of(candidates=_not_sorted_once_each),
            _lowest_not_sorted,
        )
    ),
    ("This shows all passages that answer, whatever else it shows.", _lowest_of_the_right),
    ("This hides all useless passages, whatever else it hides.", _above_all_wrong),
    (
        "Your decisions are inverted: a passage is shown if its score is high.",
        _best_of(lambda scores, answers, t: -_right_decisions(scores, answers, t)),
    ),
]

EXERCISE = Exercise(
    name="choose_threshold",
    lesson="15",
    minutes=12,
    difficulty=2,
    reference=choose_threshold,
    check=compare(
        choose_threshold,
        THRESHOLD_INPUTS,
        THRESHOLD_MISTAKES,
        else_="Count the right decisions of each candidate.",
    ),
    wrong=[
        (lambda scores, answers: None, "Is there a return"),
        (lambda scores, answers: 3.0, "Count the right decisions"),
        (lambda scores, answers: [choose_threshold(scores, answers)], "should be a number"),
    ],
    right=[_threshold_by_arrays, _threshold_by_a_sweep],
    then="The tables below use the threshold that your function chooses.",
    hints=(
        "A decision is right if a passage that answers is shown, or one that does not is left out. Only "
        "finitely many thresholds decide differently.",
        "Candidates in ascending order: -inf, the midpoints between neighbours of sorted(set(scores)), inf. "
        "Count (score >= threshold) == answer for each, and take the first maximum: max(..., key=...).",
    ),
)
