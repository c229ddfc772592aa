"""Processes killed or interrupted at random moments, and ten at once: no damaged file, no loss."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
import pytest
import torch
from faults.table import many
from helpers import tiny_model
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils.checks import progress
from course_utils.commands.lab import copy_lessons, reset
from course_utils.data import Example, batches
from course_utils.home import cached, write_whole
from course_utils.training import train

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="sends signals to processes")]
CONTEXT = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
CONTEXT.set_forkserver_preload(
    ["pytest", "nbformat", "course_utils.training", "course_utils.commands.lab"]
    + [f"transformers.models.{name}.modeling_{name}" for name in ("gpt2", "llama")]
)
STEPS = 40


def stopped(work, folder, number, after):
    """Run work(folder) in a process that gets a signal `after` seconds after its first output."""
    process = CONTEXT.Process(target=ready, args=(work, folder))
    process.start()
    while not (folder / "ready").exists() and process.is_alive():
        time.sleep(0.002)
    time.sleep(after)
    with suppress(ProcessLookupError):  # it may have ended
        os.kill(process.pid, number)
    process.join(60)


def ready(work, folder):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    os.environ["COURSE_HOME"] = str(folder / "home")
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    torch.set_num_threads(1)
    (folder / "ready").touch()
    work(folder)


def trials(work, check, tmp_path, longest):
    """What check(folder) finds bad after each trial, else ""."""
    rng = random.Random(0)
    for trial in range(many(5, 50)):
        folder = tmp_path / f"trial {trial}"
        folder.mkdir()
        number = rng.choice((signal.SIGINT, signal.SIGKILL, signal.SIGTERM))
        stopped(work, folder, number, after := rng.uniform(0, longest))
        try:
            fault = check(folder)
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
        yield fault and f"trial {trial}, signal {number} after {after:.3f} s: {fault}"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train_a_little(folder):
    """The weights after STEPS steps, resumed from a checkpoint if there is one."""
    examples = [Example(list(range(n, n + 8)), list(range(n, n + 8))) for n in range(20)]
    model = tiny_model()
    stream = batches(examples, 4, 0, 0)
    train(model, stream, steps=STEPS, lr=1e-3, checkpoint=folder / "checkpoint", checkpoint_every=2)
    return model.state_dict()


def test_train(tmp_path, tabulate):
    (tmp_path / "whole").mkdir()
    expected = train_a_little(tmp_path / "whole")

    def check(folder):
        found = train_a_little(folder)
        same = all(torch.equal(found[name], expected[name]) for name in expected)
        return "" if same else "the weights are not those of a training without a stop"

    tabulate("train stopped or killed", trials(train_a_little, check, tmp_path, 1.0))


def fill(folder):
    for name in "abc":
        (folder / name).write_bytes(name.encode() * 200_000)
        time.sleep(0.05)


def make_entry(folder):
    return cached("entry", {"of": "trials"}, fill)


def is_whole(entry):
    return all((entry / name).read_bytes() == name.encode() * 200_000 for name in "abc")


@pytest.mark.night
def test_cached(tmp_path, tabulate, monkeypatch):
    def check(folder):
        monkeypatch.setenv("COURSE_HOME", str(folder / "home"))
        entry = make_entry(folder)
        rest = [path.name for path in entry.parent.iterdir() if path.suffix == ".part"]
        return "" if is_whole(entry) and not rest else f"not whole, or {rest} is left"

    tabulate("cached stopped or killed", trials(make_entry, check, tmp_path, 0.3))


def record_on(folder):
    for number in range(10_000):
        progress.record_attempt("00", f"exercise {number % 50}", f"text {number}", "a mistake")
        (folder / "told").write_text(str(number + 1))


def attempts():
    rows = progress.recorded()["00"]["exercises"].values()
    return sum(row["attempts"] for row in rows)


@pytest.mark.night
def test_progress(tmp_path, tabulate, monkeypatch):
    def check(folder):
        monkeypatch.setenv("COURSE_HOME", str(folder / "home"))
        told = int((folder / "told").read_text() or 0) if (folder / "told").exists() else 0
        progress.record_attempt("00", "after", "a text", None)
        damaged = list((folder / "home").glob("*.damaged*"))
        return "" if attempts() >= told + 1 and not damaged else f"{attempts()} of {told + 1}, {damaged}"

    tabulate("progress stopped or killed", trials(record_on, check, tmp_path, 0.5))


def lesson_with(text):
    return nbformat.writes(new_notebook(cells=[new_markdown_cell("# A lesson"), new_code_cell(text)]))


def reset_on(folder):
    source, work = folder / "notebooks", folder / "work"
    write_whole(source / "00_first.ipynb", lesson_with("1 + 1"))
    copy_lessons(source, work)
    for number in range(10_000):
        write_whole(work / "00_first.ipynb", lesson_with(f"mine = {number}"))
        (folder / "told").write_text(f"{number}\n")
        reset("00", source, work)


@pytest.mark.night
def test_reset(tmp_path, tabulate):
    def check(folder):
        if not (folder / "told").exists():
            return ""
        told = int((folder / "told").read_text() or 0)
        files = [path for path in (folder / "work").glob("00_first*.ipynb") if path.stat().st_size]
        found = {nbformat.read(path, as_version=4).cells[1].source for path in files}
        lost = [number for number in range(told) if f"mine = {number}" not in found]
        copy_lessons(folder / "notebooks", folder / "work")  # between two renames: `lab` makes it
        there = (folder / "work" / "00_first.ipynb").exists()
        return "" if there and not lost else f"the lesson is {'there' if there else 'away'}, lost {lost}"

    tabulate("reset stopped or killed", trials(reset_on, check, tmp_path, 0.6))


@pytest.mark.night
def test_run(tmp_path, tabulate):
    """A run stopped at any moment leaves no process; its report, if any, can be read."""
    rng = random.Random(0)
    (tmp_path / "notebooks").mkdir()
    slow = nbformat.reads(lesson_with("MODEL, SCALE, SEED = 1, 1, 1; import time; time.sleep(600)"), 4)
    slow.cells[1].metadata["tags"] = ["parameters"]
    slow.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(slow, tmp_path / "notebooks" / "00_slow.ipynb")
    numbers = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP)
    count = many(2, 50)
    faults = [stop_a_run(tmp_path, trial, numbers[trial % 4], rng.uniform(0, 8)) for trial in range(count)]
    tabulate("run stopped or killed", faults)


def stop_a_run(folder, trial, number, after):
    out = folder / f"out {trial}"
    code = f"""
import signal, sys
from pathlib import Path
from course_utils.commands import cli, lab, run
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it
run.lessons = lambda names, more: lab.lessons(names, Path({str(folder / "notebooks")!r}))
sys.exit(cli.main(["run", "--model", "pocket", "--jobs", "1", "--out", {str(out)!r}]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not (out / "results.json").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(after)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"signal {number} after {after:.1f} s did not end the run in a minute"
    _, left = psutil.wait_procs(below, timeout=60)  # one may still be loading torch
    for one in left:
        one.kill()
    (row,) = json.loads((out / "results.json").read_text())["lessons"]
    expected = "running" if number == signal.SIGKILL else "stopped"
    bad = left or row["status"] != expected
    return f"signal {number} after {after:.1f} s: {left} are left, {row}" if bad else ""


def at_once(folder, number):
    os.environ["COURSE_HOME"] = str(folder / "home")
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    entry = cached("entry", {}, fill_once)
    for attempt in range(5):
        progress.record_attempt("00", f"exercise {number}", f"text {attempt}", None)
    sys.exit(not is_whole(entry))


def fill_once(folder):
    with Path(os.environ["COURSE_HOME"], "made").open("a") as file:
        file.write("once\n")
    fill(folder)


@pytest.mark.night
def test_ten_processes_at_once(tmp_path, tabulate, monkeypatch):
    processes = [CONTEXT.Process(target=at_once, args=(tmp_path, number)) for number in range(10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    made = (tmp_path / "home" / "made").read_text()
    faults = [f"process {n} ended with {p.exitcode}" if p.exitcode else "" for n, p in enumerate(processes)]
    faults.append("" if attempts() == 50 else f"{attempts()} of 50 attempts are recorded")
    faults.append("" if made == "once\n" else f"the entry was made {made.count('once')} times")
    tabulate("ten processes at once", faults)
