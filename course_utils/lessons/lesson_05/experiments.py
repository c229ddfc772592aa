"""Stored experiments: where to put LoRA, and its variants, each at its best rate."""

import functools

from course_utils.lessons.lesson_03.experiments import question_examples
from course_utils.stored_runs import CHOICE, few, sweep

PLACE_STEPS = {"known": 40, "invented": 150}
EQUAL_PLACES = {  # (suffixes of layer names, rank): equal numbers of trained values, for the MLP 4% more
    "c_attn": (["c_attn"], 12),
    "attention": (["c_attn", "attn.c_proj"], 8),
    "MLP": (["c_fc", "mlp.c_proj"], 5),
    "all linear": (None, 3),
}
PLACE_RATES = {  # tried for each place, and for full fine-tuning on known facts
    ("known", "LoRA"): (1e-3, 3e-3, 1e-2, 3e-2),
    ("known", "full"): (1e-4, 2e-4, 5e-4, 1e-3),
    ("invented", "LoRA"): (3e-3, 1e-2, 3e-2),
}
BEST_PLACE_RATES = {  # the best of place_rates, used by lora_layers
    ("invented", "c_attn"): 1e-2,
    ("invented", "attention"): 1e-2,
    ("invented", "MLP"): 1e-2,
    ("invented", "all linear"): 1e-2,
    ("known", "c_attn"): 3e-3,
    ("known", "attention"): 3e-3,
    ("known", "MLP"): 1e-2,
    ("known", "all linear"): 1e-2,
    ("known", "full"): 2e-4,
}


@sweep(
    "place_rates",
    points=[
        {"task": task, "place": place, "lr": lr}
        for task in PLACE_STEPS
        for place in (*EQUAL_PLACES, "full")
        for lr in PLACE_RATES.get((task, "full" if place == "full" else "LoRA"), ())
    ],
    seeds=CHOICE,
)
def place_rates(point: dict, seed: int) -> dict:
    """Used to choose rates, at a separate seed. validation: `sentence_loss` on validation questions."""
    return {"validation": sentence_loss(tuned_in_place(point, seed), point["task"], "validation")}


@sweep(
    "lora_layers",
    points=[
        *({"task": task, "place": place, "lr": lr} for (task, place), lr in BEST_PLACE_RATES.items()),
        {"task": "known", "place": "all linear", "lr": BEST_PLACE_RATES["known", "attention"]},
    ],
)
def losses_by_place(point: dict, seed: int) -> dict:
    """LoRA with alpha = 2 r in each place, or full fine-tuning, at the best rate of place_rates.

    On known facts, all linear layers also at the attention's rate.
    loss: `sentence_loss`; forgetting: increase of the loss on 40 source texts, nats per token.
    """
    from course_utils.evaluation import mean_loss

    model = tuned_in_place(point, seed)
    return {
        "loss": sentence_loss(model, point["task"], "held_out"),
        "forgetting": mean_loss(model, source_examples()) - base_source_loss(),
    }


def sentence_loss(model, task: str, split: str) -> float:
    """Loss of answers in sentences, nats per token, on questions of the split, or on the invented ones."""
    from course_utils.evaluation import mean_loss

    if task == "invented":
        return mean_loss(model, question_examples("invented", "sentence"))
    return mean_loss(model, question_examples(split, "sentence", sample=150))


def tuned_in_place(point: dict, seed: int):
    """The pocket model tuned on the point's task, with LoRA in the point's place."""
    import torch

    from course_utils.methods.lora import apply_lora
    from course_utils.methods.lora_fast import speed_up
    from course_utils.models import load_model
    from course_utils.training import scored_lm_loss, train

    model, tokenizer = load_model("pocket")
    torch.manual_seed(seed)
    if point["place"] != "full":
        layers, rank = EQUAL_PLACES[point["place"]]
        speed_up(apply_lora(model, rank, 2.0 * rank, layers))
    label = f"{point['task']}, {point['place']}, lr {point['lr']:g}, seed {seed}"
    stream = batches_of_task(point["task"], seed, tokenizer.pad_token_id)
    settings = {"steps": few(PLACE_STEPS[point["task"]]), "lr": point["lr"], "seed": seed, "label": label}
    train(model, stream, loss_fn=scored_lm_loss, **settings)
    return model


def batches_of_task(task: str, seed: int, pad_id: int):
    """Endless batches of 16 questions of a task with answers in sentences."""
    from course_utils.data import batches

    split = {"known": "tune", "invented": "invented"}[task]
    return batches(question_examples(split, "sentence"), 16, seed, pad_id)


VARIANT_STEPS = 60
VARIANT_RATES = {  # (variant, alpha, ratio of LoRA+): rates tried
    ("LoRA", 16.0, 1.0): (3e-3, 1e-2, 3e-2),
    ("LoRA", 64.0, 1.0): (1e-3, 3e-3, 1e-2),
    ("LoRA+", 16.0, 16.0): (3e-4, 1e-3, 3e-3, 1e-2),
    ("DoRA", 16.0, 1.0): (3e-3, 1e-2, 3e-2),
    ("PiSSA", 16.0, 1.0): (1e-3, 3e-3, 1e-2, 3e-2),
}
BEST_VARIANT_RATES = {  # the best of variant_rates, used by lora_variants
    ("LoRA", 16.0, 1.0): 1e-2,
    ("LoRA", 64.0, 1.0): 3e-3,
    ("LoRA+", 16.0, 16.0): 3e-3,
    ("DoRA", 16.0, 1.0): 1e-2,
    ("PiSSA", 16.0, 1.0): 1e-2,
}


def _variant_points(rates: dict) -> list[dict]:
    """Points on the invented facts."""
    return [
        {"task": "invented", "variant": variant, "alpha": alpha, "ratio": ratio, "lr": lr}
        for (variant, alpha, ratio), found in rates.items()
        for lr in (found if isinstance(found, tuple) else (found,))
    ]


@sweep("variant_rates", points=_variant_points(VARIANT_RATES), seeds=CHOICE)
def variant_rates(point: dict, seed: int) -> dict:
    """Used to choose rates and alpha, at a separate seed. validation: `sentence_loss`."""
    return {"validation": sentence_loss(tuned_variant(point, seed), point["task"], "validation")}


@sweep("lora_variants", points=_variant_points(BEST_VARIANT_RATES), short=(2, 3, 4))
def losses_by_variant(point: dict, seed: int) -> dict:
    """Rank 8 on all linear layers, each variant at its best rate of variant_rates."""
    return {"loss": sentence_loss(tuned_variant(point, seed), point["task"], "held_out")}


def tuned_variant(point: dict, seed: int):
    """The pocket model tuned with a variant of LoRA at rank 8."""
    import torch

    from course_utils.methods import lora
    from course_utils.methods.lora_fast import speed_up
    from course_utils.methods.lora_variants import plus_groups, start_pissa, to_dora, train_groups
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    torch.manual_seed(seed)
    lora.apply_lora(model, 8, point["alpha"])
    if point["variant"] == "PiSSA":
        for layer in lora.lora_layers(model).values():
            start_pissa(layer)
    if point["variant"] == "DoRA":
        to_dora(model)
    speed_up(model)
    torch.manual_seed(seed)
    stream = batches_of_task(point["task"], seed, tokenizer.pad_token_id)
    train_groups(model, stream, few(VARIANT_STEPS), plus_groups(model, point["lr"], point["ratio"]))
    return model


@functools.cache
def source_examples():
    """Forty held-out source texts as the pocket model's examples."""
    from course_utils.data import encode_text, load_source_texts
    from course_utils.models import load_model

    tokenizer = load_model("pocket")[1]
    return [encode_text(tokenizer, text) for text in load_source_texts()[: few(40, 4)]]


@functools.cache
def base_source_loss():
    """The pocket model's loss on them before any tuning."""
    from course_utils.evaluation import mean_loss
    from course_utils.models import load_model

    return mean_loss(load_model("pocket")[0], source_examples())
