"""Lesson 16, rows_of_process: rows for each process."""

import numpy as np
import torch

from course_utils.checks.compare import Mistake
from course_utils.checks.exercises import Exercise
from course_utils.methods.distributed import rows_of_process


def _check_rows(fn):
    for rows, world in [(8, 2), (10, 4), (7, 3), (3, 3), (6, 1), (2, 5)]:
        parts = [fn(rows, rank, world) for rank in range(world)]
        for rank, part in enumerate(parts):
            if part is None:
                raise Mistake("The function returned None. Is there a return?")
            if not hasattr(part, "__len__"):
                raise Mistake(f"Return the list of row numbers, not {part}.")
            if np.asarray(part).dtype == bool:
                raise Mistake("Return the row numbers, not True and False.")
            if [int(row) for row in fn(rows, rank, world)] != [int(row) for row in part]:
                raise Mistake(
                    "Two calls return different rows. Nothing is random: each process computes its own."
                )
            parts[rank] = [int(row) for row in part]
        where = f"{rows} rows, {world} processes"
        numbers = sorted(row for part in parts for row in part)
        if any(row < 0 or row >= rows for row in numbers):
            raise Mistake(f"{where}: row {numbers[-1]} does not exist. Rows and ranks are counted from 0.")
        if world > 1 and all(len(part) == rows for part in parts):
            raise Mistake(f"{where}: every process has the whole batch. Divide it among them.")
        if len(numbers) > len(set(numbers)):
            twice = next(row for row in numbers if numbers.count(row) > 1)
            raise Mistake(f"{where}: more than one process has row {twice}, so it counts twice.")
        if missing := set(range(rows)) - set(numbers):
            raise Mistake(f"{where}: no process has row {min(missing)}. Distribute the remainder, too.")
        sizes = [len(part) for part in parts]
        if max(sizes) - min(sizes) > 1:
            raise Mistake(
                f"{where}: the processes have {sizes} rows. All wait for the slowest, so the sizes should "
                "differ by one at most."
            )


def _contiguous(rows, rank, world):
    size = rows // world
    return list(range(rank * size, rows if rank == world - 1 else (rank + 1) * size))


def _ceiling(rows, rank, world):
    size = -(-rows // world)
    return list(range(rows))[rank * size : (rank + 1) * size]


def _blocks(rows, rank, world):
    size, more = divmod(rows, world)
    start = rank * size + min(rank, more)
    return range(start, start + size + (rank < more))


EXERCISE = Exercise(
    name="rows_of_process",
    lesson="16",
    minutes=5,
    difficulty=1,
    reference=rows_of_process,
    check=_check_rows,
    wrong=[
        (lambda rows, rank, world: list(range(rows)), "every process has the whole batch"),
        (
            lambda rows, rank, world: list(range(rank * (rows // world), (rank + 1) * (rows // world))),
            "no process has row",
        ),
        (_contiguous, "differ by one"),
        (_ceiling, "differ by one"),
        (lambda rows, rank, world: list(range(rank, rank + rows // world + 1)), "more than one process"),
        (lambda rows, rank, world: list(range(rank + 1, rows + 1, world)), "does not exist"),
        (lambda rows, rank, world: len(range(rank, rows, world)), "list of row numbers, not"),
        (lambda rows, rank, world: (row for row in range(rank, rows, world)), "list of row numbers, not"),
        (lambda rows, rank, world: [row % world == rank for row in range(rows)], "not True and False"),
        (lambda rows, rank, world: list(range(rank, rows, 2)), "more than one process"),
        (lambda rows, rank, world: torch.randperm(rows)[rank::world].tolist(), "Two calls"),
        (lambda rows, rank, world: [], "no process has row"),
        (lambda rows, rank, world: None, "Is there a return"),
    ],
    right=[
        _blocks,
        lambda rows, rank, world: [row for row in range(rows) if row % world == rank],
        lambda rows, rank, world: torch.arange(rows)[rank::world],
        lambda rows, rank, world: tuple(range(rank, rows, world)),
    ],
    hints=(
        "Deal the rows like cards: the first to process 0, the next to process 1, and so on. The remainder "
        "then goes to different processes by itself.",
        "Process rank starts at row rank and takes every world-th: a range with a step.",
    ),
)
