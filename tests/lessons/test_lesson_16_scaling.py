"""Traffic and memory of several cards: against sums done otherwise, and against what torch itself shards."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from course_utils.budget import Need, training_need
from course_utils.lessons.lesson_16.scaling import (
    STAGES,
    card_memory,
    ring_all_reduce,
    sharded_bytes,
    step_traffic,
)


@pytest.mark.parametrize("world, size", [(1, 5), (2, 8), (3, 7), (5, 3), (8, 64)])
def test_a_ring_leaves_everybody_with_the_sum(world, size):
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(world)]
    total = torch.stack(values).sum(0)
    sent = ring_all_reduce(values)
    for value in values:
        assert torch.allclose(value, total, rtol=0, atol=1e-12)
    assert sum(sent) == 2 * (world - 1) * size  # each of the size values makes the round twice, less one step


def test_a_step_sends_what_the_ring_sends():
    size = 24
    sent = ring_all_reduce([torch.zeros(size) for _ in range(4)])
    assert step_traffic(4 * size, 4 * size, 4, stage=0) == 4 * sent[0]
    assert step_traffic(4 * size, 4 * size, 4, stage=3) == pytest.approx(1.5 * 4 * sent[0])
    assert step_traffic(100, 10, 1, stage=3) == 0


NEED = Need(parameters=10, trainable=10, weights=40, gradients=40, moments=80, step=7, saved=9)


@pytest.mark.parametrize("stage, total", enumerate([167, 107, 79, 49]))
def test_each_stage_splits_one_part_more(stage, total):
    assert sum(card_memory(NEED, 4, stage).values()) == total
    assert sum(card_memory(NEED, 1, stage).values()) == 167


def test_what_is_gathered_counts_in_the_last_stage_alone():
    assert [card_memory(NEED, 4, stage, gathered=9)["step"] for stage in STAGES] == [7, 7, 9, 18]


@pytest.mark.parametrize("cards, stage", [(0, 1), (2, 4)])
def test_what_makes_no_sense_is_refused(cards, stage):
    with pytest.raises(ValueError, match="at least one card"):
        card_memory(NEED, cards, stage)


@pytest.mark.parametrize("cards", [2, 8])
def test_torch_shards_a_model_into_as_many_parts(cards):
    config = GPT2Config(n_layer=3, n_embd=64, n_head=2, vocab_size=512, n_positions=64)
    with torch.device("meta"):
        model = GPT2LMHeadModel(config)
    need = training_need(config, batch_size=1, tokens=8)
    assert sharded_bytes(model, cards) == card_memory(need, cards, 3)["weights"]
    assert not torch.distributed.is_initialized()
