"""The machine: the cores and memory that this process may use, and the device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


GIB = 2**30


def cores() -> int:
    """Physical cores that this process may use, within its CPU affinity and container quota."""
    import psutil

    count = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = min(count, len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, round(int(quota) / int(period))))


def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or the container's limit."""
    import psutil

    total = psutil.virtual_memory().total
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return total


def find_device(wanted: str | None = None) -> torch.device:
    """COURSE_DEVICE (or `wanted`) if given, else CUDA, else MPS, else the CPU.

    Raises ValueError for a device that torch does not find on this machine.
    """
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wanted = wanted or os.environ.get("COURSE_DEVICE")
    if not wanted:
        return torch.device(next(kind for kind, there in has.items() if there))
    kind, _, index = wanted.partition(":")
    numbered = kind == "cuda" and index.isascii() and index.isdigit()
    if kind not in has or (wanted != kind and not numbered):
        raise ValueError(
            f"COURSE_DEVICE={wanted[:40]}: choose one of {', '.join(has)} (or cuda:1 and so on)."
        )
    if not has[kind]:
        usable = ", ".join(kind for kind, there in has.items() if there)
        raise ValueError(
            f"COURSE_DEVICE={wanted}: torch {torch.__version__} finds no {kind} here. "
            f"Usable: {usable}. Unset COURSE_DEVICE to let the course choose."
        )
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise ValueError(
            f"COURSE_DEVICE={wanted}: there are {torch.cuda.device_count()} CUDA devices"
            ", counted from cuda:0."
        )
    return torch.device(wanted)


def tree_memory(pid: int) -> int:
    """Resident bytes of a process and all its descendants; 0 if it is gone."""
    import psutil

    total = 0
    try:
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    except psutil.Error:
        pass
    return total


ZOOMS = {"": 1.0, "projector": 1.5}  # by COURSE_STYLE


def zoom() -> float:
    """The magnification of figures, text included; COURSE_STYLE=projector is for the back row.

    Raises ValueError for an unknown style.
    """
    style = os.environ.get("COURSE_STYLE") or ""
    if style not in ZOOMS:
        raise ValueError(f"Unknown COURSE_STYLE {style[:40]!r}: choose projector, or unset it.")
    return ZOOMS[style]
