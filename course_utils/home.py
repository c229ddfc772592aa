"""The learner's own files under COURSE_HOME, and what is made once and kept there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock


def cached(name: str, inputs: dict[str, Any], make: Callable[[Path], None]) -> Path:
    """The folder that make(folder) filled, from the cache where name, inputs and code are the same.

    inputs: as JSON values what the result depends on (model, scale, seed) beside the course's data and the
    code that make reaches. Several kernels may ask at once: one makes, the others wait. Nothing is kept where
    make fails. Raises TypeError for inputs that are not JSON, OSError on a full disk.
    """
    from course_utils.code_hash import code_hash, data_hash

    key = json.dumps([name, inputs, code_hash(make), data_hash(make)], sort_keys=True)
    folder = home() / "cache" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            print(f"Making {name} once; it will be kept in {folder}", flush=True)
            _fill(Path(f"{folder}.part"), make)
            Path(f"{folder}.part").replace(folder)
    return folder


def _fill(part: Path, make: Callable[[Path], None]) -> None:
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
    part.mkdir()
    try:
        make(part)
    except BaseException as fault:
        shutil.rmtree(part, ignore_errors=True)
        if getattr(fault, "errno", None) == errno.ENOSPC or "No space left" in str(fault):
            raise OSError(
                errno.ENOSPC,
                f"The disk is full: nothing was kept in {part.parent}. Free some "
                "space, or set COURSE_HOME to a folder on another disk",
            ) from fault
        raise


ROOT = Path(__file__).resolve().parent.parent  # of the checkout


def home() -> Path:
    """Folder of the learner's own files (cache, models, progress): COURSE_HOME or the user's data folder."""
    if "COURSE_HOME" in os.environ:
        return Path(os.environ["COURSE_HOME"]).expanduser().resolve()
    from platformdirs import user_data_dir

    return Path(user_data_dir("finetuning-course"))


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that nobody ever sees half of it: to a name of its own beside it, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        part.chmod(0o666 & ~umask())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def umask() -> int:
    """The process's mask for new files; mkstemp makes them readable by their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
