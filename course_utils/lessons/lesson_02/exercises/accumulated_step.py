"""Lesson 02, accumulated_step: accumulation."""

import copy
import weakref

import torch

from course_utils.checks.compare import close, first_difference, wrong_kind
from course_utils.checks.exercises import Exercise, Mistake
from course_utils.data import IGNORE
from course_utils.lessons.lesson_02.exercises.shared import squared_error
from course_utils.training import accumulated_step


class _Kept:
    """A tensor that a graph has saved for its backward."""

    def __init__(self, tensor):
        self.tensor = tensor


def _micro_batches(width, sizes):
    """A model with a frozen bias, and batches of `size` rows; of several, the first row does not count."""
    model = torch.nn.Linear(width, 1)
    model.bias.requires_grad_(False)
    batches = []
    for size in sizes:
        counts = (torch.arange(size) > 0) | (size == 1)
        batch = {"x": torch.randn(size, width), "y": 3 * torch.randn(size, 1), "counts": counts}
        labels = torch.where(counts, 1, IGNORE)[:, None].expand(size, 2).clone()
        labels[:, 0] = IGNORE  # nobody's target: counted with or without the shift, the number is the same
        batches.append(batch | {"labels": labels})
    return model, batches


def _accumulated(fn, model, batches):
    """(the weight's gradient, fn's result) on a copy of the model; Mistake if fn changed it."""
    model, saved, called = copy.deepcopy(model), weakref.WeakSet(), []

    def pack(tensor):
        kept = _Kept(tensor)
        saved.add(kept)
        return kept

    def loss_fn(model, batch):
        called.append(True)
        if len(saved) > 0:
            raise Mistake(
                "You compute a second micro-batch while the graph of the first is still there: that takes "
                "the memory of one large batch, which accumulation should save. Call backward on each loss "
                "before you compute the next one, without retain_graph."
            )
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
            return squared_error(model, batch)

    before = copy.deepcopy(model.state_dict())
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    try:
        answer = fn(model, batches, loss_fn)
    except KeyError as error:
        if called:
            raise
        raise Mistake(
            "Your function does not call its argument loss_fn. The check passes a loss other than lm_loss, "
            "and other batches."
        ) from error
    if any(not torch.equal(value, before[name]) for name, value in model.state_dict().items()):
        raise Mistake(
            "Your function changes the weights. It should leave the gradient in .grad; the optimiser makes "
            "the step."
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
    """A wrong accumulated_step: each micro-batch calls backward on divide(loss, count, batches)."""

    def accumulated_step(model, micro_batches, loss_fn):
        total, tokens = 0.0, 0
        for batch in micro_batches:
            loss, count = loss_fn(model, batch)
            divide(loss, count, micro_batches).backward()
            total, tokens = total + loss.item(), tokens + int(count)
        return total / tokens, tokens

    return accumulated_step


def _accumulate_last(divide):
    """A wrong accumulated_step: only the gradient of the last micro-batch; divide(loss, count, tokens)."""

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
    """A wrong accumulated_step: it returns fault(mean loss, tokens)."""
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
    """A wrong accumulated_step: each loss, or .grad in every iteration, is divided by the tokens so far."""

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


def _counted_from_labels(model, micro_batches, loss_fn):
    tokens = sum(int((batch["labels"] != IGNORE).sum()) for batch in micro_batches)
    mean = 0.0
    for batch in micro_batches:
        part = loss_fn(model, batch)[0] / tokens
        part.backward()
        mean += part.item()
    return mean, tokens


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
    "The gradient is only that of the last micro-batch. backward adds to .grad by itself: do not zero it "
    "between micro-batches."
)
ACCUMULATE_MISTAKES = [
    (
        "The gradient is that of the summed loss: more tokens would make a larger step. Divide by the number "
        "of tokens of all micro-batches.",
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
    ("The sign of the gradient is wrong: the optimiser itself subtracts the gradient.", _uphill),
    (
        "Each loss is divided by the tokens counted so far, so the first micro-batch weighs most. Divide "
        "once, after the last one, by all tokens.",
        _divided("loss"),
    ),
    (
        "You divide the gradient in every iteration, so the first parts are divided again and again. Divide "
        "once, after the loop.",
        _divided("grad"),
    ),
]

EXERCISE = Exercise(
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
            "not call its argument loss_fn",
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
    right=[_counted_before, _counted_from_labels, _by_autograd],
    hints=(
        "backward adds to .grad. So the gradients of the summed losses add up by themselves; only the "
        "division has to wait until the total number of tokens is known.",
        "loss_fn(model, batch) gives (summed loss, count). Loop: backward on the sum, add up "
        "loss.item() and int(count). Afterwards: parameter.grad /= tokens where there is a gradient "
        "(frozen parameters have None). Return (total / tokens, tokens).",
    ),
    then="From here on your function computes the gradients, also in training.",
)
