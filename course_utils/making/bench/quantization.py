"""Benchmark rows for 4-bit weights against bitsandbytes, alone and with PEFT; rank-8 LoRA on c_attn."""

import copy
import tempfile

import torch

from course_utils.making.bench.lora import (
    ALPHA,
    RANK,
    TARGETS,
    batch_of,
    gpt2_small,
    one_step,
    our_loss,
    pocket,
    their_loss,
)
from course_utils.making.bench.lora import with_peft as peft_on
from course_utils.making.bench.timing import row
from course_utils.methods.lora import apply_lora
from course_utils.methods.lora_fast import speed_up
from course_utils.methods.quantization import (
    QuantizedLinear,
    dequantize_packed,
    quantize_model,
    quantize_packed,
)


@row("NF4 quantise against bitsandbytes: 768 x 3072")
def quantise():
    from bitsandbytes.functional import quantize_4bit

    x = 0.02 * torch.randn(1, 768 * 3072)
    return lambda: quantize_packed(x, "nf4"), lambda: quantize_4bit(x, blocksize=64, quant_type="nf4")


@row("NF4 de-quantise against bitsandbytes: 768 x 3072")
def dequantise():
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    x = 0.02 * torch.randn(1, 768 * 3072)
    packed, state = quantize_4bit(x, blocksize=64, quant_type="nf4")
    codes, scales = quantize_packed(x, "nf4")
    return lambda: dequantize_packed(codes, scales, "nf4"), lambda: dequantize_4bit(packed, state)


@row("NF4 de-quantise with double quantisation against bitsandbytes: 768 x 3072")
def dequantise_double():
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    layer = QuantizedLinear(torch.nn.Linear(768, 3072))
    x = 0.02 * torch.randn(1, 768 * 3072)
    packed, state = quantize_4bit(x, blocksize=64, quant_type="nf4", compress_statistics=True)
    return lambda: layer.weight, lambda: dequantize_4bit(packed, state)


@row("a plain copy of as many bytes as NF4 de-quantise writes, against bitsandbytes: 768 x 3072")
def plain_copy():
    _, library = dequantise()
    source, target = torch.randn(768 * 3072), torch.empty(768 * 3072)
    return lambda: target.copy_(source), library


@row("QLoRA step against PEFT with bitsandbytes: pocket, 8 x 128, every token scored")
def pocket_qlora_step():
    return qlora_steps(pocket(), 8, 128)


@row("QLoRA step against PEFT with bitsandbytes: pocket, 8 x 128, a quarter scored")
def pocket_qlora_step_quarter():
    return qlora_steps(pocket(), 8, 128, prompt_share=0.75)


@row("QLoRA step against PEFT with bitsandbytes: GPT-2 small, 2 x 128, every token scored")
def small_qlora_step():
    return qlora_steps(gpt2_small(), 2, 128)


@row("QLoRA step against PEFT with bitsandbytes: GPT-2 small, 2 x 128, a quarter scored")
def small_qlora_step_quarter():
    return qlora_steps(gpt2_small(), 2, 128, prompt_share=0.75)


def with_bitsandbytes(model):
    """The model as from_pretrained loads it in NF4 with double quantisation, computing in fp32."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=config, dtype=torch.float32, device_map={"": "cpu"}
        )


def our_qlora_step(model, batch, targets=TARGETS):
    return one_step(speed_up(apply_lora(quantize_model(model), RANK, ALPHA, targets)), batch, our_loss)


def their_qlora_step(model, batch, targets=TARGETS):
    return one_step(peft_on(with_bitsandbytes(model), targets), batch, their_loss)


def qlora_steps(model, rows, tokens, prompt_share=0.0):
    batch = batch_of(model, rows, tokens, prompt_share)
    return our_qlora_step(copy.deepcopy(model), batch), their_qlora_step(model, batch)
