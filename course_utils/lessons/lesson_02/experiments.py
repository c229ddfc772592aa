"""Stored experiments: learning rates, remedies for forgetting, rules of the update, steps with a fault."""

import math
import random
import statistics
from functools import cache

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


RATES = (5e-5, 2e-4, 5e-4)  # the best one of the sweep above and its neighbours
SHARES = (0.25, 0.5, 0.75)  # of the way from the old weights to the tuned ones


@cache
def measured_base():
    """(the base model, its tokenizer, the yardstick, what it says of the base)."""
    from course_utils.lessons.lesson_02 import measures
    from course_utils.models import load_model

    base, tokenizer = load_model("pocket")
    ruler = measures.yardstick(tokenizer)
    return base, tokenizer, ruler, ruler.measure(base)


@sweep(
    "remedies",
    points=[
        {"lr": lr, "replay": replay} for lr, replay in ((2e-4, 0), (2e-4, 2), (5e-4, 0), (5e-4, 2), (5e-5, 0))
    ],
)
def remedies(point: dict, seed: int) -> dict:
    """The training of `learning_rate`, with `replay` old texts beside the questions in every step.

    What Yardstick.measure says, what was lost since the base, and the same at shares of the way back to it.
    """
    from course_utils.lessons.lesson_02 import loop, measures
    from course_utils.models import load_model
    from course_utils.training import adamw

    base, tokenizer, ruler, before = measured_base()
    model, _ = load_model("pocket")
    lr, replay = point["lr"], point["replay"]
    stream = (
        measures.replay_stream(tokenizer, seed, replay)
        if replay
        else measures.question_stream(tokenizer, seed)
    )
    losses, _ = loop.train_plain(model, stream, adamw(model, lr), 100, lr, accumulate=2 if replay else 1)
    result = {"train_loss": statistics.mean(losses[-20:])} | measured(ruler, model, before)
    if lr > 1e-4 and not replay:
        tuned, blend = model.state_dict(), load_model("pocket")[0]
        for share in SHARES:
            blend.load_state_dict(
                {name: old + share * (tuned[name] - old) for name, old in base.state_dict().items()}
            )
            found = measured(ruler, blend, before)
            result |= {f"{name} at {share:g}": value for name, value in found.items()}
    return result


def measured(ruler, model, before: dict) -> dict:
    """What the yardstick says, with what was lost since `before`."""
    now = ruler.measure(model)
    return now | {
        "answer_gain": before["answer_loss"] - now["answer_loss"],
        "text_forgetting": now["text_loss"] - before["text_loss"],
        "facts_lost": before["known"] - now["known"],
        "fact_forgetting": now["fact_loss"] - before["fact_loss"],
    }


ADAMW = {"optimizer": "AdamW", "clip": 1.0, "warmup": 0.1, "weight_decay": 0.01}
SGD = {"optimizer": "SGD", "clip": 1.0, "warmup": 0.1, "weight_decay": 0.0}
THREE = (2e-4, 5e-4, 1e-3)
RULES = {  # by name: what is changed, and the rates
    "AdamW": (ADAMW, THREE),
    "SGD with clipping": (SGD, (0.1, 0.3, 1.0)),
    "SGD without clipping": (SGD | {"clip": None}, (3e-3, 0.01, 0.03)),
    "without warm-up": (ADAMW | {"warmup": 0.0}, THREE),
    "without clipping": (ADAMW | {"clip": None}, THREE),
    "without decay": (ADAMW | {"weight_decay": 0.0}, (5e-4,)),
    "decay 1": (ADAMW | {"weight_decay": 1.0}, (5e-4,)),
}


@sweep(
    "update_rules",
    points=[{"rule": name, "lr": lr} | rule for name, (rule, rates) in RULES.items() for lr in rates],
)
def update_rules(point: dict, seed: int) -> dict:
    """Full fine-tuning on questions, 40 steps of 16, by one rule of the update; how often it clipped."""
    import torch

    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_02 import loop, measures
    from course_utils.models import load_model
    from course_utils.training import adamw

    _, tokenizer, ruler, _ = measured_base()
    model, _ = load_model("pocket")
    lr, clip = point["lr"], point["clip"] or math.inf
    optimizer = (
        torch.optim.SGD(model.parameters(), lr)
        if point["optimizer"] == "SGD"
        else adamw(model, lr, point["weight_decay"])
    )
    losses, norms = loop.train_plain(
        model, measures.question_stream(tokenizer, seed), optimizer, 40, lr, point["warmup"], clip
    )
    return {
        "train_loss": statistics.mean(losses[-10:]),
        "largest_norm": max(norms),
        "clipped": sum(norm > clip for norm in norms) / len(norms),
        "validation_loss": mean_loss(model, ruler.validation),
        "answer_loss": mean_loss(model, ruler.held_out),
    }


STEPS_OF_OTHERS = ("sound", "masked_by_id", "mean_of_means", "shifted_twice")


@sweep("step_faults", points=[{"step": name} for name in STEPS_OF_OTHERS])
def step_faults(point: dict, seed: int) -> dict:
    """Full fine-tuning on questions, 40 steps of two micro-batches of 8, by a sound step or a suspect's."""
    from course_utils.lessons.lesson_02 import loop, measures, suspects
    from course_utils.models import load_model
    from course_utils.training import adamw

    steps = {
        "sound": loop.fast_accumulated_step,
        "masked_by_id": suspects.masked_by_id,
        "mean_of_means": suspects.mean_of_means,
        "shifted_twice": suspects.shifted_twice,
    }
    model, tokenizer = load_model("pocket")
    losses, _ = loop.train_plain(
        model,
        measures.question_stream(tokenizer, seed, 8),
        adamw(model, 5e-4),
        40,
        5e-4,
        accumulate=2,
        accumulate_fn=steps[point["step"]],
    )
    return {"train_loss": statistics.mean(losses[-10:])} | measures.answering(model, tokenizer)
