"""`python -m course_utils grade`: judges the exercises in learners' notebooks with the course's checks."""

from __future__ import annotations

import argparse
import atexit
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
from course_utils.commands.grade_cell import FORKS
from course_utils.commands.grade_page import grade_page
from course_utils.home import ROOT, write_page
from course_utils.notebook_files import folder_of, lesson_key, lesson_of, lessons
from course_utils.ownership import OTHER_FILE, OVERWRITE_HELP, own_page, real, standing
from course_utils.processes import stoppable
from course_utils.terminal import Parser, plain_line, readable

SECONDS = 30  # limit of one exercise
START = 120  # limit of what comes before an exercise: imports, the course's own code
LARGEST = 200 << 20  # bytes of a notebook
MEMORY = 4 << 30  # bytes for the exercise's process and its children
WAIT = 5  # seconds to wait for killed processes
LOOK = 0.05  # seconds between two checks of the process
KEYS = ("file", "learner", "lesson", "exercise", "status", "message")
DESCRIPTION = """Judge the exercises in learners' notebooks with the course's own checks.

For each exercise the learner's cell alone is run, with the imports and definitions of the course's own
notebook and with the course's solutions of the other exercises. Nothing is written into anybody's progress.

The learners' code runs with YOUR rights: it can read, change and send what you can, and it could forge its
verdict. The limits (30 s an exercise, 4 GiB) stop mistakes, not malice. Grade the work of people you do not
trust in a container or as a user who owns nothing."""

WORKER = "from course_utils.commands.grade_cell import judge_jobs; judge_jobs()"
LINES = ({"exercise": str}, {"status": str, "message": str}, {"ended": int})  # the lines of told.jsonl


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils grade PATH... [--json] [--out page.html]`; ValueError for a wrong path."""
    parser = Parser(
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
    out = arguments.out and own_page(arguments.out, OTHER_FILE, arguments.overwrite)
    with stoppable():
        rows = grade(arguments.paths)
    print(json.dumps(rows, indent=1) if arguments.json else _table(rows))
    if out:
        write_page(out, grade_page(rows), OTHER_FILE, arguments.overwrite)
        if not arguments.json:
            print(f"Open {plain_line(out)}")
    return 0


def grade(paths: Sequence[Path]) -> list[dict[str, str]]:
    """One row (KEYS) for each exercise of each notebook, a file that is no lesson, a learner without one."""
    from tqdm import tqdm

    found: dict[Path, tuple[Path, Path]] = {}  # a notebook that is named twice counts once
    for root in paths:
        for path in _notebooks(root):
            found.setdefault(path.resolve(), (path, root))
    bar = tqdm(found.values(), unit="notebook", desc="grade", dynamic_ncols=True, disable=None)
    rows = [row for path, root in bar for row in grade_notebook(path, root)]
    return rows + [row for root in paths for row in _missing(root, rows)]


def _missing(root: Path, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """A row, without a file, for each folder beside learners' folders from which no notebook was judged."""
    if not root.is_dir():
        return []
    known = {row["learner"] for row in rows}
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and path.name[0] not in "._"]
    names = [plain_line(path.name) for path in folders]
    if not known & set(names):
        return []
    empty = dict.fromkeys(KEYS, "") | {
        "status": "not attempted",
        "message": "There is no notebook in this folder.",
    }
    return [empty | {"learner": name} for name in names if name not in known]


def _notebooks(root: Path) -> list[Path]:
    """The file itself, or the notebooks in the folder, except hidden folders and old copies of `reset`."""
    if root.is_file():
        return [root]
    if not root.is_dir():
        kind = standing(real(root))
        what = f"{root} is {kind}" if kind else f"There is no file or folder {root}"
        raise ValueError(f"{what}. Name notebooks, or a folder that has some.")
    os.listdir(root)  # PermissionError, which rglob passes over
    found = [
        path
        for path in sorted(root.rglob("*.ipynb"))
        if path.is_file()
        and ".before-" not in path.name
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    if not found:
        raise ValueError(
            f"There are no notebooks (*.ipynb) in {root}. Name the folder that has the learners' copies."
        )
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
        fault = f"{path.name} is not a lesson: its name has no lesson's number, and no cell calls check.NAME."
        return [_row(path, root, "", "", "stopped", fault)]
    course = code_of(lesson_files()[lesson])
    names = [name for cell in course for name in called(cell)]
    answers = {name: [cell for cell in cells if name in called(cell)] for name in names}
    verdicts = {
        name: ("not attempted", f"No cell calls check.{name}.") for name in names if not answers[name]
    }
    verdicts |= {name: SERVER.judge(name, answers[name], course) for name in names if answers[name]}
    return [_row(path, root, lesson, name, *verdicts[name]) for name in names]


def code_of(path: Path) -> list[str]:
    """The sources of a notebook's code cells. Raises OSError, or the error of a damaged file."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST >> 20} MiB")
    notebook = json.loads(readable(path.read_bytes()))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def called(cell: str) -> list[str]:
    """The NAMEs of `check.NAME(` in a cell, ignoring comments; the cell need not be valid Python."""
    lines = (line.split("#")[0] for line in cell.splitlines())
    return [name for line in lines for name in re.findall(r"\bcheck\.(\w+)\s*\(", line)]


def lesson_files() -> dict[str, Path]:
    """{key: the course's notebook} of lessons and companions."""
    return {lesson_key(path): path for path in lessons(more=True)}


def _lesson(path: Path, cells: list[str]) -> str:
    """The lesson's key from the lesson's name in the file name, the exercises, or a leading key; or ""."""
    for key, lesson in lesson_files().items():
        if lesson.stem in path.stem:
            return key
    names = [name for cell in cells for name in called(cell) if name in registry()]
    if names:
        return Counter(registry()[name].lesson for name in names).most_common(1)[0][0]
    front = re.match(r"(\d{1,2})(?!\d)(m(?![a-z]))?", path.stem)
    key = f"{front[1].zfill(2)}{front[2] or ''}" if front else ""
    return key if key in lesson_files() else ""


def _learner(path: Path, root: Path, lesson: str) -> str:
    """The sub-folder's name, or the file name without the lesson; else the folder's name."""
    if root.is_dir() and folder_of(path) != root:
        return path.relative_to(root).parts[0]
    rest = path.stem
    for file in lesson_files().values():
        rest = rest.replace(file.stem, "")
    if lesson:
        rest = re.sub(rf"^0*{int(lesson_of(lesson))}(?!\d)(m(?![a-z]))?", "", rest)
    rest = re.sub(r"(-Copy\d+| ?\(\d+\))$", "", rest).strip(" _-.")
    return rest or folder_of(path.resolve()).name


def _row(path: Path, root: Path, lesson: str, exercise: str, status: str, message: str) -> dict[str, str]:
    values = (str(path), _learner(path, root, lesson), lesson, exercise, status, message)
    return dict(zip(KEYS, (plain_line(" ".join(value.splitlines())) for value in values), strict=True))


def _table(rows: list[dict[str, str]]) -> str:
    lines = [{key: key for key in KEYS}, *rows]
    widths = {key: max(len(line[key]) for line in lines) for key in KEYS[1:-1]}
    return "\n".join(
        "  ".join([*(line[key].ljust(width) for key, width in widths.items()), line["message"]]).rstrip()
        for line in lines
    )


class Server:
    """A process that has loaded the course and judges exercises one by one, each in a fork of itself.

    Without fork, it judges one exercise and ends; the next exercise gets a new process.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def judge(self, exercise: str, cells: list[str], course: list[str]) -> tuple[str, str]:
        """(status, message). cells: the learner's that check it; course: those of the course's notebook."""
        with tempfile.TemporaryDirectory(prefix="course-grade-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            (folder / "here").mkdir()
            job = {"exercise": exercise, "cells": cells, "course": course}
            (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
            try:
                process = self._ask(folder)
                return _watch(process, folder / "told.jsonl")
            except BaseException:
                self.end()
                raise

    def _ask(self, folder: Path) -> subprocess.Popen:
        """Give the folder's job to the process and return it."""
        while True:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", WORKER],
                    cwd=ROOT,
                    env=_environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            with suppress(BrokenPipeError):  # it has just ended
                self._process.stdin.write(json.dumps(str(folder)).encode() + b"\n")
                self._process.stdin.flush()
                return self._process
            self._process.wait()

    def end(self) -> None:
        if self._process:
            _end(self._process, _family(self._process))
            self._process.stdin.close()
            self._process = None


SERVER = Server()
atexit.register(SERVER.end)


def _environment() -> dict[str, str]:
    """This process's environment without the course's settings; each exercise has its own COURSE_HOME."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COURSE_")}
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": paths}


def _watch(process: subprocess.Popen, told: Path) -> tuple[str, str]:
    """Follow one exercise until it is judged, ends or must be stopped; afterwards nothing of it runs."""
    count, since, family = 0, time.monotonic(), set()
    while True:
        ended = process.poll()  # polled before the file is read, so that nothing is missed
        lines = list(_read(told))
        if len(lines) > count:
            count, since = len(lines), time.monotonic()
        found = {key: value for line in lines for key, value in line.items()}
        ended, limit = found.get("ended", ended), SECONDS if lines else START
        family |= _family(process)
        used = _memory(family)
        if "status" in found:
            verdict = found["status"], found["message"]
        elif ended is not None:
            how = f"with exit status {ended}" if ended >= 0 else f"by signal {-ended}"
            verdict = "stopped", f"The process ended {how}: the code calls exit(), or it crashed."
        elif used > MEMORY:
            text = f"Stopped at {used / 2**30:.1f} GiB of memory; {MEMORY / 2**30:g} GiB are allowed."
            verdict = "stopped", text
        elif time.monotonic() - since > limit:
            verdict = "stopped", f"Stopped after {limit} s. Does a loop never end?"
        else:
            time.sleep(LOOK)
            continue
        if FORKS:
            _end_fork(process, family, told)
        else:
            _end(process, family)
        return verdict


def _read(told: Path) -> Iterator[dict]:
    """The complete lines so far: {"exercise"} when one starts; "status", "message"; finally "ended".

    Anything else, which the learner's code may have written, is skipped.
    """
    with suppress(FileNotFoundError):
        for text in told.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict) and {key: type(value) for key, value in line.items()} in LINES:
                yield line


def _family(process: subprocess.Popen) -> set:
    """The judging processes: the server's forks with all their children; without fork, also the server."""
    with suppress(psutil.Error):
        server = psutil.Process(process.pid)
        return {*server.children(recursive=True), *([] if FORKS else [server])}
    return set()


def _memory(family: set) -> int:
    """Their total resident memory in bytes."""
    total = 0
    for member in family:
        with suppress(psutil.Error):
            total += member.memory_info().rss
    return total


def _end_fork(process: subprocess.Popen, family: set, told: Path) -> None:
    """Kill the fork and its children; the server kills what remains in the fork's session."""
    until = time.monotonic() + WAIT
    while not any("ended" in line for line in _read(told)):
        family |= _family(process)
        _kill(family)
        if process.poll() is not None or time.monotonic() > until:  # the learner's code harmed the server
            return _end(process, family)
        time.sleep(LOOK / 10)
    psutil.wait_procs(family, timeout=WAIT)


def _kill(family: set) -> None:
    for member in family:
        with suppress(psutil.Error):
            member.kill()


def _end(process: subprocess.Popen, family: set) -> None:
    """Kill the process and its children."""
    _kill(family)
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    psutil.wait_procs(family, timeout=WAIT)
