"""Read-only places, a full disk, ASCII only, python -O, paths with spaces, odd settings."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from faults.table import many

from course_utils.commands import cli, lab
from course_utils.home import ROOT, cached, write_whole
from course_utils.machine import find_device
from course_utils.session import check_seed, start

pytestmark = pytest.mark.night

PATHS = [str(ROOT), *(str(folder) for folder in Path(__file__).parents[:2])]
NAMES = ("train", "cached", "progress", "reset")


def use(folder, *options, limit="", **environment):
    """The output of the course's four uses in a separate process; `limit`: a shell command before it."""
    command = [sys.executable, *options, "-c", "import uses; uses.main()", str(folder)]
    if limit:
        command = ["bash", "-c", f'{limit}; exec "$@"', "bash", *command]
    settings = {
        **os.environ,
        "COURSE_HOME": str(folder / "home"),
        "PYTHONPATH": os.pathsep.join(PATHS),
        **environment,
    }
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, errors="replace")
    return done.stdout + done.stderr


def all_done(said):
    return "" if all(f"{name}: done" in said for name in NAMES) and "Traceback" not in said else said[-600:]


def test_paths_with_spaces_and_other_letters(tmp_path, tabulate):
    folders = ["a b", "é ü", "日本", "it's", "a%20b", "#1 [x]", "-rf", "..."]
    faults = []
    for name in folders[: many(1, 8)]:
        (tmp_path / name).mkdir()
        faults.append(all_done(use(tmp_path / name)))
    tabulate("paths with spaces and other letters", faults)


def test_ascii_and_optimised(tmp_path, tabulate):
    kinds = [(["-O"], {"PYTHONIOENCODING": "ascii"}), ([], {"LC_ALL": "C", "PYTHONUTF8": "0"})]
    faults = []
    for number, (options, environment) in enumerate(kinds[: many(1, 2)]):
        (tmp_path / f"{number}").mkdir()
        faults.append(all_done(use(tmp_path / f"{number}", *options, **environment)))
    tabulate("ASCII alone, python -O", faults)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files, as a full disk does")
def test_a_full_disk(tmp_path, tabulate):
    """Files of a few kilobytes at most: each use fails naming the path, or succeeds; no partial files."""
    faults = []
    for size in (64, 1, 8, 256)[: many(1, 4)]:  # KiB
        folder = tmp_path / f"{size}"
        folder.mkdir()
        said = use(folder, limit=f"trap '' XFSZ; ulimit -f {size}")
        named = [bool(re.search(rf"{name}: (done|.*{re.escape(str(folder))})", said)) for name in NAMES]
        left = [path for path in folder.rglob("*") if path.is_file() and not whole(path)]
        faults.append("" if all(named) and "Traceback" not in said and not left else f"{said[-900:]} {left}")
    tabulate("a full disk", faults)


def whole(path):
    return path.suffix == ".lock" or path.stat().st_size > 0


def blocked(tmp_path):
    """A folder that not even root, who ignores permissions, can make."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "folder"


def nothing(folder):
    """Make an empty entry."""


def refused(call, *words):
    try:
        call()
    except OSError as error:
        return "" if all(word in str(error) for word in words) else f"{words} are not in: {error}"
    return "nothing was said"


def test_places_that_cannot_be_written(tmp_path, tabulate, monkeypatch, capsys):
    place = blocked(tmp_path)
    faults = [
        refused(lambda: lab.copy_lessons(work=place), str(place), "copy the course"),
        refused(lambda: lab.reset("00", work=place), str(place), "copy the course"),
        refused(lambda: write_whole(place / "x", ""), str(tmp_path)),
    ]
    for home in (place, place.parent):
        monkeypatch.setenv("COURSE_HOME", str(home))
        faults.append(refused(lambda: cached("entry", {}, nothing), str(home), "COURSE_HOME"))
        for command, word in ((["progress"], "COURSE_HOME"), (["run", "00", "--out", str(place)], "--out")):
            status, said = cli.main(command), capsys.readouterr()
            fine = (status == 0 and "progress" in command) or word in said.err
            faults.append("" if fine else f"{command}: {said.err}")
    tabulate("places that cannot be written", faults)


ODD = [
    "abc",
    "-1",
    "1.5",
    "²",
    "1e3",
    str(2**64),
    "9" * 5000,
    " ",
    "None",
    "0x1",
    "１",
    "\0",
    "1 2",
    "--",
    "nan",
]


def test_odd_settings(tabulate):
    calls = {
        "seed": lambda text: check_seed(text),
        "scale": lambda text: start("pocket", text or "smoke", 0),
        "device": lambda text: find_device(text),
        "model": lambda text: start(text, "smoke", 0),
    }
    faults = [odd(name, call, text) for (name, call), text in itertools.product(calls.items(), ODD)]
    tabulate("odd settings", faults)


def odd(name, call, text):
    """Bad unless accepted (0 to 9 in any script are not; spaces are) or rejected by name."""
    try:
        return "" if call(text) == 0 and not text.strip() else f"{name}={text[:20]!r} is taken"
    except (ValueError, RuntimeError) as error:
        short = len(str(error)) < 1500 and name.upper() in str(error)
        return "" if short else f"{name}={text[:20]!r}: {str(error)[:200]}"
    except Exception as error:
        return f"{name}={text[:20]!r}: {type(error).__name__}: {error}"


def test_odd_settings_break_no_other_command(tabulate, monkeypatch, capsys):
    faults = []
    for name in ("COURSE_SEED", "COURSE_SCALE", "COURSE_MODEL", "COURSE_DEVICE"):
        for text in ("", "abc", "-1", "²"):
            monkeypatch.setenv(name, text)
            faults.append("" if cli.main(["progress"]) == 0 else f"{name}={text}: {capsys.readouterr().err}")
        monkeypatch.delenv(name)
    monkeypatch.setenv("COURSE_HOME", "")
    before = set(Path.cwd().iterdir())
    faults.append("" if cli.main(["progress"]) == 0 else "COURSE_HOME=")
    faults.append("" if set(Path.cwd().iterdir()) == before else "an empty COURSE_HOME is the working folder")
    tabulate("odd settings and another command", faults)
