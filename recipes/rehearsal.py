"""The dry run of qlora.py: data, masks, memory, hours, price, and two steps of a small model."""

import argparse
import math
import random
import tempfile
from pathlib import Path

import qlora
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from course_utils.budget import (
    CARDS,
    CONTEXT,
    FRAGMENTS,
    GIB,
    KNOWN_MODELS,
    UTILISATION,
    load_config,
    training_flop,
    training_need,
    training_precision,
    training_tflops,
)
from course_utils.chatml import IM_END, IM_START, TEMPLATE, loss_text
from course_utils.data import DATA, IGNORE, Example

QWEN_9B = {  # the text part of the recipe's base; three layers in four have linear attention
    "model_type": "qwen3_5_text",
    "vocab_size": 248320,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 262144,
}
FEW_STEPS = 100
READING = 5e8  # assumed bytes per second at which weights are read from a disk


def plan(chosen):
    """All without the weights: prints the arguments, the data with its masks, memory, time and cost."""
    if chosen.card not in CARDS:
        raise SystemExit(f"--card {chosen.card!r} is unknown: choose one of {', '.join(CARDS)}")
    config = find_config(chosen.base)
    trainer = qlora.arguments(chosen, chosen.cards)
    tokenizer, owner = find_tokenizer(chosen)
    adapter = qlora.lora(chosen.rank)
    print(f"weights    {'NF4, its scales quantised, too' if chosen.bits == 4 else '16 bits'}")
    print(f"adapter    LoRA, rank {adapter.r}, alpha {adapter.lora_alpha}, on all linear layers")
    print(
        f"batch      {chosen.cards} card(s) x {trainer.per_device_train_batch_size} x "
        f"{trainer.gradient_accumulation_steps} accumulated = {chosen.batch} rows"
    )
    if owner != chosen.base:
        print(f"tokenizer  {Path(owner).name}'s, since {chosen.base}'s is not on disk: counts will differ")
    rows, kept = show_data(chosen, tokenizer)
    lengths = [len(row["input_ids"]) for row in rows]
    padded = padded_tokens(lengths, chosen.per_card, chosen.seed)
    whole = math.ceil(len(rows) / chosen.batch)
    steps = chosen.steps if chosen.steps > 0 else math.ceil(whole * chosen.epochs)
    print(f"steps      {steps}, rate {chosen.lr:g}, {trainer.lr_scheduler_type.value}")
    if steps < FEW_STEPS:
        print(
            f"WARNING    {steps} steps are few: with fewer than {FEW_STEPS} at this rate, little is learnt. "
            "Take more epochs, a smaller --batch, or more data."
        )
    if training_precision(chosen.card) == "fp32":
        print(
            f"WARNING    a {chosen.card} has no bf16: there the recipe computes in fp32, several times "
            "slower and with more memory. The lines below assume this."
        )
    trained_tokens = padded / len(rows) * steps * chosen.batch
    show_need(chosen, config, adapter, max(lengths), trained_tokens, evaluated(chosen, kept))
    rehearse(chosen, config, tokenizer, rows)


def show_data(chosen, tokenizer):
    """Read the data and print counts and masks. Returns the rows: (training, held-out)."""
    conversations, rows = qlora.read_data(chosen.data, tokenizer, chosen.length)
    sizes = [len(row["input_ids"]) for row in rows]
    learnt = sum(label != IGNORE for row in rows for label in row["labels"])
    split = f", in {len(rows)} rows" if len(rows) != len(conversations) else ""
    print(f"data       {len(conversations)} conversations{split}, {sum(sizes)} tokens, {learnt} with loss")
    if split:
        print("           the template renders earlier answers otherwise: each answer has a row of its own")
    print(f"longest    {max(sizes)} tokens")
    print("masks      the loss is between the brackets:")
    print(loss_text(tokenizer, Example(**rows[0])).rstrip())
    kept = []
    if chosen.held_out:
        others, kept = qlora.read_data(chosen.held_out, tokenizer, chosen.length)
        shared = sum(messages in conversations for messages in others)
        print(f"held out   {len(others)} conversations, {shared} of them in the training data too")
    return rows, kept


def padded_tokens(lengths, per_card, seed):
    """Tokens computed in an epoch: random batches, every row as long as its batch's longest."""
    order = random.Random(seed).sample(lengths, len(lengths))
    batches = [order[first : first + per_card] for first in range(0, len(order), per_card)]
    return sum(len(batch) * max(batch) for batch in batches)


def evaluated(chosen, kept):
    """Tokens computed in evaluations: the held-out rows, after every epoch."""
    lengths = [len(row["input_ids"]) for row in kept]
    passes = max(1, int(chosen.epochs)) if chosen.steps < 0 else 1
    return passes * padded_tokens(lengths, chosen.per_card, chosen.seed)


def find_tokenizer(chosen):
    """(the base's tokenizer if on disk, else --tokenizer's or the pocket model's; its owner)."""
    where = {"local_files_only": True, "trust_remote_code": False}
    try:
        found, owner = AutoTokenizer.from_pretrained(chosen.base, **where), chosen.base
    except (OSError, ValueError):
        owner = chosen.tokenizer or DATA / "pocket-gpt2"
        found = AutoTokenizer.from_pretrained(owner, **where)
        if found.chat_template is None:  # the pocket model's
            found.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
            found.chat_template, found.eos_token = TEMPLATE, IM_END
        found.model_max_length = max(chosen.length, found.model_max_length)
    stops = qlora.stops_of(owner, local_files_only=True)
    return qlora.chat_tokenizer(found, owner, stops)[0], owner


def find_config(base):
    """The configuration of the recipe's base, a model in budget.py, a folder, or one in the hub's cache."""
    name = base.rpartition("/")[2].removesuffix("-Instruct")
    if base == qlora.BASE:
        return load_config(QWEN_9B)
    try:
        return load_config(name if name in KNOWN_MODELS and not Path(base).is_dir() else base)
    except ValueError as error:
        raise SystemExit(f"--base {base}: {error}") from None


def show_need(chosen, config, adapter, longest, trained_tokens, evaluated_tokens):
    """Estimates: memory by part against the card's, hours and price."""
    from peft import get_peft_model

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    trained = get_peft_model(model, adapter).get_nb_trainable_parameters()[0]
    method, precision = "qlora" if chosen.bits == 4 else "lora", training_precision(chosen.card)
    try:  # need's own adapter is not counted, and its rank may not exceed the smallest layer
        settings = (method, chosen.per_card, longest, precision, min(chosen.rank, 16))
        need = training_need(config, *settings, checkpointing=True)
    except ValueError as error:
        raise SystemExit(f"--base {chosen.base}: {error}") from None
    width = 2 if chosen.bits == 4 else 4  # TRL keeps the adapter of a 4-bit base in bf16, PEFT others in fp32
    parts = {
        "weights": need.weights - 4 * need.trainable,
        "step": max(need.step, need.saved),
        "adapter": width * trained,
        "gradients": (2 if chosen.cards > 1 else 1) * width * trained,  # DDP's buckets are a second copy
        "moments": 2 * width * trained,
    }
    used, size = sum(parts.values()) * FRAGMENTS + CONTEXT, CARDS[chosen.card][0]
    print(f"trained    {trained:,} of {need.parameters:,} parameters")
    print("memory     " + ", ".join(f"{name} {part / GIB:.2f}" for name, part in parts.items()) + " GiB")
    verdict = "fits" if used <= size * GIB else "does NOT fit"
    print(f"card       {used / GIB:.1f} GiB with overheads: {verdict} a {chosen.card} ({size} GiB)")
    speed = training_tflops(chosen.card) * 1e12 * UTILISATION * chosen.cards
    seconds = {
        "training": training_flop(need.parameters, trained_tokens, frozen=True, checkpointing=True) / speed,
        "evaluation": 2 * need.parameters * evaluated_tokens / speed,
        "loading": 2 * need.parameters / READING,  # 16 bit on disk
    }
    print("time       " + ", ".join(f"{name} {value / 3600:.2g}" for name, value in seconds.items()) + " h")
    hours = sum(seconds.values()) / 3600
    cost = hours * chosen.cards * chosen.price
    print(f"estimate   {hours:.2g} h on {chosen.cards} of them, {cost:.2f} at {chosen.price:g} an hour each")


def small(config, words):
    """The configuration's architecture with few narrow layers and at least this many rows of embeddings."""
    settings = config.to_dict()
    kinds = settings.pop("layer_types", None) or []
    sizes = {
        "num_hidden_layers": 4 if len({*kinds[:4]}) > 1 else 2,  # all kinds of layers
        "hidden_size": 64,
        "num_attention_heads": 4,
        "vocab_size": words,
    }
    for name, value in sizes.items():
        settings[config.attribute_map.get(name, name)] = value
    optional = {"num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 128, "linear_num_key_heads": 2}
    optional |= {"linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
    settings |= {name: value for name, value in optional.items() if name in settings}
    return type(config).from_dict(settings)


def rehearse(chosen, config, tokenizer, rows, steps=2):
    """Two steps of the real code on the four shortest rows and a small random model."""
    few = sorted(rows, key=lambda row: len(row["input_ids"]))[:4]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        model = AutoModelForCausalLM.from_config(small(config, max(config.vocab_size, len(tokenizer))))
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
        here = {"base": str(base), "out": Path(folder) / "adapter", "held_out": None}
        here |= {"steps": steps, "batch": 2, "per_card": 2}
        losses = qlora.train(argparse.Namespace(**vars(chosen) | here), {"train": few})
    shown = ", ".join(f"{loss:.3f}" for loss in losses)
    kind, count = type(model).__name__, model.num_parameters()
    print(f"rehearsal  {len(losses)} steps of a {kind} with {count:,} values: losses {shown}")
