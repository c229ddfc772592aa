"""The learner's progress: one small JSON file under COURSE_HOME, shared by all kernels."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from course_utils.home import OTHER_HOME, home, naming, write_whole
from course_utils.ownership import lock_at
from course_utils.terminal import plain_line, readable

RECORD_KINDS = ("exercises", "predictions", "hints")
FIELDS = {"status": str, "attempts": int, "sources": list, "first": str, "last": str, "mistake": str}
FIELDS |= {"tries": list, "steps": int, "right": bool, "chosen": str}  # choice and answer may be anything
MOST_TRIES = 50  # the last attempts of an exercise kept with time and mistake
_warned = False
_open = ""


def open_lesson(key: str | None = None) -> str:
    """The key of the lesson this process works on, "" if unknown; a given key is remembered."""
    global _open
    if key is not None:
        _open = key
    return _open


def path() -> Path:
    """The progress file; it may not exist."""
    return home() / "progress.json"


def record(kind: str, lesson: str, name: str, **fields: Any) -> None:
    """Merge `fields` into the record of one prediction, hint or exercise.

    kind: one of RECORD_KINDS; lesson: its key, or "" if unknown. For hints the highest step and the last time
    are kept; for predictions the first choice, but a choice with its time starts the record again.
    """
    if kind not in RECORD_KINDS:
        raise ValueError(f"Unknown kind of progress {kind!r}: choose one of {', '.join(RECORD_KINDS)}.")

    def merge(entry: dict) -> None:
        if kind == "hints":
            fields["steps"] = max(fields["steps"], entry.get("steps", 0))
            fields.setdefault("last", now())
        if "chosen" in fields:
            entry.clear()
        kept = {key: entry[key] for key in ("choice", "chosen") if key in entry}
        entry.update({**fields, **kept})

    _change(kind, lesson, name, merge)


def prediction(lesson: str, question: str) -> dict:
    """The record of one prediction; {} if there is none or the file cannot be read."""
    try:
        return recorded().get(lesson, {}).get("predictions", {}).get(question, {})
    except OSError:
        return {}


def record_reveal(lesson: str, question: str, **fields: Any) -> None:
    """Record that a prediction's answer was shown: skipped if no choice was made, except in strict runs."""
    if "choice" in fields or os.environ.get("COURSE_STRICT") != "1":
        record("predictions", lesson, question, **fields)


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def record_attempt(lesson: str, name: str, source: str, mistake: str | None, at: str = "") -> None:
    """Record a check of an exercise. Once passed, it stays passed.

    source: identifies the text of the learner's function. A text checked before is no new attempt; no text
    ("") always is one. mistake: the message, None if it passed. at: the time, default now.
    """

    def merge(entry: dict) -> None:
        sources = entry.setdefault("sources", [])
        if not source or source not in sources:
            time = at or now()
            entry["attempts"] = entry.get("attempts", 0) + 1
            entry["first"], entry["last"] = entry.get("first", time), time
            entry["sources"] = [*sources, source] if source else sources
            tries = [*entry.get("tries", []), {"at": time, "mistake": mistake or ""}]
            entry["tries"] = tries[-MOST_TRIES:]
        if mistake is not None:
            entry["mistake"] = mistake
        if entry.get("status") != "passed":
            entry["status"] = "passed" if mistake is None else "failed"

    _change("exercises", lesson, name, merge)


def _change(kind: str, lesson: str, name: str, merge: Callable[[dict], None]) -> None:
    """Let `merge` change one entry of the file.

    If the folder cannot be written, a message says so once and the lesson goes on without a record.
    """
    global _warned
    try:
        with _lock():
            state = _read()
            merge(state["lessons"].setdefault(lesson, {}).setdefault(kind, {}).setdefault(name, {}))
            _write(state)
    except (OSError, Timeout, ValueError, RecursionError) as error:
        if not _warned:
            _warned = True
            print(
                f"Progress is not recorded: {plain_line(path())} cannot be written ({plain_line(error)}). "
                "Set COURSE_HOME to a folder of yours; the lesson goes on without."
            )


def recorded() -> dict:
    """{lesson: {kind: {name: fields}}} of everything recorded, kinds as in RECORD_KINDS."""
    with naming(path(), OTHER_HOME):
        state = _read()
    return {
        lesson: {kind: entry.get(kind, {}) for kind in RECORD_KINDS}
        for lesson, entry in state["lessons"].items()
    }


def clear() -> None:
    """Delete all records. A file that the course did not write is moved aside as damaged."""
    with naming(path(), OTHER_HOME), _lock():
        _read()
        path().unlink(missing_ok=True)


def _lock() -> FileLock:
    path().parent.mkdir(parents=True, exist_ok=True)
    return lock_at(path().with_suffix(".lock"), "Move it away", timeout=10)


def _read() -> dict:
    content, found = b"", None
    try:
        content = path().read_bytes() if path().is_file() or not path().exists() else b""  # pipes block
        found = json.loads(readable(content))
    except FileNotFoundError:
        return {"lessons": {}}
    except (ValueError, RecursionError):
        pass
    state = {"lessons": sound_lessons(found)}
    if state != found or not _is_text(content):
        aside = next(place for place in _asides() if not place.exists())
        os.replace(path(), aside)
        _write(state)
        print(
            f"The progress file was damaged; it was moved to {plain_line(aside)}. What could be read is kept."
        )
    return state


def _is_text(content: bytes) -> bool:
    try:
        return bool(content.decode(json.detect_encoding(content)))
    except UnicodeDecodeError:
        return False


def _asides() -> Iterator[Path]:
    """Free names for damaged files."""
    yield path().with_suffix(".damaged.json")
    for number in itertools.count(2):
        yield path().with_suffix(f".damaged-{number}.json")


def sound_lessons(state: Any) -> dict:
    """The lessons of a state without malformed entries (from a file edited by hand)."""

    def mapping(value: Any) -> dict:
        return value if isinstance(value, dict) else {}

    def sound(entry: dict) -> dict:
        return {key: value for key, value in entry.items() if isinstance(value, FIELDS.get(key, object))}

    return {
        lesson: {
            kind: {name: sound(entry) for name, entry in mapping(entries).items() if isinstance(entry, dict)}
            for kind, entries in mapping(kinds).items()
            if kind in RECORD_KINDS
        }
        for lesson, kinds in mapping(mapping(state).get("lessons")).items()
    }


def _write(state: dict) -> None:
    write_whole(path(), json.dumps(state, indent=1, sort_keys=True))
