"""A number that is watched while something else runs."""

import threading

import pytest

from course_utils.processes import Watch


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
