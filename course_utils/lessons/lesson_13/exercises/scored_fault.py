"""Lesson 13, scored_fault: bug hunt, what is scored."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_13.suspects import scored_fault


def _scored_rows():
    """Cases of 3 to 6 rows with rounding errors of a forward pass; also certain prompts, and small ends."""

    def case(answers, prompts, ends, *, of_prompts=0, of_ends=0):
        theirs = answers + of_prompts * prompts - of_ends * ends
        return theirs + 1e-3 * torch.rand(len(theirs)), answers, prompts, ends

    def drawn(rows):
        return -60 * torch.rand(rows) - 5, -40 * torch.rand(rows) - 2, -2 * torch.rand(rows) - 0.1

    answers, prompts, ends = drawn(6)
    prompts[[0, -1]] = -1e-3  # almost certain prompts
    nearly_certain = torch.tensor([-0.02, -0.03, -0.04, -0.02])
    all_but_one_certain = torch.tensor([-1e-3, -0.03, -1e-3, -1e-3])
    return [
        case(*drawn(3)),
        case(*drawn(4), of_prompts=1),
        case(*drawn(5), of_ends=1),
        case(answers, prompts, ends, of_prompts=1),
        case(*drawn(4)[:2], nearly_certain, of_ends=1),
        case(*drawn(4)[:2], all_but_one_certain, of_ends=1),
    ]


def _by_sign(room, rows):
    """A scored_fault by the sign of the differences in some rows, with `room` as the tolerance."""

    def by_sign(theirs, answers, prompts, ends):
        difference = (theirs - answers)[rows]
        if difference.abs().max() < room:
            return "sound"
        return "prompt too" if difference.sum() < 0 else "end not"

    return by_sign


def _by_room(is_zero):
    """A wrong scored_fault: the first hypothesis with is_zero(differences)."""

    def by_room(theirs, answers, prompts, ends):
        expected = {"sound": answers, "prompt too": answers + prompts, "end not": answers - ends}
        return next((name for name, sums in expected.items() if is_zero(theirs - sums)), "end not")

    return by_room


def _exchanged(*verdicts):
    """A wrong scored_fault, with two verdicts swapped."""
    names = dict(zip(verdicts, reversed(verdicts), strict=True))
    return lambda *arguments: names.get(scored_fault(*arguments), scored_fault(*arguments))


SCORED_MISTAKES = [
    (
        '"prompt too" and "end not" are swapped. Log-probabilities are negative: with more tokens the sum '
        "is lower.",
        _exchanged("prompt too", "end not"),
    ),
    ('"sound" and "prompt too" are swapped.', _exchanged("sound", "prompt too")),
    (
        "You never find agreement. Two forward passes differ by rounding (what agrees within 0.01 is the "
        "same), and `answers` already includes the ends.",
        lambda *arguments: "end not",
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
    ("You find every script sound.", lambda *arguments: "sound"),
    (
        "You compare one row alone, but the prompt or the end of a row may be almost certain. Compare all "
        "rows.",
        _by_sign(0.01, slice(1)),
    ),
    (
        "You treat differences of some hundredths as rounding. An end that is nearly certain has a "
        "log-probability of that size: only what agrees within 0.01 is the same.",
        _by_sign(0.05, slice(None)),
    ),
    (
        "You call a script sound although a row differs. The ends of the other rows may be almost certain: "
        "use the largest difference.",
        _by_room(lambda differences: differences.mean().abs() < 0.01),
    ),
]

EXERCISE = Exercise(
    name="scored_fault",
    lesson="13",
    minutes=6,
    difficulty=1,
    reference=scored_fault,
    check=compare(scored_fault, _scored_rows, SCORED_MISTAKES),
    wrong=[
        (_by_sign(0.01, slice(-1, None)), "one row alone"),
        (_by_sign(0.05, slice(1)), "one row alone"),
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
        (lambda theirs, answers, prompts, ends: "wrong", "and is 'wrong'"),
        (lambda theirs, answers, prompts, ends: None, "Is there a return"),
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
