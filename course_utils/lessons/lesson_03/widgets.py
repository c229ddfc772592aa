"""What a change of low rank can be: LoRA learns one small matrix of rank 4."""

import torch

from course_utils import plots
from course_utils.lessons.lesson_03.small_lora import LowRankChange


def four_patterns():
    """A matrix [64, 64] of rank 4: a sum of sine waves down the rows times cosine waves along the columns."""
    grid = torch.linspace(0, torch.pi, 64)
    down = torch.stack([torch.sin((k + 1) * grid) for k in range(4)])  # (4, 64)
    along = torch.stack([torch.cos((k + 1) * grid) for k in range(4)])  # (4, 64)
    return 0.05 * down.T @ torch.diag(torch.tensor([1.0, 0.7, 0.5, 0.35])) @ along


def learn_change(wanted, rank, alpha, seed, steps=200, lr=5e-3):
    """LoRA learns a matrix [n, n] by Adam: (the change, the share of its energy missing at each step)."""
    torch.manual_seed(seed)
    low_rank, missing = LowRankChange(*wanted.shape, rank, alpha), []
    optimizer = torch.optim.Adam(low_rank.parameters(), lr)
    for _ in range(steps):
        change = low_rank(torch.eye(len(wanted))).T  # what it makes of each unit vector
        loss = (change - wanted).square().sum() / wanted.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        missing.append(loss.item())
    return change.detach(), missing


def show_change(rank=2, seed=0):
    """The change wanted, the one that A and B of this rank have learnt, and what is missing."""
    wanted = four_patterns()
    change, missing = learn_change(wanted, rank, 2.0 * rank, seed)
    numbers = f"A and B: {2 * 64 * rank:,} numbers; the matrix: {64 * 64:,}"
    print(f"{numbers}; missing {missing[-1]:.1%} of the sum of squares")
    plots.heatmaps(
        {"wanted": wanted, "learnt": change, "missing": wanted - change},
        f"What can A and B of rank {rank} learn?",
        limit=0.1,
    )
    plots.caption(
        "The change that is wanted, what A and B have learnt of it in 200 steps, and what is missing.",
        seen="a diagonal band of red beside one of blue; what is learnt is coarser",
    )
