"""Training in shares, one after the other in one process: what as many processes compute, right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from course_utils.data import IGNORE, Batch
from course_utils.methods.distributed import process_loss, rows_of
from course_utils.training import lm_loss

# {name: what a process calls backward on, so that the gradients are added up}, from its summed loss, its
# target tokens, those of all processes, and the number of processes
RULES: dict[str, Callable[[Tensor, int, int, int], Tensor]] = {
    "all tokens": lambda loss, own, total, world: process_loss(loss, total, world),
    "own means": lambda loss, own, total, world: loss / own / world,
    "own means, not averaged": lambda loss, own, total, world: loss / own,
    "all tokens, averaged": lambda loss, own, total, world: process_loss(loss, total, world) / world,
    "one share for all": lambda loss, own, total, world: process_loss(loss, total, world),
}
SAME_ROWS = "one share for all"  # every process takes the rows of process 0


def train_in_shares(
    model: nn.Module, stream: Iterator[Batch], steps: int, lr: float, world: int, rule: str
) -> tuple[list[float], list[float]]:
    """Train all weights with AdamW; (the loss before each step, the weight of a token in each share).

    The weight is that of a token of the share in the step, over 1 / (target tokens of all shares); all steps
    and shares in sequence.
    """
    optimizer, losses, token_weights = torch.optim.AdamW(model.parameters(), lr=lr), [], []
    for _ in range(steps):
        batch = next(stream)
        ranks = [0] * world if rule == SAME_ROWS else range(world)
        shares = [rows_of(batch, rank, world) for rank in ranks]
        counts = [int((share["labels"][:, 1:] != IGNORE).sum()) for share in shares]
        total, logged = sum(counts), 0.0
        for share, own in zip(shares, counts, strict=True):
            loss, _ = lm_loss(model, share)
            RULES[rule](loss, own, total, world).backward()
            logged += loss.item()
            token_weights.append(RULES[rule](torch.tensor(1.0), own, total, world).item() * total)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(logged / total)
    return losses, token_weights
