"""Lesson 12, per_token_rewards: rewards by token."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_12.exercises.shared import mask_of_answers
from course_utils.methods.ppo import per_token_rewards


def _scored(rows, tokens, beta):
    log_probs = -4 * torch.rand(rows, tokens)
    reference = log_probs + 0.8 * torch.randn(rows, tokens)
    return 3 * torch.randn(rows), log_probs, reference, mask_of_answers(rows, tokens), beta


def _agreeing(rows, tokens, beta, start):
    """Policy and reference agree from column `start` on: the penalty is 0 there."""
    scores, log_probs, reference, mask, beta = _scored(rows, tokens, beta)
    reference[:, start:] = log_probs[:, start:]
    return scores, log_probs, reference, mask, beta


def _parts(scores, log_probs, reference_log_probs, mask, beta):
    """(KL penalty of all positions, the scores at their places, scores, mask)."""
    at_end = per_token_rewards(scores, log_probs, log_probs, mask, 0.0)
    return beta * (log_probs - reference_log_probs), at_end, scores, mask


def _rewards(fault):
    """A wrong per_token_rewards: fault(KL penalty of all positions, scores at the end, scores, mask)."""

    def wrong(scores, log_probs, reference_log_probs, mask, beta):
        return fault(*_parts(scores, log_probs, reference_log_probs, mask, beta))

    return wrong


def _summed(kl, mask):
    return (kl * mask).sum(1, keepdim=True)


def _score_at(place):
    """A wrong per_token_rewards, with the score in column place(mask) of each row."""

    def wrong(scores, log_probs, reference_log_probs, mask, beta):
        rewards = -beta * (log_probs - reference_log_probs) * mask
        rewards[torch.arange(len(scores)), place(mask)] += scores
        return rewards

    return wrong


def _score_after_a_penalty(scores, log_probs, reference_log_probs, mask, beta):
    rewards = -beta * (log_probs - reference_log_probs) * mask
    rewards[torch.arange(len(scores)), _last(rewards != 0)] += scores
    return rewards


def _overwritten(scores, log_probs, reference_log_probs, mask, beta):
    rewards = -beta * (log_probs - reference_log_probs) * mask
    rewards[torch.arange(len(scores)), _last(mask)] = scores
    return rewards


def _score_in_all_rows(scores, log_probs, reference_log_probs, mask, beta):
    rewards = -beta * (log_probs - reference_log_probs) * mask
    rewards[:, _last(mask)] += scores
    return rewards


def _last(mask):
    return (mask * torch.arange(mask.shape[1])).argmax(1)


def _rewards_in_place(scores, log_probs, reference_log_probs, mask, beta):
    log_probs -= reference_log_probs
    return per_token_rewards(scores, log_probs, 0 * log_probs, mask, beta)


def _row_by_row(scores, log_probs, reference_log_probs, mask, beta):
    rewards = torch.zeros_like(log_probs)
    for row, kept in enumerate(mask.bool()):
        rewards[row, kept] = beta * (reference_log_probs - log_probs)[row, kept]
        rewards[row, kept.nonzero()[-1]] += scores[row]
    return rewards


REWARD_MISTAKES = [
    (
        "The sign of the KL is turned: this rewards moving away from the reference.",
        _rewards(lambda kl, at_end, scores, mask: at_end + kl * mask),
    ),
    (
        "Prompt or padding is penalised too: multiply the penalty by the mask.",
        _rewards(lambda kl, at_end, scores, mask: at_end - kl),
    ),
    (
        "The score stands at every token. It belongs to the last one.",
        _rewards(lambda kl, at_end, scores, mask: (scores[:, None] - kl) * mask),
    ),
    (
        "The score stands in the last column. That is padding where the answer is shorter: look for the "
        "last token of each row's mask.",
        _score_at(lambda mask: -1),
    ),
    (
        "The score stands at mask.sum(1) - 1. In lesson 11 the mask began in the first column; here the "
        "prompt stands before the answer, so the last token is the largest position where the mask is 1.",
        _score_at(lambda mask: mask.long().sum(1) - 1),
    ),
    ("The score stands at the first token of the answer.", _score_at(lambda mask: mask.argmax(1))),
    (
        "The score stands one token after the answer's last.",
        _score_at(lambda mask: _last(mask).add(1).clamp(max=mask.shape[1] - 1)),
    ),
    ("The score stands one token before the answer's last.", _score_at(lambda mask: _last(mask) - 1)),
    (
        "Every row has the other rows' scores too: rewards[:, last] are these columns of all rows. Write "
        "rewards[torch.arange(rows), last].",
        _score_in_all_rows,
    ),
    (
        "The score stands at the last token with a penalty. Where policy and reference agree, as before the "
        "first step, the penalty is 0: look for the last token in the mask.",
        _score_after_a_penalty,
    ),
    ("The KL penalty is missing.", _rewards(lambda kl, at_end, scores, mask: at_end)),
    ("The score is missing.", _rewards(lambda kl, at_end, scores, mask: -kl * mask)),
    ("The last token has the score and not its penalty: add the score, do not overwrite.", _overwritten),
    (
        "The KL is counted twice: at every token, and as a sum at the last one.",
        _rewards(lambda kl, at_end, scores, mask: at_end - kl * mask - _summed(kl, mask) * (at_end != 0)),
    ),
    (
        "The whole KL stands at the last token. Its sum is right; but give every token its own part, so "
        "that it is known which one moved.",
        _rewards(lambda kl, at_end, scores, mask: at_end - _summed(kl, mask) * (at_end != 0)),
    ),
    (
        "The KL is divided by the answer's length.",
        _rewards(lambda kl, at_end, scores, mask: at_end - kl * mask / mask.sum(1, keepdim=True)),
    ),
    (
        "beta has no effect.",
        lambda scores, log_probs, reference, mask, beta: per_token_rewards(
            scores, log_probs, reference, mask, 1.0
        ),
    ),
    (
        "This is the sum of each row. Return a reward for every token, [rows, tokens].",
        lambda *arguments: per_token_rewards(*arguments).sum(1),
    ),
]

EXERCISE = Exercise(
    name="per_token_rewards",
    lesson="12",
    minutes=8,
    difficulty=2,
    reference=per_token_rewards,
    check=compare(
        per_token_rewards,
        lambda: [
            _scored(4, 6, 0.3),
            _scored(5, 9, 1.7),
            _agreeing(4, 7, 0.5, start=3),
            _agreeing(4, 6, 0.2, start=0),
        ],
        REWARD_MISTAKES,
        else_="Every token of the answer has -beta * (log_probs - reference_log_probs), its last one the "
        "score besides, and everything else 0.",
    ),
    wrong=[
        (_rewards_in_place, "changes its argument log_probs in place"),
        (_rewards(lambda kl, at_end, scores, mask: 2 * at_end - kl * mask), "Every token of the answer"),
        (lambda *arguments: torch.zeros_like(arguments[1]), "Every token of the answer"),
        (lambda *arguments: None, "Is there a return"),
    ],
    right=[_score_at(_last), _score_at(lambda mask: mask.cumsum(1).argmax(1)), _row_by_row],
    hints=(
        "Two parts. The KL penalty is paid at every token of the answer, when it is chosen. The reward "
        "model has read the whole answer, so its score comes with the last token.",
        "-beta * (log_probs - reference_log_probs) * mask is [rows, tokens]; lesson 11's rlhf_kl_penalty "
        "gives it without the sign. The last token of a row: mask.cumsum(1) is largest "
        "from there on, and argmax(1) gives the first such place. Add the score there.",
    ),
    then="`experience` calls yours for every batch of answers, so both trainings below run on it. Run "
    'the cells again from here to the end of "With the penalty, and without".',
)
