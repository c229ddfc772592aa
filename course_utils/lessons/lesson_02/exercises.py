"""Exercises of lesson 02: the parts of a training loop."""

from __future__ import annotations

import math

import torch

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor
from course_utils.training import accumulated_step, warmup_cosine


def adamw_step(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    """One AdamW update of a tensor; step counts from 1. Returns the new (weight, m, v).

    Kingma and Ba 2014 (Adam), Loshchilov and Hutter 2017 (decoupled weight decay).
    """
    m = betas[0] * m + (1 - betas[0]) * grad
    v = betas[1] * v + (1 - betas[1]) * grad**2
    m_hat = m / (1 - betas[0] ** step)
    v_hat = v / (1 - betas[1] ** step)
    weight = weight - lr * weight_decay * weight
    weight = weight - lr * m_hat / (v_hat.sqrt() + eps)
    return weight, m, v


def _adamw_variant(weight, grad, m, v, step, lr, betas, eps, weight_decay, fault):
    """adamw_step with one fault: l2, no_decay, no_correction, no_root, eps_inside, gradient or ascent."""
    if fault == "l2":
        grad = grad + weight_decay * weight
    m = betas[0] * m + (1 - betas[0]) * grad
    v = betas[1] * v + (1 - betas[1]) * grad**2
    m_hat, v_hat = m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)
    if fault == "no_correction":
        m_hat, v_hat = m, v
    if fault == "gradient":
        m_hat = grad
    root = v_hat if fault == "no_root" else v_hat.sqrt()
    move = m_hat / (v_hat + eps).sqrt() if fault == "eps_inside" else m_hat / (root + eps)
    if fault not in ("l2", "no_decay"):
        weight = weight - lr * weight_decay * weight
    return weight + (lr if fault == "ascent" else -lr) * move, m, v


ADAMW_FAULTS = {
    "no_correction": "Your update equals one without bias correction. m and v start at zero, so divide m by "
    "1 - beta1**step and v by 1 - beta2**step before you use them.",
    "l2": "The weight decay went into the gradient: that is L2 regularisation, and Adam divides it by "
    "sqrt(v) like the rest. AdamW takes lr * weight_decay * weight off the weight itself.",
    "no_decay": "The weights do not decay: take lr * weight_decay * weight off them.",
    "no_root": "You divide by v. v is a mean of squares, so the size of the gradient is its square root.",
    "eps_inside": "eps stands inside the square root. It is added to the root.",
    "gradient": "You move along the last gradient. Adam moves along m, the running mean.",
    "ascent": "The weights move along the gradient, uphill. Take the step off.",
}


def _check_adamw(fn):
    torch.manual_seed(0)
    start = torch.randn(4, 3)
    grads = [torch.randn(4, 3) * scale for scale in (1.0, 1e-3, 0.1)]
    settings = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([parameter], foreach=False, **settings)
    results = {fault: (start, torch.zeros(4, 3), torch.zeros(4, 3)) for fault in ADAMW_FAULTS}
    mine = start.clone(), torch.zeros(4, 3), torch.zeros(4, 3)
    for step, grad in enumerate(grads, start=1):
        given = [tensor.clone() for tensor in mine]
        parameter.grad = grad.clone()
        optimizer.step()
        results = {
            fault: _adamw_variant(state[0], grad, *state[1:], step, *settings.values(), fault)
            for fault, state in results.items()
        }
        answer = fn(mine[0], grad, mine[1], mine[2], step, **settings)
        if not isinstance(answer, tuple | list) or len(answer) != 3:
            raise Mistake("Return three tensors: the new weight, m and v.")
        for tensor, before, name in zip(mine, given, ("weight", "m", "v"), strict=True):
            if not close(tensor, before):
                raise Mistake(f"Your function changes the {name} it is given. Return new tensors.")
        mine = tuple(
            expect_tensor(value, (4, 3), name)
            for value, name in zip(answer, ("the weight", "m", "v"), strict=True)
        )
    if close(mine[0], parameter):
        state = optimizer.state[parameter]
        if not close(mine[1], state["exp_avg"]) or not close(mine[2], state["exp_avg_sq"]):
            raise Mistake(
                "The weight is right, but m and v are not the running means to go on with. Return "
                "them before the bias correction."
            )
        return
    for fault, message in ADAMW_FAULTS.items():
        if close(mine[0], results[fault][0]):
            raise Mistake(message)
    raise Mistake(
        "After three steps the weight differs from torch.optim.AdamW's by "
        f"{(mine[0] - parameter).abs().max().item():.2g} at most."
    )


def _check_warmup_cosine(fn):
    def factors(steps, warmup, **floor):
        values = [fn(step, steps, warmup, **floor) for step in range(steps)]
        if any(not isinstance(value, int | float) for value in values):
            kinds = sorted({type(value).__name__ for value in values})
            raise Mistake(f"Every factor should be a number; you returned {', '.join(kinds)}.")
        return values

    values = factors(100, 10)
    if values[0] == 0:
        raise Mistake("Step 0 has the factor 0: its batch is computed and teaches nothing. Use step + 1.")
    if not close(values[:10], [(step + 1) / 10 for step in range(10)]):
        raise Mistake(
            "Over a warm-up of 10 steps the factor should be 0.1, 0.2, ... 1.0; yours begins with "
            f"{', '.join(f'{value:.3g}' for value in values[:3])}."
        )
    if not close(values[10], 1.0):
        raise Mistake(
            f"Right after the warm-up of 10 steps the factor should be 1, and is {values[10]:.4g}. "
            "The cosine counts from the end of the warm-up, and half of a cosine goes from 1 to 0: "
            "0.5 * (1 + cos(pi * done))."
        )
    if not close(values[55], 0.5):
        raise Mistake(f"Half-way between warm-up and end the factor should be 0.5, and is {values[55]:.4g}.")
    if not close(values[32], 0.5 * (1 + math.cos(math.pi * 22 / 90))):
        raise Mistake(
            "The factor falls in a straight line or another curve; it should be half a cosine, "
            f"{0.5 * (1 + math.cos(math.pi * 22 / 90)):.3f} at step 32, and is {values[32]:.3f}."
        )
    with_floor = factors(100, 10, floor=0.2)
    if not close(max(with_floor), 1.0):
        raise Mistake(
            f"With floor=0.2 the largest factor is {max(with_floor):.3g}. The cosine should run "
            "from 1 down to the floor: floor + (1 - floor) * cosine."
        )
    if not close(with_floor[55], 0.6):
        raise Mistake(f"With floor=0.2 the factor half-way should be 0.6, and is {with_floor[55]:.3g}.")
    try:
        first = fn(0, 10, 0)
    except ZeroDivisionError:
        raise Mistake(
            "With warmup=0 your function divides by zero. Without a warm-up the first factor is 1."
        ) from None
    if not close(first, 1.0):
        raise Mistake(f"Without a warm-up the first factor should be 1, and is {first:.3g}.")


def _squared_error(model, batch):
    return (model(batch["x"]) - batch["y"]).square().sum(), torch.tensor(len(batch["x"]))


def _check_accumulated_step(fn):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    model.bias.requires_grad_(False)  # frozen parameters have no gradient
    batches = [{"x": torch.randn(n, 3), "y": torch.randn(n, 1)} for n in (1, 6, 2)]
    each = []
    for batch in batches:
        model.zero_grad()
        _squared_error(model, batch)[0].backward()
        each.append(model.weight.grad.clone())
    total, counts = sum(each), [len(batch["x"]) for batch in batches]
    losses = [_squared_error(model, batch)[0].item() for batch in batches]
    model.zero_grad()
    answer = fn(model, batches, _squared_error)
    grad = model.weight.grad
    if grad is None:
        raise Mistake(
            "The parameters have no gradient afterwards. Call backward on each micro-batch's loss, "
            "and leave the gradient for the optimiser."
        )
    if close(grad, total):
        raise Mistake(
            "The gradient is that of the sum: a step with more tokens would be a larger step. "
            "Divide by the tokens of all micro-batches."
        )
    if close(grad, sum(g / n for g, n in zip(each, counts, strict=True)) / 3):
        raise Mistake(
            "This is the mean of the micro-batches' means: a token in a short micro-batch weighs "
            "more than one in a long one. Divide once, by all tokens."
        )
    if close(grad, sum(g / n for g, n in zip(each, counts, strict=True))):
        raise Mistake(
            "You divide each micro-batch by its own tokens and add: the gradient grows with the "
            "number of micro-batches. Sum first, then divide once, by all tokens."
        )
    if close(grad, total / 3):
        raise Mistake("You divide by the number of micro-batches. Divide by the number of target tokens.")
    if any(close(grad, each[2] / n) for n in (1, counts[2], sum(counts))):
        raise Mistake(
            "Only the last micro-batch is in the gradient. backward adds to .grad by itself: do "
            "not zero it between micro-batches."
        )
    if not close(grad, total / sum(counts)):
        raise Mistake("The gradient is not that of the mean loss over all target tokens.")
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Mistake("Return two numbers: the mean loss over all target tokens, and their number.")
    if not close(answer[0], sum(losses) / sum(counts)):
        raise Mistake(
            f"The mean loss should be {sum(losses) / sum(counts):.4f}, and is {float(answer[0]):.4f}."
        )
    if int(answer[1]) != sum(counts):
        raise Mistake(f"The micro-batches hold {sum(counts)} target tokens, you returned {int(answer[1])}.")


def interpolate_weights(before, after, share):
    """State dict at `share` of the way from `before` (0) to `after` (1), name by name; new tensors."""
    return {name: (1 - share) * before[name] + share * after[name] for name in before}


def _check_interpolate(fn):
    torch.manual_seed(0)
    before = {"a": torch.randn(2, 3), "b": torch.randn(4)}
    after = {"a": torch.randn(2, 3), "b": torch.randn(4)}
    kept = {name: value.clone() for name, value in before.items()}
    result = fn(before, after, 0.25)
    if not isinstance(result, dict):
        raise Mistake(
            "Return a dict of tensors, as model.state_dict() is one; this is of type "
            f"{type(result).__name__}."
        )
    if set(result) != set(before):
        raise Mistake(f"The names should be {sorted(before)}, and are {sorted(map(str, result))}.")
    if any(not close(before[name], kept[name]) for name in before):
        raise Mistake(
            "Your function changes the weights in `before`: those of the model that you want to "
            "keep. Make new tensors."
        )
    value, a, b = expect_tensor(result["a"], (2, 3)), before["a"], after["a"]
    if close(value, 0.75 * b + 0.25 * a):
        raise Mistake("The two ends are exchanged: at share 0 the weights are `before`, at share 1 `after`.")
    if close(value, (a + b) / 2):
        raise Mistake("This is the middle whatever the share is.")
    if close(value, a + 0.25 * b):
        raise Mistake(
            "You add a share of `after` to all of `before`. The two shares sum to one; or add a "
            "share of the difference after - before."
        )
    if not close(value, 0.75 * a + 0.25 * b):
        raise Mistake("At share 0.25 each weight should be 0.75 of `before` and 0.25 of `after`.")


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


def _accumulate_zeroing(model, micro_batches, loss_fn):
    for batch in micro_batches:
        model.zero_grad()
        loss, count = loss_fn(model, batch)
        (loss / count).backward()
    return loss.item(), int(count)


def _accumulate_first_count(model, micro_batches, loss_fn):
    accumulated_step(model, micro_batches, loss_fn)
    return 0.0, 9


def _interpolate_in_place(before, after, share):
    for name in before:
        before[name].lerp_(after[name], share)
    return before


def _adamw_with(fault):
    def adamw_step(weight, grad, m, v, step, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        return _adamw_variant(weight, grad, m, v, step, lr, betas, eps, weight_decay, fault)

    return adamw_step


def _adamw_corrected_state(weight, grad, m, v, step, lr, betas, eps, weight_decay):
    weight, m, v = adamw_step(weight, grad, m, v, step, lr, betas, eps, weight_decay)
    return (weight, m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)) if step == 3 else (weight, m, v)


EXERCISES = [
    Exercise(
        name="adamw_step",
        lesson="02",
        minutes=15,
        difficulty=3,
        reference=adamw_step,
        check=_check_adamw,
        wrong=[
            (_adamw_with("no_correction"), "without bias correction"),
            (_adamw_with("l2"), "went into the gradient"),
            (_adamw_with("no_decay"), "do not decay"),
            (_adamw_with("no_root"), "You divide by v"),
            (_adamw_with("eps_inside"), "inside the square root"),
            (_adamw_with("gradient"), "along the last gradient"),
            (_adamw_with("ascent"), "uphill"),
            (_adamw_corrected_state, "before the bias correction"),
            (lambda *state, **settings: adamw_step(*state, **settings)[0], "Return three tensors"),
        ],
        hints=(
            "m is a running mean of the gradient, v one of its square. Both start at zero, so early on "
            "they are too small by the factor 1 - beta**step. The step is m over the root of v: a sign, "
            "when all gradients agree.",
            "All tensors have the weight's shape. In this order: m, v, m_hat = m / (1 - beta1**step), "
            "v_hat likewise; then the weight loses lr * weight_decay * weight, and "
            "lr * m_hat / (sqrt(v_hat) + eps). Return m and v, not m_hat and v_hat.",
        ),
    ),
    Exercise(
        name="warmup_cosine",
        lesson="02",
        minutes=8,
        difficulty=1,
        reference=warmup_cosine,
        check=_check_warmup_cosine,
        wrong=[
            (
                lambda step, steps, warmup, floor=0.0: (
                    step / warmup if step < warmup else warmup_cosine(step, steps, warmup, floor)
                ),
                "Use step + 1",
            ),
            (
                lambda step, steps, warmup, floor=0.0: (
                    (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * step / steps))
                ),
                "counts from the end of the warm-up",
            ),
            (
                lambda step, steps, warmup, floor=0.0: (
                    (step + 1) / warmup if step < warmup else 1 - (step - warmup) / (steps - warmup)
                ),
                "straight line",
            ),
            (
                lambda step, steps, warmup, floor=0.0: (
                    warmup_cosine(step, steps, warmup) + floor * (step >= warmup)
                ),
                "largest factor is 1.2",
            ),
            (lambda step, steps, warmup, floor=0.0: warmup_cosine(step, steps, warmup), "should be 0.6"),
            (
                lambda step, steps, warmup, floor=0.0: min(
                    (step + 1) / warmup, warmup_cosine(max(step, warmup), steps, warmup, floor)
                ),
                "divides by zero",
            ),
            (
                lambda step, steps, warmup, floor=0.0: 0.5 * (1 + math.cos(math.pi * step / steps)),
                "should be 0.1, 0.2",
            ),
        ],
        hints=(
            "Two pieces. In the warm-up the factor is the share of it that is done, this step included. "
            "After it, a number `done` goes from 0 to 1 over the rest; think of half a cosine over it.",
            "A number in, a number out. step < warmup: (step + 1) / warmup. Else done = (step - warmup) / "
            "max(1, steps - warmup), cosine = 0.5 * (1 + cos(pi * done)), stretched between floor and 1.",
        ),
    ),
    Exercise(
        name="accumulated_step",
        lesson="02",
        minutes=10,
        difficulty=2,
        reference=accumulated_step,
        check=_check_accumulated_step,
        wrong=[
            (_accumulate(lambda loss, count, batches: loss), "that of the sum"),
            (_accumulate(lambda loss, count, batches: loss / count / len(batches)), "mean of the micro"),
            (_accumulate(lambda loss, count, batches: loss / count), "grows with the number"),
            (_accumulate(lambda loss, count, batches: loss / len(batches)), "by the number of micro"),
            (_accumulate_zeroing, "Only the last micro-batch"),
            (_accumulate_first_count, "The mean loss should be"),
            (lambda model, batches, loss_fn: (0.0, 9), "have no gradient"),
            (lambda model, batches, loss_fn: accumulated_step(model, batches, loss_fn)[0], "two numbers"),
        ],
        hints=(
            "backward adds to .grad. So the gradients of the summed losses add up by themselves; only the "
            "division by the number of tokens has to wait until all of them are known.",
            "loss_fn(model, batch) gives (summed loss, count). Loop: backward on the sum, add up "
            "loss.item() and int(count). Afterwards: parameter.grad /= tokens where there is a gradient "
            "(frozen parameters have None). Return (total / tokens, tokens).",
        ),
    ),
    Exercise(
        name="interpolate_weights",
        lesson="02",
        minutes=5,
        difficulty=1,
        reference=interpolate_weights,
        check=_check_interpolate,
        wrong=[
            (lambda before, after, share: interpolate_weights(after, before, share), "are exchanged"),
            (lambda before, after, share: interpolate_weights(before, after, 0.5), "whatever the share"),
            (
                lambda before, after, share: {name: before[name] + share * after[name] for name in before},
                "all of `before`",
            ),
            (_interpolate_in_place, "changes the weights in `before`"),
            (lambda before, after, share: list(interpolate_weights(before, after, share).values()), "a dict"),
            (lambda before, after, share: {"a": after["a"]}, "The names should be"),
        ],
        hints=(
            "A straight line between two points: at share 0 the one, at share 1 the other. A model is a "
            "point too, with one coordinate a weight.",
            "before and after are dicts {name: tensor}. For each name (1 - share) * before[name] + "
            "share * after[name], a new tensor of the same shape; return the dict.",
        ),
    ),
]
