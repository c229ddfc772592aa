"""Lesson 11, rewards_by_token: rewards by token."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_11.small_kl import rewards_by_token


def _scored(*lengths):
    """Scores, penalties and mask of answers of these lengths, as rewards_by_token takes them."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths)) + 0.2, torch.randn(mask.shape) * mask, mask


def _unpenalised(*lengths):
    """The same, from a policy that still is the reference."""
    scores, penalties, mask = _scored(*lengths)
    return scores, 0 * penalties, mask


def _rewards(fault):
    """A wrong rewards_by_token: fault(minus the penalties, scores, places of the last real tokens)."""

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
    "Each token gets the score, so a long answer gets it many times. It belongs to the last real token."
)
REWARDS_MISTAKES = [
    (
        "The penalty is counted twice: by token, and as a sum at the end. One of the two, and by token it "
        "says which token is to blame.",
        _rewards(_count_twice),
    ),
    (
        "All stands at the end. The total is right, but each token should carry its own penalty.",
        _rewards(_all_at_the_end),
    ),
    (
        "The score is in the last column. Shorter rows end earlier: their last column is padding.",
        _rewards(_last_column),
    ),
    (
        "rewards[:, last] is these columns of every row. One place a row: "
        "rewards[torch.arange(batch), last].",
        _rewards(_in_every_row),
    ),
    (
        "The score is in the first column. The reward model reads the whole answer: it belongs to the end.",
        _rewards(_first_column),
    ),
    (
        "The score is one place too late: the last real token is at mask.sum(-1) - 1.",
        _rewards(_after_the_last),
    ),
    (MANY_TIMES, lambda scores, penalties, mask: scores[:, None] - penalties),
    (MANY_TIMES, lambda scores, penalties, mask: scores[:, None] * mask - penalties),
    ("The penalties are added: the policy would be paid for leaving the reference.", _rewards(_added)),
    ("The score replaces the last token's penalty. It is added to it.", _rewards(_replaced)),
    (
        "The end of a row is read off the penalties, which may be 0 at a real token too. The mask tells it.",
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
        else_="Minus the penalty at every token, and the score added at the last real one.",
    ),
    wrong=[
        (_rewards(lambda rewards, scores, last: rewards.mul_(2)), "Minus the penalty at every token"),
        (_penalties_in_place, "changes its argument penalties in place"),
        (lambda scores, penalties, mask: scores - penalties.sum(-1), "should have the shape"),
    ],
    right=[_by_one_hot, _answer_by_answer],
    hints=(
        "Each token pays its own penalty where it stands. The reward model reads the whole answer, so "
        "its score can only come at the end; the end of each row is told by the mask.",
        "-penalties is [batch, tokens]; completions start in column 0, so mask.sum(-1) - 1 is the place "
        "of the last real token, [batch] (so is lesson 10's last_token). Then "
        "rewards[torch.arange(batch), last] += scores.",
    ),
    then="The training with the penalty below runs on your function.",
)
