"""Stored experiments: learning rates with remedies for forgetting, and rules of the update."""

import math
import statistics

from course_utils.stored_runs import sweep

RATES = (1e-6, 1e-5, 5e-5, 2e-4, 5e-4, 2e-3, 1e-2)
BLENDED = (5e-5, 2e-4, 5e-4, 2e-3)  # rates at which the remedies are tried
SHARES = (0.25, 0.5, 0.75)  # of the way from the old weights to the tuned ones


@sweep(
    "learning_rate",
    points=[{"lr": lr, "replay": 0} for lr in RATES] + [{"lr": lr, "replay": 2} for lr in BLENDED],
)
def learning_rate(point: dict, seed: int) -> dict:
    """Full fine-tuning on questions, 100 steps of 16, with `replay` old texts beside them in every step.

    What Yardstick.measure says, what was lost since the base, and the same at shares of the way back to it.
    """
    from course_utils.lessons.lesson_02 import loop, measures
    from course_utils.models import load_model
    from course_utils.training import adamw

    base, tokenizer = load_model("pocket")
    ruler = measures.yardstick(tokenizer)
    before = ruler.measure(base)
    model, _ = load_model("pocket")
    replay = point["replay"]
    stream = (
        measures.replay_stream(tokenizer, seed, replay)
        if replay
        else measures.question_stream(tokenizer, seed)
    )
    losses, _ = loop.train_plain(
        model, stream, adamw(model, point["lr"]), 100, point["lr"], accumulate=2 if replay else 1
    )
    result = {"train_loss": statistics.mean(losses[-20:])} | measured(ruler, model, before)
    if point["lr"] in BLENDED and not replay:
        tuned = model.state_dict()
        for share in SHARES:
            blend, _ = load_model("pocket")
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
RULES = {  # by name: what is changed, and the rates
    "AdamW": (ADAMW, (1e-4, 2e-4, 5e-4, 1e-3)),
    "without warm-up": (ADAMW | {"warmup": 0.0}, (1e-4, 2e-4, 5e-4, 1e-3)),
    "without clipping": (ADAMW | {"clip": None}, (1e-4, 2e-4, 5e-4, 1e-3)),
    "without decay": (ADAMW | {"weight_decay": 0.0}, (2e-4, 5e-4)),
    "decay 1": (ADAMW | {"weight_decay": 1.0}, (2e-4, 5e-4)),
    "SGD with clipping": (SGD, (0.03, 0.1, 0.3, 1.0)),
    "SGD without clipping": (SGD | {"clip": None}, (1e-3, 3e-3, 0.01, 0.03, 0.1)),
}


@sweep(
    "update_rules",
    points=[{"rule": name, "lr": lr} | rule for name, (rule, rates) in RULES.items() for lr in rates],
)
def update_rules(point: dict, seed: int) -> dict:
    """Full fine-tuning on questions, 60 steps of 16, by one rule of the update; how often it clipped."""
    import torch

    from course_utils.lessons.lesson_02 import loop, measures
    from course_utils.models import load_model
    from course_utils.training import adamw

    model, tokenizer = load_model("pocket")
    lr, clip = point["lr"], point["clip"] or math.inf
    optimizer = (
        torch.optim.SGD(model.parameters(), lr)
        if point["optimizer"] == "SGD"
        else adamw(model, lr, point["weight_decay"])
    )
    losses, norms = loop.train_plain(
        model, measures.question_stream(tokenizer, seed), optimizer, 60, lr, point["warmup"], clip
    )
    found = measures.yardstick(tokenizer, texts=20, facts=20).measure(model)
    return {
        "train_loss": statistics.mean(losses[-20:]),
        "largest_norm": max(norms),
        "clipped": sum(norm > clip for norm in norms) / len(norms),
        "validation_loss": found["validation_loss"],
        "answer_loss": found["answer_loss"],
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
