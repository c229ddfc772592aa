"""Stored experiments: LoRA's rate beside full fine-tuning's; broken LoRAs that learn all the same."""

import functools
import random

from course_utils.stored_runs import few, sweep

FULL_RATE, LORA_RATE = 2e-4, 2e-3  # the best of full fine-tuning, and what the lesson trains LoRA at
RANK, ALPHA = 8, 16.0


@functools.cache
def question_examples(name, kind=None, sample=None):
    """A set of questions as the pocket model's examples: those of a kind, and a fixed sample of them."""
    from course_utils.data import encode_prompt_completion, load_questions
    from course_utils.models import load_model

    tokenizer = load_model("pocket")[1]
    rows = [row for row in load_questions(name) if kind in (None, row["kind"])]
    rows = random.Random(0).sample(rows, few(sample, 8)) if sample else rows
    return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]


def adapted_pocket(seed: int):
    """(the pocket model with the lesson's LoRA on all linear layers of its blocks, its tokenizer)."""
    import torch

    from course_utils.lessons.lesson_03.small_lora import lora_in_small
    from course_utils.models import load_model

    torch.manual_seed(seed)
    model, tokenizer = load_model("pocket")
    _, apply_lora, _ = lora_in_small()
    return apply_lora(model, RANK, ALPHA), tokenizer


@sweep(
    "first_rates",
    points=[
        *({"method": "full fine-tuning", "lr": lr} for lr in (2e-5, 6e-5, FULL_RATE, 6e-4, LORA_RATE)),
        *({"method": "LoRA", "lr": lr} for lr in (FULL_RATE, 6e-4, LORA_RATE, 6e-3, 2e-2)),
    ],
    tolerance=0.15,  # at the highest rates training breaks, and another processor's rounding shows
    short=(2, 7),
)
def first_rates(point: dict, seed: int) -> dict:
    """Thirty steps of 16 questions. Losses on 150 validation and 150 held-out questions, in nats a token."""
    from course_utils.data import batches
    from course_utils.evaluation import mean_loss
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = adapted_pocket(seed) if point["method"] == "LoRA" else load_model("pocket")
    stream = batches(question_examples("tune"), 16, seed, tokenizer.pad_token_id)
    label = f"{point['method']}, rate {point['lr']:g}, seed {seed}"
    train(model, stream, steps=few(30), lr=point["lr"], seed=seed, label=label)
    splits = ("validation", "held_out")
    return {split: mean_loss(model, question_examples(split, sample=150)) for split in splits}


ARMS = ("right", "A frozen", "scale left out", "only biases")


@sweep(
    "broken_lora",
    points=[
        {"arm": arm, "lr": lr}
        for arm in ARMS
        for lr in (LORA_RATE, 6e-3, *([1e-2, 2e-2] if arm == "only biases" else []))
    ],
    tolerance=0.15,
    short=(0, 2, 4, 6),
)
def broken_lora(point: dict, seed: int) -> dict:
    """Sixty steps of 16 questions with a LoRA that is broken, and with the biases alone.

    loss_N: on 150 held-out questions after N steps, in nats a token; loss_0: of the base model.
    """
    from course_utils.data import batches
    from course_utils.evaluation import mean_loss
    from course_utils.training import train

    model, tokenizer = arm_of(point["arm"], seed)
    held_out = question_examples("held_out", sample=150)
    found = {"loss_0": mean_loss(model, held_out)}
    stream = batches(question_examples("tune"), 16, seed, tokenizer.pad_token_id)
    history = train(
        model,
        stream,
        steps=few(60),
        lr=point["lr"],
        seed=seed,
        evaluate=lambda model: {"held_out_loss": mean_loss(model, held_out)},
        eval_every=10,
        label=f"{point['arm']}, rate {point['lr']:g}, seed {seed}",
    )
    steps, losses = history.column("held_out_loss")
    return found | {f"loss_{step}": loss for step, loss in zip(steps, losses, strict=True)}


def arm_of(arm: str, seed: int):
    """(model, tokenizer): the lesson's LoRA, broken as the arm says; or the base model's biases alone."""
    from course_utils.lessons.lesson_03.small_lora import wrapped_layers
    from course_utils.models import load_model

    if arm == "only biases":
        model, tokenizer = load_model("pocket")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
        return model, tokenizer
    model, tokenizer = adapted_pocket(seed)
    for layer in wrapped_layers(model).values():
        if arm == "A frozen":
            layer.change.lora_A.requires_grad_(False)
        elif arm == "scale left out":
            layer.change.scale = 1.0
    return model, tokenizer


@sweep(
    "beside_peft",
    points=[{"arm": arm} for arm in ("right", "A frozen", "scale left out", "loss on the prompts too")],
    tolerance=0.15,
    short=(0, 3),
)
def beside_peft(point: dict, seed: int) -> dict:
    """Twenty steps of the lesson's LoRA and of PEFT's from one start. apart: as a share of PEFT's change."""
    from peft import LoraConfig, get_peft_model

    from course_utils.data import Example, batches
    from course_utils.lessons.lesson_03.peft_twin import apart, copy_into_peft
    from course_utils.methods.lora import default_lora_targets
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = arm_of(point["arm"], seed)
    base, _ = load_model("pocket")
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=default_lora_targets(base),
        fan_in_fan_out=True,
        task_type="CAUSAL_LM",
    )
    twin = get_peft_model(base, config)
    copy_into_peft(model, twin)
    tune = question_examples("tune")
    for each in (model, twin):
        rows = tune
        if each is model and point["arm"] == "loss on the prompts too":
            rows = [Example(row.input_ids, list(row.input_ids)) for row in tune]
        stream = batches(rows, 16, seed, tokenizer.pad_token_id)
        train(each, stream, steps=few(20), lr=LORA_RATE, seed=seed, label=f"{point['arm']}, seed {seed}")
    return {"apart": apart(model, twin)}
