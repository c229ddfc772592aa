"""The training loop of lesson 02: one step, the optimisers by hand, the loop around them."""

import itertools
import math

import torch

from course_utils.training import accumulated_step, adamw, fast_lm_loss, warmup_cosine


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


class AdamWByHand(torch.optim.Optimizer):
    """AdamW that updates every tensor by `update`, a function such as adamw_step."""

    def __init__(self, parameters, lr, weight_decay=0.01, update=adamw_step):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})
        self.update = update

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                zero = torch.zeros_like(weight)
                m, v, step = self.state[weight].get("kept", (zero, zero, 0))
                rates = {"lr": group["lr"], "weight_decay": group["weight_decay"]}
                new, m, v = self.update(weight, weight.grad, m, v, step + 1, **rates)
                weight.copy_(new)
                self.state[weight]["kept"] = m, v, step + 1


def adamw_by_hand(model, lr, weight_decay=0.01, update=adamw_step):
    """AdamWByHand with the groups of `adamw`: matrices decay, biases and layer norms do not."""
    groups = adamw(model, lr, weight_decay).param_groups
    return AdamWByHand(
        [{key: group[key] for key in ("params", "weight_decay")} for group in groups], lr, update=update
    )


def train_step(model, micro_batches, optimizer, lr, clip=1.0, accumulate=accumulated_step):
    """One step of training, in place: gradient, clipping, rate, update. Returns (mean loss, gradient's norm).

    The norm is that before clipping. The gradient is zeroed first, so what was left in .grad has no effect.
    """
    optimizer.zero_grad()
    loss, _ = accumulate(model, micro_batches)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    return loss, float(norm)


def fast_accumulated_step(model, micro_batches):
    """accumulated_step that computes logits only where a token has loss."""
    return accumulated_step(model, micro_batches, fast_lm_loss)


def train_plain(
    model,
    batches,
    optimizer,
    steps,
    lr,
    warmup=0.1,
    clip=1.0,
    accumulate=1,
    schedule=warmup_cosine,
    step_fn=train_step,
    accumulate_fn=fast_accumulated_step,
):
    """The training loop; batches: an endless iterator. Returns (losses, gradient norms), two lists.

    warmup: share of the steps. clip: bound on the gradient's norm (math.inf: none). accumulate: micro-batches
    per step. It stops early if the loss is not finite.
    """
    losses, norms = [], []
    model.train()
    for step in range(steps):
        micro_batches = [
            {name: value.to(model.device) for name, value in batch.items()}
            for batch in itertools.islice(batches, accumulate)
        ]
        rate = lr * schedule(step, steps, int(warmup * steps))
        loss, norm = step_fn(model, micro_batches, optimizer, rate, clip, accumulate_fn)
        losses.append(loss)
        norms.append(norm)
        if not math.isfinite(loss):
            break
    model.zero_grad()
    model.eval()
    return losses, norms
