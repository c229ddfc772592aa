"""Stored experiment: full fine-tuning over learning rates."""

import random
import statistics

from course_utils.stored_runs import sweep


@sweep("learning_rate", points=[{"lr": lr} for lr in (1e-6, 1e-5, 5e-5, 2e-4, 5e-4, 2e-3, 1e-2)])
def learning_rate(point: dict, seed: int) -> dict:
    """Full fine-tuning on questions, 100 steps of 16: losses on held-out questions and on source text.

    forgetting: rise of the source loss above the base model's.
    """
    from course_utils.data import (
        batches,
        encode_prompt_completion,
        encode_text,
        load_questions,
        load_source_texts,
    )
    from course_utils.evaluation import forgetting, mean_loss
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = load_model("pocket")

    def encoded(questions):
        return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in questions]

    held_out = encoded(random.Random(0).sample(load_questions("held_out"), 150))
    source = [encode_text(tokenizer, text) for text in load_source_texts()[:60]]
    before = mean_loss(model, source)
    stream = batches(encoded(load_questions("tune")), 16, seed, tokenizer.pad_token_id)
    history = train(
        model, stream, steps=100, lr=point["lr"], seed=seed, label=f"lr {point['lr']:g}, seed {seed}"
    )
    after = mean_loss(model, source)
    return {
        "train_loss": statistics.mean(history.column("loss")[1][-20:]),
        "target_loss": mean_loss(model, held_out),
        "source_loss": after,
        "forgetting": forgetting(before, after),
    }
