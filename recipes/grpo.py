"""GRPO with LoRA: questions with verifiable answers in, an adapter out.

    python recipes/grpo.py --data questions.jsonl --out adapter

A line: {"prompt": "What is 6 times 7?", "answer": 42}, the prompt is a string or a list of messages
"""

import argparse
import atexit
import json
import os
import re
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer


def last_number(text):
    """The last number of a text, else None: of "It is 1,042." 1042. A minus after a digit is a dash."""
    numbers = re.findall(r"(?<!\d)-?\d+(?:\.\d+)?", text.replace(",", ""))
    return float(numbers[-1]) if numbers else None


def reward(completions, answer, **_):
    """For each completion 1 if its last number is its row's answer, else 0. Put your own check here."""
    texts = [turns[-1]["content"] for turns in completions]
    return [float(last_number(text) == right) for text, right in zip(texts, answer, strict=True)]


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--data", required=True)
parser.add_argument("--base", default="Qwen/Qwen3-0.6B", help="an instruct model: hub id or folder")
parser.add_argument("--out", default="adapter", help="a new folder")
parser.add_argument("--steps", type=int, default=100, help="of 4 questions with 8 answers each")
parser.add_argument("--vllm", action="store_true", help="sample with vLLM on the same card, much faster")
chosen = parser.parse_args()
if chosen.vllm and not find_spec("vllm"):
    parser.error("--vllm needs vLLM, in a version that TRL takes: pip install 'trl[vllm]'")
signal.signal(signal.SIGINT, lambda *_: sys.exit("Stopped before the end"))  # Ctrl-C

where, rows = f"--data {chosen.data!r}", []
try:
    for number, line in enumerate(Path(chosen.data).read_text(encoding="utf-8").strip().split("\n"), start=1):
        where = f"{chosen.data!r}, line {number}"
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()  # a lone surrogate is a ValueError
        text = isinstance(row["prompt"], str)  # as messages: TRL applies no chat template to plain texts
        turns = [{"role": "user", "content": row["prompt"]}] if text else row["prompt"]
        turns = [{"role": turn["role"], "content": turn["content"].strip()} for turn in turns]
        rows.append({"prompt": turns, "answer": float(row["answer"])})
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
data = Dataset.from_list(rows).train_test_split(test_size=min(64, len(rows) // 10 + 1), seed=0)

bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
config = GRPOConfig(
    chosen.out,
    max_steps=chosen.steps,
    gradient_accumulation_steps=4,  # times a batch of 8, the answers (num_generations) to one question
    use_vllm=chosen.vllm,  # it shares the card, with 0.3 of the memory (vllm_gpu_memory_utilization)
    chat_template_kwargs={"enable_thinking": False},  # Qwen3 would think at length; others ignore it
    learning_rate=1e-5,  # TRL's default of 1e-6 is for training all weights
    bf16=bf16,  # TRL's default is True, which fails without a GPU
    # the adapter stays in float32; no weights that are a pickle
    model_init_kwargs={"dtype": "bfloat16" if bf16 else "float32", "use_safetensors": True},
    logging_steps=0.05,  # of all steps
    save_strategy="no",  # no checkpoints: the run is short
)
lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
trainer = GRPOTrainer(chosen.base, reward, config, data["train"], data["test"], peft_config=lora)
trainer.evaluate()  # logs the reward
before = trainer.state.log_history[-1]["eval_reward"]
trainer.train()
trainer.evaluate()
after = trainer.state.log_history[-1]["eval_reward"]
trainer.save_model()
print(f"held-out reward {before:.3f} before, {after:.3f} after; the adapter is in {chosen.out}")
