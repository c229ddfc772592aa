"""Lesson 11, rewards_by_token: rewards by token."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_11.small_kl import rewards_by_token


def _scored(*lengths):
    """Arguments of rewards_by_token for answers of these lengths: scores, penalties, mask."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths)) + 0.2, torch.where(mask, torch.randn(mask.shape), 0.0), mask


def _unpenalised(*lengths):
    """Like _scored, for a policy that is still the reference."""
    scores, penalties, mask = _scored(*lengths)
    return scores, torch.zeros_like(penalties), mask


def _rewards(fault):
    """A wrong rewards_by_token: fault(minus the penalties, scores, positions of the last real tokens)."""

    def wrong(scores, penalties, mask):
        rewards = -penalties
        fault(rewards, scores, (torch.arange(len(scores)), mask.sum(-1) - 1))
        return rewards

    return wrong


def _count_twice(rewards, scores, last):
    rewards[last] += scores + rewards.sum(-1)


def _all_at_the_end(rewards, scores, last):
    total = rewards.sum(-1)
    rewards.zero_()
    rewards[last] = scores + total


def _last_column(rewards, scores, last):
    rewards[:, -1] += scores


def _in_every_row(rewards, scores, last):
    rewards[:, last[1]] += scores


def _first_column(rewards, scores, last):
    rewards[:, 0] += scores


def _after_the_last(rewards, scores, last):
    rewards[last[0], (last[1] + 1).clamp(max=rewards.shape[1] - 1)] += scores


def _after_the_last_or_lost(scores, penalties, mask):
    after = torch.arange(mask.shape[1]) == mask.sum(-1, keepdim=True)
    return scores[:, None] * after - penalties


def _replaced(rewards, scores, last):
    rewards[last] = scores


def _added(rewards, scores, last):
    rewards.neg_()
    rewards[last] += scores


def _penalties_in_place(scores, penalties, mask):
    penalties.neg_()
    penalties[torch.arange(len(scores)), mask.sum(-1) - 1] += scores
    return penalties


def _end_by_penalties(scores, penalties, mask):
    places = torch.arange(mask.shape[1])
    last = (places * (penalties != 0)).amax(-1, keepdim=True)
    return scores[:, None] * (places == last) - penalties


def _by_one_hot(scores, penalties, mask):
    places = torch.arange(mask.shape[1])
    last = (places * mask).amax(-1, keepdim=True)
    return scores[:, None] * (places == last) - penalties


def _answer_by_answer(scores, penalties, mask):
    rewards = penalties.clone().neg()
    for row, real in enumerate(mask):
        rewards[row, int(real.nonzero()[-1])] += scores[row]
    return rewards


MANY_TIMES = (
    "You give each token the score, so a long answer gets it many times. Give it to the last real token."
)
LATE = "The score is one position too late: the last real token is at mask.sum(-1) - 1."
REWARDS_MISTAKES = [
    (
        "You count the penalty twice: per token, and as a sum at the end. Count it per token, which shows "
        "which token caused it.",
        _rewards(_count_twice),
    ),
    (
        "You put everything at the end. The total is right, but each token should get its own penalty.",
        _rewards(_all_at_the_end),
    ),
    (
        "You put the score in the last column. Shorter rows end earlier: their last column is padding.",
        _rewards(_last_column),
    ),
    (
        "rewards[:, last] selects these columns in every row. Select one position per row: "
        "rewards[torch.arange(batch), last].",
        _rewards(_in_every_row),
    ),
    (
        "You put the score in the first column. The reward model reads the whole answer: put the score at "
        "the end.",
        _rewards(_first_column),
    ),
    (LATE, _rewards(_after_the_last)),
    (LATE, _after_the_last_or_lost),
    (MANY_TIMES, lambda scores, penalties, mask: scores[:, None] - penalties),
    (MANY_TIMES, lambda scores, penalties, mask: scores[:, None] * mask - penalties),
    ("You add the penalties: the policy would be rewarded for leaving the reference.", _rewards(_added)),
    ("You replace the last token's penalty by the score. Add the score to it.", _rewards(_replaced)),
    (
        "You find the end of a row by the penalties, which may also be 0 at a real token. Use the mask.",
        _end_by_penalties,
    ),
    ("The score is missing.", lambda scores, penalties, mask: -penalties),
]

EXERCISE = Exercise(
    name="rewards_by_token",
    lesson="11",
    minutes=8,
    difficulty=2,
    reference=rewards_by_token,
    check=compare(
        rewards_by_token,
        lambda: [_scored(4, 2, 1), _scored(2, 6, 3, 5), _unpenalised(3, 2)],
        REWARDS_MISTAKES,
        else_="It is minus the penalty at every token, plus the score at the last real one.",
    ),
    wrong=[
        (_rewards(lambda rewards, scores, last: rewards.mul_(2)), "minus the penalty at every token"),
        (_penalties_in_place, "changes its argument penalties in place"),
        (lambda scores, penalties, mask: scores - penalties.sum(-1), "should have the shape"),
    ],
    right=[_by_one_hot, _answer_by_answer],
    hints=(
        "Each token gets its own penalty. The reward model reads the whole answer, so its score comes at the "
        "end; the mask shows the end of each row.",
        "-penalties is [batch, tokens]; completions start in column 0, so mask.sum(-1) - 1 is the position "
        "of the last real token, [batch] (like lesson 10's last_token). Then "
        "rewards[torch.arange(batch), last] += scores.",
    ),
    then="The training with the penalty below uses your function.",
)
