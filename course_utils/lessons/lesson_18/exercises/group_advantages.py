"""Lesson 18, group_advantages: advantages within a group."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_18.exercises.shared import AGAIN
from course_utils.methods.grpo import group_advantages


def _scores(prompts, group):
    scores = torch.randint(0, 2, (prompts * group,)).float()
    scores[:group] = 0  # a group without a signal
    scores[group : 2 * group] = 1
    scores[-group:] = torch.arange(group) % 2
    return scores, group


def _advantages():
    return [_scores(4, 4), _scores(3, 8), (3 * torch.randn(10), 5), (torch.tensor([1.0, 0.0, 0.0, 0.0]), 2)]


def _groups(fault):
    """A wrong group_advantages: fault(scores [prompts, group])."""
    return lambda scores, group: fault(scores.view(-1, group)).flatten()


def _centred(grouped):
    return grouped - grouped.mean(1, keepdim=True)


def _mixed(scores, group):
    grouped = scores.view(group, -1)
    return ((grouped - grouped.mean(0)) / (grouped.std(0) + 1e-4)).flatten()


def _mixed_rows(scores, group):
    return group_advantages(scores.view(group, -1).T.flatten(), group)


def _whole_batch(scores, group):
    return (scores - scores.mean()) / (scores.std() + 1e-4)


def _advantages_in_place(scores, group):
    scores -= scores.view(-1, group).mean(1).repeat_interleave(group)
    return group_advantages(scores, group)


def _one_by_one(scores, group):
    parts = [part - part.mean() for part in scores.split(group)]
    return torch.cat([part / (part.square().sum().div(group - 1).sqrt() + 1e-4) for part in parts])


def _by_repeat(scores, group):
    grouped = scores.reshape(len(scores) // group, group)
    mean = grouped.mean(1).repeat_interleave(group)
    spread = torch.std(grouped, dim=1, correction=1).repeat_interleave(group)
    return (scores - mean) / (1e-4 + spread)


ADVANTAGE_MISTAKES = [
    (
        "Mean and deviation are those of the whole batch. Only answers to the same prompt are comparable: "
        "use scores.view(-1, group), and one mean per row.",
        _whole_batch,
    ),
    (
        "The groups mix prompts: view(group, -1) puts answers to different prompts into one column. The "
        "answers to one prompt are adjacent, so the view is (-1, group).",
        _mixed,
    ),
    (
        "The groups mix prompts, and the advantages are at the wrong answers. The answers to one prompt are "
        "adjacent: view(-1, group).",
        _mixed_rows,
    ),
    (
        "A group with equal scores gives nan: its deviation is 0. Add 1e-4 to the deviation.",
        _groups(lambda g: _centred(g) / g.std(1, keepdim=True)),
    ),
    (
        "The deviation is missing: this is Dr. GRPO's advantage, which the companion has. Divide by the "
        "group's standard deviation + 1e-4.",
        _groups(_centred),
    ),
    (
        'The mean is the group\'s, but the deviation that of the whole batch (scale_rewards="batch" in TRL). '
        "Divide by the group's own.",
        lambda scores, group: _centred(scores.view(-1, group)).flatten() / (scores.std() + 1e-4),
    ),
    ("You do not subtract the mean.", _groups(lambda g: g / (g.std(1, keepdim=True) + 1e-4))),
    (
        "The sign is wrong: a right answer among wrong ones should have a positive advantage.",
        _groups(lambda g: -_centred(g) / (g.std(1, keepdim=True) + 1e-4)),
    ),
    (
        "You divide by the variance. Divide by its root, the standard deviation.",
        _groups(lambda g: _centred(g) / (g.var(1, keepdim=True) + 1e-4)),
    ),
    (
        "Your deviation divides by group; std by default divides by group - 1, as in TRL.",
        _groups(lambda g: _centred(g) / (g.std(1, keepdim=True, correction=0) + 1e-4)),
    ),
    (
        "keepdim=True is missing: a mean of shape [prompts] is broadcast along the columns, or does not fit. "
        "Keep mean and deviation [prompts, 1].",
        _groups(lambda g: (g - g.mean(1)) / (g.std(1) + 1e-4)),
    ),
    (
        "The shape is [prompts, group]. Flatten it: one advantage for each answer.",
        lambda scores, group: group_advantages(scores, group).view(-1, group),
    ),
]

EXERCISE = Exercise(
    name="group_advantages",
    lesson="18",
    minutes=5,
    difficulty=1,
    reference=group_advantages,
    check=compare(
        group_advantages,
        _advantages,
        ADVANTAGE_MISTAKES,
        else_="A group with the scores 1, 0, 0, 0 has the mean 1/4 and the deviation 1/2: its "
        "advantages are 1.5 and three times -0.5.",
    ),
    wrong=[
        (_advantages_in_place, "changes its argument scores in place"),
        (lambda scores, group: 0 * scores, "has the mean 1/4"),
        (_groups(lambda g: 2 * _centred(g) / (g.std(1, keepdim=True) + 1e-4)), "has the mean 1/4"),
    ],
    right=[_one_by_one, _by_repeat],
    hints=(
        "An answer is good if it is better than the other answers to the same prompt. Subtract the "
        "group's mean, and divide by the group's standard deviation.",
        "scores.view(-1, group) is [prompts, group]; mean(1, keepdim=True) and std(1, keepdim=True) are "
        "[prompts, 1]. Add 1e-4 to the deviation, since it may be 0. Flatten to [rows].",
    ),
    then=f"The training below calls your function for every batch of answers. {AGAIN}",
)
