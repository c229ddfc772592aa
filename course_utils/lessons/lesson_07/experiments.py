"""Stored experiments with soft prompts, a prefix and LoRA: lengths, starts, rates, longer runs, positions."""

from course_utils.stored_runs import CHOICE, few, sweep

START_WORDS = (
    "Here are questions, each with its answer.\n"
    "Question: Which city is the capital of Chile?\nAnswer: Santiago\n"
)


@sweep(
    "prompt_tuning",
    points=[
        *[
            {"method": "prompt", "size": size, "start": start, "lr": lr}
            for start in ("words", "random")
            for size in (1, 4, 16)
            for lr in (0.01, 0.03, 0.1, 0.3)
        ],
        {"method": "prompt", "size": 64, "start": "words", "lr": 0.1},
        *[{"method": "prefix", "size": 16, "start": "words", "lr": lr} for lr in (0.03, 0.1, 0.17, 0.3)],
        *[{"method": "LoRA", "size": 1, "start": "", "lr": lr} for lr in (3e-3, 1e-2, 3e-2)],
        {"method": "prompt", "size": 16, "start": "words", "lr": 0.06},  # chosen by prompt_rates
    ],
    short=(10, 25),
)
def prompt_tuning(point: dict, seed: int) -> dict:
    """50 steps of 16 questions, no weight decay: loss on 100 held-out questions, nats per token.

    size: tokens of the prompt, or LoRA's rank (alpha = 2 r). start: words (START_WORDS, repeated or cut), or
    random (normal, with the standard deviation of the model's embeddings).

    A point may ask for "validation", the loss on 150 validation questions, for another "draw" of LoRA's start
    and the batches, and for the size "as LoRA": tokens with as many values as LoRA of rank 1.
    """
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_03.experiments import question_examples
    from course_utils.methods.lora import count_trainable

    model = tuned({**point, "steps": 50}, seed + point.get("draw", 0))
    held_out = question_examples("held_out", sample=100)
    result = {"trained": count_trainable(model)[0], "loss": mean_loss(model, held_out)}
    if point.get("validation"):
        result["validation"] = mean_loss(model, question_examples("validation", sample=150))
    return result


def prepared(model, tokenizer, point):
    """The model with a prompt, a prefix or LoRA, as the point says, and its loss function."""
    from course_utils.data import encode
    from course_utils.methods.lora import apply_lora, attention_targets
    from course_utils.methods.lora_fast import speed_up
    from course_utils.methods.prompt_tuning import (
        PrefixTuning,
        PromptTuning,
        prefix_of_prompt,
        prompt_from_words,
        random_prompt,
    )
    from course_utils.training import fast_lm_loss, scored_lm_loss

    size = tokens_as_lora(model) if point["size"] == "as LoRA" else point["size"]
    if point["method"] == "LoRA":
        return speed_up(apply_lora(model, size, 2.0 * size, attention_targets(model))), scored_lm_loss
    if point["start"] == "words":
        prompt = prompt_from_words(model, encode(tokenizer, START_WORDS), size)
    else:
        prompt = random_prompt(model, size)
    if point["method"] == "prefix":
        return PrefixTuning(model, prefix_of_prompt(model, prompt)), fast_lm_loss
    return PromptTuning(model, prompt), fast_lm_loss


def tokens_as_lora(model) -> int:
    """Tokens of a prompt with as many values as LoRA of rank 1 on query, key and value, rounded."""
    from course_utils.methods.lora import attention_targets, find_targets, layer_sizes

    names = find_targets(model, attention_targets(model))
    values = sum(sum(layer_sizes(model.get_submodule(name))) for name in names)
    return round(values / model.config.hidden_size)


def _points(*groups):
    """Points of each group (method, size, steps, rates); methods with a start begin from words."""
    return [
        {
            "method": method,
            "size": size,
            "start": "" if method == "LoRA" else "words",
            "steps": steps,
            "lr": lr,
        }
        for method, size, steps, rates in groups
        for lr in rates
    ]


@sweep(
    "prompt_rates",
    points=_points(
        ("prompt", 16, 50, (0.01, 0.03, 0.06, 0.1, 0.3)),
        ("LoRA", 1, 50, (3e-3, 6e-3, 1e-2, 1.7e-2, 3e-2)),
        ("prefix", 16, 50, (0.03, 0.1, 0.17, 0.3)),
    ),
    seeds=(5, 6),
)
def prompt_rates(point: dict, seed: int) -> dict:
    """Used to choose rates, at two separate seeds. validation: loss on 150 questions, nats per token."""
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_03.experiments import question_examples

    return {"validation": mean_loss(tuned(point, seed), question_examples("validation", sample=150))}


@sweep(
    "prompt_rates_wide",
    points=_points(
        ("prompt", 64, 50, (0.03, 0.1, 0.3)),
        ("prompt", 16, 250, (0.01, 0.03, 0.1, 0.3, 1.0)),
        ("LoRA", 1, 250, (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)),
    ),
    seeds=CHOICE,
)
def prompt_rates_wide(point: dict, seed: int) -> dict:
    """prompt_rates at one of its seeds and rates a factor of three apart: 64 vectors, and longer runs."""
    return prompt_rates(point, seed)


@sweep("prompt_longer", points=_points(("prompt", 16, 250, (0.3,)), ("LoRA", 1, 250, (3e-2,))))
def prompt_longer(point: dict, seed: int) -> dict:
    """prompt_tuning with five times the steps, at the rates chosen by prompt_rates_wide."""
    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_03.experiments import question_examples

    return {"loss": mean_loss(tuned(point, seed), question_examples("held_out", sample=100))}


def tuned(point, seed):
    """The pocket model, `prepared` and trained for the point's steps."""
    import torch

    from course_utils.data import batches
    from course_utils.lessons.lesson_03.experiments import question_examples
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = load_model("pocket")
    torch.manual_seed(seed)
    model, loss_fn = prepared(model, tokenizer, point)
    stream = batches(question_examples("tune"), 16, seed, tokenizer.pad_token_id)
    settings = {"loss_fn": loss_fn, "weight_decay": 0.0, "seed": seed, "label": f"{point}, seed {seed}"}
    train(model, stream, steps=few(point["steps"]), lr=point["lr"], **settings)
    return model


@sweep("prompt_positions", points=[{"text at": places} for places in ("P", "0")])
def prompt_positions(point: dict, seed: int) -> dict:
    """A prompt trained with the text's positions from P on, or from 0 on as in the bug hunt's script.

    16 tokens, 50 steps as in prompt_tuning, rate 0.06; loss on 100 held-out questions with both numberings.
    """
    import torch

    from course_utils.data import batches, collate, encode
    from course_utils.lessons.lesson_03.experiments import question_examples
    from course_utils.lessons.lesson_07.small_prompts import SoftPrompt, prompt_loss, with_prompt
    from course_utils.methods.prompt_tuning import prompt_from_words
    from course_utils.models import load_model
    from course_utils.training import train

    fronts = {"P": with_prompt, "0": text_from_0}
    model, tokenizer = load_model("pocket")
    prompt = prompt_from_words(model, encode(tokenizer, START_WORDS), 16)
    model = SoftPrompt(model, prompt, fronts[point["text at"]])
    stream = batches(question_examples("tune"), 16, seed, tokenizer.pad_token_id)
    settings = {"loss_fn": prompt_loss, "weight_decay": 0.0, "seed": seed, "label": f"{point}, seed {seed}"}
    train(model, stream, steps=few(50), lr=0.06, **settings)
    batch, result = collate(question_examples("held_out", sample=100), tokenizer.pad_token_id), {}
    for places, model.in_front in fronts.items():
        with torch.no_grad():
            loss, targets = prompt_loss(model.eval(), batch)
        result[f"loss, text at {places}"] = (loss / targets).item()
    return result


def text_from_0(prompt, embeddings, mask, labels):
    """`with_prompt`, but the text's positions begin at 0, as if there were no prompt."""
    import torch.nn.functional as F

    from course_utils.data import IGNORE
    from course_utils.lessons.lesson_07.suspects import inputs_of_script

    embeddings, read, positions = inputs_of_script(prompt, embeddings, mask)
    return embeddings, read, F.pad(labels, (len(prompt), 0), value=IGNORE), positions
