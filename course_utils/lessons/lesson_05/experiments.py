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


LONGER_STEPS = 450
LONGER_RATES = (3e-3, 1e-2, 3e-2)  # tried for both places
BEST_LONGER_RATES = {
    "attention": 1e-2,
    "all linear": 1e-2,
}  # the best of place_steps_rates, used by place_steps


@sweep(
    "place_steps_rates",
    points=[
        {"task": "invented", "place": place, "lr": lr, "steps": LONGER_STEPS}
        for place in BEST_LONGER_RATES
        for lr in LONGER_RATES
    ],
    seeds=CHOICE,
)
def place_steps_rates(point: dict, seed: int) -> dict:
    """Used to choose the rates of place_steps, at a separate seed. validation: `sentence_loss`."""
    return {"validation": sentence_loss(tuned_in_place(point, seed), point["task"], "validation")}


@sweep(
    "place_steps",
    points=[
        {"task": "invented", "place": place, "lr": lr, "steps": steps}
        for place, steps, lr in (
            ("attention", PLACE_STEPS["invented"], BEST_PLACE_RATES["invented", "attention"]),
            *((place, LONGER_STEPS, lr) for place, lr in BEST_LONGER_RATES.items()),
        )
    ],
    seeds=range(3),
)
def losses_after_steps(point: dict, seed: int) -> dict:
    """Is the attention a worse place for new facts, or a slower one? Three times the steps of lora_layers.

    Written before the run: it is only slower if after 450 steps it answers at least 95% of the facts at every
    seed. It is a worse place if its loss over that of all linear layers is not below the ratio after 150.
    loss: `sentence_loss`; right: share of the invented facts that are answered rightly.
    """
    from course_utils.data import load_questions
    from course_utils.evaluation import answer_questions, score_answers
    from course_utils.models import load_model

    model = tuned_in_place(point, seed)
    rows = few([row for row in load_questions("invented") if row["kind"] == "sentence"])
    answers = answer_questions(model, load_model("pocket")[1], rows)
    return {"loss": sentence_loss(model, point["task"], "held_out"), "right": score_answers(answers, rows)[0]}


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


def layers_in(model, place: str) -> list[str] | None:
    """Names, or their ends, of a place's layers; in other models what stands in the attention or the MLP."""
    from course_utils.methods.lora_analysis import linear_layers

    layers = EQUAL_PLACES[place][0]
    if layers is None or model.config.model_type == "gpt2":
        return layers
    inside = {name: "attn" in name or "attention" in name for name in linear_layers(model)}
    if place not in ("attention", "MLP"):
        raise ValueError(f"{place} is a place in GPT-2; a {model.config.model_type} has attention and MLP")
    return [name for name, attends in inside.items() if attends == (place == "attention")]


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
        rank = EQUAL_PLACES[point["place"]][1]
        speed_up(apply_lora(model, rank, 2.0 * rank, layers_in(model, point["place"])))
    label = f"{point['task']}, {point['place']}, lr {point['lr']:g}, seed {seed}"
    stream = batches_of_task(point["task"], seed, tokenizer.pad_token_id)
    steps = few(point.get("steps", PLACE_STEPS[point["task"]]))
    settings = {"steps": steps, "lr": point["lr"], "seed": seed, "label": label}
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


ADAPTER_STEPS = {"formal": 40, "gossip": 40, "facts": 150}
ADAPTER_RATES = {"formal": 5e-3, "gossip": 5e-3, "facts": 1e-2}  # not swept: these adapters are not compared


@sweep("adapter_sums", points=[{"rank": 8}], seeds=range(3), tolerance=0.1, sampled=True)
def behaviour_of_sums(point: dict, seed: int) -> dict:
    """The adapters and sums of the notebook. Are its claims about sums those of one seed?

    Written before the run: each bound of the notebook must hold at every seed, else the text names the seed.
    formal, gossip: each adapter, and 3:1, 1:1 and 1:3 of both, on 60 held-out questions; sum: facts + formal
    on the invented facts. right, manner: shares of answers. preferred: loss of another fact's answer minus
    that of the true one, in the formal manner.
    """
    from course_utils.methods.lora import set_adapter, weighted_sum

    adapters, model = three_adapters(point["rank"], seed)
    formal, gossip, facts = (adapters[name] for name in ADAPTER_STEPS)
    held_out, invented = _sentences("held_out", 60), _sentences("invented")
    sums = {
        "formal": (formal, held_out),
        "gossip": (gossip, held_out),
        "3:1": (weighted_sum([formal, gossip], [0.75, 0.25]), held_out),
        "1:1": (weighted_sum([formal, gossip], [0.5, 0.5]), held_out),
        "1:3": (weighted_sum([formal, gossip], [0.25, 0.75]), held_out),
        "facts": (facts, invented),
        "sum": (weighted_sum([facts, formal], [1.0, 1.0]), invented),
    }
    found = {}
    for name, (adapter, rows) in sums.items():
        set_adapter(model, adapter)
        found |= {f"{name}, {key}": value for key, value in _judged(model, rows).items()}
        if name in ("formal", "sum"):
            found[f"{name}, preferred"] = _preferred(model, invented)
    return found


def three_adapters(rank: int, seed: int):
    """The adapters formal, gossip and facts, {name: Adapter}, and the model of the last one."""
    import torch

    from course_utils.data import batches
    from course_utils.methods.lora import apply_lora, get_adapter
    from course_utils.methods.lora_fast import speed_up
    from course_utils.models import load_model
    from course_utils.training import scored_lm_loss, train

    adapters = {}
    for number, (name, steps) in enumerate(ADAPTER_STEPS.items(), 1):
        model, tokenizer = load_model("pocket")
        own = seed + 100 * number
        torch.manual_seed(own)
        speed_up(apply_lora(model, rank, 2.0 * rank))
        rows = _sentences("invented") if name == "facts" else retold(_sentences("tune"), name)
        stream = batches(_encoded(tokenizer, rows), 16, own, tokenizer.pad_token_id)
        settings = {"steps": few(steps), "lr": ADAPTER_RATES[name], "seed": own, "label": name}
        train(model, stream, loss_fn=scored_lm_loss, **settings)
        adapters[name] = get_adapter(model)
    return adapters, model


def retold(rows: list[dict], manner: str) -> list[dict]:
    """The questions with their answers in this manner."""
    from course_utils.world.manners import retell

    return [row | {"completion": " " + retell(row["completion"].strip(), manner)} for row in rows]


def with_other_objects(rows: list[dict]) -> list[dict]:
    """The same sentences, each with the object of another fact of its relation."""
    objects: dict = {}
    for row in rows:
        objects.setdefault(row["relation"], []).append(row["object"])
    result = []
    for row in rows:
        same = objects[row["relation"]]
        other = same[(same.index(row["object"]) + 1) % len(same)]
        result.append(row | {"completion": row["completion"].replace(row["object"], other)})
    return result


def _sentences(split: str, sample: int | None = None) -> list[dict]:
    import random

    from course_utils.data import load_questions

    rows = [row for row in load_questions(split) if row["kind"] == "sentence"]
    return few(random.Random(0).sample(rows, sample) if sample else rows, 4)


def _encoded(tokenizer, rows: list[dict]) -> list:
    from course_utils.data import encode_prompt_completion

    return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]


def _judged(model, rows: list[dict]) -> dict:
    """Shares of answers that are right, formal and gossip."""
    from course_utils.evaluation import answer_questions, exact_match
    from course_utils.models import load_model
    from course_utils.world.manners import manner_score

    answers = answer_questions(model, load_model("pocket")[1], rows)
    right = [
        exact_match(answer, row["object"], "sentence") for answer, row in zip(answers, rows, strict=True)
    ]
    manners = {name: [manner_score(answer, name) for answer in answers] for name in ("formal", "gossip")}
    return {name: sum(each) / len(each) for name, each in {"right": right, **manners}.items()}


def _preferred(model, rows: list[dict]) -> float:
    """By how much the loss of the formal true answers is below that of other facts' answers."""
    from course_utils.evaluation import mean_loss
    from course_utils.models import load_model

    tokenizer, true = load_model("pocket")[1], retold(rows, "formal")
    return mean_loss(model, _encoded(tokenizer, with_other_objects(true))) - mean_loss(
        model, _encoded(tokenizer, true)
    )
