"""Lesson 16, ring_all_reduce: the ring."""

import numpy as np
import torch

from course_utils.checks.compare import Mistake, compare, identical
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_16.scaling import ring_all_reduce


def _processes(world, size):
    """One tensor per process, in double precision."""
    return ([torch.randn(size, dtype=torch.float64) for _ in range(world)],)


def _ring(
    turns=lambda world: 2 * (world - 1),
    added=lambda turn, world: turn < world - 1,
    shift=1,
    places=lambda rank, turn, world: rank - turn,
    cut=torch.tensor_split,
):
    """A wrong ring: turns(world) turns, which add if `added`; pieces move `shift` processes on.

    cut: the function that splits a tensor into pieces.
    """

    def wrong(values):
        world = len(values)
        pieces = [list(cut(value, world)) for value in values]
        sent = [0] * world
        for turn in range(turns(world)):
            passed = [pieces[rank][places(rank, turn, world) % world] for rank in range(world)]
            for rank, piece in enumerate(passed):
                to, place = (rank + shift) % world, places(rank, turn, world) % world
                pieces[to][place] = pieces[to][place] + piece if added(turn, world) else piece
                sent[rank] += piece.numel()
        return [torch.cat(own) for own in pieces], sent

    return wrong


def _one_after_the_other(values):
    """Right: no process passes on a piece in the turn in which it arrives."""
    world = len(values)
    pieces = [list(value.tensor_split(world)) for value in values]
    sent = [0] * world
    for turn in range(2 * (world - 1)):
        for rank in range(world):
            place, to = (rank - turn) % world, (rank + 1) % world
            piece = pieces[rank][place]
            pieces[to][place] = pieces[to][place] + piece if turn < world - 1 else piece
            sent[rank] += piece.numel()
    return [torch.cat(own) for own in pieces], sent


def _everything_to_the_first(values):
    total, world = torch.stack(values).sum(0), len(values)
    sent = [(world - 1) * total.numel(), *[total.numel()] * (world - 1)]
    return [total.clone() for _ in values], sent


def _everybody_to_everybody(values):
    total, world = torch.stack(values).sum(0), len(values)
    return [total.clone() for _ in values], [(world - 1) * total.numel()] * world


def _ring_in_two_loops(values):
    table, world = torch.stack(values), len(values)  # [process, value]
    columns = torch.arange(table.shape[1]).tensor_split(world)
    sent = torch.zeros(world, dtype=torch.long)
    for first, adds in ((0, True), (1, False)):
        for turn in range(world - 1):
            before = table.clone()
            for rank in range(world):
                piece, to = columns[(rank + first - turn) % world], (rank + 1) % world
                table[to, piece] = before[rank, piece] + (before[to, piece] if adds else 0)
                sent[rank] += len(piece)
    return list(table), sent.tolist()


def _ring_of_names(values):
    world = len(values)
    held = [
        dict(enumerate(torch.from_numpy(piece) for piece in np.array_split(value.numpy(), world)))
        for value in values
    ]
    sent = [0 for _ in values]
    for phase in ("add", "copy"):
        for turn in range(world - 1):
            first = turn if phase == "add" else turn - 1
            messages = [
                ((r + 1) % world, (r - first) % world, held[r][(r - first) % world]) for r in range(world)
            ]
            for sender, (to, place, piece) in enumerate(messages):
                held[to][place] = piece + (held[to][place] if phase == "add" else 0)
                sent[sender] += len(piece)
    return tuple(torch.cat([own[place] for place in range(world)]) for own in held), tuple(sent)


def _sent(count):
    """A wrong ring_all_reduce: each process sent count(processes, values of each)."""

    def wrong(values):
        world, size = len(values), len(values[0])
        return ring_all_reduce(values)[0], [count(world, size)] * world

    return wrong


BY_FORMULA = (
    "`sent` is right only if all pieces have the same size, but 7 values make pieces of 3, 2 and 2. Add up "
    "the sizes of the pieces that each process passes on."
)
RING_MISTAKES = [
    (
        "Each piece is complete in only one process. N - 1 more turns must pass the complete pieces round.",
        _ring(lambda world: world - 1, lambda turn, world: True),
    ),
    (
        "In the second half the pieces are complete. A receiver replaces its own piece, and adds nothing.",
        _ring(lambda world: 2 * (world - 1), lambda turn, world: True),
    ),
    (
        "A process that sends the same piece in each turn passes nothing on. In turn t, process r sends "
        "piece r - t.",
        _ring(
            lambda world: 2 * (world - 1), lambda turn, world: turn < world - 1, places=lambda r, t, world: r
        ),
    ),
    (
        "Process r sends to process r + 1, and the last one to process 0.",
        _ring(lambda world: 2 * (world - 1), lambda turn, world: turn < world - 1, shift=-1),
    ),
    (
        "In the second half, t continues: the turn after N - 2 is N - 1, and the piece sent is the complete "
        "one.",
        _ring(
            lambda world: 2 * (world - 1),
            lambda turn, world: turn < world - 1,
            places=lambda r, t, world: r - t % (world - 1),
        ),
    ),
    (
        "You make one turn too many: N - 1 turns complete the pieces, and N - 1 pass them round.",
        _ring(lambda world: 2 * world, lambda turn, world: turn < world),
    ),
    ("You send all to process 0, and from it to all: its link carries everything.", _everything_to_the_first),
    (
        "Every process sends everything to all others. In the ring, a process sends one piece per turn, to "
        "one neighbour.",
        _everybody_to_everybody,
    ),
    (
        "7 values do not split into 3 equal pieces, so view fails. Split with tensor_split.",
        _ring(cut=lambda value, world: value.view(world, -1)),
    ),
    (
        "chunk makes the last piece small, or makes fewer pieces than there are processes. Split with "
        "tensor_split.",
        _ring(cut=torch.chunk),
    ),
    (BY_FORMULA, _sent(lambda world, size: 2 * (world - 1) * (size // world))),
    (BY_FORMULA, _sent(lambda world, size: 2 * (world - 1) * size / world)),
    (BY_FORMULA, _sent(lambda world, size: 2 * (world - 1) * size // world)),
    (
        "`sent` should count values, but you count messages.",
        lambda values: (ring_all_reduce(values)[0], [2 * (len(values) - 1)] * len(values)),
    ),
    (
        "`sent` is the total of all processes. Return the number for each process.",
        lambda values: (ring_all_reduce(values)[0], [sum(ring_all_reduce(values)[1])] * len(values)),
    ),
    (
        "You divide the sums by the number of processes: that is the mean.",
        lambda values: (
            [each / len(values) for each in ring_all_reduce(values)[0]],
            ring_all_reduce(values)[1],
        ),
    ),
]

_compare_rings = compare(
    ring_all_reduce,
    lambda: [_processes(2, 2), _processes(3, 6), _processes(4, 12), _processes(5, 20), _processes(3, 7)],
    RING_MISTAKES,
    else_="After N - 1 turns of adding and N - 1 of replacing, every process has the sum. The pieces are "
    "those of tensor_split.",
    extremes=[("A single process already has the sum, and sends nothing.", lambda: [_processes(1, 3)])],
)


def _check_ring_all_reduce(fn):
    _compare_rings(fn)
    first, second, third = fn(*_processes(3, 7))[0]
    before = [second.clone(), third.clone()]
    first += 1
    if not identical([second, third], before):
        raise Mistake(
            "Several processes share one tensor: a change by one changes the sum of another. Return a copy "
            "for each."
        )


_check_ring_all_reduce.mistakes = _compare_rings.mistakes

EXERCISE = Exercise(
    name="ring_all_reduce",
    lesson="16",
    minutes=15,
    difficulty=3,
    reference=ring_all_reduce,
    check=_check_ring_all_reduce,
    wrong=[
        (lambda values: ([values[0]] * len(values), ring_all_reduce(values)[1]), "After N - 1 turns"),
        (lambda values: ring_all_reduce(values)[0], "should"),
        (lambda values: ([sum(values)] * len(values), ring_all_reduce(values)[1]), "share one tensor"),
        (lambda values: None, "Is there a return"),
    ],
    right=[_ring_in_two_loops, _ring_of_names, _one_after_the_other],
    hints=(
        "Keep a list of pieces for each process. In turn t, process r sends piece (r - t) % N to process (r "
        "+ 1) % N. Do not change the input tensors.",
        "In the first N - 1 turns, the neighbour adds the piece to its own piece of that index; in the next "
        "N - 1, it replaces its own. `sent` grows by the piece's values. torch.cat joins the pieces at the "
        "end.",
    ),
)
