"""The training loop over several processes: data parallel by hand, sharded (FSDP2), and with Accelerate.

`run` starts the processes with torchrun on this machine. Each of them draws the same batches, takes its own
rows of each, and all of them take the same step. The loss is divided by the target tokens of the whole batch.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from course_utils.data import batches, encode_prompt_completion, load_questions
from course_utils.training import lm_loss

STOP_SECONDS = 10  # from asking the processes to stop to killing them


def rows_of(batch, rank, world):
    """Every world-th row of a batch, from row `rank` on: a dict of [batch, tokens] -> [its rows, tokens]."""
    return {name: value[rank::world] for name, value in batch.items()}


def total_over_processes(value):
    """The sum of a number over all processes."""
    total = torch.as_tensor(value, dtype=torch.float64)
    if dist.is_initialized():
        dist.all_reduce(total)
    return total.item()


def same_start(model):
    """Gives every process the weights of process 0."""
    for parameter in model.parameters():
        dist.broadcast(parameter.data, src=0)


def add_gradients(model):
    """Replaces every gradient by the sum over the processes."""
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)


def shard(model):
    """Leaves each process a part of every parameter: FSDP2, a group for each block, one for the rest."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for block in model.transformer.h:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def bytes_held(tensors):
    """Bytes that this process keeps of the tensors: its own part of those that are sharded."""
    local = [t.to_local() if hasattr(t, "to_local") else t for t in tensors]
    return sum(t.numel() * t.element_size() for t in local)


def train_by_hand(model, stream, steps, lr):
    """Data parallel: gradients of the summed loss over all target tokens add up to the whole batch's."""
    rank, world = dist.get_rank(), dist.get_world_size()
    same_start(model)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss, count = lm_loss(model, rows_of(next(stream), rank, world))
        tokens = total_over_processes(count)
        (loss / tokens).backward()
        add_gradients(model)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total_over_processes(loss.item()) / tokens)
    return losses, optimizer


def train_averaged(model, stream, steps, lr, prepare, backward):
    """For wrappers that average gradients over the processes: the loss is multiplied by their number."""
    rank, world = dist.get_rank(), dist.get_world_size()
    model, optimizer = prepare(model, lambda parameters: torch.optim.AdamW(parameters, lr=lr))
    losses = []
    for _ in range(steps):
        loss, count = lm_loss(model, rows_of(next(stream), rank, world))
        tokens = total_over_processes(count)
        backward(world * loss / tokens)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total_over_processes(loss.item()) / tokens)
    return losses, optimizer


def train_sharded(model, stream, steps, lr):
    def prepare(model, make_optimizer):
        model = shard(model)
        return model, make_optimizer(model.parameters())

    return train_averaged(model, stream, steps, lr, prepare, torch.Tensor.backward)


def train_accelerate(model, stream, steps, lr):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)

    def prepare(model, make_optimizer):
        return accelerator.prepare(model, make_optimizer(model.parameters()))

    return train_averaged(model, stream, steps, lr, prepare, accelerator.backward)


def train_alone(model, stream, steps, lr):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for _ in range(steps):
        loss, count = lm_loss(model, next(stream))
        (loss / count).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item() / int(count))
    return losses, optimizer


METHODS: dict[str, Callable] = {
    "alone": train_alone,
    "by_hand": train_by_hand,
    "sharded": train_sharded,
    "accelerate": train_accelerate,
}


def work(method: str, model_name: str, steps: int, batch_size: int, lr: float, seed: int) -> dict:
    """What one process does: trains, and reports its losses, seconds and the bytes that it holds."""
    from course_utils.models import load_model

    model, tokenizer = load_model(model_name)
    model.train()
    questions = load_questions("tune")
    examples = [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in questions]
    stream = batches(examples, batch_size, seed, tokenizer.pad_token_id)
    started = time.perf_counter()
    losses, optimizer = METHODS[method](model, stream, steps, lr)
    moments = [v for state in optimizer.state.values() for v in state.values() if v.ndim]
    return {
        "losses": losses,
        "seconds": time.perf_counter() - started,
        "bytes": bytes_held(model.parameters()) + bytes_held(moments),
    }


def run(method, processes=2, *, model="pocket", steps=10, batch_size=16, lr=5e-4, seed=0, log=print):
    """Trains over several processes of this machine and returns what each reported, by rank.

    log is called with every line that a process prints. An interrupt stops the processes, then raises.
    RuntimeError with their last lines where one fails.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}")
    if (method == "alone") != (processes == 1):
        raise ValueError(f"{method!r} with {processes} processes: only 'alone' runs in one, and in no more")
    if batch_size < processes:
        raise ValueError(f"a batch of {batch_size} rows leaves some of {processes} processes without one")
    with tempfile.TemporaryDirectory() as folder:
        settings = {"method": method, "model_name": str(model), "steps": steps, "batch_size": batch_size}
        settings |= {"lr": lr, "seed": seed}
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                   f"--nproc-per-node={processes}", "-m", "course_utils.distributed",
                   json.dumps(settings), folder]  # fmt: skip
        threads = str(max(1, torch.get_num_threads() // processes))
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "ACCELERATE_USE_CPU": "true"}
        if sys.platform == "linux":
            environment["GLOO_SOCKET_IFNAME"] = "lo"  # this machine only; the host's name need not resolve
        lines = follow(command, environment, log)
        reports = [Path(folder) / f"{rank}.json" for rank in range(processes)]
        if not all(report.exists() for report in reports):
            raise RuntimeError(f"a process of {method!r} failed; the last lines:\n" + "\n".join(lines[-15:]))
        return [json.loads(report.read_text()) for report in reports]


def follow(command: list[str], environment: dict, log: Callable[[str], None]) -> list[str]:
    """Runs a command in a process group of its own and returns its lines; nothing is left behind."""
    process = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    lines = []
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            log(lines[-1])
        process.wait()
    finally:
        stop_group(process)
    return lines


def stop_group(process: subprocess.Popen) -> None:
    """Ends the process and all that it started: asks first, then kills."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and group_lives(process):
            time.sleep(0.05)
    process.stdout.close()
    process.wait()


def group_lives(process: subprocess.Popen) -> bool:
    process.poll()  # a child that has ended is not counted
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m course_utils.distributed", description=__doc__)
    parser.add_argument("settings", type=json.loads)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    rank, alone = int(os.environ["RANK"]), args.settings["method"] == "alone"
    if not alone:
        dist.init_process_group("gloo")
    report = work(**args.settings)
    print(f"process {rank}: {len(report['losses'])} steps, last loss {report['losses'][-1]:.4f}", flush=True)
    partial = args.folder / f"{rank}.partial"
    partial.write_text(json.dumps(report))
    partial.rename(args.folder / f"{rank}.json")
    if not alone:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
