"""Many kernels at once: separate homes, reported failures, and totals of time and memory."""

import _thread
import os
import tempfile
import threading
import time

import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils.commands import cli, rehearse
from course_utils.notebook_files import write_notebook

CELLS = ["import os, pathlib\nhome = pathlib.Path(os.environ['COURSE_HOME'])", "home.mkdir(); x = 1", "y = x"]


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    def make(*cells):
        path = tmp_path / "01_small.ipynb"
        notebook = new_notebook(cells=[new_markdown_cell("# T"), *map(new_code_cell, cells)])
        write_notebook(notebook, path)
        monkeypatch.setattr(rehearse, "lessons", lambda names: [path])

    return make


def test_each_kernel_has_a_home_and_time_and_memory(lesson):
    lesson(*CELLS)
    seats = rehearse.rehearse("01", 2, "smoke")
    assert [seat.number for seat in seats] == [1, 2] and not any(seat.error for seat in seats)
    for seat in seats:
        assert 0 < seat.first <= seat.whole < 120 and seat.bytes > 10 << 20
    text = rehearse.report(seats, "01", "smoke", 2 << 30)
    assert "2 of 2 ran to the end" in text and "least free 2.0 GiB" in text


def test_a_cell_that_fails_is_named_and_the_others_go_on(lesson, capsys):
    lesson(*CELLS[:2], "if home.name == 'home-2': raise ValueError('no room')")
    assert cli.main(["rehearse", "--kernels", "2", "--lesson", "1"]) == 1
    out = capsys.readouterr().out
    assert "1 of 2 ran to the end" in out
    assert "Learner 2 stopped at code cell 3: ValueError: no room" in out


def test_ctrl_c_waits_for_no_cell_and_leaves_nothing(lesson, tmp_path, monkeypatch, interruptible):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    sleeping = (
        "import pathlib, time\npathlib.Path({!r}).joinpath(f'asleep {{home.name}}').touch()\ntime.sleep(600)"
    )
    lesson(*CELLS[:2], sleeping.format(str(tmp_path)))
    before = set(psutil.Process().children(recursive=True))

    def press():
        while len(list(tmp_path.glob("asleep*"))) < 2:
            time.sleep(0.1)
        _thread.interrupt_main()

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        rehearse.rehearse("01", 2, "smoke")
    assert not list(tmp_path.glob("course-rehearsal-*"))
    assert not set(psutil.Process().children(recursive=True)) - before


def test_no_kernels_are_refused(capsys):
    assert cli.main(["rehearse", "--kernels", "0"]) == 1
    assert "at least one kernel" in capsys.readouterr().err


def test_memory_of_a_process_that_is_gone_is_nothing():
    assert rehearse.own_memory(os.getpid()) > 10 << 20 and rehearse.own_memory(2**22 + 1) == 0
