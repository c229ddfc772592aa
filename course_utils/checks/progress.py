"""What the learner has done: one small JSON file under COURSE_HOME, shared by all kernels."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from course_utils.home import home

KINDS = ("exercises", "predictions", "hints")
_warned = False
_open = ""


def open_lesson(number: str | None = None) -> str:
    """The number of the lesson that this process works on, "" where none is known; a given one is kept."""
    global _open
    if number is not None:
        _open = number
    return _open


def path() -> Path:
    """The progress file; it need not exist."""
    return home() / "progress.json"


def record(kind: str, lesson: str, name: str, **fields: Any) -> None:
    """Merge `fields` into the record of one exercise, prediction or hint.

    kind: one of KINDS; lesson: two digits, or "" where it is not known. An exercise once passed stays passed.
    A folder that cannot be written costs the record, never the lesson: a line says so, once.
    """
    if kind not in KINDS:
        raise ValueError(f"Unknown kind of progress {kind!r}: choose one of {', '.join(KINDS)}.")
    global _warned
    try:
        with _lock():
            state = _read()
            entry = state["lessons"].setdefault(lesson, {}).setdefault(kind, {}).setdefault(name, {})
            if kind == "exercises":
                entry["attempts"] = entry.get("attempts", 0) + 1
                if entry.get("status") == "passed":
                    fields = {**fields, "status": "passed"}
            if kind == "hints":
                fields = {"steps": max(fields["steps"], entry.get("steps", 0))}
            entry.update(fields)
            _write(state)
    except (OSError, Timeout) as error:
        if not _warned:
            _warned = True
            print(
                f"Progress is not recorded: {path()} cannot be written ({error}). "
                "Set COURSE_HOME to a folder of yours; the lesson goes on without."
            )


def summary() -> dict:
    """{lesson: {"exercises": {name: {"status", "attempts"}}, "predictions": {question: {"choice", "answer",
    "right"}}, "hints": {name: {"steps"}}, "passed": int, "of": int, "right": int, "predicted": int}}.

    "of" counts all exercises of the lesson, tried or not. Lessons nobody touched are there with passed 0.
    """
    from course_utils.checks.exercises import registry

    done = _read()["lessons"]
    totals: dict[str, int] = {}
    for exercise in registry().values():
        totals[exercise.lesson] = totals.get(exercise.lesson, 0) + 1
    result = {}
    for lesson in sorted({*done, *totals}):
        entry = {kind: done.get(lesson, {}).get(kind, {}) for kind in KINDS}
        entry["passed"] = sum(row.get("status") == "passed" for row in entry["exercises"].values())
        entry["of"] = totals.get(lesson, 0)
        revealed = [row for row in entry["predictions"].values() if "right" in row]
        entry["right"] = sum(row["right"] for row in revealed)
        entry["predicted"] = len(revealed)
        result[lesson] = entry
    return result


def clear() -> None:
    """Forget everything that was recorded."""
    with _lock():
        path().unlink(missing_ok=True)


def _lock() -> FileLock:
    path().parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path().with_suffix(".lock"), timeout=10)


def _read() -> dict:
    try:
        state = json.loads(path().read_text(encoding="utf-8"))
        if not isinstance(state["lessons"], dict):
            raise TypeError("lessons is not a mapping")
    except FileNotFoundError:
        return {"lessons": {}}
    except (ValueError, KeyError, TypeError):
        aside = path().with_suffix(".damaged.json")
        os.replace(path(), aside)
        print(f"The progress file could not be read; it was moved to {aside}, and a new one is begun.")
        return {"lessons": {}}
    return state


def _write(state: dict) -> None:
    handle, temporary = tempfile.mkstemp(dir=path().parent, prefix=".progress-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1, sort_keys=True)
        os.replace(temporary, path())
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
