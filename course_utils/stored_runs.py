"""Experiments of many runs: computed once, stored in data/results with their origin, drawn by the lessons."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from course_utils.data import DATA
from course_utils.ownership import restore_command

RESULTS = DATA / "results"
TRAJECTORY_FILES = DATA / "trajectories"
CHOICE = (5,)  # seed for choosing rates and settings, not among the reported ones
SWEEPS: dict[str, Sweep] = {}


@dataclass(frozen=True)
class Sweep:
    """run(point, seed) returns numbers by name, for all points and seeds.

    tolerance: relative, for a repeated run. sampled: training or evaluation uses samples. A sample can depend
    on the last bit of a number, which another processor rounds differently; such a run differs as much as one
    with another seed. early: suffixes of the names of numbers measured before samples diverge; only the
    tolerance applies to them. short: indices of the points whose short form `make test` computes.
    """

    name: str
    points: list[dict]
    seeds: Sequence[int]
    run: Callable[[dict, int], dict]
    tolerance: float
    sampled: bool
    early: tuple[str, ...]
    short: tuple[int, ...]


def sweep(
    name: str,
    points: list[dict],
    seeds: Sequence[int] = range(5),
    tolerance: float = 0.05,
    sampled: bool = False,
    early: tuple[str, ...] = (),
    short: tuple[int, ...] = (0,),
):
    """Decorator: registers run(point, seed) under a name."""

    def register(run):
        SWEEPS[name] = Sweep(name, points, seeds, run, tolerance, sampled, early, short)
        return run

    return register


def forget() -> None:
    """Empty the lessons' caches: what follows is another model's, or a short form."""
    for name, module in list(sys.modules.items()):
        if name.startswith("course_utils.lessons."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


_asked: list | None = None  # the arguments of few(), in a short form


@contextmanager
def short_form() -> Iterator[list]:
    """In this block few() shortens. Yields a list of its arguments, in order."""
    global _asked
    _asked = []
    try:
        yield _asked
    finally:
        _asked = None


def is_short() -> bool:
    """Whether a short form is running."""
    return _asked is not None


def few(wanted, most: int = 2):
    """A number (of steps, of rows) or a list of rows, unchanged; in a short form at most `most`."""
    if _asked is None:
        return wanted
    if isinstance(wanted, int):
        _asked.append(wanted)
        return min(wanted, most)
    _asked.append(f"{len(wanted)}, from {str(wanted[0])[:100]}")
    return wanted[:most]


def load_sweep(name: str, folder: Path = RESULTS) -> dict:
    """A stored sweep: its rows (point, seed, result), with the command, versions and data that made them.

    "rests_on" names the short trajectories that pin its loops and evaluations.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.json")))
        raise FileNotFoundError(
            f"{path} is missing (there are: {there or 'none'}); "
            f"make it with: python -m course_utils sweeps {name}"
        )
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if all(row.keys() >= {"point", "seed", "result"} for row in stored["rows"]) and stored["rows"]:
            return stored
        fault = "no rows, or rows without point, seed and result"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        fault = type(error).__name__
    raise ValueError(f"{path} is damaged ({fault}). Restore it: {restore_command(path)}")


def runs_like(name: str, wanted: dict) -> list[tuple[dict, dict]]:
    """(point, result) of a stored sweep's runs whose points have these entries."""
    rows = [(row["point"], row["result"]) for row in load_sweep(name)["rows"]]
    return [(point, result) for point, result in rows if wanted.items() <= point.items()]


def values_like(name: str, key: str, **wanted) -> list[float]:
    """One number of each run whose point has these entries, one a seed."""
    return [result[key] for _, result in runs_like(name, wanted)]


def best_inside(losses: Mapping[float, float], of: str = "") -> float:
    """The rate with the lowest loss. ValueError, which names `of`, if it is the lowest or highest tried."""
    best = min(losses, key=lambda rate: losses[rate])
    if best in (min(losses), max(losses)):
        raise ValueError(f"the best rate{of and f' of {of}'}, {best:g}, is at the edge: {losses}")
    return best


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Seed by seed, the value over the other one."""
    return [one / other for one, other in zip(values, others, strict=True)]


def seed_differences(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Seed by seed, the value minus the other one."""
    return [one - other for one, other in zip(values, others, strict=True)]


def trajectory_digest(names: Sequence[str]) -> str:
    """SHA-256 of the stored trajectories of these names: the version of results that rest on them."""
    files = [TRAJECTORY_FILES / f"{name}.json" for name in sorted(names)]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


def known_sweep(name: str) -> Sweep:
    """A registered sweep. Raises ValueError that lists the known names."""
    if name not in SWEEPS:
        raise ValueError(f"unknown sweep {name!r}; choose one of {', '.join(SWEEPS)}")
    return SWEEPS[name]


def load_experiments() -> None:
    """Register the sweeps of all lessons."""
    for path in sorted((Path(__file__).parent / "lessons").glob("lesson_*/experiments.py")):
        importlib.import_module(f"course_utils.lessons.{path.parent.name}.experiments")
