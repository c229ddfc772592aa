"""Training memory: the expected need of a step, and the measured peak of a fresh process."""

import gc
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from course_utils.training import fast_lm_loss


@dataclass(frozen=True)
class PeakMemory:
    """Resident set in bytes: after loading the libraries, after warm-up steps, and at its peak."""

    start_bytes: int
    baseline_bytes: int
    peak_bytes: int

    @property
    def growth(self) -> int:
        """What a step needs temporarily, beyond what stays between steps: mostly activations."""
        return self.peak_bytes - self.baseline_bytes

    @property
    def total(self) -> int:
        """All that the model and its training need."""
        return self.peak_bytes - self.start_bytes


def measure_peak(build: Callable, **kwargs) -> PeakMemory:
    """Memory of a training step, measured in its own process.

    build, a module's function: build(**kwargs) prepares and returns a callable that makes one step. What
    steps leave behind (weights, moments, gradients not set to None) is part of the baseline. Raises
    RuntimeError with the child's last line of output if it fails.
    """
    # large blocks are returned to the system when freed, so that the resident set follows the memory in use
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [
        sys.executable,
        "-P",
        "-c",
        "import pickle, sys; call, *args = pickle.load(sys.stdin.buffer); call(*args)",
    ]
    task = pickle.dumps((_report, build, kwargs))
    child = subprocess.run(command, env=environment, input=task, capture_output=True)
    if child.returncode:
        said = child.stderr.decode(errors="replace").strip().splitlines()
        last = said[-1] if said else f"exit status {child.returncode}, as where memory is not enough"
        raise RuntimeError(f"measuring {build.__name__} failed: {last}")
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
    """For measure_peak: a full fine-tuning step with AdamW on random tokens; then gradients are freed."""
    from course_utils.models import load_model

    model, _ = load_model(model)
    return step_with_adamw(model, random_batch(model, batch_size, tokens))


def step_with_adamw(model, batch):
    """For measure_peak: a step with AdamW on the batch; then gradients are freed."""
    from course_utils.training import accumulated_step, adamw

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
    """Reads the resident set a thousand times a second; torch releases the GIL during operations."""

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

    build(**kwargs)()  # loads the libraries and what the first operations set up
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
