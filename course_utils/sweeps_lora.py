"""Stored experiments with LoRA: ranks and scales, random subspaces, layers against full fine-tuning."""

import functools
import random

from course_utils.sweeps import sweep

LAYERS = {  # name of the choice: (ends of layer names, thirds of the fused c_attn, rank)
    "query": (["c_attn"], [0], 16),
    "value": (["c_attn"], [2], 16),
    "c_attn": (["c_attn"], None, 8),
    "MLP": (["c_fc", "mlp.c_proj"], None, 3),
    "all": (["c_attn", "c_proj", "c_fc"], None, 2),
}


@sweep(
    "lora_rank",
    points=[
        {"task": task, "lr": lr, "rslora": rslora, "rank": rank}
        for task, lr, rslora, ranks in (
            ("questions", 1e-2, False, (1, 4, 8, 64)),
            ("questions", 1e-2, True, (8, 64)),
            ("questions", 1e-3, False, (1, 8, 64)),
            ("questions", 1e-3, True, (8, 64)),
            ("invented", 1e-2, False, (1, 8, 64)),
        )
        for rank in ranks
    ],
)
def lora_rank(point: dict, seed: int) -> dict:
    """LoRA on the default layers at alpha 16, batches of 16. loss: nats a token.

    questions: 30 steps, loss on held-out questions. invented: 300 steps on the 84 short questions about
    invented facts, and the loss on these themselves.
    """
    import torch

    from course_utils.data import batches
    from course_utils.evaluation import mean_loss
    from course_utils.lora import apply_lora
    from course_utils.lora_fast import scored_lm_loss, speed_up
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = load_model("pocket")
    if point["task"] == "questions":
        steps, tune, scored = 30, questions("tune"), questions("held_out", sample=100)
    else:
        steps, tune = 300, questions("invented", kind="short")
        scored = tune
    torch.manual_seed(seed)
    speed_up(apply_lora(model, point["rank"], 16.0, rslora=point["rslora"]))
    stream = batches(tune, 16, seed, tokenizer.pad_token_id)
    label = f"rank {point['rank']}, seed {seed}"
    train(model, stream, steps=steps, lr=point["lr"], loss_fn=scored_lm_loss, seed=seed, label=label)
    return {"loss": mean_loss(model, scored)}


@sweep(
    "random_subspace",
    points=[
        {"start": start, "dimension": dimension, "lr": lr}
        for start, dimension, rates in (
            ("pre-trained", 10, (0.3, 1.0, 3.0)),
            ("pre-trained", 100, (0.3, 1.0, 3.0)),
            ("pre-trained", 1000, (0.03, 0.1, 0.3)),
            ("pre-trained", 10_000, (0.01, 0.03, 0.1)),
            ("random", 1000, (0.1, 0.3, 1.0)),
        )
        for lr in rates
    ],
    seeds=range(2),
)
def random_subspace(point: dict, seed: int) -> dict:
    """All weights tuned on questions in a random subspace, 50 steps of 16: loss on held-out questions."""
    import torch

    from course_utils.data import batches
    from course_utils.evaluation import mean_loss
    from course_utils.lora_analysis import RandomSubspace
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = load_model("pocket")
    if point["start"] == "random":
        torch.manual_seed(seed)
        model = type(model)(model.config).eval()
    space = RandomSubspace(model, point["dimension"], seed)
    stream = batches(questions("tune"), 16, seed, tokenizer.pad_token_id)
    label = f"{point['dimension']} dimensions, lr {point['lr']:g}, seed {seed}"
    train(space, stream, steps=50, lr=point["lr"], seed=seed, label=label)
    return {"loss": mean_loss(space.write_back(), questions("held_out", sample=100))}


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
def lora_layers(point: dict, seed: int) -> dict:
    """Full fine-tuning, or LoRA at alpha 2 r on some layers, all with nearly as many trained values.

    40 steps of 16 questions, answered in sentences. target_loss: 100 held-out ones; forgetting: rise of the
    loss on 40 source texts.
    """
    import torch

    from course_utils.data import batches
    from course_utils.evaluation import mean_loss
    from course_utils.lora import adapt_outputs, apply_lora, count_trainable
    from course_utils.lora import lora_layers as adapted
    from course_utils.lora_fast import scored_lm_loss, speed_up
    from course_utils.models import load_model
    from course_utils.training import train

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
    stream = batches(questions("tune", "sentence"), 16, seed, tokenizer.pad_token_id)
    label = f"{point['layers']}, lr {point['lr']:g}, seed {seed}"
    train(model, stream, steps=40, lr=point["lr"], loss_fn=scored_lm_loss, seed=seed, label=label)
    return {
        "trained": trained,
        "target_loss": mean_loss(model, questions("held_out", "sentence", sample=100)),
        "forgetting": mean_loss(model, source()) - base_source_loss(),
    }


@functools.cache
def questions(name, kind=None, sample=None):
    """A set of questions as the pocket model's examples: those of a kind, and a fixed sample of them."""
    from course_utils.data import encode_prompt_completion, load_questions
    from course_utils.models import load_model

    tokenizer = load_model("pocket")[1]
    rows = [row for row in load_questions(name) if kind in (None, row["kind"])]
    rows = random.Random(0).sample(rows, sample) if sample else rows
    return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]


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
