"""QLoRA on a model of about 7 billion parameters, with PEFT, TRL and bitsandbytes: on one card or on several.

    python recipes/qlora.py --data my.jsonl --dry-run                # no GPU, no network, no weights
    accelerate launch --config_file recipes/ddp.yaml --num_processes 2 recipes/qlora.py --data my.jsonl

A dry run checks and tokenises the data, estimates what training will take, and trains a small model of the
same architecture for two steps. Without --dry-run it trains, and continues where the same run in --out
stopped.
"""

import argparse
import hashlib
import json
import math
import os
import random
import tempfile
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import torch
from jinja2 import TemplateError
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GenerationConfig
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
    training_flop,
    training_need,
    training_precision,
    training_tflops,
)
from course_utils.chatml import IM_END, IM_START, loss_text
from course_utils.chatml import TEMPLATE as CHATML
from course_utils.data import DATA, IGNORE, Example, conversation_fault

RECOMPUTED = "activation" if hasattr(SFTConfig, "activation_checkpointing") else "gradient"  # since 5.24
BF16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)  # not on a T4
FEW_STEPS = 100
READING = 5e8  # assumed bytes per second at which weights are read from a disk
FREE = "out held_out per_card log merge dry_run cards card price tokenizer".split()  # do not change training


def options(argv=None):
    parser = argparse.ArgumentParser(prog="qlora.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", required=True, help='conversations to train on, one per line: {"messages": [...]}')
    add("--held-out", help="conversations to evaluate on after every epoch")
    add("--out", type=Path, default=Path("adapter"), help="folder for adapter and checkpoints, one per run")
    add("--base", default="Qwen/Qwen2.5-7B-Instruct", help="a folder or a hub id, with safetensors weights")
    add("--bits", type=int, choices=(4, 16), default=4, help="of the base's weights; 16 is plain LoRA")
    add("--rank", type=int, default=16)
    add("--alpha", type=float, help="default: twice the rank")
    add(
        "--targets",
        default="all-linear",
        help="suffixes of layer names, q_proj,v_proj; default: all but the head",
    )
    add("--rslora", action="store_true", help="scale by alpha over the root of the rank")
    add("--dora", action="store_true", help="train each column's length separately from its direction")
    add("--lr", type=float, default=2e-4)
    add("--optimiser", choices=("adamw_torch", "adamw_8bit", "paged_adamw_8bit"), default="adamw_torch")
    add("--epochs", type=float, default=2)
    add("--steps", type=int, default=-1, help="stop after this many steps, whatever the epochs")
    add("--batch", type=int, default=32, help="conversations per step, over all cards")
    add("--per-card", type=int, default=4, help="conversations per card at once")
    add("--length", type=int, default=1024, help="tokens; longer conversations are rejected")
    add("--packing", action="store_true", help="several conversations per row of --length tokens")
    add("--attention", choices=("sdpa", "eager", "flash_attention_2"), default="sdpa")
    add("--log", choices=("trackio", "tensorboard", "none"), help="default: the first that is installed")
    add("--merge", action="store_true", help="also write the merged model, to OUT/merged")
    add("--seed", type=int, default=0)
    add("--dry-run", action="store_true")
    add("--cards", type=int, default=1, help="dry run: the number of cards to plan for")
    add("--card", choices=CARDS, default="RTX 4090", help="dry run: the kind of card to plan for")
    add("--price", type=float, default=1.0, help="dry run: per card and hour")
    add("--tokenizer", help="dry run: use this one if the base's is not on disk")
    chosen = parser.parse_args(argv)
    if chosen.packing and chosen.attention != "flash_attention_2":
        parser.error(
            "--packing needs --attention flash_attention_2: with others, conversations in a row attend to "
            "each other"
        )
    return chosen


def quantization(chosen):
    """NF4 with quantised scales and 16-bit products; None for 16-bit weights."""
    if chosen.bits == 16:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if BF16 else torch.float32,
    )


def adapter(chosen, model, markers=()):
    """LoRA's configuration; also trains the rows of the markers' tokens in embeddings and head."""
    rows = list(markers) or None
    if rows and not model.config.tie_word_embeddings:  # if they are one table, PEFT also ties the rows
        tables = {model.get_input_embeddings(), model.get_output_embeddings()}
        rows = {name: rows for name, module in model.named_modules() if module in tables}
    named = chosen.targets != "all-linear"
    return LoraConfig(
        r=chosen.rank,
        lora_alpha=chosen.alpha or 2 * chosen.rank,
        target_modules=chosen.targets.split(",") if named else chosen.targets,
        use_rslora=chosen.rslora,
        use_dora=chosen.dora,
        trainable_token_indices=rows,
        task_type="CAUSAL_LM",
    )


def logger(chosen):
    """--log, or the first installed one."""
    return chosen.log or next((name for name in ("trackio", "tensorboard") if find_spec(name)), "none")


def arguments(chosen, cards):
    """The trainer's arguments: --batch conversations per step, however many cards share them."""
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
        optim=chosen.optimiser,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,  # below 1: a share of all steps
        packing=chosen.packing,
        max_length=chosen.length if chosen.packing else None,  # no truncation: too long rows were rejected
        bf16=BF16,
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
        report_to=logger(chosen),
        disable_tqdm=chosen.dry_run,
        seed=chosen.seed,
    )


# ---------------------------------------------------------------------------------------------- data


def read_bytes(path):
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}") from None


def read_data(path, tokenizer, length):
    """The file's conversations and their examples. SystemExit names every bad line and its fault."""
    rows, examples, faults = [], [], []
    for number, line in enumerate(read_bytes(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            messages = read_line(line, tokenizer)
            example = encode_chat(tokenizer, messages)
            if len(example.input_ids) > length:
                raise ValueError(
                    f"{len(example.input_ids)} tokens exceed --length {length}: shorten it, or raise "
                    "--length and check the memory again"
                )
        except (ValueError, RecursionError, TemplateError) as error:
            faults.append(f"  line {number}: {error}")
        else:
            rows.append(messages)
            examples.append(example)
    if faults:
        count = len(faults) + len(rows)
        raise SystemExit(f"{path}: {len(faults)} of {count} lines cannot be used:\n" + "\n".join(faults))
    if not rows:
        raise SystemExit(f"{path}: the file has no conversations")
    return rows, examples


def read_line(line, tokenizer):
    """The messages of a line. ValueError tells what is wrong with it."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON (column {error.colno}: {error.msg})") from None
    messages = row.get("messages") if isinstance(row, dict) else None
    if fault := conversation_fault(messages):
        raise ValueError(fault)
    special = tokenizer.all_special_tokens
    for number, message in enumerate(messages, start=1):
        for token in special:
            if token in message["content"]:
                raise ValueError(f"message {number} contains {token}, which would be read as a special token")
    return [{"role": message["role"], "content": message["content"].strip()} for message in messages]


def encode_chat(tokenizer, messages):
    """An Example by the tokenizer's own template: loss on every answer, up to the token that ends it.

    ValueError if the template renders a turn differently when others follow it.
    """
    whole = template_ids(tokenizer, messages)
    labels = [IGNORE] * len(whole)
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        if number == 0:
            raise ValueError("message 1 is the assistant's: the user must ask first")
        before = template_ids(tokenizer, messages[:number], add_generation_prompt=True)
        last = number == len(messages) - 1
        turn = whole if last else template_ids(tokenizer, messages[: number + 1])
        if turn[: len(before)] != before or whole[: len(turn)] != turn:
            raise ValueError(
                f"message {number + 1}: the template renders this answer differently when turns follow: "
                "split the conversation, so that each answer comes last"
            )
        ends = [i for i in range(len(before), len(turn)) if turn[i] in tokenizer.all_special_ids]
        if not ends:
            raise ValueError(f"message {number + 1}: the template does not end it with a special token")
        labels[len(before) : ends[-1] + 1] = turn[len(before) : ends[-1] + 1]
    return Example(whole, labels)


def template_ids(tokenizer, messages, **how):
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **how)["input_ids"]


def chat_tokenizer(tokenizer, base):
    """With its own template; ChatML's if it has none but has the markers; else SystemExit."""
    if tokenizer.chat_template is None:
        if not {IM_START, IM_END} <= tokenizer.get_vocab().keys():
            raise SystemExit(
                f"{base} has neither a chat template nor the tokens {IM_START} and {IM_END}: use an instruct "
                "model"
            )
        tokenizer.chat_template = CHATML
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def untrained_markers(tokenizer, base, **how):
    """(the template's tokens, if the model never learned them, else none; the token that ends a turn).

    A model trained to chat stops at the token that ends a turn, as its tokenizer or its generation config
    shows. Any other model is a base.
    """
    sample = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    example = encode_chat(tokenizer, sample)
    end = [label for label in example.labels if label != IGNORE][-1]
    if end in stops_of(base, **how) | {tokenizer.eos_token_id}:
        return [], end
    return sorted({*example.input_ids} & {*tokenizer.all_special_ids}), end


def stops_of(base, **how):
    """The ids at which the base's generation stops."""
    try:
        stops = GenerationConfig.from_pretrained(base, **how).eos_token_id
    except OSError:
        return set()
    return {*stops} if isinstance(stops, list) else {stops}


# ------------------------------------------------------------------------------------------- dry run


def plan(chosen):
    """All without the weights: prints the arguments, the data with its masks, memory, time and cost."""
    config = find_config(chosen.base)
    tokenizer, owner = find_tokenizer(chosen)
    markers, _ = untrained_markers(tokenizer, chosen.base, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    lora, trainer = adapter(chosen, model, markers), arguments(chosen, chosen.cards)
    if stored := quantization(chosen):
        twice = stored.bnb_4bit_use_double_quant
        print(f"weights    {stored.bnb_4bit_quant_type}, double quantisation: {twice}")
    kinds = [name for name, used in {"rsLoRA": chosen.rslora, "DoRA": chosen.dora}.items() if used]
    kind = ", ".join(kinds) or "LoRA"
    print(f"adapter    {kind}, rank {lora.r}, alpha {lora.lora_alpha:g}, on {chosen.targets}")
    print(
        f"batch      {chosen.cards} card(s) x {trainer.per_device_train_batch_size} x "
        f"{trainer.gradient_accumulation_steps} accumulated = {chosen.batch} conversations"
    )
    show_base(chosen, tokenizer, owner, markers)
    examples, kept = show_data(chosen, tokenizer)
    rows, padded = rows_and_tokens(chosen, examples)
    steps = chosen.steps if chosen.steps > 0 else math.ceil(math.ceil(rows / chosen.batch) * chosen.epochs)
    print(f"steps      {steps}, rate {chosen.lr:g}, {trainer.lr_scheduler_type.value}, {chosen.optimiser}")
    if steps < FEW_STEPS:
        print(
            f"WARNING    {steps} steps are few: with fewer than {FEW_STEPS}, a model often learns the form "
            "but not the content. A smaller --batch or more --epochs gives more steps; more data are better."
        )
    print(f"log        {logger(chosen)}")
    if training_precision(chosen.card) == "fp32":
        print(
            f"WARNING    a {chosen.card} has no bf16: there the recipe computes in fp32, several times "
            "slower and with more memory. The lines below assume this."
        )
    longest = chosen.length if chosen.packing else max(len(example.input_ids) for example in examples)
    show_need(chosen, model, lora, longest, padded / rows * steps * chosen.batch, evaluated(chosen, kept))
    rehearse(chosen, config, tokenizer, examples)


def show_base(chosen, tokenizer, owner, markers):
    if owner != chosen.base:
        print(f"tokenizer  {Path(owner).name}'s, since {chosen.base}'s is not on disk: counts will differ")
    if markers:
        tokens = ", ".join(tokenizer.convert_ids_to_tokens(markers))
        print(
            f"base       {chosen.base} was not trained to stop at the end of a turn: a base. Rows of {tokens}"
        )
        print(
            "           are also trained. Servers reject such an adapter: use --merge, or an instruct model."
        )
    else:
        taken = "with" if owner == chosen.base else "is taken for an instruct model with"
        print(f"base       {chosen.base} {taken} its own template")


def show_data(chosen, tokenizer):
    """Read the data and print counts and masks. Returns the examples: (training, held-out)."""
    rows, examples = read_data(chosen.data, tokenizer, chosen.length)
    lengths = [len(example.input_ids) for example in examples]
    learnt = sum(label != IGNORE for example in examples for label in example.labels)
    print(f"data       {len(rows)} conversations, {sum(lengths)} tokens, {learnt} of them with loss")
    print(f"longest    {max(lengths)} tokens")
    print("masks      the loss is between the brackets:")
    print(loss_text(tokenizer, examples[0]).rstrip())
    kept = []
    if chosen.held_out:
        others, kept = read_data(chosen.held_out, tokenizer, chosen.length)
        shared = sum(messages in rows for messages in others)
        print(f"held out   {len(kept)} conversations, {shared} of them in the training data too")
    return examples, kept


def padded_tokens(lengths, per_card, seed):
    """Tokens computed in an epoch: random batches, every row as long as its batch's longest."""
    order = random.Random(seed).sample(lengths, len(lengths))
    batches = [order[first : first + per_card] for first in range(0, len(order), per_card)]
    return sum(len(batch) * max(batch) for batch in batches)


def rows_and_tokens(chosen, examples):
    """Rows of an epoch and their tokens, padding included."""
    lengths = [len(example.input_ids) for example in examples]
    if chosen.packing:
        rows = math.ceil(sum(lengths) / chosen.length)
        return rows, rows * chosen.length
    return len(lengths), padded_tokens(lengths, chosen.per_card, chosen.seed)


def evaluated(chosen, kept):
    """Tokens computed in evaluations: the held-out conversations, after every epoch."""
    lengths = [len(example.input_ids) for example in kept]
    passes = max(1, int(chosen.epochs)) if chosen.steps < 0 else 1
    return passes * padded_tokens(lengths, chosen.per_card, chosen.seed)


def find_tokenizer(chosen):
    """(the base's tokenizer if on disk, else --tokenizer's or the pocket model's; its owner)."""
    try:
        own = AutoTokenizer.from_pretrained(chosen.base, local_files_only=True, trust_remote_code=False)
        return chat_tokenizer(own, chosen.base), chosen.base
    except (OSError, ValueError):
        source = chosen.tokenizer or DATA / "pocket-gpt2"
    other = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    if other.chat_template is None:
        other.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
        other.eos_token = IM_END  # like an instruct model's
    other.model_max_length = max(chosen.length, other.model_max_length)
    return chat_tokenizer(other, source), source


def show_need(chosen, model, lora, longest, trained_tokens, evaluated_tokens):
    """Estimates: memory by part against the card's, hours and price."""
    from peft import get_peft_model

    size = CARDS[chosen.card][0]
    parts, parameters = memory_parts(chosen, model.config, longest)
    trained = get_peft_model(model, lora).get_nb_trainable_parameters()[0]
    width = 2 if chosen.bits == 4 else 4  # TRL keeps the adapter of a 4-bit base in bf16, PEFT others in fp32
    copies = 2 if chosen.cards > 1 else 1  # DDP's buckets are a second copy of the gradients
    moment = 1 if "8bit" in chosen.optimiser else width
    parts |= {
        "adapter": width * trained,
        "gradients": copies * width * trained,
        "moments": 2 * moment * trained,
    }
    used = sum(parts.values()) * FRAGMENTS + CONTEXT
    print(f"trained    {trained:,} of {parameters:,} parameters")
    print("memory     " + ", ".join(f"{name} {part / GIB:.2f}" for name, part in parts.items()) + " GiB")
    verdict = "fits" if used <= size * GIB else "does NOT fit"
    print(f"card       {used / GIB:.1f} GiB with overheads: {verdict} a {chosen.card} ({size} GiB)")
    speed = training_tflops(chosen.card) * 1e12 * UTILISATION * chosen.cards
    seconds = {
        "training": training_flop(parameters, trained_tokens, frozen=True, checkpointing=True) / speed,
        "evaluation": 2 * parameters * evaluated_tokens / speed,
        "loading": 2 * parameters / READING,  # 16 bit on disk
    }
    print("time       " + ", ".join(f"{name} {value / 3600:.2g}" for name, value in seconds.items()) + " h")
    hours = sum(seconds.values()) / 3600
    cost = hours * chosen.cards * chosen.price
    print(f"estimate   {hours:.2g} h on {chosen.cards} of them, {cost:.2f} at {chosen.price:g} an hour each")


def memory_parts(chosen, config, longest):
    """Bytes of weights and step, without the adapter; and the model's parameters."""
    method = "qlora" if chosen.bits == 4 else "lora"
    precision = training_precision(chosen.card)
    try:
        need = training_need(
            config, method, chosen.per_card, longest, precision, chosen.rank, checkpointing=True
        )
    except ValueError as error:
        raise SystemExit(f"--base {chosen.base}: {error}") from None
    weights = need.weights - 4 * need.trainable  # need's own adapter is a separate part
    return {"weights": weights, "step": max(need.step, need.saved)}, need.parameters


def find_config(base):
    """The configuration of a folder with config.json, of a model in budget.py, or from the hub's cache."""
    name = base.rpartition("/")[2].removesuffix("-Instruct")
    try:
        return load_config(name if name in KNOWN_MODELS and not Path(base).is_dir() else base)
    except ValueError as error:
        raise SystemExit(f"--base {base}: {error}") from None


def small(config, words):
    """The configuration's architecture with two narrow layers and at least this many rows of embeddings."""
    settings = config.to_dict()
    sizes = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": words}
    for name, value in sizes.items():
        settings[config.attribute_map.get(name, name)] = value
    optional = {"num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 128}
    settings |= {name: value for name, value in optional.items() if name in settings}
    settings.pop("layer_types", None)
    return type(config).from_dict(settings)


def rehearse(chosen, config, tokenizer, examples, steps=2):
    """Two steps of the real code on the four shortest conversations and a small random model."""
    few = sorted(examples, key=lambda example: len(example.input_ids))[:4]
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        model = AutoModelForCausalLM.from_config(small(config, max(config.vocab_size, len(tokenizer))))
        stops = stops_of(chosen.base, local_files_only=True) - {None}
        model.generation_config.eos_token_id = sorted(stops) or None
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
        on_a_cpu = {"packing": False, "attention": "sdpa", "optimiser": "adamw_torch", "log": "none"}
        here = {"base": str(base), "out": Path(folder) / "adapter", "steps": steps, "batch": 2, "per_card": 2}
        losses = train(
            argparse.Namespace(**vars(chosen) | on_a_cpu | here | {"held_out": None}), {"train": few}
        )
    shown = ", ".join(f"{loss:.3f}" for loss in losses)
    kind = type(model).__name__
    print(
        f"rehearsal  {len(losses)} steps of a {kind} with {model.num_parameters():,} values: losses {shown}"
    )


# ------------------------------------------------------------------------------------------ training


def load_base(chosen):
    return AutoModelForCausalLM.from_pretrained(
        chosen.base,
        dtype=torch.bfloat16 if BF16 else torch.float32,
        quantization_config=quantization(chosen),
        attn_implementation=chosen.attention,
        device_map=None,  # to this process's card, not spread over all
        trust_remote_code=False,
    )


def had(base, load):
    """load() on the base's files; SystemExit if neither the disk nor the hub has them."""
    try:
        return load()
    except OSError as error:
        raise SystemExit(
            f"{base} is not on disk, and the hub does not provide it ({str(error).splitlines()[0]}): name a "
            "folder with --base, or rehearse with --dry-run"
        ) from None


def open_folder(chosen):
    """Whether the run in OUT has ended; stores a new run's options. SystemExit if OUT has another run."""
    run = {name: value for name, value in vars(chosen).items() if name not in FREE}
    run["data"] = hashlib.sha256(read_bytes(chosen.data)).hexdigest()  # the file's name is not enough
    kept, ended = chosen.out / "run.json", (chosen.out / "generation_config.json").is_file()  # written last
    before = earlier_run(kept)
    if ended or (chosen.out.is_dir() and get_last_checkpoint(chosen.out)):
        if others := [name for name in run if before.get(name) != run[name]]:
            raise SystemExit(
                f"--out {chosen.out} has another run (other {', '.join(others)}): use another --out, or that "
                "run's data and options to continue it"
            )
    elif first_process():  # another process may come while this one writes
        if chosen.out.exists() and not (chosen.out.is_dir() and (before or not os.listdir(chosen.out))):
            raise SystemExit(f"--out {str(chosen.out)!r} has something else in it: name a new folder")
        chosen.out.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(run, indent=1), encoding="utf-8")
    return ended


def earlier_run(kept):
    """The options that a run has written to this file; {} if there is none, or it is not a run's."""
    try:
        before = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}  # a pipe would block
    except ValueError:
        return {}
    return before if isinstance(before, dict) and {"base", "data", "rank", "lr"} <= before.keys() else {}


def first_process():
    return os.environ.get("RANK", "0") == "0"


def train(chosen, examples=None):
    """Train on the examples, by default the files'; writes adapter and tokenizer; returns the losses."""
    import datasets

    config = arguments(chosen, int(os.environ.get("WORLD_SIZE", 1)))
    print(f"process    {config.process_index} of {config.world_size} on {config.device}")  # now its own
    own = had(chosen.base, lambda: AutoTokenizer.from_pretrained(chosen.base, trust_remote_code=False))
    tokenizer = chat_tokenizer(own, chosen.base)
    markers, end = untrained_markers(tokenizer, chosen.base)
    stops = sorted(stops_of(chosen.base) - {None} | {tokenizer.eos_token_id, end})
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)  # servers stop at it
    if examples is None:
        files = {"train": chosen.data, "held out": chosen.held_out}
        examples = {
            name: read_data(path, tokenizer, chosen.length)[1] for name, path in files.items() if path
        }
    sets = {
        name: datasets.Dataset.from_list([asdict(one) for one in some]) for name, some in examples.items()
    }
    model = had(chosen.base, lambda: load_base(chosen))
    model.generation_config.eos_token_id = stops
    trainer = SFTTrainer(
        model,
        config,
        train_dataset=sets["train"],
        eval_dataset=sets.get("held out"),
        processing_class=tokenizer,
        peft_config=adapter(chosen, model, markers),
    )
    if markers:
        trainer.model.get_output_embeddings().bias = None  # TRL reads it; PEFT's head rows have none
    trainer.train(resume_from_checkpoint=get_last_checkpoint(chosen.out) if chosen.out.is_dir() else None)
    trainer.save_model()
    if trainer.accelerator.is_main_process:
        generation = GenerationConfig(eos_token_id=stops, pad_token_id=tokenizer.pad_token_id)
        generation.save_pretrained(chosen.out)
        print(f"adapter    in {chosen.out}")
        if chosen.merge:
            merge(chosen)
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def merge(chosen):
    """Write the model with the adapter merged into the weights it was trained on, de-quantised if 4-bit."""
    model = load_base(chosen)
    if chosen.bits == 4:
        model = model.dequantize()
    model = PeftModel.from_pretrained(model, chosen.out).merge_and_unload()
    model.generation_config = GenerationConfig.from_pretrained(chosen.out)
    model.save_pretrained(chosen.out / "merged")
    AutoTokenizer.from_pretrained(chosen.out).save_pretrained(chosen.out / "merged")
    print(f"merged     in {chosen.out / 'merged'}")


def main(argv=None):
    chosen = options(argv)
    if chosen.dry_run:
        return plan(chosen)
    if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
        raise SystemExit(
            f"{torch.cuda.device_count()} cards are visible to one process: start one process per card with "
            "accelerate launch --config_file recipes/ddp.yaml, or set CUDA_VISIBLE_DEVICES=0"
        )
    if chosen.bits == 4 and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        raise SystemExit(
            "4-bit weights cannot be sharded with FSDP2, which changes packed codes that read as NaN "
            "(issue 1945 of bitsandbytes): 7B in 4 bit fits one card, so use recipes/ddp.yaml, or --bits 16"
        )
    if not open_folder(chosen):
        train(chosen)
    elif not chosen.merge:
        raise SystemExit(
            f"--out {chosen.out}: this run has ended. Take another --out for a new one, or add --merge for "
            "its merged model"
        )
    elif first_process():
        merge(chosen)


if __name__ == "__main__":
    main()
