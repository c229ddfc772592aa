"""The first steps of the run that makes the assistant."""

import itertools
from collections.abc import Sequence
from contextlib import nullcontext

import torch

from course_utils.data import batches
from course_utils.methods import sft
from course_utils.training import ProgressBar, accumulated_step, adamw, scored_lm_loss, warmup_cosine

RATE = 3e-4  # of sft.instruction_tune


def whole_run(conversations: Sequence[list[dict]]) -> int:
    """The number of steps of the whole run at quick scale."""
    return sft.PASSES * len(conversations) // 16


def first_steps(
    model,
    tokenizer,
    conversations: Sequence[list[dict]],
    steps: int,
    of: int,
    *,
    seed: int,
    loss_fn=scored_lm_loss,
    autocast=nullcontext,
) -> list[float]:
    """Make the first `steps` of a run of `of` steps, in place: batches, rates and clipping are those of
    sft.instruction_tune. Returns the loss of every step.
    """
    examples = sft.encode_all(tokenizer, conversations)
    stream = batches(examples, 16, seed, tokenizer.pad_token_id)
    device = next(model.parameters()).device
    torch.manual_seed(seed)
    optimizer, losses = adamw(model, RATE), []

    def loss_here(model, batch):
        with autocast():
            return loss_fn(model, batch)

    model.train()
    try:
        with ProgressBar(steps, f"the first {steps} of {of} steps") as bar:
            for step, batch in enumerate(itertools.islice(stream, steps)):
                model.zero_grad()
                batch = {name: value.to(device) for name, value in batch.items()}
                losses.append(accumulated_step(model, [batch], loss_here)[0])
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                for group in optimizer.param_groups:
                    group["lr"] = RATE * warmup_cosine(step, of, int(0.1 * of))
                optimizer.step()
                bar.update(step + 1, f"loss {losses[-1]:.3f}")
    finally:
        model.zero_grad()
        model.eval()
    return losses
