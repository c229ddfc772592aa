"""Three calls, rates, a draw of the bootstrap, what is beaten, a tree; intervals, trade-offs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from course_utils.drawing import ROOM, Picture, shown_number
from course_utils.plots import COLOURS, INK, WIDTH, entitle, figure


def three_calls(
    request: str, beginnings: Sequence[str], completions: Sequence[str], found: Sequence[str]
) -> None:
    """One request as three calls: its beginnings, what the model writes, what the program reads."""
    picture = Picture("What does the program make of one request?")
    left, gap = 4.9, 0.6
    wide = (ROOM - left - 2 * gap) / 3
    y = picture.bottom + 0.4
    above = [picture.box(left, y, ROOM - left, 3.2, request, "data")] * len(beginnings)
    picture.text(0, y + 1.6, "request")
    y += 3.2 + 1.1
    rows = (
        ("asked", beginnings, None, 4.2),
        ("written", [_cut(text) for text in completions], None, 3.5),
        ("read", [_cut(text) for text in found], None, 3.5),
    )
    for name, texts, kind, height in rows:
        picture.text(0, y + height / 2, name)
        places = [left + place * (wide + gap) for place in range(len(texts))]
        cells = [picture.box(x, y, wide, height, text, kind) for x, text in zip(places, texts, strict=True)]
        for upper, cell in zip(above, cells, strict=True):
            middle = cell.x + wide / 2
            picture.arrow((middle, upper.bottom), (middle, cell.y))
        above, y = cells, y + height + 1.1
    picture.key()


def _cut(text: str, most: int = 36) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def scores_by_rate(tried: Mapping[str, Mapping[float, float]], title: str) -> None:
    """The share of right lists of each method at each rate, in per cent; each method's best is bold."""
    picture = Picture(title)
    rates = sorted({rate for scores in tried.values() for rate in scores})
    picture.strip(
        picture.bottom + 0.4, [f"{rate:.0e}".replace("e-0", "e-") for rate in rates], left=5.2, name="rate"
    )
    for method, scores in tried.items():
        shown = [f"{100 * scores[rate]:.0f}" if rate in scores else None for rate in rates]
        picture.row(method, shown, mark=[rates.index(max(scores, key=lambda rate: scores[rate]))])


def one_draw(
    ours: Sequence[Sequence[int]],
    theirs: Sequence[Sequence[int]],
    lists: Sequence[int],
    seeds: tuple[Sequence[int], Sequence[int]],
) -> None:
    """Two tables of scores [seeds, lists], and one draw of lists and of each method's seeds (from 0 on)."""
    picture = Picture("What is one draw of the bootstrap?")
    count = len(lists)
    _scores(
        picture, "measured", range(count), {"A": ours, "B": theirs}, (range(len(ours)), range(len(theirs)))
    )
    _scores(picture, "one draw, with replacement", lists, {"A": ours, "B": theirs}, seeds)


def _scores(picture, heading, lists, tables, seeds):
    """A strip of lists with the rows of some seeds of each method, and the difference of the means."""
    y = picture.bottom + 0.9
    picture.text(0, y, heading, bold=True)
    names = [str(place + 1) for place in lists]
    picture.strip(y + 0.8, [*names, "mean"], ["data"] * len(names) + [None], name="list")
    means = []
    for (name, table), drawn in zip(tables.items(), seeds, strict=True):
        rows = [[table[seed][place] for place in lists] for seed in drawn]
        for seed, row in zip(drawn, rows, strict=True):
            picture.row(f"{name}, seed {seed + 1}", [*map(str, row), None])
        means.append(sum(map(sum, rows)) / sum(map(len, rows)))
        picture.row(f"{name}, all", [*[None] * len(names), shown_number(means[-1], 3)], mark=[len(names)])
    picture.row(
        "A minus B",
        [*[None] * len(names), shown_number(means[0] - means[1], 3, sign=True)],
        mark=[len(names)],
    )


def who_beats(methods: Mapping[str, tuple[float, float]], kept: Sequence[str]) -> None:
    """Quality and cost of each method, and the first that beats it, unless it is kept."""
    picture = Picture("Which methods can be struck, whatever you care for?")
    picture.strip(picture.bottom + 0.4, list(methods), name="method")
    picture.row("quality", [f"{quality:g}" for quality, _ in methods.values()])
    picture.row("cost", [f"{cost:g}" for _, cost in methods.values()])
    by = {name: _beats(methods, name, kept) for name in methods}
    picture.row(
        "beaten by",
        [by[name] or "none" for name in methods],
        mark=[i for i, n in enumerate(methods) if not by[n]],
    )


def _beats(methods, name, kept):
    quality, cost = methods[name]
    if name in kept:
        return None
    return next(other for other in kept if methods[other][0] >= quality and methods[other][1] <= cost)


def paid_by_answers(once: float, tuned: float, other: float, answers: Sequence[int]) -> None:
    """What has been paid after some numbers of answers, with tuning and without; the cheaper is bold."""
    picture = Picture("After how many answers has tuning cost no more?")
    picture.strip(picture.bottom + 0.4, [f"{count:,}" for count in answers], name="answers")
    with_tuning, without = (
        [start + each * count for count in answers] for start, each in ((once, tuned), (0, other))
    )
    cheaper = [with_ <= without_ for with_, without_ in zip(with_tuning, without, strict=True)]
    picture.row("tuned", with_tuning, mark=[place for place, is_so in enumerate(cheaper) if is_so])
    picture.row("not tuned", without, mark=[place for place, is_so in enumerate(cheaper) if not is_so])


def decision_tree(leaves: Mapping[str, Mapping[str, str]]) -> None:
    """{what is lacking: {an answer: what to take}}, as branches from left to right."""
    picture = Picture("What does the model lack, and what follows?")
    y, tall, step = picture.bottom + 0.6, 2.4, 2.9
    for lacking, branches in leaves.items():
        height = step * (len(branches) - 1) + tall
        root = picture.box(0, y, 8.4, height, lacking, bold=True)
        for place, (answer, taken) in enumerate(branches.items()):
            top = y + step * place
            middle = picture.box(9.2, top, 9.8, tall, answer)
            leaf = picture.box(19.8, top, ROOM - 19.8, tall, taken, "trained" if trains(taken) else None)
            picture.arrow((root.right, top + tall / 2), middle)
            picture.arrow(middle, leaf)
        y += height + 0.9
    picture.key()


def trains(taken: str) -> bool:
    """Whether all that the guide takes trains a model."""
    return "larger model" not in taken and any(
        word in taken for word in ("LoRA", "DPO", "GRPO", "own right samples", "distillation")
    )


def intervals(
    values: Mapping[str, tuple[float, float, float]],
    title: str,
    xlabel: str,
    inner: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """For each name a value and its interval (value, low, high), the first on top.

    inner: narrower intervals of some names, of the lists alone, drawn grey below them. A line marks 0;
    intervals that leave it out have another colour.
    """
    fig, ax = figure(title, xlabel, "")
    named = {}
    for row, (name, (middle, low, high)) in enumerate(values.items()):
        clear = not low <= 0 <= high
        drawn = ax.errorbar(
            [middle],
            [row],
            xerr=[[middle - low], [high - middle]],
            fmt="D" if clear else "o",
            capsize=3,
            color=COLOURS[1 if clear else 0],
        )
        named.setdefault("the interval leaves out 0" if clear else "the interval holds 0", drawn)
        if name in (inner or {}):
            line = ax.plot(inner[name], [row + 0.3] * 2, color=INK, linewidth=4, solid_capstyle="butt")[0]
            named.setdefault("other lists alone", line)
    ax.axvline(0, color=INK, linestyle="--", linewidth=1)
    fig.legend(named.values(), named.keys(), loc="outside lower center", ncols=len(named))
    ax.set_yticks(range(len(values)), list(values))
    ax.invert_yaxis()
    ax.margins(y=0.15)


def memory_and_forgetting(
    peaks: Mapping[str, tuple[float, float]],
    front: Sequence[str],
    spans: Mapping[str, tuple[float, float]],
    forgotten: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    rates: Mapping[str, tuple[int, str]] | None = None,
) -> None:
    """Right lists over memory, a mark a method, hollow if it is beaten; and over forgetting, by rate.

    peaks: {method: (MB, right)}; spans: (low, high) of right; forgotten: {method: (nats, right)}, a line.
    rates: {method: (place in its line, words)}, written beside that point.
    """
    fig, (left, right) = figure(title, "", "lists right (share)", columns=2, sharey=True)
    styles = {name: style for name, *style in zip(peaks, "os^v", COLOURS, strict=False)}
    for name, (x, y) in peaks.items():
        marker, colour = styles[name]
        left.plot([x, x], spans[name], color=colour, linewidth=1)
        ground = colour if name in front else "none"
        left.plot([x], [y], marker, color=colour, markersize=9, markerfacecolor=ground, label=name)
    for name, (xs, ys) in forgotten.items():
        marker, colour = styles[name]
        right.plot(xs, ys, marker=marker, color=colour)
    for row, (name, (place, words)) in enumerate((rates or {}).items()):
        point = forgotten[name][0][place], forgotten[name][1][place]
        colour = styles[name][1]
        right.annotate(
            words,
            point,
            (0.27, 0.2 + 0.13 * row),
            textcoords="axes fraction",
            fontsize=10,
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 1, "relpos": (0, 0.5)},
        )
    left.set(xlabel="memory in training (MB)", ylabel="lists right (share)")
    right.set(xlabel="forgetting (nats a token), by rate", ylabel="")
    left.margins(x=0.2)
    handles = [line for line in left.lines if line.get_label() in peaks]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def score_and_loss(runs: Mapping[str, Sequence[tuple[float, float]]], title: str) -> None:
    """Each run's share of right lists over its loss; runs: {method: [(loss, right)]}, a mark per method."""
    fig, ax = figure(title, "loss of the right answers (nats a token)", "lists right (share)")
    for (name, points), marker, colour in zip(runs.items(), "os^vDP", COLOURS, strict=False):
        ax.plot(*zip(*points, strict=True), marker, color=colour, label=name, alpha=0.8)
    ax.set(xscale="log", ylim=(-0.04, 1))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    fig.legend(loc="outside lower center", ncols=len(runs))


def tradeoff(
    panels: Mapping[str, Mapping[str, tuple[float, float]]],
    ylabel: str,
    title: str,
    logx: Sequence[str] = (),
    front: Mapping[str, Sequence[str]] | None = None,
    spans: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Quality over costs, a panel each: {cost: {name: (cost, quality)}}; hollow if not on the Pareto front.

    front: per panel, the names that no other name beats. spans: (low, high) of each name's quality. Costs of
    0 cannot be shown on a logarithmic axis.
    """
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), sharey=True, squeeze=False)
    entitle(fig, title)
    for ax, (cost, points) in zip(axes[0], panels.items(), strict=True):
        for (name, (x, y)), marker, colour in zip(points.items(), "os^vDP", COLOURS, strict=False):
            filled = front is None or name in front[cost]
            if spans:
                ax.plot([x, x], spans[name], color=colour, linewidth=1)
            ax.plot(
                [x],
                [y],
                marker,
                color=colour,
                markersize=9,
                label=name,
                markerfacecolor=colour if filled else "none",
            )
        ax.set(xlabel=cost, xscale="log" if cost in logx else "linear")
        ax.margins(x=0.3, y=0.15)
    axes[0][0].set_ylabel(ylabel)
    handles = [
        mpl.lines.Line2D(
            [], [], color=line.get_color(), marker=line.get_marker(), linestyle="", label=line.get_label()
        )
        for line in axes[0][0].lines
        if line.get_marker() not in ("None", None, "")
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
