"""Which card, how long, at what price: training memory compared with a card's memory, and time and cost."""

from __future__ import annotations

import os
import time
import weakref
from dataclasses import dataclass
from functools import lru_cache

import torch

from course_utils.machine import GIB, memory

# ---------------------------------------------------------------------------- from a configuration only

TRAINING_METHODS = ("full", "lora", "qlora")
PRECISIONS = {
    "fp32": "weights, gradients, moments and activations in fp32",
    "mixed": "full: fp32 weights with a bf16 copy (autocast); adapters: a bf16 base, fp32 adapters",
}
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)  # bits of a value with its share of the doubly quantised scales

# Memory-relevant settings of well-known models, from their published configurations; nothing is downloaded.
KNOWN_MODELS = {
    "gpt2": {"model_type": "gpt2"},
    "gpt2-xl": {"model_type": "gpt2", "n_layer": 48, "n_embd": 1600, "n_head": 25},
    "SmolLM2-135M": {
        "model_type": "llama",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
        "max_position_embeddings": 8192,
    },
    "Qwen2.5-0.5B": {
        "model_type": "qwen2",
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
        "max_position_embeddings": 32768,
    },
    "Llama-3.2-1B": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "tie_word_embeddings": True,
        "max_position_embeddings": 131072,
    },
    "Llama-2-7B": {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
    },
    "Mistral-7B": {
        "model_type": "mistral",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 32768,
        "sliding_window": None,
    },
    "Qwen2.5-7B": {
        "model_type": "qwen2",
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 131072,
    },
    "Llama-3.1-8B": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
    },
    "Qwen2.5-32B": {
        "model_type": "qwen2",
        "vocab_size": 152064,
        "hidden_size": 5120,
        "intermediate_size": 27648,
        "num_hidden_layers": 64,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
    },
    "Llama-3.1-70B": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
    },
    "SmolLM3-3B": {
        "model_type": "smollm3",
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 65536,
        "tie_word_embeddings": True,
    },
    "Qwen3-0.6B": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
        "tie_word_embeddings": True,
    },
    "Qwen3-4B": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
        "tie_word_embeddings": True,
    },
    "Qwen3-8B": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
    },
    "Qwen3-32B": {
        "model_type": "qwen3",
        "vocab_size": 151936,
        "hidden_size": 5120,
        "intermediate_size": 25600,
        "num_hidden_layers": 64,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
    },
}


@dataclass(frozen=True)
class Need:
    """Training memory in bytes; `step`: the peak of a step beyond weights, gradients and moments.

    `step` is mostly activations. It is smaller than their sum if activations are freed while gradients are
    allocated. `saved`: what the forward pass keeps for the backward pass.
    """

    parameters: int
    trainable: int
    weights: int
    gradients: int
    moments: int
    step: int
    saved: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.moments + self.step


def load_config(source):
    """A transformers config from a name in KNOWN_MODELS, a config.json or its folder, a dict or a config.

    Nothing is downloaded; other names are looked up in the local hub cache. Dropout is set to 0. Raises
    ValueError if there is no such configuration.
    """
    from transformers import AutoConfig

    from course_utils.models import POCKET, prepare_config

    if isinstance(source, str) and source == "pocket":
        source = POCKET
    if isinstance(source, str) and source in KNOWN_MODELS:
        source = KNOWN_MODELS[source]
    try:
        if isinstance(source, dict):
            settings = dict(source)
            config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        elif isinstance(source, str | os.PathLike):
            config = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
        else:
            config = source
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"no configuration of {str(source)!r}: give one of {', '.join(KNOWN_MODELS)}, the path of a "
            f"config.json, or a dict with model_type ({type(error).__name__})"
        ) from None
    prepare_config(config)
    return config


def training_need(
    source, method="full", batch_size=8, tokens=128, precision="fp32", rank=8, checkpointing=False
) -> Need:
    """Training memory of a model from its configuration only; source as in load_config.

    Weights, gradients and moments are counted. The peak of a step is measured by running one on tensors
    without values; deeper models are run with two and with four layers and extrapolated linearly, or with as
    many as have each kind of layer in its share.
    qlora: the linear layers except the head in NF4 with double quantisation, dequantised one at a time.
    """
    if method not in TRAINING_METHODS or precision not in PRECISIONS:
        raise ValueError(f"method is one of {TRAINING_METHODS}, precision one of {tuple(PRECISIONS)}")
    if batch_size < 1 or tokens < 2 or rank < 1:
        got = f"{batch_size}, {tokens}, {rank}"
        raise ValueError(f"need batch_size >= 1, tokens >= 2 and rank >= 1; got {got}")
    config = load_config(source)
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and tokens > context:
        raise ValueError(f"{tokens} tokens are more than the model's context of {context}")
    settings = (method, batch_size, tokens, precision, rank, checkpointing)
    layers = config.num_hidden_layers
    step = _repeat(getattr(config, "layer_types", None) or [])
    if layers <= 2 * step:
        return _joined(_run_empty(config, layers, *settings))
    few, more = (_run_empty(config, count, *settings) for count in (step, 2 * step))
    grown = {name: more[name] + (layers - 2 * step) * (more[name] - few[name]) // step for name in more}
    return _joined(grown)


def _repeat(kinds):
    """After how many layers, two at least, their kinds repeat."""
    return next(n for n in range(2, len(kinds) + 3) if kinds[n:] == kinds[: max(0, len(kinds) - n)])


def _joined(parts):
    """The Need with the higher of the two peaks: before the middle block's backward pass, and after it."""
    beyond = max(parts.pop("early_peak"), parts.pop("late_peak"))
    return Need(step=beyond - parts["gradients"], **parts)


def _run_empty(config, layers, method, batch_size, tokens, precision, rank, checkpointing):
    """One step of a model with this many layers on tensors without values: bytes by part."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoModelForCausalLM

    from course_utils.methods.lora import apply_lora

    low = torch.bfloat16 if precision == "mixed" else torch.float32
    with FakeTensorMode():
        held = torch.float32 if method == "full" else low
        model = AutoModelForCausalLM.from_config(_with_layers(config, layers), dtype=held)
        parameters = sum(p.numel() for p in model.parameters())
        linear = _linear_weights(model)
        if method != "full":
            apply_lora(model, rank)
        if checkpointing:
            if hasattr(model, "activation_checkpointing_enable"):  # its name since transformers 5.24
                model.activation_checkpointing_enable({"use_reentrant": False})
            else:
                model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        trainable = [p for p in model.parameters() if p.requires_grad]
        frozen = [p for p in model.parameters() if not p.requires_grad]
        weights = _bytes(trainable) + _bytes(frozen)
        if method == "qlora":
            weights += int(sum(linear) * NF4_BITS / 8) - sum(linear) * low.itemsize
        early, late, saved = _peaks(model.train(), layers, batch_size, tokens, low)
        if method == "qlora":
            early, late = (peak + max(linear) * low.itemsize for peak in (early, late))
    values = sum(p.numel() for p in trainable)
    counts = {"parameters": parameters, "trainable": values, "weights": weights}
    optimiser = {"gradients": _bytes(trainable), "moments": 2 * _bytes(trainable)}
    return counts | optimiser | {"early_peak": early, "late_peak": late, "saved": saved}


def _with_layers(config, layers):
    """A copy of the config with another number of layers."""
    settings = config.to_dict()
    settings[config.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = layers
    settings.pop("layer_types", None)  # one entry per layer; rebuilt
    return type(config).from_dict(settings)


def _linear_weights(model):
    """Number of values in each linear layer's weight, the head excluded."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return [
        module.weight.numel()
        for module in model.modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    ]


def _bytes(tensors):
    return sum(t.numel() * t.element_size() for t in tensors)


def _peaks(model, layers, batch_size, tokens, dtype):
    """Peaks above the weights before and after the middle of the backward pass, and what forward saved."""
    from torch import nn

    blocks = next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == layers)
    ids = torch.zeros(batch_size, tokens, dtype=torch.long)
    live = _Live([*model.parameters(), *model.buffers()])
    peaks = []

    def halfway(_):
        peaks.append(live.peak)
        live.peak = live.bytes

    def mark(module, inputs, output):
        hidden = output[0] if isinstance(output, tuple) else output
        hidden.register_hook(halfway)

    blocks[layers // 2 - 1].register_forward_hook(mark)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
    with live:
        with autocast:
            predicting = torch.arange(tokens - 1)
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=predicting).logits
            targets = ids[:, 1:].flatten()
            loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets, reduction="sum")
        del logits
        saved = live.bytes
        loss.backward()
    return max(peaks), live.peak, saved


class _Live(torch.utils._python_dispatch.TorchDispatchMode):
    """Bytes alive of the storages allocated by operations inside, and their peak; `known` count 0."""

    def __init__(self, known):
        super().__init__()
        self.bytes = self.peak = 0
        self.seen: dict[int, weakref.ref | None] = {tensor.untyped_storage()._cdata: None for tensor in known}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key in self.seen:
            return

        def gone(_):
            self.bytes -= size
            del self.seen[key]

        self.seen[key] = weakref.ref(storage, gone)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)


# memory in GiB and dense 16-bit tensor TFLOP/s, from the vendors' data sheets; of T4 and L4 what PyTorch
# reports: error correction takes part of their 16 and 24 GB
CARDS: dict[str, tuple[float, float]] = {
    "T4": (14.7, 65),
    "RTX 3090": (24, 71),
    "RTX 4090": (24, 165),
    "L4": (22, 121),
    "RTX 5090": (32, 209),
    "A100 40 GB": (40, 312),
    "L40S": (48, 362),
    "A100 80 GB": (80, 312),
    "H100 80 GB": (80, 989),
    "H200": (141, 989),
    "B200": (180, 2250),
    "MI300X": (192, 1307),
}
FP32_TFLOPS = {"T4": 8.1}  # of cards without bf16: the 16-bit parts are fp32 there
THIS_MACHINE = "this machine"
CONTEXT = GIB  # used by the driver and the libraries before any tensor: an assumption
FRAGMENTS = 1.1  # memory the allocator holds over what tensors use: an assumption
UTILISATION = 0.35  # share of the card's TFLOP/s that training reaches: an assumption


def cards_here(size: int = 2048) -> list[str]:
    """Names of the cards and of this machine (its GPU, else its CPU), its memory and TFLOP/s as found here.

    The TFLOP/s are those of a product of two [size, size] matrices in the training precision, measured
    once.
    """
    if THIS_MACHINE not in CARDS:
        cuda = torch.cuda.is_available()
        dtype = torch.bfloat16 if training_precision(THIS_MACHINE) == "mixed" else torch.float32
        x = torch.randn(size, size, device="cuda" if cuda else "cpu", dtype=dtype)
        (x @ x)[0, 0].item()
        began = time.perf_counter()
        (x @ x)[0, 0].item()
        tflops = 2 * size**3 / (time.perf_counter() - began) / 1e12
        total = torch.cuda.get_device_properties(0).total_memory if cuda else memory()
        CARDS[THIS_MACHINE] = (total / GIB, tflops)
    return list(CARDS)


@dataclass(frozen=True)
class MemoryPlan:
    """A training run on a card. largest_batch is 0 if no example fits; cost is in price's currency."""

    need: Need
    card_bytes: int
    used_bytes: int
    fits: bool
    largest_batch: int
    hours: float
    cost: float


def training_flop(parameters, tokens, frozen=False, checkpointing=False):
    """FLOP of training on this many tokens: 2 per parameter and token for each product with the weights.

    The forward pass is one product. The backward pass has one for the gradients of the activations and one
    for those of the weights, which frozen weights skip; checkpointing repeats the forward pass. Attention
    scores are not counted; head and adapters are not treated separately.
    """
    products = 1 + (1 if frozen else 2) + (1 if checkpointing else 0)
    return 2 * products * parameters * tokens


def training_precision(card) -> str:
    """The entry of PRECISIONS a card trains in: mixed if it has bf16. This machine's CPU trains in fp32."""
    if card == THIS_MACHINE:
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        bf16 = card not in FP32_TFLOPS
    return "mixed" if bf16 else "fp32"


def training_tflops(card) -> float:
    """TFLOP/s of a card in its training precision."""
    return FP32_TFLOPS.get(card, CARDS[card][1])


def training_hours(flop, card) -> float:
    """Hours that a card takes for this many FLOP, at UTILISATION of its TFLOP/s."""
    return flop / (training_tflops(card) * 1e12 * UTILISATION) / 3600


def plan(
    model,
    method="qlora",
    batch_size=4,
    tokens=1024,
    card="RTX 4090",
    price=1.0,
    checkpointing=True,
    examples=10_000,
    epochs=3,
) -> MemoryPlan:
    """Memory, time and cost of training in the card's training_precision; model as in load_config.

    price is per hour.
    """
    if card not in CARDS:
        raise ValueError(f"unknown card {card!r}; choose one of {', '.join(CARDS)}")
    size = CARDS[card][0]

    def need_at(rows):
        return _need(model, method, rows, tokens, training_precision(card), checkpointing)

    need = need_at(batch_size)
    flop = training_flop(need.parameters, examples * epochs * tokens, method != "full", checkpointing)
    hours = training_hours(flop, card)
    used = _used(need)
    return MemoryPlan(
        need=need,
        card_bytes=int(size * GIB),
        used_bytes=used,
        fits=used <= size * GIB,
        largest_batch=_largest(need_at, size * GIB),
        hours=hours,
        cost=hours * price,
    )


def fits(model, method, batch_size, tokens, card, checkpointing=True) -> bool:
    """Whether training fits on a card: as `plan`, without its search for the largest batch."""
    need = _need(model, method, batch_size, tokens, training_precision(card), checkpointing)
    return _used(need) <= CARDS[card][0] * GIB


def _used(need):
    return int(need.total * FRAGMENTS) + CONTEXT


def _largest(need_at, limit):
    """The largest batch that fits, 0 if none: linear interpolation alternating with bisection."""
    used = {rows: _used(need_at(rows)) for rows in (1, 8)}
    if used[1] > limit:
        return 0
    fits, over = (8, None) if used[8] <= limit else (1, 8)
    while over is None or over - fits > 1:
        other = over or 1
        slope = (used[other] - used[fits]) / (other - fits)
        rows = max(fits + 1, fits + int((limit - used[fits]) / max(1, slope)))
        if over is not None:
            rows = min(rows, over - 1) if len(used) % 2 else (fits + over) // 2
        used[rows] = _used(need_at(rows))
        fits, over = (rows, over) if used[rows] <= limit else (fits, rows)
    return fits


@lru_cache(maxsize=256)
def _cached_need(model, method, batch_size, tokens, precision, checkpointing):
    return training_need(model, method, batch_size, tokens, precision, checkpointing=checkpointing)


def _need(model, method, batch_size, tokens, precision, checkpointing):
    """training_need, cached for models given by name."""
    if isinstance(model, str):
        return _cached_need(model, method, batch_size, tokens, precision, checkpointing)
    return training_need(model, method, batch_size, tokens, precision, checkpointing=checkpointing)
