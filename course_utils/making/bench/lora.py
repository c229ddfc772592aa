"""Benchmark rows for LoRA against PEFT: same model and data, rank-8 adapters on c_attn unless stated."""

import copy
import warnings

import torch

from course_utils.making.bench.timing import PEAKS, row
from course_utils.memory import random_batch
from course_utils.methods.lora import Adapters, apply_lora, lora_layers, merge_lora, unmerge_lora
from course_utils.methods.lora_fast import speed_up
from course_utils.training import scored_lm_loss

TARGETS = ["c_attn"]
RANK, ALPHA = 8, 16.0


@row("LoRA step against PEFT: pocket, 8 x 128, every token scored")
def pocket_step():
    return training_steps(pocket(), 8, 128)


@row("LoRA step against PEFT: pocket, 8 x 128, a quarter scored")
def pocket_step_quarter():
    return training_steps(pocket(), 8, 128, prompt_share=0.75)


@row("LoRA step against PEFT: GPT-2 small, 2 x 128, every token scored")
def small_step():
    return training_steps(gpt2_small(), 2, 128)


@row("LoRA step against PEFT: GPT-2 small, 2 x 128, a quarter scored")
def small_step_quarter():
    return training_steps(gpt2_small(), 2, 128, prompt_share=0.75)


ALL_LAYERS = ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"]


@row("LoRA step on all linear layers against PEFT: pocket, 8 x 128, every token scored")
def pocket_step_everywhere():
    return training_steps(pocket(), 8, 128, targets=ALL_LAYERS)


@row("LoRA step on all linear layers against PEFT: GPT-2 small, 2 x 128, every token scored")
def small_step_everywhere():
    return training_steps(gpt2_small(), 2, 128, targets=ALL_LAYERS)


@row("adapter swap against PEFT: pocket")
def pocket_swap():
    return swaps(pocket())


@row("adapter swap against PEFT: GPT-2 small")
def small_swap():
    return swaps(gpt2_small())


@row("merge and unmerge against PEFT: pocket")
def pocket_merge():
    return merges(pocket())


@row("merge and unmerge against PEFT: GPT-2 small")
def small_merge():
    return merges(gpt2_small())


def pocket():
    from course_utils.models import load_model

    return load_model("pocket")[0]


def gpt2_small():
    """GPT-2 small's architecture with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))


def with_peft(model, targets=TARGETS):
    import peft

    conv1d = model.config.model_type == "gpt2"
    config = peft.LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=targets, fan_in_fan_out=conv1d, task_type="CAUSAL_LM"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(model, config)


def batch_of(model, rows, tokens, prompt_share=0.0):
    """A batch without padding; the first prompt_share of each row has labels -100."""
    batch = random_batch(model, rows, tokens)
    batch["labels"] = batch["labels"].clone()
    batch["labels"][:, : round(tokens * prompt_share)] = -100
    return batch


def one_step(model, batch, loss_of):
    """A callable that makes one AdamW step on the trainable parameters."""
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def step():
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()

    return step


def our_loss(model, batch):
    total, count = scored_lm_loss(model, batch)
    return total / count


def their_loss(model, batch):
    return model(**batch).loss


def our_step(model, batch, targets=TARGETS):
    return one_step(speed_up(apply_lora(model, RANK, ALPHA, targets)), batch, our_loss)


def their_step(model, batch, targets=TARGETS):
    return one_step(with_peft(model, targets), batch, their_loss)


def training_steps(model, rows, tokens, prompt_share=0.0, targets=TARGETS):
    batch = batch_of(model, rows, tokens, prompt_share)
    return our_step(copy.deepcopy(model), batch, targets), their_step(model, batch, targets)


def swaps(model):
    adapters = Adapters(apply_lora(copy.deepcopy(model), RANK, ALPHA, TARGETS))
    adapters.add("first")
    adapters.add("second")
    theirs = with_peft(model)
    theirs.add_adapter("second", theirs.peft_config["default"])

    def ours():
        adapters.set("second")
        adapters.set("first")

    def library():
        theirs.set_adapter("second")
        theirs.set_adapter("default")

    return ours, library


def merges(model):
    ours_model = apply_lora(copy.deepcopy(model), RANK, ALPHA, TARGETS)
    for layer in lora_layers(ours_model).values():
        torch.nn.init.normal_(layer.lora_B, std=0.01)
    theirs = with_peft(model)

    def ours():
        merge_lora(ours_model)
        unmerge_lora(ours_model)

    def library():
        theirs.merge_adapter()
        theirs.unmerge_adapter()

    return ours, library


def our_step_gpt2_small():
    """For memory.measure_peak."""
    model = gpt2_small()
    return our_step(model, batch_of(model, 2, 128))


def their_step_gpt2_small():
    """For memory.measure_peak."""
    model = gpt2_small()
    return their_step(model, batch_of(model, 2, 128))


PEAKS["memory growth of a LoRA step against PEFT: GPT-2 small, 2 x 128"] = (
    our_step_gpt2_small,
    their_step_gpt2_small,
)
