"""The course's code timed against what a user would pick instead: one process, in turns, ratio of medians."""

import statistics
import time
from collections.abc import Callable

ROWS = {}
PEAKS = {}  # name: targets of memory.measure_peak, ours and the library's


def row(name: str):
    """Decorator that registers a function which returns two callables: (ours, the library's)."""

    def register(build: Callable[[], tuple[Callable, Callable]]):
        ROWS[name] = build
        return build

    return register


def compare_times(ours: Callable, library: Callable, rounds: int) -> dict:
    """Medians in milliseconds and their ratio, ours over the library's; one round of warm-up."""
    times = {ours: [], library: []}
    for _ in range(rounds + 1):
        for run, taken in times.items():
            began = time.perf_counter()
            run()
            taken.append(time.perf_counter() - began)
    mine, theirs = (statistics.median(taken[1:]) for taken in times.values())
    return {"ours_ms": 1000 * mine, "library_ms": 1000 * theirs, "ratio": mine / theirs}


def compare_peaks(ours: Callable, library: Callable) -> dict:
    """Growth of memory during a step in MiB, each in a process of its own, and the ratio."""
    from course_utils.memory import measure_peak

    mine, theirs = (measure_peak(target).growth / 2**20 for target in (ours, library))
    return {"ours_mib": mine, "library_mib": theirs, "ratio": mine / theirs}
