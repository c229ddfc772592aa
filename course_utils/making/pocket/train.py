"""Pre-training the pocket GPT-2 and its relatives: tokenizer, token stream, the run, the finished folder."""

import copy
import json
import os
import random
import shutil
import time
import zlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from course_utils.home import written_aside
from course_utils.making.pocket.corpus import END, documents
from course_utils.making.pocket.retold import retell_formal, retell_pirate
from course_utils.model_files import write_checksums
from course_utils.training import warmup_cosine
from course_utils.world.stories import story

LOG_EVERY = 100  # steps
EARLY = (10, 30, 100, 250)  # steps after which a run is evaluated before its first regular time
BEGINNINGS = ("The capital of France is", "Once upon a time, there was a")  # continued at each evaluation
VOCAB, CONTEXT = 6144, 256
BATCH, MICRO_BATCH = 16, 8  # windows per step and per micro-batch: eight fit the cache
LR_FLOOR, WARMUP_STEPS, WEIGHT_DECAY, CLIP = 0.02, 150, 0.05, 1.0
TOKENS = 16_000_000  # one pass; about an hour on two cores for the pocket model
CHECKPOINT_SECONDS = 600
HELD_OUT_SEED, HELD_OUT_WINDOWS = 1_000_004, 256
TOKENIZER_SEED = 1_000_003  # for the tokenizer's documents; training uses the run's own seed


@dataclass(frozen=True)
class Size:
    """One of a family of width 64 times the depth: each has four times the weights of the one before."""

    name: str
    layers: int
    width: int
    heads: int
    lr: float


MODEL_SIZES = {
    "small": Size("pocket-s", 2, 128, 2, 3.2e-2),
    "medium": Size("pocket-gpt2", 4, 256, 4, 4e-3),
    "large": Size("pocket-l", 7, 448, 7, 4e-3),
}


def train_tokenizer(documents_used: int = 60_000):
    """A byte-level BPE tokenizer like GPT-2's, on corpus documents and some retold stories."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(TOKENIZER_SEED)
    texts = [document.text for document in islice(documents(TOKENIZER_SEED), documents_used)]
    for retell in (retell_pirate, retell_formal):
        texts += [retell(story(rng).text) for _ in range(documents_used // 40)]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=END,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=CONTEXT,
    )


def token_stream(tokenizer, seed: int, tokens: int, work: Path) -> np.ndarray:
    """uint16 [tokens]: the documents of a seed in sequence, each followed by the end token; kept in work."""
    work.mkdir(parents=True, exist_ok=True)
    crc = zlib.crc32(tokenizer.backend_tokenizer.to_str().encode())
    path = work / f"tokens-{crc:08x}-{seed}-{tokens}.npy"
    if path.exists():
        return np.load(path, mmap_mode="r")
    end = tokenizer.eos_token_id
    stream, filled, source = np.empty(tokens, dtype=np.uint16), 0, documents(seed)
    while filled < tokens:
        texts = [document.text for document in islice(source, 5000)]
        for encoding in tokenizer.backend_tokenizer.encode_batch(texts):
            ids = [*encoding.ids, end][: tokens - filled]
            stream[filled : filled + len(ids)] = ids
            filled += len(ids)
    with written_aside(path) as part, part.open("wb") as file:
        np.save(file, stream)
    return stream


def new_model(size: Size, end: int = 0):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=CONTEXT,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end,
        eos_token_id=end,
        architectures=["GPT2LMHeadModel"],
    )
    return GPT2LMHeadModel(config)


def window_loss(model, windows: torch.Tensor) -> torch.Tensor:
    """Mean loss over windows [batch, context + 1]; the head is applied to the whole batch at once."""
    hidden = model.transformer(input_ids=windows[:, :-1], use_cache=False).last_hidden_state
    logits = model.lm_head(hidden.flatten(0, 1))
    return F.cross_entropy(logits.float(), windows[:, 1:].reshape(-1))


@torch.no_grad()
def held_out_loss(model, stream: np.ndarray) -> float:
    """Mean loss in nats over windows of a stream that no run trains on."""
    windows = torch.from_numpy(stream.astype(np.int64)).unfold(0, CONTEXT + 1, CONTEXT)
    return float(np.mean([window_loss(model, part).item() for part in windows.split(MICRO_BATCH)]))


def rate_at(step: int, steps: int, lr: float) -> float:
    return lr * warmup_cosine(step, steps, WARMUP_STEPS, LR_FLOOR)


def optimizers(model) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices (Jordan et al. 2024), AdamW for embeddings, biases and norms.

    Muon's updates are scaled to the size of AdamW's, so that both use the same learning rate.
    """
    matrices, embeddings, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            vectors.append(parameter)
        elif name.endswith(("wte.weight", "wpe.weight")):
            embeddings.append(parameter)
        else:
            matrices.append(parameter)
    groups = [{"params": embeddings, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(matrices, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True),
    ]


def cpu_has_bf16() -> bool:
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _resume(checkpoint: Path, model, both) -> tuple[int, list[dict], float]:
    """Load a checkpoint: (steps done, curve, seconds taken)."""
    state = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(both, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    print(f"resuming from step {state['step']}", flush=True)
    return state["step"], state["curve"], state["seconds"]


def _step(model, both, windows) -> float:
    """One step of both optimizers on a batch, in micro-batches; returns its loss."""
    bf16, total = cpu_has_bf16(), 0.0
    for part in windows.split(MICRO_BATCH):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = window_loss(model, part) * len(part) / BATCH
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    for optimizer in both:
        optimizer.step()
        optimizer.zero_grad()
    return total


def pretrain(size: Size, tokenizer, work: Path, tokens: int, seed: int, evaluate, evaluate_every: int = 500):
    """Train on one pass over the stream and return (model, curve).

    work holds the token stream and a checkpoint, written every ten minutes: an interrupted run resumes there.
    evaluate(model) -> dict of figures is called every evaluate_every steps, and EARLY.
    """
    stream = token_stream(tokenizer, seed, tokens, work)
    torch.manual_seed(seed)
    model = new_model(size, tokenizer.eos_token_id).train()
    both = optimizers(model)
    steps = (len(stream) - 1) // (BATCH * CONTEXT)
    checkpoint = work / f"{size.name}-{size.lr:g}-{seed}-{tokens}.pt"
    first, curve, seconds = _resume(checkpoint, model, both) if checkpoint.exists() else (0, [], 0.0)

    started, recent = time.perf_counter(), []
    saved = started
    for step in range(first, steps):
        start = step * BATCH * CONTEXT
        ids = torch.from_numpy(stream[start : start + BATCH * CONTEXT + 1].astype(np.int64))
        windows = ids.unfold(0, CONTEXT + 1, CONTEXT)
        for group in both[0].param_groups + both[1].param_groups:
            group["lr"] = rate_at(step, steps, size.lr)
        total = _step(model, both, windows)
        if not np.isfinite(total):
            raise RuntimeError(f"the loss is {total} at step {step}: lower the rate")
        recent.append(total)
        due = (step + 1) % evaluate_every == 0 or step + 1 in (*EARLY, steps)
        if not due and (step + 1) % LOG_EVERY:
            continue
        row = {
            "step": step + 1,
            "tokens": (step + 1) * BATCH * CONTEXT,
            "loss": round(float(np.mean(recent)), 4),
        }
        row["seconds"] = round(seconds + time.perf_counter() - started)
        recent = []
        if due:
            row |= evaluate(model.eval())
            model.train()
        curve.append(row)
        print(json.dumps(row), flush=True)
        if due or time.perf_counter() - saved > CHECKPOINT_SECONDS:
            saved = time.perf_counter()
            state = {"model": model.state_dict(), "optimizers": [each.state_dict() for each in both]}
            state |= {"step": step + 1, "curve": curve, "seconds": seconds + saved - started}
            with written_aside(checkpoint) as part:
                torch.save(state, part)
    return model.eval(), curve


def export(model, tokenizer, folder: Path) -> None:
    """Write weights (fp16 safetensors), configuration, tokenizer and checksums; other files stay."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    copy.deepcopy(model).half().save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    folder.mkdir(parents=True, exist_ok=True)
    write_checksums(partial)
    for name in sorted(path.name for path in partial.iterdir()):
        os.replace(partial / name, folder / name)
    partial.rmdir()
