"""Lesson 12's companion, leave_one_out_advantages: leave one out."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.reinforce import leave_one_out_advantages


def _groups(fault):
    """A wrong leave_one_out_advantages: fault(returns [prompts, group])."""
    return lambda returns, group: fault(returns.view(-1, group)).flatten()


def _others(grouped):
    return (grouped.sum(1, keepdim=True) - grouped) / (grouped.shape[1] - 1)


def _left_out_in_place(returns, group):
    grouped = returns.view(-1, group)
    grouped -= grouped.mean(1, keepdim=True)
    return returns * group / (group - 1)


def _one_by_one(returns, group):
    values, result = returns.tolist(), []
    for start in range(0, len(values), group):
        part = values[start : start + group]
        result += [value - (sum(part) - value) / (group - 1) for value in part]
    return torch.tensor(result)


LEFT_OUT_MISTAKES = [
    (
        "The baseline contains the answer itself: with a group of k the advantage comes out (k - 1) / k "
        "times too small. Leave it out.",
        _groups(lambda grouped: grouped - grouped.mean(1, keepdim=True)),
    ),
    (
        "The baseline runs over the whole batch. Only answers to the same prompt are comparable: "
        "view(-1, group).",
        lambda returns, group: returns - (returns.sum() - returns) / (len(returns) - 1),
    ),
    (
        "The rows are grouped wrongly: the answers to one prompt stand together.",
        lambda returns, group: leave_one_out_advantages(returns.view(group, -1).T.flatten(), group),
    ),
    (
        "The rows are grouped wrongly: the answers to one prompt stand together.",
        lambda returns, group: (
            leave_one_out_advantages(returns.view(group, -1).T.flatten(), group).view(-1, group).T.flatten()
        ),
    ),
    (
        "The sign is turned: a better answer than the others should have a positive advantage.",
        _groups(lambda grouped: _others(grouped) - grouped),
    ),
    (
        "The other answers are group - 1, not group.",
        _groups(lambda grouped: grouped - (grouped.sum(1, keepdim=True) - grouped) / grouped.shape[1]),
    ),
    (
        "This is GRPO's advantage, divided by the standard deviation. Here it is the plain difference.",
        _groups(lambda g: (g - g.mean(1, keepdim=True)) / (g.std(1, keepdim=True) + 1e-4)),
    ),
    ("This is the baseline. Subtract it from the answer's own return.", _groups(_others)),
    (
        "The shape is [prompts, group]. Flatten it: one advantage for each answer.",
        lambda returns, group: leave_one_out_advantages(returns, group).view(-1, group),
    ),
]

EXERCISE = Exercise(
    name="leave_one_out_advantages",
    lesson="12m",
    minutes=10,
    difficulty=2,
    reference=leave_one_out_advantages,
    check=compare(
        leave_one_out_advantages,
        lambda: [(3 * torch.randn(6), 3), (torch.randn(8) - 4, 2), (torch.randn(10), 5)],
        LEFT_OUT_MISTAKES,
        else_="An answer with the return 1 beside others with 2 and 6 has 1 - (2 + 6) / 2 = -3.",
    ),
    wrong=[
        (_left_out_in_place, "changes its argument returns in place"),
        (lambda returns, group: leave_one_out_advantages(returns, group) / 2, "beside others with 2 and 6"),
        (lambda returns, group: leave_one_out_advantages(returns, 3), "is invalid for input of size 8"),
        (lambda returns, group: 0 * returns, "beside others with 2 and 6"),
    ],
    right=[_one_by_one, _groups(lambda g: (g - g.mean(1, keepdim=True)) * g.shape[1] / (g.shape[1] - 1))],
    hints=(
        "What would the others have given? The mean of the other answers to the same prompt is a "
        "baseline that does not depend on this answer.",
        "returns.view(-1, group) is [prompts, group]. The sum of the others is the group's sum minus the "
        "return; divide by group - 1, subtract from the return, flatten to [rows].",
    ),
    then="The expected gradient below is that of yours, and RLOO in `group_loss` calls it, which is "
    "compared with TRL's step. Run all cells below again.",
)
