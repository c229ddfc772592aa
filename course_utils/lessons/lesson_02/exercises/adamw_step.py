"""Lesson 02, adamw_step: AdamW."""

import torch

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_02.loop import adamw_step


def _states():
    """Steps 1, 2 and 10 of tensors of three shapes; one weight never had a gradient."""
    first = torch.randn(4, 3)
    first[1, 2] = 0.0
    large = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}
    return [
        call(torch.randn(4, 3), first, torch.zeros(4, 3), torch.zeros(4, 3), 1, **large),
        call(torch.randn(5), 1e-3 * torch.randn(5), 0.1 * torch.randn(5), 0.1 * torch.rand(5), 2, **large),
        call(torch.randn(2, 3), torch.randn(2, 3), torch.randn(2, 3), torch.rand(2, 3), 10, 0.02),
    ]


def _adamw(fault):
    """A wrong adamw_step: fault(weight, Adam's step, lr, decay) is the new weight."""

    def adamw_step(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        still, m, v = _step(weight, grad, m, v, step, lr, betas, eps, 0.0)
        return fault(weight, weight - still, lr, weight_decay), m, v

    return adamw_step


def _adamw_move(fault):
    """A wrong adamw_step: fault(grad, m, v, step, betas, eps) returns the direction and the new m and v."""

    def adamw_step(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        _, m, v = _step(weight, grad, m, v, step, lr, betas, eps, 0.0)
        return weight - lr * weight_decay * weight - lr * fault(grad, m, v, step, betas, eps), m, v

    return adamw_step


def _adamw_given(fault):
    """A wrong adamw_step: the right one with arguments changed by fault(a dict of them)."""

    def adamw_step(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        given = {"weight": weight, "grad": grad, "m": m, "v": v, "step": step, "lr": lr}
        return _step(**fault({**given, "betas": betas, "eps": eps, "weight_decay": weight_decay}))

    return adamw_step


_step = adamw_step


def _corrected_state(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    weight, m, v = adamw_step(weight, grad, m, v, step, lr, betas, eps, weight_decay)
    return weight, m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)


def _old_state(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    return adamw_step(weight, grad, m, v, step, lr, betas, eps, weight_decay)[0], m, v


def _old_moments(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    m_hat, v_hat = _corrected(m, v, step, betas)
    moved = weight - lr * weight_decay * weight - lr * m_hat / (v_hat.sqrt() + eps)
    return moved, *adamw_step(weight, grad, m, v, step, lr, betas, eps, weight_decay)[1:]


def _mean_of_sizes(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    _, m, _ = adamw_step(weight, grad, m, v, step, lr, betas, eps, weight_decay)
    v = betas[1] * v + (1 - betas[1]) * grad.abs()
    m_hat, v_hat = _corrected(m, v, step, betas)
    return weight - lr * weight_decay * weight - lr * m_hat / (v_hat.sqrt() + eps), m, v


def _exchanged_state(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    weight, m, v = adamw_step(weight, grad, m, v, step, lr, betas, eps, weight_decay)
    return weight, v, m


def _moments_in_place(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    right = adamw_step(weight, grad, m, v, step, lr, betas, eps, weight_decay)
    m.copy_(right[1])
    return right


def _by_torch(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    parameter = torch.nn.Parameter(weight.clone())
    parameter.grad = grad
    optimizer = torch.optim.AdamW([parameter], lr, betas, eps, weight_decay, foreach=False)
    state = {"step": torch.tensor(step - 1.0), "exp_avg": m.clone(), "exp_avg_sq": v.clone()}
    optimizer.state[parameter] = state
    optimizer.step()
    return parameter.detach(), state["exp_avg"], state["exp_avg_sq"]


def _with_lerp(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    m, v = torch.lerp(grad, m, betas[0]), torch.lerp(grad * grad, v, betas[1])
    scale = (1 - betas[1] ** step) ** 0.5
    move = m / (1 - betas[0] ** step) * scale / (v**0.5 + eps * scale)
    return [weight * (1 - lr * weight_decay) - lr * move, m, v]


def _corrected(m, v, step, betas):
    return m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)


def _no_root(grad, m, v, step, betas, eps):
    m_hat, v_hat = _corrected(m, v, step, betas)
    return m_hat / (v_hat + eps)


def _eps_inside(grad, m, v, step, betas, eps):
    m_hat, v_hat = _corrected(m, v, step, betas)
    return m_hat / (v_hat + eps).sqrt()


def _no_eps(grad, m, v, step, betas, eps):
    m_hat, v_hat = _corrected(m, v, step, betas)
    return m_hat / v_hat.sqrt()


def _along_gradient(grad, m, v, step, betas, eps):
    return grad / (_corrected(m, v, step, betas)[1].sqrt() + eps)


NO_CORRECTION = (
    "Your update has no bias correction. m and v start at zero, so divide m by "
    "1 - beta1**step and v by 1 - beta2**step before you use them."
)
ADAMW_MISTAKES = [
    (NO_CORRECTION, _adamw_move(lambda grad, m, v, step, betas, eps: m / (v.sqrt() + eps))),
    (
        "v is not corrected: divide it by 1 - beta2**step, like m by 1 - beta1**step.",
        _adamw_move(lambda grad, m, v, step, betas, eps: _corrected(m, v, step, betas)[0] / (v.sqrt() + eps)),
    ),
    (
        "m is not corrected: divide it by 1 - beta1**step, like v by 1 - beta2**step.",
        _adamw_move(lambda grad, m, v, step, betas, eps: m / (_corrected(m, v, step, betas)[1].sqrt() + eps)),
    ),
    (
        "The correction is always that of step 1: beta to the power of step (**).",
        _adamw_move(
            lambda grad, m, v, step, betas, eps: m / (1 - betas[0]) / ((v / (1 - betas[1])).sqrt() + eps)
        ),
    ),
    (
        "step counts from 1. With step - 1 in the correction, the first step divides by 0.",
        _adamw_move(
            lambda grad, m, v, step, betas, eps: (
                m
                / (1 - torch.tensor(betas[0] ** (step - 1)))
                / ((v / (1 - torch.tensor(betas[1] ** (step - 1)))).sqrt() + eps)
            )
        ),
    ),
    (
        "step already counts from 1: the exponent is step, not step + 1.",
        _adamw_move(
            lambda grad, m, v, step, betas, eps: (
                m / (1 - betas[0] ** (step + 1)) / ((v / (1 - betas[1] ** (step + 1))).sqrt() + eps)
            )
        ),
    ),
    (
        "You added the weight decay to the gradient: that is L2 regularisation, and Adam divides it by "
        "sqrt(v) like the rest. AdamW subtracts lr * weight_decay * weight from the weight itself.",
        _adamw_given(
            lambda given: {
                **given,
                "grad": given["grad"] + given["weight_decay"] * given["weight"],
                "weight_decay": 0.0,
            }
        ),
    ),
    (
        "The weights do not decay: subtract lr * weight_decay * weight.",
        _adamw(lambda weight, move, lr, decay: weight - move),
    ),
    (
        "The decay lacks the learning rate: it is lr * weight_decay * weight.",
        _adamw(lambda weight, move, lr, decay: weight - decay * weight - move),
    ),
    (
        "The decay has the wrong sign: the weights grow.",
        _adamw(lambda weight, move, lr, decay: weight + lr * decay * weight - move),
    ),
    (
        "You compute the decay from the weight after the step. Use the weight before the step.",
        _adamw(lambda weight, move, lr, decay: (weight - move) * (1 - lr * decay)),
    ),
    (
        "Of the old weight, you keep only the decay. The new weight is the old one minus decay and step.",
        _adamw(lambda weight, move, lr, decay: -lr * decay * weight - move),
    ),
    (
        "This is the change of the weight. Return the new weight.",
        _adamw(lambda weight, move, lr, decay: lr * decay * weight + move),
    ),
    ("You divide by v. v is a mean of squares: divide by its square root.", _adamw_move(_no_root)),
    ("You add eps inside the square root. Add it to the root.", _adamw_move(_eps_inside)),
    ("eps is missing: if a weight never had a gradient, 0 / 0 is not a number.", _adamw_move(_no_eps)),
    ("You move along the last gradient. Adam moves along m, the running mean.", _adamw_move(_along_gradient)),
    (
        "You correct v after the root. Divide v by 1 - beta2**step first, then take the root.",
        _adamw_move(
            lambda grad, m, v, step, betas, eps: (
                m / (1 - betas[0] ** step) / (v.sqrt() / (1 - betas[1] ** step) + eps)
            )
        ),
    ),
    ("You use the old m and v for the step. Update both with this gradient first.", _old_moments),
    ("v is a running mean of the gradient's square, not of its absolute value.", _mean_of_sizes),
    (
        "The weights move along the gradient, uphill. Subtract the step.",
        _adamw(lambda weight, move, lr, decay: weight - lr * decay * weight + move),
    ),
    (
        "The two betas are swapped: the first is for m, the second for v.",
        _adamw_given(lambda given: {**given, "betas": given["betas"][::-1]}),
    ),
    (
        "beta is the weight of the old mean, 1 - beta that of the new gradient.",
        _adamw_given(lambda given: {**given, "betas": tuple(1 - beta for beta in given["betas"])}),
    ),
    (
        "betas is an argument: use it instead of 0.9 and 0.999.",
        _adamw_given(lambda given: {**given, "betas": (0.9, 0.999)}),
    ),
    ("eps is an argument: use it instead of 1e-8.", _adamw_given(lambda given: {**given, "eps": 1e-8})),
    (
        "weight_decay is an argument: use it instead of 0.01.",
        _adamw_given(lambda given: {**given, "weight_decay": 0.01}),
    ),
    (
        "The weight is right, but m and v are not the running means to go on with. Return "
        "them before the bias correction.",
        _corrected_state,
    ),
    ("You return the old m and v: the next step needs the new ones.", _old_state),
    ("m and v are swapped in what you return.", _exchanged_state),
    (
        "Return three tensors: the new weight, m and v.",
        lambda *state, **settings: adamw_step(*state, **settings)[0],
    ),
    (
        "Return three tensors: the new weight, m and v.",
        lambda *state, **settings: adamw_step(*state, **settings)[1:],
    ),
]

EXERCISE = Exercise(
    name="adamw_step",
    lesson="02",
    minutes=15,
    difficulty=3,
    reference=adamw_step,
    check=compare(
        adamw_step,
        _states,
        ADAMW_MISTAKES,
        else_="m and v are running means of the gradient and of its square; the weight loses "
        "lr * weight_decay * weight and lr * m_hat / (sqrt(v_hat) + eps).",
    ),
    wrong=[
        (_moments_in_place, "changes its argument m in place"),
        (_adamw(lambda weight, move, lr, decay: weight * torch.nan), "and is nan"),
        (_adamw(lambda weight, move, lr, decay: weight - lr * decay * weight - 2 * move), "running means"),
        (lambda *state, **settings: None, "Is there a return?"),
    ],
    right=[_by_torch, _with_lerp],
    hints=(
        "m is a running mean of the gradient, v one of its square. Both start at zero, so at first they are "
        "too small by the factor 1 - beta**step. The step is m divided by the root of v: the sign, if all "
        "gradients are equal.",
        "All tensors have the weight's shape. In this order: m, v, m_hat = m / (1 - beta1**step), "
        "v_hat likewise; then the weight loses lr * weight_decay * weight, and "
        "lr * m_hat / (sqrt(v_hat) + eps). Return m and v, not m_hat and v_hat.",
    ),
    then="Your update moves the weights in the training below.",
)
