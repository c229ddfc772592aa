"""Lesson 13, scored_fault: bug hunt, what is scored."""

import itertools

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_13.suspects import scored_fault


def _scored_rows():
    """Cases of 3 to 8 rows with rounding of either sign; also almost certain prompts and ends."""

    def case(answers, prompts, ends, *, of_prompts=0, of_ends=0, sign=1):
        rounding = sign * (2e-3 + 4e-4 * torch.rand(len(answers)))
        return answers + of_prompts * prompts - of_ends * ends + rounding, answers, prompts, ends

    def drawn(rows):
        return -60 * torch.rand(rows) - 5, -40 * torch.rand(rows) - 2, -2 * torch.rand(rows) - 0.1

    def certain(values):
        return values.index_fill(0, torch.tensor([0, len(values) - 1]), -1e-3)

    answers, prompts, ends = drawn(6)
    nearly_certain = torch.tensor([-0.02, -0.03, -0.04, -0.02])
    all_but_one_certain = torch.tensor([-1e-3, -0.03, -1e-3, -1e-3])
    more, of_more, of_ends = drawn(4)
    return [
        case(*drawn(3)),
        case(*drawn(4), of_prompts=1),
        case(*drawn(5), of_ends=1, sign=-1),
        case(answers, certain(prompts), ends, of_prompts=1),
        case(*drawn(4)[:2], nearly_certain, of_ends=1),
        case(*drawn(4)[:2], all_but_one_certain, of_ends=1, sign=-1),
        case(more, certain(of_more), certain(of_ends), sign=-1),
        case(*drawn(8), sign=-1),
    ]


def _by_sign(room, rows):
    """A scored_fault by the sign of the differences in some rows, with `room` as the tolerance."""

    def by_sign(theirs, answers, prompts, ends):
        difference = (theirs - answers)[rows]
        if difference.abs().max() < room:
            return "sound"
        return "prompt too" if difference.sum() < 0 else "end not"

    return by_sign


def _by_room(is_zero, order=("sound", "prompt too", "end not")):
    """A wrong scored_fault: the first hypothesis, in this order, with is_zero(differences)."""

    def by_room(theirs, answers, prompts, ends):
        expected = {"sound": answers, "prompt too": answers + prompts, "end not": answers - ends}
        return next((name for name in order if is_zero(theirs - expected[name])), order[-1])

    return by_room


def _by_sum(theirs, answers, prompts, ends):
    difference = (theirs - answers).sum()
    return "sound" if difference.abs() < 0.01 else "prompt too" if difference < 0 else "end not"


def _always(verdict):
    return lambda theirs, answers, prompts, ends: verdict


def _never(verdict, instead):
    """A wrong scored_fault that gives `instead` for one verdict."""

    def never(*arguments):
        found = scored_fault(*arguments)
        return instead if found == verdict else found

    return never


def _exchanged(*verdicts):
    """A wrong scored_fault, with two verdicts swapped."""
    names = dict(zip(verdicts, reversed(verdicts), strict=True))
    return lambda *arguments: names.get(scored_fault(*arguments), scored_fault(*arguments))


NO_AGREEMENT = (
    "You never find agreement. Two forward passes differ by rounding (what agrees within 0.01 is the "
    "same), and `answers` already includes the ends."
)
NO_PROMPT = (
    'You never find "prompt too". A script that scores the prompts as well has `answers + prompts`, a lower '
    "sum: all log-probabilities are negative."
)
NO_END = (
    'You never find "end not". `answers` includes the ends, so a script without them has `answers - ends`, a '
    "higher sum: log-probabilities are negative."
)
ONE_ROW = "One row decides, but the prompt or the end of a row may be almost certain. All rows have to agree."
SCORED_MISTAKES = [
    (
        '"prompt too" and "end not" are swapped. Log-probabilities are negative: with more tokens the sum '
        "is lower.",
        _exchanged("prompt too", "end not"),
    ),
    ('"sound" and "prompt too" are swapped.', _exchanged("sound", "prompt too")),
    *((NO_AGREEMENT, _always(verdict)) for verdict in ("end not", "prompt too")),
    (
        "The result is None. Is there a return? If there is, none of your comparisons holds: two forward "
        "passes differ by rounding, and what agrees within 0.01 is the same.",
        _always(None),
    ),
    (
        "`answers` already includes the ends: a script that agrees with it is sound.",
        lambda theirs, answers, prompts, ends: (
            "end not" if torch.allclose(theirs, answers, rtol=0, atol=1e-2) else "prompt too"
        ),
    ),
    (
        "Two forward passes differ by rounding. What agrees within 0.01 is the same.",
        lambda theirs, answers, prompts, ends: (
            "sound"
            if (theirs == answers).all()
            else "prompt too"
            if theirs.sum() < answers.sum()
            else "end not"
        ),
    ),
    ("You find every script sound.", _always("sound")),
    *((NO_PROMPT, _never("prompt too", instead)) for instead in ("end not", "sound", None)),
    *((NO_END, _never("end not", instead)) for instead in ("prompt too", "sound", None)),
    *(
        (ONE_ROW, one)
        for one in (
            _by_sign(0.01, slice(1)),
            *(
                _by_room(lambda differences: differences[0].abs() < 0.01, order)
                for order in itertools.permutations(("sound", "prompt too", "end not"))
            ),
        )
    ),
    (
        "You treat differences of some hundredths as rounding. An end that is nearly certain has a "
        "log-probability of that size: only what agrees within 0.01 is the same.",
        _by_sign(0.05, slice(None)),
    ),
    *(
        (
            "You add up the differences of all rows, and their rounding adds up as well. Use the largest "
            "difference.",
            one,
        )
        for one in (_by_sum, _by_room(lambda differences: differences.sum().abs() < 0.01))
    ),
    (
        "You call a script sound although a row differs. The ends of the other rows may be almost certain: "
        "use the largest difference.",
        _by_room(lambda differences: differences.mean().abs() < 0.01),
    ),
]


def _hypotheses(sums, last=None, rtol=0.0, atol=1e-2):
    """A scored_fault that compares with sums(answers, prompts, ends), one a verdict; `last` if none fits."""

    def by_hypotheses(theirs, answers, prompts, ends):
        for name, each in zip(("sound", "prompt too", "end not"), sums(answers, prompts, ends), strict=True):
            if torch.allclose(theirs, each, rtol=rtol, atol=atol):
                return name
        return last

    return by_hypotheses


EXERCISE = Exercise(
    name="scored_fault",
    lesson="13",
    minutes=6,
    difficulty=1,
    reference=scored_fault,
    check=compare(scored_fault, _scored_rows, SCORED_MISTAKES),
    wrong=[
        (_by_sign(0.01, slice(-1, None)), "One row decides"),
        (_by_sign(0.05, slice(1)), "One row decides"),
        (
            _by_room(lambda differences: (differences.abs() < 0.01).sum() > len(differences) / 2),
            "the largest difference",
        ),
        (
            lambda theirs, answers, prompts, ends: (
                "prompt too"
                if (theirs < answers - 0.01).any()
                else "end not"
                if (theirs > answers + 0.01).all()
                else "sound"
            ),
            "use the largest difference",
        ),
        (_hypotheses(lambda a, p, e: (a, a - p, a - e)), 'never find "prompt too"'),
        (_hypotheses(lambda a, p, e: (a, a + p, a + e)), 'never find "end not"'),
        (_hypotheses(lambda a, p, e: (a, a - p, a - e), "end not"), 'never find "prompt too"'),
        (
            _hypotheses(lambda a, p, e: (a, a + p, a - e), "end not", rtol=1e-5, atol=1e-8),
            "agrees within 0.01",
        ),
        (_always("wrong"), "and is 'wrong'"),
    ],
    right=[
        _by_sign(0.01, slice(None)),
        lambda theirs, answers, prompts, ends: (
            "sound"
            if torch.allclose(theirs, answers, rtol=0, atol=1e-2)
            else "prompt too"
            if torch.allclose(theirs - answers, prompts, rtol=0, atol=1e-2)
            else "end not"
        ),
        lambda theirs, answers, prompts, ends: min(
            {"sound": 0 * ends, "prompt too": prompts, "end not": -ends}.items(),
            key=lambda item: (theirs - answers - item[1]).abs().sum(),
        )[0],
    ],
    hints=(
        "A log-probability of several tokens is a sum. What is `theirs` minus `answers` in each of the three "
        "cases?",
        "If only the answers are scored, the difference is 0. If the prompts are scored too, it is the "
        "prompts' log-probabilities. If the ends are not scored, it is minus theirs. Compare all rows, "
        "within 0.01.",
    ),
    then="The table below gives its verdicts.",
)
