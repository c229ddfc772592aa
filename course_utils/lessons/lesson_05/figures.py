"""Three adapters on one base; an adapter's files; a batch of several; sums; a moved start; places."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import torch

from course_utils import plots
from course_utils.drawing import CELL_WIDTH, ROOM, Picture, shown_number


def one_base(frozen: int, adapters: Mapping[str, int], answers: Mapping[str, str]) -> None:
    """The frozen base, beside it its adapters and what each of them answers: {name: trained values}."""
    picture = Picture("What do three adapters share, and what is each one's own?")
    y, high, step, edge = picture.bottom + 0.5, 4.6, 5.2, 0.6
    whole = step * (len(adapters) - 1) + high
    text = picture.box(0, y, 17.4, 1.6, "one question", "data")
    pairs = picture.box(0, text.bottom + 1.2, 17.4, whole + 2 * edge, "")
    top = pairs.y + edge
    picture.arrow((pairs.right / 2, text.bottom), (pairs.right / 2, pairs.y))
    base = picture.box(edge, top, 7.3, whole, f"the base:\n{frozen:,} weights", "frozen")
    for number, (name, values) in enumerate(adapters.items()):
        own = picture.box(9.3, top + step * number, 7.5, high, f"{name}:\n{values:,} values", "trained")
        answer = picture.box(
            pairs.right + 1.2, own.y, ROOM - pairs.right - 1.2, high, _in_short(answers[name])
        )
        middle = own.y + high / 2
        picture.text((base.right + own.x) / 2, middle, "+", "center")
        picture.arrow((pairs.right, middle), (answer.x, middle))
    picture.key()


def in_the_folder(A: torch.Tensor, B: torch.Tensor, alpha: float, read: Mapping[str, torch.Tensor]) -> None:
    """A layer's A [r, in], B [out, r] and alpha in a folder, and what is read: {title: change [out, in]}."""
    picture = Picture("What does a reader make of the folder?")
    rank, n_in = A.shape
    y = picture.bottom + 0.6
    picture.text(0, y, "adapter_model.safetensors", bold=True)
    picture.text(17, y, "adapter_config.json", bold=True)
    left = picture.grid(0.3, y + 0.6, _cells(A), "A", "trained")
    right = picture.grid(left.right + 1.2, y + 0.6, _cells(B), "B", "trained")
    for line, text in enumerate((f"r: {rank}", f"lora_alpha: {alpha:g}")):
        picture.text(17, y + 2.2 + 1.3 * line, text)
    y, x = max(left.bottom, right.bottom) + 1.4, 0.3
    picture.text(
        0, y, f"change of W that is read: scale {alpha:g}/{rank} = {alpha / rank:g}, times B A", bold=True
    )
    for title, change in read.items():
        place = picture.grid(x, y + 0.6, _cells(change), title)
        x = place.x + max(n_in * CELL_WIDTH, 11) + 3
    picture.key()


def one_batch(
    names: Sequence[str],
    x: torch.Tensor,
    W: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    which: Sequence[int],
) -> None:
    """Rows x [b, in]: W x, and the change by the row's own A [n, r, in] and B [n, out, r]; the scale is 1."""
    picture = Picture("What does each request of a batch go through?")
    picture.strip(picture.bottom + 0.4, [names[each] for each in which], None, left=8, name="wanted adapter")
    picture.row("x", [_vector(each) for each in x], "data")
    plain = x @ W.T
    picture.row("W", ["; ".join(map(_vector, W))] * len(x), "frozen")
    picture.row("W x", [_vector(each) for each in plain])
    picture.skip(0.6)
    picture.row("its A", [_vector(A[each][0]) for each in which], "trained")
    low = torch.stack([A[each] @ row for each, row in zip(which, x, strict=True)])
    picture.row("A x", [_vector(each) for each in low])
    picture.row("its B", [_vector(B[each][:, 0]) for each in which], "trained")
    change = torch.stack([B[each] @ row for each, row in zip(which, low, strict=True)])
    picture.row("change: B A x", [_vector(each) for each in change])
    picture.skip(0.6)
    picture.row("W x + change", [_vector(each) for each in plain + change])
    picture.key()


def sum_of_two(A1: torch.Tensor, B1: torch.Tensor, A2: torch.Tensor, B2: torch.Tensor) -> None:
    """Two products B A, their sum by A's and B's that are stacked, and by A's and B's that are added."""
    picture = Picture("Which A and B make the sum of two changes?")
    cases = {
        "first adapter": (A1, B1),
        "second adapter": (A2, B2),
        "stacked": (torch.cat([A1, A2]), torch.cat([B1, B2], 1)),
        "added": (A1 + A2, B1 + B2),
    }
    y = picture.bottom + 0.6
    for title, (A, B) in cases.items():
        picture.text(0, y + 2.6, title, bold=True)
        left = picture.grid(9, y, _cells(B), "B", "trained")
        picture.grid(left.right + 1, y, _cells(A), "A", "trained")
        picture.grid(22, y, _cells(B @ A), "B A")
        y = picture.bottom + 0.4
    picture.key()


def start_moved(W: torch.Tensor, start: torch.Tensor, now: torch.Tensor) -> None:
    """A frozen W [out, in] on two machines; start: what was moved into B A; now: B A after training."""
    picture = Picture("What does the adapter stand on, there and here?")
    y = picture.bottom + 0.9
    for title, frozen, change, name in (
        ("there", W - start, now, "B A"),
        ("here", W, now, "B A"),
        ("here, mended", W, now - start, "B A − start"),
    ):
        picture.text(0, y + 2.6, title, bold=True)
        left = picture.grid(7, y, _cells(frozen), "frozen W", "frozen")
        right = picture.grid(left.right + 2.4, y, _cells(change), name, "trained")
        whole = picture.grid(right.right + 2.4, y, _cells(frozen + change), "sum")
        middle = (left.y + left.bottom) / 2
        picture.text((left.right + right.x) / 2, middle, "+", "center")
        picture.text((right.right + whole.x) / 2, middle, "=", "center")
        y = picture.bottom + 0.6
    picture.key()


def values_by_place(
    sizes: Mapping[str, tuple[int, int]], ranks: Mapping[str, tuple[int, Sequence[str]]]
) -> None:
    """How many values LoRA trains in a block: {matrix: (in, out)}, {place: (rank, its matrices)}."""
    picture = Picture("How many values does each matrix of a block get?")
    picture.strip(picture.bottom + 0.4, list(sizes), "frozen", left=8.5, name="matrix")
    picture.row("in, out", [f"{n_in}, {n_out}" for n_in, n_out in sizes.values()])
    picture.skip(0.4)
    for place, (rank, matrices) in ranks.items():
        values = [f"{rank * sum(sizes[name]):,}" if name in matrices else None for name in sizes]
        picture.row(f"{place}, rank {rank}", values, "trained")
    picture.key()


def along(shares: Mapping[str, Mapping[float, float]], title: str, xlabel: str) -> None:
    """Shares of answers (%) over the weight of an adapter in a sum, as dots: {series: {weight: share}}."""
    _, ax = plots.figure(title, xlabel, "share of the answers (%)")
    if len(shares) > 4:
        raise ValueError(f"at most 4 series can be drawn, got {len(shares)}")
    for (name, points), marker, shift in zip(shares.items(), "os^v", (-0.02, 0.0, 0.02, 0.04), strict=False):
        weights = [weight + shift for weight in points]  # overlapping marks are moved apart
        ax.plot(weights, [100 * share for share in points.values()], marker, markersize=8, label=name)
    ax.set(ylim=(-4, 104))
    ax.set_xticks(list(next(iter(shares.values()))))
    ax.figure.legend(ncols=len(shares), loc="outside lower center")


def by_steps(losses: Mapping[str, Mapping[int, Sequence[float]]], title: str) -> None:
    """Losses of seeds over the number of steps, a short line for their mean: {place: {steps: losses}}.

    The first place has all numbers of steps, others may lack the last ones.
    """
    _, ax = plots.figure(title, "steps", "loss (nats a token)")
    styles = zip(losses.items(), plots.COLOURS, "os^", (-1, 1, -1), strict=False)
    for (place, at), colour, marker, side in styles:
        for column, values in enumerate(at.values()):
            x, middle = column + 0.06 * side, sum(values) / len(values)
            label = place if column == 0 else None
            ax.plot(
                [x] * len(values), list(values), marker, color=colour, markersize=6, alpha=0.8, label=label
            )
            ax.plot([x - 0.05, x + 0.05], [middle, middle], color=colour, linewidth=2)
            style = {"textcoords": "offset points", "ha": "right" if side < 0 else "left", "va": "center"}
            ax.annotate(f"{middle:#.3g}", (x, middle), (16 * side, 0), **style)
    all_steps = next(iter(losses.values()))
    ax.set_xticks(range(len(all_steps)), [str(steps) for steps in all_steps])
    ax.set(xlim=(-0.5, len(all_steps) - 0.5), yscale="log")
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set_ylim(0.01, 0.6)
    ax.figure.legend(ncols=len(losses), loc="outside lower center")


def _in_short(text: str, words: int = 11, letters: int = 12) -> str:
    """The first words of a text, each cut to so many letters, in lines."""
    shown = text.split()
    cut = [word if len(word) <= letters else word[: letters - 1] + "…" for word in shown[:words]]
    return textwrap.fill(" ".join(cut + ["…"] * (len(shown) > words)), 20)


def _cells(matrix: torch.Tensor) -> list[list[str]]:
    return [[shown_number(value, 0) for value in row] for row in matrix.tolist()]


def _vector(values: torch.Tensor) -> str:
    return " ".join(shown_number(value, 0) for value in values.tolist())
