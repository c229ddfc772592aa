"""A stored experiment with soft prompts: rates, lengths and starts, and LoRA's rates beside them."""

import functools
import random

from course_utils.sweeps import sweep

WORDS = (
    "Here are questions, each with its answer.\n"
    "Question: Which city is the capital of Chile?\nAnswer: Santiago\n"
)
PROMPT = {"method": "prompt", "size": 16, "start": "words", "lr": 0.03}


@sweep(
    "prompt_tuning",
    points=[
        *[{**PROMPT, "lr": lr} for lr in (0.01, 0.03, 0.1)],
        *[{"method": "LoRA", "size": 1, "start": "", "lr": lr} for lr in (3e-2, 1e-2, 3e-3)],
        *[{**PROMPT, "size": size} for size in (1, 4)],
        *[{**PROMPT, "size": size, "start": "random"} for size in (1, 16)],
    ],
    sources=[
        f"course_utils.{name}"
        for name in ("data", "training", "evaluation", "lora", "lora_fast", "prompt_tuning")
    ],
)
def prompt_tuning(point: dict, seed: int) -> dict:
    """50 steps of 16 questions, no weight decay: loss on 100 held-out questions, nats a token.

    size: tokens of the prompt, or LoRA's rank (alpha 2 r). start: words (WORDS, begun again or
    cut), or random, normal with the spread of the model's embeddings.
    """
    import torch

    from course_utils.data import batches
    from course_utils.evaluation import mean_loss
    from course_utils.lora import count_trainable
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = load_model("pocket")
    torch.manual_seed(seed)
    tuned, loss_fn = prepared(model, tokenizer, point)
    stream = batches(questions("tune"), 16, seed, tokenizer.pad_token_id)
    train(
        tuned, stream, steps=50, lr=point["lr"], loss_fn=loss_fn, weight_decay=0.0, seed=seed,
        label=f"{point}, seed {seed}",
    )  # fmt: skip
    return {"trained": count_trainable(tuned)[0], "loss": mean_loss(tuned, questions("held_out")[:100])}


def prepared(model, tokenizer, point):
    """The model with a prompt in front or LoRA inside, as the point says, and the loss to train it by."""
    from course_utils.data import encode
    from course_utils.lora import apply_lora
    from course_utils.lora_fast import scored_lm_loss, speed_up
    from course_utils.prompt_tuning import PromptTuning, prompt_from_words, random_prompt
    from course_utils.training import fast_lm_loss

    size = point["size"]
    if point["method"] == "LoRA":
        return speed_up(apply_lora(model, size, 2.0 * size)), scored_lm_loss
    if point["start"] == "words":
        prompt = prompt_from_words(model, encode(tokenizer, WORDS), size)
    else:
        prompt = random_prompt(model, size)
    return PromptTuning(model, prompt), fast_lm_loss


@functools.cache
def questions(name):
    """A set of questions in a fixed random order, as the pocket model's examples."""
    from course_utils.data import encode_prompt_completion, load_questions
    from course_utils.models import load_model

    tokenizer = load_model("pocket")[1]
    rows = load_questions(name)
    random.Random(0).shuffle(rows)
    return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]
