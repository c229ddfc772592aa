"""Short trajectories: the results of about ten steps of a loop on shipped rows, stored and compared.

`python -m course_utils trajectories` remakes them; data/trajectories has one file for each.
"""

import contextlib
import hashlib
import importlib
import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils.home import write_whole
from course_utils.reach import reach
from course_utils.stored_runs import SWEEPS, TRAJECTORY_FILES, load_experiments
from course_utils.terminal import Parser

TOLERANCE = 1e-3  # docs/contributing.md says how it was found
KINDS_OF_PROCESSOR = {  # for --spread: settings of a process that simulate other processors
    "ATen without AVX": {"ATEN_CPU_CAPABILITY": "default"},
    "ATen with AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "ATen with AVX-512": {"ATEN_CPU_CAPABILITY": "avx512"},
    "MKL and oneDNN with SSE": {"MKL_CBWR": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    "two threads": {"OMP_NUM_THREADS": "2"},
}
TRAJECTORIES: dict[str, "Trajectory"] = {}


@dataclass(frozen=True)
class Trajectory:
    """run() returns {"exact": ids, labels, order; "close": {name: numbers}}. A run that reaches one of the
    functions `of` rests on it."""

    name: str
    of: tuple[Callable, ...]
    run: Callable[[], dict]


def trajectory(name: str, *of: Callable):
    """Decorator: registers a trajectory under a name."""

    def register(run):
        TRAJECTORIES[name] = Trajectory(name, of, run)
        return run

    return register


def load_trajectories() -> None:
    """Register all trajectories."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        importlib.import_module(f"{__package__}.{path.stem}")


def trajectories_of(function: Callable) -> list[str]:
    """Names of the trajectories that pin a function reached by `function`."""
    reached = reach(function).names
    return [
        name
        for name, one in TRAJECTORIES.items()
        if {(fn.__module__, fn.__qualname__.partition(".")[0]) for fn in one.of} & reached
    ]


# ------------------------------------------------------------------------------- files, comparison


def as_stored(numbers: dict) -> dict:
    """The numbers as stored: each float with seven digits."""
    close = {name: [float(f"{value:.7g}") for value in row] for name, row in numbers["close"].items()}
    return {"exact": json.loads(json.dumps(numbers["exact"])), "close": close}


def load_trajectory(name: str, folder: Path | None = None) -> dict:
    """A stored trajectory; FileNotFoundError says how to make it."""
    path = (folder or TRAJECTORY_FILES) / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; make it: python -m course_utils trajectories {name}")
    return json.loads(path.read_text(encoding="utf-8"))


def write_trajectory(name: str, numbers: dict, folder: Path | None = None) -> None:
    import torch
    import transformers

    head = {
        "command": f"python -m course_utils trajectories {name}",
        "created_with": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    parts = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
    for part, values in as_stored(numbers).items():
        rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
        parts.append(f' "{part}": {{\n{rows}\n }}')
    write_whole((folder or TRAJECTORY_FILES) / f"{name}.json", "{\n" + ",\n".join(parts) + "\n}\n")


def changed_numbers(stored: dict, now: dict, tolerance: float = TOLERANCE) -> list[str]:
    """The differences from the stored numbers, as text."""
    now = as_stored(now)
    faults = []
    for part in ("exact", "close"):
        if stored[part].keys() != now[part].keys():
            faults.append(f"stored: {', '.join(stored[part])}; now: {', '.join(now[part])}")
    for name, value in stored["exact"].items():
        if name in now["exact"] and now["exact"][name] != value:
            faults.append(f"{name}: {_first_difference(value, now['exact'][name])}")
    for name, row in stored["close"].items():
        if name not in now["close"]:
            continue
        for place, (value, other) in enumerate(zip(row, now["close"][name], strict=False)):
            if not deviation(value, other, row) <= tolerance:
                faults.append(f"{name}[{place}]: stored {value}, now {other}")
                break
        if len(row) != len(now["close"][name]):
            faults.append(f"{name}: stored {len(row)} numbers, now {len(now['close'][name])}")
    return faults


def deviation(value: float, other: float, row: Sequence[float]) -> float:
    """The relative difference from the stored number; small numbers count as a tenth of the row's largest."""
    scale = max(abs(value), 0.1 * max(map(abs, row)), 1e-12)
    return abs(value - other) / scale


def _first_difference(stored, now):
    if isinstance(stored, list) and isinstance(now, list) and len(stored) == len(now):
        place = next(place for place, pair in enumerate(zip(stored, now, strict=True)) if pair[0] != pair[1])
        return f"at {place} stored {stored[place]!r}, now {now[place]!r}"
    return f"stored {stored!r}, now {now!r}"


# ------------------------------------------------------------------------------- running trajectories


def run_trajectory(name: str) -> dict:
    """The trajectory's numbers now; its progress bars are not shown."""
    with contextlib.redirect_stdout(io.StringIO()):
        return TRAJECTORIES[name].run()


def digest(value) -> str:
    """A short SHA-256 of a JSON value, or of the integers in a batch of tensors."""
    if isinstance(value, dict):
        value = {
            name: tensor.tolist() for name, tensor in value.items() if not tensor.dtype.is_floating_point
        }
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


def print_spread(names: Sequence[str]) -> None:
    """Print how much each trajectory differs on other kinds of processor."""
    program = (
        "import json, sys; from course_utils.making.trajectories import stored; stored.load_trajectories();"
        "print(json.dumps({name: stored.as_stored(stored.run_trajectory(name)) for name in sys.argv[1:]}))"
    )
    for kind, settings in KINDS_OF_PROCESSOR.items():
        done = subprocess.run(
            [sys.executable, "-c", program, *names],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=True,
        )
        print(kind)
        for name, now in json.loads(done.stdout.splitlines()[-1]).items():
            then = load_trajectory(name)
            differences = [
                (deviation(value, other, row), key)
                for key, row in then["close"].items()
                for value, other in zip(row, now["close"][key], strict=True)
            ]
            farthest = max(differences, default=(0.0, "no numbers"))
            same = "" if now["exact"] == then["exact"] else ", and the exact part differs"
            print(f"  {name:16} {farthest[0]:.1e} ({farthest[1]}){same}", flush=True)


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils trajectories [--spread] [NAME ...]`: all of them, or those named."""
    load_trajectories()
    load_experiments()
    parser = Parser("python -m course_utils trajectories", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TRAJECTORIES)}; default all")
    parser.add_argument(
        "--spread", action="store_true", help="print the differences on other processors; writes nothing"
    )
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - set(TRAJECTORIES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(TRAJECTORIES)}")
    names = arguments.names or list(TRAJECTORIES)
    if arguments.spread:
        print_spread(names)
        return 0
    for name in names:
        now, path = run_trajectory(name), TRAJECTORY_FILES / f"{name}.json"
        faults = changed_numbers(load_trajectory(name), now) if path.exists() else ["it is new"]
        if not faults:
            print(f"{name}: as stored", flush=True)
            continue
        write_trajectory(name, now)
        resting = [sweep for sweep, chosen in SWEEPS.items() if name in trajectories_of(chosen.run)]
        print(f"{name}: written ({faults[0]}). Stored runs that rest on it: {', '.join(resting) or 'none'}")
    return 0
