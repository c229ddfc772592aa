"""Exercises of lesson 16: rows and gradients of several processes, what a card holds, waits for and costs."""

from __future__ import annotations

import numpy as np
import torch

from course_utils.checks.compare import Mistake, compare
from course_utils.checks.exercises import Exercise


def rows_of_process(rows, rank, world):
    """The numbers of the rows, of 0 to rows - 1, that process `rank` of `world` works on: a list."""
    return list(range(rank, rows, world))


def whole_batch_gradient(gradients, tokens):
    """Gradient of the mean loss over all tokens, from each process's gradient of its mean and its count."""
    return sum(gradient * count for gradient, count in zip(gradients, tokens, strict=True)) / sum(tokens)


def bytes_on_card(weights, gradients, moments, cards, stage):
    """Bytes on each card: stage 0 splits nothing, 1 the moments, 2 the gradients too, 3 the weights too."""
    held = moments / cards if stage >= 1 else moments
    held += gradients / cards if stage >= 2 else gradients
    return held + (weights / cards if stage >= 3 else weights)


def efficiency(compute, gradient_bytes, cards, gbit):
    """Share of a step that a card computes, compute in s, a link of gbit Gbit/s, nothing at the same time."""
    sent = 2 * gradient_bytes * (cards - 1) / cards
    return compute / (compute + 8 * sent / (gbit * 1e9))


def training_cost(parameters, tokens, tflops, utilisation, price):
    """Cost of full fine-tuning: 6 FLOP a parameter and token, price an hour of a card."""
    seconds = 6 * parameters * tokens / (tflops * 1e12 * utilisation)
    return seconds / 3600 * price


def _check_rows(fn):
    for rows, world in [(8, 2), (10, 4), (7, 3), (3, 3), (6, 1), (2, 5)]:
        parts = [fn(rows, rank, world) for rank in range(world)]
        for rank, part in enumerate(parts):
            if part is None:
                raise Mistake("The function returned None. Is there a return?")
            if isinstance(part, int):
                raise Mistake(f"Return the list of row numbers, not a single number ({part}).")
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


def _gradients(shape, *tokens):
    """A gradient of each process, and its tokens."""
    return [3 * torch.randn(shape) - 1 for _ in tokens], list(tokens)


def _weighted(fault):
    """A wrong whole_batch_gradient: fault(gradients [processes, ...], counts of the same rank, processes)."""

    def wrong(gradients, tokens):
        stack = torch.stack(gradients)
        counts = torch.tensor([float(count) for count in tokens]).view(-1, *[1] * gradients[0].dim())
        return fault(stack, counts, len(tokens))

    return wrong


def _summed_in_place(gradients, tokens):
    for gradient, count in zip(gradients, tokens, strict=True):
        gradient *= count
    return torch.stack(gradients).sum(0) / sum(tokens)


def _first_three(gradients, tokens):
    return (gradients[0] * tokens[0] + gradients[1] * tokens[1] + gradients[2] * tokens[2]) / sum(tokens[:3])


def _by_einsum(gradients, tokens):
    share = torch.tensor(tokens) / sum(tokens)
    return torch.einsum("p,p...->...", share, torch.stack(gradients))


def _added_up(gradients, tokens):
    total = torch.zeros_like(gradients[0])
    for gradient, count in zip(gradients, tokens, strict=True):
        total.add_(gradient, alpha=count)
    return total.div_(sum(tokens))


GRADIENT_MISTAKES = [
    (
        "That is the mean of the processes' gradients: a token in a short share counts for more than one in "
        "a long share.",
        _weighted(lambda stack, counts, world: stack.mean(0)),
    ),
    (
        "That is the sum of the processes' gradients: the step grows with their number.",
        _weighted(lambda stack, counts, world: stack.sum(0)),
    ),
    (
        "Weighted by tokens, and not divided by all of them: that is the gradient of the summed loss.",
        _weighted(lambda stack, counts, world: (stack * counts).sum(0)),
    ),
    (
        "Weighted by tokens, and divided by the number of processes: divide by all tokens.",
        _weighted(lambda stack, counts, world: (stack * counts).mean(0)),
    ),
    (
        "The weights are upside down: who has more tokens counts for less.",
        _weighted(lambda stack, counts, world: (stack / counts).sum(0) / (1 / counts).sum()),
    ),
    (
        "Each gradient is divided by its tokens once more: it is of a mean already. Multiply, then divide "
        "by all tokens.",
        _weighted(lambda stack, counts, world: (stack / counts).sum(0)),
    ),
    (
        "Divided by all tokens, but the gradients are not weighted: multiply each by its own count.",
        _weighted(lambda stack, counts, world: stack.sum(0) / counts.sum()),
    ),
    (
        "Weighted rightly, then divided by the number of processes too: the weights sum to 1 already.",
        _weighted(lambda stack, counts, world: (stack * counts).sum(0) / counts.sum() / world),
    ),
    (
        "These are the weighted gradients of each process. Add them up.",
        _weighted(lambda stack, counts, world: stack * counts / counts.sum()),
    ),
]


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
    return parts[:stage].sum() / cards + parts[stage:].sum()


def _bytes_by_cases(weights, gradients, moments, cards, stage):
    if stage == 0:
        return torch.tensor(weights + gradients + moments)
    if stage == 1:
        return weights + gradients + moments / cards
    return (weights if stage == 2 else weights / cards) + (gradients + moments) / cards


BYTES_MISTAKES = [
    (
        "Stage 0 splits nothing: every card holds everything, however many there are.",
        lambda w, g, m, n, stage: (w + g + m) / n,
    ),
    (
        "That is what all cards hold together. Asked for is what each holds.",
        lambda w, g, m, n, stage: (w + g + m) * n,
    ),
    (
        "That is what all cards hold together. Asked for is what each holds.",
        lambda w, g, m, n, stage: n * bytes_on_card(w, g, m, n, stage),
    ),
    (
        "At stage 1 you split the gradients, or the weights. The moments are split first.",
        lambda w, g, m, n, stage: bytes_on_card(m, g, w, n, stage),
    ),
    (
        "At stage 1 you split the gradients, or the weights. The moments are split first.",
        lambda w, g, m, n, stage: bytes_on_card(w, m, g, n, stage),
    ),
    (
        "Each stage keeps what the one before split: at stage 2 the moments are split too.",
        lambda w, g, m, n, stage: w + g + m - [0, m, g, w][stage] * (1 - 1 / n),
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


EFFICIENCY_INPUTS = [
    (2.0, 1e9, 4, 10),
    (0.5, 3.2e8, 16, 100),
    (0.07, 15_231_233_024, 2, 1),
    (3.0, 1e9, 1, 25),
]


def _sending(fault):
    """A wrong efficiency: fault(gradient_bytes, cards) is what a card sends, in bytes."""
    return lambda compute, size, cards, gbit: compute / (compute + 8 * fault(size, cards) / (gbit * 1e9))


def _by_speed(compute, gradient_bytes, cards, gbit):
    a_second = gbit * 1e9 / 8
    rounds = 2 * (cards - 1)
    return 1 / (1 + rounds * (gradient_bytes / cards) / a_second / compute)


def _by_the_rest(compute, gradient_bytes, cards, gbit):
    waiting = np.float64(16e-9) * gradient_bytes * (1 - 1 / cards) / gbit
    return 1 - waiting / (compute + waiting)


EFFICIENCY_MISTAKES = [
    (
        "A byte has 8 bits: the link is given in Gbit/s, the gradients in bytes.",
        _sending(lambda size, cards: 2 * size * (cards - 1) / cards / 8),
    ),
    (
        "Each value is sent twice: once to be added up, once as the sum. You count it once.",
        _sending(lambda size, cards: size * (cards - 1) / cards),
    ),
    (
        "A card sends (N - 1) / N of a whole round, not all of it: its own piece stays.",
        _sending(lambda size, cards: 2 * size),
    ),
    (
        "Every piece passes every card, but each card sends a piece of 1 / N of the bytes in each of "
        "2 (N - 1) turns.",
        _sending(lambda size, cards: 2 * size * (cards - 1)),
    ),
    (
        "That is the share that a card waits. Asked for is the share that it computes.",
        lambda *given: 1 - efficiency(*given),
    ),
    (
        "That is the step with sending over the step without, or how much longer it is: turn it over.",
        lambda *given: 1 / efficiency(*given),
    ),
    (
        "That is the step with sending over the step without, or how much longer it is: turn it over.",
        lambda *given: 1 / efficiency(*given) - 1,
    ),
    (
        "A Gbit is 1e9 bits, not 2 ** 30.",
        lambda compute, size, cards, gbit: efficiency(compute, size, cards, gbit * 2**30 / 1e9),
    ),
    (
        "That is the time of a step with all of its sending, in seconds. The share is compute over it.",
        lambda compute, *given: compute / efficiency(compute, *given),
    ),
]


COST_INPUTS = [
    (7e9, 1e9, 300, 0.4, 2.0),
    (124_439_808, 30_720_000, 82.5, 0.35, 0.5),
    (70e9, 2e8, 989, 0.55, 3.25),
]


def _cost_in_hours(parameters, tokens, tflops, utilisation, price):
    reached_an_hour = tflops * utilisation * 3.6e15
    return price * 2 * 3 * (parameters / reached_an_hour) * tokens


def _cost_with_numpy(parameters, tokens, tflops, utilisation, price):
    exa = np.float64(parameters) / 1e9 * tokens / 1e9 * 6
    return exa * 1e6 / (tflops * utilisation) / 3600 * price


COST_MISTAKES = [
    (
        "2 FLOP a parameter and token are the forward pass alone; the backward pass is twice that.",
        lambda *given: training_cost(*given) / 3,
    ),
    (
        "4 FLOP a parameter and token are the backward pass, or training with frozen weights. Here all are "
        "trained: 6.",
        lambda *given: training_cost(*given) * 4 / 6,
    ),
    (
        "The card never reaches the FLOP/s of its data sheet: divide by the utilisation too.",
        lambda p, t, f, u, m: training_cost(p, t, f, 1, m),
    ),
    (
        "The utilisation is a share of the card's speed: it makes the run longer, not shorter.",
        lambda p, t, f, u, m: training_cost(p, t, f, 1 / u, m),
    ),
    ("The price is for an hour, and you have seconds.", lambda *given: 3600 * training_cost(*given)),
    ("The price is for an hour, and you have minutes.", lambda *given: 60 * training_cost(*given)),
    ("That is the time. The price is missing.", lambda p, t, f, u, m: training_cost(p, t, f, u, 1)),
    ("That is the time. The price is missing.", lambda p, t, f, u, m: training_cost(p, t, f, u, 3600)),
    ("A TFLOP/s is 1e12 FLOP/s.", lambda *given: 1e12 * training_cost(*given)),
    ("A TFLOP/s is 1e12 FLOP/s.", lambda *given: 1e3 * training_cost(*given)),
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
            (lambda rows, rank, world: len(range(rank, rows, world)), "not a single number"),
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
        name="whole_batch_gradient",
        lesson="16",
        minutes=8,
        difficulty=2,
        reference=whole_batch_gradient,
        check=compare(
            whole_batch_gradient,
            lambda: [_gradients((3,), 2, 7, 3), _gradients((2, 4), 5, 1), _gradients((5,), 11, 2, 30, 4)],
            GRADIENT_MISTAKES,
            else_="Multiply each gradient by its tokens, add up, divide by all tokens.",
            extremes=[
                (
                    "A process without target tokens counts for nothing, and is no error.",
                    lambda: [_gradients((4,), 3, 0, 5)],
                )
            ],
        ),
        wrong=[
            (_summed_in_place, "changes its argument gradients in place"),
            (_first_three, "Your code stopped"),
            (lambda g, t: g[0], "Multiply each gradient by its tokens"),
            (lambda g, t: whole_batch_gradient(g, t).tolist(), "should be a tensor"),
            (lambda g, t: whole_batch_gradient(g, [max(count, 1) for count in t]), "counts for nothing"),
            (lambda g, t: None, "Is there a return"),
        ],
        right=[_by_einsum, _added_up],
        hints=(
            "Undo each process's division first: the gradient of its mean times its number of tokens is "
            "the gradient of its sum. Sums may be added, means may not.",
            "sum over processes of gradient * tokens, divided by the sum of tokens; a tensor of the "
            "gradients' shape.",
        ),
    ),
    Exercise(
        name="bytes_on_card",
        lesson="16",
        minutes=8,
        difficulty=1,
        reference=bytes_on_card,
        check=compare(
            bytes_on_card,
            BYTES_INPUTS,
            BYTES_MISTAKES,
            else_="Each part is whole on every card, or split over all of them; a card holds the sum.",
        ),
        wrong=[
            (lambda w, g, m, n, stage: bytes_on_card(w, g, m, n + 1, stage), "Each part is whole"),
            (lambda w, g, m, n, stage: bytes_on_card(w, g, m, 8, stage), "Each part is whole"),
            (
                lambda w, g, m, n, stage: bytes_on_card(w, g, m, n, stage) if stage else None,
                "Is there a return",
            ),
            (lambda w, g, m, n, stage: [w, g, m], "should be a number"),
        ],
        right=[_bytes_by_list, _bytes_by_cases],
        hints=(
            "Three parts, and each is either whole on every card or split over all of them. The moments "
            "are split from stage 1 on, the gradients from stage 2 on, the weights at stage 3.",
            "For each part: part / cards if stage >= 1 (moments), 2 (gradients), 3 (weights), else part. "
            "The sum of the three.",
        ),
    ),
    Exercise(
        name="efficiency",
        lesson="16",
        minutes=10,
        difficulty=2,
        reference=efficiency,
        check=compare(
            efficiency,
            EFFICIENCY_INPUTS,
            EFFICIENCY_MISTAKES,
            else_="A card sends 2 (cards - 1) / cards of the bytes, so one card alone sends nothing.",
        ),
        wrong=[
            (lambda c, g, n, b: 0.5, "A card sends"),
            (lambda c, g, n, b: efficiency(c, g, max(n, 2), b), "one card alone sends nothing"),
            (lambda c, g, n, b: None, "Is there a return"),
        ],
        right=[_by_speed, _by_the_rest],
        hints=(
            "A step without overlap is computing, then sending. The ring decides how many bytes a card "
            "sends, the link how long that takes.",
            "Bytes sent: 2 (cards - 1) / cards * gradient_bytes. Seconds: 8 * bytes / (gbit * 1e9). The "
            "share: compute / (compute + seconds).",
        ),
    ),
    Exercise(
        name="training_cost",
        lesson="16",
        minutes=8,
        difficulty=1,
        reference=training_cost,
        check=compare(
            training_cost,
            COST_INPUTS,
            COST_MISTAKES,
            else_="6 FLOP a parameter and token over the FLOP/s reached, in hours, times the price.",
        ),
        wrong=[
            (lambda *given: 4 / 3 * training_cost(*given), "6 FLOP a parameter and token"),
            (lambda *given: round(training_cost(*given)), "6 FLOP a parameter and token"),
            (lambda p, t, f, u, m: training_cost(p, t, f, 0.4, m), "6 FLOP a parameter and token"),
            (lambda *given: None, "Is there a return"),
        ],
        right=[_cost_in_hours, _cost_with_numpy],
        hints=(
            "A multiplication and an addition for each parameter and token make 2 FLOP in the forward "
            "pass; the backward pass needs twice that. FLOP over FLOP/s are seconds.",
            "6 * parameters * tokens FLOP; tflops * 1e12 * utilisation FLOP/s; seconds / 3600 * price. "
            "The number of cards drops out.",
        ),
    ),
]
