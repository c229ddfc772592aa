"""`python -m course_utils replicate`: a lesson's row, measured on another model."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path

from course_utils.home import home, write_whole
from course_utils.machine import cores, memory
from course_utils.model_files import ModelError, sum_of_weights
from course_utils.ownership import JSON_MARK, own_file
from course_utils.replicate.measure import Journal, measure
from course_utils.replicate.page import write_holds
from course_utils.replicate.rows import Row, all_rows
from course_utils.replicate.stored import REPLICATIONS, file_name, stored_rows
from course_utils.stored_runs import load_experiments, load_sweep
from course_utils.terminal import Parser, plain_line

DEFAULT_SEEDS = 3
ANOTHER = "Set COURSE_HOME to another folder"


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils replicate LESSON... --model NAME [--seeds N] [--add]`."""
    load_experiments()
    rows = all_rows()
    parser = Parser(
        "python -m course_utils replicate",
        description="Measure lessons' headline rows on another model; what was interrupted goes on.",
    )
    parser.add_argument("lessons", nargs="+", metavar="LESSON", choices=rows, help=", ".join(rows))
    parser.add_argument("--model", required=True, help="pocket-s, smollm2, gpt2, a folder or a hub id")
    parser.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help="default %(default)s")
    parser.add_argument(
        "--add", action="store_true", help="also into data/results/replications, and docs/holds.md"
    )
    chosen = parser.parse_args(argv)
    if chosen.seeds < 1:
        parser.error(f"--seeds is at least 1, got {chosen.seeds}")
    about = identify(chosen.model)
    for lesson in chosen.lessons:
        found = replicate(rows[lesson], about, range(chosen.seeds))
        place = own_file(home() / "replications" / file_name(lesson, about["name"]), ANOTHER, None)
        folders = [place.parent, *([REPLICATIONS] if chosen.add else [])]
        for folder in folders:
            write_whole(folder / place.name, json.dumps(JSON_MARK | found, indent=1) + "\n")
        if chosen.add:
            write_holds()
        print_row(rows[lesson], found)
        print(plain_line(f"Written to {', '.join(map(str, folders))}: {place.name}"))
    return 0


def identify(name: str) -> dict:
    """What identifies a model, after a look at whether its training fits this machine. Raises ModelError."""
    from course_utils.budget import training_need
    from course_utils.models import resolve

    source = resolve(name)
    if not isinstance(source.place, Path):
        raise ModelError(f"{plain_line(name)} is not on disk. Fetch it first: load_model({name!r}) does.")
    need, there = training_need(source.place, batch_size=16, tokens=128), memory()
    sizes = f"about {need.total / 2**30:.1f} GiB of memory, and this machine has {there / 2**30:.1f}"
    if need.total > there:
        raise ModelError(f"Training {plain_line(name)} takes {sizes}. Choose a smaller model.")
    print(f"{plain_line(name)}: {need.parameters:,} parameters. Full fine-tuning takes {sizes}.")
    weights = sum_of_weights(source.place)
    return {"name": source.name, "weights": weights, "parameters": need.parameters}


def replicate(row: Row, about: dict, seeds: Sequence[int]) -> dict:
    """The stored form of a row on one model: {"row", "model", "settings", "versions", "machine", results}."""
    import torch
    import transformers

    from course_utils.models import standing_in

    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions["transformers"] = transformers.__version__
    conditions = {"model": about["weights"], "rests_on": load_sweep(row.sweep)["rests_on"]}
    unfinished = own_file(
        home() / "replications" / file_name(row.lesson, about["name"], ".part"), ANOTHER, None
    )
    journal = Journal(unfinished, conditions)
    with standing_in(about["name"]):
        measured = measure(row, seeds, journal)
    unfinished.unlink(missing_ok=True)
    return {
        "lesson": row.lesson,
        "claim": row.claim,
        "model": about,
        "sweep": row.sweep,
        "seeds": list(seeds),
        "versions": versions,
        "machine": {"processor": platform.machine(), "cores": cores()},
        "minutes": round(journal.state["seconds"] / 60, 1),
        **measured,
    }


def print_row(row: Row, found: dict) -> None:
    """The row on every model it was measured on, the new one last."""
    print(f"\n{row.lesson} {row.quantity} ({row.unit}); control: {row.control}")
    others = [each for each in stored_rows(row) if each["model"]["name"] != found["model"]["name"]]
    for each in [*others, found]:
        values = ", ".join(f"{value:.3g}" for value in each["values"])
        controls = ", ".join(f"{value:.3g}" for value in each["controls"])
        print(f"  {each['model']['name']:28.28}  {values}; control {controls}: {row.outcome(each)}")
