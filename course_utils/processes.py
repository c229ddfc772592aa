"""Processes that others start: none outlives the one that started it, and what they take is watched."""

import os
import sys
import threading
from collections.abc import Callable

import psutil


def end_with_parent() -> None:
    """Ends this process and what it started when its parent is gone: only then does stdin come to its end."""

    def wait():
        os.read(sys.stdin.fileno(), 1)
        kill(psutil.Process().children(recursive=True))
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def kill(processes: list[psutil.Process]) -> None:
    """Kills the processes, those that are gone already aside, and waits for their end."""
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(processes, timeout=5)


class Watch(threading.Thread):
    """Reads a number again and again; `stop` returns the one of all that `keep` (min or max) chooses."""

    def __init__(self, read: Callable[[], int], keep: Callable[[int, int], int], seconds: float = 0.1):
        super().__init__(daemon=True)
        self.read, self.keep, self.seconds = read, keep, seconds
        self.value, self.done = read(), threading.Event()
        self.start()

    def run(self) -> None:
        while not self.done.wait(self.seconds):
            self.value = self.keep(self.value, self.read())

    def stop(self) -> int:
        self.done.set()
        self.join()
        return self.value
