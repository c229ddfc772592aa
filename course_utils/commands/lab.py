"""The learner's own copies of the lessons in work/: `make lab` makes them, `reset` makes a fresh one."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

from course_utils.home import naming
from course_utils.machine import zoom
from course_utils.model_files import sha256
from course_utils.notebook_files import NOTEBOOKS, lesson_key, lessons, place_in, write_notebook
from course_utils.ownership import (
    OWN_ROOT,
    PACKAGE_FOLDER,
    real,
    regular,
    remove_leftovers,
    standing,
    temporary_file,
    umask,
)
from course_utils.terminal import Parser, plain_line

WORK = OWN_ROOT / "work"
JUPYTER = Path(__file__).parent / "jupyter"  # the course's defaults and style for JupyterLab
PROJECTOR = Path(__file__).parent / "projector"  # added with COURSE_STYLE=projector: larger type
# as JupyterLab writes them; with others, opening a lesson would count as changing it
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
    "version": platform.python_version(),
}
MOVE_AWAY = "Move it away"
OTHER_CHECKOUT = "Free some space, or copy the course to a folder of yours that can be written"


def copy_lessons(source: Path = NOTEBOOKS, work: Path = WORK) -> list[str]:
    """Copy each lesson and companion that is not yet in `work`, without outputs.

    Returns a line for each copy that was made or is out of date. An existing copy is never touched: if its
    lesson has changed since, the line says so.
    """
    copies = {lesson: place_in(work, lesson) for lesson in lessons(folder=source, more=True)}
    for folder in dict.fromkeys([work, *(copy.parent for copy in copies.values())]):
        _make_folder(folder)
        remove_leftovers(folder / "any")
    lines = []
    for lesson, copy in copies.items():
        regular(copy, MOVE_AWAY)
        if not copy.exists():
            with naming(copy, OTHER_CHECKOUT):
                write_notebook(fresh_copy(lesson), copy)
            lines.append(f"{copy.relative_to(work.parent)}: copied from {source.name}/")
        elif _origin(copy) != _digest(_read(lesson)):
            gone = missing_modules(copy)
            what = (
                f"imports {gone[0]}, which has moved: it cannot run" if gone else "is older than its lesson"
            )
            lines.append(
                f"{copy.relative_to(work.parent)} {what}. A fresh copy, with "
                f"yours kept beside it: python -m course_utils reset {lesson_key(lesson)}"
            )
    return lines


def _make_folder(work: Path) -> None:
    if (found := standing(real(work))) not in ("", "a folder"):
        raise FileExistsError(f"{plain_line(work)} is {found}, not a folder. {MOVE_AWAY}.")
    with naming(work, OTHER_CHECKOUT):
        real(work).mkdir(parents=True, exist_ok=True)


def missing_modules(copy: Path) -> list[str]:
    """Modules of the package that a copy imports but that do not exist (any more)."""
    text = copy.read_text(encoding="utf-8", errors="replace")
    names = re.findall(r"(?:from|import) (course_utils(?:\.\w+)+)", text)
    return sorted({name for name in names if not _is_module(name)})


def _is_module(name: str) -> bool:
    path = PACKAGE_FOLDER.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def reset(name: str, source: Path = NOTEBOOKS, work: Path = WORK) -> tuple[Path, Path | None]:
    """Make a fresh copy of one lesson: (the copy, the old copy's new place or None). Raises ValueError."""
    lesson = lessons([name], source)[0]
    fresh, copy = fresh_copy(lesson), place_in(work, lesson)
    for folder in (work, copy.parent):
        _make_folder(folder)
    place = regular(copy, MOVE_AWAY)
    with naming(work, OTHER_CHECKOUT):
        part = temporary_file(place)
        try:
            write_notebook(fresh, part)
            part.chmod(0o666 & ~umask())
            kept = _exchange(part, place, copy)
        finally:
            part.unlink(missing_ok=True)
    return copy, kept


def _exchange(part: Path, place: Path, copy: Path) -> Path | None:
    """Put `part` at `place` with the same permissions, keep the old file beside `copy`; returns its new path.

    Files saved meanwhile are kept as well; the last one is returned.
    """
    kept = None
    try:
        while not _take_free_name(part, place):
            part.chmod(place.stat().st_mode & 0o777)
            kept = _name_for_old(copy)
            try:
                place.rename(kept)
            except OSError:  # a link to another disk, or a file that Windows holds open
                before = _state(place)
                _copy_to(place, kept)
                if _state(place) == before:
                    part.replace(place)
                    break
    except BaseException:
        if kept and kept.exists() and _take_free_name(kept, place):
            kept.unlink(missing_ok=True)
        raise
    return kept


def _name_for_old(copy: Path) -> Path:
    """A new name at every call, also across processes."""
    return copy.with_name(f"{copy.stem}.before-{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:6]}.ipynb")


def _take_free_name(part: Path, place: Path) -> bool:
    """Give the file the name `place` if it is free; returns whether it was."""
    try:
        os.link(part, place)
    except FileExistsError:
        return False
    except OSError:  # a disk without hard links
        if place.exists():
            return False
        part.rename(place)
    return True


def _state(place: Path) -> tuple[int, int, int, str]:
    """Attributes of a file that change when it is saved."""
    found = place.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size, sha256(place)


def _copy_to(place: Path, kept: Path) -> None:
    """Copy the complete file with its permissions."""
    part = temporary_file(kept)  # readable by its owner only until it is complete
    try:
        shutil.copyfile(place, part)
        shutil.copymode(place, part)
        part.replace(kept)
    finally:
        part.unlink(missing_ok=True)


def fresh_copy(lesson: Path):
    """The lesson as a new copy: without outputs, with the digest of its cells."""
    import nbformat

    notebook = nbformat.read(lesson, as_version=4)
    notebook.metadata["course"] = {**notebook.metadata.get("course", {}), "lesson": _digest(notebook)}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            for key in ("execution", "papermill", "ExecuteTime"):
                cell.metadata.pop(key, None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata |= {"kernelspec": KERNEL, "language_info": LANGUAGE}
    return notebook


def _read(path: Path) -> dict:
    """A notebook as JSON. nbformat would validate it, but its import exceeds JupyterLab's time limit."""
    return json.loads(path.read_bytes())


def _digest(notebook: dict) -> str:
    """A hash of the cells' sources, without outputs; a source is a string or, in files, a list of lines."""
    text = "\0".join(f"{cell['cell_type']}\0{''.join(cell['source'])}" for cell in notebook["cells"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _origin(copy: Path) -> str | None:
    """The hash of the lesson that this copy was made from (JupyterLab keeps it on saving), or None."""
    try:
        return _read(copy)["metadata"]["course"]["lesson"]
    except (ValueError, KeyError, TypeError):  # not a notebook any more
        return None


def jupyter_environment() -> dict[str, str]:
    """Environment variables with the course's JupyterLab defaults; the user's own settings override them."""
    paths = {}
    own = [str(JUPYTER)]
    if zoom() > 1:
        own.append(str(PROJECTOR))
    for name in ("JUPYTER_CONFIG_PATH", "JUPYTER_PATH"):
        paths[name] = os.pathsep.join(filter(None, [*own, os.environ.get(name)]))
    return paths


def lab(arguments: list[str]) -> int:
    """Update work/ and open JupyterLab there, for this machine only, with a token."""
    parser = Parser(
        "python -m course_utils lab",
        description="Open JupyterLab at your own copies of the lessons, in work/. All options go to "
        "JupyterLab: --no-browser, --port=9999 and so on; `python -m jupyterlab --help` lists them.",
        allow_abbrev=False,
    )
    _, arguments = parser.parse_known_args(arguments)
    print("\n".join(copy_lessons()) or "work/: all copies are there and current")
    print("New here? Three minutes in a browser alone: python -m course_utils playground", flush=True)
    command = [sys.executable, "-P", "-m", "jupyterlab", f"--ServerApp.root_dir={OWN_ROOT}"]
    if not any(argument.startswith(("--ip", "--ServerApp.ip")) for argument in arguments):
        command.append("--ip=127.0.0.1")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    for first in lessons(folder=WORK)[:1]:
        command.append(f"--LabApp.default_url=/lab/tree/{first.relative_to(OWN_ROOT).as_posix()}")
    command += arguments
    environment = {**os.environ, **jupyter_environment()}
    os.chdir(OWN_ROOT)
    if os.name == "posix":
        os.execve(command[0], command, environment)  # so that only JupyterLab gets Ctrl-C
    return subprocess.run(command, env=environment).returncode
