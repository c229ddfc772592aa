"""Diagrams of ideas: boxes, arrows, matrices, token strips, stacks of layers; each colour has one meaning.

A lesson's figures.py makes a Picture, adds to it from top to bottom, and ends with `key()`. A unit is the
height of a text line, 12 points; a picture is 29.5 units wide and grows downwards. Text has 10 points, as in
other figures: 1/36 of the width, or 10 pixels if a picture is shown 360 pixels wide. The background is
transparent. The alternative text lists the drawn elements in the order in which they were added.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.textpath import text_to_path

from course_utils.plots import COLOURS, INK, MIN_FONT, describe, printable

INCHES = 5.0  # the width of a picture
UNIT = 12  # points
MARGIN = 0.25  # units on every side
ROOM = INCHES * 72 / UNIT - 2 * MARGIN  # units: usable width
CELL = 1.5  # units: the height of a cell
CELL_WIDTH = 2.5  # units: of a number in a matrix
GAP = 0.25  # units between the cells of a strip
TITLE_SIZE = 11


@dataclass(frozen=True)
class Meaning:
    """What a colour means, with an edge and hatching that show it without colour; the text on it is black."""

    words: str
    ground: str
    edge: str
    width: float  # points
    line: Any = "-"  # of matplotlib
    hatch: str = ""


MEANINGS = {
    "data": Meaning("data", "#B5DDB0", COLOURS[2], 0.8),
    "frozen": Meaning("frozen", "#8F9BA6", INK, 0.8, hatch="///"),
    "trained": Meaning("trained", "#70B0E2", COLOURS[0], 2.2),
    "sampled": Meaning("sampled", "#F2CAE4", COLOURS[3], 1.6, ":"),
    "loss": Meaning("carries loss", "#F0A45D", COLOURS[1], 1.6, (0, (2.5, 1))),
}
HATCHING = "#A3AEB8"
NO_MEANING = Meaning("", "none", INK, 0.8)


@dataclass(frozen=True)
class Place:
    """Where something was drawn, in units from the upper left corner, and its name in arrows' alt texts."""

    x: float
    y: float
    width: float
    height: float
    name: str = ""

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height


def ground_and_edge(kind: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of two stacked matplotlib patches that look as this kind does in a Picture."""
    style = MEANINGS[kind] if kind else NO_MEANING
    ground = {"facecolor": style.ground, "hatch": style.hatch, "edgecolor": HATCHING, "linewidth": 0}
    edge = {"facecolor": "none", "edgecolor": style.edge, "linewidth": style.width, "linestyle": style.line}
    return ground | {"zorder": 1}, edge | {"zorder": 2}


def shown_number(value: float, digits: int = 1, sign: bool = False) -> str:
    """A number for a picture: fixed digits, a true minus sign, no -0; sign: a plus for positive numbers."""
    shown = f"{abs(value):.{digits}f}"
    if float(shown) == 0:
        return shown
    return ("\N{MINUS SIGN}" if value < 0 else "+" if sign else "") + shown


def _width(text: str, bold: bool = False) -> float:
    """The width of a line of text in units."""
    font = FontProperties(family="DejaVu Sans", size=MIN_FONT, weight="bold" if bold else "normal")
    widths = (
        text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] for line in text.split("\n")
    )
    return max(widths) / UNIT


class Picture:
    """A figure to draw on, with its title; x and y are in units from the upper left corner, y downwards.

    Numbers have `digits` decimals; a cell of None is empty. kind: a name in MEANINGS, or None for neutral
    elements. Text that does not fit raises ValueError.
    """

    def __init__(self, title: str):
        self.figure = plt.figure(figsize=(INCHES, 1))
        self.figure.set_layout_engine("none")  # as an argument it is lost when a figure is saved
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.axis("off")
        self.kinds: list[str] = []
        self.words = [title]
        describe(self.figure, self.words)
        self.bottom = 0.0  # the lowest point so far
        lines = _wrapped(title, ROOM * MIN_FONT / TITLE_SIZE)
        self._write(0, 0.6 * (lines.count("\n") + 1), lines, INK, size=TITLE_SIZE)

    def text(self, x: float, y: float, text: str, align: str = "left", bold: bool = False) -> None:
        """A line of text, its middle at height y, that starts (left), is centred or ends (right) at x."""
        room = {"left": ROOM - x, "right": x, "center": 2 * min(x, ROOM - x)}
        _check_room(text, _width(text, bold), room[align])
        self._write(x, y, text, INK, align, bold)
        self.words.append(text)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        text: str,
        kind: str | None = None,
        bold: bool = False,
    ) -> Place:
        """A box with wrapped text."""
        self._cell(Place(x, y, width, height), text, kind, bold)
        self.words.append(_said(text, kind))
        return Place(x, y, width, height, text)

    def arrow(
        self, start: Place | tuple[float, float], end: Place | tuple[float, float], label: str = ""
    ) -> None:
        """A straight arrow between two places or points.

        Its label is above a horizontal arrow and to the right of a vertical one. ValueError for a label
        longer than its arrow, or on a slanting arrow.
        """
        (x, y), (to_x, to_y) = _ends(_place(start), _place(end))
        style = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0}
        drawn = FancyArrowPatch((x, y), (to_x, to_y), color=INK, linewidth=1.2, zorder=3, **style)
        self.axes.add_patch(drawn)
        self._reach(max(y, to_y))
        if label and isclose(y, to_y):
            _check_room(label, _width(label), abs(x - to_x))
            self._write((x + to_x) / 2, y - 0.7, label, INK, "center")
        elif label and isclose(x, to_x):
            _check_room(label, _width(label), ROOM - x - 0.4)
            self._write(x + 0.4, (y + to_y) / 2, label, INK)
        elif label:
            raise ValueError(f"the arrow of {label!r} slants: its label would lie on it")
        names = _place(start).name, _place(end).name
        said = ": ".join(filter(None, [f"arrow {' to '.join(names)}" if all(names) else "arrow", label]))
        if said not in ("arrow", self.words[-1]):
            self.words.append(said)

    def grid(
        self,
        x: float,
        y: float,
        rows: Any,
        name: str = "",
        kind: str | None = None,
        mark: Sequence[tuple[int, int]] = (),
    ) -> Place:
        """A matrix of numbers or texts [rows, columns], `name` above it; marked cells (row, column) are bold.

        Returns the place of the cells.
        """
        shown = [[_shown(value) for value in _listed(row)] for row in _listed(rows)]
        if name:
            self._write(x + len(shown[0]) * CELL_WIDTH / 2, y + 0.5, name, INK, "center")
            y += 1.2
        place = Place(x, y, len(shown[0]) * CELL_WIDTH, len(shown) * CELL, name)
        for i, row in enumerate(shown):
            for j, text in enumerate(row):
                here = Place(x + j * CELL_WIDTH, y + i * CELL, CELL_WIDTH, CELL)
                self._ground(here, None)
                self._fill(here, text, kind, bold=(i, j) in mark)
        self._ground(place, kind)
        table = "; ".join(" ".join(text or "empty" for text in row) for row in shown)
        self.words.append(": ".join(filter(None, [_said(name, kind), table])))
        return place

    def strip(
        self, y: float, tokens: Sequence[str], kind: str | None = None, left: float = 7, name: str = "tokens"
    ) -> list[Place]:
        """Tokens side by side, as columns for the rows below; `left` units are reserved for the rows' names.

        Returns the cells, as `row` does.
        """
        wide = (ROOM - left + GAP) / len(tokens)
        self._columns = [(left + i * wide, wide - GAP) for i in range(len(tokens))]
        self._next = y
        return self.row(name, _tokens(tokens), kind)

    def row(
        self,
        name: str,
        values: Any,
        kind: str | Sequence[str | None] | None = None,
        digits: int = 1,
        sign: bool = False,
        mark: Sequence[int] = (),
    ) -> list[Place]:
        """The next row below the tokens: a number or text each; marked ones are bold. Returns the cells.

        kind: of all cells, or a sequence with one for each.
        """
        y = self._next
        shown = [_shown(value, digits, sign) for value in _listed(values)]
        left = self._columns[0][0] - 0.5
        _check_room(name, _width(name), left)
        self._write(left, y + CELL / 2, name, INK, "right")
        kinds = [kind] * len(shown) if kind is None or isinstance(kind, str) else kind
        cells = []
        for i, ((x, width), text, each) in enumerate(zip(self._columns, shown, kinds, strict=True)):
            place = Place(x, y, width, CELL)
            if text:
                self._cell(place, text, each, bold=i in mark)
            cells.append(place)
        said = [" ".join(text.split()) or "nothing" for text in shown]
        if kind is None or isinstance(kind, str):
            self.words.append(f"{_said(name, kind)}: {', '.join(said)}")
        else:
            self.words.append(f"{name}: {_in_runs(said, kinds)}")
        self._next = y + CELL + GAP
        return cells

    def skip(self, units: float) -> None:
        """Leave space below the last row, in addition to the usual gap."""
        self._next += units

    def flow(self, y: float, name: str, tokens: Sequence[str], kinds: Sequence[str | None]) -> None:
        """A text's tokens in sequence, on as many lines as needed, with `name` left of the first line."""
        shown, left = _tokens(tokens), 4.9
        _check_room(name, _width(name), left)
        self._write(0, y + CELL / 2, name, INK)
        x = left
        for text, kind in zip(shown, kinds, strict=True):
            width = max(_width(text) + 0.5, 1.2)
            if x + width > ROOM:
                x, y = left, y + CELL + GAP
            self._cell(Place(x, y, width, CELL), text, kind)
            x += width + GAP
        self.words.append(f"{name}: {_in_runs(shown, kinds)}")

    def stack(
        self, x: float, y: float, width: float, layers: Sequence[tuple[Any, str | None]], name: str = ""
    ) -> Place:
        """Layers on top of one another, listed from the top: (text, kind); several texts stand side by side.

        An empty text leaves its part of the layer empty.
        """
        for i, (parts, kind) in enumerate(layers):
            parts = [parts] if isinstance(parts, str) else parts
            wide = width / len(parts)
            self._ground(Place(x, y + i * CELL, width, CELL), None)
            for j, text in enumerate(parts):
                if text:
                    self._cell(Place(x + j * wide, y + i * CELL, wide, CELL), text, kind)
        said = "; ".join(_said(_filled(parts), kind) for parts, kind in layers)
        self.words.append(f"{name}: {said}" if name else said)
        return Place(x, y, width, len(layers) * CELL, name)

    def key(self) -> None:
        """Add a legend of the colours and edges at the bottom of the picture."""
        y, x = self.bottom + 0.8, 0.0
        for name, kind in MEANINGS.items():
            if name in self.kinds:
                self._ground(Place(x, y, 1.6, 1), name)
                self._write(x + 2, y + 0.5, kind.words, INK)
                x += _width(kind.words) + 3.2

    def _cell(self, place: Place, text: str, kind: str | None, bold: bool = False) -> None:
        self._ground(place, kind)
        self._fill(place, text, kind, bold)

    def _ground(self, place: Place, kind: str | None) -> None:
        """Draw a place's background, hatching and edge."""
        if kind and kind not in self.kinds:
            self.kinds.append(kind)
        for style in ground_and_edge(kind):
            self.axes.add_patch(Rectangle((place.x, place.y), place.width, place.height, **style))
        self._reach(place.bottom)

    def _fill(self, place: Place, text: str, kind: str | None, bold: bool) -> None:
        """Write a wrapped text into a place."""
        lines = _wrapped(text, place.width - 0.2, bold)
        _check_room(text, max(_width(line, bold) for line in lines.split("\n")), place.width - 0.1)
        _check_room(text, 1.1 * (lines.count("\n") + 1), place.height)
        if text:
            middle = place.x + place.width / 2, place.y + place.height / 2
            self._write(*middle, lines, "black" if kind else INK, "center", bold)

    def _write(
        self,
        x: float,
        y: float,
        text: str,
        colour: str,
        align: str = "left",
        bold: bool = False,
        size: float = MIN_FONT,
    ) -> None:
        style = {"fontsize": size, "weight": "bold" if bold else "normal", "color": colour, "zorder": 4}
        self.axes.text(x, y, text, ha=align, va="center_baseline", parse_math=False, **style)
        self._reach(y + 0.6 * (text.count("\n") + 1))

    def _reach(self, bottom: float) -> None:
        """Extend the picture down to `bottom`."""
        self.bottom = max(self.bottom, bottom)
        self.figure.set_size_inches(INCHES, (self.bottom + 2 * MARGIN) * UNIT / 72)
        self.axes.set(xlim=(-MARGIN, ROOM + MARGIN), ylim=(self.bottom + MARGIN, -MARGIN))


def _tokens(tokens: Sequence[str]) -> list[str]:
    return [printable(token).replace(r"\$", "$") for token in tokens]


def _listed(values: Any) -> list:
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _shown(value: Any, digits: int = 1, sign: bool = False) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else shown_number(value, digits, sign)


def _check_room(text: str, needed: float, room: float) -> None:
    if needed > room:
        raise ValueError(
            f"{text!r} takes {needed:.1f} units but has {room:.1f}: enlarge its place or shorten the text"
        )


def _said(name: str, kind: str | None) -> str:
    meaning = MEANINGS[kind].words if kind else ""
    return f"{name} ({meaning})" if name and meaning else name or meaning


def _filled(parts: str | Sequence[str]) -> str:
    return parts if isinstance(parts, str) else f"{' '.join(filter(None, parts))} of {len(parts)} parts"


def _in_runs(texts: Sequence[str], kinds: Sequence[str | None]) -> str:
    """Texts with their meaning, which is given once for neighbours that share it."""
    runs = itertools.groupby(zip(texts, kinds, strict=True), key=lambda pair: pair[1])
    return ", ".join(_said(" ".join(text for text, _ in run), kind) for kind, run in runs)


def _wrapped(text: str, width: float, bold: bool = False) -> str:
    """Wrap to lines of at most `width` units; a longer word gets its own line."""
    if _width(text, bold) <= width or " " not in text:
        return text
    fits = (textwrap.wrap(text, letters, break_long_words=False) for letters in range(len(text), 0, -1))
    lines = next(
        (lines for lines in fits if max(_width(line, bold) for line in lines) <= width), text.split()
    )
    return "\n".join(lines)


def _place(where: Place | tuple[float, float]) -> Place:
    return where if isinstance(where, Place) else Place(*where, 0, 0)


def _ends(start: Place, end: Place) -> tuple[tuple[float, float], tuple[float, float]]:
    """An arrow's two ends: on the sides that face each other, at the middle of their overlap."""
    if end.x >= start.right or start.x >= end.right:
        x, to_x = (start.right, end.x) if end.x >= start.right else (start.x, end.right)
        y, to_y = _shared(start.y, start.bottom, end.y, end.bottom)
    else:
        x, to_x = _shared(start.x, start.right, end.x, end.right)
        y, to_y = (start.bottom, end.y) if end.y >= start.bottom else (start.y, end.bottom)
    return (x, y), (to_x, to_y)


def _shared(low: float, high: float, other_low: float, other_high: float) -> tuple[float, float]:
    common = max(low, other_low), min(high, other_high)
    if common[0] <= common[1]:
        return (sum(common) / 2,) * 2
    return (low + high) / 2, (other_low + other_high) / 2
