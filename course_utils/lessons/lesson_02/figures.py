"""One step, accumulation, AdamW, three faults and replay as pictures; rates, remedies and update rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from course_utils import plots
from course_utils.data import IGNORE
from course_utils.drawing import CELL, ROOM, Picture, shown_number
from course_utils.lessons.lesson_02 import stored
from course_utils.plots import COLOURS, INK

Numbers = Sequence[float]


def step_by_hand(weights: Numbers, x: Numbers, target: float, rate: float, clip: float) -> None:
    """A step of a model of two weights, prediction w · x, loss half the squared error, as a cycle."""

    def loss_of(weights):
        return (sum(w * value for w, value in zip(weights, x, strict=True)) - target) ** 2 / 2

    error = sum(w * value for w, value in zip(weights, x, strict=True)) - target
    gradient = [error * value for value in x]
    norm = math.hypot(*gradient)
    clipped = [value * min(1.0, clip / norm) for value in gradient]
    after = [w - rate * value for w, value in zip(weights, clipped, strict=True)]

    picture = Picture("What happens in one step of training?")
    wide, high, gap = 9.0, 3.6, (ROOM - 3 * 9.0) / 2
    middle, right = wide + gap, 2 * (wide + gap)
    top = picture.bottom + 0.6
    batch = picture.box(
        middle,
        top,
        wide,
        high,
        f"1\u00a0batch: x\u00a0{_pair(x, 0)} target\u00a0{shown_number(target, 0)}",
        "data",
    )
    row = batch.bottom + 1.4
    now = picture.box(0, row, wide, high, f"weights {_pair(weights, 2)}", "trained")
    loss = picture.box(middle, row, wide, high, f"2\u00a0loss {shown_number(loss_of(weights), 3)}", "loss")
    picture.arrow(batch, loss)
    picture.arrow(now, loss)
    found = picture.box(right, row, wide, high, f"3\u00a0gradient {_pair(gradient, 1)} norm\u00a0{norm:.0f}")
    picture.arrow(loss, found)
    row = now.bottom + 1.4
    bounded = picture.box(
        right, row, wide, high, f"4\u00a0clipped to norm\u00a0{clip:.0f}: {_pair(clipped, 1)}"
    )
    picture.arrow(found, bounded)
    moves = [-rate * value for value in clipped]
    update = picture.box(middle, row, wide, high, f"5\u00a0update, rate\u00a0{rate:g}: {_pair(moves, 2)}")
    picture.arrow(bounded, update)
    new = picture.box(0, row, wide, high, f"weights {_pair(after, 2)}", "trained")
    picture.arrow(update, new)
    picture.arrow(new, now, "next step")
    text = f"With the new weights the loss on this batch is {shown_number(loss_of(after), 3)}."
    picture.text(0, picture.bottom + 1, text, bold=True)
    picture.key()


def _pair(values: Numbers, digits: int) -> str:
    """The values in brackets, on one line of a box."""
    shown = ",\u00a0".join(shown_number(value, digits) for value in values)
    return f"({shown})"


def two_parts(parts: Mapping[str, tuple[Sequence[str], Numbers]]) -> None:
    """Two means of {micro-batch: (answer tokens, one weight's gradient from the loss of each token)}."""
    picture = Picture("What is the gradient of both micro-batches?")
    y = picture.bottom + 0.5
    columns = max(len(values) for _, values in parts.values())
    for name, (tokens, values) in parts.items():
        room = columns - len(values)
        picture.strip(y, [*tokens, *room * [""]], "loss", name=name)
        picture.row("gradient", [*values, *room * [None]])
        total = f"sum {shown_number(sum(values))}, mean {shown_number(mean(values), 2)}"
        picture.text(7, picture.bottom + 0.8, total)
        y = picture.bottom + 0.8
    every = [value for _, values in parts.values() for value in values]
    sums = " + ".join(shown_number(sum(values)) for _, values in parts.values())
    means = [mean(values) for _, values in parts.values()]
    shown = " + ".join(shown_number(value, 2) for value in means)
    y = picture.bottom + 1.2
    whole = f"one large batch: ({sums}) / {len(every)} tokens = {shown_number(mean(every), 2)}"
    picture.text(0, y, whole, bold=True)
    picture.text(0, y + 1.4, f"mean of the means: ({shown}) / {len(means)} = {shown_number(mean(means), 2)}")
    picture.key()


def adamw_on_numbers(
    series: Mapping[str, tuple[Numbers, int]], betas: tuple[float, float], rate: float
) -> None:
    """Steps of Adam on one weight for each of {name: (gradients, digits shown)}; m and v start at zero."""
    picture = Picture("How far does Adam move a weight?")
    y = picture.bottom + 0.5
    for name, (gradients, digits) in series.items():
        m = v = 0.0
        rows: dict[str, list[float]] = {key: [] for key in ("m", "v", "m̂", "v̂", "m̂ / √v̂")}
        for step, gradient in enumerate(gradients, start=1):
            m = betas[0] * m + (1 - betas[0]) * gradient
            v = betas[1] * v + (1 - betas[1]) * gradient**2
            m_hat, v_hat = m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)
            for key, value in zip(rows, (m, v, m_hat, v_hat, m_hat / math.sqrt(v_hat)), strict=True):
                rows[key].append(value)
        picture.strip(y, [str(step + 1) for step in range(len(gradients))], left=9.5, name=f"{name}, step")
        picture.row("gradient g", gradients, digits=digits)
        for key, values in rows.items():
            last = key == "m̂ / √v̂"
            picture.row(key, values, digits=2 if last else digits, mark=range(len(values)) if last else ())
        moves = [-rate * value for value in rows["m̂ / √v̂"]]
        picture.row(f"moves, rate {rate:g}", moves, "trained", digits=3, sign=True)
        y = picture.bottom + 1
    picture.key()


def rows_of_a_batch(
    rows: Sequence[Sequence[str]], labels: Sequence[Sequence[int]], real: Sequence[int]
) -> None:
    """The tokens of a padded batch: prompt, answer, padding; real: tokens of each row before its padding."""
    picture = Picture("Which tokens of a batch carry loss?")
    y = picture.bottom + 0.6
    for number, (tokens, of_row, count) in enumerate(zip(rows, labels, real, strict=True), start=1):
        kinds = [
            "loss" if label != IGNORE else "data" if place < count else None
            for place, label in enumerate(of_row)
        ]
        picture.flow(y, f"row {number}", tokens, kinds)
        y = picture.bottom + 0.8
    picture.text(0, y + 0.4, "without a colour: padding")
    picture.key()


def faults_on_numbers(
    tokens: Sequence[Sequence[str]], losses: Sequence[Numbers], shifted: Sequence[Numbers]
) -> None:
    """Loss and number of tokens that four steps report on one micro-batch and on two.

    The last token of each answer is the end of text. shifted: the losses with the labels shifted twice.
    """
    picture = Picture("Which number does each fault change?")
    y = picture.bottom + 0.5
    for number, (answer, right, twice) in enumerate(zip(tokens, losses, shifted, strict=True), start=1):
        picture.strip(y, answer, "loss", left=10.5, name=f"micro-batch {number}")
        picture.row("loss", right)
        picture.row("loss, shifted twice", twice)
        y = picture.bottom + 0.8
    masked = [values[:-1] for values in losses]
    steps = {"sound": losses, "double shift": shifted, "mask by id": masked, "mean of means": losses}
    heads = ("1 alone: mean", "tokens", "both: mean", "tokens")
    left, wide = 8.5, (ROOM - 8.5) / 4
    for place, head in enumerate(heads):
        picture.text(left + (place + 0.5) * wide, y + 0.5, head, "center")
    sound = None
    for number, (name, values) in enumerate(steps.items()):
        by_batch = name == "mean of means"
        row = [mean(values[0]), len(values[0]), _mean(values, by_batch), sum(map(len, values))]
        shown = [shown_number(value, 2 if place in (0, 2) else 0) for place, value in enumerate(row)]
        sound = sound or shown
        top = y + 1.3 + number * CELL
        picture.text(0, top + CELL / 2, name)
        for place, text in enumerate(shown):
            middle = left + (place + 0.5) * wide
            picture.text(middle, top + CELL / 2, text, "center", bold=text != sound[place])
    picture.key()


def _mean(parts: Sequence[Numbers], by_batch: bool) -> float:
    if by_batch:
        return mean(mean(values) for values in parts)
    return mean(value for values in parts for value in values)


def replay_shares(counts: Mapping[str, tuple[float, float]]) -> None:
    """What of a step is of old texts: {what is counted: (of questions, of old texts)}, as bars."""
    picture = Picture("How large a share of a step are two old texts?")
    left, y = 8.5, picture.bottom + 0.6
    for what, (questions, old) in counts.items():
        share = old / (questions + old)
        wide = (ROOM - left) * share
        picture.text(0, y + CELL / 2, what)
        picture.box(left, y, ROOM - left - wide, CELL, f"questions {questions:,.0f}")
        picture.box(ROOM - wide, y, wide, CELL, f"{share:.0%}", "data")
        y += CELL + 0.4
    picture.text(left, y + 0.5, "green: of the two old texts")


def memory_of_a_step(parts: Mapping[str, float]) -> None:
    """Bytes of a step, {part: bytes}, as boxes of that length."""
    picture = Picture("What does a step keep in memory?")
    left, y, longest = 8.5, picture.bottom + 0.6, max(parts.values())
    for name, size in parts.items():
        picture.text(0, y + CELL / 2, name)
        wide = (ROOM - left) * size / longest
        picture.box(left, y, wide, CELL, f"{size / 1e6:.0f} MB", "trained" if name == "weights" else None)
        y += CELL + 0.4
    picture.key()


def over_rates(
    results: Mapping[str, Mapping[float, Numbers]], title: str, live: tuple[float, Mapping[str, float]]
) -> None:
    """Loss on answers and forgetting over the rate: {"answers" and "texts": {rate: values}}; live: a run."""
    _, axes = plots.figure(title, "learning rate", "", columns=2)
    labels = {
        "answers": "loss on held-out answers (nats a token)",
        "texts": "forgetting of old texts (nats a token)",
    }
    rate, own = live
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        plots.means_and_ranges(ax, results[name], COLOURS[0], "five stored runs")
        ax.plot(rate, own[name], "*", markersize=13, color=COLOURS[1], label="your run")
        ax.set(ylabel=label, xscale="log")
        ax.set_xticks([1e-6, 1e-5, 1e-4, 1e-3, 1e-2], ["1e-6", "1e-5", "1e-4", "1e-3", "1e-2"])
        ax.set_xticks([], minor=True)
    axes[0].set_yscale("log")
    heights = [0.03, 0.1, 0.3, 1, 3]
    axes[0].set_yticks(heights, [f"{height:g}" for height in heights])
    axes[0].set_yticks([], minor=True)
    axes[1].set_yscale("symlog", linthresh=0.01)
    axes[1].set_yticks([0, 0.01, 0.1, 1, 10], ["0", "0.01", "0.1", "1", "10"])
    axes[1].set_ylim(-0.005, 15)
    axes[0].legend()


def remedies_map(title: str, live: Mapping[str, float], base: Mapping[str, float]) -> None:
    """Loss on answers over forgetting of old texts, and over the loss on facts; live: a run with replay."""
    fig, axes = plt.subplots(2, 1, figsize=(plots.WIDTH, 6.4))
    plots.entitle(fig, title)
    panels = {
        "text_loss": "forgetting of old texts (nats a token)",
        "fact_loss": "loss on facts (nats a token)",
    }
    for ax, (key, label) in zip(axes, panels.items(), strict=True):
        of_base = stored.base_run()[key]
        less = of_base if key == "text_loss" else 0.0
        ax.axvline(of_base - less, color=INK, linestyle=":", linewidth=1, label="the base's value")
        _draw_remedies(ax, key, less)
        own = live[key] - (base[key] if key == "text_loss" else 0.0)
        ax.plot(own, live["answer_loss"], "*", markersize=13, color=COLOURS[1], label="replay, your run")
        ax.set(xlabel=label, ylabel="loss on answers (nats)", yscale="log", ylim=(0.024, 0.7))
        heights = [0.03, 0.05, 0.1, 0.2, 0.5]
        ax.set_yticks(heights, [f"{height:g}" for height in heights])
        ax.set_yticks([], minor=True)
        ax.margins(x=0.1)
    fig.legend(*axes[0].get_legend_handles_labels(), ncols=3, loc="outside lower center")


def _draw_remedies(ax: Axes, key: str, less: float) -> None:
    def place(found):
        return stored.mean_of(found, key) - less, stored.mean_of(found, "answer_loss")

    above, right, below = (0, 8), (8, -3), (0, -15)
    offsets = {  # of the rates, in points
        ("text_loss", 0): [above, (6, 5), above, above],
        ("text_loss", 2): [(-32, 4), (-32, -10), (8, -10)],
        ("fact_loss", 0): [right, right, (-4, -15), right],
        ("fact_loss", 2): [above, below, above],
    }
    all_rates = {0: (1e-5, 5e-5, 2e-4, 5e-4), 2: (5e-5, 2e-4, 5e-4)}
    for colour, replay, name in zip(COLOURS, (0, 2), ("rate", "replay"), strict=False):
        rates = all_rates[replay]
        places = [place(stored.runs(lr, replay=replay)) for lr in rates]
        ax.plot(*zip(*places, strict=True), "o-", color=colour, markersize=5, linewidth=1, label=name)
        for lr, at, offset in zip(rates, places, offsets[key, replay], strict=True):
            align = "center" if offset[0] == 0 else "left"
            ax.annotate(stored.short(lr), at, offset, textcoords="offset points", color=colour, ha=align)
        steps = stored.SAME_TOKENS[replay]
        same = place(stored.runs(2e-4 if replay else 1e-5, replay=replay, steps=steps))
        style = {"color": colour, "markersize": 7, "fillstyle": "none"}
        ax.plot(*same, "D", label=f"{name}, {steps} steps", **style)
    way = [place(stored.walked_back(share)) for share in stored.SHARES] + [place(stored.runs())]
    ax.plot(*zip(*way, strict=True), "s--", color=COLOURS[2], markersize=4, linewidth=1, label="walk back")


def way_back(title: str) -> None:
    """Loss on answers and forgetting along the straight way to the tuned weights, for two rates of tuning."""
    _, axes = plots.figure(title, "share of the way", "", columns=2)
    labels = {"answer_loss": "loss on answers (nats a token)", "text_loss": "forgetting (nats a token)"}
    base = stored.base_run()
    for ax, (key, label) in zip(axes, labels.items(), strict=True):
        less = base[key] if key == "text_loss" else 0.0
        for colour, lr in zip(COLOURS, (2e-4, 5e-4), strict=False):
            points = {0.0: [base[key] - less]}
            points |= {
                share: [run[key] - less for run in stored.walked_back(share, lr)] for share in stored.SHARES
            }
            points[1.0] = [run[key] - less for run in stored.runs(lr)]
            plots.means_and_ranges(ax, points, colour, f"tuned at {stored.short(lr)}")
        ax.set_ylabel(label)
    axes[0].legend()


def rules_over_rates(rules: Sequence[str], title: str) -> None:
    """Held-out loss over the rate, a line for each rule of the stored runs."""
    _, ax = plots.figure(title, "learning rate", "loss on answers (nats a token)")
    losses = {rule: stored.of_rule(rule, "answer_loss") for rule in rules}
    plots.bands(losses, "", "", "", logx=True, logy=True, ax=ax)
    plots.log_ticks(ax, (0.0001, 0.001, 0.01, 0.1, 1.0))
    ax.set_yticks([0.05, 0.1, 0.5, 1, 5], ["0.05", "0.1", "0.5", "1", "5"])
    ax.set_yticks([], minor=True)
