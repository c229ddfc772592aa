"""Exercises of lesson 16: rows and gradients of several processes, what a card holds, waits for and costs."""

from __future__ import annotations

import torch

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor


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
    for rows, world in [(8, 2), (10, 4), (7, 3), (3, 3)]:
        parts = [fn(rows, rank, world) for rank in range(world)]
        for rank, part in enumerate(parts):
            if part is None:
                raise Mistake("The function returned None. Is there a return?")
            if isinstance(part, int):
                raise Mistake(f"Return the list of row numbers, not a single number ({part}).")
            parts[rank] = [int(row) for row in part]
        where = f"{rows} rows, {world} processes"
        numbers = sorted(row for part in parts for row in part)
        if any(row < 0 or row >= rows for row in numbers):
            raise Mistake(f"{where}: row {numbers[-1]} does not exist. Rows and ranks are counted from 0.")
        if all(len(part) == rows for part in parts):
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


def _check_gradient(fn):
    gradients = [torch.tensor(values) for values in ([1.0, -2.0, 4.0], [3.0, 0.0, 0.5], [-1.0, 2.0, 2.0])]
    tokens = [2, 7, 3]
    kept = [gradient.clone() for gradient in gradients]
    got = expect_tensor(fn(gradients, tokens), (3,))
    if not all(torch.equal(a, b) for a, b in zip(gradients, kept, strict=True)):
        raise Mistake("Your function changes the gradients that it was given. Add to a tensor of your own.")
    stack, counts = torch.stack(gradients), torch.tensor(tokens, dtype=torch.float32)[:, None]
    wrong = {
        "That is the mean of the processes' gradients: a token in a short share counts for more than one in "
        "a long share.": stack.mean(0),
        "That is the sum of the processes' gradients: the step grows with their number.": stack.sum(0),
        "Weighted by tokens, and not divided by all of them: that is the gradient of the summed loss.": (
            stack * counts
        ).sum(0),
        "Weighted by tokens, and divided by the number of processes: divide by all tokens.": (
            stack * counts
        ).mean(0),
        "The weights are upside down: who has more tokens counts for less.": (stack / counts).sum(0)
        / (1 / counts).sum(),
    }
    for message, value in wrong.items():
        if close(got, value):
            raise Mistake(message)
    right = (stack * counts).sum(0) / counts.sum()
    if not close(got, right):
        raise Mistake(
            f"Expected {right.tolist()} for gradients of shares with {tokens} tokens, got {got.tolist()}."
        )


def _number(value):
    if value is None:
        raise Mistake("The function returned None. Is there a return?")
    if isinstance(value, bool) or not isinstance(value, int | float | torch.Tensor):
        raise Mistake(f"Return a number, not a {type(value).__name__}.")
    return float(value)


def _check_bytes(fn):
    got = {stage: _number(fn(4e9, 4e9, 8e9, 8, stage)) for stage in range(4)}
    if close(got[0] / 1e9, 16 / 8):
        raise Mistake("Stage 0 splits nothing: every card holds everything, however many there are.")
    if close(got[0] / 1e9, 16 * 8):
        raise Mistake("That is what all cards hold together. Asked for is what each holds.")
    if close(got[1] / 1e9, 12 + 4 / 8):
        raise Mistake("At stage 1 you split the gradients, or the weights. The moments are split first.")
    if close(got[1] / 1e9, 8 + 8 / 8) and close(got[2] / 1e9, 4 + 8 + 4 / 8):
        raise Mistake("Each stage keeps what the one before split: at stage 2 the moments are split too.")
    if close(got[3] / 1e9, 4 + 4 + 8 / 8) or close(got[3], got[2]):
        raise Mistake("At stage 3 the weights are split too.")
    lora = _number(fn(14e9, 0.1e9, 0.2e9, 4, 2))
    expected = {0: 16.0, 1: 9.0, 2: 5.5, 3: 2.0}
    for stage, value in expected.items():
        if not close(got[stage] / 1e9, value):
            raise Mistake(
                f"4 GB of weights, 4 of gradients and 8 of moments on 8 cards at stage {stage}: "
                f"each holds {value} GB, you have {got[stage] / 1e9:.4g}."
            )
    if not close(lora / 1e9, 14.075):
        raise Mistake(
            "The sizes of weights, gradients and moments are independent (with LoRA the weights "
            f"are nearly all): 14, 0.1 and 0.2 GB on 4 cards at stage 2 make 14.075 GB, not "
            f"{lora / 1e9:.4g}."
        )


def _check_efficiency(fn):
    got = _number(fn(2.0, 1e9, 4, 10))
    right = 2 / (2 + 1.2)
    wrong = {
        "A byte has 8 bits: the link is given in Gbit/s, the gradients in bytes.": 2 / (2 + 0.15),
        "Each value is sent twice: once to be added up, once as the sum. You count it once.": 2 / (2 + 0.6),
        "A card sends (N - 1) / N of a whole round, not all of it: its own piece stays.": 2 / (2 + 1.6),
        "Every piece passes every card, but each card sends a piece of 1 / N of the bytes in each of "
        "2 (N - 1) turns.": 2 / (2 + 4.8),
        "That is the share that a card waits. Asked for is the share that it computes.": 1.2 / 3.2,
        "That is the step with sending over the step without, or how much longer it is: turn it over.": 1.6,
    }
    for message, value in wrong.items():
        if close(got, value):
            raise Mistake(message)
    if not close(got, right):
        raise Mistake(
            "2 s of computing, 1 GB of gradients, 4 cards, 10 Gbit/s: the card computes for "
            f"{right:.4f} of the step, you have {got:.4f}."
        )
    if not close(_number(fn(2.0, 1e9, 1, 10)), 1.0):
        raise Mistake("One card alone sends nothing, so its efficiency is 1.")


def _check_cost(fn):
    got = _number(fn(7e9, 1e9, 300, 0.4, 2.0))
    right = 6 * 7e18 / (300e12 * 0.4) / 3600 * 2
    wrong = {
        "2 FLOP a parameter and token are the forward pass alone; the backward pass is twice that.": right
        / 3,
        "The card never reaches the FLOP/s of its data sheet: divide by the utilisation too.": right * 0.4,
        "The utilisation is a share of the card's speed: it makes the run longer, not shorter.": right * 0.16,
        "The price is for an hour, and you have seconds.": right * 3600,
        "That is the time. The price is missing.": right / 2,
        "A TFLOP/s is 1e12 FLOP/s.": right * 1e12,
    }
    for message, value in wrong.items():
        if abs(got / value - 1) < 1e-4:
            raise Mistake(message)
    if abs(got / right - 1) > 1e-4:
        raise Mistake(
            f"7e9 parameters, 1e9 tokens, 300 TFLOP/s of which 40% are reached, 2.00 an hour: "
            f"{right:.2f}, you have {got:.4g}."
        )


def _contiguous(rows, rank, world):
    size = rows // world
    return list(range(rank * size, rows if rank == world - 1 else (rank + 1) * size))


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
            (lambda rows, rank, world: list(range(rank, rank + rows // world + 1)), "more than one process"),
            (lambda rows, rank, world: list(range(rank + 1, rows + 1, world)), "does not exist"),
            (lambda rows, rank, world: len(range(rank, rows, world)), "not a single number"),
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
        check=_check_gradient,
        wrong=[
            (lambda g, t: torch.stack(g).mean(0), "mean of the processes' gradients"),
            (lambda g, t: torch.stack(g).sum(0), "sum of the processes' gradients"),
            (lambda g, t: sum(a * b for a, b in zip(g, t, strict=True)), "not divided by all of them"),
            (lambda g, t: sum(a * b for a, b in zip(g, t, strict=True)) / len(t), "number of processes"),
            (
                lambda g, t: sum(a / b for a, b in zip(g, t, strict=True)) / sum(1 / b for b in t),
                "upside down",
            ),
            (
                lambda g, t: g[0].mul_(t[0]).add_(g[1], alpha=t[1]).add_(g[2], alpha=t[2]).div_(sum(t)),
                "changes the gradients",
            ),
            (lambda g, t: g[0], "Expected"),
        ],
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
        check=_check_bytes,
        wrong=[
            (lambda w, g, m, n, stage: (w + g + m) / n, "Stage 0 splits nothing"),
            (lambda w, g, m, n, stage: (w + g + m) * n, "all cards hold together"),
            (lambda w, g, m, n, stage: bytes_on_card(m, g, w, n, stage), "moments are split first"),
            (
                lambda w, g, m, n, stage: w + g + m - [0, m, g, w][stage] * (1 - 1 / n),
                "keeps what the one before split",
            ),
            (lambda w, g, m, n, stage: bytes_on_card(w, g, m, n, min(stage, 2)), "weights are split too"),
            (lambda w, g, m, n, stage: bytes_on_card(w, w, 2 * w, n, stage), "independent"),
            (lambda w, g, m, n, stage: bytes_on_card(w, g, m, n + 1, stage), "each holds"),
        ],
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
        check=_check_efficiency,
        wrong=[
            (lambda c, g, n, b: efficiency(c, g / 8, n, b), "8 bits"),
            (lambda c, g, n, b: efficiency(c, g / 2, n, b), "You count it once"),
            (lambda c, g, n, b: c / (c + 16 * g / (b * 1e9)), "its own piece stays"),
            (lambda c, g, n, b: c / (c + 16 * (n - 1) * g / (b * 1e9)), "1 / N of the bytes"),
            (lambda c, g, n, b: 1 - efficiency(c, g, n, b), "share that a card waits"),
            (lambda c, g, n, b: 1 / efficiency(c, g, n, b), "turn it over"),
            (lambda c, g, n, b: 0.5, "computes for"),
        ],
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
        check=_check_cost,
        wrong=[
            (lambda p, t, f, u, m: training_cost(p, t, f, u, m) / 3, "forward pass alone"),
            (lambda p, t, f, u, m: training_cost(p, t, f, 1, m), "divide by the utilisation"),
            (lambda p, t, f, u, m: training_cost(p, t, f, 1 / u, m), "makes the run longer"),
            (lambda p, t, f, u, m: 3600 * training_cost(p, t, f, u, m), "price is for an hour"),
            (lambda p, t, f, u, m: training_cost(p, t, f, u, 1), "price is missing"),
            (lambda p, t, f, u, m: 1e12 * training_cost(p, t, f, u, m), "1e12 FLOP/s"),
            (lambda p, t, f, u, m: 4 / 3 * training_cost(p, t, f, u, m), "you have"),
        ],
        hints=(
            "A multiplication and an addition for each parameter and token make 2 FLOP in the forward "
            "pass; the backward pass needs twice that. FLOP over FLOP/s are seconds.",
            "6 * parameters * tokens FLOP; tflops * 1e12 * utilisation FLOP/s; seconds / 3600 * price. "
            "The number of cards drops out.",
        ),
    ),
]
