"""`python -m course_utils run`: executes lessons without a browser and writes a page with the results."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from course_utils.checks import claims
from course_utils.commands.run_page import headline_figure, run_page
from course_utils.home import naming, write_whole
from course_utils.machine import cores, find_device, tree_memory
from course_utils.model_files import check_folder
from course_utils.models import resolve
from course_utils.notebook_files import lesson_key, lesson_of, lessons
from course_utils.ownership import (
    LOCK,
    MARK_FILE,
    OTHER_FOLDER,
    OWN_ROOT,
    alone_in,
    is_marked,
    made_names,
    mark,
    own_folder,
    standing,
)
from course_utils.processes import end_with_parent, kill, stoppable
from course_utils.session import check_seed, choose_scale
from course_utils.terminal import plain_line

OTHER_OUT = "Free some space there, or name another folder: --out FOLDER"
LOOKS = 4  # memory samples of the running lessons per second
NEED = {"pocket": 2 << 30}  # bytes of memory a lesson needs; other models:
NEED_OTHER = 16 << 30  # the peak of lesson 02 with smollm2


@dataclass
class Outcome:
    """The result of one lesson. Memory is the sampled peak of its kernel and the kernel's children."""

    lesson: str
    title: str
    status: str = "waiting"  # waiting, running, passed, failed, stopped
    seconds: float = 0.0
    peak_bytes: int = 0
    error: str = ""
    notebook: str = ""
    page: str = ""
    log: str = ""
    claims: list[dict] = field(default_factory=list)
    figure: dict | None = None


def run_lessons(
    names: list[str],
    model: str,
    scale: str,
    seed: int | str,
    jobs: int | None,
    out: Path | None,
    more: bool = False,
    overwrite: bool = False,
) -> int:
    """Execute the lessons (all if `names` is empty) and write notebooks, index.html and results.json.

    more: also run the companions of these lessons. overwrite: replace an earlier run's results in `out`.
    Returns 0 if every lesson ran to its end, 1 otherwise, 130 after Ctrl-C or another signal to stop. Raises
    ValueError for an unknown lesson, ModelError for an unavailable model, OSError if the results cannot be
    written; the results of finished lessons are kept.
    """
    chosen = lessons(names, more=more)
    if not chosen:
        raise ValueError("There are no lessons to run.")
    seed, device = check_seed(seed), find_device()
    source, scale = resolve(model, device), choose_scale(scale, device)
    if source.kind == "folder":
        check_folder(source.place)
    name = source.name
    if jobs is not None and jobs < 1:
        raise ValueError(f"--jobs is at least 1, got {jobs}")
    out = _take_folder(out or OWN_ROOT / "runs" / time.strftime("%Y%m%d-%H%M%S"), chosen, overwrite)
    jobs = max(1, jobs or _jobs(name, device.type, len(chosen)))
    settings = {"model": name, "scale": scale, "seed": seed, "jobs": jobs}
    outcomes = [Outcome(path.stem, _title(path), page=f"{path.stem}.html") for path in chosen]
    started = time.perf_counter()

    def report():
        settings["seconds"] = round(time.perf_counter() - started, 1)
        with naming(out, OTHER_OUT):
            _write_reports(outcomes, settings, out)

    with alone_in(out, OTHER_FOLDER), stoppable():
        print(
            f"Running {len(chosen)} lesson(s), {jobs} at a time, with {plain_line(name)} at scale {scale}; "
            f"results in {plain_line(out)}",
            flush=True,
        )
        try:
            for outcome in outcomes:
                _write_page(outcome, outcomes, {}, out)
            _run_all(chosen, outcomes, settings, out, report)
        except KeyboardInterrupt:
            print("\nStopped. The results of the lessons that this run has finished are kept.")
        finally:
            report()
    print(f"Open {plain_line(out / 'index.html')}")
    if any(outcome.status == "stopped" for outcome in outcomes):
        return 130
    return 0 if all(outcome.status == "passed" for outcome in outcomes) else 1


def _take_folder(folder: Path, chosen: list[Path], overwrite: bool = False) -> Path:
    """The run's folder, whose mark names the files written there.

    FileExistsError if one of these names is taken by something that the course did not make, or, unless
    overwrite, if an earlier run has finished a lesson there.
    """
    out = own_folder(folder, "run", OTHER_FOLDER)
    if not overwrite and _has_results(out):
        raise FileExistsError(
            f"{plain_line(folder)} has the results of an earlier run. {OTHER_FOLDER}, or add --overwrite."
        )
    names = [f"{path.stem}{ending}" for path in chosen for ending in (".ipynb", ".html", ".log")]
    made = _refuse_others(out, ("results.json", "index.html", LOCK, *names))
    with naming(out, OTHER_OUT):
        mark(out, "run", sorted({LOCK} | made - {MARK_FILE}))
    return out


def _refuse_others(out: Path, names: Iterable[str]) -> set[str]:
    """The names in the mark. FileExistsError if something that no run made has one of these names."""
    made = {*made_names(out)}
    for name in sorted(names):
        found = standing(out / name)
        if found not in ("", "a file") or (found and name not in made):
            raise FileExistsError(f"{plain_line(out / name)} is not the course's. {OTHER_FOLDER}.")
    return made


def _to_write(out: Path, *names: str) -> None:
    """Before a run writes these files: look again, and name them in the mark.

    Something may have come since the start, or after an earlier run was killed.
    """
    if not is_marked(out, "run"):
        raise FileExistsError(f"{plain_line(out)} is not the folder of this run now. {OTHER_FOLDER}.")
    made = _refuse_others(out, names)
    if not made.issuperset(names):
        mark(out, "run", sorted({*names} | made - {MARK_FILE}))


def _has_results(out: Path) -> bool:
    """Whether a lesson has run to its end or its fault there."""
    results = _read(out / "results.json") if standing(out / "results.json") == "a file" else {}
    return any(lesson.get("status") in ("passed", "failed") for lesson in results.get("lessons", []))


def _jobs(model: str, device: str, count: int) -> int:
    """How many lessons at once cores and free memory allow; one if they share an accelerator."""
    import psutil

    if device != "cpu":
        return 1
    return min(cores(), count, psutil.virtual_memory().available // NEED.get(model, NEED_OTHER))


def _turn(path: Path) -> float:
    """Sort key of the start: 09 and 18 come early, since they make models that later lessons wait for."""
    number = int(lesson_of(lesson_key(path)))
    return {9: -1, 18: 9}.get(number, number)


def _run_all(
    chosen: list[Path], outcomes: list[Outcome], settings: dict, out: Path, report: Callable
) -> None:
    from tqdm import tqdm

    waiting = sorted(zip(chosen, outcomes, strict=True), key=lambda pair: _turn(pair[0]))
    running: list[tuple[subprocess.Popen, Outcome, float]] = []
    total = sum(_count_cells(path) for path in chosen)
    with tqdm(total=total, unit="cell", desc="run", dynamic_ncols=True, disable=None) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < settings["jobs"]:
                    path, outcome = waiting.pop(0)
                    running.append((_launch(path, outcome, settings, out), outcome, time.perf_counter()))
                    report()
                bar.set_postfix_str(", ".join(outcome.lesson for _, outcome, _ in running))
                _watch(running)
                for process, outcome, _ in [job for job in running if job[0].poll() is not None]:
                    running = [job for job in running if job[0] is not process]
                    process.stdin.close()
                    _finish(outcome, process.returncode, outcomes, out)
                    report()
                    bar.write(
                        f"{outcome.status:8} {outcome.lesson:34} {outcome.seconds:6.1f} s "
                        f"{outcome.peak_bytes / 2**20:6.0f} MiB  {plain_line(outcome.error)}"
                    )
                done = sum(_count_cells(out / outcome.notebook, "completed") for outcome in outcomes)
                bar.update(done - bar.n)
        finally:
            for process, _, _ in running:
                _stop(process)
            for _, outcome, _ in running:
                _finish(outcome, None, outcomes, out)


def _watch(running: list[tuple[subprocess.Popen, Outcome, float]]) -> None:
    """Wait a second or until a lesson ends, sampling the time and memory of each."""
    for _ in range(LOOKS):
        time.sleep(1 / LOOKS)
        for process, outcome, since in running:
            outcome.peak_bytes = max(outcome.peak_bytes, tree_memory(process.pid))
            outcome.seconds = time.perf_counter() - since
        if any(process.poll() is not None for process, _, _ in running):
            return


def _launch(path: Path, outcome: Outcome, settings: dict, out: Path) -> subprocess.Popen:
    outcome.status, outcome.notebook = "running", f"{path.stem}.ipynb"
    outcome.log = f"{path.stem}.log"
    target = out / outcome.notebook
    with naming(out, OTHER_OUT):
        _to_write(out, outcome.notebook, outcome.log)
    target.unlink(missing_ok=True)
    threads = max(1, cores() // settings["jobs"])
    environment = {"OMP_NUM_THREADS": str(threads), "COURSE_STRICT": "1", **os.environ}
    command = [
        sys.executable,
        "-P",  # not the modules of the current folder
        "-m",
        __name__,
        str(path),
        str(target),
        "--no-progress-bar",
        "--cwd",
        str(out),
        "-r",
        "MODEL",
        settings["model"],
        "-r",
        "SCALE",
        settings["scale"],
        "-p",
        "SEED",
        str(settings["seed"]),
    ]
    with (out / outcome.log).open("w", encoding="utf-8") as log:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)


def run_papermill() -> None:
    """Entry point of a lesson's process: papermill, which ends when `run` is gone and saves whole files."""
    end_with_parent()  # before imports that take seconds
    from papermill.cli import papermill
    from papermill.iorw import LocalHandler

    LocalHandler.write = lambda handler, text, path: write_whole(Path(path), text)
    papermill()


def _stop(process: subprocess.Popen) -> None:
    """End papermill and its kernel."""
    import psutil

    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.Error:
        return
    kill(family)


def _finish(outcome: Outcome, code: int | None, outcomes: list[Outcome], out: Path) -> None:
    """Read the lesson's claims and where it stopped from the executed notebook; write its page."""
    notebook = _read(out / outcome.notebook)
    outcome.status = {0: "passed" if notebook else "failed", None: "stopped"}.get(code, "failed")
    outcome.figure = headline_figure(notebook)
    for cell in notebook.get("cells", []):
        place = {"lesson": outcome.lesson, "cell": cell["id"]}
        outcome.claims += [{**place, **claim} for claim in claims.read({"cells": [cell]})]
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                outcome.error = f"{output['ename']}: {output['evalue']}".splitlines()[0]
    if outcome.status == "failed" and not outcome.error:
        log = (out / outcome.log).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        outcome.error = log[-1] if log else f"papermill ended with exit status {code}"
    _write_page(outcome, outcomes, notebook, out)


def _write_page(outcome: Outcome, outcomes: list[Outcome], notebook: dict, out: Path) -> None:
    """Write the lesson's page with links to its neighbours; without a notebook it says so."""
    from course_utils.commands.lesson_page import lesson_page

    rows = [{"page": other.page, "title": other.title} for other in outcomes]
    place = outcomes.index(outcome)
    page = lesson_page(
        asdict(outcome),
        notebook,
        previous=rows[place - 1] if place else None,
        following=rows[place + 1] if place + 1 < len(rows) else None,
        pages=[row["page"] for row in rows],
    )
    with naming(out, OTHER_OUT):
        _to_write(out, outcome.page)
        write_whole(out / outcome.page, page)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing or just being written
        return {}


def _count_cells(path: Path, status: str | None = None) -> int:
    """Number of code cells in a notebook, or of those with this papermill `status`."""
    cells = [cell for cell in _read(path).get("cells", []) if cell["cell_type"] == "code"]
    return sum(status in (None, cell["metadata"].get("papermill", {}).get("status")) for cell in cells)


def _title(path: Path) -> str:
    for cell in _read(path).get("cells", []):
        for line in "".join(cell["source"]).splitlines():
            if line.startswith("# ") and cell["cell_type"] == "markdown":
                return line[2:].strip()
    return path.stem


def _write_reports(outcomes: list[Outcome], settings: dict, out: Path) -> None:
    packages = ("finetuning-course", "torch", "transformers", "papermill")
    results = {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **settings,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "lessons": [
            {key: value for key, value in asdict(outcome).items() if key not in ("claims", "figure")}
            for outcome in outcomes
        ],
        "claims": [claim for outcome in outcomes for claim in outcome.claims],
    }
    _to_write(out, "results.json", "index.html")
    write_whole(out / "results.json", json.dumps(results, indent=1))
    figures = {outcome.lesson: outcome.figure for outcome in outcomes if outcome.figure}
    write_whole(out / "index.html", run_page(results, figures))


if __name__ == "__main__":
    run_papermill()
