"""A training step of GPT-2 small's shape, in fp32 or in NF4, for the memory meter."""

import torch

from course_utils.memory import random_batch
from course_utils.methods.lora import apply_lora
from course_utils.methods.quantization import quantize_model
from course_utils.training import adamw, scored_lm_loss


def lora_step_gpt2_small(quantised, layers=12, rows=1, tokens=32):
    """For memory.measure_peak: a step of LoRA on random weights of GPT-2 small's shape, in fp32 or in NF4."""
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.initialization import no_init_weights

    with no_init_weights():  # which draws the weights twice
        config = GPT2Config(n_layer=layers, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        model = GPT2LMHeadModel(config)
    model.tie_weights()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    batch = random_batch(model, rows, tokens)
    if quantised:
        quantize_model(model)
    apply_lora(model, 8, 16.0, ["c_attn"])
    optimizer = adamw(model, lr=1e-4)

    def step():
        optimizer.zero_grad()
        total, count = scored_lm_loss(model, batch)
        (total / count).backward()
        optimizer.step()

    return step
