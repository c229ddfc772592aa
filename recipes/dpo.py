"""DPO with LoRA: preferred and rejected answers in, an adapter out.

    python recipes/dpo.py --data pairs.jsonl --out adapter

A line: {"prompt": "Why?", "chosen": "So.", "rejected": "No."}, strings or lists of messages
"""

import argparse
import atexit
import json
import os
import signal
import sys
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer

ROLES = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--data", required=True)
parser.add_argument("--base", default="Qwen/Qwen3-0.6B", help="an instruct model: hub id or folder")
parser.add_argument("--out", default="adapter", help="a new folder")
parser.add_argument("--steps", type=int, default=100, help="of 16 pairs")
chosen = parser.parse_args()
signal.signal(signal.SIGINT, lambda *_: sys.exit("Stopped before the end"))  # Ctrl-C

where, rows = f"--data {chosen.data!r}", []
try:
    for number, line in enumerate(Path(chosen.data).read_text(encoding="utf-8").strip().split("\n"), start=1):
        where = f"{chosen.data!r}, line {number}"
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()  # a lone surrogate is a ValueError
        for name, role in ROLES.items():  # as messages: TRL applies no chat template to plain texts
            turns = [{"role": role, "content": row[name]}] if isinstance(row[name], str) else row[name]
            row[name] = [{"role": turn["role"], "content": turn["content"].strip()} for turn in turns]
        rows.append({name: row[name] for name in ROLES})
except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
    sys.exit(f"{where}: {error!r:.200}. Give a file whose lines are all as --help shows")
if chosen.steps < 1 or len(rows) < 2:
    parser.error("--steps has to be 1 or more, and --data needs two lines or more")
if os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK") == "0":  # of several the first
    try:
        os.makedirs(chosen.out)  # of two runs only one gets it
    except OSError as error:
        parser.error(f"--out {chosen.out!r}: {error.strerror}. Name a new folder, or remove this one")
    atexit.register(lambda: os.listdir(chosen.out) or os.rmdir(chosen.out))
if not AutoTokenizer.from_pretrained(chosen.base).chat_template:
    parser.error(f"--base {chosen.base!r} has no chat template: take an instruct model")
# at random: if prompts are repeated, split by prompt (lesson 17)
data = Dataset.from_list(rows).train_test_split(test_size=min(200, len(rows) // 10 + 1), seed=0)
sets = {"train_dataset": data["train"], "eval_dataset": data["test"]}

bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
config = DPOConfig(
    chosen.out,
    max_steps=chosen.steps,
    per_device_train_batch_size=4,
    gradient_accumulation_steps=4,
    learning_rate=1e-5,  # TRL's default of 1e-6 is for training all weights
    beta=0.1,  # TRL's default
    max_length=2048,  # tokens; longer rows are silently truncated, and lose the end marker
    bf16=bf16,  # TRL's default is True, which fails without a GPU
    # the adapter stays in float32; no weights that are a pickle
    model_init_kwargs={"dtype": "bfloat16" if bf16 else "float32", "use_safetensors": True},
    logging_steps=0.05,  # of all steps
    save_strategy="no",  # no checkpoints: the run is short
)
lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
trainer = DPOTrainer(chosen.base, None, config, **sets, peft_config=lora)  # no ref_model: it is the base
before = trainer.evaluate()["eval_loss"]  # ln 2 = 0.693, or something is wrong
trainer.train()
after = trainer.evaluate()["eval_loss"]
trainer.save_model()
print(f"held-out loss {before:.3f} before, {after:.3f} after; the adapter is in {chosen.out}")
