"""Exercises of lesson 16: rows and losses of several processes, a ring, a bug hunt, bytes and FLOP."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from course_utils.budget import training_flop
from course_utils.checks.compare import Mistake, call, compare, identical
from course_utils.checks.exercises import Exercise
from course_utils.lessons.lesson_16.scaling import bytes_on_card, ring_all_reduce
from course_utils.methods.distributed import process_loss, rows_of_process


def script_fault(rows, weights, tokens, divisors):
    """What is wrong with a script's first step, by its log of each process, or "right"."""
    everyone = sorted(row for part in rows for row in part)
    if everyone != list(range(len(everyone))):
        return "rows"
    if len(set(weights)) > 1:
        return "starts"
    if any(divisor != sum(tokens) for divisor in divisors):
        return "division"
    return "right"


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
                raise Mistake("Two calls give other rows. Nothing is drawn: each process computes its own.")
            parts[rank] = [int(row) for row in part]
        where = f"{rows} rows, {world} processes"
        numbers = sorted(row for part in parts for row in part)
        if any(row < 0 or row >= rows for row in numbers):
            raise Mistake(f"{where}: row {numbers[-1]} does not exist. Rows and ranks are counted from 0.")
        if world > 1 and all(len(part) == rows for part in parts):
            raise Mistake(f"{where}: every process has the whole batch. It is to be divided among them.")
        if len(numbers) > len(set(numbers)):
            twice = next(row for row in numbers if numbers.count(row) > 1)
            raise Mistake(f"{where}: row {twice} is given to more than one process, so it counts twice.")
        if missing := set(range(rows)) - set(numbers):
            raise Mistake(f"{where}: nobody has row {min(missing)}. What is left over must go somewhere.")
        sizes = [len(part) for part in parts]
        if max(sizes) - min(sizes) > 1:
            raise Mistake(
                f"{where}: the shares have {sizes} rows. All wait for the slowest, so the sizes "
                "should differ by one at the most."
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


LOSS_INPUTS = [
    call(torch.tensor(42.0), 70, 2, averaged=False),
    call(torch.tensor(42.0), 70, 2, averaged=True),
    call(torch.tensor(3.5), 1200, 8, averaged=True),
    call(torch.tensor(3.5), 1200, 8, averaged=False),
    call(torch.tensor(9.0), 36, 1, averaged=True),
]


def _loss_mean_first(loss, tokens, world, averaged=False):
    scale = {True: world, False: 1}[averaged]
    return loss.div(tokens / scale)


def _loss_by_cases(loss, tokens, world, averaged=False):
    if not averaged:
        return loss / tokens
    return sum(loss for _ in range(world)) / tokens


LOSS_MISTAKES = [
    (
        "You have the two cases the wrong way round: it is the average that divides by the number of "
        "processes.",
        lambda loss, tokens, world, averaged=False: process_loss(loss, tokens, world, not averaged),
    ),
    (
        "The loss is divided by the share of the tokens that a process has on average. Divide by all of "
        "them where gradients are added up.",
        lambda loss, tokens, world, averaged=False: loss / (tokens / world) * (world if averaged else 1),
    ),
    (
        "The number of processes is divided by where gradients are added up. The sum needs no factor.",
        lambda loss, tokens, world, averaged=False: loss / tokens / (1 if averaged else world),
    ),
    (
        "Where the gradients are averaged, each is divided by the number of processes afterwards. Multiply "
        "by it before.",
        lambda loss, tokens, world, averaged=False: loss / tokens,
    ),
    (
        "Where the gradients are added up, nothing is divided afterwards: there is no number of processes "
        "to undo.",
        lambda loss, tokens, world, averaged=False: loss * world / tokens,
    ),
    (
        "An average divides by the number of processes already. You divide by it once more: multiply.",
        lambda loss, tokens, world, averaged=False: loss / tokens / (world if averaged else 1),
    ),
    (
        "The summed loss is not divided by tokens at all: the step grows with the batch.",
        lambda loss, tokens, world, averaged=False: loss * (world if averaged else 1),
    ),
]


def _log(rows=((0, 2), (1, 3)), weights=(1.5, 1.5), tokens=(30, 20), divisors=(50, 50)):
    return [list(part) for part in rows], list(weights), list(tokens), list(divisors)


HUNT_INPUTS = [
    _log(),
    _log(divisors=(60, 40)),
    _log(divisors=(30, 20)),
    _log(divisors=(70, 30)),
    _log(weights=(1.5, 1.25)),
    _log(rows=((0, 1), (0, 1))),
    _log(rows=((0, 2), (1, 2))),
    _log(rows=((0, 1), (3, 4))),
    _log(rows=((0, 1), (0, 1)), weights=(1.5, 1.25), divisors=(60, 40)),
    _log(weights=(1.5, 1.25), divisors=(60, 40)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.5, 0.5), (10, 10, 10), (30, 30, 30)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.5, 0.75), (10, 10, 10), (30, 30, 30)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.5, 0.5), (10, 12, 8), (30, 36, 24)),
    _log(((3, 0), (4, 1), (5, 2)), (0.5, 0.5, 0.5), (10, 12, 8), (30, 30, 30)),
    _log(tokens=(25, 25), divisors=(25, 25)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.75, 0.5), (10, 10, 10), (30, 30, 30)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.5, 0.5), (10, 12, 8), (30, 24, 30)),
    _log(((0, 3), (1, 4), (2, 5)), (0.5, 0.5, 0.5), (10, 12, 8), (30, 36, 30)),
    _log(rows=((0, 3), (0, 3))),
    _log(((0, 1), (2,), (0, 3)), (0.5, 0.5, 0.5), (10, 12, 8), (30, 30, 30)),
    _log(((0, 3), (1, 4), (2, 5)), (1.5, 1.0, 2.0), (10, 12, 8), (30, 30, 30)),
]


def _hunt_by_sets(rows, weights, tokens, divisors):
    dealt = [row for part in rows for row in part]
    faults = {
        "rows": set(dealt) != set(range(len(dealt))),
        "starts": max(weights) != min(weights),
        "division": set(divisors) != {sum(tokens)},
        "right": True,
    }
    return next(name for name, found in faults.items() if found)


def _hunt_with_numpy(rows, weights, tokens, divisors):
    if not np.array_equal(np.sort(np.concatenate(rows)), np.arange(sum(map(len, rows)))):
        return "rows"
    if np.ptp(weights) > 0:
        return "starts"
    return "right" if np.all(np.array(divisors) == np.sum(tokens)) else "division"


def _skipping(*skipped):
    """A wrong script_fault that does not look for these."""

    def wrong(rows, weights, tokens, divisors):
        if "rows" in skipped:
            rows = [[index] for index in range(len(rows))]
        if "starts" in skipped:
            weights = weights[:1]
        return script_fault(rows, weights, tokens, divisors)

    return wrong


HUNT_MISTAKES = [
    ("That is always the same answer, whatever the log says.", lambda *log: "right"),
    ("That is always the same answer, whatever the log says.", lambda *log: "division"),
    (
        "Nobody may leave a row out, and nobody may take one that another has. You do not look at all of "
        "that.",
        _skipping("rows"),
    ),
    (
        "You count the rows that are dealt out twice. One that nobody has is a fault too.",
        lambda rows, *rest: (
            "rows"
            if len({r for p in rows for r in p}) < sum(map(len, rows))
            else _skipping("rows")(rows, *rest)
        ),
    ),
    (
        "You only look for rows that nobody has. One that two processes have is a fault too.",
        lambda rows, *rest: (
            "rows"
            if (dealt := {row for part in rows for row in part}) != set(range(max(dealt) + 1))
            else _skipping("rows")(rows, *rest)
        ),
    ),
    (
        "You compare a sum of the rows. Other rows have the same sum, as 0 and 3 taken twice: compare the "
        "sorted rows themselves with 0, 1, 2 and so on.",
        lambda rows, *rest: (
            "rows"
            if sum(map(sum, rows)) != sum(range(sum(map(len, rows))))
            else _skipping("rows")(rows, *rest)
        ),
    ),
    (
        "You compare each process with the next one. Any two may have the same row: sort the rows of all "
        "together.",
        lambda rows, *rest: (
            "rows"
            if any(set(a) & set(b) for a, b in itertools.pairwise(rows))
            or len({row for part in rows for row in part}) <= max(row for part in rows for row in part)
            else _skipping("rows")(rows, *rest)
        ),
    ),
    ("Processes that start from other weights are a fault: compare them.", _skipping("starts")),
    (
        "You compare the first process with the second. There may be more.",
        lambda rows, weights, tokens, divisors: script_fault(rows, weights[:2], tokens, divisors),
    ),
    (
        "You compare the mean of the weights. One process may be above it and another below: compare the "
        "weights of all.",
        lambda rows, weights, *rest: script_fault(rows, [weights[0], sum(weights) / len(weights)], *rest),
    ),
    (
        "Every divisor has to be the number of target tokens of all processes. They are not right because "
        "their sum is.",
        lambda rows, weights, tokens, divisors: script_fault(
            rows, weights, tokens, [sum(tokens) if sum(divisors) == len(rows) * sum(tokens) else 0]
        ),
    ),
    (
        "Equal divisors can all be wrong. Compare each with the target tokens of all processes.",
        lambda rows, weights, tokens, divisors: script_fault(
            rows, weights, tokens, [sum(tokens)] * 2 if len(set(divisors)) == 1 else divisors
        ),
    ),
    (
        "A process that divides by its own tokens, times the number of processes, averages the means. You "
        "take that for right.",
        lambda rows, weights, tokens, divisors: script_fault(
            rows,
            weights,
            tokens,
            [
                sum(tokens) if divisor in (sum(tokens), own * len(tokens)) else 0
                for own, divisor in zip(tokens, divisors, strict=True)
            ],
        ),
    ),
    (
        "Say the first fault in this order: rows, starts, division.",
        lambda rows, weights, tokens, divisors: (
            "division"
            if any(d != sum(tokens) for d in divisors)
            else script_fault(rows, weights, tokens, divisors)
        ),
    ),
    (
        "Say the first fault in this order: rows, starts, division.",
        lambda rows, weights, *rest: (
            "starts" if len(set(weights)) > 1 else script_fault(rows, weights, *rest)
        ),
    ),
]


def _processes(world, size):
    """A tensor of each process, in double precision."""
    return ([torch.randn(size, dtype=torch.float64) for _ in range(world)],)


def _ring(
    turns=lambda world: 2 * (world - 1),
    added=lambda turn, world: turn < world - 1,
    shift=1,
    places=lambda rank, turn, world: rank - turn,
    cut=torch.tensor_split,
):
    """A wrong ring: so many turns, of which those that `added` names add; pieces go `shift` processes on.

    cut: what cuts a tensor into pieces.
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
    """Right: nobody passes on in a turn what comes in during that turn."""
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
    """A wrong ring_all_reduce: count(processes, values of each) is what each sent."""

    def wrong(values):
        world, size = len(values), len(values[0])
        return ring_all_reduce(values)[0], [count(world, size)] * world

    return wrong


BY_FORMULA = (
    "`sent` is right only where all pieces have one size, and 7 values make pieces of 3, 2 and 2. Add up the "
    "sizes of the pieces that each process passes on."
)
RING_MISTAKES = [
    (
        "Each piece is complete at one process only. N - 1 more turns have to hand the complete pieces "
        "round.",
        _ring(lambda world: world - 1, lambda turn, world: True),
    ),
    (
        "In the second half the pieces are complete. Who gets one takes it over, and adds nothing.",
        _ring(lambda world: 2 * (world - 1), lambda turn, world: True),
    ),
    (
        "A process that sends the same piece in each turn passes nothing on. In turn t process r sends "
        "piece r - t.",
        _ring(
            lambda world: 2 * (world - 1), lambda turn, world: turn < world - 1, places=lambda r, t, world: r
        ),
    ),
    (
        "Process r passes on to process r + 1, the last one to process 0.",
        _ring(lambda world: 2 * (world - 1), lambda turn, world: turn < world - 1, shift=-1),
    ),
    (
        "In the second half t is counted on: the turn after N - 2 is N - 1, and the piece passed on is the "
        "complete one.",
        _ring(
            lambda world: 2 * (world - 1),
            lambda turn, world: turn < world - 1,
            places=lambda r, t, world: r - t % (world - 1),
        ),
    ),
    (
        "There is a turn too many: N - 1 turns complete the pieces, and N - 1 hand them round.",
        _ring(lambda world: 2 * world, lambda turn, world: turn < world),
    ),
    ("That is all to process 0, and from it to all: its link carries everything.", _everything_to_the_first),
    (
        "Here everybody sends everything to everybody. In the ring a process sends one piece a turn, to one "
        "neighbour.",
        _everybody_to_everybody,
    ),
    (
        "7 values make no 3 pieces of one size, and view stops there. Cut with tensor_split.",
        _ring(cut=lambda value, world: value.view(world, -1)),
    ),
    (
        "chunk makes the last piece small, or makes fewer pieces than there are processes. Cut with "
        "tensor_split.",
        _ring(cut=torch.chunk),
    ),
    (BY_FORMULA, _sent(lambda world, size: 2 * (world - 1) * (size // world))),
    (BY_FORMULA, _sent(lambda world, size: 2 * (world - 1) * size / world)),
    (
        "`sent` is to count values, and you count messages.",
        lambda values: (ring_all_reduce(values)[0], [2 * (len(values) - 1)] * len(values)),
    ),
    (
        "`sent` has the total of all processes. Give the number for each.",
        lambda values: (ring_all_reduce(values)[0], [sum(ring_all_reduce(values)[1])] * len(values)),
    ),
    (
        "The sums are divided by the number of processes: that is the mean.",
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
    else_="After N - 1 turns of adding and N - 1 of taking over everybody has the sum. The pieces are "
    "those of tensor_split.",
    extremes=[("One process alone has the sum, and sends nothing.", lambda: [_processes(1, 3)])],
)


def _check_ring_all_reduce(fn):
    _compare_rings(fn)
    first, second, third = fn(*_processes(3, 7))[0]
    before = [second.clone(), third.clone()]
    first += 1
    if not identical([second, third], before):
        raise Mistake(
            "Several processes share one tensor: what one does with its sum changes that of another. Return "
            "a copy for each."
        )


_check_ring_all_reduce.mistakes = _compare_rings.mistakes

BYTES_INPUTS = [
    (weights, gradients, moments, cards, stage)
    for weights, gradients, moments, cards in [
        (4e9, 4e9, 8e9, 8),
        (14e9, 0.1e9, 0.2e9, 4),
        (3_000_000_000, 500_000_000, 700_000_000, 3),
        (2e9, 1e9, 5e9, 1),
    ]
    for stage in range(4)
]


def _bytes_by_list(weights, gradients, moments, cards, stage):
    parts = np.array([moments, gradients, weights])
    buckets = gradients * (cards > 1 and stage < 2)
    return parts[:stage].sum() / cards + parts[stage:].sum() + buckets


def _bytes_by_cases(weights, gradients, moments, cards, stage):
    if cards == 1:
        return torch.tensor(weights + gradients + moments)
    return {
        0: weights + 2 * gradients + moments,
        1: weights + 2 * gradients + moments / cards,
        2: weights + (gradients + moments) / cards,
        3: (weights + gradients + moments) / cards,
    }[stage]


def _once(weights, gradients, moments, cards, stage):
    """Wrong: without the buckets."""
    held = moments / cards if stage >= 1 else moments
    held += gradients / cards if stage >= 2 else gradients
    return held + (weights / cards if stage >= 3 else weights)


BYTES_MISTAKES = [
    (
        "DDP keeps the gradients twice, once in the buckets that it sends: at stages 0 and 1, on several "
        "cards.",
        _once,
    ),
    (
        "One card alone sends nothing, and needs no buckets.",
        lambda w, g, m, n, stage: _once(w, g, m, n, stage) + (g if stage < 2 else 0),
    ),
    (
        "At stages 2 and 3 nobody has whole gradients: there is no second copy of them.",
        lambda w, g, m, n, stage: _once(w, g, m, n, stage) + (g if n > 1 else 0),
    ),
    (
        "At stage 1 the gradients are still added up whole: the buckets are there too.",
        lambda w, g, m, n, stage: _once(w, g, m, n, stage) + (g if n > 1 and stage == 0 else 0),
    ),
    (
        "Stage 0 splits nothing: every card holds everything, however many there are.",
        lambda w, g, m, n, stage: (w + g + m) / n,
    ),
    (
        "That is what all cards hold together. Asked for is what each holds.",
        lambda w, g, m, n, stage: n * bytes_on_card(w, g, m, n, stage),
    ),
    (
        "At stage 1 you split the weights. The moments are split first.",
        lambda w, g, m, n, stage: bytes_on_card(m, g, w, n, stage),
    ),
    (
        "At stage 1 you split the gradients. The moments are split first.",
        lambda w, g, m, n, stage: _once(w, m, g, n, stage) + (g if n > 1 and stage < 2 else 0),
    ),
    (
        "Each stage keeps what the one before split: at stage 2 the moments are split too.",
        lambda w, g, m, n, stage: (
            w + g + m - [0, m, g, w][stage] * (1 - 1 / n) + (g if n > 1 and stage < 2 else 0)
        ),
    ),
    (
        "Every stage is one too late: stage 1 splits the moments.",
        lambda w, g, m, n, stage: bytes_on_card(w, g, m, n, max(stage - 1, 0)),
    ),
    (
        "At stage 3 the weights are split too.",
        lambda w, g, m, n, stage: bytes_on_card(w, g, m, n, min(stage, 2)),
    ),
    (
        "The sizes of weights, gradients and moments are independent: with LoRA the weights are nearly all.",
        lambda w, g, m, n, stage: bytes_on_card(w, w, 2 * w, n, stage),
    ),
]


FLOP_INPUTS = [
    (parameters, tokens, frozen, checkpointing)
    for parameters, tokens in [(7e9, 1e6), (124_439_808, 30_720)]
    for frozen in (False, True)
    for checkpointing in (False, True)
]


def _flop_by_table(parameters, tokens, frozen=False, checkpointing=False):
    a_token = {(False, False): 6, (False, True): 8, (True, False): 4, (True, True): 6}
    return a_token[bool(frozen), bool(checkpointing)] * parameters * tokens


def _flop_in_passes(parameters, tokens, frozen=False, checkpointing=False):
    forward = 2.0 * parameters * tokens
    backward = forward if frozen else 2 * forward
    return np.float64(forward * (2 if checkpointing else 1) + backward)


def _flop(forward=2, backward=4, backward_frozen=2, again=2):
    """training_flop with other numbers for its parts."""
    return lambda p, t, frozen=False, checkpointing=False: (
        p * t * (forward + (backward_frozen if frozen else backward) + (again if checkpointing else 0))
    )


FLOP_MISTAKES = [
    (
        "You have frozen and trained the wrong way round.",
        lambda p, t, frozen=False, checkpointing=False: training_flop(p, t, not frozen, checkpointing),
    ),
    (
        "A multiplication and an addition for each parameter and token make 2 FLOP: you count one.",
        _flop(1, 2, 1, 1),
    ),
    (
        "With frozen weights the backward pass still has to reach the adapters below: it makes the "
        "gradients of the activations, 2 FLOP.",
        _flop(backward_frozen=0),
    ),
    (
        "Frozen weights need no gradients of their own: half of the backward pass falls away.",
        _flop(backward_frozen=4),
    ),
    ("Checkpointing makes the forward pass again. You leave it out.", _flop(again=0)),
    (
        "The forward pass that checkpointing repeats is 2 FLOP a parameter and token. A third more is right "
        "for full fine-tuning alone: 2 of 6. With frozen weights it is 2 of 4.",
        lambda p, t, frozen=False, checkpointing=False: (
            training_flop(p, t, frozen) * (4 / 3 if checkpointing else 1)
        ),
    ),
    (
        "The forward pass that checkpointing repeats is 2 FLOP a parameter and token. A half more is right "
        "with frozen weights alone: 2 of 4. In full fine-tuning it is 2 of 6.",
        lambda p, t, frozen=False, checkpointing=False: (
            training_flop(p, t, frozen) * (3 / 2 if checkpointing else 1)
        ),
    ),
    ("Checkpointing repeats the forward pass, not the backward pass.", _flop(again=4)),
    (
        "The backward pass makes two products where the forward pass makes one: 4 FLOP if all weights are "
        "trained.",
        _flop(backward=2),
    ),
    ("That is the forward pass alone.", lambda p, t, frozen=False, checkpointing=False: 2 * p * t),
]


EXERCISES = [
    Exercise(
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
                "nobody has row",
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
            (lambda rows, rank, world: [], "nobody has row"),
            (lambda rows, rank, world: None, "Is there a return"),
        ],
        right=[
            _blocks,
            lambda rows, rank, world: [row for row in range(rows) if row % world == rank],
            lambda rows, rank, world: torch.arange(rows)[rank::world],
        ],
        hints=(
            "Deal the rows out like cards: the first to process 0, the next to process 1, and so on. What "
            "is left over at the end then goes to different processes by itself.",
            "Process rank starts at row rank and takes every world-th: a range with a step.",
        ),
    ),
    Exercise(
        name="process_loss",
        lesson="16",
        minutes=6,
        difficulty=2,
        reference=process_loss,
        check=compare(
            process_loss,
            LOSS_INPUTS,
            LOSS_MISTAKES,
            else_="loss / tokens where gradients are added up; world times that where they are averaged.",
            gradient=["loss"],
        ),
        wrong=[
            (lambda loss, tokens, world, averaged=False: 0 * loss, "loss / tokens where"),
            (
                lambda loss, tokens, world, averaged=False: process_loss(
                    loss, tokens, world, averaged
                ).item(),
                "graph",
            ),
            (
                lambda loss, tokens, world, averaged=False: process_loss(
                    loss.detach(), tokens, world, averaged
                ),
                "graph",
            ),
            (lambda loss, tokens, world, averaged=False: None, "Is there a return"),
        ],
        right=[_loss_mean_first, _loss_by_cases],
        hints=(
            "The gradient of a sum is the sum of the gradients. The mean loss of the whole batch is a sum "
            "over its processes, divided by a number that all of them know.",
            "Divide the summed loss by the target tokens of all. If the wrapper averages, it divides the "
            "sum of the gradients by world: multiply by world before.",
        ),
    ),
    Exercise(
        name="script_fault",
        lesson="16",
        minutes=8,
        difficulty=2,
        reference=script_fault,
        check=compare(
            script_fault,
            HUNT_INPUTS,
            HUNT_MISTAKES,
            else_="Look at the rows of all together, then at the starts, then at every divisor.",
        ),
        wrong=[
            (lambda rows, weights, tokens, divisors: "rows", "Look at the rows"),
            (
                lambda rows, weights, *rest: script_fault(rows, [weights[0], weights[-1]], *rest),
                "Look at the rows",
            ),
            (lambda *log: script_fault(*log[:3], log[3][-1:]), "Look at the rows"),
            (lambda *log: script_fault(*log[:3], [max(log[3])]), "Look at the rows"),
            (lambda *log: script_fault(*log[:3], [min(log[3])]), "Look at the rows"),
            (lambda rows, weights, tokens, divisors: None, "Is there a return"),
        ],
        right=[_hunt_by_sets, _hunt_with_numpy],
        hints=(
            "Three tests, one after the other: do the rows of all, sorted, run from 0 on? Do all start with "
            "the same number? Does each divide by the sum of the tokens?",
            "sorted(row for part in rows for row in part) against list(range(...)); len(set(weights)); "
            "every divisor against sum(tokens). Return the name of the first that fails.",
        ),
    ),
    Exercise(
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
            "Keep a list of pieces for each process. In turn t process r passes piece (r - t) % N on to "
            "process (r + 1) % N. Do not change the tensors that were given.",
            "In the first N - 1 turns the neighbour adds the piece to its own of that place; in the next N "
            "- 1 it replaces its own. `sent` grows by the piece's values. torch.cat joins the pieces at the "
            "end.",
        ),
    ),
    Exercise(
        name="bytes_on_card",
        lesson="16",
        minutes=8,
        difficulty=2,
        reference=bytes_on_card,
        check=compare(
            bytes_on_card,
            BYTES_INPUTS,
            BYTES_MISTAKES,
            else_="Each part is whole on every card, or split over all of them; a card holds the sum, and "
            "at stages 0 and 1 of several cards the gradients once more.",
        ),
        wrong=[
            (lambda w, g, m, n, stage: w + g + m, "Each part is whole"),
            (lambda w, g, m, n, stage: None, "Is there a return"),
        ],
        right=[_bytes_by_list, _bytes_by_cases],
        hints=(
            "Look at each of the three parts alone: from which stage on is it split? The moments from stage "
            "1 on, the gradients from stage 2 on, the weights at stage 3. Then the buckets.",
            "For each part: part / cards if stage >= 1 (moments), 2 (gradients), 3 (weights), else part. "
            "Add the gradients once more if cards > 1 and stage < 2.",
        ),
    ),
    Exercise(
        name="training_flop",
        lesson="16",
        minutes=6,
        difficulty=1,
        reference=training_flop,
        check=compare(
            training_flop,
            FLOP_INPUTS,
            FLOP_MISTAKES,
            else_="2 FLOP a parameter and token a product: forward, one or two backward, forward again.",
        ),
        wrong=[
            (
                lambda p, t, frozen=False, checkpointing=False: 6 * p * t,
                "2 FLOP a parameter and token a product",
            ),
            (lambda p, t, frozen=False, checkpointing=False: None, "Is there a return"),
        ],
        right=[_flop_by_table, _flop_in_passes],
        hints=(
            "Count products of the weights: the forward pass makes one. The backward pass makes one for the "
            "gradients of the activations, and one for the gradients of the weights, if they are wanted.",
            "2 * parameters * tokens * (1 + (1 if frozen else 2) + (1 if checkpointing else 0)).",
        ),
    ),
]
