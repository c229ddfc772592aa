"""Tables, and texts side by side: HTML in a notebook, text elsewhere."""

from __future__ import annotations

import difflib
import math
import re
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from course_utils.checks.show import publish_note

STAR = "\u2605"
COMPARABLE = 0.5  # minimum share of words common to two texts for their differences to be marked
_LEFT = 'style="text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:normal"'


def show_table(
    rows: Sequence[Mapping[str, Any]],
    title: str = "",
    units: Mapping[str, str] | None = None,
    best: Mapping[str, Callable] | None = None,
) -> None:
    """A table of rows {column: value}, whose first column names the row; text outside a notebook.

    A value is a text, a number, (value, low, high) with its interval, or None. units: {column: unit}; "%"
    shows shares as per cent. best: {column: min or max}; the best value gets a star.
    """
    units, best = units or {}, best or {}
    columns = list(dict.fromkeys(name for row in rows for name in row))
    heads = [f"{name} ({units[name]})" if name in units else name for name in columns]
    cells = [[_cell(row.get(name), units.get(name, "")) for name in columns] for row in rows]
    for name, choose in best.items():
        values = [_middle(row.get(name)) for row in rows]
        top = choose(value for value in values if value is not None)
        for row, value in zip(cells, values, strict=True):
            if value == top:
                row[columns.index(name)] += f" {STAR}"
    numbers = [not any(isinstance(row.get(name), str) for row in rows) for name in columns]
    note = f"{STAR} best of its column" if best else ""
    publish_note(
        _text_table(title, heads, cells, numbers, note), _html_table(title, heads, cells, numbers, note)
    )


def mean_and_range(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, lowest, highest), as a cell of `show_table`."""
    return statistics.mean(values), min(values), max(values)


def _middle(value: Any) -> float | None:
    return value[0] if isinstance(value, tuple) else value


def _cell(value: Any, unit: str) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        middle, low, high = (_cell(each, unit) for each in value)
        return f"{middle} ({low} to {high})"
    if isinstance(value, str | bool):
        return str(value)
    if unit == "%":
        return f"{100 * value:.1f}"
    if isinstance(value, int) or (math.isfinite(value) and abs(value) >= 100):
        return f"{value:,.0f}"
    return f"{value:#.3g}" if value else "0"


def _text_table(title: str, heads: list[str], cells: list[list[str]], numbers: list[bool], note: str) -> str:
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [
        "  ".join(
            f"{cell:>{width}}" if number else f"{cell:<{width}}"
            for cell, width, number in zip(row, widths, numbers, strict=True)
        ).rstrip()
        for row in (heads, *cells)
    ]
    return "\n".join(filter(None, [title, *lines, note]))


def _html_table(title: str, heads: list[str], cells: list[list[str]], numbers: list[bool], note: str) -> str:
    sides = [f'style="text-align:{"right" if number else "left"}"' for number in numbers]
    head = "".join(
        f'<th scope="col" {side}>{escape(name)}</th>' for name, side in zip(heads, sides, strict=True)
    )
    body = ""
    for first, *rest in cells:
        values = "".join(
            f"<td {side}>{f'<b>{escape(cell)}</b>' if cell.endswith(STAR) else escape(cell)}</td>"
            for cell, side in zip(rest, sides[1:], strict=True)
        )
        body += f'<tr><th scope="row" {sides[0]}>{escape(first)}</th>{values}</tr>'
    below = f"<p>{note}</p>" if note else ""
    over = f'<caption style="text-align:left">{escape(title)}</caption>' if title else ""
    return (
        f'<table style="table-layout:auto;margin:4px 0;font-variant-numeric:tabular-nums">{over}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"
    )


def show_texts(columns: Mapping[str, Sequence[str]], prompts: Sequence[str] = ()) -> None:
    """Texts side by side, {"before": texts, "after": texts}, one row each, with differing words marked.

    Later columns are compared with the first; nothing is marked if fewer than half of the words are the
    same. prompts: the heading of each row.
    """
    names, count = list(columns), len(next(iter(columns.values())))
    if len(prompts) not in (0, count):
        raise ValueError(f"{len(prompts)} prompts for {count} texts")
    texts, html = [], ""
    for number, row in enumerate(zip(*columns.values(), strict=True)):
        marked = [_differences(row[0], other) for other in row[1:]]
        # words of the first text that no other column has
        pieces = [_differences(row[-1], row[0]), *marked]
        prompt = prompts[number] if len(prompts) else ""
        if prompt:
            html += f'<tr><th scope="rowgroup" colspan="{len(names)}" {_LEFT}>{escape(prompt)}</th></tr>'
            texts.append(textwrap.fill(prompt, 88))
        html += "<tr>" + "".join(f"<td {_LEFT}>{_marked_html(each)}</td>" for each in pieces) + "</tr>"
        texts.append(_columns_of_text(names, [_marked_text(each) for each in pieces]))
    head = "".join(f'<th scope="col" {_LEFT}>{escape(name)}</th>' for name in names)
    publish_note(
        "\n\n".join(texts),
        f'<table style="table-layout:fixed;width:100%;margin:4px 0"><thead><tr>{head}</tr></thead>'
        f"<tbody>{html}</tbody></table>",
    )


def _differences(one: str, other: str) -> list[tuple[str, bool]]:
    """The words of `other` in order, with the spaces after them, and whether `one` lacks them there."""
    pieces = re.findall(r"^\s+|\S+\s*", other)
    matcher = difflib.SequenceMatcher(None, one.split(), [piece.strip() for piece in pieces], autojunk=False)
    comparable = matcher.ratio() >= COMPARABLE
    return [
        (text, comparable and kind != "equal")
        for kind, _, _, low, high in matcher.get_opcodes()
        if (text := "".join(pieces[low:high]))
    ]


def _marked_html(pieces: Sequence[tuple[str, bool]]) -> str:
    mark = 'style="background:#D55E0040"'  # not <mark>, which is black on dark pages
    return "".join(f"<u {mark}>{escape(text)}</u>" if new else escape(text) for text, new in pieces)


def _marked_text(pieces: Sequence[tuple[str, bool]]) -> str:
    return "".join(
        f"[{text.strip()}]{' ' * text.endswith(' ')}" if new and text.strip() else text
        for text, new in pieces
    )


def _columns_of_text(names: Sequence[str], texts: Sequence[str], width: int = 92) -> str:
    each = width // len(names) - 2
    wrapped = [
        [
            name,
            "-" * len(name),
            *(line for part in text.splitlines() for line in textwrap.wrap(part, each) or [""]),
        ]
        for name, text in zip(names, texts, strict=True)
    ]
    rows = max(map(len, wrapped))
    return "\n".join(
        "  ".join(f"{column[row] if row < len(column) else '':<{each}}" for column in wrapped).rstrip()
        for row in range(rows)
    )
