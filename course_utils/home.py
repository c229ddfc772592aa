"""The learner's own files under COURSE_HOME, and the cache of results that are made once."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from course_utils import ownership
from course_utils.model_files import sha256
from course_utils.ownership import CHECKOUT, OWN_FOLDER, ROOT
from course_utils.terminal import command, plain_line

CACHE = "the cache"
SUMS = "cached-sha256.json"  # of each file of a cache entry
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))  # a full quota is a full disk
OTHER_HOME = "Set COURSE_HOME to a folder of yours that can be written, on a disk with space"


def cached(
    name: str, inputs: dict[str, Any], make: Callable[[Path], None], rests_on: Sequence[str] = ()
) -> Path:
    """The folder that make(folder) filled, cached by name and inputs.

    inputs: JSON values the result depends on (model, scale, seed) besides the course's data. rests_on: the
    short trajectories that pin the result of make; if one changes, it is made again. Several kernels may call
    at once: one makes it, the others wait. Nothing is kept if make fails; a damaged result is made again.
    Raises TypeError for inputs that are not JSON, OSError on a full disk or if COURSE_HOME cannot be written.
    """
    from course_utils.reach import data_hash
    from course_utils.stored_runs import trajectory_digest

    key = json.dumps([name, inputs, trajectory_digest(rests_on), data_hash(make)], sort_keys=True)
    folder = home() / "cache" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with _locked(folder):
        folder = ownership.own_folder(
            folder, CACHE, "Move it away, or set COURSE_HOME to another folder", _has_sums
        )
        if folder.is_dir() and (fault := _damage(folder)):
            shown = plain_line(f"{folder} is damaged ({fault})")
            print(f"{shown}: it is removed, and {name} is made again.", flush=True)
            ownership.without_strangers(folder, "set COURSE_HOME to another folder")
            ownership.mark(folder, CACHE)
            ownership.remove(folder)
        if not folder.is_dir():
            print(f"Making {name} once; it will be kept in {plain_line(folder)}", flush=True)
            _fill(folder, make)
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = ownership.lock_at(Path(f"{folder}.lock"), "Move it away")
    with naming(folder.parent, OTHER_HOME):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _has_sums(folder: Path) -> bool:
    return (folder / SUMS).is_file()


def _damage(folder: Path) -> str:
    """What in a cache entry differs from what was written, or ""."""
    if not _has_sums(folder):
        return f"{SUMS} is missing"
    try:
        expected = dict(json.loads((folder / SUMS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return f"{SUMS} cannot be read"
    found = _sums(folder)
    written = {*expected, *(found.keys() & ownership.made_names(folder))}
    wrong = sorted(name for name in written if expected.get(name) != found.get(name))
    return f"{wrong[0]} has changed" if wrong else ""


def _sums(folder: Path) -> dict[str, str]:
    beside = (folder / SUMS, folder / ownership.MARK_FILE)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path not in beside)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def _fill(folder: Path, make: Callable[[Path], None]) -> None:
    try:
        with ownership.new_folder(folder, CACHE) as part:
            make(part)
            (part / SUMS).write_text(json.dumps(_sums(part), indent=1), encoding="utf-8")
            ownership.mark_content(part, CACHE)
    except BaseException as fault:
        if is_full(fault):
            raise OSError(
                errno.ENOSPC,
                f"The disk is full: nothing was kept in {folder.parent}. Free some "
                "space, or set COURSE_HOME to a folder on another disk",
            ) from fault
        raise


def pip_install(extras: str = "") -> str:
    """The command that installs the course for this Python. extras: "lab,test"."""
    what = ["-e", str(ROOT)] if CHECKOUT else [OWN_FOLDER]
    return command(
        sys.executable, "-m", "pip", "install", *what[:-1], f"{what[-1]}{extras and f'[{extras}]'}"
    )


def home() -> Path:
    """The folder of the learner's files (cache, models, progress): COURSE_HOME or the user's data folder."""
    if folder := os.environ.get("COURSE_HOME"):
        return ownership.real(folder)
    from platformdirs import user_data_dir

    return Path(user_data_dir("finetuning-course"))


@contextmanager
def naming(place: Path, todo: str) -> Iterator[None]:
    """Make an OSError in the block, or a full-disk error, name the place, the reason and what to do."""
    try:
        yield
    except Exception as fault:
        refused = isinstance(fault, FileExistsError | PermissionError) and fault.errno is None  # by ownership
        if refused or not (isinstance(fault, OSError) or is_full(fault)):
            raise
        text = f"{plain_line(place)} cannot be used ({getattr(fault, 'strerror', None) or fault}). {todo}"
        raise OSError(getattr(fault, "errno", None) or errno.EIO, text) from fault


def is_full(fault: BaseException) -> bool:
    """Whether an error reports a full disk or quota; safetensors has its own error class for it."""
    told = any(text in str(fault) for text in ("No space left", "File too large"))
    return told or getattr(fault, "errno", None) in FULL


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A new file beside `path` to write to; it replaces `path` if the block succeeds.

    If `path` is a link, its target is replaced. Permissions are kept. FileExistsError for a folder or a
    device.
    """
    place = ownership.regular(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    part = ownership.temporary_file(place)
    try:
        yield part
        part.chmod(place.stat().st_mode & 0o777 if place.exists() else 0o666 & ~ownership.umask())
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def write_page(path: Path, content: str, todo: str, overwrite: bool) -> None:
    """Write a page atomically, after own_page's look: a file may have come while the page was made."""
    place = ownership.own_page(path, todo, overwrite)
    with naming(place, todo):
        write_whole(place, content)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically: readers never see half of it."""
    with written_aside(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
