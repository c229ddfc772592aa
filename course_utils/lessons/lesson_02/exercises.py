"""Exercises of lesson 02: the parts of a training loop, and a test for loops that others wrote."""

from __future__ import annotations

import copy
import math
import weakref

import numpy as np
import torch

from course_utils.checks.compare import call, close, compare, first_difference, wrong_kind
from course_utils.checks.exercises import Exercise, Mistake
from course_utils.lessons.lesson_02 import suspects
from course_utils.lessons.lesson_02.loop import adamw_step, train_step
from course_utils.models import untrained_gpt2
from course_utils.training import accumulated_step, lm_loss, warmup_cosine


def _states():
    """First, second and tenth step of tensors of three shapes; one weight never had a gradient."""
    first = torch.randn(4, 3)
    first[1, 2] = 0.0
    large = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}
    return [
        call(torch.randn(4, 3), first, torch.zeros(4, 3), torch.zeros(4, 3), 1, **large),
        call(torch.randn(5), 1e-3 * torch.randn(5), 0.1 * torch.randn(5), 0.1 * torch.rand(5), 2, **large),
        call(torch.randn(2, 3), torch.randn(2, 3), torch.randn(2, 3), torch.rand(2, 3), 10, 0.02),
    ]


def _adamw(fault):
    """A wrong adamw_step: fault(weight, what Adam takes off it, lr, decay) is the new weight."""

    def adamw_step(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        still, m, v = _step(weight, grad, m, v, step, lr, betas, eps, 0.0)
        return fault(weight, weight - still, lr, weight_decay), m, v

    return adamw_step


def _adamw_move(fault):
    """A wrong adamw_step: fault(grad, m, v, step, betas, eps) is the direction, with the new m and v."""

    def adamw_step(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        _, m, v = _step(weight, grad, m, v, step, lr, betas, eps, 0.0)
        return weight - lr * weight_decay * weight - lr * fault(grad, m, v, step, betas, eps), m, v

    return adamw_step


def _adamw_given(fault):
    """A wrong adamw_step: the right one with other arguments; fault(a dict of them) changes the dict."""

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
    "Your update equals one without bias correction. m and v start at zero, so divide m by "
    "1 - beta1**step and v by 1 - beta2**step before you use them."
)
ADAMW_MISTAKES = [
    (NO_CORRECTION, _adamw_move(lambda grad, m, v, step, betas, eps: m / (v.sqrt() + eps))),
    (
        "v is not corrected: divide it by 1 - beta2**step, as m by 1 - beta1**step.",
        _adamw_move(lambda grad, m, v, step, betas, eps: _corrected(m, v, step, betas)[0] / (v.sqrt() + eps)),
    ),
    (
        "m is not corrected: divide it by 1 - beta1**step, as v by 1 - beta2**step.",
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
        "step counts from 1 already: the power is step, not step + 1.",
        _adamw_move(
            lambda grad, m, v, step, betas, eps: (
                m / (1 - betas[0] ** (step + 1)) / ((v / (1 - betas[1] ** (step + 1))).sqrt() + eps)
            )
        ),
    ),
    (
        "The weight decay went into the gradient: that is L2 regularisation, and Adam divides it by "
        "sqrt(v) like the rest. AdamW takes lr * weight_decay * weight off the weight itself.",
        _adamw_given(
            lambda given: {
                **given,
                "grad": given["grad"] + given["weight_decay"] * given["weight"],
                "weight_decay": 0.0,
            }
        ),
    ),
    (
        "The weights do not decay: take lr * weight_decay * weight off them.",
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
        "The decay is taken of the weight after the step. It goes by the weight as it was before.",
        _adamw(lambda weight, move, lr, decay: (weight - move) * (1 - lr * decay)),
    ),
    (
        "Only the decay is left of the old weight here: the new one starts from the old.",
        _adamw(lambda weight, move, lr, decay: -lr * decay * weight - move),
    ),
    (
        "This is what is taken off. Return the new weight.",
        _adamw(lambda weight, move, lr, decay: lr * decay * weight + move),
    ),
    (
        "You divide by v. v is a mean of squares, so the size of the gradient is its square root.",
        _adamw_move(_no_root),
    ),
    ("eps stands inside the square root. It is added to the root.", _adamw_move(_eps_inside)),
    ("eps is missing: where a weight never had a gradient, 0 / 0 is not a number.", _adamw_move(_no_eps)),
    ("You move along the last gradient. Adam moves along m, the running mean.", _adamw_move(_along_gradient)),
    (
        "The correction of v stands outside the root. Divide v by 1 - beta2**step first, then take the root.",
        _adamw_move(
            lambda grad, m, v, step, betas, eps: (
                m / (1 - betas[0] ** step) / (v.sqrt() / (1 - betas[1] ** step) + eps)
            )
        ),
    ),
    ("The step goes by m and v as they were given. Update both with this gradient first.", _old_moments),
    ("v is a running mean of the gradient's square, and not of its size.", _mean_of_sizes),
    (
        "The weights move along the gradient, uphill. Take the step off.",
        _adamw(lambda weight, move, lr, decay: weight - lr * decay * weight + move),
    ),
    (
        "The two betas are exchanged: the first is of m, the second of v.",
        _adamw_given(lambda given: {**given, "betas": given["betas"][::-1]}),
    ),
    (
        "beta is the share of the old mean, 1 - beta that of the new gradient.",
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
    ("m and v come back as they were given: the next step needs the new ones.", _old_state),
    ("m and v have changed places in what you return.", _exchanged_state),
    (
        "Return three tensors: the new weight, m and v.",
        lambda *state, **settings: adamw_step(*state, **settings)[0],
    ),
    (
        "Return three tensors: the new weight, m and v.",
        lambda *state, **settings: adamw_step(*state, **settings)[1:],
    ),
]


def _factor(rest, warm=lambda step, warmup: (step + 1) / warmup):
    """A wrong warmup_cosine: rest(what is done of the rest, floor) after the warm-up, warm(...) in it."""

    def wrong(step, steps, warmup, floor=0.0):
        if step < warmup:
            return warm(step, warmup)
        return rest((step - warmup) / max(1, steps - warmup), floor)

    return wrong


def _cosine(done, floor=0.0):
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


def _from_the_start(step, steps, warmup, floor=0.0):
    return (step + 1) / warmup if step < warmup else _cosine(step / steps, floor)


def _over_all_steps(step, steps, warmup, floor=0.0):
    return (step + 1) / warmup if step < warmup else _cosine((step - warmup) / steps, floor)


def _ends_at_the_last(step, steps, warmup, floor=0.0):
    return (step + 1) / warmup if step < warmup else _cosine((step + 1 - warmup) / (steps - warmup), floor)


def _no_warmup(step, steps, warmup, floor=0.0):
    return _cosine(step / steps, floor)


def _by_minimum(step, steps, warmup, floor=0.0):
    return min((step + 1) / warmup, warmup_cosine(max(step, warmup), steps, warmup, floor))


def _in_numpy(step, steps, warmup, floor=0.0):
    done = np.clip((step - warmup) / (steps - warmup), 0, 1)
    factor = floor + (1 - floor) * np.cos(np.pi * done / 2) ** 2
    return np.float32((step + 1) / warmup if step < warmup else factor)


def _in_torch(step, steps, warmup, floor=0.0):
    if step < warmup:
        return torch.tensor(step + 1) / warmup
    done = torch.tensor((step - warmup) / (steps - warmup))
    return torch.lerp(torch.tensor(1.0), torch.tensor(floor), (1 - torch.cos(torch.pi * done)) / 2)


FACTOR_INPUTS = [
    *((step, 100, 10) for step in (0, 1, 2, 9, 10, 11, 32, 55, 99)),
    *((step, 24, 4) for step in (0, 3, 4, 14, 23)),
    *(call(step, 100, 10, floor=0.2) for step in (0, 3, 10, 55, 99)),
    call(30, 40, 20, floor=0.6),
]
HALF_COSINE = (
    "Right after the warm-up the factor should be 1, and at the end 0. Half of a cosine goes from 1 to 0: "
    "0.5 * (1 + cos(pi * done))."
)
FACTOR_MISTAKES = [
    (
        "Step 0 has the factor 0: its batch is computed and teaches nothing. Use step + 1.",
        _factor(_cosine, lambda step, warmup: step / warmup),
    ),
    (
        "The warm-up is missing: over a warm-up of 10 steps the factor should be 0.1, 0.2, ... 1.0.",
        _factor(_cosine, lambda step, warmup: 1.0),
    ),
    (
        "The warm-up is missing: over a warm-up of 10 steps the factor should be 0.1, 0.2, ... 1.0.",
        _no_warmup,
    ),
    (
        "The warm-up ends below 1: over 10 steps the factor should be 0.1, 0.2, ... 1.0.",
        _factor(_cosine, lambda step, warmup: (step + 1) / (warmup + 1)),
    ),
    (
        "After the warm-up the cosine should count from its end: done = 0 at step = warmup. Yours counts "
        "from step 0.",
        _from_the_start,
    ),
    (
        "The cosine should end with the last step: divide by steps - warmup, the steps that are left.",
        _over_all_steps,
    ),
    (
        "One step too far: right after the warm-up, at step = warmup, done is 0 and the factor 1.",
        _ends_at_the_last,
    ),
    (
        "The factor falls in a straight line; it should be half a cosine.",
        _factor(lambda done, floor: floor + (1 - floor) * (1 - done)),
    ),
    ("The factor stays at 1 after the warm-up.", _factor(lambda done, floor: 1.0)),
    (HALF_COSINE, _factor(lambda done, floor: floor + (1 - floor) * math.cos(math.pi * done))),
    (HALF_COSINE, _factor(lambda done, floor: floor + (1 - floor) * (1 + math.cos(math.pi * done)))),
    (HALF_COSINE, _factor(lambda done, floor: _cosine(2 * done, floor))),
    (HALF_COSINE, _factor(lambda done, floor: _cosine(1 - done, floor))),
    (
        "This is a quarter of a cosine: it falls fastest at the end. Half of one goes down slowly at both "
        "ends: 0.5 * (1 + cos(pi * done)).",
        _factor(lambda done, floor: floor + (1 - floor) * math.cos(math.pi * done / 2)),
    ),
    (
        "The floor lifts the whole curve above 1. The cosine should run "
        "from 1 down to the floor: floor + (1 - floor) * cosine.",
        _factor(lambda done, floor: floor + _cosine(done)),
    ),
    (
        "The floor is where the curve is cut. The cosine should run from 1 down to the floor, in all of the "
        "rest: floor + (1 - floor) * cosine.",
        _factor(lambda done, floor: max(floor, _cosine(done))),
    ),
    (
        "floor has no effect: the cosine should run from 1 down to the floor.",
        _factor(lambda done, floor: _cosine(done)),
    ),
    (
        "The floor belongs to the end. The warm-up goes up to 1 from (step + 1) / warmup whatever the floor "
        "is.",
        lambda step, steps, warmup, floor=0.0: max(floor, warmup_cosine(step, steps, warmup, floor)),
    ),
    (
        "The warm-up starts at the floor here. It goes up to 1 from 1 / warmup, whatever the floor is.",
        lambda step, steps, warmup, floor=0.0: (
            floor + (1 - floor) * (step + 1) / warmup
            if step < warmup
            else warmup_cosine(step, steps, warmup, floor)
        ),
    ),
    ("With warmup=0 your function divides by zero. Without a warm-up the first factor is 1.", _by_minimum),
]


class _Kept:
    """A tensor that a graph has saved for its backward."""

    def __init__(self, tensor):
        self.tensor = tensor


def _squared_error(model, batch):
    """Summed loss of the rows that count, and their number."""
    errors = (model(batch["x"]) - batch["y"]).square().sum(1)
    return (errors * batch["counts"]).sum(), batch["counts"].sum()


def _micro_batches(width, sizes):
    """A model with a frozen bias, and batches; of `size` rows the first counts not, but in a batch of one."""
    model = torch.nn.Linear(width, 1)
    model.bias.requires_grad_(False)
    batches = [
        {
            "x": torch.randn(size, width),
            "y": 3 * torch.randn(size, 1),
            "counts": (torch.arange(size) > 0) | (size == 1),
        }
        for size in sizes
    ]
    return model, batches


def _accumulated(fn, model, batches):
    """(the weight's gradient, what fn returned) on a copy of the model; Mistake where it was changed."""
    model, saved, called = copy.deepcopy(model), weakref.WeakSet(), []

    def pack(tensor):
        kept = _Kept(tensor)
        saved.add(kept)
        return kept

    def loss_fn(model, batch):
        called.append(True)
        if len(saved) > 0:
            raise Mistake(
                "A second micro-batch is computed while the graph of the first is still there: that takes "
                "the memory of one large batch, which accumulation is to save. Call backward on each loss "
                "before the next one is computed, without retain_graph."
            )
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
            return _squared_error(model, batch)

    before = copy.deepcopy(model.state_dict())
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    try:
        answer = fn(model, batches, loss_fn)
    except KeyError as error:
        if called:
            raise
        raise Mistake(
            "Your function does not call loss_fn, which it is given. The check gives it another loss than "
            "lm_loss, and other batches."
        ) from error
    if any(not torch.equal(value, before[name]) for name, value in model.state_dict().items()):
        raise Mistake(
            "Your function changes the weights. It should leave the gradient in .grad; the step is the "
            "optimiser's."
        )
    if frozen != [name for name, parameter in model.named_parameters() if not parameter.requires_grad]:
        raise Mistake(
            "Your function changes which parameters are frozen. Skip those whose .grad is None instead."
        )
    return model.weight.grad, answer


def _check_accumulated_step(fn):
    for width, sizes in ((3, (1, 7, 3)), (5, (4, 2, 1, 6))):
        model, batches = _micro_batches(width, sizes)
        grad, answer = _accumulated(fn, model, batches)
        right, (mean, tokens) = _accumulated(accumulated_step, model, batches)
        if grad is None:
            raise Mistake(
                "The parameters have no gradient afterwards. Call backward on each micro-batch's loss, "
                "and leave the gradient for the optimiser."
            )
        for message, wrong in ACCUMULATE_MISTAKES:
            if close(grad, _accumulated(wrong, model, batches)[0]) and not close(grad, right):
                raise Mistake(message)
        if not close(grad, right):
            difference = first_difference(grad, right, what="the gradient of the weight")
            raise Mistake(f"The gradient is not that of the mean loss over all target tokens. {difference}")
        _check_what_is_returned(answer, mean, tokens)


def _check_what_is_returned(answer, mean, tokens):
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Mistake("Return two numbers: the mean loss over all target tokens, and their number.")
    for value, right, what in zip(
        answer, (mean, tokens), ("the mean loss", "the number of tokens"), strict=True
    ):
        if wrong := wrong_kind(value, right, what) or first_difference(value, right, what=what):
            raise Mistake(wrong[0].upper() + wrong[1:])
    if getattr(answer[0], "requires_grad", False):
        raise Mistake(
            "The mean loss is still attached to its graph, which stays in memory as long as the number. Use "
            "loss.item(), or detach it."
        )


def _accumulate(divide):
    """A wrong accumulated_step: divide(loss, count, batches) is what each micro-batch's backward runs on."""

    def accumulated_step(model, micro_batches, loss_fn):
        total, tokens = 0.0, 0
        for batch in micro_batches:
            loss, count = loss_fn(model, batch)
            divide(loss, count, micro_batches).backward()
            total, tokens = total + loss.item(), tokens + int(count)
        return total / tokens, tokens

    return accumulated_step


def _accumulate_last(divide):
    """A wrong accumulated_step: the gradient of the last micro-batch alone; divide(loss, count, tokens)."""

    def accumulated_step(model, micro_batches, loss_fn):
        tokens = sum(int(batch["counts"].sum()) for batch in micro_batches)
        for batch in micro_batches:
            model.zero_grad()
            loss, count = loss_fn(model, batch)
            divide(loss, count, tokens).backward()
        return loss.item(), tokens

    return accumulated_step


def _with_rows(model, micro_batches, loss_fn):
    result = accumulated_step(model, micro_batches, loss_fn)
    model.weight.grad *= result[1] / sum(len(batch["x"]) for batch in micro_batches)
    return result


def _uphill(model, micro_batches, loss_fn):
    result = accumulated_step(model, micro_batches, loss_fn)
    model.weight.grad.neg_()
    return result


def _returned(fault):
    """A wrong accumulated_step: fault(mean loss, tokens) is returned."""
    return lambda model, micro_batches, loss_fn: fault(*accumulated_step(model, micro_batches, loss_fn))


def _one_backward(model, micro_batches, loss_fn):
    results = [loss_fn(model, batch) for batch in micro_batches]
    total, tokens = sum(loss for loss, _ in results), sum(count for _, count in results)
    (total / tokens).backward()
    return (total / tokens).item(), int(tokens)


def _attached(model, micro_batches, loss_fn):
    total, tokens = 0.0, 0
    for batch in micro_batches:
        loss, count = loss_fn(model, batch)
        loss.backward()
        total, tokens = total + loss, tokens + count
    model.weight.grad /= tokens
    return total / tokens, tokens


def _step_inside(model, micro_batches, loss_fn):
    result = accumulated_step(model, micro_batches, loss_fn)
    with torch.no_grad():
        model.weight -= 0.1 * model.weight.grad
    return result


def _frozen_forgotten(model, micro_batches, loss_fn):
    result = accumulated_step(model, micro_batches, loss_fn)
    for parameter in model.parameters():
        parameter.grad /= 1
    return result


def _no_gradient(model, micro_batches, loss_fn):
    with torch.no_grad():
        losses, counts = zip(*(loss_fn(model, batch) for batch in micro_batches), strict=True)
    return sum(losses) / sum(counts), sum(counts)


def _counted_before(model, micro_batches, loss_fn):
    with torch.no_grad():
        tokens = sum(loss_fn(model, batch)[1] for batch in micro_batches)
    mean = torch.tensor(0.0)
    for batch in micro_batches:
        part = loss_fn(model, batch)[0] / tokens
        part.backward()
        mean += part.detach()
    return [mean, tokens]


def _graphs_kept(model, micro_batches, loss_fn):
    losses, tokens = [], 0
    for batch in micro_batches:
        loss, count = loss_fn(model, batch)
        loss.backward(retain_graph=True)
        losses, tokens = [*losses, loss], tokens + int(count)
    model.weight.grad /= tokens
    return sum(loss.item() for loss in losses) / tokens, tokens


def _thawed(model, micro_batches, loss_fn):
    model.requires_grad_(True)
    return accumulated_step(model, micro_batches, loss_fn)


def _divided(by):
    """A wrong accumulated_step: each loss, or all of .grad in every turn, is divided by the tokens so far."""

    def accumulated_step(model, micro_batches, loss_fn):
        total, tokens = 0.0, 0
        for batch in micro_batches:
            loss, count = loss_fn(model, batch)
            total, tokens = total + loss.item(), tokens + int(count)
            (loss / tokens if by == "loss" else loss).backward()
            if by == "grad":
                model.weight.grad /= tokens
        return total / tokens, tokens

    return accumulated_step


def _by_autograd(model, micro_batches, loss_fn):
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    sums, total, tokens = [torch.zeros_like(parameter) for parameter in trainable], 0.0, 0
    for batch in micro_batches:
        loss, count = loss_fn(model, batch)
        for old, grad in zip(sums, torch.autograd.grad(loss, trainable), strict=True):
            old += grad
        total, tokens = total + loss.item(), tokens + count.item()
    for parameter, grad in zip(trainable, sums, strict=True):
        parameter.grad = grad / tokens
    return total / tokens, tokens


ONLY_THE_LAST = (
    "Only the last micro-batch is in the gradient. backward adds to .grad by itself: do "
    "not zero it between micro-batches."
)
ACCUMULATE_MISTAKES = [
    (
        "The gradient is that of the sum: a step with more tokens would be a larger step. "
        "Divide by the tokens of all micro-batches.",
        _accumulate(lambda loss, count, batches: loss),
    ),
    (
        "This is the mean of the micro-batches' means: a token in a short micro-batch weighs "
        "more than one in a long one. Divide once, by all tokens.",
        _accumulate(lambda loss, count, batches: loss / count / len(batches)),
    ),
    (
        "You divide each micro-batch by its own tokens and add: the gradient grows with the "
        "number of micro-batches. Sum first, then divide once, by all tokens.",
        _accumulate(lambda loss, count, batches: loss / count),
    ),
    (
        "You divide by the number of micro-batches. Divide by the number of target tokens.",
        _accumulate(lambda loss, count, batches: loss / len(batches)),
    ),
    ("You divide by the number of rows. Divide by the counts that loss_fn returns.", _with_rows),
    (ONLY_THE_LAST, _accumulate_last(lambda loss, count, tokens: loss)),
    (ONLY_THE_LAST, _accumulate_last(lambda loss, count, tokens: loss / count)),
    (ONLY_THE_LAST, _accumulate_last(lambda loss, count, tokens: loss / tokens)),
    ("The sign of the gradient is turned: the optimiser takes it off by itself.", _uphill),
    (
        "Each loss is divided by the tokens counted so far, so the first micro-batch weighs most. Divide "
        "once, after the last one, by all tokens.",
        _divided("loss"),
    ),
    (
        "The gradient is divided in every turn, so what came first is divided again and again. Divide once, "
        "after the loop.",
        _divided("grad"),
    ),
]


def interpolate_weights(before, after, share):
    """State dict at `share` of the way from `before` (0) to `after` (1), name by name; new tensors."""
    return {name: (1 - share) * before[name] + share * after[name] for name in before}


def _state_dicts():
    """Two models of other names and shapes, at a quarter of the way, beyond the middle, and at the ends."""
    shapes = {"a": (2, 3), "b": (4,)}, {"w": (5,), "layer.bias": (), "z": (3, 2)}, {"a": (3, 2)}, {"c": (4,)}
    return [
        (*({name: torch.randn(shape) for name, shape in one.items()} for _ in range(2)), share)
        for one, share in zip(shapes, (0.25, 0.7, 0.0, 1.0), strict=True)
    ]


def _check_interpolate(fn):
    COMPARE_WEIGHTS(fn)
    before, after = {"a": torch.ones(2, 3)}, {"a": torch.zeros(2, 3)}
    for share in (0.0, 1.0):
        value = fn(before, after, share)["a"]
        if value.data_ptr() in (before["a"].data_ptr(), after["a"].data_ptr()):
            raise Mistake(
                f"At share {share:.0f} your function returns a tensor that it was given: whoever trains the "
                "result changes the model that you want to keep. Make new tensors."
            )


def _line(fault):
    """A wrong interpolate_weights: fault(tensor before, tensor after, share)."""
    return lambda before, after, share: {name: fault(before[name], after[name], share) for name in before}


def _interpolate_in_place(before, after, share):
    for name in before:
        before[name].lerp_(after[name], share)
    return before


def _given_at_the_ends(before, after, share):
    if share in (0, 1):
        return dict(after if share else before)
    return interpolate_weights(before, after, share)


def _first_alone(before, after, share):
    name = next(iter(before))
    return {**before, name: interpolate_weights(before, after, share)[name]}


def _by_multiplying(before, after, share):
    result = {}
    for name, tensor in after.items():
        result[name] = tensor.clone().mul_(share).add_(before[name], alpha=1 - share)
    return result


WEIGHTS_MISTAKES = [
    (
        "The two ends are exchanged: at share 0 the weights are `before`, at share 1 `after`.",
        _line(lambda old, new, share: share * old + (1 - share) * new),
    ),
    ("This is the middle whatever the share is.", _line(lambda old, new, share: (old + new) / 2)),
    ("share is an argument: use it instead of 0.25.", _line(lambda old, new, share: 0.75 * old + 0.25 * new)),
    (
        "You add a share of `after` to all of `before`. The two shares sum to one; or add a "
        "share of the difference after - before.",
        _line(lambda old, new, share: old + share * new),
    ),
    (
        "A share of the difference is added to `after`, and the way starts at `before`.",
        _line(lambda old, new, share: new + share * (new - old)),
    ),
    (
        "The difference has the wrong sign: the way leads away from `after`. It is after - before.",
        _line(lambda old, new, share: old + share * (old - new)),
    ),
    (
        "This is the share of the difference alone. Add it to `before`.",
        _line(lambda old, new, share: share * (new - old)),
    ),
    ("Only the first tensor is moved. Every name has its turn.", _first_alone),
    (
        "Return a dict of tensors by name, as model.state_dict() is one. This is a list.",
        lambda before, after, share: list(interpolate_weights(before, after, share).values()),
    ),
]
COMPARE_WEIGHTS = compare(
    interpolate_weights,
    _state_dicts,
    WEIGHTS_MISTAKES,
    else_="At share 0.25 each weight should be 0.75 of `before` and 0.25 of `after`.",
)


def _two_layers():
    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))


def _stepped(fn, clip, rates):
    """What fn does to a small model in a few steps: weights, rates of both groups, what it returned."""
    model = _two_layers()
    first, last = model[0].parameters(), model[2].parameters()
    optimizer = torch.optim.SGD([{"params": first}, {"params": last}], lr=9.0, momentum=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)  # left over from the step before
    passes = []

    def accumulate(model, micro_batches):
        passes.append(len(micro_batches))
        return accumulated_step(model, micro_batches, _squared_error)

    answers, weights = [], []
    for number, rate in enumerate(rates):
        generator = torch.Generator().manual_seed(number)
        batches = [
            {
                "x": torch.randn(size, 4, generator=generator),
                "y": 3 * torch.randn(size, 1, generator=generator),
                "counts": torch.arange(size) > 0,
            }
            for size in (3, 5)
        ]
        try:
            answers.append(fn(model, batches, optimizer, rate, clip, accumulate))
        except KeyError:  # the package's accumulated_step does not know these batches
            if passes:
                raise
            break
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    if not passes:
        raise Mistake("Your step never calls `accumulate`: it is the function that leaves the gradient.")
    return {
        "weights": torch.stack(weights),
        "rates": [float(group["lr"]) for group in optimizer.param_groups],
        "answers": answers,
        "passes": passes,
    }


STEP_CASES = [(1.0, (0.3, 0.1)), (0.2, (0.05, 0.2, 0.1)), (1e3, (0.02, 0.01)), (math.inf, (0.02, 0.05))]


def _same_steps(mine, theirs):
    return all(close(mine[name], theirs[name]) for name in ("weights", "rates")) and (
        mine["passes"] == theirs["passes"]
    )


def _check_train_step(fn):
    runs = [(_stepped(fn, *case), _stepped(train_step, *case), case) for case in STEP_CASES]
    if not all(_same_steps(mine, right) for mine, right, _ in runs):
        for message, wrong in STEP_MISTAKES:
            theirs = [_stepped(wrong, *case) for case in STEP_CASES]
            if all(_same_steps(mine, other) for (mine, _, _), other in zip(runs, theirs, strict=True)):
                raise Mistake(message)
        clip = next(case[0] for mine, right, case in runs if not _same_steps(mine, right))
        raise Mistake(
            f"With clip = {clip:g} the weights after the step are not those of: zero the gradient, "
            "accumulate, clip, set the rate in every group, step."
        )
    for mine, right, _ in runs:
        for answer, (loss, norm) in zip(mine["answers"], right["answers"], strict=True):
            if not isinstance(answer, tuple | list) or len(answer) != 2:
                raise Mistake("Return two numbers: the mean loss, and the norm of the gradient.")
            for value, wanted, what in zip(answer, (loss, norm), ("the mean loss", "the norm"), strict=True):
                if wrong := wrong_kind(value, wanted, what) or first_difference(value, wanted, what=what):
                    hint = " The norm is that before clipping." if what == "the norm" else ""
                    raise Mistake(wrong[0].upper() + wrong[1:] + hint)
                if getattr(value, "requires_grad", False):
                    raise Mistake(f"{what[0].upper()}{what[1:]} is still attached to its graph: detach it.")


def _train_step(*parts):
    """A wrong train_step: `parts` are done in their order, by name."""

    def wrong(model, micro_batches, optimizer, lr, clip=1.0, accumulate=accumulated_step):
        loss = norm = 0.0
        for part in parts:
            if part == "zero":
                optimizer.zero_grad()
            elif part == "accumulate":
                loss, _ = accumulate(model, micro_batches)
            elif part == "clip":
                norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip).item()
            elif part == "rate":
                _set_rate(optimizer, lr)
            elif part == "step":
                optimizer.step()
            else:
                norm = part(model, optimizer, lr, clip) or norm
        return loss, norm

    return wrong


def _set_rate(optimizer, lr):
    for group in optimizer.param_groups:
        group["lr"] = lr


def _norm(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item()


def _clip_each(model, optimizer, lr, clip):
    norm = _norm(model)
    for parameter in model.parameters():
        torch.nn.utils.clip_grad_norm_([parameter], clip)
    return norm


def _clip_values(model, optimizer, lr, clip):
    norm = _norm(model)
    torch.nn.utils.clip_grad_value_(model.parameters(), clip)
    return norm


def _clip_to_one(model, optimizer, lr, clip):
    return torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()


def _always_scale(model, optimizer, lr, clip):
    norm = _norm(model)
    for parameter in model.parameters():
        parameter.grad *= min(clip, 1e9) / norm
    return norm


def _first_group(model, optimizer, lr, clip):
    optimizer.param_groups[0]["lr"] = lr


def _times_rate(model, optimizer, lr, clip):
    for group in optimizer.param_groups:
        group["lr"] *= lr


def _norm_after(model, optimizer, lr, clip):
    return _norm(model)


def _step_for_each(model, micro_batches, optimizer, lr, clip=1.0, accumulate=accumulated_step):
    for batch in micro_batches:
        result = train_step(model, [batch], optimizer, lr, clip, accumulate)
    return result


def _clipped_by_hand(model, micro_batches, optimizer, lr, clip=1.0, accumulate=accumulated_step):
    model.zero_grad(set_to_none=False)
    loss = accumulate(model, micro_batches)[0]
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.sqrt(sum(grad.square().sum() for grad in grads))
    for grad in grads:
        grad *= min(1.0, clip / (float(norm) + 1e-6))
    _set_rate(optimizer, lr)
    optimizer.step()
    return [torch.tensor(loss), norm]


def _zeroed_at_both_ends(model, micro_batches, optimizer, lr, clip=1.0, accumulate=accumulated_step):
    for group in optimizer.param_groups:
        group.update(lr=lr)
    optimizer.zero_grad()
    loss, _ = accumulate(model, micro_batches)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=clip)
    optimizer.step()
    optimizer.zero_grad()
    return loss, norm


STILL = (
    "The weights do not move. Call optimizer.step() at the end, and zero the gradient before accumulate, not "
    "after it."
)
NOT_CLIPPED = (
    "A long gradient moves the weights at its full length. Clip after accumulate, when there is a gradient, "
    "and before the optimiser steps."
)
STEP_MISTAKES = [
    (
        "What the step before left in .grad is still in it: accumulate adds to it. Zero the gradient first.",
        _train_step("accumulate", "clip", "rate", "step"),
    ),
    (
        "You zero the gradient after the step alone. Something may be left in .grad before the first one: "
        "zero it before accumulate.",
        _train_step("accumulate", "clip", "rate", "step", "zero"),
    ),
    (STILL, _train_step("accumulate", "zero", "clip", "rate", "step")),
    (STILL, _train_step("zero", "accumulate", "clip", "rate")),
    (NOT_CLIPPED, _train_step("zero", "accumulate", "rate", "step")),
    (NOT_CLIPPED, _train_step("zero", "accumulate", "rate", "step", "clip")),
    (NOT_CLIPPED, _train_step("zero", "clip", "accumulate", "rate", "step")),
    (
        "Each tensor is clipped by itself, which turns the gradient into another direction. The norm is "
        "that of all parameters together.",
        _train_step("zero", "accumulate", _clip_each, "rate", "step"),
    ),
    (
        "Each value is cut at clip, which turns the gradient into another direction. Scale all of it: "
        "clip_grad_norm_.",
        _train_step("zero", "accumulate", _clip_values, "rate", "step"),
    ),
    (
        "clip is an argument: use it instead of 1.0.",
        _train_step("zero", "accumulate", _clip_to_one, "rate", "step"),
    ),
    (
        "A gradient shorter than clip is made longer here. Clipping only shortens.",
        _train_step("zero", "accumulate", _always_scale, "rate", "step"),
    ),
    (
        "The rate is not set: put lr into group['lr'] of every group of optimizer.param_groups.",
        _train_step("zero", "accumulate", "clip", "step"),
    ),
    (
        "The rate is set in the first group alone. Matrices and biases are in two groups.",
        _train_step("zero", "accumulate", "clip", _first_group, "step"),
    ),
    (
        "The rate is set after the step, so each step has the rate of the one before.",
        _train_step("zero", "accumulate", "clip", "step", "rate"),
    ),
    (
        "The old rate is multiplied by lr. lr is the rate of this step: set it.",
        _train_step("zero", "accumulate", "clip", _times_rate, "step"),
    ),
    (
        "You make an update after every micro-batch. Give all of them to accumulate, then step once.",
        _step_for_each,
    ),
]


def which_fault(suspect, model, micro_batches):
    """What is wrong with a step: "mask by id", "double shift", "mean of means", or "sound"."""

    def compared(batches):
        (mean, tokens), (right_mean, right_tokens) = (
            step(model, batches) for step in (suspect, accumulated_step)
        )
        model.zero_grad()
        return math.isclose(mean, right_mean, rel_tol=1e-3), tokens == right_tokens

    one_mean, one_count = compared(micro_batches[:1])
    if not one_count:
        return "mask by id"
    if not one_mean:
        return "double shift"
    return "sound" if compared(micro_batches)[0] else "mean of means"


def _tiny_model(seed):
    torch.manual_seed(seed)
    return untrained_gpt2(
        n_layer=1, n_head=2, n_embd=16, vocab_size=20, n_positions=16, initializer_range=0.5
    )


def _answer_batches(seed, lengths):
    """Micro-batches of rows of a prompt of three tokens, an answer, the end (id 0) and padding (id 0)."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for rows in lengths:
        width = 4 + max(rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        labels, attention = torch.full_like(ids, -100), torch.zeros_like(ids)
        for row, length in enumerate(rows):
            ids[row, : 3 + length] = torch.randint(1, 20, (3 + length,), generator=generator)
            labels[row, 3 : 4 + length] = ids[row, 3 : 4 + length]
            attention[row, : 4 + length] = 1
        batches.append({"input_ids": ids, "attention_mask": attention, "labels": labels})
    return batches


def _sound_in_another_style(model, micro_batches):
    """Row by row: another order of the same sums, so that the last digits differ."""
    rows = [
        {name: value[row : row + 1] for name, value in batch.items()}
        for batch in micro_batches
        for row in range(len(batch["labels"]))
    ]
    return accumulated_step(model, rows)


VERDICTS = {
    "mask by id": [suspects.masked_by_id],
    "double shift": [suspects.shifted_twice],
    "mean of means": [suspects.mean_of_means],
    "sound": [accumulated_step, _sound_in_another_style],
}


def _verdicts(fn):
    """(right verdict, the suspect's number, what fn says) for every suspect on two sets of micro-batches."""
    found = []
    for seed, lengths in ((1, ((1, 2), (6, 5, 4))), (2, ((7, 3), (1,), (2, 1)))):
        for verdict, steps in VERDICTS.items():
            for number, step in enumerate(steps):
                model = _tiny_model(seed)
                found.append((verdict, number, fn(step, model, _answer_batches(seed, lengths))))
    return found


def _check_which_fault(fn):
    found = _verdicts(fn)
    for _, _, said in found:
        if said not in VERDICTS:
            raise Mistake(f"Return one of {', '.join(map(repr, VERDICTS))}. Yours returns {said!r}.")
    if all(said == right for right, _, said in found):
        return
    said = [answer for *_, answer in found]
    for message, wrong in FAULT_MISTAKES:
        if said == [answer for *_, answer in _verdicts(wrong)]:
            raise Mistake(message)
    right, _, said = next(row for row in found if row[0] != row[2])
    raise Mistake(
        f"A step that should get the verdict {right!r} gets {said!r}. First compare the numbers of tokens, "
        "then the means on one micro-batch, then the means on all of them."
    )


def _fault_by(rule):
    """A wrong which_fault: rule(one, all) of (suspect's mean, tokens, right mean, tokens)."""

    def wrong(suspect, model, micro_batches):
        def both(batches):
            return (*suspect(model, batches), *accumulated_step(model, batches))

        return rule(both(micro_batches[:1]), both(micro_batches))

    return wrong


def _near(numbers):
    return math.isclose(numbers[0], numbers[2], rel_tol=1e-3)


def _means_alone(one, every):
    if not _near(one):
        return "double shift"
    return "sound" if _near(every) else "mean of means"


def _all_at_once(one, every):
    if every[1] != every[3]:
        return "mask by id"
    return "sound" if _near(every) else "double shift"


def _all_at_once_means(one, every):
    if every[1] != every[3]:
        return "mask by id"
    return "sound" if _near(every) else "mean of means"


def _one_batch_alone(one, every):
    if one[1] != one[3]:
        return "mask by id"
    return "sound" if _near(one) else "double shift"


def _to_the_last_bit(one, every):
    if one[1] != one[3]:
        return "mask by id"
    if one[0] != one[2]:
        return "double shift"
    return "sound" if every[0] == every[2] else "mean of means"


def _shift_and_means_exchanged(one, every):
    found = _one_batch_alone(one, every)
    if found == "double shift":
        return "mean of means"
    return found if found != "sound" or _near(every) else "double shift"


def _counts_alone(one, every):
    return "mask by id" if one[1] != one[3] else "sound"


FAULT_MISTAKES = [
    (
        "A mask by id goes for a double shift here: both change the mean. The number of tokens tells them "
        "apart, since a mask by id drops the end of every row.",
        _fault_by(_means_alone),
    ),
    (
        "A mean of means goes for a double shift here. On one micro-batch alone a mean of means is right, "
        "and a double shift is not.",
        _fault_by(_all_at_once),
    ),
    (
        "A double shift goes for a mean of means here. On one micro-batch alone a mean of means is right, "
        "and a double shift is not.",
        _fault_by(_all_at_once_means),
    ),
    (
        "A mean of means goes for sound: on one micro-batch it is. Compare on all of them too.",
        _fault_by(_one_batch_alone),
    ),
    (
        "A sound step is blamed: two right ways to add up differ in the last digits. Compare the means with "
        "a tolerance (math.isclose).",
        _fault_by(_to_the_last_bit),
    ),
    ("Double shift and mean of means are exchanged.", _fault_by(_shift_and_means_exchanged)),
    (
        "Two of the faults leave the number of tokens as it is. They show in the means, sometimes by a few "
        "per cent only: compare them with a tolerance of about a thousandth.",
        _fault_by(_counts_alone),
    ),
]


def _by_two_losses(suspect, model, micro_batches):
    rows = []
    for batches in (micro_batches[:1], micro_batches):
        mean, tokens = suspect(model, batches)
        with torch.no_grad():
            sums, counts = zip(*(lm_loss(model, batch) for batch in batches), strict=True)
        rows.append((float(mean) * int(tokens) - float(sum(sums)), int(tokens) - int(sum(counts))))
    (first, missing), (every, _) = rows
    if missing:
        return "mask by id"
    return "double shift" if abs(first) > 1e-2 else "mean of means" if abs(every) > 1e-2 else "sound"


def _every_batch_alone(suspect, model, micro_batches):
    alone = [which_fault(suspect, model, [batch]) for batch in micro_batches]
    return alone[0] if alone[0] != "sound" else which_fault(suspect, model, micro_batches)


EXERCISES = [
    Exercise(
        name="accumulated_step",
        lesson="02",
        minutes=10,
        difficulty=2,
        reference=accumulated_step,
        check=_check_accumulated_step,
        wrong=[
            *((wrong, message) for message, wrong in ACCUMULATE_MISTAKES),
            (_one_backward, "while the graph of the first is still there"),
            (_attached, "still attached to its graph"),
            (_graphs_kept, "while the graph of the first is still there"),
            (_thawed, "changes which parameters are frozen"),
            (
                lambda model, micro_batches, loss_fn: accumulated_step(model, micro_batches),
                "not call loss_fn",
            ),
            (_step_inside, "changes the weights"),
            (_frozen_forgotten, "Your code stopped"),
            (_no_gradient, "have no gradient"),
            (_accumulate(lambda loss, count, batches: loss / 9), "not that of the mean loss"),
            (_returned(lambda mean, tokens: (mean * tokens, tokens)), "The mean loss should be"),
            (_returned(lambda mean, tokens: (mean, tokens + 1)), "The number of tokens should be"),
            (_returned(lambda mean, tokens: mean), "two numbers"),
            (_returned(lambda mean, tokens: None), "two numbers"),
        ],
        right=[_counted_before, _by_autograd],
        hints=(
            "backward adds to .grad. So the gradients of the summed losses add up by themselves; only the "
            "division by the number of tokens has to wait until all of them are known.",
            "loss_fn(model, batch) gives (summed loss, count). Loop: backward on the sum, add up "
            "loss.item() and int(count). Afterwards: parameter.grad /= tokens where there is a gradient "
            "(frozen parameters have None). Return (total / tokens, tokens).",
        ),
        then="From here on your function leaves the gradients, also in training.",
    ),
    Exercise(
        name="train_step",
        lesson="02",
        minutes=10,
        difficulty=2,
        reference=train_step,
        check=_check_train_step,
        wrong=[
            *((wrong, message) for message, wrong in STEP_MISTAKES),
            (
                _train_step("zero", "accumulate", "clip", "rate", "step", _norm_after),
                "The norm is that before clipping",
            ),
            (
                lambda model, micro_batches, optimizer, lr, clip=1.0, accumulate=None: train_step(
                    model, micro_batches, optimizer, 2 * lr, clip, accumulate
                ),
                "are not those of",
            ),
            (
                lambda model, micro_batches, optimizer, lr, clip=1.0, accumulate=None: train_step(
                    model, micro_batches, optimizer, lr, clip, accumulate
                )[0],
                "Return two numbers",
            ),
            (
                lambda model, micro_batches, optimizer, lr, clip=1.0, accumulate=None: (0.0, 0.0),
                "never calls",
            ),
            (
                lambda model, micro_batches, optimizer, lr, clip=1.0, accumulate=None: train_step(
                    model, micro_batches, optimizer, lr, clip
                ),
                "never calls",
            ),
        ],
        right=[_clipped_by_hand, _zeroed_at_both_ends],
        hints=(
            "Five things, in this order: nothing left in .grad, the gradient of all micro-batches, a bound "
            "on its length, the rate of this step, the update.",
            "optimizer.zero_grad(); loss, _ = accumulate(model, micro_batches); "
            "norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip), which returns the norm before "
            "clipping; group['lr'] = lr for every group of optimizer.param_groups; optimizer.step(). Return "
            "(loss, norm).",
        ),
        then="Every training run of this lesson's loop goes through your step.",
    ),
    Exercise(
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
            (
                _adamw(lambda weight, move, lr, decay: weight - lr * decay * weight - 2 * move),
                "running means",
            ),
            (lambda *state, **settings: None, "Is there a return?"),
        ],
        right=[_by_torch, _with_lerp],
        hints=(
            "m is a running mean of the gradient, v one of its square. Both start at zero, so early on "
            "they are too small by the factor 1 - beta**step. The step is m over the root of v: a sign, "
            "when all gradients agree.",
            "All tensors have the weight's shape. In this order: m, v, m_hat = m / (1 - beta1**step), "
            "v_hat likewise; then the weight loses lr * weight_decay * weight, and "
            "lr * m_hat / (sqrt(v_hat) + eps). Return m and v, not m_hat and v_hat.",
        ),
        then="Your update moves the weights in the training below.",
    ),
    Exercise(
        name="which_fault",
        lesson="02",
        minutes=8,
        difficulty=2,
        reference=which_fault,
        check=_check_which_fault,
        wrong=[
            *((wrong, message) for message, wrong in FAULT_MISTAKES),
            (lambda suspect, model, micro_batches: "sound", "gets 'sound'"),
            (lambda suspect, model, micro_batches: "A", "Return one of"),
            (lambda suspect, model, micro_batches: None, "Return one of"),
        ],
        right=[_by_two_losses, _every_batch_alone],
        hints=(
            "Each of the three leaves another trace in (mean loss, tokens). One changes the number of "
            "tokens. One is right as long as there is a single micro-batch.",
            "Call suspect and accumulated_step on micro_batches[:1]. Other tokens: mask by id. Another mean: "
            "double shift. Then call both on all micro_batches. Another mean: mean of means; else sound. "
            "Compare means with math.isclose(..., rel_tol=1e-3).",
        ),
        then="The next cell puts your test to the three steps.",
    ),
    Exercise(
        name="interpolate_weights",
        lesson="02",
        minutes=5,
        difficulty=1,
        reference=interpolate_weights,
        check=_check_interpolate,
        wrong=[
            *((wrong, message) for message, wrong in WEIGHTS_MISTAKES),
            (_interpolate_in_place, "changes its argument before in place"),
            (_given_at_the_ends, "a tensor that it was given"),
            (
                lambda before, after, share: dict(
                    list(interpolate_weights(before, after, share).items())[1:]
                ),
                "should have the keys",
            ),
            (_line(lambda old, new, share: new.clone()), "0.75 of `before`"),
            (lambda before, after, share: None, "Is there a return?"),
        ],
        right=[_line(torch.lerp), _line(lambda old, new, share: old + share * (new - old)), _by_multiplying],
        hints=(
            "A straight line between two points: at share 0 the one, at share 1 the other. A model is a "
            "point too, with one coordinate a weight.",
            "before and after are dicts {name: tensor}. For each name (1 - share) * before[name] + "
            "share * after[name], a new tensor of the same shape; return the dict.",
        ),
        then="The walk back below is along your line.",
    ),
    Exercise(
        name="warmup_cosine",
        lesson="02",
        minutes=8,
        difficulty=1,
        reference=warmup_cosine,
        check=compare(
            warmup_cosine,
            FACTOR_INPUTS,
            FACTOR_MISTAKES,
            else_="It rises in a straight line to 1 in the warm-up, then falls by half a cosine to floor.",
            extremes=[("Without a warm-up the first factor is 1.", [(0, 10, 0), (5, 10, 0)])],
        ),
        wrong=[
            (_factor(lambda done, floor: floor + (1 - floor) * (1 - done) ** 2), "falls by half a cosine"),
            (
                lambda step, steps, warmup, floor=0.0: (
                    warmup_cosine(step, steps, warmup, floor) if warmup else 0.5
                ),
                "Without a warm-up",
            ),
            (lambda step, steps, warmup: warmup_cosine(step, steps, warmup), "should take the arguments"),
            (lambda step, steps, warmup, floor=0.0: None, "Is there a return?"),
        ],
        right=[_in_numpy, _in_torch],
        hints=(
            "Two pieces. In the warm-up the factor is the share of it that is done, this step included. "
            "After it, a number `done` goes from 0 to 1 over the rest; think of half a cosine over it.",
            "A number in, a number out. step < warmup: (step + 1) / warmup. Else done = (step - warmup) / "
            "max(1, steps - warmup), cosine = 0.5 * (1 + cos(pi * done)), stretched between floor and 1.",
        ),
        then="Run the cells of the figure and of the long run again to train with your schedule.",
    ),
]
