"""Stored experiments: learning rates, remedies for forgetting, rules of the update."""

import itertools
import math
import random
import statistics
from functools import cache

from course_utils.stored_runs import few, sweep


@sweep(
    "learning_rate",
    points=[{"lr": lr} for lr in (1e-6, 1e-5, 5e-5, 2e-4, 5e-4, 2e-3, 1e-2)],
    tolerance=0.15,  # at 1e-2 training diverges, and another processor's rounding shows
    short=(3,),
)
def learning_rate(point: dict, seed: int) -> dict:
    """Full fine-tuning on questions, 100 steps of 16: losses on held-out questions and on source text.

    forgetting: increase of the source loss over the base model's.
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

    held_out = encoded(random.Random(0).sample(load_questions("held_out"), few(150, 8)))
    source = [encode_text(tokenizer, text) for text in load_source_texts()[: few(60, 4)]]
    before = mean_loss(model, source)
    stream = batches(encoded(load_questions("tune")), 16, seed, tokenizer.pad_token_id)
    history = train(
        model, stream, steps=few(100), lr=point["lr"], seed=seed, label=f"lr {point['lr']:g}, seed {seed}"
    )
    after = mean_loss(model, source)
    return {
        "train_loss": statistics.mean(history.column("loss")[1][-20:]),
        "target_loss": mean_loss(model, held_out),
        "source_loss": after,
        "forgetting": forgetting(before, after),
    }


BLEND_SHARES = (0.25, 0.5, 0.75)  # of the way from the base weights to the tuned ones
QUESTIONS_ALONE = {"questions": 16, "replay": 0, "steps": 100}
WITH_REPLAY = QUESTIONS_ALONE | {"replay": 2}
REMEDIES = [
    *({"lr": lr} | training for training in (QUESTIONS_ALONE, WITH_REPLAY) for lr in (5e-5, 2e-4, 5e-4)),
    {"lr": 2e-4} | WITH_REPLAY | {"steps": 73},  # reads as many tokens as 100 steps of questions alone
    {"lr": 2e-4} | QUESTIONS_ALONE | {"questions": 32},  # controls: more questions instead of old texts,
    {"lr": 2e-4} | WITH_REPLAY | {"questions": 0},  # and the old texts without questions
    *({"lr": 1e-5} | QUESTIONS_ALONE | {"steps": steps} for steps in (100, 137)),  # 137: replay's tokens
    {"lr": 0.0} | QUESTIONS_ALONE | {"steps": 1},  # the base itself
]


@cache
def measured_base():
    """(the base model, its tokenizer, the yardstick, its measures of the base)."""
    from course_utils.lessons.lesson_02 import measures
    from course_utils.models import load_model

    base, tokenizer = load_model("pocket")
    ruler = measures.yardstick(tokenizer)
    return base, tokenizer, ruler, ruler.measure(base)


def measure_forgetting(ruler, model, before: dict) -> dict:
    """The yardstick's measures, and the increase of the loss on old texts since `before`."""
    now = ruler.measure(model)
    return now | {"forgetting": now["text_loss"] - before["text_loss"]}


@sweep("remedies", points=REMEDIES, tolerance=0.1, short=(1, 4))
def remedies(point: dict, seed: int) -> dict:
    """Questions and old texts in every step: what a Yardstick measures, and the forgetting of the texts.

    Without replay, at rates of 2e-4 or more or where the point asks for it, also on the way back to the base.
    """
    from course_utils.lessons.lesson_02 import loop, measures
    from course_utils.models import load_model
    from course_utils.training import adamw

    base, tokenizer, ruler, before = measured_base()
    model, _ = load_model("pocket")
    questions, replay, lr = point["questions"], point["replay"], point["lr"]
    if replay:
        stream = measures.replay_stream(tokenizer, seed, replay)
    else:
        stream = measures.question_stream(tokenizer, seed, questions)
    if not questions:
        stream = itertools.islice(stream, 1, None, 2)  # the text batches of the alternating stream
    parts = bool(questions) + bool(replay)
    steps = few(point["steps"])
    losses, _ = loop.train_plain(model, stream, adamw(model, lr), steps, lr, accumulate=parts)
    result = {"train_loss": statistics.mean(losses[-20:])} | measure_forgetting(ruler, model, before)
    if point.get("walk", not replay and lr >= 2e-4 and questions == 16):
        blend, _ = load_model("pocket")
        old, new = base.state_dict(), model.state_dict()
        for share in BLEND_SHARES:
            blend.load_state_dict({name: old[name].lerp(new[name], share) for name in old})
            found = measure_forgetting(ruler, blend, before)
            result |= {f"{name} at {share:g}": value for name, value in found.items()}
    return result


ADAMW = {"optimizer": "AdamW", "clip": 1.0, "warmup": 0.1, "weight_decay": 0.01}
SGD = {"optimizer": "SGD", "clip": 1.0, "warmup": 0.1, "weight_decay": 0.0}
AROUND = (2e-4, 5e-4, 1e-3)
RULES = {  # by name: the rule and its learning rates
    "SGD without clipping": (SGD | {"clip": None}, (3e-3, 0.01, 0.03, 0.1)),
    "AdamW": (ADAMW, (1e-4, *AROUND)),
    "SGD with clipping": (SGD, (0.1, 0.3, 1.0)),
    "AdamW without warm-up": (ADAMW | {"warmup": 0.0}, AROUND),
    "AdamW without clipping": (ADAMW | {"clip": None}, AROUND),
    "AdamW without decay": (ADAMW | {"weight_decay": 0.0}, (5e-4,)),
    "AdamW with a decay of 1": (ADAMW | {"weight_decay": 1.0}, (5e-4,)),
}


@sweep(
    "update_rules",
    points=[{"rule": name, "lr": lr} | rule for name, (rule, rates) in RULES.items() for lr in rates],
    tolerance=0.1,
    short=(1, 6),
)
def update_rules(point: dict, seed: int) -> dict:
    """Full fine-tuning on questions, 40 steps of 16, with one update rule; also how often it clipped."""
    import torch

    from course_utils.evaluation import mean_loss
    from course_utils.lessons.lesson_02 import loop, measures
    from course_utils.models import load_model
    from course_utils.training import adamw

    _, tokenizer, ruler, _ = measured_base()
    model, _ = load_model("pocket")
    lr, clip = point["lr"], point["clip"] or math.inf
    if point["optimizer"] == "SGD":
        optimizer = torch.optim.SGD(model.parameters(), lr)
    else:
        optimizer = adamw(model, lr, point["weight_decay"])
    stream = measures.question_stream(tokenizer, seed)
    losses, norms = loop.train_plain(model, stream, optimizer, few(40), lr, point["warmup"], clip)
    return {
        "train_loss": statistics.mean(losses[-10:]),
        "longer than 1": sum(norm > 1 for norm in norms) / len(norms),
        "validation_loss": mean_loss(model, ruler.validation),
        "answer_loss": mean_loss(model, ruler.held_out),
    }
