"""Lesson 13's companion, orpo_loss: ORPO's loss."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.dpo import orpo_loss


def _pairs(count, beta):
    """Arguments of orpo_loss: answers of five to fourteen tokens with means from -1.6 to -.1."""
    lengths = torch.randint(5, 15, (2, count)).float()
    means = -0.1 - 1.5 * torch.rand(2, count)
    references = -0.1 - 1.5 * torch.rand(2, count)
    return (*(means * lengths), *(references * lengths), beta, lengths)


def _certain():
    """A rejected answer whose tokens are almost certain: its probability is 1 in fp32."""
    logs = [torch.tensor([value]) for value in (-5.0, -1e-7, -1.0, -1.0)]
    return [(*logs, 0.5, torch.full((2, 1), 5.0))]


def _odds(mean):
    return mean - torch.log(-torch.expm1(mean))


def _loss(fault):
    """A wrong orpo_loss: fault(mean of the chosen answer, of the rejected one, beta)."""

    def wrong(chosen, rejected, reference_chosen, reference_rejected, beta, lengths):
        means = chosen / lengths[0], rejected / lengths[1]
        return fault(*means, beta), beta * means[0], beta * means[1]

    return wrong


def _reward(fault):
    """A wrong orpo_loss: its rewards are fault(chosen reward, rejected reward, beta)."""
    return lambda *arguments: (orpo_loss(*arguments)[0], *fault(*orpo_loss(*arguments)[1:], arguments[4]))


def _pair_losses(chosen, rejected, reference_chosen, reference_rejected, beta, lengths):
    return orpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta, lengths)[0]


def _of_sums(chosen, rejected, reference_chosen, reference_rejected, beta, lengths):
    return orpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta, torch.ones_like(lengths))


def _turned_lengths(chosen, rejected, reference_chosen, reference_rejected, beta, lengths):
    return orpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta, lengths.flip(0))


def _with_reference(chosen, rejected, reference_chosen, reference_rejected, beta, lengths):
    logs = chosen - reference_chosen, rejected - reference_rejected
    ratio = logs[0] / lengths[0] - logs[1] / lengths[1]
    return -chosen / lengths[0] - beta * F.logsigmoid(ratio), *_rewards(chosen, rejected, beta, lengths)


def _rewards(chosen, rejected, beta, lengths):
    return beta * chosen / lengths[0], beta * rejected / lengths[1]


def _detached(*arguments):
    loss, *rewards = orpo_loss(*arguments)
    return loss.detach(), *rewards


def _in_double(chosen, rejected, reference_chosen, reference_rejected, beta, lengths):
    means = chosen.double() / lengths[0], rejected.double() / lengths[1]
    odds = [mean - (1 - mean.exp()).log() for mean in means]
    loss = -means[0] + beta * F.softplus(odds[1] - odds[0])
    return [loss.float(), *_rewards(chosen, rejected, beta, lengths)]


def _by_parts(chosen, rejected, reference_chosen, reference_rejected, beta, lengths):
    chosen, rejected = torch.stack([chosen, rejected]) / lengths
    ratio = chosen - rejected - torch.log(-torch.expm1(chosen)) + torch.log(-torch.expm1(rejected))
    return -(chosen + beta * F.logsigmoid(ratio)), beta * chosen, beta * rejected


LOSS_MISTAKES = [
    (
        "These are ratios of probabilities. ORPO compares odds: p / (1 - p).",
        _loss(lambda c, r, beta: -c - beta * F.logsigmoid(c - r)),
    ),
    (
        "The loss of the chosen answer itself is missing: minus its mean log-probability.",
        _loss(lambda c, r, beta: -beta * F.logsigmoid(_odds(c) - _odds(r))),
    ),
    (
        "This is the first part alone, the loss of the chosen answer. Add the part with the odds.",
        _loss(lambda c, r, beta: -c),
    ),
    (
        "The sign of the first part is wrong: the loss of a token is minus its log-probability.",
        _loss(lambda c, r, beta: c - beta * F.logsigmoid(_odds(c) - _odds(r))),
    ),
    (
        "The sign of the second part is wrong: the loss falls as the odds of the chosen answer rise.",
        _loss(lambda c, r, beta: -c + beta * F.logsigmoid(_odds(c) - _odds(r))),
    ),
    (
        "The odds are the wrong way round: this prefers the rejected answer.",
        _loss(lambda c, r, beta: -c - beta * F.logsigmoid(_odds(r) - _odds(c))),
    ),
    ("beta has no effect on the loss.", _loss(lambda c, r, beta: -c - F.logsigmoid(_odds(c) - _odds(r)))),
    (
        "beta stands in front of the logarithm here, not inside: it weighs the second part.",
        _loss(lambda c, r, beta: -c - F.logsigmoid(beta * (_odds(c) - _odds(r)))),
    ),
    (
        "beta weighs the wrong part: it belongs to the odds.",
        _loss(lambda c, r, beta: -beta * c - F.logsigmoid(_odds(c) - _odds(r))),
    ),
    (
        "You tune on both answers. Only the chosen one has a loss of its own.",
        _loss(lambda c, r, beta: -c - r - beta * F.logsigmoid(_odds(c) - _odds(r))),
    ),
    (
        "The odds lack their denominator's logarithm: log(p / (1 - p)) is log p - log(1 - p).",
        _loss(lambda c, r, beta: -c - beta * F.logsigmoid(c / (1 - c.exp()) - r / (1 - r.exp()))),
    ),
    ("These are sums. Divide each log-probability by the tokens of its answer first.", _of_sums),
    ("The lengths are swapped: lengths[0] has the tokens of the chosen answers.", _turned_lengths),
    ("ORPO has no reference: leave those two arguments alone.", _with_reference),
    (
        "This is one number. Return the loss of each pair; the training loop takes the mean.",
        _loss(lambda c, r, beta: (-c - beta * F.logsigmoid(_odds(c) - _odds(r))).mean()),
    ),
    (
        "Return three tensors: the loss of each pair, and the rewards of the chosen and of the rejected "
        "answers.",
        _pair_losses,
    ),
    ("The rewards lack beta.", _reward(lambda c, r, beta: (c / beta, r / beta))),
    ("The rewards are swapped: return that of the chosen answers first.", _reward(lambda c, r, beta: (r, c))),
]
CERTAIN = (
    "An answer that is almost certain has p = 1 in fp32, and 1 - p is 0. -torch.expm1(m) is 1 - exp(m) "
    "without that loss."
)
LOSS = "The loss of each pair is -m of the chosen answer - beta * log sigmoid(its log odds - the other's)."
_check_values = compare(
    orpo_loss,
    lambda: [_pairs(3, 0.3), _pairs(5, 1.7)],
    LOSS_MISTAKES,
    else_=LOSS,
    extremes=[(CERTAIN, _certain)],
)
_check_gradients = compare(
    _pair_losses, lambda: [_pairs(3, 0.3), _pairs(5, 1.7)], [], else_=LOSS, gradient=("chosen", "rejected")
)


def _check_orpo_loss(fn):
    _check_values(fn)
    _check_gradients(lambda *arguments: fn(*arguments)[0])


EXERCISE = Exercise(
    name="orpo_loss",
    lesson="13m",
    minutes=8,
    difficulty=2,
    reference=orpo_loss,
    check=_check_orpo_loss,
    wrong=[
        *((wrong, message) for message, wrong in LOSS_MISTAKES),
        (
            _loss(
                lambda c, r, beta: (
                    -c - beta * F.logsigmoid(c - torch.log(1 - c.exp()) - r + torch.log(1 - r.exp()))
                )
            ),
            "almost certain",
        ),
        (_detached, "has no graph"),
        (lambda *arguments: tuple(0 * one for one in arguments[:3]), "The loss of each pair is"),
        (lambda *arguments: None, "Is there a return"),
    ],
    right=[_in_double, _by_parts],
    hints=(
        "m is an answer's log-probability over its number of tokens, p is exp(m). The log of p / (1 - p) is "
        "m - log(1 - p). The loss has two parts: one is that of instruction tuning, the other that of DPO "
        "with log odds in the place of the rewards.",
        "odds = m - torch.log(-torch.expm1(m)) of each side; the loss is -m_chosen - beta * F.logsigmoid("
        "odds_chosen - odds_rejected); the rewards are beta * m.",
    ),
    then="The training below calls yours.",
)
