"""QLoRA on a model of about 7 billion parameters, with PEFT, TRL and bitsandbytes: on one card or on several.

    python recipes/qlora.py --data my.jsonl --dry-run                # no GPU, no network, no weights
    accelerate launch --config_file recipes/ddp.yaml recipes/qlora.py --data my.jsonl --out adapter

A dry run makes the arguments, checks and tokenises the data and says what it will take. Without --dry-run it
trains, and goes on where an earlier run in the same folder stopped.
"""

import argparse
import math
import os
from dataclasses import asdict
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from course_utils.budget import (
    CARDS,
    CONTEXT,
    FRAGMENTS,
    GIB,
    KNOWN_MODELS,
    UTILISATION,
    load_config,
    training_need,
)
from course_utils.chatml import IM_END, IM_START, encode_conversation, loss_text, marker_ids
from course_utils.chatml import TEMPLATE as CHATML
from course_utils.data import DATA, IGNORE, load_conversations

RECOMPUTED = "activation" if hasattr(SFTConfig, "activation_checkpointing") else "gradient"  # since 5.24
BF16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def options(argv=None):
    parser = argparse.ArgumentParser(prog="qlora.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", required=True, help='conversations to train on, a line each: {"messages": [...]}')
    add("--held-out", help="conversations to evaluate on after every epoch")
    add("--out", type=Path, default=Path("adapter"), help="folder of the adapter and of checkpoints")
    add("--base", default="Qwen/Qwen2.5-7B", help="a folder or a hub id, with safetensors weights")
    add("--bits", type=int, choices=(4, 16), default=4, help="of the base's weights; 16 is plain LoRA")
    add("--rank", type=int, default=16)
    add("--lr", type=float, default=2e-4)
    add("--epochs", type=float, default=2)
    add("--steps", type=int, default=-1, help="stop after so many steps, whatever the epochs")
    add("--batch", type=int, default=32, help="conversations a step, over all cards")
    add("--per-card", type=int, default=4, help="conversations at once on a card")
    add("--length", type=int, default=1024, help="tokens; longer conversations are refused")
    add("--seed", type=int, default=0)
    add("--dry-run", action="store_true")
    add("--cards", type=int, default=1, help="dry run: the number of cards to plan for")
    add("--card", choices=CARDS, default="RTX 4090", help="dry run: the kind of card to plan for")
    add("--price", type=float, default=1.0, help="dry run: of a card's hour")
    add("--tokenizer", help="dry run: take this one where the base's is not on disk")
    return parser.parse_args(argv)


def quantization(chosen):
    """NF4, the scales quantised again, products in 16 bit; None for 16-bit weights."""
    if chosen.bits == 16:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if BF16 else torch.float32,
    )


def adapter(chosen):
    """LoRA on all linear layers but the head."""
    return LoraConfig(
        r=chosen.rank, lora_alpha=2 * chosen.rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def arguments(chosen, cards):
    """The trainer's: --batch conversations a step, however many cards share them."""
    accumulate, left = divmod(chosen.batch, chosen.per_card * cards)
    if left or not accumulate:
        raise SystemExit(
            f"--batch {chosen.batch} is not a multiple of --per-card {chosen.per_card} times {cards} card(s)"
        )
    return SFTConfig(
        output_dir=str(chosen.out),
        per_device_train_batch_size=chosen.per_card,
        per_device_eval_batch_size=chosen.per_card,
        gradient_accumulation_steps=accumulate,
        num_train_epochs=chosen.epochs,
        max_steps=chosen.steps,
        learning_rate=chosen.lr,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,  # below 1: a share of all steps
        max_length=None,  # nothing is cut off: what is too long has been refused
        bf16=BF16 or chosen.dry_run,
        use_cpu=not torch.cuda.is_available(),
        **{
            f"{RECOMPUTED}_checkpointing": True,
            f"{RECOMPUTED}_checkpointing_kwargs": {"use_reentrant": False},
        },
        ddp_find_unused_parameters=False,
        eval_strategy="epoch" if chosen.held_out else "no",
        save_strategy="steps",
        save_steps=0.1,
        save_total_limit=2,
        logging_steps=1 if 0 < chosen.steps <= 10 else 10,
        report_to="none",
        seed=chosen.seed,
    )


def conversations(path, tokenizer, length):
    """The file's conversations and their examples: loss on the answers. SystemExit says what is at fault."""
    try:
        rows = [row["messages"] for row in load_conversations(path)]
        examples = [encode_conversation(tokenizer, messages) for messages in rows]
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from None
    longest = max(range(len(rows)), key=lambda index: len(examples[index].input_ids))
    if len(examples[longest].input_ids) > length:
        raise SystemExit(
            f"{path}: conversation {longest + 1} has {len(examples[longest].input_ids)} tokens, more than "
            f"--length {length}: shorten it, or raise --length and look at the memory again"
        )
    return rows, examples


def chat_tokenizer(tokenizer, base):
    """ChatML's template, for a tokenizer that has its markers; SystemExit for one that has not."""
    if not {IM_START, IM_END} <= tokenizer.get_vocab().keys():
        raise SystemExit(
            f"{base} has no tokens {IM_START} and {IM_END}: choose a base that has them (as Qwen2.5 has), "
            "or add them and train their rows first, as in lessons 08 and 09"
        )
    tokenizer.chat_template = CHATML
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


# ------------------------------------------------------------------------------------------- dry run


def plan(chosen):
    """Everything but the weights: prints the arguments, the data with its masks, memory, time and cost."""
    lora, config = adapter(chosen), arguments(chosen, chosen.cards)
    if stored := quantization(chosen):
        print(
            f"weights    {stored.bnb_4bit_quant_type}, double quantisation: "
            f"{stored.bnb_4bit_use_double_quant}"
        )
    print(f"adapter    LoRA, rank {lora.r}, alpha {lora.lora_alpha:g}, on {lora.target_modules} layers")
    print(
        f"batch      {chosen.cards} card(s) x {config.per_device_train_batch_size} x "
        f"{config.gradient_accumulation_steps} accumulated = {chosen.batch} conversations"
    )
    tokens, rows = show_data(chosen)
    steps = chosen.steps if chosen.steps > 0 else math.ceil(rows / chosen.batch * chosen.epochs)
    print(f"steps      {steps}, rate {config.learning_rate:g}, {config.lr_scheduler_type.value}")
    show_need(chosen, tokens * steps * chosen.batch / rows)


def show_data(chosen):
    """Checks and tokenises the data; prints counts, and where the loss is. (tokens, conversations)"""
    tokenizer, where = find_tokenizer(chosen)
    rows, examples = conversations(chosen.data, tokenizer, chosen.length)
    tokens = sum(len(example.input_ids) for example in examples)
    learnt = sum(label != IGNORE for example in examples for label in example.labels)
    longest = max(len(example.input_ids) for example in examples)
    print(f"data       {len(rows)} conversations, {tokens} tokens, {learnt} with loss, longest {longest}")
    print(f"tokenizer  {where}")
    agree = sum(as_served(tokenizer, *pair) for pair in zip(rows, examples, strict=True))
    print(f"template   gives the same tokens and masks for {agree} of {len(rows)}")
    print("masks      the loss is between the brackets:")
    print(loss_text(tokenizer, examples[0]).rstrip())
    if chosen.held_out:
        kept, _ = conversations(chosen.held_out, tokenizer, chosen.length)
        shared = sum(messages in rows for messages in kept)
        print(f"held out   {len(kept)} conversations, {shared} of them in the training data too")
    return tokens, len(rows)


def as_served(tokenizer, messages, example):
    """Does the template give the example's tokens and mask? Not where somebody typed a marker."""
    messages = [{**message, "content": message["content"].strip()} for message in messages]
    theirs = tokenizer.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
    mask = [int(label != IGNORE) for label in example.labels]
    return (theirs["input_ids"], theirs["assistant_masks"]) == (example.input_ids, mask)


def find_tokenizer(chosen):
    """The base's own where it is on disk, else --tokenizer's or the pocket model's, and a word about it."""
    try:
        own = AutoTokenizer.from_pretrained(chosen.base, local_files_only=True, trust_remote_code=False)
        return chat_tokenizer(own, chosen.base), f"{chosen.base}'s own"
    except (OSError, ValueError):
        source = chosen.tokenizer or DATA / "pocket-gpt2"
    other = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    other.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
    other.model_max_length = max(chosen.length, other.model_max_length)
    word = f"{Path(source).name}'s, since {chosen.base}'s is not on disk: counts will differ"
    return chat_tokenizer(other, source), word


def show_need(chosen, tokens):
    """Memory by part against the card's, and hours and price of so many tokens: estimates."""
    config = find_config(chosen.base)
    method = "qlora" if chosen.bits == 4 else "lora"
    need = training_need(
        config, method, chosen.per_card, chosen.length, "mixed", chosen.rank, checkpointing=True
    )
    trained = count_adapter(config, adapter(chosen))
    width = 2 if chosen.bits == 4 else 4  # TRL keeps the adapter of a 4-bit base in bf16, PEFT others in fp32
    parts = {
        "weights": need.weights - 4 * need.trainable,  # need's own adapter is on fewer layers
        "adapter": width * trained,
        "gradients": width * trained,
        "moments": 2 * width * trained,
        "step": need.step,
    }
    used = sum(parts.values()) * FRAGMENTS + CONTEXT
    size, tflops = CARDS[chosen.card]
    print(f"trained    {trained:,} of {need.parameters:,} parameters")
    print("memory     " + ", ".join(f"{name} {part / GIB:.2f}" for name, part in parts.items()) + " GiB")
    verdict = "fits" if used <= size * GIB else "does NOT fit"
    print(f"card       {used / GIB:.1f} GiB with overheads: {verdict} a {chosen.card} ({size} GiB)")
    flop = tokens * need.parameters * (2 + 2 + 2)  # forward, backward through frozen weights, recomputation
    hours = flop / (tflops * 1e12 * UTILISATION * chosen.cards) / 3600
    cost = hours * chosen.cards * chosen.price
    print(f"estimate   {hours:.2f} h on {chosen.cards} of them, {cost:.2f} at {chosen.price:g} an hour each")


def find_config(base):
    """Of a folder with a config.json, of a model that memory.py knows, or from the hub's cache."""
    name = base.rpartition("/")[2]
    try:
        return load_config(name if name in KNOWN_MODELS and not Path(base).is_dir() else base)
    except ValueError as error:
        raise SystemExit(f"--base {base}: {error}") from None


def count_adapter(config, lora):
    """The adapter's parameters, by PEFT itself on a model without values."""
    from peft import get_peft_model

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return get_peft_model(model, lora).get_nb_trainable_parameters()[0]


# ------------------------------------------------------------------------------------------ training


def train(chosen):
    """Trains, and writes the adapter and the tokenizer with its template to --out."""
    import datasets

    config = arguments(chosen, int(os.environ.get("WORLD_SIZE", 1)))
    print(f"process {config.process_index} of {config.world_size} on {config.device}")  # which is now its own
    stored = quantization(chosen)
    own = AutoTokenizer.from_pretrained(chosen.base, trust_remote_code=False)
    tokenizer = chat_tokenizer(own, chosen.base)
    model = AutoModelForCausalLM.from_pretrained(
        chosen.base,
        dtype=torch.bfloat16 if BF16 else torch.float32,
        quantization_config=stored,
        device_map=None,  # to this process's card, not spread over all
        trust_remote_code=False,
    )
    model.generation_config.eos_token_id = sorted({tokenizer.eos_token_id, marker_ids(tokenizer)[1]})
    files = {"train": chosen.data, "held out": chosen.held_out}
    sets = {}
    for name, path in files.items():
        if path:
            _, examples = conversations(path, tokenizer, chosen.length)
            sets[name] = datasets.Dataset.from_list([asdict(example) for example in examples])
    trainer = SFTTrainer(
        model,
        config,
        train_dataset=sets["train"],
        eval_dataset=sets.get("held out"),
        processing_class=tokenizer,
        peft_config=adapter(chosen),
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(chosen.out) if chosen.out.is_dir() else None)
    trainer.save_model()
    if trainer.accelerator.is_main_process:
        model.generation_config.save_pretrained(chosen.out)
        print(f"adapter in {chosen.out}")


def main(argv=None):
    chosen = options(argv)
    if chosen.dry_run:
        return plan(chosen)
    if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
        raise SystemExit(
            f"{torch.cuda.device_count()} cards are visible to one process: start one for each with "
            "accelerate launch --config_file recipes/ddp.yaml, or set CUDA_VISIBLE_DEVICES=0"
        )
    if chosen.bits == 4 and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        raise SystemExit(
            "4-bit weights are not to be sharded with FSDP2, which changes packed codes that read as NaN "
            "(issue 1945 of bitsandbytes): 7B in 4 bit fits one card, so use recipes/ddp.yaml, or --bits 16"
        )
    return train(chosen)


if __name__ == "__main__":
    main()
