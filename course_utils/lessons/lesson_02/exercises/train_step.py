"""Lesson 02, train_step: one step of training."""

import math

import torch

from course_utils.checks.compare import close, first_difference, wrong_kind
from course_utils.checks.exercises import Exercise, Mistake
from course_utils.lessons.lesson_02.exercises.shared import squared_error
from course_utils.lessons.lesson_02.loop import train_step
from course_utils.training import accumulated_step


def _two_layers():
    torch.manual_seed(5)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))


def _stepped(fn, clip, rates):
    """What fn does to a small model in a few steps: weights, rates of both groups, its result."""
    model = _two_layers()
    first, last = model[0].parameters(), model[2].parameters()
    optimizer = torch.optim.SGD([{"params": first}, {"params": last}], lr=9.0, momentum=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)  # left over from the step before
    passes = []

    def accumulate(model, micro_batches):
        passes.append(len(micro_batches))
        return accumulated_step(model, micro_batches, squared_error)

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
        raise Mistake("Your step never calls `accumulate`, the function that computes the gradient.")
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
            f"With clip = {clip:g} the weights after the step are not those of this order: zero the "
            "gradient, accumulate, clip, set the rate in every group, step."
        )
    for mine, right, _ in runs:
        for answer, (loss, norm) in zip(mine["answers"], right["answers"], strict=True):
            if not isinstance(answer, tuple | list) or len(answer) != 2:
                raise Mistake("Return two numbers: the mean loss, and the norm of the gradient.")
            for value, wanted, what in zip(answer, (loss, norm), ("the mean loss", "the norm"), strict=True):
                if wrong := wrong_kind(value, wanted, what) or first_difference(value, wanted, what=what):
                    hint = " Return the norm before clipping." if what == "the norm" else ""
                    raise Mistake(wrong[0].upper() + wrong[1:] + hint)
                if getattr(value, "requires_grad", False):
                    raise Mistake(f"{what[0].upper()}{what[1:]} is still attached to its graph: detach it.")


def _train_step(*parts):
    """A wrong train_step: it does `parts`, given by name, in this order."""

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
    "A long gradient moves the weights by its full length. Clip after accumulate, when there is a gradient, "
    "and before the optimiser's step."
)
STEP_MISTAKES = [
    (
        ".grad still has the gradient of the previous step, and accumulate adds to it. Zero the gradient "
        "first.",
        _train_step("accumulate", "clip", "rate", "step"),
    ),
    (
        "You zero the gradient only after the step. Something may be in .grad before the first step: zero it "
        "before accumulate.",
        _train_step("accumulate", "clip", "rate", "step", "zero"),
    ),
    (STILL, _train_step("accumulate", "zero", "clip", "rate", "step")),
    (STILL, _train_step("zero", "accumulate", "clip", "rate")),
    (NOT_CLIPPED, _train_step("zero", "accumulate", "rate", "step")),
    (NOT_CLIPPED, _train_step("zero", "accumulate", "rate", "step", "clip")),
    (NOT_CLIPPED, _train_step("zero", "clip", "accumulate", "rate", "step")),
    (
        "You clip each tensor by itself, which changes the direction of the gradient. The norm is that of "
        "all parameters together.",
        _train_step("zero", "accumulate", _clip_each, "rate", "step"),
    ),
    (
        "You clip each value, which changes the direction of the gradient. Scale all of it: clip_grad_norm_.",
        _train_step("zero", "accumulate", _clip_values, "rate", "step"),
    ),
    (
        "clip is an argument: use it instead of 1.0.",
        _train_step("zero", "accumulate", _clip_to_one, "rate", "step"),
    ),
    (
        "You lengthen a gradient that is shorter than clip. Clipping only shortens.",
        _train_step("zero", "accumulate", _always_scale, "rate", "step"),
    ),
    (
        "The rate is not set: put lr into group['lr'] of every group of optimizer.param_groups.",
        _train_step("zero", "accumulate", "clip", "step"),
    ),
    (
        "You set the rate only in the first group. Matrices and biases are in two groups.",
        _train_step("zero", "accumulate", "clip", _first_group, "step"),
    ),
    (
        "You set the rate after the step, so each step has the rate of the one before.",
        _train_step("zero", "accumulate", "clip", "step", "rate"),
    ),
    (
        "You multiply the old rate by lr. lr is the rate of this step: set it.",
        _train_step("zero", "accumulate", "clip", _times_rate, "step"),
    ),
    (
        "You make an update after every micro-batch. Give all of them to accumulate, then step once.",
        _step_for_each,
    ),
]

EXERCISE = Exercise(
    name="train_step",
    lesson="02",
    minutes=10,
    difficulty=2,
    reference=train_step,
    check=_check_train_step,
    wrong=[
        *((wrong, message) for message, wrong in STEP_MISTAKES),
        (_train_step("zero", "accumulate", "clip", "rate", "step", _norm_after), "the norm before clipping"),
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
        (lambda model, micro_batches, optimizer, lr, clip=1.0, accumulate=None: (0.0, 0.0), "never calls"),
        (
            lambda model, micro_batches, optimizer, lr, clip=1.0, accumulate=None: train_step(
                model, micro_batches, optimizer, lr, clip
            ),
            "never calls",
        ),
    ],
    right=[_clipped_by_hand, _zeroed_at_both_ends],
    hints=(
        "Five things, in this order: an empty .grad, the gradient of all micro-batches, a bound on its norm, "
        "the rate of this step, the update.",
        "optimizer.zero_grad(); loss, _ = accumulate(model, micro_batches); "
        "norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip), which returns the norm before "
        "clipping; group['lr'] = lr for every group of optimizer.param_groups; optimizer.step(). Return "
        "(loss, norm).",
    ),
    then="Every training run in this lesson uses your step.",
)
