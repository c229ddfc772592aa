"""Rehearses recipes/two_nodes.slurm on this machine: stands in for SLURM's commands, keeps the script.

`srun` starts its command once for each node, here. `torchrun` is the real one; its processes meet at a file
instead of a port, and train on the CPU.

python -m course_utils.lessons.lesson_16.two_nodes torchrun ARGUMENTS    what stands for torchrun on a node
python -m course_utils.lessons.lesson_16.two_nodes process SCRIPT ...    one of its processes
"""

from __future__ import annotations

import json
import os
import runpy
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from course_utils.home import ROOT
from course_utils.methods.distributed import follow

SCRIPT = ROOT / "recipes" / "two_nodes.slurm"
MODULE = "course_utils.lessons.lesson_16.two_nodes"
MEETING = "COURSE_MEETING_PLACE"  # a folder that all processes see


def small_base(folder: Path) -> Path:
    """Writes a small random model with a chat template, and its tokenizer; returns their folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from course_utils.budget import KNOWN_MODELS, load_config
    from course_utils.chatml import IM_END, IM_START, TEMPLATE
    from course_utils.data import DATA

    tokenizer = AutoTokenizer.from_pretrained(DATA / "pocket-gpt2", local_files_only=True)
    tokenizer.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
    tokenizer.chat_template, tokenizer.eos_token = TEMPLATE, IM_END
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    logging.disable_progress_bar()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(load_config(KNOWN_MODELS["SmolLM2-135M"] | sizes))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sixteen_conversations() -> str:
    """A file for the recipe, with answers of different lengths: JSON Lines."""
    rows = [
        [
            {"role": "user", "content": f"Count to {number}."},
            {"role": "assistant", "content": " ".join(map(str, range(1, number + 1)))},
        ]
        for number in range(1, 17)
    ]
    return "".join(json.dumps({"messages": messages}) + "\n" for messages in rows)


def how_far_apart(one: Path, other: Path) -> float:
    """The norm of the difference of two saved adapters, over that of the second: of what starts at zero."""
    from safetensors.torch import load_file

    mine, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    if mine.keys() != theirs.keys():
        raise ValueError(f"{one} and {other} have other tensors")
    apart = sum((mine[name] - theirs[name]).float().square().sum() for name in mine if "lora_B" in name)
    size = sum(theirs[name].float().square().sum() for name in mine if "lora_B" in name)
    return float((apart / size).sqrt())


def rehearse_nodes(
    arguments: Sequence[object], nodes: int = 2, log: Callable[[str], object] = print
) -> list[str]:
    """Run two_nodes.slurm with these arguments, all nodes on this machine with a process each; its lines.

    An interrupt stops all processes. RuntimeError with the last lines if one fails, or without bash.
    """
    bash = shutil.which("bash")
    if bash is None:
        raise RuntimeError("two_nodes.slurm needs bash")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in _commands(nodes).items():
            path = Path(folder) / name
            path.write_text(f"#!{bash}\n{text}\n", encoding="utf-8")
            path.chmod(0o755)
        slurm = {"JOB_ID": 1, "NNODES": nodes, "GPUS_ON_NODE": 1, "CPUS_PER_TASK": 1, "JOB_NODELIST": "here"}
        environment = _on_cpu() | {f"SLURM_{name}": str(value) for name, value in slurm.items()}
        environment |= {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", MEETING: folder}
        return _followed([bash, str(SCRIPT), *arguments], environment, log)


def recipe_alone(arguments: Sequence[object], log: Callable[[str], object] = print) -> list[str]:
    """Run the recipe itself with these arguments in one process; its lines."""
    return _followed([sys.executable, str(ROOT / "recipes" / "qlora.py"), *arguments], _on_cpu(), log)


def _commands(nodes: int) -> dict[str, str]:
    """What stands for SLURM's commands, and before torchrun, as scripts."""
    every = f'shift 2; pids=(); for node in $(seq {nodes}); do "$@" & pids+=($!); done'
    ended = 'for pid in "${pids[@]}"; do wait "$pid" || exit 1; done'
    torchrun = f'exec {shlex.quote(sys.executable)} -P -m {MODULE} torchrun "$@"'
    return {"scontrol": "echo localhost", "srun": f"{every}\n{ended}", "torchrun": torchrun}


def _on_cpu() -> dict[str, str]:
    changed = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    changed |= {"HF_HUB_OFFLINE": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    if sys.platform == "linux":
        changed["GLOO_SOCKET_IFNAME"] = "lo"  # the host's name need not resolve
    return os.environ | changed


def _followed(command: list, environment: dict[str, str], log: Callable[[str], object]) -> list[str]:
    """Run a command in the course's folder; RuntimeError unless exactly one process saved an adapter."""
    inside = f"cd {shlex.quote(str(ROOT))} && exec {shlex.join(map(str, command))}"
    lines = follow([shutil.which("bash") or "sh", "-c", inside], environment, log)
    if sum(line.startswith("adapter ") and " in " in line for line in lines) != 1:
        words = "\n".join(lines[-200:])
        raise RuntimeError(f"the recipe did not end well; its last lines:\n{words}")
    return lines


def _torchrun(arguments: list[str]) -> None:
    """The real torchrun with these arguments, but with files for meeting places."""
    from torch.distributed import run

    arguments[arguments.index("--rdzv-endpoint") + 1] = f"{os.environ[MEETING]}/rendezvous"
    script = next(place for place, word in enumerate(arguments) if word.endswith(".py"))
    before, after = arguments[:script], arguments[script:]
    run.main([*before, "--rdzv-conf", "store_type=file", "-m", MODULE, "process", *after])


def _process(arguments: list[str]) -> None:
    """The script, in a process group that meets at a file."""
    import torch.distributed as dist

    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = dist.FileStore(f"{os.environ[MEETING]}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    {"torchrun": _torchrun, "process": _process}[sys.argv[1]](sys.argv[2:])
