"""Lesson 12, gae: advantages and targets."""

import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_12.exercises.shared import mask_of_answers
from course_utils.methods.ppo import gae


def _valued(rows, tokens):
    """Rewards that are 0 off the answer; values are of every position, as a value head gives them."""
    mask = mask_of_answers(rows, tokens)
    return torch.randn(rows, tokens) * mask, 2 * torch.randn(rows, tokens), mask


def _advantages():
    first, second, third = _valued(4, 6), _valued(5, 9), _valued(3, 5)
    return [call(*first, gamma=0.9, lam=0.5), call(*second, 0.7, 0.8), call(*third), call(*third, lam=1.0)]


def _gae(fault):
    """A wrong gae: fault(rewards, values, mask, gamma, lam)."""
    return lambda rewards, values, mask, gamma=1.0, lam=0.95: fault(rewards, values, mask, gamma, lam)


def _bootstrapped(rewards, values, mask, gamma, lam):
    """With the values off the answer left in."""
    following = torch.cat([values[:, 1:], torch.zeros(len(values), 1)], 1)
    delta = rewards + gamma * following - values
    advantages, carried = torch.zeros_like(rewards), torch.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        carried = (delta[:, t] + gamma * lam * carried) * mask[:, t]
        advantages[:, t] = carried
    return advantages, (advantages + values) * mask


def _masked_at_the_end(rewards, values, mask, gamma, lam):
    advantages, _ = gae(rewards, values, torch.ones_like(mask), gamma, lam)
    return advantages * mask, (advantages + values) * mask


def _forward(rewards, values, mask, gamma, lam):
    turned = (value.flip(1) for value in (rewards, values, mask))
    return tuple(part.flip(1) for part in gae(*turned, gamma, lam))


def _off_the_answer(rewards, values, mask, gamma, lam):
    """Nothing is set to 0 before the answer begins."""
    values = values * mask
    advantages, carried = torch.zeros_like(rewards), torch.zeros(len(rewards))
    following = torch.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        carried = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * carried
        following, advantages[:, t] = values[:, t], carried
    return advantages, advantages + values


def _without_mask(rewards, values, mask, gamma, lam):
    return gae(rewards, values, torch.ones_like(mask), gamma, lam)


def _to_come(rewards):
    """The rewards of each position and all after it."""
    return rewards.flip(1).cumsum(1).flip(1)


def _gae_in_place(rewards, values, mask, gamma=1.0, lam=0.95):
    values *= mask
    return gae(rewards, values, mask, gamma, lam)


def _gae_into_rewards(rewards, values, mask, gamma=1.0, lam=0.95):
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    rewards.copy_(advantages)
    return rewards, returns


def _by_deltas(rewards, values, mask, gamma=1.0, lam=0.95):
    """All one-step errors first, then their sums."""
    values = torch.where(mask == 1, values, 0.0)
    delta = (rewards + gamma * torch.nn.functional.pad(values[:, 1:], (0, 1)) - values) * mask
    tokens = range(rewards.shape[1])
    weights = torch.tensor([[(gamma * lam) ** (u - t) if u >= t else 0.0 for u in tokens] for t in tokens])
    advantages = (delta @ weights.T) * mask
    return advantages, advantages + values


def _by_columns(rewards, values, mask, gamma=1.0, lam=0.95):
    values, columns, carried = values * mask, [], 0.0
    for t in range(rewards.shape[1] - 1, -1, -1):
        later = values[:, t + 1] if t + 1 < rewards.shape[1] else 0.0
        carried = mask[:, t] * (rewards[:, t] + gamma * later - values[:, t] + gamma * lam * carried)
        columns.insert(0, carried)
    advantages = torch.stack(columns, 1)
    return [advantages, values + advantages]


GAE_MISTAKES = [
    (
        "The value of the position after the answer is used. The answer has ended there: what follows "
        "is worth 0. Multiply the values by the mask first.",
        _gae(_bootstrapped),
    ),
    ("The values off the answer are used. Multiply the values by the mask first.", _gae(_masked_at_the_end)),
    ("lam has no effect: these are the one-step errors.", _gae(lambda r, v, m, g, lam: gae(r, v, m, g, 0.0))),
    ("lam has no effect: this is its value at lam = 1.", _gae(lambda r, v, m, g, lam: gae(r, v, m, g, 1.0))),
    (
        "lam has no effect: it is 0.95 whatever is asked for.",
        _gae(lambda r, v, m, g, lam: gae(r, v, m, g, 0.95)),
    ),
    ("gamma has no effect.", _gae(lambda r, v, m, g, lam: gae(r, v, m, 1.0, lam))),
    (
        "Without gamma and lam the defaults should hold: gamma=1.0, lam=0.95.",
        lambda r, v, m, gamma=0.99, lam=0.95: gae(r, v, m, gamma, lam),
    ),
    (
        "The errors are weighted by lam alone: each step back takes gamma * lam.",
        _gae(lambda r, v, m, g, lam: gae(r, v, m, g, lam / g)),
    ),
    ("The values are not subtracted.", _gae(lambda r, v, m, g, lam: gae(r, 0 * v, m, g, lam))),
    (
        "The recursion runs forward: a token would be credited with what came before it. Start at the end.",
        _gae(_forward),
    ),
    ("Prompt and padding have advantages too: multiply by the mask.", _gae(_off_the_answer)),
    ("The mask has no effect: what is off the answer counts.", _gae(_without_mask)),
    (
        "The targets are advantage plus value, not plus reward.",
        _gae(lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0], gae(r, v, m, g, lam)[0] + r * m)),
    ),
    (
        "The targets are the advantages plus the values: what the values should have been.",
        _gae(lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0],) * 2),
    ),
    *(
        (
            "These targets are the returns, the rewards to come. That is right at lam = 1 alone: targets are "
            "advantages plus values.",
            _gae(returns),
        )
        for returns in (
            lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0], gae(r, v, m, g, 1.0)[1]),
            lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0], _to_come(r) * m),
            lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0], _to_come(r)),
        )
    ),
    (
        "The targets are off the answer too: use the values that were multiplied by the mask.",
        _gae(lambda r, v, m, g, lam: (gae(r, v, m, g, lam)[0], gae(r, v, m, g, lam)[0] + v)),
    ),
    (
        "Advantages and targets are exchanged: first the advantages.",
        _gae(lambda r, v, m, g, lam: gae(r, v, m, g, lam)[::-1]),
    ),
    (
        "Return two tensors: the advantages and the targets.",
        _gae(lambda r, v, m, g, lam: gae(r, v, m, g, lam)[0]),
    ),
]

EXERCISE = Exercise(
    name="gae",
    lesson="12",
    minutes=12,
    difficulty=3,
    reference=gae,
    check=compare(
        gae,
        _advantages,
        GAE_MISTAKES,
        else_="At the answer's last token the advantage is reward minus value; before it, delta_t + "
        "gamma * lam * (advantage of the next token). The targets are advantages plus values.",
    ),
    wrong=[
        (_gae_in_place, "changes its argument values in place"),
        (_gae_into_rewards, "changes its argument rewards in place"),
        (_gae(lambda r, v, m, g, lam: gae(2 * r, v, m, g, lam)), "last token the advantage is"),
        (_gae(lambda r, v, m, g, lam: (0 * r, 0 * r)), "last token the advantage is"),
        (lambda rewards, values, mask: gae(rewards, values, mask), "should take the arguments"),
    ],
    right=[_by_deltas, _by_columns],
    hints=(
        "How much better was a token than expected? Its own error is delta = reward + gamma * (value of "
        "the next position) - value. GAE adds the errors of the tokens after it, each weighted by gamma "
        "* lam once more.",
        "values = values * mask. From the last column to the first: delta [rows], A = (delta + gamma * "
        "lam * A of the next column) * mask[:, t]. Past the end, value and A are 0. Targets: A + values.",
    ),
    then="`experience` calls yours for every batch of answers, so both trainings below run on it. Run "
    'the cells again from here to the end of "With the penalty, and without".',
)
