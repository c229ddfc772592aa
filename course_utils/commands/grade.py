"""`python -m course_utils grade`: the exercises of learners' notebooks, judged by the course's checks."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from course_utils.checks.exercises import registry
from course_utils.commands.grade_page import grade_page
from course_utils.home import ROOT, naming, write_whole
from course_utils.notebook_files import NOTEBOOKS
from course_utils.ownership import OTHER_FILE, OVERWRITE_HELP, own_file

SECONDS = 30  # for one exercise
START = 120  # seconds for the imports before an exercise
MEMORY = 4 << 30  # bytes of the process and its children
LOOK = 0.1  # seconds between two looks at the process
KEYS = ("file", "learner", "lesson", "exercise", "status", "message")
DESCRIPTION = """Judge the exercises in learners' notebooks with the course's own checks.

For each exercise the learner's cell alone is run, with the imports and definitions of the course's own
notebook and with the course's solutions of the other exercises. Nothing is written into anybody's progress.

The learners' code runs with YOUR rights: it can read, change and send what you can, and it could forge its
verdict. The limits (30 s an exercise, 4 GiB) stop mistakes, not malice. Grade the work of people you do not
trust in a container or as a user who owns nothing."""

WORKER = "from course_utils.commands.grade_cell import grade_cells; grade_cells()"


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils grade PATH... [--json] [--out page.html]`; ValueError for a wrong path."""
    parser = argparse.ArgumentParser(
        "python -m course_utils grade",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a notebook, or a folder: of notebooks named by learner, or with one sub-folder a learner",
    )
    parser.add_argument("--json", action="store_true", help=f"a list of objects with {', '.join(KEYS)}")
    parser.add_argument("--out", type=Path, help="write a page for a teacher into this file (HTML)")
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    arguments = parser.parse_args(argv)
    out = arguments.out and own_file(arguments.out, OTHER_FILE, arguments.overwrite)
    rows = grade(arguments.paths)
    print(json.dumps(rows, indent=1) if arguments.json else _table(rows))
    if out:
        with naming(out, OTHER_FILE):
            write_whole(out, grade_page(rows))
        if not arguments.json:
            print(f"Open {out}")
    return 0


def grade(paths: Sequence[Path]) -> list[dict[str, str]]:
    """A row with KEYS for each exercise of each notebook, or for a file that is no lesson."""
    from tqdm import tqdm

    found = [(path, root) for root in paths for path in _notebooks(root)]
    bar = tqdm(found, unit="notebook", desc="grade", dynamic_ncols=True, disable=None)
    return [row for path, root in bar for row in grade_notebook(path, root)]


def _notebooks(root: Path) -> list[Path]:
    """The file itself, or the notebooks in the folder; no hidden folders, and no old copies of `reset`."""
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise ValueError(f"There is no file or folder {root}.")
    found = [
        path
        for path in sorted(root.rglob("*.ipynb"))
        if path.is_file()
        and ".before-" not in path.name
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    if not found:
        raise ValueError(f"There are no notebooks (*.ipynb) in {root}.")
    return found


def grade_notebook(path: Path, root: Path) -> list[dict[str, str]]:
    """The rows of one notebook, found in (or at) root."""
    try:
        cells = code_of(path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        fault = f"{path.name} is not a notebook: {type(error).__name__}: {error}"
        return [_row(path, root, "", "", "stopped", fault)]
    lesson = _lesson(path, cells)
    if not lesson:
        fault = f"{path.name} is no lesson: no lesson's number in its name, and no cell calls check.NAME."
        return [_row(path, root, "", "", "stopped", fault)]
    course = code_of(lesson_files()[lesson])
    names = [name for cell in course for name in called(cell)]
    answers = {name: [cell for cell in cells if name in called(cell)] for name in names}
    verdicts = {
        name: ("not attempted", f"No cell calls check.{name}.") for name in names if not answers[name]
    }
    while waiting := {name: answers[name] for name in names if name not in verdicts}:
        verdicts |= _judge(waiting, course)
    return [_row(path, root, lesson, name, *verdicts[name]) for name in names]


def code_of(path: Path) -> list[str]:
    """The sources of a notebook's code cells. Raises OSError, or what a damaged file leads to."""
    notebook = json.loads(path.read_text(encoding="utf-8-sig"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def called(cell: str) -> list[str]:
    """The NAMEs of `check.NAME(` in a cell, comments aside; the cell need not be valid Python."""
    lines = (line.split("#")[0] for line in cell.splitlines())
    return [name for line in lines for name in re.findall(r"\bcheck\.(\w+)\s*\(", line)]


def lesson_files() -> dict[str, Path]:
    """{two digits: the course's own notebook}."""
    return {path.name[:2]: path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}


def _lesson(path: Path, cells: list[str]) -> str:
    """Two digits: by the lesson's name in the file's, the exercises in it, or the number in front; or ""."""
    for number, lesson in lesson_files().items():
        if lesson.stem in path.stem:
            return number
    names = [name for cell in cells for name in called(cell) if name in registry()]
    if names:
        return Counter(registry()[name].lesson for name in names).most_common(1)[0][0]
    front = re.match(r"\d{1,2}(?!\d)", path.stem)
    return front[0].zfill(2) if front and front[0].zfill(2) in lesson_files() else ""


def _learner(path: Path, root: Path, lesson: str) -> str:
    """The sub-folder's name, or what the file's name says beside the lesson; else the folder's name."""
    if root.is_dir() and path.parent != root:
        return path.relative_to(root).parts[0]
    rest = path.stem
    for file in lesson_files().values():
        rest = rest.replace(file.stem, "")
    if lesson:
        rest = re.sub(rf"^0*{int(lesson)}(?!\d)", "", rest)
    rest = re.sub(r"(-Copy\d+| ?\(\d+\))$", "", rest).strip(" _-.")
    return rest or path.resolve().parent.name


def _row(path: Path, root: Path, lesson: str, exercise: str, status: str, message: str) -> dict[str, str]:
    values = (str(path), _learner(path, root, lesson), lesson, exercise, status, message)
    return dict(zip(KEYS, map(_printable, values), strict=True))


def _printable(text: str) -> str:
    """One line without control characters (a name or a message must not command the terminal)."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _table(rows: list[dict[str, str]]) -> str:
    lines = [{key: key for key in KEYS}, *rows]
    widths = {key: max(len(line[key]) for line in lines) for key in KEYS[1:-1]}
    return "\n".join(
        "  ".join([*(line[key].ljust(width) for key, width in widths.items()), line["message"]]).rstrip()
        for line in lines
    )


def _judge(answers: dict[str, list[str]], course: list[str]) -> dict[str, tuple[str, str]]:
    """{exercise: (status, message)} from one process, up to the first exercise that it is stopped at.

    answers: {exercise: the learner's cells that check it}; course: the code cells of the course's notebook.
    """
    with tempfile.TemporaryDirectory(prefix="course-grade-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "here").mkdir()
        job = {"course": course, "answers": answers}
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, name],
            cwd=folder / "here",
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        family = {psutil.Process(process.pid)}
        try:
            return _watch(process, family, folder / "told.jsonl", list(answers))
        finally:
            _end(process, family)


def _environment(folder: Path) -> dict[str, str]:
    """This process's, with a COURSE_HOME of its own, so that no progress is recorded."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COURSE_")}
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": paths, "COURSE_HOME": str(folder / "home")}


def _watch(
    process: subprocess.Popen, family: set, told: Path, names: list[str]
) -> dict[str, tuple[str, str]]:
    """Follow the process until it has judged all names, or must be stopped, or ends."""
    lines, since = [], time.monotonic()
    while True:
        ended = process.poll()  # before the look at what it told, so that nothing is missed
        count, lines = len(lines), list(_read(told))
        if len(lines) > count:
            since = time.monotonic()
        verdicts = {line["exercise"]: (line["status"], line["message"]) for line in lines if "status" in line}
        if len(verdicts) == len(names):
            return verdicts
        limit = START if len(lines) == 2 * len(verdicts) else SECONDS
        used = _memory(process.pid, family)
        if ended is not None:
            how = f"with exit status {ended}" if ended >= 0 else f"by signal {-ended}"
            reason = f"The process ended {how}: the code calls exit(), or it crashed."
        elif used > MEMORY:
            reason = f"Stopped at {used / 2**30:.1f} GiB of memory; {MEMORY / 2**30:g} GiB are allowed."
        elif time.monotonic() - since > limit:
            reason = f"Stopped after {limit} s. Does a loop never end?"
        else:
            time.sleep(LOOK)
            continue
        stopped = next(name for name in names if name not in verdicts)
        return {**verdicts, stopped: ("stopped", reason)}


def _read(told: Path) -> Iterator[dict]:
    """The whole lines written so far: {"exercise"} when one starts; with "status", "message" when it ends."""
    with suppress(FileNotFoundError):
        for line in told.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


def _memory(number: int, family: set) -> int:
    """Bytes resident in the process and its descendants, which join the family."""
    with suppress(psutil.Error):
        family.update(psutil.Process(number).children(recursive=True))
    total = 0
    for member in family:
        with suppress(psutil.Error):
            total += member.memory_info().rss
    return total


def _end(process: subprocess.Popen, family: set) -> None:
    """End the process and what it started."""
    for member in family:
        with suppress(psutil.Error):
            member.kill()
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(family, timeout=5)
