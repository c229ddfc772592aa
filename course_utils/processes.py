"""Child processes: none outlives its parent, and their memory is watched."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


def end_with_parent() -> None:
    """End this process and its children when the parent is gone, which closes stdin."""

    def wait():
        os.read(sys.stdin.fileno(), 1)
        kill(psutil.Process().children(recursive=True))
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def kill(processes: list[psutil.Process]) -> None:
    """Kill the processes that still exist, and wait for their end."""
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(processes, timeout=5)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let the signals that ask a process to end interrupt the block as Ctrl-C does."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in (getattr(signal, name) for name in names)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # ignored under nohup
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


SWEEP = """
import shutil, sys, time
sys.stdin.read()  # ends with the process that holds the other end
for _ in range(20):  # what it started may write a little longer
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    time.sleep(0.5)
"""


@contextmanager
def vanishing_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that is removed after the block, or when this process is killed."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-I", "-c", SWEEP, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as sweeper:
            try:
                yield Path(folder)
            finally:
                sweeper.kill()


class Watch(threading.Thread):
    """Reads a number repeatedly; `stop` returns the one that `keep` (min or max) selects."""

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
