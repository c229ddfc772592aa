"""The stored runs of lesson 14, by method: the sweeps over settings, and the five seeds at the best ones."""

from __future__ import annotations

import functools

import torch

from course_utils.lessons.lesson_14.comparison import METHODS, STEPS
from course_utils.lessons.lesson_14.experiments import LONGER
from course_utils.lessons.lesson_14.on_top import ON_TOP
from course_utils.stored_runs import load_sweep

CALLS = "three calls"


def sweep_runs(method: str, steps: int = STEPS) -> list[dict]:
    """The runs of the sweeps over a method's settings, each with its `setting` and `seed`."""
    names = {STEPS: ("method_settings", "finer_rates", "on_top_settings"), LONGER: ("rates_longer",)}[steps]
    rows = [row for name in names for row in load_sweep(name)["rows"] if row["point"]["method"] == method]
    return [row["result"] | {"setting": row["point"]["setting"], "seed": row["seed"]} for row in rows]


def by_setting(method: str, name: str, steps: int = STEPS) -> dict[float, list[float]]:
    """{setting: values of that name, one for each seed}, settings in increasing order."""
    found: dict[float, list[float]] = {}
    for run in sweep_runs(method, steps):
        found.setdefault(run["setting"], []).append(run[name])
    return dict(sorted(found.items()))


@functools.cache
def best_runs(method: str, steps: int = STEPS) -> list[dict]:
    """The runs at a method's best setting, one for each seed; of the three calls one, its best wording."""
    if method == CALLS:
        wordings = [row["result"] for row in load_sweep("prompt_wordings")["rows"]]
        best = max(wordings, key=lambda run: run["right"])
        return [best | {"right": best["right_judged"]}]
    longer = {("LoRA", LONGER): "lora_longer", ("full", LONGER): "full_longer"}
    if name := longer.get((method, steps)):
        rows = load_sweep(name)["rows"]
    else:
        if method not in (*METHODS, *ON_TOP) or steps != STEPS:
            known = ", ".join((CALLS, *METHODS, *ON_TOP))
            raise ValueError(
                f"{STEPS} steps of {known}, or {LONGER} of LoRA and full; got {steps} of {method!r}"
            )
        rows = load_sweep("methods_on_top" if method in ON_TOP else "methods")["rows"]
        rows = [row for row in rows if row["point"]["method"] == method]
    return [row["result"] for row in rows]


def values(method: str, name: str, steps: int = STEPS) -> list[float]:
    """A measure of a method at its best setting, one value for each seed."""
    return [run[name] for run in best_runs(method, steps)]


def right_by_list(method: str, steps: int = STEPS) -> torch.Tensor:
    """1 for each list that a method named right, else 0: [seeds, lists]."""
    return torch.tensor(
        [[int(digit) for digit in run["answers"]] for run in best_runs(method, steps)]
    ).float()


def peaks() -> dict[str, float]:
    """{method: its peak in MB}: in training, for prompting in answering."""
    rows = [*load_sweep("method_memory")["rows"], *load_sweep("on_top_memory")["rows"]]
    return {row["point"]["method"]: row["result"]["measured_total"] / 1e6 for row in rows}
