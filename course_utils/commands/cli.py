"""`python -m course_utils`: doctor, lab, run, test, progress, reset, fetch, export, rated, bench,
sweeps, trajectories, grade, room, key, slides, sheets, rehearse, book, playground, copies."""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import sys
from pathlib import Path

from course_utils.ownership import CHECKOUT
from course_utils.session import SCALES
from course_utils.terminal import Parser, given, plain_line, plain_lines

PASSED_ON = {
    "lab": "open JupyterLab at your own copies of the lessons (options go to JupyterLab)",
    "test": "run the tests; --quick runs fewer, --night all (options go to pytest)",
    "replicate": "measure lessons' headlines on another model, beside the stored ones",
    "bench": "time the course's code against the libraries'",
    "sweeps": "compute the stored results that lessons draw",
    "trajectories": "remake the short trajectories that pin the numbers of every loop",
    "book": "make a book of the lessons: HTML, with --epub and --pdf those too",
    "playground": "make the page in which anybody fine-tunes the pocket model in a browser",
    "copies": "write the lessons' copies for Colab (after a change of a lesson)",
    "grade": "judge the exercises in learners' notebooks (their code runs with your rights)",
    "room": "a page for the teacher that refreshes itself: who is where, stuck at what; predictions",
    "key": "the answer key: tasks, solutions, wrong answers with their messages",
    "slides": "slides of three sessions, made of the lessons' own figures",
    "sheets": "run sheets of a plan: the clock, cells, what to say, slides, one page a lesson",
    "rehearse": "start many kernels at once, as in a room of learners; time and memory",
}
ELSEWHERE = {
    "test": "commands.tests",
    "sweeps": "making.sweeps",
    "trajectories": "making.trajectories.stored",
}  # the other commands have the module of their name
OF_THE_REPOSITORY = ("test", "sweeps", "trajectories", "copies")


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status. Errors the user can fix are shown without a traceback."""
    argv = sys.argv[1:] if argv is None else argv
    _open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ASCII terminal
    try:
        try:
            if argv and argv[0] in PASSED_ON:
                return _pass_on(argv[0], argv[1:])
            arguments = _parser().parse_args(argv)
            return arguments.handler(arguments) or 0
        finally:
            print(end="", flush=True)
    except (ValueError, OSError, RuntimeError) as fault:
        if isinstance(fault, BrokenPipeError) and _nobody_reads():
            return 141  # the status of a program killed by SIGPIPE
        print(f"{type(fault).__name__}: {plain_lines(fault)}", file=sys.stderr)
        return 1
    except MemoryError:
        print("MemoryError: a file is too large for this machine's memory.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _open_standard_streams() -> None:
    """Open closed streams on the null device, or the next file that is opened would get their number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115


def _nobody_reads() -> bool:
    """Whether stdout's reader has ended (head, for example); further output is then discarded."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _parser() -> Parser:
    parser = Parser("python -m course_utils", description="Tools of the fine-tuning course.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, handler, text):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(handler=handler)
        return sub

    command("doctor", _doctor, "check that everything the course needs is here")
    run = command("run", _run, "execute lessons headless; write notebooks, index.html and results.json")
    run.add_argument("lessons", nargs="*", metavar="LESSON", help="01, 1 or the file's name; default all")
    run.add_argument("--more", action="store_true", help="the lessons' companions, too; 01m names one alone")
    run.add_argument(
        "--model",
        default=os.environ.get("COURSE_MODEL") or "auto",
        help="pocket, gpt2, smollm2, a folder or a hub id; default auto, see README.md",
    )
    run.add_argument("--scale", default=os.environ.get("COURSE_SCALE") or "auto", choices=("auto", *SCALES))
    run.add_argument("--seed", default=os.environ.get("COURSE_SEED") or "0", help="a whole number")
    run.add_argument("--jobs", type=int, help="lessons at a time; default by cores and free memory")
    run.add_argument("--out", type=Path, help="folder for the results; default runs/DATE-TIME")
    run.add_argument("--overwrite", action="store_true", help="replace an earlier run's results")
    progress = command("progress", _progress, "show what you have done so far")
    progress.add_argument("--json", action="store_true", help="as JSON, for a teacher")
    progress.add_argument("--reset", action="store_true", help="forget it all")
    reset = command("reset", _reset, "make a fresh copy of a lesson in work/, and keep the old one beside it")
    reset.add_argument("lesson", metavar="LESSON", help="01, 1 or the file's name")
    fetch = command("fetch", _fetch, "put a model on disk ahead of time")
    fetch.add_argument("model", choices=("gpt2", "smollm2"))
    export = command("export", _export, "write a run of lesson 17 in the forms that servers take")
    rated = command("rated", _rated, "count the blind ratings of a run of lesson 17")
    for of_run in (export, rated):
        of_run.add_argument(
            "run", metavar="RUN", type=given(_run_folder), help="the folder that the lesson names at its end"
        )
    export.add_argument("--out", type=Path, help="a new folder for the result; default RUN-export")
    export.add_argument(
        "--base", metavar="FOLDER", help="where the run's base model lies, if its name is not enough"
    )
    export.add_argument(
        "--anyway", action="store_true", help="also if the run is not better than no training"
    )
    rated.add_argument(
        "ratings", metavar="RATINGS", type=Path, help="what its rating.html gave: ratings.json"
    )
    for name, text in PASSED_ON.items():
        commands.add_parser(name, help=text)
    return parser


def _pass_on(name: str, argv: list[str]) -> int:
    if name in OF_THE_REPOSITORY and not CHECKOUT:
        raise RuntimeError(
            f"`{name}` is for a clone of the course's repository; this is an installed package."
        )
    module = importlib.import_module(f"course_utils.{ELSEWHERE.get(name, f'commands.{name}')}")
    return (module.lab if name == "lab" else module.main)(argv) or 0


def _doctor(arguments: argparse.Namespace) -> int:
    from course_utils.commands.doctor import doctor

    return doctor()


def _run(arguments: argparse.Namespace) -> int:
    from course_utils.commands.run import run_lessons

    keys = ("model", "scale", "seed", "jobs", "out", "more", "overwrite")
    return run_lessons(arguments.lessons, **{key: getattr(arguments, key) for key in keys})


def _progress(arguments: argparse.Namespace) -> None:
    from course_utils.checks import progress
    from course_utils.checks.summary import summary

    if arguments.reset:
        progress.clear()
        print("Progress cleared.")
    elif arguments.json:
        if not progress.path().exists():
            print(
                f"There is no {plain_line(progress.path())}: nothing is done yet, or COURSE_HOME is another.",
                file=sys.stderr,
            )
        print(json.dumps(summary(), indent=1))
    else:
        print(_progress_table(summary()))


def _progress_table(summary: dict) -> str:
    lines = ["lesson  exercises passed  predictions: right  wrong  skipped"]
    for lesson, entry in [*summary.items(), ("all", _sum(summary))]:
        lines.append(
            f"{plain_line(lesson):6}  {entry['passed']:>7} of {entry['of']:<6}  "
            f"{entry['right']:>18}  {entry['wrong']:>5}  {entry['skipped']:>7}"
        )
        lines += [
            plain_line(f"          {name}: {row.get('status', '')}, {row.get('attempts', 0)} attempt(s)")
            for name, row in entry.get("exercises", {}).items()
            if row.get("status") != "passed"
        ]
    return "\n".join(lines)


def _sum(summary: dict) -> dict[str, int]:
    keys = ("passed", "of", "right", "wrong", "skipped")
    return {key: sum(entry[key] for entry in summary.values()) for key in keys}


def _reset(arguments: argparse.Namespace) -> None:
    from course_utils.commands.lab import reset

    copy, kept = reset(arguments.lesson)
    print(plain_line(f"{copy} is fresh." + (f" Your old copy is {kept}." if kept else "")))
    if kept:
        print(
            "If the lesson is open in JupyterLab: File > Reload Notebook from Disk. "
            "Where JupyterLab asks: Revert, not Overwrite."
        )


def _fetch(arguments: argparse.Namespace) -> None:
    from course_utils.fetch import fetch

    fetch(arguments.model)


def _run_folder(text: str) -> Path:
    """A run's folder as lesson 17 prints it, relative to the current folder or to the course's own."""
    from course_utils.home import home

    inside = text.removeprefix("COURSE_HOME/")
    return Path(text).expanduser() if inside == text else home() / inside


def _rated(arguments: argparse.Namespace) -> None:
    from course_utils.own.rating import read_ratings

    print(read_ratings(arguments.run, arguments.ratings).words)


def _export(arguments: argparse.Namespace) -> None:
    from course_utils.own.export import export_run

    folder = export_run(arguments.run, arguments.out, arguments.base, arguments.anyway)
    print(f"{plain_line(folder)} is ready: README.md in it has the commands for vLLM and Ollama.")
