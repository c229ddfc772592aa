"""Training on several cards: bytes held by each card, bytes sent per step, time and cost.

Sharding stages are those of ZeRO (Rajbhandari et al. 2020): 0: every card holds everything (DDP), 1: the
moments are split, 2: also the gradients, 3: also the weights (FSDP).
"""

from __future__ import annotations

import math

import torch

STAGES = {
    0: "0: nothing split (DDP)",
    1: "1: moments split",
    2: "2: and gradients",
    3: "3: and weights (FSDP)",
}
SPLIT_FROM = {"moments": 1, "gradients": 2, "weights": 3}  # the stage from which a part is split

# bytes per second from a card to its neighbours, in one direction: orders of magnitude from data sheets
LINKS = {
    "NVLink (H100)": 450e9,
    "PCIe 4.0 x16": 32e9,
    "InfiniBand 400 Gbit/s": 50e9,
    "Ethernet 10 Gbit/s": 1.25e9,
}


def ring_all_reduce(values):
    """(sums, sent): the sum of N processes' tensors [n], a copy for each, and the number of values each sent.

    In every turn each process sends one of N pieces to its neighbour: in N - 1 turns the neighbour adds it to
    its own, then in N - 1 turns it replaces its own.
    """
    world = len(values)
    pieces = [list(value.tensor_split(world)) for value in values]  # [process][piece]
    sent = [0] * world
    for turn in range(2 * (world - 1)):
        passed = [pieces[rank][(rank - turn) % world] for rank in range(world)]
        for rank, piece in enumerate(passed):
            neighbour, place = (rank + 1) % world, (rank - turn) % world
            pieces[neighbour][place] = pieces[neighbour][place] + piece if turn < world - 1 else piece
            sent[rank] += piece.numel()
    return [torch.cat(own) for own in pieces], sent


def ring_turns(values):
    """(states, arrived): what N processes with N numbers each hold at the start and after each turn.

    states: [turn][process][piece], a piece is one number; arrived: [turn][process], the number of the piece
    that has come to the process in this turn.
    """
    world = len(values)
    states, arrived = [[list(row) for row in values]], []
    for turn in range(2 * (world - 1)):
        before, after = states[-1], [list(row) for row in states[-1]]
        for rank in range(world):
            place, to = (rank - turn) % world, (rank + 1) % world
            after[to][place] = before[rank][place] + (before[to][place] if turn < world - 1 else 0)
        states.append(after)
        arrived.append([(rank - 1 - turn) % world for rank in range(world)])
    return states, arrived


def step_traffic(weights: float, gradients: float, cards: int, stage: int) -> float:
    """Bytes that each card sends in a step, with ring algorithms.

    Stages 0 to 2: gradients are summed, and the sums or the updated weights passed round: 2 (N - 1) / N of
    the gradients' bytes. Stage 3: all weights are gathered for the forward pass and again for the backward
    pass, and gradients are summed in parts.
    """
    _check(cards, stage)
    moved = 2 * weights + gradients if stage == 3 else 2 * gradients
    return moved * (cards - 1) / cards


def bytes_on_card(weights, gradients, moments, gathered, cards, stage):
    """Bytes on each card: stage 0 splits nothing, 1 the moments, 2 the gradients too, 3 the weights too.

    If several cards sum whole gradients (stages 0 and 1), DDP keeps a second copy of them: the buckets that
    it sends. gathered: of the weights that a card needs whole at the same time, which it gathers at stage 3.
    """
    return sum(held_on_card(weights, gradients, moments, gathered, cards, stage).values())


def held_on_card(weights, gradients, moments, gathered, cards, stage) -> dict[str, float]:
    """bytes_on_card by part."""
    parts = {"weights": weights, "gradients": gradients, "moments": moments}
    held = {name: part / cards if stage >= SPLIT_FROM[name] else part for name, part in parts.items()}
    return held | {
        "buckets": gradients if cards > 1 and stage < SPLIT_FROM["gradients"] else 0,
        "gathered": gathered if cards > 1 and stage >= SPLIT_FROM["weights"] else 0,
    }


def gathered_bytes(model, width: int) -> int:
    """Bytes of the weights that are whole at the same time at stage 3, with `width` bytes each.

    Those outside the blocks, which stay, and two blocks: the one at work, and the next, already on its way.
    The model's tensors may be without values.
    """
    blocks = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
    inside = [sum(p.numel() for p in block.parameters()) for block in blocks]
    outside = sum(p.numel() for p in model.parameters()) - sum(inside)
    return width * (outside + sum(sorted(inside)[-2:]))


def counted_traffic(model, world: int) -> dict[str, float]:
    """Bytes that each process sends in a step over those of the weights, in fp32, by the ring's count.

    Sharded: weights are gathered in the forward pass, those of the blocks again in the backward pass, and
    gradients are summed in parts. By gloo: it sums whole gradients everywhere instead.
    """
    blocks = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
    share = sum(p.numel() for p in blocks.parameters()) / sum(p.numel() for p in model.parameters())
    one = (world - 1) / world  # an all-gather or a reduce-scatter
    return {"two copies": 2 * one, "sharded": (2 + share) * one, "sharded, by gloo": (3 + share) * one}


def card_memory(need, cards: int, stage: int, gathered: int = 0) -> dict[str, int]:
    """Bytes on each card, by part; need: from budget.training_need, for the rows of one card.

    step: added by the forward and backward passes. Batches are assumed to be accumulated, so gradients exist
    all the time. gathered: from gathered_bytes.
    """
    _check(cards, stage)
    parts = held_on_card(need.weights, need.gradients, need.moments, gathered, cards, stage)
    parts["step"] = max(need.step, need.saved)
    return {name: math.ceil(part) for name, part in parts.items()}


def step_seconds(flop: float, tflops: float, utilisation: float, traffic: float, link: float) -> tuple:
    """(seconds of computing, seconds of sending) of one card in a step; link in bytes per second."""
    return flop / (tflops * 1e12 * utilisation), traffic / link


def _check(cards, stage):
    if cards < 1 or stage not in STAGES:
        raise ValueError(f"need at least one card and a stage in {list(STAGES)}; got {cards} and {stage}")


def sharded_bytes(model, cards: int) -> int:
    """Bytes of the parameters that the first of `cards` cards would hold under fully_shard.

    The model's tensors may be without values (torch.device("meta")); no other process is needed, since the
    process group is a fake one. The call shards the model, which is then of no further use.
    """
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from course_utils.methods.distributed import bytes_held, shard

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=cards)
    try:
        return bytes_held(shard(model).parameters())
    finally:
        dist.destroy_process_group()
