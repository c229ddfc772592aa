"""The training loop over several processes: data parallel by hand, sharded (FSDP2), and with Accelerate.

`run_processes` starts them with torchrun on this machine. Every process draws the same batches, takes its own
rows of each, and takes the same step. The loss is divided by the target tokens of the whole batch. The
processes end when the process that started them ends for any reason.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from course_utils.data import Batch, batches, encode_prompt_completion, load_questions
from course_utils.home import write_whole
from course_utils.processes import end_with_parent, kill
from course_utils.training import lm_loss

Trained = tuple[nn.Module, torch.optim.Optimizer, list[float]]
STOP_SECONDS = 10  # between asking the processes to stop and killing them


def rows_of_process(rows: int, rank: int, world: int) -> list[int]:
    """The numbers of its rows, out of 0 to rows - 1, for process `rank` of `world`: a list."""
    return list(range(rank, rows, world))


def rows_of(batch: Batch, rank: int, world: int) -> Batch:
    """A process's rows of a batch: a dict of [batch, tokens] -> [its rows, tokens]."""
    mine = [int(row) for row in rows_of_process(len(batch["input_ids"]), rank, world)]
    return {name: value[mine] for name, value in batch.items()}


def process_loss(loss: Tensor, tokens: float, world: int, averaged: bool = False) -> Tensor:
    """The loss on which a process calls backward, to get the gradients of the batch's mean loss.

    loss: summed over the process's own target tokens; tokens: the target tokens of all processes.
    averaged: gradients will be averaged over the `world` processes; otherwise they are summed.
    """
    return loss * (world if averaged else 1) / tokens


def total_over_processes(value: Tensor | float) -> float:
    """The sum of a number over all processes."""
    total = torch.as_tensor(value, dtype=torch.float64)
    if dist.is_initialized():
        dist.all_reduce(total)
    return total.item()


def same_start(model: nn.Module) -> None:
    """Gives every process the weights of process 0."""
    for parameter in model.parameters():
        dist.broadcast(parameter.data, src=0)


def add_gradients(model: nn.Module) -> None:
    """Replaces every gradient by the sum over the processes; frozen weights have none."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            dist.all_reduce(parameter.grad)


def shard(model: nn.Module) -> Any:
    """Leaves each process a part of every parameter: FSDP2, a group for each block, one for the rest."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for block in next(m for m in model.modules() if isinstance(m, nn.ModuleList)):  # the blocks
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def bytes_held(tensors: Iterable[Tensor]) -> int:
    """Bytes of the tensors in this process: its own shard of sharded ones."""
    local = [t.to_local() if hasattr(t, "to_local") else t for t in tensors]
    return sum(t.numel() * t.element_size() for t in local)


def sent_bytes() -> int | None:
    """Bytes that this process has written so far, mostly to its sockets; None if they are not counted."""
    process = psutil.Process()
    counters = process.io_counters() if hasattr(process, "io_counters") else None
    return getattr(counters, "write_chars", None)


def train_by_hand(model: nn.Module, stream: Iterator[Batch], steps: int, lr: float) -> Trained:
    """Data parallel: every process takes its rows of each batch, and all take the same step."""
    rank, world = dist.get_rank(), dist.get_world_size()
    same_start(model)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss, count = lm_loss(model, rows_of(next(stream), rank, world))
        tokens = total_over_processes(count)
        process_loss(loss, tokens, world).backward()
        add_gradients(model)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total_over_processes(loss.item()) / tokens)
    return model, optimizer, losses


def train_script(model: nn.Module, stream: Iterator[Batch], steps: int, lr: float) -> Trained:
    """The script of lesson 16's bug hunt. Read it after the hunt.

    Every process divides by its own target tokens, and the means are averaged (divided by world, added up):
    that is another loss.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    same_start(model)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss, count = lm_loss(model, rows_of(next(stream), rank, world))
        (loss / count / world).backward()
        add_gradients(model)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total_over_processes(loss.item()) / total_over_processes(count))
    return model, optimizer, losses


def train_averaged(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    stream: Iterator[Batch],
    steps: int,
    backward: Callable[[Tensor], object] = torch.Tensor.backward,
) -> Trained:
    """For wrappers that average the gradients over the processes."""
    rank, world = dist.get_rank(), dist.get_world_size()
    losses = []
    for _ in range(steps):
        loss, count = lm_loss(model, rows_of(next(stream), rank, world))
        tokens = total_over_processes(count)
        backward(process_loss(loss, tokens, world, averaged=True))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total_over_processes(loss.item()) / tokens)
    return model, optimizer, losses


def train_sharded(model: nn.Module, stream: Iterator[Batch], steps: int, lr: float) -> Trained:
    model = shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    return train_averaged(model, optimizer, stream, steps)


def train_accelerate(
    model: nn.Module, stream: Iterator[Batch], steps: int, lr: float, plugin: Any = None
) -> Trained:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True, fsdp_plugin=plugin)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    model, optimizer = accelerator.prepare(model, optimizer)
    return train_averaged(model, optimizer, stream, steps, accelerator.backward)


def train_accelerate_fsdp(model: nn.Module, stream: Iterator[Batch], steps: int, lr: float) -> Trained:
    """Accelerate with FSDP2 requested; on a CPU it wraps the model in DDP instead."""
    from accelerate import FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, auto_wrap_policy="transformer_based_wrap")
    return train_accelerate(model, stream, steps, lr, plugin)


def train_alone(model: nn.Module, stream: Iterator[Batch], steps: int, lr: float) -> Trained:
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss, count = lm_loss(model, next(stream))
        (loss / count).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item() / int(count))
    return model, optimizer, losses


METHODS: dict[str, Callable] = {
    "alone": train_alone,
    "by_hand": train_by_hand,
    "script": train_script,
    "sharded": train_sharded,
    "accelerate": train_accelerate,
    "accelerate_fsdp": train_accelerate_fsdp,
}


def train_in_process(method: str, model_name: str, steps: int, batch_size: int, lr: float, seed: int) -> dict:
    """The work of one process: trains, and reports its losses, seconds, memory and communication.

    model: the wrapper's name; bytes: of weights and moments; sent: bytes per step, None if not counted.
    """
    from course_utils.models import load_model

    model, tokenizer = load_model(model_name)
    model.train()
    questions = load_questions("tune")
    examples = [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in questions]
    stream = batches(examples, batch_size, seed, tokenizer.pad_token_id)
    started, sent = time.perf_counter(), sent_bytes()
    model, optimizer, losses = METHODS[method](model, stream, steps, lr)
    sent_now = sent_bytes()
    moments = [v for state in optimizer.state.values() for v in state.values() if v.ndim]
    return {
        "losses": losses,
        "seconds": time.perf_counter() - started,
        "model": type(model).__name__,
        "bytes": bytes_held(model.parameters()) + bytes_held(moments),
        "sent": None if sent is None or sent_now is None else (sent_now - sent) / steps,
    }


def run_processes(
    method: str | Sequence[str],
    processes: int = 2,
    *,
    model: str | Path = "pocket",
    steps: int = 10,
    batch_size: int = 16,
    lr: float = 5e-4,
    seed: int = 0,
    functions: Sequence[Callable] = (),
    log: Callable[[str], object] = print,
) -> list[dict] | dict[str, list[dict]]:
    """Train over several processes on this machine; returns each process's report, by rank.

    method: a name in METHODS, or several to run in sequence, for {method: reports}. functions: a notebook's
    own, which replace this module's of the same names; they are sent as source. log is called with every
    line that a process prints. An interrupt stops the processes, then raises. RuntimeError with the last
    lines if a process fails.
    """
    methods = [method] if isinstance(method, str) else list(method)
    _check(methods, processes, batch_size)
    with tempfile.TemporaryDirectory() as folder:
        settings = {"model_name": str(model), "steps": steps, "batch_size": batch_size}
        settings |= {"lr": lr, "seed": seed}
        command = [
            sys.executable,
            "-P",
            "-m",
            "torch.distributed.run",
            "--rdzv-backend=c10d",  # rendezvous by files: torch's TCP store listens on all interfaces
            "--rdzv-conf=store_type=file",
            f"--rdzv-endpoint={folder}/rendezvous",
            f"--nproc-per-node={processes}",
            "-m",
            "course_utils.methods.distributed",
            ",".join(methods),
            json.dumps(settings),
            json.dumps(sources_of(functions)),
            folder,
        ]
        lines = follow(command, _environment(processes), log)
        reports = [Path(folder) / f"{rank}.json" for rank in range(processes)]
        if not all(report.exists() for report in reports):
            words = "\n".join(lines[-15:])
            raise RuntimeError(f"a process of {', '.join(methods)} failed; the last lines:\n{words}")
        of_ranks = [json.loads(report.read_text(encoding="utf-8")) for report in reports]
    results = {name: [report[name] for report in of_ranks] for name in methods}
    return results[method] if isinstance(method, str) else results


def _check(methods: list[str], processes: int, batch_size: int) -> None:
    """ValueError for what cannot run in this many processes."""
    for name in methods:
        if name not in METHODS:
            raise ValueError(f"unknown method {name!r}; choose one of {', '.join(METHODS)}")
        if (name == "alone") != (processes == 1):
            raise ValueError(f"{name!r} with {processes} processes: only 'alone' runs in one, and in no more")
    if batch_size < processes:
        raise ValueError(f"a batch of {batch_size} rows leaves some of {processes} processes without one")


def _environment(processes: int) -> dict[str, str]:
    """The environment of each process: its share of the threads, and only the loopback network."""
    threads = str(max(1, torch.get_num_threads() // processes))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "ACCELERATE_USE_CPU": "true"}
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # torchrun's own, see run_processes
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"  # the host's name need not resolve
    return environment


def sources_of(functions: Sequence[Callable]) -> list[str]:
    """The sources of the functions that are not in this package, which the processes have."""
    return [inspect.getsource(fn) for fn in functions if not fn.__module__.startswith("course_utils.")]


def follow(command: list[str], environment: dict, log: Callable[[str], object]) -> list[str]:
    """Run a command out of Ctrl-C's reach and return its lines; leaves no process behind."""
    process = subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
    )
    lines = []
    try:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            log(lines[-1])
        process.wait()
    finally:
        stop_family(process)
    return lines


def stop_family(process: subprocess.Popen) -> None:
    """End the process and all its descendants: terminate, then kill.

    Descendants whose own parent has ended are not found; they end when their stdin does.
    """
    family = []
    if process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            above = psutil.Process(process.pid)
            family = [*above.children(recursive=True), above]
    for member in family:
        with suppress(psutil.Error):
            member.terminate()
    _, family = psutil.wait_procs(family, timeout=STOP_SECONDS)
    kill(family)
    for pipe in filter(None, (process.stdin, process.stdout)):
        pipe.close()
    process.wait()


def say(line: str) -> None:
    """Print a line in one write, so that processes do not mix their lines."""
    print(line + "\n", end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m course_utils.methods.distributed", description=__doc__)
    parser.add_argument("methods", type=lambda names: names.split(","))
    parser.add_argument("settings", type=json.loads)
    parser.add_argument("functions", type=json.loads)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    end_with_parent()
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world > 1:
        store = dist.FileStore(str(args.folder / "store"), world)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    for source in args.functions:
        exec(source, globals())  # a learner's function takes the place of the one above
    reports = {}
    for method in args.methods:
        say(f"process {rank} of {world}: {method}")
        reports[method] = train_in_process(method, **args.settings)
        losses = reports[method]["losses"]
        say(f"process {rank} of {world}: {len(losses)} steps, last loss {losses[-1]:.4f}")
    write_whole(args.folder / f"{rank}.json", json.dumps(reports))
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
