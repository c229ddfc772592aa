"""When the Hugging Face hub is asked, and for how long: not at all for what is on disk."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CHOSEN = "HF_HUB_OFFLINE" in os.environ  # what the learner has set stands


HUB_TIMEOUT = 3.0  # seconds


def be_quiet(offline: bool) -> None:
    """No telemetry, and where `offline` no question to the hub, unless HF_HUB_OFFLINE is set."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants  # reads the environment once, when it is imported first

    constants.HF_HUB_DISABLE_TELEMETRY = os.environ["HF_HUB_DISABLE_TELEMETRY"] != "0"
    if not CHOSEN:
        _set_offline(offline)


def _set_offline(offline: bool) -> None:
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = offline
    os.environ["HF_HUB_OFFLINE"] = str(int(offline))  # for the processes that a lesson starts


@contextmanager
def online() -> Iterator[None]:
    """The hub may be asked inside, whatever `be_quiet` said, unless HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if CHOSEN or not before:
        yield
        return
    _set_offline(False)
    try:
        yield
    finally:
        _set_offline(before)


def within(seconds: float, ask: Callable[[], Any]) -> Any:
    """What ask() returns or raises; TimeoutError after so many seconds in all.

    The limits of HTTP clients are for each read: a server that sends a byte a second keeps them waiting.
    """
    answers = queue.SimpleQueue()

    def run():
        try:
            answers.put((ask(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None
    if error:
        raise error
    return value
