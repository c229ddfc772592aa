"""Training memory: what a step should need, and the peak that a fresh process shows."""

import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from course_utils.training import fast_lm_loss


@dataclass(frozen=True)
class PeakMemory:
    """Resident set in bytes: libraries loaded and nothing built, after warm-up steps, and at its highest."""

    start_bytes: int
    baseline_bytes: int
    peak_bytes: int

    @property
    def growth(self) -> int:
        """What a step adds for a while to what is there between steps: activations, above all."""
        return self.peak_bytes - self.baseline_bytes

    @property
    def total(self) -> int:
        """All that the model and its training need."""
        return self.peak_bytes - self.start_bytes


def measure_peak(build: Callable, **kwargs) -> PeakMemory:
    """Memory of a training step, measured in a process of its own.

    build, a function of a module: build(**kwargs) makes what is needed and returns a callable, one step. What
    steps leave behind (weights, moments, gradients that are not set to None) is in the baseline. Raises
    RuntimeError with the child's last words if it fails.
    """
    # large blocks go back to the system when freed, so that the resident set follows what is in use
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [
        sys.executable,
        "-c",
        "import pickle, sys; call, *args = pickle.load(sys.stdin.buffer); call(*args)",
    ]
    task = pickle.dumps((_report, build, kwargs))
    child = subprocess.run(command, env=environment, input=task, capture_output=True)
    if child.returncode:
        raise RuntimeError(
            f"measuring {build.__name__} failed: {child.stderr.decode().strip().splitlines()[-1]}"
        )
    return PeakMemory(**json.loads(child.stdout.splitlines()[-1]))


def training_memory(model, batch, loss_fn=fast_lm_loss) -> dict[str, int]:
    """Bytes a step with AdamW should need: weights, gradients, moments (two a trainable value), activations.

    Activations are what the forward pass saves for the backward pass, counted by running it once.
    """
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trainable = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    activations = saved_bytes(lambda: loss_fn(model, batch), model.parameters())
    return {"weights": weights, "gradients": trainable, "moments": 2 * trainable, "activations": activations}


def saved_bytes(forward, parameters=()) -> int:
    """Bytes of what forward() saves for the backward pass, each storage once, parameters left out."""
    known = {p.untyped_storage().data_ptr() for p in parameters}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # held until all is counted: a freed address could come again
    del result
    return sum(saved.values())


def training_step(model="pocket", batch_size=8, tokens=128):
    """For measure_peak: a full fine-tuning step with AdamW on random tokens; gradients are freed after it."""
    from course_utils.models import load_model
    from course_utils.training import accumulated_step, adamw

    model, _ = load_model(model)
    batch = random_batch(model, batch_size, tokens)
    optimizer = adamw(model, lr=1e-5)

    def step():
        accumulated_step(model, [batch], fast_lm_loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


def config_step(source="pocket", method="full", batch_size=8, tokens=128, rank=8):
    """For measure_peak: the step that training_need predicts, on random weights of the configuration."""
    from transformers import AutoModelForCausalLM

    from course_utils.lora import apply_lora
    from course_utils.quantization import quantize_model
    from course_utils.training import accumulated_step, adamw

    model = AutoModelForCausalLM.from_config(load_config(source), dtype=torch.float32)
    if method != "full":
        apply_lora(model, rank)
    if method == "qlora":
        quantize_model(model)
    batch = random_batch(model, batch_size, tokens)
    optimizer = adamw(model, lr=1e-5)

    def step():
        accumulated_step(model, [batch], fast_lm_loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


def random_batch(model, batch_size, tokens):
    """A batch of random tokens with loss on all of them."""
    ids = torch.randint(
        model.config.vocab_size, (batch_size, tokens), generator=torch.Generator().manual_seed(0)
    )
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}


class _Sampler(threading.Thread):
    """Reads the resident set a thousand times a second; torch lets other threads run during an operation."""

    def __init__(self, resident):
        super().__init__(daemon=True)
        self.resident, self.peak, self.finished = resident, 0, threading.Event()

    def run(self):
        while not self.finished.wait(0.001):
            self.peak = max(self.peak, self.resident())


def _measure(build, kwargs):
    import psutil

    process = psutil.Process()

    def resident():
        return process.memory_info().rss

    build(**kwargs)()  # loads the libraries and whatever the first operations set up
    gc.collect()
    start = resident()
    step = build(**kwargs)
    for _ in range(2):
        step()
    baseline = resident()
    sampler = _Sampler(resident)
    sampler.start()
    for _ in range(3):
        step()
    sampler.finished.set()
    sampler.join()
    return PeakMemory(start, baseline, max(sampler.peak, baseline))


def _report(build, kwargs):
    print(json.dumps(asdict(_measure(build, kwargs))))


# ---------------------------------------------------------------------------- from a configuration alone

GIB = 2**30
METHODS = ("full", "lora", "qlora")
PRECISIONS = {
    "fp32": "weights, gradients, moments and activations in fp32",
    "mixed": "full: fp32 weights with a bf16 copy (autocast); adapters: a bf16 base, fp32 adapters",
}
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)  # a value with its share of the twice quantised scales

# Published configurations of well-known models, as far as they bear on memory: nothing is downloaded.
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
    },
    "Llama-2-7B": {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "Mistral-7B": {
        "model_type": "mistral",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "Qwen2.5-7B": {
        "model_type": "qwen2",
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
    "Llama-3.1-8B": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "Qwen2.5-32B": {
        "model_type": "qwen2",
        "vocab_size": 152064,
        "hidden_size": 5120,
        "intermediate_size": 27648,
        "num_hidden_layers": 64,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
    },
    "Llama-3.1-70B": {
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
}


@dataclass(frozen=True)
class Need:
    """What training needs, in bytes; `step`: the most that a step adds to weights, gradients and moments.

    That is above all activations, and less than those where gradients come only as activations go; `saved` is
    what the forward pass keeps for the backward pass.
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
    """A transformers config from a name in KNOWN_MODELS, a config.json or its folder, a dict, or as it is.

    Nothing is downloaded; another name is looked for in the local hub cache. Dropout is set to 0. ValueError.
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
    """Memory of training a model from its configuration alone; source as for load_config.

    Weights, gradients and moments are counted. What a step adds is found by running one on tensors without
    values; of more than four layers, four and two are run, and the rest follows on a straight line. qlora:
    the linear layers but the head in NF4 with double quantisation, one of them de-quantised at a time.
    """
    if method not in METHODS or precision not in PRECISIONS:
        raise ValueError(f"method is one of {METHODS}, precision one of {tuple(PRECISIONS)}")
    if batch_size < 1 or tokens < 2 or rank < 1:
        got = f"{batch_size}, {tokens}, {rank}"
        raise ValueError(f"need batch_size >= 1, tokens >= 2 and rank >= 1; got {got}")
    config = load_config(source)
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and tokens > context:
        raise ValueError(f"{tokens} tokens are more than the model's context of {context}")
    settings = (method, batch_size, tokens, precision, rank, checkpointing)
    layers = config.num_hidden_layers
    if layers <= 4:
        return _joined(_run_empty(config, layers, *settings))
    few, more = (_run_empty(config, count, *settings) for count in (2, 4))
    grown = {name: more[name] + (layers - 4) * (more[name] - few[name]) // 2 for name in more}
    return _joined(grown)


def _joined(parts):
    """The Need, with the higher of the two peaks: before the middle block's backward pass, and after it."""
    beyond = max(parts.pop("early_peak"), parts.pop("late_peak"))
    return Need(step=beyond - parts["gradients"], **parts)


def _run_empty(config, layers, method, batch_size, tokens, precision, rank, checkpointing):
    """One step of a model with so many layers, on tensors without values: bytes by part."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoModelForCausalLM

    from course_utils.lora import apply_lora

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
    settings.pop("layer_types", None)  # one entry a layer, made anew
    return type(config).from_dict(settings)


def _linear_weights(model):
    """Numbers of values of the linear layers' weights, the head's left out."""
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
    """Peaks over the weights before and after the middle of the backward pass, and what forward saved."""
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
    """Bytes of the storages made by operations inside and still alive, and their peak; `known` count as 0."""

    def __init__(self, known):
        super().__init__()
        self.bytes = self.peak = 0
        self.seen = {tensor.untyped_storage()._cdata: None for tensor in known}

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
