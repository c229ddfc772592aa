"""Learners' hostile or damaged files: they cost nobody else a verdict or the teacher's page."""

import json
import os
import random
import unicodedata

import pytest
from faults.table import many
from faults.test_inputs import TEXT_DAMAGE, trials

from course_utils.checks.exercises import find
from course_utils.commands import cli
from course_utils.commands import grade as grading
from course_utils.commands.room import Room, page

pytestmark = pytest.mark.night

STATE = {
    "00": {"exercises": {"gae": {"status": "failed", "mistake": "é", "tries": [{"at": "", "mistake": ""}]}}}
}
CELLS = [
    "exit()",
    "import os; os._exit(7)",
    "import os; os.kill(os.getpid(), 9)",
    "import os; os.abort()",
    "import os; os.kill(os.getppid(), 9)",
    "import os; os.closerange(0, 99)",
    "import os\nfor n in range(99):\n    try: os.write(n, b'\\xff\\n{}\\n[1]\\n')\n    except OSError: pass",
    "import sys; sys.stdin.read(); sys.stdout = sys.stderr = sys.stdin = None",
    "import torch; torch.set_grad_enabled(False); torch.set_default_dtype(torch.float16)",
    "import torch; torch.Tensor.__add__ = torch.where = torch.tensor = None",
    "import random, torch; torch.manual_seed(7); random.seed(7); torch.use_deterministic_algorithms(True)",
    "import course_utils.checks.exercises as e; vars(e).clear()",
    "import builtins\nfor name in ('len', 'open', 'print', 'isinstance'): delattr(builtins, name)",
    "import sys; sys.modules.clear()",
    "import sys; sys.setrecursionlimit(10**9)\ndef f(n): return f(n) + f(n)\nf(1)",
    "import threading, time\nfor _ in range(50): threading.Thread(target=time.sleep, args=(999,)).start()",
    "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(999)'])",
    "import multiprocessing as m\nm.Process(target=max, args=(1, 2)).start()",
    "import os, shutil; shutil.rmtree(os.path.dirname(os.getcwd()))",
    "import os; os.chdir('/'); os.environ.clear()",
    "import signal\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)",
    "raise KeyboardInterrupt",
    "raise ValueError('\\ud800\\x1b[2J' * 9999)",
    "class E(Exception):\n    def __str__(self): raise self\nraise E",
    "print('x' * 10**7)",
    "x = '\ud800'",
]
GOOD = "gae"


def cell(name, before=""):
    return f"{before}\n{find(name).solution}\n\n{name} = check.{name}({name})"


def notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"cell_type": "code", "metadata": {}, "source": source} for source in cells]
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}), "utf-8")
    return path


def test_hostile_cells(tmp_path, tabulate):
    faults = []
    for code in CELLS[:: many(5, 1)]:
        path = notebook(tmp_path / "12.ipynb", cell("per_token_rewards", code), cell(GOOD))
        rows = {row["exercise"]: row for row in grading.grade_notebook(path, path)}
        printable = json.dumps([*rows.values()], ensure_ascii=False).isprintable()
        right = rows[GOOD]["status"] == "passed" and printable
        faults.append("" if right else f"{code}: {rows[GOOD]['message']} {rows['per_token_rewards']}")
    tabulate("grade, hostile cells", faults)


def test_damaged_notebooks(tmp_path, tabulate):
    whole = notebook(tmp_path / "12.ipynb", "x = 1", "y = 2").read_bytes()
    path, faults = tmp_path / "12.ipynb", []
    for kind, change, rng in trials(TEXT_DAMAGE, many(23, 230), seed=11):
        path.write_bytes(change(whole, rng))
        try:
            rows = grading.grade_notebook(path, path)
            faults.append("" if rows and all(row["message"] for row in rows) else f"{kind}: {rows}")
        except Exception as fault:
            faults.append(f"{kind}: {fault!r}"[:200])
    tabulate("grade, damaged notebooks", faults)


def test_damaged_progress(tmp_path, tabulate, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    whole = json.dumps({"lessons": STATE}, ensure_ascii=False).encode()
    (tmp_path / "home").mkdir()
    (tmp_path / "Ada.json").write_bytes(whole)
    faults = []
    for kind, change, rng in trials(TEXT_DAMAGE, many(23, 230), seed=12):
        damaged = change(whole, rng)
        (tmp_path / "Ben.json").write_bytes(damaged)
        (tmp_path / "home" / "progress.json").write_bytes(damaged)
        try:
            text = page(Room([tmp_path]), False, "")
            fine = "Ada" in text and text.encode() and cli.main(["progress"]) == 0
            faults.append("" if fine else f"{kind}: {text[-200:]}")
        except Exception as fault:
            faults.append(f"{kind}: {fault!r}"[:200])
    capsys.readouterr()
    tabulate("room and progress, damaged files", faults)


def test_names_of_learners(tmp_path, tabulate, capsys):
    rng, faults = random.Random(13), []
    names = [
        b"Zo\xeb",
        b"\xff\xfe",
        "Ада".encode("utf-16-le").replace(b"\0", b"\1"),
        b"a\x1b[2J",
        b"a\nb",
        b"-rf",
    ]
    names += [bytes(rng.choices([*range(1, 47), *range(48, 256)], k=9)) for _ in range(many(4, 50))]
    for number, name in enumerate(names):
        folder = tmp_path / f"{number}"
        try:
            notebook(folder / os.fsdecode(name) / "12.ipynb", "x = 1")
            (folder / os.fsdecode(name) / "progress.json").write_text(json.dumps({"lessons": STATE}), "utf-8")
        except OSError:
            continue  # not a valid file name here
        (folder / "Ada.json").write_text(json.dumps(STATE), "utf-8")
        for command in ("room", "grade"):
            out = folder / f"{command}.html"
            status = cli.main([command, str(folder), "--out", str(out)])
            shown = capsys.readouterr()
            kinds = set(map(unicodedata.category, (shown.out + shown.err).replace("\n", "")))
            harmless = not kinds & {"Cc", "Cs", "Zl", "Zp"}  # rare spaces and unknown letters command nothing
            told = out.is_file() and ("Ada" in out.read_text("utf-8") or command == "grade")
            faults.append(
                "" if status == 0 and told and harmless else f"{name} {command}: {shown.err[-200:]}"
            )
    tabulate("room and grade, names", faults)
