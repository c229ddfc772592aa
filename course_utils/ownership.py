"""What the course may create, replace or delete: only what it made itself. All writers ask here.

A folder of the course contains the file MARK_FILE, a page has MARK in its head. Output of earlier editions
has no mark: its writer recognises it by its form, or by its place in BUILD. Links are followed; anything that
is neither file nor folder is refused. Temporary files and folders are beside their target.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from course_utils.terminal import command, plain_line

MARK = b'<meta name="generator" content="finetuning-course">'
MARK_FILE = ".finetuning-course"
PAGE = b"<!doctype html>"  # begins every page
HEAD_BYTES = 4096  # bytes at the start of a file that contain its mark
JSON_MARK = {"generator": "finetuning-course"}  # the first entry of a JSON file
PACKAGE_FOLDER = Path(__file__).resolve().parent
CHECKOUT = (PACKAGE_FOLDER.parent / "pyproject.toml").is_file()  # else the course was installed from a wheel
ROOT = (
    PACKAGE_FOLDER.parent if CHECKOUT else PACKAGE_FOLDER / "course"
)  # has notebooks, data, docs and recipes


def _own_folder() -> Path:
    """Where copies, runs and pages go: the checkout, else `finetuning-course` in the current folder."""
    here = Path.cwd()
    return ROOT if CHECKOUT else here if here.name == OWN_FOLDER else here / OWN_FOLDER


def restore_command(place: object) -> str:
    """The command that restores a file or folder of the course."""
    if CHECKOUT:
        return command("git", "checkout", "--", place)
    return command(sys.executable, "-m", "pip", "install", "--force-reinstall", "--no-deps", OWN_FOLDER)


OWN_FOLDER = "finetuning-course"  # of a package, too
OWN_ROOT = _own_folder()
BUILD = OWN_ROOT / "build"
OTHER_FILE = "Name another file: --out FILE"
OTHER_FOLDER = "Name another folder: --out FOLDER"
OVERWRITE_HELP = "replace a file even if the course did not write it"
PART = ".course-part"  # ends the names of temporary files and folders
MADE_BY = b"Made by "  # begins a mark
LOCK = ".lock"  # in a folder of the course
MARKS = (MARK_FILE, f"{MARK_FILE}{PART}")  # a folder's mark, and one being written
DAY = 24 * 3600  # seconds after which they must be leftovers of a killed process

WRITTEN = {  # places as listed in docs/security.md: the modules that write there
    "`COURSE_HOME` (default: your data folder)": (
        *("home", "fetch", "model_files", "checks.progress", "lessons.lesson_10.labelling"),
        *("commands.tests", "replicate.measure"),
    ),
    "`work/`": ("commands.lab", "notebook_files"),
    "`runs/`, or `--out`": ("commands.run",),
    "`build/`, or `--out`": (
        "commands.book",
        "commands.key",
        "commands.playground",
        "commands.sheets",
        "commands.slides",
    ),
    "`colab/`, `README.md`": ("commands.copies", "commands.addresses"),
    "`data/results/replications/`, `docs/holds.md`, `docs/holds.csv`": (
        *("commands.replicate", "replicate.page"),
    ),
    "`bench.json`, or `--out`": ("commands.bench",),
    "`--out` of `grade`, `room`": ("commands.grade", "commands.room"),
    "`OUT` of lesson 17, `OUT.part`, `.OUT.lock` beside it": (*("own.own_run", "own.report", "own.rating"),),
    "`RUN-export`, or `--out`, `.RUN-export.lock` beside it": ("own.export",),
    "the folder that you give to a function": (
        *("models", "training", "preferences", "methods.lora_files", "methods.quantization"),
        *("methods.reward", "methods.token_rows", "lessons.lesson_14.memo"),
    ),
    "`.NAME.*.course-part` beside NAME": ("ownership",),
    "temporary folders of the system": (
        *("commands.grade", "commands.grade_cell", "processes", "methods.distributed"),
        *("lessons.lesson_05.exercises.save_adapter", "lessons.lesson_05.small_adapters"),
        *("lessons.lesson_14.comparison", "lessons.lesson_16.cluster", "lessons.lesson_16.two_nodes"),
    ),
}


def real(path: Path | str) -> Path:
    """The absolute path: ~ is the home folder, and links are followed."""
    try:
        return Path(path).expanduser().resolve()
    except RuntimeError as fault:
        raise FileExistsError(f"{plain_line(path)} cannot be followed: {plain_line(fault)}.") from None


def standing(place: Path) -> str:
    """What is at a path without links: "a file", "a folder", another kind, or ""."""
    try:
        mode = place.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as fault:  # its name is too long, for example
        raise FileExistsError(f"{plain_line(place)} cannot be used ({fault.strerror}).") from None
    kinds = {stat.S_ISREG: "a file", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe"}
    kinds |= {stat.S_ISCHR: "a device", stat.S_ISBLK: "a device", stat.S_ISSOCK: "a socket"}
    return next((name for is_kind, name in kinds.items() if is_kind(mode)), "not a regular file")


def regular(path: Path | str, todo: str = "Name another file") -> Path:
    """The real path of an existing or new file. FileExistsError for anything that is not a regular file."""
    place = real(path)
    if (found := standing(place)) not in ("", "a file"):
        raise FileExistsError(f"{plain_line(path)} is {found}. {todo}.")
    return _in_a_folder(place, todo)


def read_regular(path: Path | str) -> str:
    """Text of a regular file, in UTF-8. FileExistsError for a pipe or a device, which might never end."""
    return regular(path, "Name a file").read_text(encoding="utf-8-sig")


def own_file(path: Path | str, todo: str, overwrite: bool | None = False) -> Path:
    """The real path of a file that may be written: it is new, empty, or the course's own.

    overwrite: accept any regular file; None if the user has no such option. FileExistsError for others' files
    and for anything that is not a regular file.
    """
    place = regular(path, todo)
    if standing(place) and not overwrite:
        head = _head(place)
        earlier = BUILD in place.parents and head.startswith(PAGE)
        if head and not earlier and not _is_own(head):
            hint = "" if overwrite is None else ", or add --overwrite"
            raise FileExistsError(
                f"{plain_line(path)} is a file that this course did not write. {todo}{hint}."
            )
    return place


def own_page(path: Path | str, todo: str, overwrite: bool) -> Path:
    """As own_file; also with `overwrite` nothing but a page (HTML) or an empty file is replaced."""
    place = own_file(path, todo, overwrite)
    if standing(place):
        head = _head(place)
        if head and not re.match(rb"\s*<(!doctype html|html)", head, re.IGNORECASE):
            raise FileExistsError(f"{plain_line(path)} is no page (HTML), and is kept. {todo}.")
    return place


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(HEAD_BYTES)


def _is_own(head: bytes) -> bool:
    """Whether a file with this beginning is a page or JSON file of the course, not one that quotes it."""
    page = PAGE + rb"\s*<html[^<>]*>\s*<head>\s*(<meta [^<>]*>\s*)*?" + MARK
    json = rb'\{\s*"generator": "finetuning-course",'
    return any(re.match(start, head) for start in (page, json))


def own_folder(
    path: Path | str, maker: str, todo: str, known: Callable[[Path], bool] = lambda place: False
) -> Path:
    """The real path of a folder that may be written: it is new, empty, or made by `maker`.

    known(place): whether `maker` made a folder without a mark. FileExistsError otherwise.
    """
    place = real(path)
    found = standing(place)
    if found == "a folder":
        filled = any(inside.name not in MARKS or standing(inside) != "a file" for inside in place.iterdir())
        can_be_marked = all(_may_be_mark(place / name) for name in MARKS)
        if filled and not is_marked(place, maker) and not (can_be_marked and known(place)):
            who = maker or "this course"
            raise FileExistsError(
                f"{plain_line(path)} is a folder that {who} did not make, and not empty. {todo}."
            )
    elif found:
        raise FileExistsError(f"{plain_line(path)} is {found}. {todo}.")
    return _in_a_folder(place, todo)


def _in_a_folder(place: Path, todo: str) -> Path:
    """The place, if its existing parents are folders and the lowest is writable."""
    above = next((folder for folder in place.parents if standing(folder)), place.parents[-1])
    if not above.is_dir():
        raise FileExistsError(f"{plain_line(above)} is {standing(above) or 'missing'}, not a folder. {todo}.")
    if not standing(place) and not os.access(above, os.W_OK):
        raise PermissionError(f"{plain_line(above)} cannot be written to. {todo}.")
    return place


# ------------------------------------------------------------------------------------------- folders


def mark(folder: Path, maker: str, names: Iterable[str] = ()) -> None:
    """Mark a folder, new or not, as made by `maker`. names: what the course put into it.

    FileExistsError if something else has the mark's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    line = f"Made by {maker}, of the course on fine-tuning, which may replace or delete this folder."
    for path in map(folder.joinpath, MARKS):
        if not _may_be_mark(path):
            raise FileExistsError(f"{plain_line(path)} is not a mark of the course. Move it away.")
    part = folder / MARKS[1]
    part.unlink(missing_ok=True)  # left by a killed process
    with part.open("x", encoding="utf-8") as file:
        file.write("\n".join([line, *names]))
    part.replace(folder / MARK_FILE)


def _may_be_mark(path: Path) -> bool:
    """Whether a file is missing, a mark, or the beginning of one."""
    if standing(path) != "a file":
        return not standing(path)
    with path.open("rb") as file:
        head = file.read(len(MADE_BY))
    return MADE_BY.startswith(head)


def is_marked(folder: Path, maker: str = "") -> bool:
    """Whether the course, or this maker, made the folder."""
    return "\n".join(_mark_lines(folder)).startswith(f"Made by {maker}")


def made_names(folder: Path) -> list[str]:
    """The names listed in a folder's mark, and the mark's own; empty for a folder without a mark."""
    return [MARK_FILE, *_mark_lines(folder)[1:]] if is_marked(folder) else []


def _mark_lines(folder: Path) -> list[str]:
    """The lines of a folder's mark, which must be a regular file, not a link to another folder's mark."""
    if standing(folder / MARK_FILE) != "a file":
        return []
    try:
        return read_regular(folder / MARK_FILE).splitlines()
    except (OSError, ValueError):
        return []


def mark_content(folder: Path, maker: str) -> None:
    """Mark a folder, listing everything in it."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    mark(folder, maker, sorted(found | {MARK_FILE}))


def without_strangers(folder: Path, todo: str) -> Path:
    """The folder. FileExistsError if its mark lists its content and something else is in it."""
    names = {*_mark_lines(folder)[1:]}
    if names:
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if name not in {*names, *MARKS} and path.name != ".DS_Store":  # macOS's
                raise FileExistsError(f"{plain_line(path)} is not the course's. Move it away, or: {todo}.")
    return folder


def emptied(folder: Path, maker: str) -> Path:
    """The folder, new or not, marked and otherwise empty. FileExistsError for someone else's."""
    folder = own_folder(folder, maker, "Move it away")
    if not is_marked(folder, maker):
        mark(folder, maker)
    for path in folder.iterdir():
        if path.name != MARK_FILE:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return folder


def remove(folder: Path, maker: str = "") -> None:
    """Delete a folder of the course, its mark last, so that leftovers after a kill are recognised."""
    folder = emptied(folder, maker)
    (folder / MARK_FILE).unlink()
    folder.rmdir()


@contextmanager
def new_folder(place: Path, maker: str) -> Iterator[Path]:
    """A new marked folder beside `place`, which becomes `place` if the block succeeds, else is deleted.

    First deletes what killed processes left for this place: hold its lock.
    """
    remove_leftovers(place, maker)
    part = Path(tempfile.mkdtemp(dir=place.parent, prefix=_prefix(place), suffix=PART))
    try:
        mark(part, maker)
        part.chmod(0o777 & ~umask())
        yield part
        try:
            part.rename(place)
        except OSError as fault:
            if not (found := standing(place)):
                raise
            raise FileExistsError(
                f"{plain_line(place)} is {found} now, and was not there at the beginning. Move it away, and "
                "run the same again."
            ) from fault
    except BaseException:
        remove(part)
        raise


def temporary_file(place: Path) -> Path:
    """A new empty file beside `place`, to be renamed to it or removed."""
    remove_leftovers(place)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=_prefix(place), suffix=PART)
    os.close(handle)
    return Path(name)


def umask() -> int:
    """The process's mask for new files; temporary ones are readable by their owner only."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _prefix(place: Path) -> str:
    name = place.name
    if len(os.fsencode(name)) > 100:  # with the additions it could exceed the maximum length of a name
        name = f"{name[:20]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
    return f".{name}."


def remove_leftovers(place: Path, maker: str = "") -> None:
    """Delete day-old leftovers of killed processes beside `place`, and this maker's folders at any age."""
    for path in list(place.parent.iterdir()):
        if not re.fullmatch(r"\..*\.[a-z0-9_]{8}" + re.escape(PART), path.name, re.DOTALL):
            continue
        mine = maker and re.fullmatch(re.escape(_prefix(place)) + r".{8}" + re.escape(PART), path.name)
        with suppress(OSError):  # another process was faster, or it is not the course's
            if mine or time.time() - path.lstat().st_mtime > DAY:
                if standing(path) == "a folder":
                    remove(path)
                elif standing(path) == "a file":
                    path.unlink()


@contextmanager
def alone_in(folder: Path, todo: str) -> Iterator[None]:
    """Holds the lock of a folder of the course. FileExistsError if another process writes there."""
    lock = lock_at(folder / LOCK, "Move it away")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise FileExistsError(f"{plain_line(folder)}: another process writes there. {todo}.") from None
    try:
        yield
    finally:
        lock.release()


def lock_of(place: Path, todo: str) -> FileLock:
    """The lock of a place: an empty file beside it. FileExistsError if something else has its name."""
    return lock_at(place.with_name(f"{_prefix(place)}lock"), todo, is_singleton=True)


def lock_at(path: Path, todo: str, **options) -> FileLock:
    """A lock: an empty file, as FileLock empties others. FileExistsError if something else is there."""
    if standing(path) not in ("", "a file") or (standing(path) and path.stat().st_size):
        raise FileExistsError(f"{plain_line(path)} is not a lock of the course. {todo}.")
    return FileLock(path, **options)
