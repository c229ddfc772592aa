"""Which card, how long, how much: the memory of training a model against a card's, and time and price."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache

import torch

from course_utils.memory import GIB, KNOWN_MODELS, METHODS, Need, training_need
from course_utils.session import memory

# memory in GiB and dense 16-bit tensor TFLOP/s, as the vendor's data sheets give them
CARDS = {
    "T4": (16, 65),
    "RTX 3090": (24, 71),
    "RTX 4090": (24, 165),
    "L4": (24, 121),
    "A100 40 GB": (40, 312),
    "A100 80 GB": (80, 312),
    "H100 80 GB": (80, 989),
    "H200": (141, 989),
}
THIS_MACHINE = "this machine"
CONTEXT = GIB  # taken by the driver and the libraries before any tensor: an assumption
FRAGMENTS = 1.1  # what the allocator holds over what tensors need: an assumption
UTILISATION = 0.35  # share of the card's TFLOP/s that training gets: an assumption


def cards_here(size: int = 2048) -> list[str]:
    """Names of the cards, and of this machine: its GPU or else its CPU, memory and TFLOP/s as found here.

    The TFLOP/s are those of an fp32 product of two matrices [size, size], measured once.
    """
    if THIS_MACHINE not in CARDS:
        cuda = torch.cuda.is_available()
        x = torch.randn(size, size, device="cuda" if cuda else "cpu")
        (x @ x)[0, 0].item()
        began = time.perf_counter()
        (x @ x)[0, 0].item()
        tflops = 2 * size**3 / (time.perf_counter() - began) / 1e12
        total = torch.cuda.get_device_properties(0).total_memory if cuda else memory()
        CARDS[THIS_MACHINE] = (total / GIB, tflops)
    return list(CARDS)


@dataclass(frozen=True)
class Plan:
    """A training run on a card. largest_batch is 0 where no example fits; cost is in price's currency."""

    need: Need
    card_bytes: int
    used_bytes: int
    fits: bool
    largest_batch: int
    hours: float
    cost: float


def plan(
    model,
    method="qlora",
    batch_size=4,
    tokens=1024,
    card="RTX 4090",
    price=1.0,
    precision="mixed",
    checkpointing=True,
    examples=10_000,
    epochs=3,
) -> Plan:
    """What training needs and costs: model as for memory.load_config, price an hour of the card.

    Time counts 2 FLOP a parameter and token for the forward pass, twice that for the backward pass (as
    much as the forward pass where the weights are frozen), and the forward pass again under checkpointing.
    """
    if card not in CARDS:
        raise ValueError(f"unknown card {card!r}; choose one of {', '.join(CARDS)}")
    size, tflops = CARDS[card]

    def need_at(rows):
        return _need(model, method, rows, tokens, precision, checkpointing)

    need = need_at(batch_size)
    flop = need.parameters * (2 + (4 if method == "full" else 2) + (2 if checkpointing else 0))
    hours = examples * epochs * tokens * flop / (tflops * 1e12 * UTILISATION) / 3600
    used = _used(need)
    return Plan(
        need=need,
        card_bytes=int(size * GIB),
        used_bytes=used,
        fits=used <= size * GIB,
        largest_batch=_largest(need_at, size * GIB),
        hours=hours,
        cost=hours * price,
    )


def fits(model, method, batch_size, tokens, card, precision="mixed", checkpointing=True) -> bool:
    """Whether training fits a card: plan's answer without its search for the largest batch."""
    need = _need(model, method, batch_size, tokens, precision, checkpointing)
    return _used(need) <= CARDS[card][0] * GIB


def _used(need):
    return int(need.total * FRAGMENTS) + CONTEXT


def _largest(need_at, limit):
    """The largest batch that fits, 0 if none: bounded from both sides, by straight lines and by halves."""
    used = {rows: _used(need_at(rows)) for rows in (1, 8)}
    if used[1] > limit:
        return 0
    fits, over = (8, None) if used[8] <= limit else (1, 8)
    while over is None or over - fits > 1:
        other = over or 1
        slope = (used[other] - used[fits]) / (other - fits)
        rows = max(fits + 1, fits + int((limit - used[fits]) / max(1, slope)))
        if over is not None:
            rows = min(rows, over - 1) if len(used) % 2 else (fits + over) // 2
        used[rows] = _used(need_at(rows))
        fits, over = (rows, over) if used[rows] <= limit else (fits, rows)
    return fits


@lru_cache(maxsize=256)
def _cached_need(model, method, batch_size, tokens, precision, checkpointing):
    return training_need(model, method, batch_size, tokens, precision, checkpointing=checkpointing)


def _need(model, *settings):
    """training_need, remembered for models given by name."""
    if isinstance(model, str):
        return _cached_need(model, *settings)
    return training_need(model, *settings[:-1], checkpointing=settings[-1])


def known_needs(
    batch_size=1, tokens=1024, precision="mixed", checkpointing=True
) -> dict[str, dict[str, Need]]:
    """{model: {method: Need}} of the well-known models."""
    return {
        model: {
            method: _cached_need(model, method, batch_size, tokens, precision, checkpointing)
            for method in METHODS
        }
        for model in KNOWN_MODELS
    }
