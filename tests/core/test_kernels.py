"""The fast pass compared with gpt2.py; when it is used; a learner's code is called."""

import copy

import pytest
import torch
from helpers import tiny_llama
from torch import nn

from course_utils import log_probs
from course_utils.data import IGNORE
from course_utils.generation import pad_left, sample_tokens
from course_utils.gpt2 import gpt2_hidden
from course_utils.kernels import KeyValueCache, fast_hidden, is_gpt2, is_gpt2_lm
from course_utils.log_probs import fast_token_log_probs, token_log_probs
from course_utils.methods.lora import LoRALinear, apply_lora, lora_layers
from course_utils.methods.lora_fast import FusedLoRALinear, speed_up
from course_utils.methods.quantization import quantize_model
from course_utils.training import fast_lm_loss, lm_loss, train

IDS = torch.randint(1, 200, (3, 11), generator=torch.Generator().manual_seed(0))
RIGHT = (torch.arange(11) < torch.tensor([[11], [7], [4]])).long()
LEFT = RIGHT.flip(1)
ALL = ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]


def batch_of(mask):
    labels = IDS.masked_fill(mask == 0, IGNORE)
    labels[0, :5] = IGNORE
    return {"input_ids": IDS, "attention_mask": mask, "labels": labels}


def close(mine, theirs):
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def trained_alike(mine, theirs):
    """Assert equal gradients of two copies; returns their number."""
    count = 0
    for (name, ours), their in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        assert (ours.grad is None) == (their.grad is None), name
        if ours.grad is not None:
            count += 1
            close(ours.grad, their.grad)
    return count


@pytest.mark.parametrize("mask", [None, RIGHT, LEFT], ids=["no padding", "right", "left"])
def test_the_fast_pass_has_values_and_gradients_of_the_plain_one(model, mask):
    other = copy.deepcopy(model)
    real = torch.ones_like(IDS).bool() if mask is None else mask.bool()
    positions = (real.long().cumsum(1) - 1).clamp(min=0)
    mine = fast_hidden(model.transformer, IDS, positions=positions, mask=mask)[real]
    theirs = gpt2_hidden(other.transformer, IDS, positions=positions, mask=mask)[real]
    close(mine, theirs)
    kept = fast_hidden(model.transformer, IDS, positions=positions, mask=mask, keep=real)
    close(kept, mine)
    (mine.sin().sum() + kept.cos().sum()).backward()
    (theirs.sin().sum() + theirs.cos().sum()).backward()
    assert trained_alike(model, other) > 20


def test_a_cache_gives_what_one_pass_gives(model):
    positions = (LEFT.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        for mask in (LEFT, None):
            cache = KeyValueCache(11)
            whole = gpt2_hidden(model.transformer, IDS, positions=positions, mask=mask)
            for start, end in ((0, 6), (6, 7), (7, 11)):
                part = slice(start, end)
                seen = None if mask is None else mask[:, :end]
                hidden = fast_hidden(
                    model.transformer, IDS[:, part], positions=positions[:, part], mask=seen, cache=cache
                )
                real = LEFT[:, part].bool()
                close(hidden[real], whole[:, part][real])


@pytest.mark.parametrize("mask", [RIGHT, LEFT], ids=["right", "left"])
@pytest.mark.parametrize("kind", ["full", "LoRA", "4 bits"])
def test_losses_and_log_probs_are_those_of_the_model(model, kind, mask):
    if kind != "full":
        apply_lora(model, 4, 8.0, ALL)
        for layer in lora_layers(model).values():
            nn.init.normal_(layer.lora_B, std=0.1)
    other = copy.deepcopy(model)
    if kind == "4 bits":
        quantize_model(model), quantize_model(other)
    if kind != "full":
        speed_up(model)
        assert all(type(layer) is FusedLoRALinear for layer in lora_layers(model).values())
    batch = batch_of(mask)
    close(fast_token_log_probs(model, batch), token_log_probs(other, batch))
    (mine, count), (theirs, expected) = fast_lm_loss(model, batch), lm_loss(other, batch)
    assert count == expected
    close(mine / count, theirs / count)
    (mine / count).backward()
    (theirs / count).backward()
    assert trained_alike(model, other) >= 16


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_head_with_a_bias_counts_with_it(bias, frozen):
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 20, bias=bias).requires_grad_(not frozen)
    hidden, targets = torch.randn(6, 8), torch.randint(20, (6,))
    by_definition = head(hidden).log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
    torch.testing.assert_close(log_probs.head_log_probs(head, hidden, targets), by_definition)


def test_a_batch_that_scores_nothing_costs_nothing(model):
    batch = batch_of(RIGHT) | {"labels": torch.full_like(IDS, IGNORE)}
    loss, count = fast_lm_loss(model, batch)
    assert loss == 0 and count == 0
    loss.backward()
    assert fast_token_log_probs(model, batch).abs().sum() == 0


def hooked(body):
    body.h[1].attn.register_forward_hook(lambda *_: None)


def own_mlp(body):
    class MLP(type(body.h[0].mlp)):
        pass

    body.h[0].mlp.__class__ = MLP


def own_forward(body):
    body.h[0].forward = body.h[0].forward


def recomputed(body):
    body.gradient_checkpointing = True


@pytest.mark.parametrize("change", [hooked, own_mlp, own_forward, recomputed])
def test_only_transformers_own_blocks_go_this_way(model, change):
    assert is_gpt2(model.transformer) and is_gpt2_lm(model)
    change(model.transformer)
    assert not is_gpt2(model.transformer) and not is_gpt2_lm(model)


def test_other_architectures_and_kinds_of_the_model_do_not(model):
    assert not is_gpt2(tiny_llama().model) and not is_gpt2_lm(tiny_llama())

    class Mine(type(model)):
        pass

    model.__class__ = Mine
    assert is_gpt2(model.transformer) and not is_gpt2_lm(model)


def test_a_learners_layer_is_called_by_every_fast_path(model):
    calls = []

    class MyLoRALinear(LoRALinear):
        def forward(self, x):
            calls.append(x.shape)
            return super().forward(x)

    apply_lora(model, 4, 8.0, ALL)
    for layer in lora_layers(model).values():
        layer.__class__ = MyLoRALinear
    speed_up(model)  # leaves unknown layers
    layers, batch = len(lora_layers(model)), batch_of(RIGHT)
    ways = {
        "loss": lambda: fast_lm_loss(model, batch),
        "log-probabilities": lambda: fast_token_log_probs(model, batch),
        "sampling": lambda: sample_tokens(model, *pad_left([[1, 2]], 0), max_new_tokens=1),
    }
    for name, run in ways.items():
        calls.clear()
        run()
        assert len(calls) == layers, name


def test_a_learners_loss_trains(model, tokenizer):
    calls = []

    def my_loss(model, batch):
        calls.append(1)
        return lm_loss(model, batch)

    train(model, iter(lambda: batch_of(RIGHT), None), steps=2, lr=1e-3, loss_fn=my_loss)
    assert len(calls) == 2


class OwnFactor(nn.Module):
    """A layer that treats every text of a batch [rows, tokens, width] differently, like adapters."""

    def __init__(self, layer, factors):
        super().__init__()
        self.layer, self.factors = layer, factors

    def forward(self, x):
        return self.layer(x) * self.factors[:, None, None]


def test_a_layer_of_the_last_block_sees_a_row_for_every_text(model):
    last = model.transformer.h[-1]
    last.mlp.c_proj = OwnFactor(last.mlp.c_proj, torch.tensor([1.0, 2.0, -1.0]))
    last.attn.c_proj = OwnFactor(last.attn.c_proj, torch.tensor([0.5, 1.0, 3.0]))
    ends = torch.zeros_like(IDS, dtype=torch.bool)
    ends[:, -2:] = True
    every = fast_hidden(model.transformer, IDS)
    close(fast_hidden(model.transformer, IDS, keep=ends), every[ends])
