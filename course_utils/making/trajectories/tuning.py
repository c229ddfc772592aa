"""Supervised training: all weights, adapters, prompts, conversations."""

import itertools
import math

import torch

from course_utils.chatml import add_chat_tokens, encode_conversation, mask_prompt_tokens
from course_utils.data import batches, encode, encode_prompt_completion, load_conversations, load_questions
from course_utils.evaluation import mean_loss, source_loss
from course_utils.lessons.lesson_02 import loop, measures
from course_utils.lessons.lesson_07.small_prompts import SoftPrompt, prompt_loss, with_prompt
from course_utils.lessons.lesson_08.experiments import random_rows
from course_utils.lessons.lesson_09.mixture import one_vote, tuning_loss
from course_utils.making.trajectories.pieces import Noted, chat_start, columns, every, moved, weights
from course_utils.making.trajectories.stored import digest, trajectory
from course_utils.methods import lora, lora_variants, packing, prompt_tuning, quantization, sft
from course_utils.methods.lora_fast import speed_up
from course_utils.models import load_model
from course_utils.training import adamw, fast_lm_loss, lm_loss, scored_lm_loss, train

ROWS, BATCH = 40, 8
WORDS = "Question: Which city is the capital of Chile?\nAnswer: Santiago\n"


def questions_of(tokenizer, split="tune", count=ROWS):
    rows = every(load_questions(split), count)
    return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in rows]


def chats_of(count=ROWS):
    return [row["messages"] for row in every(load_conversations("train"), count)]


def written_out(examples):
    """A digest of each example's ids and labels."""
    return [digest([example.input_ids, example.labels]) for example in examples]


def trained_on(model, stream, steps, **options):
    """The result of `train`: {"exact": batches, "close": losses, gradient norms, weight changes}."""
    stream, before = Noted(stream), weights(model)
    history = train(model, stream, steps=steps, **options)
    names = ("loss", "grad_norm", "lr", "held_out")
    close = {name: row for name, row in columns(history.rows, *names).items() if row}
    return {"exact": {"batches": stream.digests}, "close": close | {"moved": moved(model, before)}}


def joined(parts: dict) -> dict:
    """Several results as one, each name prefixed by its part's."""
    return {
        kind: {
            f"{part}: {name}": value for part, found in parts.items() for name, value in found[kind].items()
        }
        for kind in ("exact", "close")
    }


@trajectory("full", train, mean_loss)
def _full():
    model, tokenizer = load_model("pocket")
    examples, held_out = questions_of(tokenizer), questions_of(tokenizer, "held_out", 24)
    first = next(batches(examples, BATCH, 1, tokenizer.pad_token_id))
    losses = [loss_fn(model, first)[0].item() for loss_fn in (lm_loss, fast_lm_loss, scored_lm_loss)]
    found = trained_on(
        model,
        batches(examples, BATCH, 0, tokenizer.pad_token_id),
        steps=10,
        lr=2e-4,
        accumulate=2,
        evaluate=lambda model: {"held_out": mean_loss(model, held_out)},
        eval_every=5,
    )
    exact = {"examples": written_out(examples), "held out": written_out(held_out)}
    return {"exact": exact | found["exact"], "close": {"losses": losses} | found["close"]}


@trajectory("plain_loop", loop.train_plain, measures.yardstick)
def _plain_loop():
    model, tokenizer = load_model("pocket")
    found = {}
    for name, optimizer, steps, clip in (
        ("AdamW by hand", loop.AdamWByHand(model.parameters(), 2e-4), 4, 1.0),
        ("SGD", torch.optim.SGD(model.parameters(), 0.1), 3, math.inf),
        ("AdamW", adamw(model, 2e-4), 3, 1.0),
    ):
        stream, before = Noted(measures.replay_stream(tokenizer, 0, 2)), weights(model)
        losses, norms = loop.train_plain(
            model, iter(stream), optimizer, steps, optimizer.param_groups[0]["lr"], clip=clip, accumulate=2
        )
        close = {"loss": losses, "grad_norm": norms, "moved": moved(model, before)}
        found[name] = {"exact": {"batches": stream.digests}, "close": close}
    ruler = measures.yardstick(tokenizer, questions=8, texts=4, facts=8)
    rows = [*ruler.validation, *ruler.held_out, *ruler.texts, *ruler.statements]
    measured = {name: [value] for name, value in ruler.measure(model).items()}
    return joined(found | {"yardstick": {"exact": {"rows": written_out(rows)}, "close": measured}})


def with_lora(rank=4, targets=None, fast=False):
    model, tokenizer = load_model("pocket")
    torch.manual_seed(0)
    lora.apply_lora(model, rank, 2.0 * rank, targets)
    stream = batches(questions_of(tokenizer), BATCH, 0, tokenizer.pad_token_id)
    return speed_up(model) if fast else model, stream


@trajectory("lora", lora.LoRALinear)
def _lora_layers():
    model, stream = with_lora()
    found = {"plain": trained_on(model, stream, 10, lr=3e-3, loss_fn=scored_lm_loss)}
    model, stream = with_lora(fast=True)
    found["fast"] = trained_on(model, stream, 4, lr=3e-3, loss_fn=scored_lm_loss)
    model, stream = with_lora(12, ["c_attn"])
    found["c_attn"] = trained_on(model, stream, 4, lr=3e-3)
    batch = next(stream)
    lora.merge_lora(model)
    found["merged"] = {"exact": {}, "close": {"loss": [lm_loss(model, batch)[0].item()]}}
    return joined(found)


@trajectory("lora_variants", lora_variants.train_groups)
def _variants():
    found = {}
    for name, ratio in (("LoRA+", 16.0), ("DoRA", 1.0), ("PiSSA", 1.0)):
        model, stream = with_lora()
        if name == "DoRA":
            lora_variants.to_dora(model)
        if name == "PiSSA":
            for layer in lora.lora_layers(model).values():
                lora_variants.start_pissa(layer)
        stream, before = Noted(stream), weights(model)
        groups = lora_variants.plus_groups(model, 1e-3, ratio)
        losses = lora_variants.train_groups(model, iter(stream), 4, groups)
        # the signs of PiSSA's directions depend on the machine, and so do their norms
        close = {"loss": losses, "moved": moved(model, before)}
        found[name] = {"exact": {"batches": stream.digests}, "close": close}
    return joined(found)


@trajectory("qlora", quantization.quantize_model, quantization.quantize)
def _qlora():
    model, tokenizer = load_model("pocket")
    W = model.transformer.h[0].mlp.c_fc.weight.detach()
    tables = {name: quantization.relative_error(W, table) for name, table in quantization.LEVELS.items()}
    codes, scales = quantization.quantize_packed(W, "nf4")
    back = quantization.dequantize_packed(codes, scales, "nf4")[: W.numel()]
    second = quantization.dequantize_scales(*quantization.quantize_scales(scales))
    close = {
        "relative errors": list(tables.values()),
        "scales": [scales.mean().item(), (second - scales).norm().item()],
        "NF4": [(back - W.flatten()).norm().item(), quantization.bits_per_parameter()],
    }
    held_out = questions_of(tokenizer, "held_out", 24)
    quantization.quantize_model(model)
    close["quantised"] = [mean_loss(model, held_out)]
    torch.manual_seed(0)
    speed_up(lora.apply_lora(model, 4, 8.0))
    stream = batches(questions_of(tokenizer), BATCH, 0, tokenizer.pad_token_id)
    found = trained_on(model, stream, 10, lr=3e-3, loss_fn=scored_lm_loss)
    quantization.merge_quantized(model)
    close["merged"] = [mean_loss(model, held_out)]
    codes = {"codes": digest(codes.tolist()), "tables": list(tables)}
    return {"exact": codes | found["exact"], "close": close | found["close"]}


@trajectory("prompts", prompt_tuning.PromptTuning, prompt_tuning.PrefixTuning, SoftPrompt)
def _prompts():
    found = {}
    for name in ("prompt", "random prompt", "prefix", "lesson 07"):
        model, tokenizer = load_model("pocket")
        torch.manual_seed(0)
        start = prompt_tuning.prompt_from_words(model, encode(tokenizer, WORDS), 8)
        if name == "random prompt":
            start = prompt_tuning.random_prompt(model, 4)
        if name == "prefix":
            model = prompt_tuning.PrefixTuning(model, prompt_tuning.prefix_of_prompt(model, start))
        elif name == "lesson 07":
            model = SoftPrompt(model, start, with_prompt)
        else:
            model = prompt_tuning.PromptTuning(model, start)
        loss_fn = prompt_loss if name == "lesson 07" else fast_lm_loss
        stream = batches(questions_of(tokenizer), BATCH, 0, tokenizer.pad_token_id)
        found[name] = trained_on(model, stream, 4, lr=0.03, weight_decay=0.0, loss_fn=loss_fn)
    return joined(found)


@trajectory("conversations", sft.instruction_tune, encode_conversation)
def _on_conversations():
    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    chats = chats_of()
    examples = sft.encode_all(tokenizer, chats)
    texts = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in chats]
    found_by_search = [
        mask_prompt_tokens(torch.tensor(example.input_ids), tokenizer).tolist() for example in examples
    ]
    exact = {
        "template": [digest(text) for text in texts],
        "examples": written_out(examples),
        "asked": written_out([encode_conversation(tokenizer, chat[:-1], True) for chat in chats[:8]]),
        "mask": [digest(labels) for labels in found_by_search],
    }
    before = weights(model)
    options = {"batch_size": BATCH, "lr": 3e-4}
    history = sft.instruction_tune(model, tokenizer, chats, steps=10, **options)
    close = columns(history.rows, "loss", "grad_norm") | {"moved": moved(model, before)}
    exact["tokens"] = [row["tokens"] for row in history.rows]
    history = sft.instruction_tune(model, tokenizer, chats, steps=2, everything=True, **options)
    close["loss on everything"] = history.column("loss")[1]
    close["source"] = [source_loss(model, tokenizer)]
    return {"exact": exact, "close": close}


@trajectory("chat_lora", sft.prepare_lora, sft.train_token_rows)
def _chat_lora():
    model, tokenizer = load_model("pocket")
    torch.manual_seed(0)
    sft.prepare_lora(model, tokenizer)
    examples = sft.encode_all(tokenizer, chats_of())
    return trained_on(
        speed_up(model),
        batches(examples, BATCH, 0, tokenizer.pad_token_id),
        8,
        lr=3e-3,
        loss_fn=scored_lm_loss,
    )


@trajectory("packing", packing.pack_examples)
def _packed():
    model, tokenizer = chat_start()
    examples = sft.encode_all(tokenizer, chats_of(16))
    stream = random_rows(examples, 4, 0, tokenizer.pad_token_id)
    return trained_on(model, stream, 6, lr=3e-4, loss_fn=packing.packed_lm_loss)


@trajectory("mixture", tuning_loss)
def _mixture():
    model, tokenizer = chat_start()
    examples = sft.encode_all(tokenizer, chats_of())
    stream = batches(examples, BATCH, 0, tokenizer.pad_token_id)
    first = next(stream)
    plain, count = tuning_loss(model, first)
    found = trained_on(
        model,
        itertools.chain([first], stream),
        5,
        lr=3e-4,
        loss_fn=lambda model, batch: tuning_loss(model, batch, weigh=one_vote),
    )
    return {
        "exact": found["exact"] | {"targets": int(count)},
        "close": found["close"] | {"plain": [plain.item()]},
    }
