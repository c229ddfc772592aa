"""Measures a row on one model: rates first, on a seed that is not reported, then the reported seeds."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from course_utils.home import write_whole
from course_utils.replicate.rows import Arm, Row
from course_utils.stored_runs import CHOICE, known_sweep

MOST_RATES = 7  # of an arm, tried before its search gives up
HALF_DECADE = math.sqrt(10)

RunArm = Callable[[Arm, float | None, int], dict]


class Journal:
    """Runs that are done, by point and seed, in a file: what was interrupted goes on where it stopped."""

    def __init__(self, path: Path, conditions: dict):
        self.path, self.state = path, {"conditions": conditions, "seconds": 0.0, "runs": {}}
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["conditions"] == conditions:
                self.state = stored

    def get(self, point: dict, seed: int, run: Callable[[dict, int], dict]) -> dict:
        """The stored result of a run, or that of run(point, seed), stored."""
        key, runs = json.dumps([point, seed], sort_keys=True), self.state["runs"]
        if key not in runs:
            began = time.perf_counter()
            runs[key] = run(point, seed)
            self.state["seconds"] += time.perf_counter() - began
            write_whole(self.path, json.dumps(self.state))
        return runs[key]


def measure(row: Row, seeds: Sequence[int], journal: Journal, show: Callable[[str], None] = print) -> dict:
    """{"tried": losses by arm, seed and rate, "rates", "values", "controls": one a seed, "results"}."""
    run, expected = known_sweep(row.sweep).run, expected_runs(row, seeds)

    def run_arm(arm: Arm, rate: float | None, seed: int) -> dict:
        point = arm.at(rate)
        result = journal.get(point, seed, lambda *asked: scalars(run(*asked)))
        done = f"{len(journal.state['runs'])} of about {expected} runs"
        numbers = ", ".join(f"{key} {value:.4g}" for key, value in result.items())
        show(f"{done}: {point}, seed {seed}: {numbers}")
        return result

    tried: dict[str, dict[int, dict[float, float]]] = {name: {} for name in row.arms}

    def loss_at(arm: Arm, seed: int, rate: float) -> float:
        return run_arm(arm, rate, seed)[row.choose_by]

    def rates_of(seed: int) -> dict[str, float]:
        rates = {}
        for name, arm in row.arms.items():
            if arm.lr is not None:
                losses = search_rate(partial(loss_at, arm, seed), arm.lr)
                tried[name][seed] = losses
                rates[name] = min(losses, key=losses.__getitem__)
        same = {name: rates[arm.rate_of] for name, arm in row.arms.items() if arm.rate_of}
        return rates | same

    chosen = None if row.rates_by_seed else rates_of(CHOICE[0])
    measured: dict = {"tried": tried, "rates": [], "values": [], "controls": [], "results": []}
    for seed in seeds:
        rates = chosen or rates_of(seed)
        results = {name: run_arm(arm, rates.get(name), seed) for name, arm in row.arms.items()}
        measured["rates"].append(rates)
        measured["results"].append(results)
        measured["values"].append(row.value(results, rates))
        measured["controls"].append(row.of_control(results, rates))
    return measured


def expected_runs(row: Row, seeds: Sequence[int]) -> int:
    """How many runs a row takes, if each search for a rate ends after three."""
    searched = sum(arm.lr is not None for arm in row.arms.values())
    if row.rates_by_seed:
        return len(seeds) * (2 * searched + len(row.arms))
    return 3 * searched + len(seeds) * len(row.arms)


def scalars(result: dict) -> dict[str, float]:
    """A run's result without its lists and texts."""
    return {name: value for name, value in result.items() if isinstance(value, int | float)}


def search_rate(loss_at: Callable[[float], float], start: float) -> dict[float, float]:
    """{rate: loss} around start in half decades, until the lowest loss lies inside."""
    steps = {step: loss_at(at_step(start, step)) for step in (-1, 0, 1)}
    while len(steps) < MOST_RATES:
        best = min(steps, key=steps.__getitem__)
        if best not in (min(steps), max(steps)):
            break
        further = best - 1 if best == min(steps) else best + 1
        steps[further] = loss_at(at_step(start, further))
    else:
        tried = ", ".join(f"{at_step(start, step):g}" for step in sorted(steps))
        raise ValueError(f"the best of the rates {tried} is at the edge")
    return {at_step(start, step): loss for step, loss in sorted(steps.items())}


def at_step(start: float, step: int) -> float:
    """start, `step` half decades further, to three digits."""
    return float(f"{start * HALF_DECADE**step:.3g}")
