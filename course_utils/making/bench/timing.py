"""The course's code timed against libraries a user would pick: one process, alternating, ratios per round."""

import importlib.metadata
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

ROWS = {}
PEAKS = {}  # name: targets of memory.measure_peak, ours and the library's
SLACK = 0.02  # how far a ratio may move beyond its quartiles before it counts as changed
UNAVOIDABLE = (  # no implementation can avoid these: matrix products and attention
    "aten::mm",
    "aten::addmm",
    "aten::addmm_",
    "aten::bmm",
    "aten::baddbmm",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    "mkldnn::_linear_pointwise",
)
PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes")


def row(name: str):
    """Decorator: registers a function that returns two callables, (ours, the library's)."""

    def register(build: Callable[[], tuple[Callable, Callable]]):
        ROWS[name] = build
        return build

    return register


def compare_times(ours: Callable, library: Callable, rounds: int) -> dict:
    """Medians in milliseconds; median and quartiles of the rounds' ratios, after one warm-up round.

    A round runs both in succession, so that other load on the machine affects both. floor: the time in our
    matrix products and attention over the library's total time.
    """
    times = {ours: [], library: []}
    for _ in range(rounds + 1):
        for run, taken in times.items():
            began = time.perf_counter()
            run()
            taken.append(1000 * (time.perf_counter() - began))
    mine, theirs = (taken[1:] for taken in times.values())
    low, ratio, high = statistics.quantiles([a / b for a, b in zip(mine, theirs, strict=True)], n=4)
    return {
        "ours": statistics.median(mine),
        "library": statistics.median(theirs),
        "unit": "ms",
        "ratio": ratio,
        "low": low,
        "high": high,
        "floor": time_in_products(ours) / statistics.median(theirs),
    }


def time_in_products(run: Callable) -> float:
    """Milliseconds that a run spends in UNAVOIDABLE operations, by torch's profiler."""
    import torch

    with torch.autograd.profiler.profile(use_kineto=False) as profiler:
        run()
    return sum(e.self_cpu_time_total for e in profiler.key_averages() if e.key in UNAVOIDABLE) / 1000


def compare_peaks(ours: Callable, library: Callable) -> dict:
    """Memory growth during a step in MiB, each in its own process, and the ratio."""
    from course_utils.memory import measure_peak

    mine, theirs = (measure_peak(target).growth / 2**20 for target in (ours, library))
    ratio = mine / theirs
    return {"ours": mine, "library": theirs, "unit": "MiB", "ratio": ratio, "low": ratio, "high": ratio}


def machine_here() -> dict:
    """What the timings depend on: processor, threads, versions."""
    import torch

    return {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The processor's name, if the system provides it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def slower_rows(now: list[dict], before: list[dict]) -> list[str]:
    """Names of rows whose middle half of ratios lies entirely above the earlier one."""
    highs = {row["name"]: row["high"] for row in before}
    return [row["name"] for row in now if row["low"] > (1 + SLACK) * highs.get(row["name"], float("inf"))]
