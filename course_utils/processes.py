"""Processes that others start: none outlives the one that started it."""

import os
import sys
import threading

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
