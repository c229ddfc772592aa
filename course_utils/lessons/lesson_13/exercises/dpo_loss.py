"""Lesson 13, dpo_loss: DPO's loss."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.methods.dpo import dpo_loss


def _pairs(count, mean, beta):
    """Log-probabilities of `count` pairs around `mean`, in dpo_loss's order, and beta."""
    return (*(mean + torch.randn(count) for _ in range(4)), beta)


def _far(value):
    return [torch.tensor([one]) for one in value]


def _loss(fault):
    """A wrong dpo_loss: fault(policy's log(chosen / rejected), reference's, beta)."""

    def wrong(chosen, rejected, reference_chosen, reference_rejected, beta):
        loss = fault(chosen - rejected, reference_chosen - reference_rejected, beta)
        return loss, *_implicit(chosen, rejected, reference_chosen, reference_rejected, beta)

    return wrong


def _implicit(chosen, rejected, reference_chosen, reference_rejected, beta):
    return beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)


def _reward(fault):
    """A wrong dpo_loss: its rewards are fault(chosen, rejected implicit rewards, beta)."""
    return lambda *arguments: (dpo_loss(*arguments)[0], *fault(*_implicit(*arguments), arguments[-1]))


def _pair_losses(chosen, rejected, reference_chosen, reference_rejected, beta):
    """dpo_loss without the rewards, whose gradients are not needed."""
    return dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta)[0]


def _beta_outside(chosen, rejected, reference_chosen, reference_rejected, beta):
    ratios = chosen - reference_chosen, rejected - reference_rejected
    return -beta * F.logsigmoid(ratios[0] - ratios[1]), *ratios


def _detached(*arguments):
    loss, *rewards = dpo_loss(*arguments)
    return loss.detach(), *rewards


def _rejected_detached(chosen, rejected, *rest):
    return dpo_loss(chosen, rejected.detach(), *rest)


def _loss_in_place(chosen, rejected, reference_chosen, reference_rejected, beta):
    chosen -= reference_chosen
    rejected -= reference_rejected
    return -F.logsigmoid(beta * (chosen - rejected)), beta * chosen, beta * rejected


def _of_probabilities(chosen, rejected, reference_chosen, reference_rejected, beta):
    policy, reference = chosen.exp() / rejected.exp(), reference_chosen.exp() / reference_rejected.exp()
    loss = -F.logsigmoid(beta * (policy / reference).log())
    return loss, *_implicit(chosen, rejected, reference_chosen, reference_rejected, beta)


def _each_against_reference(chosen, rejected, reference_chosen, reference_rejected, beta):
    ratios = (chosen.exp() / reference_chosen.exp()).log() - (rejected.exp() / reference_rejected.exp()).log()
    loss = -F.logsigmoid(beta * ratios)
    return loss, *_implicit(chosen, rejected, reference_chosen, reference_rejected, beta)


def _by_softplus(chosen, rejected, reference_chosen, reference_rejected, beta):
    loss = F.softplus(beta * (rejected - chosen + reference_chosen - reference_rejected))
    with torch.no_grad():
        return [loss, *_implicit(chosen, rejected, reference_chosen, reference_rejected, beta)]


def _by_softmax(chosen, rejected, reference_chosen, reference_rejected, beta):
    rewards = beta * torch.stack([chosen - reference_chosen, rejected - reference_rejected])
    return rewards.logsumexp(0) - rewards[0], *rewards


LOSS_MISTAKES = [
    (
        "beta is outside the logarithm: there it only scales the loss, and does not change the best policy. "
        "Put it inside, on the margin.",
        _loss(lambda p, r, beta: -beta * F.logsigmoid(p - r)),
    ),
    (
        "beta is outside the logarithm: there it only scales the loss. Put it inside, on the margin. The "
        "implicit rewards have it, too.",
        _beta_outside,
    ),
    (
        "beta stands twice, on the margin and outside the logarithm. There it only scales the loss: leave it "
        "out.",
        _loss(lambda p, r, beta: -beta * F.logsigmoid(beta * (p - r))),
    ),
    ("beta has no effect.", _loss(lambda p, r, beta: -F.logsigmoid(p - r))),
    (
        "You divide the margin by beta. The implicit reward is beta times the log-ratio.",
        _loss(lambda p, r, beta: -F.logsigmoid((p - r) / beta)),
    ),
    (
        "The sign is wrong: this prefers the rejected answer.",
        _loss(lambda p, r, beta: -F.logsigmoid(beta * (r - p))),
    ),
    (
        "The reference is missing: without it the policy has nothing to stay near.",
        _loss(lambda p, r, beta: -F.logsigmoid(beta * p)),
    ),
    (
        "You add the reference's log-ratio. Subtract it: what counts is how far the policy has moved.",
        _loss(lambda p, r, beta: -F.logsigmoid(beta * (p + r))),
    ),
    (
        "You multiply only the policy's log-ratio by beta. Multiply both.",
        _loss(lambda p, r, beta: -F.logsigmoid(beta * p - r)),
    ),
    (
        "The sign of the loss is wrong: it should be positive, and small if the margin is large.",
        _loss(lambda p, r, beta: F.logsigmoid(beta * (p - r))),
    ),
    (
        "This is 1 - sigmoid(margin), not -log sigmoid(margin).",
        _loss(lambda p, r, beta: 1 - torch.sigmoid(beta * (p - r))),
    ),
    ("The logarithm is missing.", _loss(lambda p, r, beta: -torch.sigmoid(beta * (p - r)))),
    (
        "This is the margin without Bradley-Terry's -log sigmoid around it.",
        _loss(lambda p, r, beta: beta * (p - r)),
    ),
    (
        "This is one number. Return the loss of each pair; the training loop takes the mean.",
        _loss(lambda p, r, beta: -F.logsigmoid(beta * (p - r)).mean()),
    ),
    (
        "Return three tensors: the loss of each pair, and the implicit rewards of the chosen and of the "
        "rejected answers.",
        _pair_losses,
    ),
    (
        "The implicit rewards lack beta: they are beta times the log-ratios.",
        _reward(lambda c, r, b: (c / b, r / b)),
    ),
    (
        "The implicit rewards are swapped: return that of the chosen answers first.",
        _reward(lambda c, r, b: (r, c)),
    ),
    ("The sign of the implicit rewards is wrong.", _reward(lambda c, r, b: (-c, -r))),
    (
        "Return the implicit rewards of the two answers. The margin is their difference.",
        _reward(lambda c, r, b: (c - r, r - c)),
    ),
    (
        "The implicit rewards lack the reference: they are beta * log(policy / reference).",
        lambda c, r, of_c, of_r, beta: (dpo_loss(c, r, of_c, of_r, beta)[0], beta * c, beta * r),
    ),
    (
        "beta is missing, in the loss and in the implicit rewards.",
        lambda c, r, of_c, of_r, beta: dpo_loss(c, r, of_c, of_r, 1.0),
    ),
    (
        "The reference is missing, in the loss and in the implicit rewards: without it the policy has "
        "nothing to stay near.",
        lambda c, r, of_c, of_r, beta: dpo_loss(c, r, 0 * of_c, 0 * of_r, beta),
    ),
    (
        "You divide by beta, in the loss and in the implicit rewards. These are beta times the log-ratios.",
        lambda c, r, of_c, of_r, beta: dpo_loss(c, r, of_c, of_r, 1 / beta),
    ),
]
RATIOS = (
    "These are ratios of probabilities. The probability of a whole answer underflows in fp32: "
    "subtract log-probabilities instead."
)
UNDERFLOW = (
    "At a large margin, log(sigmoid(x)) underflows in fp32, also with a small number added: the pair that "
    "needs it most gets no gradient. F.logsigmoid computes both in one step."
)
LOSS = (
    "The loss of each pair is -log sigmoid(beta * ((chosen - reference_chosen) - (rejected - "
    "reference_rejected)))."
)
_check_values = compare(
    dpo_loss, lambda: [_pairs(3, -20.0, 0.3), _pairs(5, -12.0, 1.7)], LOSS_MISTAKES, else_=LOSS
)
_check_gradients = compare(
    _pair_losses,
    lambda: [_pairs(3, -20.0, 0.3), _pairs(5, -12.0, 1.7)],
    [],
    else_=LOSS,
    gradient=("chosen", "rejected"),
    extremes=[
        (RATIOS, lambda: [_pairs(4, -400.0, 0.3)]),
        (UNDERFLOW, lambda: [(*_far([-900.0, -100.0, -100.0, -900.0]), 1.0)]),
        (UNDERFLOW, lambda: [(*_far([-140.0, -100.0, -100.0, -110.0]), 1.0)]),
    ],
)


def _check_dpo_loss(fn):
    _check_values(fn)
    _check_gradients(lambda *arguments: fn(*arguments)[0])


EXERCISE = Exercise(
    name="dpo_loss",
    lesson="13",
    minutes=10,
    difficulty=2,
    reference=dpo_loss,
    check=_check_dpo_loss,
    wrong=[
        *((wrong, message) for message, wrong in LOSS_MISTAKES),
        (_loss(lambda p, r, beta: -torch.log(torch.sigmoid(beta * (p - r)))), "underflows"),
        (_loss(lambda p, r, beta: -torch.log(torch.sigmoid(beta * (p - r)) + 1e-12)), "no gradient"),
        (_loss(lambda p, r, beta: -(beta * (p - r)).sigmoid().clamp(min=1e-8).log()), "no gradient"),
        (_of_probabilities, "ratios of probabilities"),
        (_each_against_reference, "ratios of probabilities"),
        (_detached, "has no graph"),
        (_rejected_detached, "rejected gets no gradient"),
        (_loss_in_place, "changes its argument chosen in place"),
        (_loss(lambda p, r, beta: (beta * (p - r) - 1).square()), "The loss of each pair is"),
        (lambda c, r, of_c, of_r, beta: (0 * c, 0 * c, 0 * c), "The loss of each pair is"),
    ],
    right=[_by_softplus, _by_softmax],
    hints=(
        "The implicit reward of an answer is beta times log(policy / reference). Put the two rewards "
        "into Bradley-Terry's loss of lesson 10.",
        "chosen_reward = beta * (chosen - reference_chosen), [pairs], and likewise the rejected one; the "
        "loss is -F.logsigmoid of their difference. Return the loss and the two rewards.",
    ),
    then="The training calls your function in every step. Run the cells again from here to the end of "
    '"Train".',
)
