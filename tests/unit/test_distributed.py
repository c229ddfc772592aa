"""Two processes train like one: by hand, sharded and with Accelerate; an interrupt leaves nothing behind."""

import os
import subprocess
import sys
import time

import pytest
import torch

from course_utils.distributed import METHODS, follow, group_lives, rows_of, run

SETTINGS = {"steps": 4, "batch_size": 6, "lr": 1e-3, "log": lambda line: None}


@pytest.fixture(scope="module")
def alone():
    return run("alone", 1, **SETTINGS)[0]


@pytest.mark.parametrize("method", [name for name in METHODS if name != "alone"])
def test_two_processes_have_the_losses_of_one(alone, method):
    reports = run(method, 2, **SETTINGS)
    for report in reports:
        assert report["losses"] == pytest.approx(alone["losses"], abs=1e-4)
    share = reports[0]["bytes"] / alone["bytes"]
    assert share == pytest.approx(0.5 if method == "sharded" else 1.0, abs=0.01)


def test_rows_are_dealt_out():
    batch = {"input_ids": torch.arange(10).view(5, 2)}
    parts = [rows_of(batch, rank, 2)["input_ids"] for rank in range(2)]
    assert [part[:, 0].tolist() for part in parts] == [[0, 4, 8], [2, 6]]


@pytest.mark.parametrize(
    "method, processes, size, words",
    [("fsdp", 2, 4, "choose one of"), ("by_hand", 1, 4, "only 'alone'"), ("by_hand", 4, 2, "without one")],
)
def test_what_cannot_run_is_refused(method, processes, size, words):
    with pytest.raises(ValueError, match=words):
        run(method, processes, batch_size=size)


def test_a_failure_shows_the_last_lines():
    with pytest.raises(RuntimeError, match=r"failed; the last lines:"):
        run("alone", 1, model="/no-such-model", log=lambda line: None)


def test_an_interrupt_leaves_no_process():
    sleep = "import time; time.sleep(60)"
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{sleep}']);"
    child += f"print('started', flush=True); {sleep}"
    seen = []

    def interrupt(line):
        seen.append(line)
        raise KeyboardInterrupt

    processes = []
    popen = subprocess.Popen

    def remember(*args, **options):
        processes.append(popen(*args, **options))
        return processes[-1]

    started = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", remember)
        with pytest.raises(KeyboardInterrupt):
            follow([sys.executable, "-c", child], dict(os.environ), interrupt)
    assert seen == ["started"] and time.monotonic() - started < 30
    assert not group_lives(processes[0])
