"""The same rows over batch sizes and for SmolLM2, and their memory: how cost grows."""

import copy

import torch

from course_utils.making.bench.lora import ALL_LAYERS as LAYERS
from course_utils.making.bench.lora import (
    batch_of,
    gpt2_small,
    one_step,
    our_loss,
    our_step,
    pocket,
    their_loss,
    their_step,
    training_steps,
)
from course_utils.making.bench.quantization import our_qlora_step, their_qlora_step
from course_utils.making.bench.timing import PEAKS, ROWS
from course_utils.training import fast_lm_loss

SIZES = [(rows, tokens) for rows in (2, 8, 32) for tokens in (64, 256)]
LLAMA_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def mean_fast_loss(model, batch):
    total, count = fast_lm_loss(model, batch)
    return total / count


def full_steps(model, rows, tokens):
    batch = batch_of(model, rows, tokens)
    mine = one_step(copy.deepcopy(model), batch, mean_fast_loss)
    return mine, one_step(model, batch, their_loss)


def qlora_all(model, rows, tokens):
    batch = batch_of(model, rows, tokens)
    return our_qlora_step(copy.deepcopy(model), batch, LAYERS), their_qlora_step(model, batch, LAYERS)


def greedy_of(model, rows, tokens):
    """Half of the tokens are the prompt, half are new."""
    from course_utils.generation import sample_tokens

    ids = batch_of(model, rows, tokens // 2)["input_ids"]
    mask, new = torch.ones_like(ids), tokens // 2

    def library():
        settings = {"eos_token_id": None, "pad_token_id": 0, "min_new_tokens": new}
        model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=new, do_sample=False, **settings)

    return lambda: sample_tokens(model, ids, mask, max_new_tokens=new, temperature=0), library


def smollm2():
    from course_utils.models import load_model

    return load_model("smollm2")[0]


def _register(name, build, make, *size):
    ROWS[name] = lambda: build(make(), *size)


for _rows, _tokens in SIZES:
    _size = f"pocket, {_rows} x {_tokens}"
    _register(f"full step against labels= and AdamW: {_size}", full_steps, pocket, _rows, _tokens)
    _register(
        f"LoRA step on all linear layers against PEFT: {_size}",
        lambda *given: training_steps(*given, targets=LAYERS),
        pocket,
        _rows,
        _tokens,
    )
    _register(f"QLoRA step on all linear layers against PEFT: {_size}", qlora_all, pocket, _rows, _tokens)
    _register(f"greedy against generate(), half of it new: {_size}", greedy_of, pocket, _rows, _tokens)

_register("full step against labels= and AdamW: smollm2, 2 x 128", full_steps, smollm2, 2, 128)
_register(
    "LoRA step on all linear layers against PEFT: smollm2, 2 x 128",
    lambda *given: training_steps(*given, targets=LLAMA_LAYERS),
    smollm2,
    2,
    128,
)
_register("greedy against generate(), half of it new: smollm2, 8 x 64", greedy_of, smollm2, 8, 64)


def our_lora_memory():
    model = gpt2_small()
    return our_step(model, batch_of(model, 2, 128), LAYERS)


def their_lora_memory():
    model = gpt2_small()
    return their_step(model, batch_of(model, 2, 128), LAYERS)


def our_qlora_memory():
    model = gpt2_small()
    return our_qlora_step(model, batch_of(model, 2, 128), LAYERS)


def their_qlora_memory():
    model = gpt2_small()
    return their_qlora_step(model, batch_of(model, 2, 128), LAYERS)


def our_full_memory():
    model = gpt2_small()
    return one_step(model, batch_of(model, 2, 128), our_loss)


def their_full_memory():
    model = gpt2_small()
    return one_step(model, batch_of(model, 2, 128), their_loss)


PEAKS["memory growth of a LoRA step on all linear layers against PEFT: GPT-2 small, 2 x 128"] = (
    our_lora_memory,
    their_lora_memory,
)
PEAKS["memory growth of a QLoRA step on all linear layers against PEFT: GPT-2 small, 2 x 128"] = (
    our_qlora_memory,
    their_qlora_memory,
)
PEAKS["memory growth of a full step against labels=: GPT-2 small, 2 x 128"] = (
    our_full_memory,
    their_full_memory,
)
