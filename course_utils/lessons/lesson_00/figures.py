"""Tokens, scores and rules of sampling; attention by hand and GPT-2 on one page; what a head looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes

from course_utils.drawing import CELL, CELL_WIDTH, ROOM, Picture, Place, shown_number
from course_utils.plots import COLOURS, INK, PALE, WIDTH, arrow, box, entitle, figure, printable


def expected_next(
    tokens: Sequence[str], ids: Sequence[int], likeliest: Sequence[str], chances: Sequence[float]
) -> None:
    """Under each token its number, the token that the model expects next, and the probability of that one."""
    picture = Picture("What does the model expect after each token?")
    picture.strip(picture.bottom + 0.4, [_short(token) for token in tokens], "data", left=8)
    picture.row("number", [str(number) for number in ids])
    picture.skip(0.5)
    picture.row("likeliest next", [_short(printable(token)) for token in likeliest])
    picture.row("its probability", chances, digits=2, mark=[len(tokens) - 1])
    picture.key()


def _short(token: str, most: int = 9) -> str:
    """A token that fits in a column; a longer one is cut."""
    return token if len(token) <= most else f"{token[: most - 1]}…"


def softmax_by_hand(tokens: Sequence[str], logits: torch.Tensor, temperatures: Sequence[float] = ()) -> None:
    """From logits [tokens] to probabilities; with temperatures, the probabilities at each of them."""
    title = "What does the temperature change?" if temperatures else "How do scores become probabilities?"
    picture = Picture(title)
    picture.strip(picture.bottom + 0.4, tokens, left=9.5)
    picture.row("logit z", logits)
    if temperatures:
        for temperature in temperatures:
            picture.row(f"p at temperature {temperature:g}", (logits / temperature).softmax(0), digits=2)
        return
    exponentials = logits.exp()
    picture.row("e to the power of z", exponentials, digits=2)
    picture.row("p: share of the sum", exponentials / exponentials.sum(), digits=2)
    picture.text(9.5, picture.bottom + 0.9, f"sum of the powers: {exponentials.sum():.2f}")


def growing_text(prompt_tokens: Sequence[str], rounds: Sequence[Sequence[str]]) -> None:
    """One line for each round: all tokens, the last of which was added in it."""
    picture = Picture("How does a text grow?")
    y = picture.bottom + 0.4
    for number, tokens in enumerate(rounds, 1):
        added = len(tokens) - len(prompt_tokens)
        picture.flow(y, f"round {number}", tokens, ["data"] * len(prompt_tokens) + [None] * added)
        y = picture.bottom + 0.6
    picture.key()


def nucleus(tokens: Sequence[str], probabilities: torch.Tensor, top_p: float) -> None:
    """top-p on a few tokens, probabilities [tokens]: sorted, added up, judged, and back in their places."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(0) - ordered
    verdicts = ["stays" if one else "dropped" for one in before < top_p]
    picture = Picture(f"Which tokens does top-p {top_p:g} keep?")
    picture.strip(picture.bottom + 0.4, tokens, left=10, name="in the vocabulary")
    places = picture.row("probability", probabilities, digits=2)
    cells = picture.strip(picture.bottom + 2, [tokens[i] for i in order], left=10, name="the likeliest first")
    for token, cell in zip(order.tolist(), cells, strict=True):
        _arrow_down(picture, places[token], cell)
    picture.row("probability", ordered, digits=2)
    picture.row("sum before it", before, digits=2)
    judged = picture.row(f"less than {top_p:g}?", verdicts)
    cells = picture.strip(picture.bottom + 2, tokens, left=10, name="back in its place")
    for token, place in zip(order.tolist(), judged, strict=True):
        _arrow_down(picture, place, cells[token])
    picture.row("verdict", [verdicts[order.tolist().index(token)] for token in range(len(tokens))])


def _arrow_down(picture: Picture, above: Place, below: Place) -> None:
    """An arrow from the middle of a cell's lower edge to the middle of another's upper edge."""
    start = above.x + above.width / 2, above.bottom + 0.1
    picture.arrow(start, (below.x + below.width / 2, below.y - 0.1))


def embedding(
    texts: Sequence[str],
    ids: Sequence[int],
    wte: torch.Tensor,
    wpe: torch.Tensor,
    places: Sequence[int],
    columns: int,
) -> None:
    """The first values of a row of wte and a row of wpe, and their sum, for the tokens at some places."""
    picture = Picture("How does a token become a vector?")
    picture.strip(picture.bottom + 0.4, [texts[place] for place in places], "data", left=9.5, name="token")
    picture.row("number", [str(ids[place]) for place in places])
    picture.row("place", [str(place) for place in places])
    picture.skip(0.5)
    of_tokens = torch.stack([wte[ids[place]][:columns] for place in places])
    of_places = torch.stack([wpe[place][:columns] for place in places])
    picture.row("its row of wte", _vectors(of_tokens, 2), "trained")
    picture.row("its row of wpe", _vectors(of_places, 2), "trained")
    picture.skip(0.5)
    picture.row("sum: the vector x", _vectors(of_tokens + of_places, 2))
    picture.key()


def queries_and_keys(
    tokens: Sequence[str], x: torch.Tensor, w_query: torch.Tensor, w_key: torch.Tensor
) -> None:
    """The last token's query and every token's key; x [tokens, size], the matrices [size, size]."""
    picture = Picture(f"What does “{tokens[-1]}” look for, and what does each token offer?")
    _matrices(picture, {"query": w_query, "key": w_key})
    picture.strip(picture.bottom + 1, tokens, "data", left=8)
    picture.row("x", _vectors(x))
    picture.skip(0.5)
    picture.row("query: x W query", _of_the_last(tokens, x[-1:] @ w_query))
    picture.row("key: x W key", _vectors(x @ w_key))
    picture.key()


def scores_and_weights(tokens: Sequence[str], query: torch.Tensor, keys: torch.Tensor) -> None:
    """The last token's query [size] and all keys [tokens, size]: products, scores, weights."""
    products = keys @ query
    scores = products / len(query) ** 0.5
    picture = Picture(f"How much of its attention does “{tokens[-1]}” give to each token?")
    picture.strip(picture.bottom + 0.4, tokens, "data", left=8)
    picture.row("query", _of_the_last(tokens, query[None]))
    picture.row("key", _vectors(keys))
    picture.skip(0.5)
    picture.row("query · key", products, digits=2)
    picture.row(f"score: over √{len(query)}", scores, digits=2)
    picture.skip(0.5)
    picture.row("e to the score", scores.exp(), digits=2)
    picture.row("weight: its share", scores.softmax(0), digits=2, mark=[int(scores.argmax())])
    picture.key()


def mixture(tokens: Sequence[str], x: torch.Tensor, w_value: torch.Tensor, weights: torch.Tensor) -> None:
    """Values of all tokens, mixed by the last token's weights [tokens]."""
    values = x @ w_value
    weighted = weights[:, None] * values
    picture = Picture(f"What does “{tokens[-1]}” receive?")
    _matrices(picture, {"value": w_value})
    picture.strip(picture.bottom + 1, tokens, "data", left=8)
    picture.row("x", _vectors(x))
    picture.row("value: x W value", _vectors(values))
    picture.skip(0.5)
    picture.row("weight", weights, digits=2)
    parts = picture.row("weight · value", _vectors(weighted, 2))
    picture.skip(1)
    total = _of_the_last(tokens, weighted.sum(0)[None], 2)
    picture.arrow(parts[-1], picture.row("mixture", total, mark=[len(tokens) - 1])[-1], "sum")
    picture.key()


def masked_scores(tokens: Sequence[str], scores: torch.Tensor) -> None:
    """Scores [tokens, tokens] of every token for every token, with the future hidden, and the weights."""
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    masked = scores.masked_fill(future, -torch.inf)
    tables = {
        "scores": [[shown_number(one) for one in row] for row in scores.tolist()],
        "masked": [
            ["−∞" if one == -torch.inf else shown_number(one) for one in row] for row in masked.tolist()
        ],
        "weights": [[shown_number(one, 2) for one in row] for row in masked.softmax(-1).tolist()],
    }
    picture = Picture("What may each token see?")
    y, left = picture.bottom + 0.4, 4.0
    for name, rows in tables.items():
        place = picture.grid(left, y, rows, name)
        left = place.right + 1
    for i, token in enumerate(tokens):
        picture.text(3.6, place.y + (i + 0.5) * CELL, token, "right")


def attention_by_hand(
    tokens: Sequence[str], x: torch.Tensor, w_query: torch.Tensor, w_key: torch.Tensor, w_value: torch.Tensor
) -> None:
    """What the last token takes from every token: query, keys, scores, weights, values, mixture.

    x [tokens, size], the matrices [size, size].
    """
    query, keys, values = x[-1] @ w_query, x @ w_key, x @ w_value
    products = keys @ query
    scores = products / len(query) ** 0.5
    weights = scores.softmax(0)
    weighted = weights[:, None] * values
    picture = Picture(f"What does “{tokens[-1]}” take from each token?")
    _matrices(picture, {"query": w_query, "key": w_key, "value": w_value})
    picture.strip(picture.bottom + 1, tokens, "data", left=8)
    picture.row("x", _vectors(x))
    picture.row("query: x W query", _of_the_last(tokens, query[None]))
    picture.row("key: x W key", _vectors(keys))
    picture.skip(0.5)
    picture.row("query · key", products, digits=2)
    picture.row(f"score: over √{len(query)}", scores, digits=2)
    picture.row("weight: softmax", weights, digits=2, mark=[int(weights.argmax())])
    picture.skip(0.5)
    picture.row("value: x W value", _vectors(values))
    parts = picture.row("weight · value", _vectors(weighted, 2))
    picture.skip(1)
    total = _of_the_last(tokens, weighted.sum(0)[None], 2)
    picture.arrow(parts[-1], picture.row("mixture", total, mark=[len(tokens) - 1])[-1], "sum")
    picture.key()


def _matrices(picture: Picture, named: dict[str, torch.Tensor]) -> None:
    """Trained matrices side by side, each with its name on the left."""
    y = picture.bottom + 0.4
    for i, (name, matrix) in enumerate(named.items()):
        x_left = (i + 1) * ROOM / 3 - len(matrix) * CELL_WIDTH
        picture.text(x_left - 0.4, y + len(matrix) * CELL / 2, f"W {name}", "right")
        picture.grid(x_left, y, matrix, kind="trained")


def _of_the_last(tokens: Sequence[str], row: torch.Tensor, digits: int = 1) -> list[str | None]:
    """Empty cells but for the last token's vector, [1, size]."""
    return [*[None] * (len(tokens) - 1), *_vectors(row, digits)]


def _vectors(rows: torch.Tensor, digits: int = 1) -> list[str]:
    return ["   ".join(shown_number(value, digits) for value in row) for row in rows.tolist()]


def gpt2_way(config: Any) -> None:
    """The forward pass of GPT-2 with the shapes of a transformers config."""
    fig, ax = plt.subplots(figsize=(WIDTH, 6.4))
    entitle(fig, "A block reads the stream twice and adds to it twice: attention, then MLP")
    ax.set(xlim=(0, 10), ylim=(0, 12))
    ax.axis("off")
    _block_way(ax, config)


def attention_detail(config: Any) -> None:
    """A block's attention from the stream through the heads, with the shapes of a transformers config."""
    fig, ax = plt.subplots(figsize=(WIDTH, 5.6))
    entitle(fig, "One projection makes queries, keys and values; each head has columns of its own")
    ax.set(xlim=(0, 10), ylim=(0, 12))
    ax.axis("off")
    _attention_columns(ax, config.n_embd, config.n_head)


def _block_way(ax: Axes, config: Any) -> None:
    """Bottom to top: tokens, embedding, a block with its two additions, head."""
    width, inner = config.n_embd, config.n_inner or 4 * config.n_embd
    ax.add_patch(
        mpl.patches.Rectangle(
            (0.9, 2.55), 8.6, 6.9, facecolor=(0.5, 0.5, 0.5, 0.12), edgecolor=INK, linestyle="--"
        )
    )
    ax.text(9.2, 6, f"one of {config.n_layer} blocks", rotation=90, ha="center", va="center")
    arrow(ax, (2, 0.8), (2, 11.1), linewidth=2.2)
    for y, middle, text, colour in (
        (2.95, 4.3, "attention", COLOURS[4]),
        (6.35, 7.7, f"MLP\n{width} $\\to$ {inner:,} $\\to$ {width}", COLOURS[5]),
    ):
        ax.plot([2, 6, 6], [y, y, y + 0.15], color=INK, linewidth=1)
        arrow(ax, (6, y), (6, y + 0.25))
        box(ax, 6, y + 0.55, 4.6, 0.6, f"LayerNorm, {width}", PALE)
        arrow(ax, (6, y + 0.85), (6, middle - 0.05))
        box(ax, 6, middle + 0.4, 4.6, 0.9, text, colour)
        ax.plot([6, 6], [middle + 0.85, middle + 1.3], color=INK, linewidth=1)
        arrow(ax, (6, middle + 1.3), (2.25, middle + 1.3))
        ax.text(
            2,
            middle + 1.3,
            "+",
            ha="center",
            va="center",
            fontsize=11,
            color="black",
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": PALE, "edgecolor": INK},
        )
    box(ax, 4.6, 0.45, 8.6, 0.7, "token ids [B, T]", "none")
    box(
        ax,
        4.6,
        1.6,
        8.6,
        1.0,
        f"wte [{config.vocab_size:,}, {width}] of the tokens\n"
        f"+ wpe [{config.n_positions:,}, {width}] of the positions",
        PALE,
    )
    box(
        ax,
        4.6,
        10.3,
        8.6,
        1.0,
        f"LayerNorm, then lm_head: wte again,\n{width} $\\to$ {config.vocab_size:,}",
        PALE,
    )
    box(ax, 4.6, 11.5, 8.6, 0.7, f"logits [B, T, {config.vocab_size:,}]", "none")
    ax.text(1.45, 6, f"stream [B, T, {width}]", rotation=90, ha="center", va="center")


def _attention_columns(ax: Axes, width: int, heads: int) -> None:
    """Bottom to top: the fused projection, its three parts, one head's table of weights, all heads joined."""
    size, parts, left, wide = width // heads, ("query", "key", "value"), 3.3, 2.1
    box(ax, 5.1, 0.45, 9, 0.7, f"stream after LayerNorm [B, T, {width}]", "none")
    arrow(ax, (left + 1.5 * wide, 0.8), (left + 1.5 * wide, 1.3))
    ax.text(0.6, 1.95, f"c_attn, fused:\n[{width}, 3 * {width}]", va="center")
    for part, name in enumerate(parts):
        middle = left + wide * (part + 0.5)
        for head in range(heads):
            _strip(ax, left + wide * (part + head / heads), 1.35, wide / heads, 1.2, part, head)
        ax.text(
            middle,
            1.95,
            name,
            ha="center",
            va="center",
            color="black",
            bbox={"facecolor": PALE, "edgecolor": "none", "pad": 2},
        )
        arrow(ax, (left + wide * (part + 0.5 / heads), 2.55), (left + wide * (part + 0.5 / heads), 3.2))
        _strip(ax, left + wide * (part + 0.5 / heads) - 0.15, 3.25, 0.3, 1.5, part, 0)
    ax.text(0.6, 4, f"one of {heads} heads:\nquery, key, value\n[T, {size}] each", va="center")
    rows = 6
    for row in range(rows):
        for column in range(rows):
            ax.add_patch(
                mpl.patches.Rectangle(
                    (3.5 + 0.4 * column, 7.55 - 0.35 * row),
                    0.4,
                    0.35,
                    facecolor=COLOURS[4] if column <= row else "none",
                    edgecolor=INK,
                    linewidth=0.7,
                )
            )
    for part in (0, 1):
        arrow(ax, (left + wide * (part + 0.5 / heads), 4.75), (4.1 + 1.2 * part, 5.75))
    ax.text(0.6, 6.8, "weights [T, T]:\nsoftmax of the scores;\nempty: the future", va="center")
    ax.plot([left + wide * (2 + 0.5 / heads)] * 2, [4.75, 6.8], color=INK, linewidth=1)
    arrow(ax, (left + wide * (2 + 0.5 / heads), 6.8), (5.95, 6.8))
    ax.text(7.95, 6.8, "weights @ value", va="center")
    arrow(ax, (4.7, 7.95), (4.7, 8.55))
    for head in range(heads):
        _strip(ax, 4.45 + wide * head / heads, 8.6, wide / heads, 0.7, 2, head)
    ax.text(0.6, 8.95, f"all heads side by side\n[T, {width}], {size} columns each", va="center")
    arrow(ax, (5.5, 9.35), (5.5, 9.75))
    box(ax, 5.1, 10.1, 9, 0.65, f"c_proj [{width}, {width}]", PALE)
    arrow(ax, (5.5, 10.45), (5.5, 11.1))
    box(ax, 5.1, 11.5, 9, 0.7, f"added to the stream [B, T, {width}]", "none")


def _strip(ax: Axes, x: float, y: float, width: float, height: float, part: int, head: int) -> None:
    """One head's columns in the queries (part 0), keys (1) or values (2); the first head is highlighted."""
    ax.add_patch(
        mpl.patches.Rectangle(
            (x, y), width, height, facecolor=COLOURS[part], edgecolor=PALE, alpha=0.95 if head == 0 else 0.6
        )
    )


def rules_compared(
    groups: Mapping[str, Sequence[dict]], numbers: Callable[[dict, str], list[float]], title: str
) -> None:
    """Broken sentences over variety, a line for each group: mean and range of numbers(rule, name)."""
    _, ax = figure(title, "variety (share of different word pairs)", "broken sentences (share)")
    right_of, left_of, below = (
        {"xytext": (7, -13), "ha": "left"},
        {"xytext": (-6, 7), "ha": "right"},
        {"xytext": (0, -14), "ha": "center", "va": "top"},
    )
    looks = zip(COLOURS, "os^", (right_of, left_of, below), strict=False)
    for (name, rules), (colour, marker, beside) in zip(groups.items(), looks, strict=False):
        at = [(mean(numbers(rule, "variety")), numbers(rule, "broken")) for rule in rules]
        means = [mean(broken) for _, broken in at]
        spread = [
            [middle - min(broken) for (_, broken), middle in zip(at, means, strict=True)],
            [max(broken) - middle for (_, broken), middle in zip(at, means, strict=True)],
        ]
        ax.errorbar(
            [x for x, _ in at], means, yerr=spread, marker=marker, color=colour, label=name, capsize=2
        )
        for rule, (x, _), y in zip(rules, at, means, strict=True):
            value = rule.get("top_k", rule.get("top_p", rule["temperature"]))
            ax.annotate(f"{value:g}", (x, y), textcoords="offset points", color=colour, **beside)
    ax.set_ylim(bottom=-0.05)
    ax.legend()


def head_scores(scores: torch.Tensor, title: str, label: str) -> None:
    """A number for each head, [blocks, heads], as a heat map with the numbers in it."""
    fig, ax = figure(title, "head", "block")
    picture = ax.imshow(scores, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for block, row in enumerate(scores.tolist()):
        for head, value in enumerate(row):
            colour = "white" if value > 0.6 else "black"
            ax.text(head, block, f"{value:.2f}", ha="center", va="center", color=colour)
    ax.set(xticks=range(scores.shape[1]), yticks=range(scores.shape[0]))
    ax.grid(visible=False)
    fig.colorbar(picture, label=label)


def attention_map(weights: torch.Tensor, tokens: Sequence[str], rows: Sequence[int], title: str) -> None:
    """A head's weights [T, T] over a text; `rows` are framed."""
    fig, ax = figure(title, "token looked at", "token that looks")
    fig.set_figheight(1.4 + 0.18 * len(tokens))
    picture = ax.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [printable(token) for token in tokens]
    ax.set_xticks(range(len(names)), names, rotation=90)
    ax.set_yticks(range(len(names)), names)
    ax.grid(visible=False)
    for row in rows:
        frame = {"facecolor": "none", "edgecolor": COLOURS[1], "linewidth": 1.5}
        ax.add_patch(mpl.patches.Rectangle((-0.5, row - 0.5), len(names), 1, **frame))
    fig.colorbar(picture, label="attention weight (each row adds up to 1)")
