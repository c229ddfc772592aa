"""Exercises of lesson 13: direct preference optimisation."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor


def answer_log_probs(logits, labels):
    """Log-probability of each row's answer. logits [rows, T, V], labels [rows, T]."""
    log_probs = logits[:, :-1].log_softmax(-1)  # (rows, T - 1, V)
    targets = labels[:, 1:]  # (rows, T - 1)
    chosen = log_probs.gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    return (chosen * (targets != -100)).sum(1)


def _check_answer_log_probs(fn):
    logits = torch.randn(3, 6, 5)
    off = -100
    labels = torch.tensor([[off, off, 3, 1, 0, off], [off, 2, 4, 4, 1, 3], [off, off, off, 0, 2, off]])
    before = labels.clone()
    result = expect_tensor(fn(logits, labels))
    if not torch.equal(labels, before):
        raise Mistake("The labels were changed in place; the batch is still needed.")
    if result.ndim == 0:
        raise Mistake(
            "This is one number for the batch. Each row is an answer with a log-probability of its own."
        )
    expect_tensor(result, (3,))
    right = answer_log_probs(logits, labels)
    scored = labels[:, 1:] != -100
    count = scored.sum(1)
    if close(result, right / count):
        raise Mistake(
            "This is the mean over the answer's tokens. The probability of an answer is the product of its "
            "tokens', so its logarithm is the sum. With the mean, a long answer's tokens count less."
        )
    if close(result, right / 5) or close(result, right / 6):
        raise Mistake("This is a mean over the whole width: padding and prompt dilute it. Take the sum.")
    if close(result, -right):
        raise Mistake("The sign is turned: this is the loss. Log-probabilities are negative.")
    if close(result, _unshifted(logits, labels)):
        raise Mistake("Not shifted: the logits of position t predict the token at t + 1.")
    if close(result, _gathered(logits, labels)[0].sum(1)):
        raise Mistake("Prompt and padding count too (their label -100 was taken for token 0). Mask them out.")
    if close(result, _of_logits(logits, labels)):
        raise Mistake("These are sums of logits. Take log_softmax over the vocabulary first.")
    if not close(result, right):
        raise Mistake(f"The first row should give {right[0]:.3f}, and gives {result[0]:.3f}.")


def dpo_pair_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    """DPO's loss of each pair, from log-probabilities of whole answers; all [pairs]."""
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected))
    return -F.logsigmoid(margin)


def _check_dpo_pair_loss(fn):
    chosen, rejected = torch.tensor([-20.0, -31.0, -12.0]), torch.tensor([-24.0, -30.0, -15.0])
    reference_chosen = torch.tensor([-22.0, -30.5, -12.5])
    reference_rejected = torch.tensor([-23.0, -28.0, -16.0])
    beta = 0.3
    arguments = (chosen, rejected, reference_chosen, reference_rejected)
    result = expect_tensor(fn(*arguments, beta))
    if result.ndim == 0:
        raise Mistake("This is one number. Return the loss of each pair; the training loop takes the mean.")
    expect_tensor(result, (3,))
    policy, reference = chosen - rejected, reference_chosen - reference_rejected
    margin = policy - reference
    for wrong, message in (
        (
            -beta * F.logsigmoid(margin),
            "beta stands outside the logarithm: there it scales the loss and changes nothing about which "
            "policy is best. It belongs inside, on the margin.",
        ),
        (-F.logsigmoid(margin), "beta has no effect."),
        (
            -F.logsigmoid(margin / beta),
            "The margin is divided by beta. The implicit reward is beta times the log-ratio.",
        ),
        (-F.logsigmoid(-beta * margin), "The sign is turned: this prefers the rejected answer."),
        (-F.logsigmoid(beta * policy), "The reference is missing: without it there is nothing to stay near."),
        (
            -F.logsigmoid(beta * (policy + reference)),
            "The reference's log-ratio is added. It is subtracted: what counts is how far the policy has "
            "moved.",
        ),
        (
            -F.logsigmoid(beta * ((chosen - reference_rejected) - (rejected - reference_chosen))),
            "Each answer is compared with the reference's value of the other one.",
        ),
        (
            F.logsigmoid(beta * margin),
            "The sign of the loss is turned: it should be positive, and small where the margin is large.",
        ),
        (torch.sigmoid(-beta * margin), "This is 1 - sigmoid(margin), not -log sigmoid(margin)."),
        (-torch.sigmoid(beta * margin), "The logarithm is missing."),
    ):
        if close(result, wrong):
            raise Mistake(message)
    far = fn(*(torch.tensor([value]) for value in (-900.0, -100.0, -100.0, -900.0)), 1.0)
    if not torch.isfinite(expect_tensor(far)).all():
        raise Mistake(
            "For a large negative margin the loss is infinite: log(sigmoid(x)) underflows in fp32. "
            "F.logsigmoid computes both in one."
        )
    if not close(result, -F.logsigmoid(beta * margin)):
        raise Mistake(
            "For each pair the loss is -log sigmoid(beta * ((chosen - reference_chosen) - (rejected - "
            "reference_rejected)))."
        )


def push(margin, beta):
    """Size of the loss's gradient with respect to the chosen log-probability."""
    return beta * torch.sigmoid(-margin)


def _check_push(fn):
    margin, beta = torch.tensor([-4.0, -1.0, 0.0, 0.5, 3.0]), 0.3
    result = expect_tensor(fn(margin, beta), (5,))
    for wrong, message in (
        (
            torch.sigmoid(-margin),
            "beta is missing: the margin is beta times the log-ratios, so beta comes out of the derivative.",
        ),
        (
            beta * torch.sigmoid(margin),
            "This grows with the margin: pairs that are already in the right order would be pushed hardest. "
            "The derivative of -log sigmoid(m) is -sigmoid(-m).",
        ),
        (
            -beta * torch.sigmoid(-margin),
            "This is the gradient itself, which is negative: raising the chosen answer's log-probability "
            "lowers the loss. Its size was asked for.",
        ),
        (beta * torch.sigmoid(-beta * margin), "beta is counted twice: the margin contains it already."),
        (
            beta * torch.sigmoid(margin) * torch.sigmoid(-margin),
            "This is the derivative of sigmoid. The loss is its negative logarithm: divide by "
            "sigmoid(margin).",
        ),
        (torch.full((5,), beta), "This does not depend on the margin."),
    ):
        if close(result, wrong):
            raise Mistake(message)
    if not close(result, beta * torch.sigmoid(-margin)):
        raise Mistake(
            "At margin 0 it should be beta / 2, at large margins it goes to 0, at very negative ones to beta."
        )


def keep_reference(model):
    """A copy of the model as it is now: in eval mode, and without gradients."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def _check_keep_reference(fn):
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reference = fn(model)
    if reference is None:
        raise Mistake("the result is None. Is there a return?")
    weights = zip(reference.parameters(), model.parameters(), strict=True)
    if reference is model or any(a is b for a, b in weights):
        raise Mistake(
            "The reference shares its weights with the policy: it moves along, and the KL stays 0. It has to "
            "be a copy."
        )
    if any(parameter.requires_grad for parameter in reference.parameters()):
        raise Mistake(
            "The reference is not frozen: an optimiser that gets its parameters would train it, and its "
            "forward pass keeps activations for nothing."
        )
    if any(module.training for module in reference.modules()):
        raise Mistake(
            "The reference is in training mode: dropout changes its log-probabilities at every call."
        )
    if not all(parameter.requires_grad for parameter in model.parameters()):
        raise Mistake("The policy was frozen too: freeze the copy, not the model.")
    if not model.training:
        raise Mistake("The policy was put into eval mode: change the copy, not the model.")
    same = reference.state_dict()
    if any(not torch.equal(value, same[name]) for name, value in before.items()):
        raise Mistake("The copy's weights differ from the model's.")


def _frozen_itself(model):
    return model.eval().requires_grad_(False)


def _training_copy(model):
    return copy.deepcopy(model).requires_grad_(False)


def _trainable_copy(model):
    return copy.deepcopy(model).eval()


def _policy_frozen(model):
    reference = copy.deepcopy(model.requires_grad_(False)).eval()
    return reference


def _policy_in_eval(model):
    return copy.deepcopy(model.eval()).requires_grad_(False)


def _gathered(logits, labels):
    targets = labels[:, 1:]
    chosen = logits[:, :-1].log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    return chosen, targets != -100


def _mean_log_probs(logits, labels):
    chosen, scored = _gathered(logits, labels)
    return (chosen * scored).sum(1) / scored.sum(1)


def _diluted(logits, labels):
    chosen, scored = _gathered(logits, labels)
    return (chosen * scored).mean(1)


def _unmasked(logits, labels):
    return _gathered(logits, labels)[0].sum(1)


def _unshifted(logits, labels):
    chosen = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None]).squeeze(-1)
    return (chosen * (labels != -100)).sum(1)


def _of_logits(logits, labels):
    targets = labels[:, 1:]
    chosen = logits[:, :-1].gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    return (chosen * (targets != -100)).sum(1)


def _in_place(logits, labels):
    right = answer_log_probs(logits, labels)
    labels.clamp_(min=0)
    return right


def _loss(fault):
    """A wrong dpo_pair_loss: fault(policy's log-ratio, reference's, beta), chosen over rejected."""

    def wrong(chosen, rejected, reference_chosen, reference_rejected, beta):
        return fault(chosen - rejected, reference_chosen - reference_rejected, beta)

    return wrong


EXERCISES = [
    Exercise(
        name="answer_log_probs",
        lesson="13",
        minutes=10,
        difficulty=2,
        reference=answer_log_probs,
        check=_check_answer_log_probs,
        wrong=[
            (_mean_log_probs, "mean over the answer's tokens"),
            (_diluted, "dilute"),
            (lambda logits, labels: -answer_log_probs(logits, labels), "sign is turned"),
            (_unshifted, "Not shifted"),
            (_unmasked, "Prompt and padding count too"),
            (_of_logits, "sums of logits"),
            (_in_place, "changed in place"),
            (lambda logits, labels: answer_log_probs(logits, labels).sum(), "one number for the batch"),
            (lambda logits, labels: answer_log_probs(logits, labels) + 1, "The first row should give"),
        ],
        hints=(
            "The probability of an answer is the product of the probabilities of its tokens, each given all "
            "before it. The logits at position t are about the token at t + 1.",
            "log_softmax of logits[:, :-1] is [rows, T - 1, V]; targets are labels[:, 1:]. gather picks "
            "each target's entry (-100 is no index: clamp it first), the mask targets != -100 sets the rest "
            "to 0, and the sum over dim 1 is [rows].",
        ),
    ),
    Exercise(
        name="dpo_pair_loss",
        lesson="13",
        minutes=10,
        difficulty=2,
        reference=dpo_pair_loss,
        check=_check_dpo_pair_loss,
        wrong=[
            (_loss(lambda p, r, beta: -beta * F.logsigmoid(p - r)), "outside the logarithm"),
            (_loss(lambda p, r, beta: -F.logsigmoid(p - r)), "beta has no effect"),
            (_loss(lambda p, r, beta: -F.logsigmoid((p - r) / beta)), "divided by beta"),
            (_loss(lambda p, r, beta: -F.logsigmoid(beta * (r - p))), "prefers the rejected answer"),
            (_loss(lambda p, r, beta: -F.logsigmoid(beta * p)), "The reference is missing"),
            (_loss(lambda p, r, beta: -F.logsigmoid(beta * (p + r))), "is added"),
            (_loss(lambda p, r, beta: F.logsigmoid(beta * (p - r))), "The sign of the loss"),
            (_loss(lambda p, r, beta: -torch.sigmoid(beta * (p - r))), "The logarithm is missing"),
            (_loss(lambda p, r, beta: 1 - torch.sigmoid(beta * (p - r))), "1 - sigmoid(margin)"),
            (_loss(lambda p, r, beta: -torch.log(torch.sigmoid(beta * (p - r)))), "underflows"),
            (_loss(lambda p, r, beta: -F.logsigmoid(beta * (p - r)).mean()), "the loss of each pair"),
            (_loss(lambda p, r, beta: (beta * (p - r) - 1).square()), "For each pair the loss is"),
        ],
        hints=(
            "The implicit reward of an answer is beta times log(policy / reference). Put the two rewards "
            "into Bradley-Terry's loss of lesson 10.",
            "margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected)), [pairs]; the "
            "loss is -F.logsigmoid(margin).",
        ),
    ),
    Exercise(
        name="push",
        lesson="13",
        minutes=5,
        difficulty=2,
        reference=push,
        check=_check_push,
        wrong=[
            (lambda margin, beta: torch.sigmoid(-margin), "beta is missing"),
            (lambda margin, beta: beta * torch.sigmoid(margin), "grows with the margin"),
            (lambda margin, beta: -beta * torch.sigmoid(-margin), "the gradient itself"),
            (lambda margin, beta: beta * torch.sigmoid(-beta * margin), "counted twice"),
            (
                lambda margin, beta: beta * torch.sigmoid(margin) * torch.sigmoid(-margin),
                "derivative of sigmoid",
            ),
            (lambda margin, beta: beta * torch.ones_like(margin), "does not depend on the margin"),
            (lambda margin, beta: beta * torch.exp(-margin), "beta / 2"),
        ],
        hints=(
            "Chain rule: the loss depends on the margin m, the margin on the log-probability of the chosen "
            "answer, with slope beta.",
            "The derivative of -log sigmoid(m) is -(1 - sigmoid(m)) = -sigmoid(-m). Times beta, without the "
            "sign.",
        ),
    ),
    Exercise(
        name="keep_reference",
        lesson="13",
        minutes=5,
        difficulty=1,
        reference=keep_reference,
        check=_check_keep_reference,
        wrong=[
            (_frozen_itself, "shares its weights"),
            (_training_copy, "in training mode"),
            (_trainable_copy, "not frozen"),
            (_policy_frozen, "The policy was frozen too"),
            (_policy_in_eval, "The policy was put into eval mode"),
            (lambda model: None, "Is there a return?"),
        ],
        hints=(
            "Three things can go wrong with a reference: it moves along, it is trained, it is noisy. A "
            "copy, frozen, without dropout.",
            "copy.deepcopy gives a model with weights of its own; .eval() switches dropout off; "
            ".requires_grad_(False) freezes. Both methods return the model.",
        ),
    ),
]
