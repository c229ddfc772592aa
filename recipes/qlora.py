"""QLoRA (or LoRA, --bits 16) on conversations with PEFT, TRL and bitsandbytes: on one card, or on several.

    python recipes/qlora.py --data my.jsonl --dry-run                # no GPU, no network, no weights
    accelerate launch --config_file recipes/ddp.yaml --num_processes 2 recipes/qlora.py --data my.jsonl

A dry run (rehearsal.py) checks and encodes the data, estimates what training will take, and trains a small
model of the same architecture for two steps. Without it the recipe trains, and goes on where the same run in
--out stopped.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
from contextlib import suppress
from itertools import takewhile
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

BASE = "Qwen/Qwen3.5-9B"  # Apache 2.0, without a form to fill in
IGNORE = -100  # label of tokens without loss
LOCK = ".lock"  # in OUT
FREE = "out held_out per_card merge dry_run cards card price tokenizer".split()  # do not change training


def count(text):
    if (number := int(text)) < 1:
        raise ValueError
    return number


def seed(text):
    if not 0 <= (number := int(text)) < 2**32:
        raise ValueError
    return number


def positive(text):
    if not 0 < (number := float(text)) < inf:
        raise ValueError
    return number


def options(argv=None):
    parser = argparse.ArgumentParser(prog="qlora.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", required=True, help='conversations to train on, one per line: {"messages": [...]}')
    add("--held-out", help="conversations to evaluate on after every epoch")
    add("--out", type=Path, default=Path("adapter"), help="folder for adapter and checkpoints, one per run")
    add("--base", default=BASE, help=f"an instruct model: a folder or a hub id; default: {BASE}")
    add("--bits", type=int, choices=(4, 16), default=4, help="of the base's weights; 16 is plain LoRA")
    add("--rank", type=count, default=16, help="of the adapter, on all linear layers; alpha is twice that")
    add("--lr", type=positive, default=2e-4)
    add("--epochs", type=positive, default=2)
    add("--steps", type=count, default=-1, help="stop after this many steps, whatever the epochs")
    add("--batch", type=count, default=32, help="rows per step, over all cards")
    add("--per-card", type=count, default=4, help="rows per card at once")
    add("--length", type=count, default=1024, help="tokens; longer conversations are rejected")
    add("--merge", action="store_true", help="also write the merged model, to OUT/merged")
    add("--seed", type=seed, default=0)
    add("--dry-run", action="store_true")
    add("--cards", type=count, default=1, help="dry run: the number of cards to plan for")
    add("--card", default="RTX 4090", help="dry run: the kind of card to plan for")
    add("--price", type=float, default=1.0, help="dry run: per card and hour")
    add("--tokenizer", help="dry run: use this one if the base's is not on disk")
    return parser.parse_args(argv)


# ---------------------------------------------------------------------------------------------- data


def read_data(path, tokenizer, length):
    """(conversations, rows to train on). SystemExit names every bad line and its fault."""
    from jinja2 import TemplateError

    conversations, rows, faults = [], [], []
    for number, line in enumerate(read_bytes(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            messages = read_line(line, tokenizer)
            encoded = encode_chat(tokenizer, messages)
            if (longest := max(len(row["input_ids"]) for row in encoded)) > length:
                raise ValueError(f"{longest} tokens exceed --length {length}: shorten it, or raise --length")
        except (ValueError, RecursionError, TemplateError) as error:
            faults.append(f"  line {number}: {error}")
        else:
            conversations.append(messages)
            rows += encoded
    if faults:
        count = len(faults) + len(conversations)
        raise SystemExit(f"{path}: {len(faults)} of {count} lines cannot be used:\n" + "\n".join(faults))
    if not rows:
        raise SystemExit(f"{path}: the file has no conversations")
    return conversations, rows


def read_bytes(path):
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        raise SystemExit(f"{path}: a pipe can be read only once, a device has no end: name a file")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}") from None


def read_line(line, tokenizer):
    """The messages of a line. ValueError tells what is wrong with it."""
    from course_utils.data import conversation_fault

    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON (column {error.colno}: {error.msg})") from None
    messages = row.get("messages") if isinstance(row, dict) else None
    if fault := conversation_fault(messages):
        raise ValueError(fault)
    if messages[0]["role"] == "assistant":
        raise ValueError("message 1 is the assistant's: the user must ask first")
    json.dumps(messages, ensure_ascii=False).encode()  # a lone surrogate is a ValueError
    for number, message in enumerate(messages, start=1):
        for token in tokenizer.all_special_tokens:
            if token in message["content"]:
                raise ValueError(f"message {number} contains {token}, which would be read as a special token")
    return [{"role": message["role"], "content": message["content"].strip()} for message in messages]


def encode_chat(tokenizer, messages):
    """Rows of ids and labels by the tokenizer's template, with loss on each answer and what ends it.

    One row, if the template renders each answer as it did when nothing followed. Many do not (Qwen3 drops the
    thoughts of earlier answers): then a row for each answer, as the model sees it when it has to write it.
    """
    rows = [
        answer_row(tokenizer, messages[: number + 1])
        for number, message in enumerate(messages)
        if message["role"] == "assistant"
    ]
    *earlier, whole = rows
    labels = list(whole["labels"])
    for row in earlier:
        size = len(row["input_ids"])
        if whole["input_ids"][:size] != row["input_ids"]:
            return rows
        both = zip(labels[:size], row["labels"], strict=True)
        labels[:size] = [old if new == IGNORE else new for old, new in both]
    return [whole | {"labels": labels}]


def answer_row(tokenizer, messages):
    """Ids and labels of a conversation, with loss on its last message alone."""
    before = template_ids(tokenizer, messages[:-1], add_generation_prompt=True)
    ids = template_ids(tokenizer, messages)
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, ids, strict=False)))
    opened = tokenizer.decode(before[start:])  # a thought that the prompt begins, and the answer lacks
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    if messages[-1]["content"] not in text or (opened and "<think>" not in opened):
        raise ValueError(
            f"message {len(messages)}: the template renders another text after its prompt; thoughts "
            "(<think>) and images are not trained here"
        )
    if opened:
        ids = before + tokenizer.encode("\n</think>\n\n", add_special_tokens=False) + ids[start:]
        start = len(before)
    special = {*tokenizer.all_special_ids}
    end = max((place + 1 for place in range(start, len(ids)) if ids[place] in special), default=None)
    if end is None:  # the template leaves the end to the next turn
        ids = [*ids, tokenizer.eos_token_id]
        end = len(ids)
    return {"input_ids": ids, "labels": [IGNORE] * start + ids[start:end] + [IGNORE] * (len(ids) - end)}


def template_ids(tokenizer, messages, **how):
    """Token ids; enable_thinking: templates that know it begin no thought."""
    how |= {"tokenize": True, "return_dict": True, "enable_thinking": False}
    return tokenizer.apply_chat_template(messages, **how)["input_ids"]


def chat_tokenizer(tokenizer, base, stops):
    """(the tokenizer, the token that ends a turn). SystemExit if the base was not trained to chat.

    stops: the ids at which the base's generation stops.
    """
    if tokenizer.chat_template is None:
        raise SystemExit(f"--base {base} has no chat template: take its instruct model")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    sample = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    end = [label for label in answer_row(tokenizer, sample)["labels"] if label != IGNORE][-1]
    if end not in stops | {tokenizer.eos_token_id}:
        raise SystemExit(
            f"--base {base} was not trained to stop at {tokenizer.convert_ids_to_tokens(end)}, which ends a "
            "turn, and LoRA leaves the embeddings as they are: take its instruct model"
        )
    return tokenizer, end


def stops_of(base, **how):
    """The ids at which the base's generation stops."""
    from transformers import GenerationConfig

    try:
        stops = GenerationConfig.from_pretrained(base, **how).eos_token_id
    except OSError:
        return set()
    return ({*stops} if isinstance(stops, list) else {stops}) - {None}


# ------------------------------------------------------------------------------------------ training


def open_folder(chosen):
    """(whether the run in OUT has ended, the lock on OUT of the first process); stores a new run's options.

    SystemExit if OUT has something else, or if another process works in it.
    """
    from filelock import FileLock, Timeout

    run = {name: value for name, value in vars(chosen).items() if name not in FREE}
    run["data"] = hashlib.sha256(read_bytes(chosen.data)).hexdigest()  # the file's name is not enough
    kept, lock = chosen.out / "run.json", None
    if first_process():
        try:
            if has_something_else(chosen.out):
                raise SystemExit(f"--out {str(chosen.out)!r} has something else in it: name a new folder")
            chosen.out.mkdir(parents=True, exist_ok=True)
            lock = FileLock(chosen.out / LOCK)
            lock.acquire(blocking=False)
        except Timeout:
            raise SystemExit(
                f"--out {chosen.out}: another process works in it; name another folder"
            ) from None
        except OSError as error:
            raise SystemExit(f"--out {str(chosen.out)!r}: {error.strerror}. Name another folder") from None
    ended, before = (chosen.out / "generation_config.json").is_file(), earlier_run(kept)  # written last
    if ended or checkpoints(chosen.out):
        if others := [name for name in run if before.get(name) != run[name]]:
            raise SystemExit(
                f"--out {chosen.out} has another run (other {', '.join(others)}): use another --out, or that "
                "run's data and options to continue it"
            )
    elif first_process():
        kept.write_text(json.dumps(run, indent=1), encoding="utf-8")
    return ended, lock


def has_something_else(out):
    """Whether OUT is not a folder for a run: neither new, nor empty, nor a run's."""
    if not out.is_dir():
        return out.exists()
    return bool({*os.listdir(out)} - {LOCK}) and not earlier_run(out / "run.json")


def earlier_run(kept):
    """The options that a run has written to this file; {} if there is none, or it is not a run's."""
    try:
        before = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}  # a pipe would block
    except ValueError:
        return {}
    return before if isinstance(before, dict) and {"base", "data", "rank", "lr"} <= before.keys() else {}


def checkpoints(folder):
    """The whole checkpoints, oldest first: a kill can leave one without trainer_state.json, or half of it."""
    found = []
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        with suppress(OSError, ValueError, LookupError):
            found.append((json.loads(state.read_text(encoding="utf-8"))["global_step"], state.parent))
    return [str(place) for _, place in sorted(found)]


def first_process():
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK") == "0"


def lora(rank):
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


def arguments(chosen, cards):
    """The trainer's arguments: --batch rows per step, however many cards share them."""
    import torch
    from trl import SFTConfig

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
        max_length=None,  # no truncation: too long rows were rejected
        bf16=has_bf16(),
        use_cpu=not torch.cuda.is_available(),
        ddp_find_unused_parameters=False,
        eval_strategy="epoch" if chosen.held_out else "no",
        save_steps=0.1,
        save_total_limit=2,
        logging_steps=1 if 0 < chosen.steps <= 10 else 10,
        report_to="none",
        disable_tqdm=chosen.dry_run,
        seed=chosen.seed,
    )


def has_bf16():
    """Whether there is a card with bf16 of its own, which a T4 has not."""
    import torch

    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def load_base(chosen):
    """The base on this process's card: in NF4 with quantised scales, or in 16 bits."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = torch.bfloat16 if has_bf16() else torch.float32
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    quantization = nf4 if chosen.bits == 4 else None
    how = {"dtype": dtype, "quantization_config": quantization, "trust_remote_code": False}
    return AutoModelForCausalLM.from_pretrained(chosen.base, use_safetensors=True, **how)


def had(base, load):
    """load() on the base's files; SystemExit if neither the disk nor the hub has them."""
    try:
        return load()
    except OSError as error:
        raise SystemExit(
            f"{base} is not on disk, and the hub does not provide it ({str(error).splitlines()[0]}): name a "
            "folder with --base, or rehearse with --dry-run"
        ) from None


def train(chosen, rows=None):
    """Train on the rows, by default the files'; writes adapter and tokenizer; returns the losses."""
    from datasets import Dataset
    from transformers import AutoTokenizer, GenerationConfig
    from trl import SFTTrainer

    config = arguments(chosen, int(os.environ.get("WORLD_SIZE", 1)))
    print(f"process    {config.process_index} of {config.world_size} on {config.device}")  # now its own
    own = had(chosen.base, lambda: AutoTokenizer.from_pretrained(chosen.base, trust_remote_code=False))
    tokenizer, end = chat_tokenizer(own, chosen.base, stops_of(chosen.base))
    stops = sorted(stops_of(chosen.base) | {tokenizer.eos_token_id, end})
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)  # servers stop at it
    if rows is None:
        files = {"train": chosen.data, "held out": chosen.held_out}
        rows = {name: read_data(path, tokenizer, chosen.length)[1] for name, path in files.items() if path}
    sets = {name: Dataset.from_list(some) for name, some in rows.items()}
    model = had(chosen.base, lambda: load_base(chosen))
    model.generation_config.eos_token_id = stops
    trainer = SFTTrainer(
        model,
        config,
        train_dataset=sets["train"],
        eval_dataset=sets.get("held out"),
        processing_class=tokenizer,
        peft_config=lora(chosen.rank),
    )
    whole = checkpoints(chosen.out)
    trainer.train(resume_from_checkpoint=whole[-1] if whole else None)
    trainer.save_model()
    if trainer.accelerator.is_main_process:
        GenerationConfig(eos_token_id=stops, pad_token_id=tokenizer.pad_token_id).save_pretrained(chosen.out)
        print(f"adapter    in {chosen.out}")
        if chosen.merge:
            merge(chosen)
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def merge(chosen):
    """Write the model with the adapter merged into the weights it was trained on, de-quantised if 4-bit."""
    from peft import PeftModel
    from transformers import AutoTokenizer, GenerationConfig

    model = load_base(chosen)
    if chosen.bits == 4:
        model = model.dequantize()
    model = PeftModel.from_pretrained(model, chosen.out).merge_and_unload()
    model.generation_config = GenerationConfig.from_pretrained(chosen.out)
    for left in chosen.out.glob(".merging-*"):
        print(f"left       {left} by a merge that was killed: delete it")
    with TemporaryDirectory(prefix=".merging-", dir=chosen.out) as folder:
        whole = Path(folder) / "merged"
        model.save_pretrained(whole)
        AutoTokenizer.from_pretrained(chosen.out).save_pretrained(whole)
        refuse_merged(chosen.out)  # it may have come meanwhile
        whole.rename(chosen.out / "merged")
    print(f"merged     in {chosen.out / 'merged'}")


def refuse_merged(out):
    if os.path.lexists(out / "merged"):
        raise SystemExit(f"--merge: {out / 'merged'} is there already: move it away")


def main(argv=None):
    chosen = options(argv)
    if chosen.dry_run:
        import rehearsal

        return rehearsal.plan(chosen)
    ended, _lock = open_folder(chosen)  # before the imports that take long
    if ended and not chosen.merge:
        raise SystemExit(
            f"--out {chosen.out}: this run has ended. Take another --out for a new one, or add --merge for "
            "its merged model"
        )
    if chosen.merge:
        refuse_merged(chosen.out)
    import torch

    if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
        raise SystemExit(
            f"{torch.cuda.device_count()} cards are visible to one process: start one process per card with "
            "accelerate launch --config_file recipes/ddp.yaml, or set CUDA_VISIBLE_DEVICES=0"
        )
    if chosen.bits == 4 and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        raise SystemExit(
            "Accelerate leaves 4-bit weights whole under FSDP2, so every card would hold them all: they fit "
            "a card, so use recipes/ddp.yaml; or shard 16-bit weights with --bits 16"
        )
    if not ended:
        train(chosen)
    elif first_process():
        merge(chosen)


if __name__ == "__main__":
    stopped = "Stopped. With the same command a run goes on from its last checkpoint"
    signal.signal(signal.SIGINT, lambda *_: sys.exit(stopped))  # Ctrl-C
    main()
