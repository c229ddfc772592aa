"""Short forms of the sweeps: a few steps on a few rows, stored, and recomputed by `make test`.

They detect a changed rate, number of steps, batch or split. They keep the points and seeds, the arguments of
few(), the optimiser's steps, and the run's result. What a trained model samples can differ on another
processor: of what follows, only the sweep's early numbers are kept.
"""

import copy
import functools
import json
import math
from pathlib import Path
from unittest.mock import patch

from course_utils.data import DATA
from course_utils.home import write_whole
from course_utils.making.trajectories.stored import TOLERANCE
from course_utils.models import load_folder
from course_utils.stored_runs import SWEEPS, forget, known_sweep, short_form

SHORT_FORMS = DATA / "short_forms"
KEPT_SETTINGS = ("lr", "weight_decay", "betas", "eps")


def short_run(name: str) -> dict:
    """A sweep's short form at seed 0, as JSON values.

    Of the result, numbers are kept, except machine-dependent ones (measured_...). A step has the optimiser's
    settings and number of values, by group, and "gradient": the sum of the gradient's absolute values, which
    differs between batches even if the norm is clipped to 1.
    """
    import torch

    chosen, runs = known_sweep(name), []
    for place in chosen.short:
        forget()
        torch.manual_seed(0)  # lesson 08's runs do not seed LoRA's initialisation
        with short_form() as asked, _Steps() as steps, patch("course_utils.models.load_folder", _loaded):
            result = chosen.run(chosen.points[place], 0)
        result = {
            key: value
            for key, value in result.items()
            if isinstance(value, int | float)
            and not key.startswith("measured_")
            and (not steps.sampled or key.endswith(chosen.early))
        }
        run = {"point": chosen.points[place], "few": asked, "steps": steps.rows, "result": result}
        runs.append(_as_json(run))
    forget()
    return {"points": _as_json(chosen.points), "seeds": list(chosen.seeds), "runs": runs}


def _loaded(folder: Path, device: object, tokenizer_folder: Path | None = None) -> tuple:
    """What models.load_folder gives, read once: short forms load the same few models some hundred times."""
    model, tokenizer = copy.deepcopy(_read_once(folder, tokenizer_folder))
    return model.to(device), tokenizer


@functools.cache
def _read_once(folder: Path, tokenizer_folder: Path | None) -> tuple:
    return load_folder(folder, "cpu", tokenizer_folder)


class _Steps:
    """In its block, the optimiser's steps until a trained model samples; `sampled`: whether one did."""

    def __enter__(self):
        from torch.optim.optimizer import register_optimizer_step_pre_hook

        from course_utils import generation

        self.rows, self.sampled, draw = [], False, generation.sample_from

        def sample_from(*arguments):
            self.sampled = bool(self.rows)
            return draw(*arguments)

        def step(optimizer, *_):
            if not self.sampled:
                self.rows.append(_step_of(optimizer))

        self.hook = register_optimizer_step_pre_hook(step)
        self.patch = patch.object(generation, "sample_from", sample_from)
        self.patch.start()
        return self

    def __exit__(self, *_):
        self.hook.remove()
        self.patch.stop()


def _step_of(optimizer):
    groups, gradient = [], 0.0
    for group in optimizer.param_groups:
        values = sum(parameter.numel() for parameter in group["params"])
        groups.append({key: group[key] for key in KEPT_SETTINGS if key in group} | {"values": values})
        gradient += sum(p.grad.abs().sum().item() for p in group["params"] if p.grad is not None)
    return {"optimizer": type(optimizer).__name__, "groups": groups, "gradient": gradient}


def _as_json(values):
    """A copy with JSON types, floats with seven digits."""
    return json.loads(json.dumps(values), parse_float=lambda text: float(f"{float(text):.7g}"))


def faults_between(stored, now, where: str = "") -> list[str]:
    """Where numbers differ by more than the tolerance, or anything else differs, as text."""
    if isinstance(stored, dict) and isinstance(now, dict) and stored.keys() == now.keys():
        return [fault for key in stored for fault in faults_between(stored[key], now[key], f"{where}{key}, ")]
    if isinstance(stored, list) and isinstance(now, list) and len(stored) == len(now):
        pairs = enumerate(zip(stored, now, strict=True))
        return [fault for place, pair in pairs for fault in faults_between(*pair, f"{where}{place}, ")]
    if isinstance(stored, float) and isinstance(now, float):
        same = math.isclose(stored, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE / 50)
    else:
        same = type(stored) is type(now) and stored == now
    return [] if same else [f"{where.removesuffix(', ')}: stored {stored}, now {now}"]


def faults_of(stored: dict, now: dict) -> list[str]:
    """Differences of two short forms of a sweep: any in points and seeds, in runs beyond the tolerance."""
    lists = [
        f"{key}: stored {stored[key]}, now {now[key]}"
        for key in ("points", "seeds")
        if stored[key] != now[key]
    ]
    return lists + faults_between(stored["runs"], now["runs"])


def file_of(name: str, folder: Path = SHORT_FORMS) -> Path:
    """The file with a sweep's short form: one per lesson."""
    lesson = known_sweep(name).run.__module__.removesuffix(".experiments").rpartition(".")[2]
    return folder / f"{lesson}.json"


def load_short_forms(folder: Path = SHORT_FORMS) -> dict[str, dict]:
    """{sweep: its stored short form}"""
    files = sorted(folder.glob("*.json"))
    return {
        name: form for file in files for name, form in json.loads(file.read_text(encoding="utf-8")).items()
    }


def store_short_forms(names, folder: Path = SHORT_FORMS) -> None:
    """Compute short forms and store them in their files, in the order of the sweeps."""
    for name in names:
        form, path = short_run(name), file_of(name, folder)
        there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        there[name] = form
        forms = {each: there[each] for each in SWEEPS if each in there}
        write_whole(path, "{\n" + ",\n".join(_lines(*pair) for pair in forms.items()) + "\n}\n")


def _lines(name, form):
    """A short form as JSON: one line per list of points, step and result."""
    runs = []
    for run in form["runs"]:
        parts = {key: json.dumps(run[key]) for key in ("point", "few", "result")}
        steps = ",\n".join(f"    {json.dumps(step)}" for step in run["steps"])
        parts["steps"] = f"[\n{steps}\n   ]" if steps else "[]"
        runs.append("  {\n" + ",\n".join(f'   "{key}": {parts[key]}' for key in run) + "\n  }")
    points, seeds = json.dumps(form["points"]), json.dumps(form["seeds"])
    return (
        f' "{name}": {{\n  "points": {points},\n  "seeds": {seeds},\n  "runs": [\n'
        + ",\n".join(runs)
        + "\n ]}"
    )
