"""Experiments of many runs: computed once, stored in data/results with their origin, drawn by the lessons."""

import argparse
import datetime
import json
import math
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.code_hash import code_hash, data_hash
from course_utils.data import DATA

RESULTS = DATA / "results"
SWEEPS = {}


@dataclass(frozen=True)
class Sweep:
    """run(point, seed) gives numbers by name, for all points and seeds.

    tolerance: relative, of a run that is made again. Training on samples needs a large one, because a sample
    may turn on the last bit of a number.
    """

    name: str
    points: list[dict]
    seeds: Sequence[int]
    run: Callable[[dict, int], dict]
    tolerance: float


def sweep(name: str, points: list[dict], seeds: Sequence[int] = range(5), tolerance: float = 0.05):
    """Decorator that registers run(point, seed) under a name."""

    def register(run):
        SWEEPS[name] = Sweep(name, points, seeds, run, tolerance)
        return run

    return register


@sweep("learning_rate", points=[{"lr": lr} for lr in (1e-6, 1e-5, 5e-5, 2e-4, 5e-4, 2e-3, 1e-2)])
def learning_rate(point: dict, seed: int) -> dict:
    """Full fine-tuning on questions, 100 steps of 16: losses on held-out questions and on source text.

    forgetting: rise of the source loss above the base model's.
    """
    from course_utils.data import (
        batches,
        encode_prompt_completion,
        encode_text,
        load_questions,
        load_source_texts,
    )
    from course_utils.evaluation import forgetting, mean_loss
    from course_utils.models import load_model
    from course_utils.training import train

    model, tokenizer = load_model("pocket")

    def encoded(questions):
        return [encode_prompt_completion(tokenizer, row["prompt"], row["completion"]) for row in questions]

    held_out = encoded(random.Random(0).sample(load_questions("held_out"), 150))
    source = [encode_text(tokenizer, text) for text in load_source_texts()[:60]]
    before = mean_loss(model, source)
    stream = batches(encoded(load_questions("tune")), 16, seed, tokenizer.pad_token_id)
    history = train(
        model, stream, steps=100, lr=point["lr"], seed=seed, label=f"lr {point['lr']:g}, seed {seed}"
    )
    after = mean_loss(model, source)
    return {
        "train_loss": statistics.mean(history.column("loss")[1][-20:]),
        "target_loss": mean_loss(model, held_out),
        "source_loss": after,
        "forgetting": forgetting(before, after),
    }


def run_sweep(name: str, folder: Path = RESULTS) -> Path:
    """Computes what the stored file lacks and returns the file, which is rewritten after every run.

    Stored rows count only if the same code, run function included, made them from the same data and model.
    Rows are kept in the order of the points, so points can be added to a sweep or taken out of it.
    """
    chosen = _known(name)
    path = folder / f"{name}.json"
    origin = _origin(chosen)
    stored = load_sweep(name, folder) if path.exists() else {}
    same = all(stored.get(key) == origin[key] for key in ("code_hash", "data_hash"))
    wanted = {_key(point, seed): (point, seed) for point in chosen.points for seed in chosen.seeds}
    places = {key: place for place, key in enumerate(wanted)}
    rows = [row for row in stored["rows"] if _key(row["point"], row["seed"]) in wanted] if same else []
    made = {_key(row["point"], row["seed"]) for row in rows}
    todo = [run for key, run in wanted.items() if key not in made]
    print(f"{name}: {len(rows)} runs stored, {len(todo)} to do")
    if same and len(rows) < len(stored["rows"]):
        _write(path, {**origin, "rows": rows})
    for number, (point, seed) in enumerate(todo, start=1):
        began = time.perf_counter()
        result = chosen.run(point, seed)
        rows.append({"point": point, "seed": seed, "result": result})
        rows.sort(key=lambda row: places[_key(row["point"], row["seed"])])
        _write(path, {**origin, "rows": rows})
        shown = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in result.items())
        print(
            f"{number}/{len(todo)} {point}, seed {seed}: {shown} ({time.perf_counter() - began:.0f} s)",
            flush=True,
        )
    return path


def load_sweep(name: str, folder: Path = RESULTS) -> dict:
    """A stored sweep: its rows (point, seed, result), and the command, versions and code that made them."""
    path = folder / f"{_known(name).name}.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; make it with: python -m course_utils sweeps {name}")
    return json.loads(path.read_text())


def recompute_point(name: str, index: int, folder: Path = RESULTS) -> tuple[dict, dict]:
    """(stored result, result now) of one stored run."""
    row = load_sweep(name, folder)["rows"][index]
    return row["result"], _known(name).run(row["point"], row["seed"])


def differences(name: str, stored: dict, now: dict) -> list[str]:
    """What of a run's result differs beyond the sweep's tolerance.

    Numbers count; what depends on the machine (measured_...) and answers digit by digit do not.
    """
    tolerance = _known(name).tolerance
    floor = tolerance / 2 if tolerance > 0.05 else 1e-12  # of what is about 0
    if now.keys() != stored.keys():
        return [f"stored are {', '.join(stored)}, and now there are {', '.join(now)}"]
    return [
        f"{key}: stored {stored[key]}, now {now[key]}"
        for key in stored
        if not key.startswith("measured_")
        and isinstance(stored[key], int | float)
        and not math.isclose(stored[key], now[key], rel_tol=tolerance, abs_tol=floor)
    ]


def confirm(name: str, folder: Path = RESULTS) -> None:
    """Stamps a stored file as of today's code, after a change that keeps values.

    The first, a middle and the last run are computed again; raises ValueError where one differs.
    """
    stored = load_sweep(name, folder)
    count = len(stored["rows"])
    for index in sorted({0, count // 2, count - 1}):
        row = stored["rows"][index]
        if faults := differences(name, *recompute_point(name, index, folder)):
            raise ValueError(
                f"{name}: {row['point']}, seed {row['seed']} comes out otherwise ({'; '.join(faults)}). "
                f"Nothing was stamped; compute it anew: python -m course_utils sweeps {name}"
            )
        print(f"{name}: {row['point']}, seed {row['seed']} comes out as stored", flush=True)
    origin = _origin(_known(name))
    hashes = {key: origin[key] for key in ("code_hash", "data_hash")}
    today = datetime.date.today().isoformat()
    _write(folder / f"{name}.json", {**stored, **hashes, "confirmed": today})


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils sweeps [--confirm] [NAME ...]`: all of them, or those named."""
    parser = argparse.ArgumentParser("python -m course_utils sweeps", description="Compute stored results.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(SWEEPS)}; default all")
    parser.add_argument(
        "--confirm",
        action="store_true",
        help="after a change that keeps values: compute three runs of each file again and stamp it",
    )
    arguments = parser.parse_args(argv)
    for name in arguments.names or SWEEPS:
        (confirm if arguments.confirm else run_sweep)(name)
    return 0


def _known(name):
    if name not in SWEEPS:
        raise ValueError(f"unknown sweep {name!r}; choose one of {', '.join(SWEEPS)}")
    return SWEEPS[name]


def _key(point, seed):
    return json.dumps([point, seed], sort_keys=True)


def _origin(chosen):
    import torch
    import transformers

    return {
        "command": f"python -m course_utils sweeps {chosen.name}",
        "created_with": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "code_hash": code_hash(chosen.run),
        "data_hash": data_hash(chosen.run),
    }


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    rows = ",\n".join("  " + json.dumps(row) for row in content["rows"])
    head = json.dumps({key: value for key, value in content.items() if key != "rows"}, indent=1)
    temporary.write_text(head[:-2] + f',\n "rows": [\n{rows}\n ]\n}}\n')
    os.replace(temporary, path)


import course_utils.sweeps_lora  # noqa: E402  they register their sweeps
import course_utils.sweeps_methods  # noqa: E402
import course_utils.sweeps_preferences  # noqa: E402
import course_utils.sweeps_prompt  # noqa: E402
import course_utils.sweeps_reward  # noqa: E402
import course_utils.sweeps_sft  # noqa: E402, F401
