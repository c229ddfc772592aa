"""Stored experiment: full fine-tuning and LoRA, each over five learning rates."""

import random

from course_utils.stored_runs import sweep

FULL_RATES = (2e-5, 6e-5, 2e-4, 6e-4, 2e-3)
LORA_RATES = (2e-4, 6e-4, 2e-3, 6e-3, 2e-2)


@sweep(
    "lora_rate",
    points=[
        {"method": method, "lr": lr}
        for method, rates in (("full", FULL_RATES), ("lora", LORA_RATES))
        for lr in rates
    ],
)
def lora_rate(point: dict, seed: int) -> dict:
    """30 steps of 16 questions, on all weights or on LoRA of rank 8, alpha 16, on all linear layers.

    validation_loss, held_out_loss: nats a token of the answers, 150 questions each.
    """
    import torch

    from course_utils.data import batches, encode_prompt_completion, load_questions
    from course_utils.evaluation import mean_loss
    from course_utils.methods.lora import apply_lora
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = load_model("pocket")

    def encoded(questions):
        return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in questions]

    def sample(split):
        return encoded(random.Random(0).sample(load_questions(split), 150))

    if point["method"] == "lora":
        torch.manual_seed(seed)
        apply_lora(model, 8, 16.0)
    stream = batches(encoded(load_questions("tune")), 16, seed, tokenizer.pad_token_id)
    label = f"{point['method']}, lr {point['lr']:g}, seed {seed}"
    train(model, stream, steps=30, lr=point["lr"], seed=seed, label=label)
    return {
        "validation_loss": mean_loss(model, sample("validation")),
        "held_out_loss": mean_loss(model, sample("held_out")),
    }
