"""Traffic and memory of several cards, compared with other sums, and with torch's own sharding."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from course_utils.budget import Need, training_flop, training_need
from course_utils.lessons.lesson_16.scaling import (
    bytes_on_card,
    card_memory,
    ring_all_reduce,
    sharded_bytes,
    step_traffic,
)
from course_utils.lessons.lesson_16.widgets import gathered_of
from course_utils.methods.distributed import shard


@pytest.mark.parametrize("world, size", [(1, 5), (2, 8), (3, 7), (5, 3), (8, 64)])
def test_a_ring_leaves_everybody_with_the_sum(world, size):
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(world)]
    total = torch.stack(values).sum(0)
    sums, sent = ring_all_reduce(values)
    assert len(sums) == world
    for each in sums:
        assert torch.allclose(each, total, rtol=0, atol=1e-12)
    assert torch.equal(torch.stack(values).sum(0), total)  # the inputs are unchanged
    assert sum(sent) == 2 * (world - 1) * size  # each of the size values goes round twice, minus one step


def test_a_step_sends_what_the_ring_sends():
    size = 24
    _, sent = ring_all_reduce([torch.zeros(size) for _ in range(4)])
    assert step_traffic(4 * size, 4 * size, 4, stage=0) == 4 * sent[0]
    assert step_traffic(4 * size, 4 * size, 4, stage=3) == pytest.approx(1.5 * 4 * sent[0])
    assert step_traffic(100, 10, 1, stage=3) == 0


NEED = Need(parameters=10, trainable=10, weights=40, gradients=40, moments=80, step=7, saved=9)


@pytest.mark.parametrize("stage, total", enumerate([209, 149, 79, 49]))  # 0 and 1 with 40 in DDP's buckets
def test_each_stage_splits_one_part_more(stage, total):
    assert sum(card_memory(NEED, 4, stage).values()) == total
    assert sum(card_memory(NEED, 1, stage).values()) == 169  # a single card sends nothing
    assert bytes_on_card(NEED.weights, NEED.gradients, NEED.moments, 0, 4, stage) == total - 9


def test_what_is_gathered_lies_on_each_of_several_cards_at_stage_3():
    assert [sum(card_memory(NEED, 4, stage, 5).values()) for stage in range(4)] == [209, 149, 79, 54]
    assert sum(card_memory(NEED, 1, 3, 5).values()) == 169


def test_what_a_model_of_7b_gathers_by_hand():
    """Qwen2.5-7B in 16 bits: embedding, head and a norm, and two of its blocks."""
    attention = 2 * (3584 * 3584) + 2 * (512 * 3584) + 3584 + 2 * 512
    block = attention + 3 * 3584 * 18944 + 2 * 3584
    outside = 2 * 152064 * 3584 + 3584
    assert gathered_of("Qwen2.5-7B") == 2 * (outside + 2 * block)
    assert 2 * outside / 2**30 == pytest.approx(2.03, abs=0.005)
    assert 2 * block / 2**30 == pytest.approx(0.43, abs=0.005)


@pytest.mark.parametrize("cards, stage", [(0, 1), (2, 4)])
def test_what_makes_no_sense_is_refused(cards, stage):
    with pytest.raises(ValueError, match="at least one card"):
        card_memory(NEED, cards, stage)


def test_ddp_keeps_the_gradients_twice():
    """torch's own buckets, on a fake group of two: as many bytes as the gradients."""
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(8, 4))
        sizes = model._get_ddp_logging_data()["bucket_sizes"]
    finally:
        dist.destroy_process_group()
    assert sum(map(int, sizes.split(","))) == 4 * (8 * 4 + 4)
    assert not model.gradient_as_bucket_view  # so the gradients themselves are additional


@pytest.mark.parametrize("frozen, checkpointing, a_token", [(0, 0, 6), (0, 1, 8), (1, 0, 4), (1, 1, 6)])
def test_flop_are_those_of_torchs_own_counter(frozen, checkpointing, a_token):
    """A stack of square layers above something that gradients must reach, like an adapter."""
    from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
    from torch.utils.flop_counter import FlopCounterMode

    width, tokens = 16, 8
    layers = [torch.nn.Linear(width, width, bias=False).requires_grad_(not frozen) for _ in range(50)]
    x = torch.randn(tokens, width, requires_grad=True)
    with FlopCounterMode(display=False) as counter, set_checkpoint_early_stop(False):
        y = x
        for layer in layers:
            y = checkpoint(layer, y, use_reentrant=False) if checkpointing else layer(y)
        y.sum().backward()
    parameters = len(layers) * width**2
    assert counter.get_total_flops() == a_token * parameters * tokens
    assert training_flop(parameters, tokens, frozen, checkpointing) == a_token * parameters * tokens


def test_the_lessons_adapter_is_the_recipes():
    assert training_need("Qwen2.5-7B", "lora", 1, 8, "mixed", 16).trainable == 40_370_176


@pytest.mark.parametrize("cards", [2, 8])
def test_torch_shards_a_model_into_as_many_parts(cards):
    config = GPT2Config(n_layer=3, n_embd=64, n_head=2, vocab_size=512, n_positions=64)
    with torch.device("meta"):
        model = GPT2LMHeadModel(config)
    need = training_need(config, batch_size=1, tokens=8)
    assert sharded_bytes(model, cards) == card_memory(need, cards, 3)["weights"]
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("before", [True, False])
def test_an_optimizer_made_before_sharding_trains_nothing(before, tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    try:
        model = torch.nn.Sequential()
        model.blocks = torch.nn.ModuleList([torch.nn.Linear(3, 3)])
        model.forward = lambda inputs: model.blocks[0](inputs)
        first = torch.optim.AdamW(model.parameters(), lr=0.1)
        shard(model)
        optimizer = first if before else torch.optim.AdamW(model.parameters(), lr=0.1)
        losses = []
        for _ in range(3):
            loss = model(torch.ones(2, 3)).square().sum()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    finally:
        dist.destroy_process_group()
    assert (len(set(losses)) == 1) == before
