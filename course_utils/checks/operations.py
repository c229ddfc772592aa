"""Counting torch's operations, for exercises that ask for a function without a loop."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils._python_dispatch import TorchDispatchMode

from course_utils.checks.compare import Comparison, Mistake


class Operations(TorchDispatchMode):
    """`with Operations() as operations:` counts torch's operations in operations.count."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def without_loops(comparison: Comparison, arguments: Callable[[], tuple], most: int, advice: str) -> Callable:
    """The check `comparison`, followed by a call with arguments() in at most `most` operations."""

    def check(fn: Callable) -> None:
        comparison(fn)
        with Operations() as operations:
            fn(*arguments())
        if operations.count > most:
            raise Mistake(
                f"The values are right, by {operations.count:,} operations of torch where a few would do. "
                f"{advice}"
            )

    check.mistakes = comparison.mistakes
    return check
