"""Lesson 18, group_fault: bug hunt, whose answers."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_18.suspects import batch_advantages, group_fault, mixed_advantages
from course_utils.methods.grpo import centred_advantages, group_advantages


def _advantage_functions():
    """Functions of all three kinds, in several variants."""
    return [
        (group_advantages,),
        (mixed_advantages,),
        (batch_advantages,),
        (centred_advantages,),
        (_by_columns,),
        (_centred_on_the_batch,),
    ]


def _centred_on_the_batch(scores, group):
    """Another mean of the whole batch."""
    return scores - scores.mean()


def _by_columns(scores, group):
    """Another function that mixes prompts: a group is every group-th answer."""
    others = torch.stack([scores[first::group].mean() for first in range(group)])
    return scores - others.repeat(len(scores) // group)


SILENT, SPEAKING = torch.tensor([1.0, 1, 0, 0]), torch.tensor([1.0, 0, 1, 0])


def _fault_by_silent_groups(advantages):
    return "mixed" if advantages(SILENT, 2).any() else "sound"


def _fault_by_speaking_groups(advantages):
    return "sound" if advantages(SPEAKING, 2).any() else "mixed"


def _fault_of_equal_scores(advantages):
    return "whole batch" if advantages(torch.ones(4), 2).any() else "sound"


def _fault_unless_ours(advantages):
    """Compares with a sound function, so other sound ones are rejected."""
    scores = torch.tensor([1.0, 0, 0, 0])
    if torch.equal(advantages(scores, 2), group_advantages(scores, 2)):
        return "sound"
    return "whole batch" if advantages(SPEAKING, 2).any() else "mixed"


def _fault_in_three_prompts(advantages):
    """Right, with groups of 3 and other scores."""
    silent = advantages(torch.tensor([2.0, 2, 2, 5, 5, 5, 0, 0, 0]), 3)
    speaking = advantages(torch.tensor([2.0, 5, 0, 2, 5, 0, 2, 5, 0]), 3)
    if silent.abs().max() == 0:
        return "sound"
    return "mixed" if speaking.abs().max() == 0 else "whole batch"


def _fault_in_one_batch(advantages):
    """Right: tests whether an advantage changes with the scores of its own prompt and of the other."""
    base = advantages(torch.tensor([1.0, 0, 0, 0]), 2)
    own, others = (advantages(torch.tensor(scores), 2) for scores in ([1.0, 1, 0, 0], [1.0, 0, 0, 1]))
    if others[0] == base[0]:
        return "sound" if own[0] != base[0] else "mixed"
    return "whole batch"


def _fault_by_changes(advantages):
    """Right: three prompts; changes another prompt's first answer, then the second one of the same prompt."""
    base, other, own = (
        advantages(torch.tensor(scores), 2)[0]
        for scores in ([1.0, 0, 1, 0, 0, 1], [1.0, 0, 0, 0, 0, 1], [1.0, 1, 1, 0, 0, 1])
    )
    if other == base:
        return "sound"
    return "mixed" if own == base else "whole batch"


def _fault_by_another_place(advantages):
    """Right, with three prompts of three: does another prompt's second answer matter, does its first?"""
    scores = torch.tensor([1.0, 0, 2, 0, 1, 1, 2, 0, 1])
    second, first = scores.clone(), scores.clone()
    second[4], first[3] = 5, 5
    base, second, first = (advantages(each, 3)[0] for each in (scores, second, first))
    if second != base:
        return "whole batch"
    return "mixed" if first != base else "sound"


def _fault_by_size(advantages):
    found = advantages(SILENT, 2).abs().max()
    return "sound" if found == 0 else "whole batch" if found > 0.8 else "mixed"


FAULT_MISTAKES = [
    (
        "The two faults are swapped: if prompts are mixed, first answers are compared with first answers, so "
        "1, 0 and 1, 0 give no advantages.",
        lambda advantages: {"mixed": "whole batch", "whole batch": "mixed"}.get(
            group_fault(advantages), "sound"
        ),
    ),
    (
        'You call every function "sound". In all three, equal scores have no advantages, and advantages sum '
        "to 0: give the two prompts different scores, and test any().",
        _fault_of_equal_scores,
    ),
    (
        "Two prompts without a signal alone do not separate the two faults: both give advantages. Also try "
        "two prompts with the scores 1, 0 and 1, 0.",
        _fault_by_silent_groups,
    ),
    (
        "You try prompts that have a signal. There, the mean of the whole batch gives advantages like a "
        "sound function. Try two prompts without a signal first: 1, 1 and 0, 0.",
        _fault_by_speaking_groups,
    ),
    (
        "A function without a fault is sound: it gives no advantages to 1, 1 and 0, 0.",
        lambda advantages: {"sound": "mixed", "mixed": "sound"}.get(group_fault(advantages), "whole batch"),
    ),
    (
        'You call every function "whole batch". A sound one gives no advantages to 1, 1 and 0, 0.',
        lambda advantages: "whole batch",
    ),
    (
        "A sound function need not equal ours: one without the division is sound, too. Test where the "
        "advantages are 0.",
        _fault_unless_ours,
    ),
    (
        "You call the mean of the whole batch, without a division, mixed. The size of an advantage depends "
        "on the division, too: ask where the advantages are 0.",
        _fault_by_size,
    ),
]

EXERCISE = Exercise(
    name="group_fault",
    lesson="18",
    minutes=8,
    difficulty=2,
    reference=group_fault,
    check=compare(
        group_fault,
        _advantage_functions,
        FAULT_MISTAKES,
        else_='Return "sound", "whole batch" or "mixed", spelt so. The function is called as '
        "advantages(scores, group); scores of four answers to two prompts are enough.",
    ),
    wrong=[
        (lambda advantages: "batch", "scores of four answers"),
        (lambda advantages: None, "Is there a return"),
        (lambda: "mixed", "should take the arguments"),
    ],
    right=[_fault_in_three_prompts, _fault_in_one_batch, _fault_by_changes, _fault_by_another_place],
    hints=(
        "Choose the scores by hand. What does a sound function return for two prompts without a signal, one "
        "all right and one all wrong? And if both prompts have the scores 1, 0?",
        "advantages(torch.tensor([1.0, 1, 0, 0]), 2).any() is False for a sound function. For the scores 1, "
        "0, 1, 0 it is False if prompts are mixed, since first answers are compared with first answers, and "
        "True if the mean is that of the whole batch.",
    ),
    then="Your function gives the verdicts below.",
)
