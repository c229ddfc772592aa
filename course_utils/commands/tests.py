"""`python -m course_utils test`: what `make test` and `make check` run."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence

from course_utils.home import ROOT, pip_install

WORKERS = ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"]  # one waits for a kernel or a browser
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-sanitize-with", "tests/sanitize.cfg"]
QUICK = "not notebook and not browser and not seeds and not slow and not faults and not colab"
NEEDED = ("pytest", "xdist", "pytest_timeout", "nbval")


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils test [--quick] [options of pytest]`; RuntimeError where pytest is missing."""
    parser = argparse.ArgumentParser(
        "python -m course_utils test",
        description="Run the tests. All other options go to pytest; `python -m pytest --help` has them.",
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="leave out what takes long")
    chosen, options = parser.parse_known_args(argv)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeError(f"The tests need {', '.join(missing)}: {pip_install('lab,test,compare')}")
    if chosen.quick:
        command = ["tests", "-m", QUICK, *WORKERS, *options]
    else:
        command = ["tests", "notebooks", *NBVAL, *WORKERS, "--durations=10", *options]
    environment = {"PYTHONUTF8": "1", **os.environ}  # files are UTF-8 on every system
    done = subprocess.run([sys.executable, "-m", "pytest", *command], cwd=ROOT, env=environment)
    return done.returncode
