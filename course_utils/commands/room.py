"""`python -m course_utils room FOLDER`: a page of where learners are, who is stuck, and at which mistakes.

It reads progress files and, with --grade, notebooks; it writes nothing into the learners' folders.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from course_utils.checks import progress
from course_utils.commands.grade import grade_notebook
from course_utils.commands.room_page import projector_page, room_page
from course_utils.home import write_page
from course_utils.notebook_files import MORE, folder_of
from course_utils.ownership import OTHER_FILE, OVERWRITE_HELP, own_page
from course_utils.processes import stoppable
from course_utils.terminal import Parser, given, plain_line, readable

PORT = 8900
LOOPBACK = ("127.0.0.1", "localhost")
# where a learner's progress file may be below the folder; its first part is the learner's name
PROGRESS_PLACES = (
    "*.json",
    "*/progress.json",
    "*/home/progress.json",
    "*/finetuning-course/progress.json",
    "*/.local/share/finetuning-course/progress.json",
)
NOTEBOOK_PLACES = tuple(
    f"{place}{more}*.ipynb" for place in ("", "*/", "*/work/") for more in ("", f"{MORE}/")
)
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{}'; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
MOST_BYTES = 10 << 20  # bytes of a progress file that is read
EVERY = 3  # seconds between two searches for changed notebooks
ROOM_HELP = """A page for the teacher: who is where, who has tried one exercise for more than eight minutes,
the mistakes of each exercise, the predictions. It refreshes itself while this runs.

FOLDER has a progress file for each learner: NAME.json (what `progress --json` prints), or, as COURSE_HOME was
set, NAME/progress.json, NAME/home/progress.json or NAME/finetuning-course/progress.json; where nobody did, on
Linux NAME/.local/share/finetuning-course/progress.json. With --grade, notebooks in FOLDER, FOLDER/NAME or
FOLDER/NAME/work, and in more/ there, are judged as well, as `grade` does: the learners' code then runs with
YOUR rights.

The page is served to this machine only. --host opens it to others; it has no password."""


class Room:
    """The learners below some folders; `learners` reads their files again at every call."""

    def __init__(self, folders: Sequence[Path], grade: bool = False):
        for folder in folders:
            if not folder.is_dir():
                raise ValueError(
                    f"There is no folder {folder}. Name the folder that has the learners' progress files."
                )
            os.listdir(folder)  # PermissionError, which glob passes over
        self.folders, self.grade = list(folders), grade
        self._judged: dict[Path, tuple[float, dict]] = {}  # notebook: (modification time, its progress)

    def learners(self) -> tuple[dict[str, dict], list[str]]:
        """({name: the learner's progress}, files that could not be read, with reasons)."""
        found: dict[str, dict] = {}
        faults: list[str] = []
        for folder in self.folders:
            for path in _paths(folder, PROGRESS_PLACES):
                try:
                    add(found.setdefault(_name(path, folder), {}), read_progress(path))
                except (OSError, ValueError, RecursionError) as fault:
                    faults.append(plain_line(f"{path} is not a progress file: {fault}"))
        for path, (_, lessons) in list(self._judged.items()):
            folder = next(each for each in self.folders if each in path.parents)
            add(found.setdefault(_name(path, folder), {}), lessons)
        return found, faults

    def notebooks(self) -> list[tuple[Path, Path]]:
        """(notebook, folder) of all copies, judged or not."""
        return [(path, folder) for folder in self.folders for path in _paths(folder, NOTEBOOK_PLACES)]

    def waiting(self) -> list[tuple[Path, Path]]:
        """The copies saved since they were last judged."""
        return [
            (path, folder)
            for path, folder in self.notebooks()
            if self._judged.get(path, (0.0,))[0] != _saved(path)
        ]

    def judge(self, path: Path, folder: Path) -> None:
        """Judge one copy and store the result."""
        saved = _saved(path)
        before = self._judged.get(path, (0.0, {}))[1]
        at = datetime.fromtimestamp(saved, UTC).isoformat(timespec="seconds")
        self._judged[path] = saved, as_progress(grade_notebook(path, folder), at, before)

    def judge_all(self) -> None:
        """Judge changed copies forever; runs in a thread."""
        while True:
            for path, folder in self.waiting():
                with suppress(OSError):  # moved or deleted meanwhile
                    self.judge(path, folder)
            time.sleep(EVERY)


def _paths(folder: Path, patterns: Sequence[str]) -> Iterator[Path]:
    """Each file once, without hidden files, damaged ones set aside, and copies kept by `reset`."""
    seen = set()
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            kept = path.is_file() and not path.name.startswith(".")
            if kept and path not in seen and not any(part in path.name for part in (".damaged", ".before-")):
                seen.add(path)
                yield path


def _name(path: Path, folder: Path) -> str:
    """The learner's name: the sub-folder's; for files in the folder itself the file's or the folder's."""
    if folder_of(path) != folder:
        return plain_line(path.relative_to(folder).parts[0])
    return plain_line(folder.resolve().name if path.stem == "progress" else path.stem)


def _saved(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def read_progress(path: Path) -> dict:
    """{lesson: {kind: {name: fields}}} of a progress file, or of the output of `progress --json`."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB.")
    state = json.loads(readable(path.read_bytes()))
    if not isinstance(state, dict):
        raise ValueError("it holds no lessons.")
    return progress.sound_lessons(state if "lessons" in state else {"lessons": state})


def add(mine: dict, more: dict) -> None:
    """Merge another file's progress of the same learner; a passed exercise stays passed."""
    for lesson, kinds in more.items():
        for kind, entries in kinds.items():
            for name, fields in entries.items():
                entry = mine.setdefault(lesson, {}).setdefault(kind, {}).setdefault(name, {})
                passed = "passed" in (entry.get("status"), fields.get("status"))
                entry.update(fields, **({"status": "passed"} if passed else {}))


def as_progress(rows: list[dict], at: str, before: dict) -> dict:
    """Progress from a graded notebook. rows: from `grade`; before: the result of the previous call."""
    found: dict = {}
    for row in rows:
        if not row["exercise"] or row["status"] == "not attempted":
            continue
        exercises = found.setdefault(row["lesson"], {}).setdefault("exercises", {})
        entry = dict(before.get(row["lesson"], {}).get("exercises", {}).get(row["exercise"], {}))
        mistake = "" if row["status"] == "passed" else row["message"]
        tries = entry.get("tries", [])
        if not tries or tries[-1]["mistake"] != mistake:
            entry["tries"] = [*tries, {"at": at, "mistake": mistake}]
        entry |= {"status": "failed" if mistake else "passed", "attempts": len(entry["tries"])}
        exercises[row["exercise"]] = entry
    return found


def page(room: Room, hidden: bool, nonce: str, projector: bool = False, answers: bool = False) -> str:
    """The current page. hidden: show numbers instead of names."""
    learners, faults = room.learners()
    if projector:
        return projector_page(learners, answers, nonce)
    notes = [f"{len(faults)} of the files are not progress files."] if hidden and faults else faults
    if not learners:
        notes.append(
            f"Nobody yet. Looked for {', '.join(PROGRESS_PLACES)} in {', '.join(map(str, room.folders))}."
        )
    copies = len(room.notebooks())
    if copies and not room.grade:
        notes.append(
            f"{copies} notebooks are not judged: start with --grade (their code runs with your rights)."
        )
    elif waiting := len(room.waiting()) if room.grade else 0:
        notes.append(f"{waiting} of {copies} notebooks are still to be judged.")
    return room_page(learners, datetime.now(UTC), hidden, notes, nonce)


def serve(room: Room, host: str, port: int, hide: bool) -> ThreadingHTTPServer:
    """A server of the room's pages, not yet running. Raises OSError if the port is not available."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            address = urlsplit(self.path)
            asked = parse_qs(address.query)
            if host in LOOPBACK and _host(self.headers.get("Host", "")) not in LOOPBACK:
                return self._send(
                    403, "Ask for this page by 127.0.0.1: another name may be a trick of a web page."
                )
            if address.path not in ("/", "/projector"):
                return self._send(404, "There is / for the teacher and /projector for the predictions.")
            nonce = secrets.token_urlsafe(12)
            hidden = hide or asked.get("names") == ["hidden"]
            projector, answers = address.path == "/projector", asked.get("answers") == ["1"]
            self._send(200, page(room, hidden, nonce, projector, answers), nonce)

        def _send(self, status: int, text: str, nonce: str = ""):
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"text/{'html' if nonce else 'plain'}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Content-Security-Policy", POLICY.format(nonce))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            """Log nothing: a line per refresh would bury the messages for the teacher."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            if not isinstance(sys.exception(), ConnectionError):  # a reader who has left is no fault
                super().handle_error(request, client_address)

    try:
        return Server((host, port), Handler)
    except (OSError, OverflowError) as fault:
        text = (
            f"The room cannot be served on {host}, port {port} ({getattr(fault, 'strerror', None) or fault})."
        )
        number = getattr(fault, "errno", None) or errno.EINVAL
        todo = (
            "an address of this machine: --host 127.0.0.1"
            if isinstance(fault, socket.gaierror)
            else "--port 0"
        )
        raise OSError(number, f"{text} Name another, {todo}.") from fault


def _host(header: str) -> str | None:
    """The host name in a Host header, without the port."""
    try:
        return urlsplit(f"//{header}").hostname
    except ValueError:
        return None


def main(argv: Sequence[str] = ()) -> int:
    """Serve until Ctrl-C, or with --out write the page once; ValueError for a missing folder."""
    parser = Parser(
        "python -m course_utils room",
        description=ROOM_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--hide-names", action="store_true", help="numbers for names, on every page")
    parser.add_argument(
        "--grade", action="store_true", help="judge notebooks too; their code runs with your rights"
    )
    parser.add_argument(
        "--host", type=given(str), default="127.0.0.1", help="address to serve on; default this machine only"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}")
    parser.add_argument("--out", type=Path, help="write the page into this file once; serve nothing")
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    chosen = parser.parse_args(argv)
    out = chosen.out and own_page(chosen.out, OTHER_FILE, chosen.overwrite)
    room = Room(chosen.folders, chosen.grade)
    if out:
        with stoppable():
            for path, folder in room.waiting() if room.grade else []:
                room.judge(path, folder)
        write_page(out, page(room, chosen.hide_names, ""), OTHER_FILE, chosen.overwrite)
        print(f"Open {plain_line(out)}")
        return 0
    with serve(room, chosen.host, chosen.port, chosen.hide_names) as server:
        if room.grade:
            threading.Thread(target=room.judge_all, daemon=True).start()
        address = f"http://{chosen.host}:{server.server_port}/"
        print(f"Open {address} (Ctrl-C ends it); for the projector: /projector", flush=True)
        if chosen.host not in LOOPBACK:
            print("Whoever reaches this machine by the network can read it. --hide-names leaves names out.")
        with stoppable():
            server.serve_forever()
    return 0
