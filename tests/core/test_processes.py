"""A number watched while something else runs; a folder that does not outlive its owner."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from course_utils.processes import Watch, vanishing_folder


@pytest.mark.parametrize(("keep", "extreme"), [(min, 1), (max, 9)])
def test_the_extreme_of_all_that_was_read_is_kept(keep, extreme):
    numbers, all_read = iter([5, 1, 9, 4]), threading.Event()

    def read():
        number = next(numbers, None)
        if number is None:
            all_read.set()
        return number or 5

    watch = Watch(read, keep, seconds=0.001)
    assert all_read.wait(10) and watch.stop() == extreme
    assert not watch.is_alive()


HOLDING = """
import sys, time
from course_utils.processes import vanishing_folder
with vanishing_folder("course-test-") as folder:
    (folder / "a").mkdir()
    print(folder, flush=True)
    time.sleep(600)
"""


def test_a_folder_goes_with_the_process_that_is_killed():
    with vanishing_folder("course-test-") as folder:
        (folder / "a").mkdir()
    assert not folder.exists()
    command = [sys.executable, "-c", HOLDING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as holder:
        folder = Path(holder.stdout.readline().strip())
        assert (folder / "a").is_dir()
        holder.kill()
    while folder.exists():  # the run's time limit ends this if nobody sweeps
        time.sleep(0.1)
