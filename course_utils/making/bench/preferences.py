"""Benchmark rows for lessons 12 and 13: rollouts, a DPO step and a group-relative iteration against TRL's."""

import contextlib
import copy
import io
import tempfile
import warnings
from pathlib import Path

import torch

from course_utils.data import collate_pairs
from course_utils.log_probs import fast_token_log_probs
from course_utils.making.bench.timing import row
from course_utils.methods import dpo, reinforce, rollouts
from course_utils.methods.lora import adapter_off, apply_lora
from course_utils.methods.lora_fast import speed_up
from course_utils.preferences import Pair, encode_pairs

PAIRS, ROLLOUTS, GROUP, NEW = 8, 32, 8, 48
RANK, ALPHA, TARGETS = 8, 16.0, ["c_attn"]


@row("rollout against generate(): 32 prompts, 48 new tokens")
def rollout_row():
    model, tokenizer = pocket_and_tokenizer()
    prompts = [tokenizer(text)["input_ids"] for text in bench_prompts(tokenizer)]
    ids, mask = rollouts.pad_left(prompts, 0)

    def ours():
        rollouts.rollout(model, prompts, max_new_tokens=NEW, stop_ids=[], pad_id=0)

    def library():
        model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=NEW,
            do_sample=True,
            top_k=0,
            eos_token_id=None,
            pad_token_id=0,
        )

    return ours, library


@row("DPO step against TRL's DPOTrainer: pocket, 8 pairs of stories, full")
def dpo_full():
    return dpo_steps(lora=False)


@row("DPO step against TRL's DPOTrainer: pocket, 8 pairs of stories, LoRA")
def dpo_lora():
    return dpo_steps(lora=True)


def _letters(completions, **_):
    return [float(len(set(text))) for text in completions]


def _grpo_trainer(model, tokenizer, prompts):
    import datasets
    import trl

    folder = Path(tempfile.mkdtemp())
    model.save_pretrained(folder)  # the trainer loads its reference from this path
    tokenizer.save_pretrained(folder)
    config = trl.GRPOConfig(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=ROLLOUTS,
        num_generations=GROUP,
        max_completion_length=NEW,
        beta=0.04,
        temperature=1.0,
        top_k=0,
        report_to=[],
        **plain(),
    )
    with quiet_library():
        trainer = trl.GRPOTrainer(
            str(folder),
            reward_funcs=_letters,
            args=config,
            train_dataset=datasets.Dataset.from_list([{"prompt": text} for text in prompts]),
            processing_class=tokenizer,
        )
    trainer.model.generation_config.eos_token_id = None  # all answers have 48 tokens, ours and theirs
    trainer.generation_config.eos_token_id = None
    trainer.current_gradient_accumulation_steps = 1
    return trainer


@row("group-relative iteration against TRL's GRPOTrainer: 4 prompts x 8 answers of 48 tokens, beta 0.04")
def grpo():
    model, tokenizer = pocket_and_tokenizer()
    prompts = bench_prompts(tokenizer)[: ROLLOUTS // GROUP]
    trainer = _grpo_trainer(model, tokenizer, prompts)
    asked = [{"prompt": text} for text in prompts for _ in range(GROUP)]
    theirs = torch.optim.Adam(trainer.model.parameters(), lr=1e-6)

    def library():
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(asked))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
        theirs.step()
        theirs.zero_grad()

    mine, reference = copy.deepcopy(model).eval().requires_grad_(True), rollouts.frozen_copy(model)
    optimizer = torch.optim.Adam(mine.parameters(), lr=1e-6, fused=True)
    ids = [tokenizer(text)["input_ids"] for text in prompts for _ in range(GROUP)]

    def ours():
        batch = rollouts.rollout(mine, ids, max_new_tokens=NEW, stop_ids=[], pad_id=0)
        texts = rollouts.answer_texts(tokenizer, batch)
        batch["scores"] = torch.tensor(_letters(texts))
        with torch.no_grad():
            batch["reference"] = fast_token_log_probs(reference, batch)
        loss, _ = reinforce.group_loss(mine, batch, "grpo", 0.04, GROUP)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(mine.parameters(), 1.0)
        optimizer.step()

    return ours, library


def pocket_and_tokenizer():
    from course_utils.models import load_model

    return load_model("pocket")


def plain():
    """TRL's settings for a fair comparison: fp32, no recomputation."""
    return {"bf16": False, "use_cpu": True, "gradient_checkpointing": False}


@contextlib.contextmanager
def quiet_library():
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def bench_prompts(tokenizer):
    """32 prompts of 20 to 30 tokens from source text that pre-training has not seen."""
    from course_utils.data import load_source_texts

    ids = [tokenizer(text)["input_ids"] for text in load_source_texts()]
    long = [row for row in ids if len(row) > 40][:ROLLOUTS]
    return [tokenizer.decode(row[: 20 + i % 10]) for i, row in enumerate(long)]


def _dpo_trainer(model, tokenizer, rows, lora):
    import datasets
    import peft
    import trl

    options = {"ref_model": None if lora else copy.deepcopy(model)}
    if lora:
        options["peft_config"] = peft.LoraConfig(
            r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, fan_in_fan_out=True, task_type="CAUSAL_LM"
        )
    config = trl.DPOConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=PAIRS, report_to=[], **plain()
    )
    with quiet_library():
        return trl.DPOTrainer(
            model,
            args=config,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            **options,
        )


def dpo_steps(lora):
    model, tokenizer = pocket_and_tokenizer()
    from course_utils.data import load_source_texts

    texts = [text for text in load_source_texts() if 300 < len(text) < 600][: 2 * PAIRS]
    rows = [
        {"prompt": "Tell me a story about Anna and her friend, please.", "chosen": a, "rejected": b}
        for a, b in zip(texts[::2], texts[1::2], strict=True)
    ]
    mine, pairs = copy.deepcopy(model), encode_pairs(tokenizer, [Pair(**entry) for entry in rows])
    trainer = _dpo_trainer(model, tokenizer, rows, lora)
    their_batch = next(iter(trainer.get_train_dataloader()))
    theirs = torch.optim.AdamW([p for p in trainer.model.parameters() if p.requires_grad], lr=1e-6)
    if lora:
        speed_up(apply_lora(mine, RANK, ALPHA, TARGETS))
        with adapter_off(mine):
            reference = dpo.reference_log_probs(mine, pairs, 0)
    else:
        reference = dpo.reference_log_probs(mine, pairs, 0)
    batch = collate_pairs(pairs, 0) | {"reference": reference.T.flatten()}
    optimizer = torch.optim.AdamW([p for p in mine.parameters() if p.requires_grad], lr=1e-6, fused=True)

    def ours():
        losses, _ = dpo.batch_loss(mine, batch, 0.1)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()

    def library():
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, their_batch)
        theirs.zero_grad()
        loss.backward()
        theirs.step()

    return ours, library
