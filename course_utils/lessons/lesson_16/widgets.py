"""The widget of the lesson on several machines: cards and sharding stage, memory and traffic."""

from __future__ import annotations

from functools import lru_cache

from course_utils.budget import (
    CARDS,
    GIB,
    UTILISATION,
    load_config,
    training_flop,
    training_need,
    training_precision,
    training_tflops,
)
from course_utils.lessons.lesson_16.figures import memory_of_cards
from course_utils.lessons.lesson_16.scaling import (
    LINKS,
    STAGES,
    card_memory,
    gathered_bytes,
    step_seconds,
    step_traffic,
)


@lru_cache(maxsize=64)
def need_of(model: str, method: str, rows: int, tokens: int, precision: str = "mixed"):
    """training_need with rank 16 and checkpointing, cached."""
    return training_need(model, method, rows, tokens, precision, 16, checkpointing=True)


@lru_cache(maxsize=64)
def gathered_of(model: str, width: int = 2) -> int:
    """gathered_bytes of a known model, cached; width: 2 bytes a weight in 16 bits."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return gathered_bytes(AutoModelForCausalLM.from_config(load_config(model)), width)


def show_cards(
    model: str = "Qwen2.5-7B",
    method: str = "full",
    cards: int = 8,
    card: str = "H100 80 GB",
    link: str = "NVLink (H100)",
    rows: int = 4,
) -> None:
    """Memory of each card and seconds of a step by sharding stage; rows of 1024 tokens on each card.

    Weights are sent and gathered in 16 bits (in fp32 on a card without bf16), gradients sent in the type in
    which they are stored. qlora: no stage 3, since Accelerate leaves 4-bit weights whole.
    """
    tokens, precision = 1024, training_precision(card)
    need = need_of(model, method, rows, tokens, precision)
    size, width = CARDS[card][0], {"mixed": 2, "fp32": 4}[precision]
    travelling = width * need.parameters
    flop = training_flop(need.parameters, rows * tokens, method != "full", checkpointing=True)
    held, sent = {}, {}
    print(f"{model}, {method}: {need.trainable:,} of {need.parameters:,} parameters trained")
    for stage, name in STAGES.items():
        if method == "qlora" and stage == 3:
            continue
        parts = card_memory(need, cards, stage, gathered_of(model, width))
        held[name] = {part: value / GIB for part, value in parts.items()}
        fits = "fits" if sum(parts.values()) <= size * GIB else "does not fit"
        print(f"{name:26} {sum(held[name].values()):7.1f} GiB {fits}")
        traffic = step_traffic(travelling, need.gradients, cards, stage)
        computing, sending = step_seconds(flop, training_tflops(card), UTILISATION, traffic, LINKS[link])
        sent.setdefault(f"{traffic / GIB:.2f} GiB in {sending:.3f} s", []).append(stage)
    for amount, stages in sent.items():
        which = ", ".join(map(str, stages))
        print(f"a step sends {amount} at stage {which}")
    print(f"a step computes for {computing:.2f} s")
    memory_of_cards(held, size, f"{model}, {method}, {cards} x {card}: what each card holds")
