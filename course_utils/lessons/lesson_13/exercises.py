"""Exercises of lesson 13: direct preference optimisation."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.checks.compare import Mistake, compare, expect_tensor, identical
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_13.suspects import scored_fault
from course_utils.log_probs import answer_log_probs
from course_utils.methods.dpo import dpo_loss
from course_utils.methods.rollouts import frozen_copy


def _scored_batches():
    """Answers of several lengths: one up to the last column, one with token 0, one of a single token."""
    off = -100
    labels = torch.tensor([[off, off, 3, 1, 0, off], [off, 2, 4, 4, 1, 3], [off, off, off, 0, 2, off]])
    longer = torch.tensor([[off, 6, 0, 5, off, off, off, off], [off] * 7 + [2]])
    return [(torch.randn(3, 6, 5), labels), (3 * torch.randn(2, 8, 7) - 4, longer)]


def _long_answers():
    """Two answers of some sixty tokens, whose probabilities fp32 cannot hold."""
    labels = torch.randint(0, 8, (2, 64))
    labels[0, :4], labels[1, :6] = -100, -100
    return [(3 * torch.randn(2, 64, 8), labels)]


def _gathered(logits, labels):
    targets = labels[:, 1:]
    chosen = logits[:, :-1].log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    return chosen, targets != -100


def _answer(fault):
    """A wrong answer_log_probs: fault(log-probabilities of all targets, which count), both [rows, T - 1]."""
    return lambda logits, labels: fault(*_gathered(logits, labels))


def _unshifted(logits, labels):
    chosen = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None]).squeeze(-1)
    return (chosen * (labels != -100)).sum(1)


def _of_logits(logits, labels):
    targets = labels[:, 1:]
    chosen = logits[:, :-1].gather(-1, targets.clamp(min=0)[..., None]).squeeze(-1)
    return (chosen * (targets != -100)).sum(1)


def _without(place):
    """A wrong answer_log_probs, without the first (0) or the last (-1) token of each answer."""

    def wrong(logits, labels):
        labels = labels.clone()
        for row in labels:
            row[(row != -100).nonzero()[place]] = -100
        return answer_log_probs(logits, labels)

    return wrong


def _labels_in_place(logits, labels):
    right = answer_log_probs(logits, labels)
    labels.clamp_(min=0)
    return right


def _log_of_product(logits, labels):
    chosen, scored = _gathered(logits, labels)
    return (chosen * scored).exp().prod(1).log()


def _by_cross_entropy(logits, labels):
    losses = F.cross_entropy(logits[:, :-1].mT, labels[:, 1:], ignore_index=-100, reduction="none")
    return -losses.sum(1)


def _row_by_row(logits, labels):
    rows = []
    for row, targets in zip(logits, labels, strict=True):
        places = (targets[1:] != -100).nonzero()[:, 0]
        rows.append(row.log_softmax(-1)[places, targets[places + 1]].sum())
    return torch.stack(rows)


ANSWER_MISTAKES = [
    (
        "This is the mean over the answer's tokens. The probability of an answer is the product of its "
        "tokens', so its logarithm is the sum. With the mean, a long answer's tokens count less.",
        _answer(lambda chosen, scored: (chosen * scored).sum(1) / scored.sum(1)),
    ),
    (
        "This is a mean over the whole width: padding and prompt dilute it. Take the sum.",
        _answer(lambda chosen, scored: (chosen * scored).mean(1)),
    ),
    (
        "The sign is turned: this is the loss. Log-probabilities are negative.",
        lambda logits, labels: -answer_log_probs(logits, labels),
    ),
    ("Not shifted: the logits of position t predict the token at t + 1.", _unshifted),
    (
        "Prompt and padding count too (their label -100 was taken for token 0). Mask them out.",
        _answer(lambda chosen, scored: chosen.sum(1)),
    ),
    ("These are sums of logits. Take log_softmax over the vocabulary first.", _of_logits),
    (
        "The last column is missing: after the shift the targets are labels[:, 1:], up to the end.",
        _answer(lambda chosen, scored: (chosen * scored)[:, :-1].sum(1)),
    ),
    (
        "The last token of each answer is missing. It is the one that ends the answer, and belongs to it.",
        _without(-1),
    ),
    ("The first token of each answer is missing. The last token of the prompt predicts it.", _without(0)),
    (
        "Token 0 does not count here. Only the label -100 marks what is left out.",
        lambda logits, labels: answer_log_probs(logits, labels.masked_fill(labels == 0, -100)),
    ),
    (
        "This is one number for the batch. Each row is an answer with a log-probability of its own.",
        lambda logits, labels: answer_log_probs(logits, labels).sum(),
    ),
    (
        "This is one number for the batch. Each row is an answer with a log-probability of its own.",
        lambda logits, labels: answer_log_probs(logits, labels).mean(),
    ),
    (
        "Return the sum of each row. These are the log-probabilities of the tokens.",
        _answer(lambda chosen, scored: chosen * scored),
    ),
]
PRODUCT = (
    "The product of many probabilities underflows in fp32, and its logarithm is -inf. Add the logarithms up "
    "instead."
)


def _pairs(count, mean, beta):
    """Log-probabilities of `count` pairs around `mean`, in dpo_loss's order, and beta."""
    return (*(mean + torch.randn(count) for _ in range(4)), beta)


def _far(value):
    return [torch.tensor([one]) for one in value]


def _loss(fault):
    """A wrong dpo_loss: fault(policy's log-ratio, reference's, beta), chosen over rejected."""

    def wrong(chosen, rejected, reference_chosen, reference_rejected, beta):
        loss = fault(chosen - rejected, reference_chosen - reference_rejected, beta)
        return loss, *_implicit(chosen, rejected, reference_chosen, reference_rejected, beta)

    return wrong


def _implicit(chosen, rejected, reference_chosen, reference_rejected, beta):
    return beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)


def _reward(fault):
    """A wrong dpo_loss: fault(implicit rewards, chosen and rejected, beta) are its rewards."""
    return lambda *arguments: (dpo_loss(*arguments)[0], *fault(*_implicit(*arguments), arguments[-1]))


def _pair_losses(chosen, rejected, reference_chosen, reference_rejected, beta):
    """dpo_loss without the rewards, whose gradients nobody needs."""
    return dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta)[0]


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
        "beta stands outside the logarithm: there it scales the loss and changes nothing about which "
        "policy is best. It belongs inside, on the margin.",
        _loss(lambda p, r, beta: -beta * F.logsigmoid(p - r)),
    ),
    ("beta has no effect.", _loss(lambda p, r, beta: -F.logsigmoid(p - r))),
    (
        "The margin is divided by beta. The implicit reward is beta times the log-ratio.",
        _loss(lambda p, r, beta: -F.logsigmoid((p - r) / beta)),
    ),
    (
        "The sign is turned: this prefers the rejected answer.",
        _loss(lambda p, r, beta: -F.logsigmoid(beta * (r - p))),
    ),
    (
        "The reference is missing: without it there is nothing to stay near.",
        _loss(lambda p, r, beta: -F.logsigmoid(beta * p)),
    ),
    (
        "The reference's log-ratio is added. It is subtracted: what counts is how far the policy has moved.",
        _loss(lambda p, r, beta: -F.logsigmoid(beta * (p + r))),
    ),
    (
        "Only the policy's log-ratio is multiplied by beta: it belongs to both.",
        _loss(lambda p, r, beta: -F.logsigmoid(beta * p - r)),
    ),
    (
        "The sign of the loss is turned: it should be positive, and small where the margin is large.",
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
        "The implicit rewards are exchanged: first that of the chosen answers.",
        _reward(lambda c, r, b: (r, c)),
    ),
    ("The sign of the implicit rewards is turned.", _reward(lambda c, r, b: (-c, -r))),
    (
        "The implicit rewards are of the two answers. The margin is their difference.",
        _reward(lambda c, r, b: (c - r, r - c)),
    ),
    (
        "The implicit rewards lack the reference: they are beta * log(policy / reference).",
        lambda c, r, of_c, of_r, beta: (dpo_loss(c, r, of_c, of_r, beta)[0], beta * c, beta * r),
    ),
]
RATIOS = (
    "These are ratios of probabilities. The probability of a whole answer underflows in fp32: "
    "subtract log-probabilities instead."
)
UNDERFLOW = (
    "At a large margin log(sigmoid(x)) underflows in fp32, also with a small number added: the pair that "
    "needs it most gets no gradient. F.logsigmoid computes both in one."
)

LOSS = (
    "For each pair the loss is -log sigmoid(beta * ((chosen - reference_chosen) - (rejected - "
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


class _Toy(nn.Module):
    """A model that is made from its config, as those of transformers are."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(nn.Linear(config, 4), nn.Dropout(0.5), nn.Linear(4, 2))

    def forward(self, x):
        return self.layers(x)


def _check_frozen_copy(fn):
    for size in (4, 3):
        model = _Toy(size).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        reference = fn(model)
        if reference is None:
            raise Mistake("the result is None. Is there a return?")
        if not isinstance(reference, nn.Module):
            raise Mistake(f"The result should be a model, and is of type {type(reference).__name__}.")
        _expect_frozen_copy(reference, model, before)


def _expect_frozen_copy(reference, model, before):
    places = {parameter.data_ptr() for parameter in model.parameters()}
    if any(parameter.data_ptr() in places for parameter in reference.parameters()):
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
    if not all(module.training for module in model.modules()):
        raise Mistake("The policy was put into eval mode: change the copy, not the model.")
    if not identical(model.state_dict(), before):
        raise Mistake("The policy's weights were changed.")
    if reference.state_dict().keys() != before.keys() or not identical(reference.state_dict(), before):
        raise Mistake("The copy's weights differ from the model's.")
    x = torch.randn(3, model.config)
    expected = expect_tensor(reference(x), (3, 2), "what the reference gives").clone()
    model(x).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
    if not torch.equal(reference(x), expected):
        raise Mistake("The reference moves along when the policy is trained: it has to be a copy of its own.")


def _frozen_itself(model):
    return model.eval().requires_grad_(False)


def _shallow(model):
    reference = copy.deepcopy(model)
    for own, theirs in zip(reference.parameters(), model.parameters(), strict=True):
        own.data = theirs.data
    return reference.eval().requires_grad_(False)


def _assigned(model):
    reference = type(model)(model.config)
    reference.load_state_dict(model.state_dict(), assign=True)
    return reference.eval().requires_grad_(False)


def _training_copy(model):
    return copy.deepcopy(model).requires_grad_(False)


def _trainable_copy(model):
    return copy.deepcopy(model).eval()


def _policy_frozen(model):
    return copy.deepcopy(model.requires_grad_(False)).eval()


def _policy_in_eval(model):
    return copy.deepcopy(model.eval()).requires_grad_(False)


def _from_config(model):
    reference = type(model)(model.config)
    reference.load_state_dict(model.state_dict())
    return reference.eval().requires_grad_(False)


def _step_by_step(model):
    reference = copy.deepcopy(model)
    for parameter in reference.parameters():
        parameter.requires_grad = False
    reference.train(False)
    return reference


def _scored_rows():
    """Cases of 3 to 6 rows, rounded as forward passes are; also with certain prompts, and with small ends."""

    def case(answers, prompts, ends, *, of_prompts=0, of_ends=0):
        theirs = answers + of_prompts * prompts - of_ends * ends
        return theirs + 1e-3 * torch.rand(len(theirs)), answers, prompts, ends

    def drawn(rows):
        return -60 * torch.rand(rows) - 5, -40 * torch.rand(rows) - 2, -2 * torch.rand(rows) - 0.1

    answers, prompts, ends = drawn(6)
    prompts[[0, -1]] = -1e-3  # certain prompts
    nearly_certain = torch.tensor([-0.02, -0.03, -0.04, -0.02])
    all_but_one_certain = torch.tensor([-1e-3, -0.03, -1e-3, -1e-3])
    return [
        case(*drawn(3)),
        case(*drawn(4), of_prompts=1),
        case(*drawn(5), of_ends=1),
        case(answers, prompts, ends, of_prompts=1),
        case(*drawn(4)[:2], nearly_certain, of_ends=1),
        case(*drawn(4)[:2], all_but_one_certain, of_ends=1),
    ]


def _by_sign(room, rows):
    """A scored_fault that looks at the sign of the differences in some rows, and takes `room` for zero."""

    def by_sign(theirs, answers, prompts, ends):
        difference = (theirs - answers)[rows]
        if difference.abs().max() < room:
            return "sound"
        return "prompt too" if difference.sum() < 0 else "end not"

    return by_sign


def _by_room(is_zero):
    """A wrong scored_fault: the first hypothesis of which is_zero(differences) holds."""

    def by_room(theirs, answers, prompts, ends):
        expected = {"sound": answers, "prompt too": answers + prompts, "end not": answers - ends}
        return next((name for name, sums in expected.items() if is_zero(theirs - sums)), "end not")

    return by_room


def _exchanged(*verdicts):
    """A wrong scored_fault, with two verdicts exchanged."""
    names = dict(zip(verdicts, reversed(verdicts), strict=True))
    return lambda *arguments: names.get(scored_fault(*arguments), scored_fault(*arguments))


SCORED_MISTAKES = [
    (
        '"prompt too" and "end not" are exchanged. Log-probabilities are negative: with more tokens the sum '
        "is lower.",
        _exchanged("prompt too", "end not"),
    ),
    ('"sound" and "prompt too" are exchanged.', _exchanged("sound", "prompt too")),
    (
        "Nothing is ever found to agree. Two forward passes differ by rounding (what agrees within 0.01 is "
        "the same), and `answers` has the ends already.",
        lambda *arguments: "end not",
    ),
    (
        "`answers` has the ends already: a script that agrees with it is sound.",
        lambda theirs, answers, prompts, ends: (
            "end not" if torch.allclose(theirs, answers, rtol=0, atol=1e-2) else "prompt too"
        ),
    ),
    (
        "Two forward passes differ by rounding. What agrees within 0.01 is the same.",
        lambda theirs, answers, prompts, ends: (
            "sound"
            if (theirs == answers).all()
            else "prompt too"
            if theirs.sum() < answers.sum()
            else "end not"
        ),
    ),
    ("This finds every script sound.", lambda *arguments: "sound"),
    (
        "This looks at one row alone, and the prompt or the end of a row may be almost certain. Compare all "
        "rows.",
        _by_sign(0.01, slice(1)),
    ),
    (
        "Differences of some hundredths are taken for rounding here. An end that is nearly certain has a "
        "log-probability of that size: what agrees within 0.01 is the same.",
        _by_sign(0.05, slice(None)),
    ),
    (
        "A script is called sound although a row differs. The ends of the other rows may be almost certain: "
        "look at the largest difference.",
        _by_room(lambda differences: differences.mean().abs() < 0.01),
    ),
]


EXERCISES = [
    Exercise(
        name="answer_log_probs",
        lesson="13",
        minutes=10,
        difficulty=2,
        reference=answer_log_probs,
        check=compare(
            answer_log_probs,
            _scored_batches,
            ANSWER_MISTAKES,
            else_="Each row is the sum of its answer's log-probabilities.",
            gradient=("logits",),
            extremes=[(PRODUCT, _long_answers)],
        ),
        wrong=[
            (_log_of_product, "product of many probabilities underflows"),
            (_labels_in_place, "changes its argument labels in place"),
            (lambda logits, labels: answer_log_probs(logits.detach(), labels), "has no graph"),
            (lambda logits, labels: answer_log_probs(logits, labels) + 1, "The result[0] should be"),
            (lambda logits, labels: None, "Is there a return"),
            (lambda logits, labels: answer_log_probs(logits, labels).tolist(), "should be a tensor"),
        ],
        right=[_by_cross_entropy, _row_by_row],
        hints=(
            "The probability of an answer is the product of the probabilities of its tokens, each given all "
            "before it. The logits at position t are about the token at t + 1.",
            "log_softmax of logits[:, :-1] is [rows, T - 1, V]; targets are labels[:, 1:]. gather picks "
            "each target's entry (-100 is no index: clamp it first), the mask targets != -100 sets the rest "
            "to 0, and the sum over dim 1 is [rows].",
        ),
        then="`sequence_log_probs` calls yours, and so does every step of the training. Run the cells again "
        'from here to the end of "What the policy says".',
    ),
    Exercise(
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
            (_loss(lambda p, r, beta: (beta * (p - r) - 1).square()), "For each pair the loss is"),
            (lambda c, r, of_c, of_r, beta: (0 * c, 0 * c, 0 * c), "For each pair the loss is"),
        ],
        right=[_by_softplus, _by_softmax],
        hints=(
            "The implicit reward of an answer is beta times log(policy / reference). Put the two rewards "
            "into Bradley-Terry's loss of lesson 10.",
            "chosen_reward = beta * (chosen - reference_chosen), [pairs], and likewise the rejected one; the "
            "loss is -F.logsigmoid of their difference. Return the loss and the two rewards.",
        ),
        then="The training calls yours in every step. Run the cells again from here to the end of "
        '"What the policy says".',
    ),
    Exercise(
        name="frozen_copy",
        lesson="13",
        minutes=5,
        difficulty=1,
        reference=frozen_copy,
        check=_check_frozen_copy,
        wrong=[
            (_frozen_itself, "shares its weights"),
            (_shallow, "shares its weights"),
            (_assigned, "shares its weights"),
            (_training_copy, "in training mode"),
            (_trainable_copy, "not frozen"),
            (_policy_frozen, "The policy was frozen too"),
            (_policy_in_eval, "The policy was put into eval mode"),
            (lambda model: type(model)(model.config).eval().requires_grad_(False), "weights differ"),
            (lambda model: None, "Is there a return?"),
        ],
        right=[_from_config, _step_by_step],
        hints=(
            "Three things can go wrong with a reference: it moves along, it is trained, it is noisy. A "
            "copy, frozen, without dropout.",
            "copy.deepcopy gives a model with weights of its own; .eval() switches dropout off; "
            ".requires_grad_(False) freezes. Both methods return the model.",
        ),
        then="The reference of all that follows is yours.",
    ),
    Exercise(
        name="scored_fault",
        lesson="13",
        minutes=6,
        difficulty=1,
        reference=scored_fault,
        check=compare(scored_fault, _scored_rows, SCORED_MISTAKES),
        wrong=[
            (_by_sign(0.01, slice(-1, None)), "one row alone"),
            (_by_sign(0.05, slice(1)), "one row alone"),
            (
                _by_room(lambda differences: (differences.abs() < 0.01).sum() > len(differences) / 2),
                "the largest difference",
            ),
            (
                lambda theirs, answers, prompts, ends: (
                    "prompt too"
                    if (theirs < answers - 0.01).any()
                    else "end not"
                    if (theirs > answers + 0.01).all()
                    else "sound"
                ),
                "look at the largest difference",
            ),
            (lambda theirs, answers, prompts, ends: "wrong", "and is 'wrong'"),
            (lambda theirs, answers, prompts, ends: None, "Is there a return"),
        ],
        right=[
            _by_sign(0.01, slice(None)),
            lambda theirs, answers, prompts, ends: (
                "sound"
                if torch.allclose(theirs, answers, rtol=0, atol=1e-2)
                else "prompt too"
                if torch.allclose(theirs - answers, prompts, rtol=0, atol=1e-2)
                else "end not"
            ),
            lambda theirs, answers, prompts, ends: min(
                {"sound": 0 * ends, "prompt too": prompts, "end not": -ends}.items(),
                key=lambda item: (theirs - answers - item[1]).abs().sum(),
            )[0],
        ],
        hints=(
            "A log-probability of several tokens is a sum. What is theirs minus the answers' in each of the "
            "three cases?",
            "If only the answers are scored, the difference is 0. If the prompts are scored too, it is the "
            "prompts' log-probabilities. If the ends are not scored, it is minus theirs. Compare all rows, "
            "within 0.01.",
        ),
        then="The table below gives its verdicts.",
    ),
]
