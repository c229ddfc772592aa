"""Stored experiments with LoRA: ranks and scales, random subspaces, layers against full fine-tuning."""

import functools
import random

from course_utils.stored_runs import sweep


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
    from course_utils.methods.lora import apply_lora
    from course_utils.methods.lora_fast import speed_up
    from course_utils.models import load_model
    from course_utils.training import scored_lm_loss, train

    model, tokenizer = load_model("pocket")
    if point["task"] == "questions":
        steps, tune, scored = 30, question_examples("tune"), question_examples("held_out", sample=100)
    else:
        steps, tune = 300, question_examples("invented", kind="short")
        scored = tune
    torch.manual_seed(seed)
    speed_up(apply_lora(model, point["rank"], 16.0, ["c_attn"], rslora=point["rslora"]))
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
    from course_utils.methods.lora_analysis import RandomSubspace
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = load_model("pocket")
    if point["start"] == "random":
        torch.manual_seed(seed)
        model = type(model)(model.config).eval()
    space = RandomSubspace(model, point["dimension"], seed)
    stream = batches(question_examples("tune"), 16, seed, tokenizer.pad_token_id)
    label = f"{point['dimension']} dimensions, lr {point['lr']:g}, seed {seed}"
    train(space, stream, steps=50, lr=point["lr"], seed=seed, label=label)
    return {"loss": mean_loss(space.write_back(), question_examples("held_out", sample=100))}


@functools.cache
def question_examples(name, kind=None, sample=None):
    """A set of questions as the pocket model's examples: those of a kind, and a fixed sample of them."""
    from course_utils.data import encode_prompt_completion, load_questions
    from course_utils.models import load_model

    tokenizer = load_model("pocket")[1]
    rows = [row for row in load_questions(name) if kind in (None, row["kind"])]
    rows = random.Random(0).sample(rows, sample) if sample else rows
    return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]
