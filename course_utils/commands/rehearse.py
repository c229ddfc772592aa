"""`python -m course_utils rehearse`: many kernels at once on one checkout, as in a room of learners.

python -m course_utils rehearse                        ten learners run lesson 01 at smoke scale
python -m course_utils rehearse --kernels 30 --lesson 00 --scale quick

Each learner has their own kernel and COURSE_HOME, and runs all cells of the lesson as a learner's copy has
them. The report gives the slowest learner's time to the first cells and to the end, the total memory, and
whose cells failed.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from course_utils.home import ROOT
from course_utils.machine import cores, memory
from course_utils.notebook_files import lesson_key, lessons, read_notebook
from course_utils.processes import Watch, kill, vanishing_folder
from course_utils.session import SCALES
from course_utils.terminal import Parser, plain_line

if TYPE_CHECKING:
    from nbclient import NotebookClient

COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal
POLL = 0.2  # seconds between two checks
UNTIL_SEEN = 2  # code cells until a learner sees the lesson run: settings and start()


@dataclass
class Seat:
    """The result of one learner's kernel. bytes: its peak memory, as measured by own_memory."""

    number: int
    first: float = 0.0  # seconds until the first cells had run
    whole: float = 0.0  # seconds until all cells had run
    bytes: int = 0
    error: str = ""
    client: NotebookClient | None = None

    def end(self) -> None:
        """Kill the kernel, if it has started; whatever waits for it then fails."""
        number = getattr(getattr(self.client and self.client.km, "provisioner", None), "pid", None)
        with suppress(psutil.Error):
            if number:
                kernel = psutil.Process(number)
                kill([kernel, *kernel.children(recursive=True)])


def rehearse(lesson: str, kernels: int, scale: str) -> list[Seat]:
    """Run the lesson in this many kernels at once; returns a Seat each. ValueError for an unknown lesson."""
    path = lessons([lesson])[0]
    seats = [Seat(number) for number in range(1, kernels + 1)]
    gate = threading.Barrier(kernels)
    with vanishing_folder("course-rehearsal-") as folder, ThreadPoolExecutor(kernels) as pool:
        running = [pool.submit(_sit_down, seat, path, scale, folder, gate) for seat in seats]
        try:
            while wait(running, timeout=POLL).not_done:
                pass
        except BaseException:  # Ctrl-C must not wait for the cells
            gate.abort()
            while wait(running, timeout=POLL).not_done:
                for seat in seats:
                    seat.end()
            raise
    for one in running:
        one.result()
    return seats


def _sit_down(seat: Seat, path: Path, scale: str, folder: Path, gate: threading.Barrier) -> None:
    """Run one learner: start the kernel, run all cells, end. Errors are kept in the seat."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    notebook = read_notebook(path)
    home = folder / f"home-{seat.number}"
    environment = {**os.environ, "COURSE_HOME": str(home), "COURSE_SCALE": scale, "COURSE_STRICT": "0"}
    environment.setdefault("OMP_NUM_THREADS", "1")  # more learners than cores
    where = {"metadata": {"path": str(ROOT / "notebooks")}}
    client = seat.client = NotebookClient(notebook, kernel_name="python3", timeout=None, resources=where)
    began, count = time.perf_counter(), 0
    try:
        gate.wait()
        began = time.perf_counter()
        with client.setup_kernel(env=environment, stderr=subprocess.DEVNULL):
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
                count += cell.cell_type == "code"
                if cell.cell_type == "code" and count <= UNTIL_SEEN:
                    seat.first = time.perf_counter() - began
                seat.bytes = max(seat.bytes, own_memory(client.km.provisioner.pid))
    except (CellExecutionError, DeadKernelError, OSError, RuntimeError) as fault:
        lines = str(fault).strip().splitlines() or [type(fault).__name__]
        seat.error = f"code cell {count + 1}: {plain_line(COLOUR.sub('', lines[-1])[:200])}"
    seat.whole = time.perf_counter() - began


def own_memory(pid: int) -> int:
    """Bytes of a process and its children; shared pages are divided among their users (Linux)."""
    total = 0
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    for member in family:
        try:
            full = member.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(full, "pss", 0) or full.uss
    return total


def report(seats: list[Seat], lesson: str, scale: str, lowest: int) -> str:
    """The report for the teacher. lowest: the least free memory seen, in bytes."""
    done = [seat for seat in seats if not seat.error]
    lines = [
        f"Lesson {lesson} at scale {scale}, {len(seats)} kernels at once on {cores()} cores with "
        f"{memory() / 2**30:.0f} GiB of memory: {len(done)} of {len(seats)} ran to the end."
    ]
    if done:
        for text, values in (
            ("first cells", [seat.first for seat in done]),
            ("all cells", [seat.whole for seat in done]),
        ):
            lines.append(f"{text:12} median {statistics.median(values):6.1f} s, slowest {max(values):6.1f} s")
        sizes = [seat.bytes / 2**20 for seat in done]
        lines.append(
            f"memory       median {statistics.median(sizes):6.0f} MiB a kernel, {sum(sizes) / 1024:.1f} GiB "
            f"together; least free {lowest / 2**30:.1f} GiB"
        )
    lines += [f"Learner {seat.number} stopped at {seat.error}" for seat in seats if seat.error]
    return "\n".join(lines)


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils rehearse`; 1 if a cell failed, ValueError for an unknown lesson."""
    parser = Parser(
        "python -m course_utils rehearse",
        description="Start many kernels at once on this checkout; report their time and memory.",
    )
    parser.add_argument("--kernels", type=int, default=10, help="default 10")
    parser.add_argument("--lesson", default="01", help="01, 1 or the file's name; default 01")
    parser.add_argument("--scale", default="smoke", choices=SCALES, help="default smoke")
    chosen = parser.parse_args(argv)
    if chosen.kernels < 1:
        raise ValueError(f"--kernels {chosen.kernels}: at least one kernel is needed.")
    lesson = lesson_key(lessons([chosen.lesson])[0])
    print(f"Starting {chosen.kernels} kernels of lesson {lesson} ...", flush=True)
    watch = Watch(lambda: psutil.virtual_memory().available, min, seconds=0.5)
    try:
        seats = rehearse(lesson, chosen.kernels, chosen.scale)
    finally:
        lowest = watch.stop()
    print(report(seats, lesson, chosen.scale, lowest))
    return int(any(seat.error for seat in seats))
