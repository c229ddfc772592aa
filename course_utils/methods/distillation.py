"""Distillation: the exact next-token KL of two models, and training on the student's own answers.

The student is trained; the teacher is frozen. Answers are batches from rollouts.rollout. Agarwal et al. 2023
(arXiv 2306.13649), Gu et al. 2023 (arXiv 2306.08543); with one number a token: Lu et al. 2025, On-policy
distillation, Thinking Machines Lab.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from course_utils.data import Batch
from course_utils.log_probs import fast_token_log_probs, scored_hidden
from course_utils.methods.rollouts import answer_mask, rollout
from course_utils.training import ProgressBar

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DIRECTIONS = ("reverse", "forward")


def token_kl(student: Tensor, teacher: Tensor, direction: str = "reverse") -> Tensor:
    """Exact KL of the next token at every position: logits [..., V] of both models -> [...], in nats.

    reverse: KL(student || teacher). forward: KL(teacher || student). The teacher gets no gradient.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}")
    student, teacher = student.log_softmax(-1), teacher.detach().log_softmax(-1)
    first, second = (student, teacher) if direction == "reverse" else (teacher, student)
    return (first.exp() * (first - second)).sum(-1)


def answer_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Logits that predict the answer tokens of a batch, row after row: [answer tokens, V], fp32."""
    return model.get_output_embeddings()(scored_hidden(model, batch)).float()


def distillation_step(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    prompts: Sequence[list[int]],
    optimizer: torch.optim.Optimizer,
    sampling: dict[str, Any],
    generator: torch.Generator | None = None,
    divergence: Callable[[Tensor, Tensor], Tensor] = token_kl,
) -> dict[str, float]:
    """One step of on-policy distillation: the student answers the prompts, the teacher scores every token.

    prompts: lists of token ids. sampling: the other arguments of rollouts.rollout. divergence(student logits,
    teacher logits) is per token. Changes the student through its optimizer; returns the loss (the mean
    divergence over the tokens of all answers), and their number.
    """
    batch = rollout(student, prompts, generator=generator, **sampling)
    with torch.no_grad():
        wanted = answer_logits(teacher, batch)
    loss = divergence(answer_logits(student, batch), wanted).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"loss": loss.item(), "tokens": len(wanted)}


def sampled_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """A scalar whose gradient is, on average over the student's answers, that of the tokens' mean reverse KL.

    student, teacher: log-probabilities of the sampled tokens, [rows, tokens]; mask is 1 on answer tokens. The
    advantage of a token is log q - log p, a constant: REINFORCE with one reward a token, its own.
    """
    advantages = (teacher - student).detach()
    return -(advantages * student * mask).sum() / mask.sum()


def sampled_step(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    prompts: Sequence[list[int]],
    optimizer: torch.optim.Optimizer,
    sampling: dict[str, Any],
    generator: torch.Generator | None = None,
    divergence: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """distillation_step with one number of the teacher a token: the log-probability of the sampled one.

    divergence is not used. The loss that it returns is the mean log-ratio, an estimate of the reverse KL.
    """
    batch = rollout(student, prompts, generator=generator, **sampling)
    mask = answer_mask(batch)
    with torch.no_grad():
        theirs = fast_token_log_probs(teacher, batch)
    ours = fast_token_log_probs(student, batch)
    optimizer.zero_grad()
    sampled_loss(ours, theirs, mask).backward()
    optimizer.step()
    estimate = ((ours - theirs).detach() * mask).sum() / mask.sum()
    return {"loss": estimate.item(), "tokens": int(mask.sum())}


def train_distillation(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    prompts: Sequence[list[int]],
    sampling: dict[str, Any],
    *,
    steps: int,
    lr: float,
    batch_size: int = 64,
    seed: int = 0,
    step: Callable[..., dict] = distillation_step,
    divergence: Callable[[Tensor, Tensor], Tensor] = token_kl,
    label: str = "distillation",
) -> list[dict]:
    """Train the student's trainable parameters in place; returns a row of numbers per step.

    Each step draws batch_size prompts and calls step with distillation_step's arguments. Stop in a notebook
    returns the rows so far.
    """
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("nothing of the student requires a gradient, so nothing would be trained")
    student.eval()  # no dropout: what is trained is what sampled
    optimizer = torch.optim.Adam(parameters, lr=lr, fused=True)
    rng = random.Random(seed)
    generator = torch.Generator(parameters[0].device).manual_seed(seed)
    history = []
    with ProgressBar(steps, label) as bar:
        for number in range(1, steps + 1):
            asked = rng.choices(prompts, k=batch_size)
            row = step(student, teacher, asked, optimizer, sampling, generator, divergence)
            history.append({"step": number, **row})
            bar.update(number, f"loss {row['loss']:.3f}")
    return history


def later_kl(kl: Tensor, mask: Tensor) -> Tensor:
    """Sum of the KL at the tokens after each one, [rows, tokens]; 0 off the mask."""
    kl = kl * mask
    return (kl.flip(1).cumsum(1).flip(1) - kl) * mask
