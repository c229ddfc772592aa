"""`python -m course_utils test`: the tests behind `make check`, `make test` and `make nightly`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from course_utils.home import ROOT, home, pip_install
from course_utils.model_files import sha256
from course_utils.notebook_files import lessons
from course_utils.terminal import Parser

TWO = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
THREE = ["-n", "3", *TWO[2:]]  # one of them waits for a kernel or a browser
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-sanitize-with", "tests/sanitize.cfg"]
NIGHT = "not colab"
BY_DAY = f"{NIGHT} and not seeds and not night and not timing"
QUICK = f"{BY_DAY} and not slow"
NOT_QUICK = (  # they have no quick tests, and importing them takes seconds
    *("tests/browser", "tests/faults", "tests/parity", "tests/lessons/test_recipes_short.py"),
    *("tests/lessons/test_lesson_16_cluster.py", "tests/lessons/test_lesson_16_recipe.py"),
)
SAVED = ["00", "03"]  # lessons whose saved outputs `make test` recomputes
NEEDED = ("pytest", "xdist", "pytest_timeout", "nbval")


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils test [--quick | --night] [options of pytest]`: its exit status."""
    parser = Parser(
        "python -m course_utils test",
        description="Run the tests. All other options go to pytest; `python -m pytest --help` has them.",
        allow_abbrev=False,
    )
    tier = parser.add_mutually_exclusive_group()
    tier.add_argument("--quick", action="store_true", help="leave out slow tests")
    tier.add_argument(
        "--night", action="store_true", help="all tests except those that passed with exactly these files"
    )
    parser.add_argument("--since", metavar="COMMIT", help="at night: seeds for the lessons changed since")
    parser.add_argument("--minutes", default="115", help="at night: then start no more tests (%(default)s)")
    chosen, options = parser.parse_known_args(argv)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeError(f"The tests need {', '.join(missing)}: {pip_install('lab,test,compare')}")
    if chosen.quick:
        ignored = [f"--ignore={name}" for name in NOT_QUICK]
        command = ["tests", "-m", QUICK, *ignored, *TWO, *options]
    elif chosen.night:
        command = ["tests", "notebooks", "-m", NIGHT, *NBVAL, *THREE, "--durations=30"]
        command += [*of_the_night(chosen.since or yesterday()), f"--minutes={chosen.minutes}", *options]
    else:
        saved = [path.relative_to(ROOT).as_posix() for path in lessons(SAVED, more=True)]
        command = ["tests", *saved, "-m", BY_DAY, *NBVAL, *THREE, "--durations=10", *options]
    environment = {"PYTHONUTF8": "1", **os.environ}  # files are UTF-8 on every system
    done = subprocess.run([sys.executable, "-m", "pytest", *command], cwd=ROOT, env=environment)
    return done.returncode


def of_the_night(since: str) -> list[str]:
    """Options of tests/night.py: the journal of these files and packages, the lessons to test over seeds."""
    journal = home() / "nights" / f"{digest_of(checkout_files())}.txt"
    journal.parent.mkdir(parents=True, exist_ok=True)
    changed = changed_lessons(commit_named(since))
    print(f"Passed tests are recorded in {journal}")
    print(f"Seeds for the lessons changed since {since[:10]}: {' '.join(changed) or 'none'}", flush=True)
    return [f"--journal={journal}", f"--seeds-of={' '.join(changed)}"]


def yesterday() -> str:
    """The last commit older than a day, or the first commit."""
    return git("rev-list", "-1", "--before=1 day ago", "HEAD") or git("rev-list", "--max-parents=0", "HEAD")


def commit_named(name: str) -> str:
    """The commit of that name, which git takes for no option. ValueError if there is none."""
    try:
        return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except RuntimeError:
        raise ValueError(f"--since {name[:100]!r}: there is no such commit. `git log` lists them.") from None


def changed_lessons(since: str) -> list[str]:
    """Numbers of the lessons whose notebook, companion or own modules changed since a commit."""
    places = "\n".join([git("diff", "--name-only", since), git("ls-files", "-o", "--exclude-standard")])
    return sorted(
        set(re.findall(r"^(?:notebooks/(?:more/)?|course_utils/lessons/lesson_)(\d\d)", places, re.M))
    )


def checkout_files() -> list[Path]:
    """The current files of the checkout, committed or not, except those that git ignores."""
    names = git("ls-files", "-coz", "--exclude-standard").split("\0")
    return sorted({ROOT / name for name in names if (ROOT / name).is_file()})


def digest_of(paths: list[Path]) -> str:
    """A digest of the files and the installed packages."""
    packages = sorted(f"{found.name} {found.version}" for found in importlib.metadata.distributions())
    parts = [f"{path} {sha256(path)}" for path in paths]
    return hashlib.sha256("\n".join(packages + parts).encode()).hexdigest()[:16]


def git(*arguments: str) -> str:
    """The output of a git command on the checkout. RuntimeError without git or a checkout."""
    try:
        asked = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as fault:
        raise RuntimeError(f"With --night the tests need git and a clone of the course: {fault}") from fault
    return asked.stdout.decode().strip()
