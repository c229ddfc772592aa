"""Stored experiment: where to put LoRA, against full fine-tuning; and a step for the memory meter."""

import functools

from course_utils.lessons.lesson_04.experiments import question_examples
from course_utils.memory import random_batch
from course_utils.methods.lora import apply_lora, attention_targets
from course_utils.stored_runs import sweep


def lora_training_step(model="pocket", batch_size=8, tokens=128):
    """For memory.measure_peak: the step of memory.training_step with LoRA on the attention layers."""
    from course_utils.models import load_model
    from course_utils.training import accumulated_step, adamw, fast_lm_loss

    model = load_model(model)[0]
    apply_lora(model, 8, 16.0, attention_targets(model))
    batch = random_batch(model, batch_size, tokens)
    optimizer = adamw(model, lr=1e-5)

    def step():
        accumulated_step(model, [batch], fast_lm_loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


LAYERS = {  # name of the choice: (ends of layer names, thirds of the fused c_attn, rank)
    "query": (["c_attn"], [0], 16),
    "value": (["c_attn"], [2], 16),
    "c_attn": (["c_attn"], None, 8),
    "MLP": (["c_fc", "mlp.c_proj"], None, 3),
    "all": (["c_attn", "c_proj", "c_fc"], None, 2),
}


@sweep(
    "lora_layers",
    points=[
        {"layers": layers, "lr": lr}
        for choices, rates in ((LAYERS, (3e-3, 1e-2, 3e-2)), (["full"], (5e-5, 1e-4, 2e-4, 5e-4, 1e-3)))
        for layers in choices
        for lr in rates
    ],
    seeds=range(3),
)
def lora_placement(point: dict, seed: int) -> dict:
    """Full fine-tuning, or LoRA at alpha 2 r on some layers, all with nearly as many trained values.

    40 steps of 16 questions, answered in sentences. target_loss: 100 held-out ones; forgetting: rise of the
    loss on 40 source texts.
    """
    import torch

    from course_utils.data import batches
    from course_utils.evaluation import mean_loss
    from course_utils.methods.lora import adapt_outputs, apply_lora, count_trainable
    from course_utils.methods.lora import lora_layers as adapted
    from course_utils.methods.lora_fast import speed_up
    from course_utils.models import load_model
    from course_utils.training import scored_lm_loss, train

    model, tokenizer = load_model("pocket")
    torch.manual_seed(seed)
    trained = count_trainable(model)[0]
    if point["layers"] != "full":
        targets, parts, rank = LAYERS[point["layers"]]
        speed_up(apply_lora(model, rank, 2.0 * rank, targets))
        trained = count_trainable(model)[0]
        width = model.config.n_embd
        for layer in adapted(model).values() if parts else ():
            adapt_outputs(layer, [slice(part * width, (part + 1) * width) for part in parts])
            trained -= rank * width * (3 - len(parts))
    stream = batches(question_examples("tune", "sentence"), 16, seed, tokenizer.pad_token_id)
    label = f"{point['layers']}, lr {point['lr']:g}, seed {seed}"
    train(model, stream, steps=40, lr=point["lr"], loss_fn=scored_lm_loss, seed=seed, label=label)
    return {
        "trained": trained,
        "target_loss": mean_loss(model, question_examples("held_out", "sentence", sample=100)),
        "forgetting": mean_loss(model, source()) - base_source_loss(),
    }


@functools.cache
def source():
    """Forty held-out source texts as the pocket model's examples."""
    from course_utils.data import encode_text, load_source_texts
    from course_utils.models import load_model

    tokenizer = load_model("pocket")[1]
    return [encode_text(tokenizer, text) for text in load_source_texts()[:40]]


@functools.cache
def base_source_loss():
    """The pocket model's loss on them before any tuning."""
    from course_utils.evaluation import mean_loss
    from course_utils.models import load_model

    return mean_loss(load_model("pocket")[0], source())
