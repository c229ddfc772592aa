"""Computes stored runs: `python -m course_utils sweeps`."""

import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from course_utils.home import write_whole
from course_utils.making.short_forms import store_short_forms
from course_utils.making.trajectories.stored import TRAJECTORIES, load_trajectories, trajectories_of
from course_utils.reach import data_hash
from course_utils.stored_runs import RESULTS, SWEEPS, Sweep, known_sweep, load_experiments, load_sweep
from course_utils.terminal import Parser


def run_sweep(name: str, folder: Path = RESULTS) -> Path:
    """Compute the runs missing in the stored file and return the file, which is rewritten after every run.

    Stored rows count only if they were made from the same data. Rows are kept in the order of the points, so
    points can be added to a sweep or removed.
    """
    chosen = known_sweep(name)
    path = folder / f"{name}.json"
    origin = _origin(chosen)
    stored = load_sweep(name, folder) if path.exists() else {}
    same = stored.get("data_hash") == origin["data_hash"]
    wanted = {_key(point, seed): (point, seed) for point in chosen.points for seed in chosen.seeds}
    places = {key: place for place, key in enumerate(wanted)}
    rows = [row for row in stored["rows"] if _key(row["point"], row["seed"]) in wanted] if same else []
    made = {_key(row["point"], row["seed"]) for row in rows}
    todo = [run for key, run in wanted.items() if key not in made]
    print(f"{name}: {len(rows)} runs stored, {len(todo)} to do")
    if same and (len(rows) < len(stored["rows"]) or origin["rests_on"] != stored.get("rests_on")):
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


def recompute_point(name: str, index: int, folder: Path = RESULTS) -> list[str]:
    """Repeat one stored run and return the differences of its numbers, as text.

    Machine-dependent numbers (measured_...) and digit-by-digit answers do not count. The sweep's tolerance
    applies, to the number or to its seeds' standard deviation if that is larger; sampled runs also get eight
    such deviations, and six tenths of the number, since three or five seeds can be close by chance, except
    for the sweep's early numbers.
    """
    chosen, rows = known_sweep(name), load_sweep(name, folder)["rows"]
    now = chosen.run(rows[index]["point"], rows[index]["seed"])
    return differing_numbers(chosen, rows[index]["result"], now, lambda key: _deviation_of_seeds(rows, key))


def differing_numbers(chosen: Sweep, stored: dict, now: dict, spread_of: Callable[[str], float]) -> list[str]:
    """How a repeated run differs from the stored one, beyond the sweep's tolerance; [] if it does not.

    spread_of(key): the standard deviation of a number over seeds.
    """
    if now.keys() != stored.keys():
        return [f"stored: {', '.join(stored)}; now: {', '.join(now)}"]
    floor = chosen.tolerance / 2 if chosen.tolerance > 0.05 else 1e-12  # for values near 0
    faults = []
    for key, value in stored.items():
        if key.startswith("measured_") or not isinstance(value, int | float):
            continue
        largest, spread = max(abs(value), abs(now[key])), spread_of(key)
        allowed = max(floor, chosen.tolerance * max(largest, spread))
        if chosen.sampled and not key.endswith(chosen.early):
            allowed = max(allowed, 8 * spread, 0.6 * largest)
        if not abs(now[key] - value) <= allowed:
            faults.append(f"{key}: stored {value}, now {now[key]}")
    return faults


def _deviation_of_seeds(rows, key):
    """Standard deviation of a number around the mean of its point; 0 if every point has one seed.

    Shorter runs lack the later numbers of longer ones.
    """
    rows = [row for row in rows if key in row["result"]]
    points: dict[str, list[float]] = {}
    for row in rows:
        points.setdefault(_key(row["point"], None), []).append(row["result"][key])
    free = len(rows) - len(points)
    around = sum((value - statistics.mean(part)) ** 2 for part in points.values() for value in part)
    return math.sqrt(around / free) if free else 0.0


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils sweeps [--short | --rests-on TRAJECTORY] [NAME ...]`: all, or those named."""
    load_experiments()
    load_trajectories()
    parser = Parser("python -m course_utils sweeps", description="Compute stored results.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(SWEEPS)}; default all")
    parser.add_argument(
        "--rests-on",
        metavar="TRAJECTORY",
        help="compute nothing: name the stored files that rest on a trajectory",
    )
    parser.add_argument("--short", action="store_true", help="compute and store short forms only")
    arguments = parser.parse_args(argv)
    if arguments.short:
        store_short_forms(arguments.names or SWEEPS)
        return 0
    if arguments.rests_on:
        if arguments.rests_on not in TRAJECTORIES:
            parser.error(f"no trajectory {arguments.rests_on}; there are {', '.join(TRAJECTORIES)}")
        print(*[name for name in SWEEPS if arguments.rests_on in load_sweep(name)["rests_on"]], sep="\n")
        return 0
    for name in arguments.names or SWEEPS:
        run_sweep(name)
    return 0


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
        "data_hash": data_hash(chosen.run),
        "rests_on": trajectories_of(chosen.run),
    }


def _write(path, content):
    lines = [f' "{key}": {json.dumps(value)},\n' for key, value in content.items() if key != "rows"]
    rows = ",\n".join("  " + json.dumps(row) for row in content["rows"])
    write_whole(path, "{\n" + "".join(lines) + f' "rows": [\n{rows}\n ]\n}}\n')
