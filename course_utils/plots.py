"""Matplotlib figures in one style: colour-blind safe, labelled axes, titles that state the finding.

Every drawing function makes one figure, or uses the given axes, and returns nothing, so that a cell may end
with it. Figures have a transparent background and colours visible on light and dark pages. A notebook shows
them at two pixels per screen point, with an alternative text generated from title, axes and values.
"""

from __future__ import annotations

import base64
import colorsys
import io
import itertools
import math
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from weakref import WeakKeyDictionary

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from course_utils.machine import zoom

GROUNDS = ("#FFFFFF", "#111111")  # page backgrounds: JupyterLab's light and dark theme
MIN_CONTRAST = 3.0  # of lines and areas against the page (WCAG 2.2, 1.4.11)
INK = "#767676"  # text, axes, arrows: contrast 4.5 to white, 4.2 to the dark page
# Okabe and Ito's palette without yellow; sky blue and orange are darkened to be visible on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#2F96CC", "#C17F00", INK)
PALE = "#E4E4E4"  # background of boxes with black text
WIDTH = 6.7  # inches: 46 em of text
MIN_FONT = 10  # points; on a page of 1024 pixels a figure is scaled to nine tenths
SCREEN = 96  # pixels per inch
AT_END = "name of a line"  # the gid of texts that replace a legend
FIGURE_STYLE = {
    "figure.figsize": (WIDTH, 3.4),
    "figure.dpi": SCREEN,
    "savefig.dpi": SCREEN,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": MIN_FONT,
    "legend.frameon": False,
    "legend.fontsize": MIN_FONT,
    "lines.linewidth": 1.8,
    "font.size": MIN_FONT,
    "font.family": "DejaVu Sans",
}
mpl.rcParams.update(FIGURE_STYLE)

_captions: WeakKeyDictionary[Figure, tuple[str, str]] = WeakKeyDictionary()  # (caption, description)
_words: WeakKeyDictionary[Figure, list[str]] = WeakKeyDictionary()  # descriptions in place of the axes
_layouts: dict[tuple, tuple[list, list]] = {}  # positions of axes and title by a figure's form
_numbers: dict[str, int] = {}  # figure numbers by caption, in the order of display


def figure(title: str, xlabel: str, ylabel: str, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure and its axes (an array for several columns, two per row), with title and labels."""
    rows = -(-columns // 2)
    fig, axes = plt.subplots(
        rows, min(columns, 2), figsize=(WIDTH, 3.4 if rows == 1 else 2.9 * rows), squeeze=False, **options
    )
    axes = axes.ravel()
    for ax in axes[columns:]:
        ax.remove()
    for ax in axes[:columns]:
        ax.set(xlabel=xlabel, ylabel=ylabel)
    entitle(fig, title)
    return fig, axes[:columns] if columns > 1 else axes[0]


def entitle(fig: Figure, title: str) -> None:
    """Put the title above the whole figure."""
    fig.suptitle(title, x=0.01, ha="left", fontsize=11)


def caption(text: str, seen: str = "") -> None:
    """Number the current figure and put this text below it; `seen` describes it for those who do not see it.

    The same caption keeps its number when a cell is run again.
    """
    _captions[plt.gcf()] = text, seen


def describe(fig: Figure, words: list[str]) -> None:
    """Describe the figure in these words, which may still grow, instead of its axes."""
    _words[fig] = words


def figure_html(fig: Figure, live: bool = False) -> tuple[str, str]:
    """(text, HTML) of a figure with its number, caption and alternative text. The figure is closed.

    live: rendered fast, at three times the size in bytes.
    """
    words, _ = _captions.get(fig, ("", ""))
    alt = alt_text(fig)
    number = f"Figure {_numbers.setdefault(words, len(_numbers) + 1)}." if words else ""
    make_legible(fig)
    width, height = (round(zoom() * SCREEN * inches) for inches in fig.get_size_inches())
    data = fast_png(fig) if live else png(fig)
    below = f"<figcaption><b>{number}</b> {escape(words)}</figcaption>" if words else ""
    html = (
        f'<figure style="margin:4px 0"><img alt="{escape(alt)}" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto" src="data:image/png;base64,{data}">{below}</figure>'
    )
    text = f"[picture: {alt.replace('[', '(').replace(']', ')')}]"
    return f"{number} {words}\n{text}" if words else text, html


def png(fig: Figure, dpi: float = 2 * SCREEN) -> str:
    """The figure as a PNG of 64 colours in base64; it is closed."""
    from PIL import Image

    buffer = io.BytesIO()
    with warnings.catch_warnings():  # on a busy machine: the place of a legend took a second
        warnings.filterwarnings("ignore", message="Creating legend with loc")
        fig.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
    plt.close(fig)
    image = Image.open(buffer).quantize(64, method=Image.Quantize.FASTOCTREE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def fast_png(fig: Figure, dpi: float = 1.5 * SCREEN) -> str:
    """The same in half the time, with all colours and the layout of an earlier figure of the same form."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(fig)
    fig.set_dpi(dpi)
    titles = [text for text in fig.texts if text.get_text() == fig.get_suptitle()]
    form = (*fig.get_size_inches(), *(_form(ax) for ax in fig.axes))
    if form not in _layouts:
        fig.draw_without_rendering()
        places = [ax.get_position(original=True) for ax in fig.axes]
        _layouts[form] = places, [text.get_position() for text in titles]
    fig.set_layout_engine("none")
    places, of_titles = _layouts[form]
    for ax, place in zip(fig.axes, places, strict=True):
        ax.set_position(place)
    for title, place in zip(titles, of_titles, strict=False):
        title.set_position(place)
    canvas.draw()
    buffer = io.BytesIO()
    size = canvas.get_width_height()
    Image.frombuffer("RGBA", size, canvas.buffer_rgba()).save(buffer, "PNG", compress_level=1)
    plt.close(fig)
    return base64.b64encode(buffer.getvalue()).decode()


def _form(ax: Axes) -> tuple:
    """What the layout depends on: lines of title and labels, the longest text at each axis."""
    texts = (ax.get_title("left"), ax.get_title(), ax.get_xlabel(), ax.get_ylabel())
    at_axes = (max(map(_length, axis.get_majorticklabels()), default=0) for axis in (ax.xaxis, ax.yaxis))
    beside = max((len(text.get_text()) for text in ax.texts), default=0)
    return *(text.count("\n") + bool(text) for text in texts), *at_axes, beside


def _length(label: mpl.text.Text) -> int:
    return len(label.get_text())


def make_legible(fig: Figure) -> None:
    """Limit the width to the text's, enlarge small fonts, wrap long titles, make all lines visible."""
    width, height = fig.get_size_inches()
    if width > WIDTH:
        fig.set_size_inches(WIDTH, height)
    for text in fig.findobj(mpl.text.Text):
        text.set_fontsize(max(text.get_fontsize(), MIN_FONT))
    for text in fig.texts:
        text.set_wrap(text.get_text() == fig.get_suptitle())
    for ax in fig.axes:
        if ax.get_legend() or fig.legends:  # a cell's own legend, which needs no names at the lines
            for text in [text for text in ax.texts if text.get_gid() == AT_END]:
                text.remove()
        if ax.get_subplotspec():
            _wrap_labels(ax, *fig.get_size_inches())
    for line in fig.findobj(mpl.lines.Line2D):
        for name in ("color", "markeredgecolor"):
            colour = getattr(line, f"get_{name}")()
            if mpl.colors.to_rgba(colour)[3]:
                getattr(line, f"set_{name}")(seen_everywhere(colour))


def _wrap_labels(ax: Axes, width: float, height: float) -> None:
    """Wrap title and labels to about the length of the axes, whose size is unknown before the layout."""
    spec = ax.get_subplotspec()
    across = 0.85 * width * len(spec.colspan) / spec.get_gridspec().ncols
    up = 0.85 * height * len(spec.rowspan) / spec.get_gridspec().nrows
    for text, room in ((ax.xaxis.label, across), (ax.yaxis.label, up), *((t, across) for t in _titles(ax))):
        if "$" not in text.get_text():
            text.set_text(textwrap.fill(text.get_text(), int(room * 72 / (0.55 * text.get_fontsize()))))


def _titles(ax: Axes) -> list[mpl.text.Text]:
    names = {ax.get_title("left"), ax.get_title()}
    return [child for child in ax.get_children() if getattr(child, "get_text", str)() in names - {""}]


def contrast(colour: Any, ground: Any) -> float:
    """Contrast ratio of two colours, from 1 to 21 (WCAG 2.2)."""
    low, high = sorted((_luminance(colour), _luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Any) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in mpl.colors.to_rgb(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def seen_everywhere(colour: Any) -> Any:
    """The colour, darkened or lightened if its contrast to one of the pages is too low."""
    for ground, step in zip(GROUNDS, (-0.02, 0.02), strict=True):
        hue, light, saturation = colorsys.rgb_to_hls(*mpl.colors.to_rgb(colour))
        while contrast(colour, ground) < MIN_CONTRAST:
            light += step
            colour = colorsys.hls_to_rgb(hue, light, saturation)
    return colour


def alt_text(fig: Figure) -> str:
    """The figure in words: title, description, and for each of its axes the labels, ranges and values."""
    _, seen = _captions.get(fig, ("", ""))
    if fig in _words:
        parts = [*_words[fig], seen]
    else:
        axes = (_axes_in_words(ax) for ax in fig.axes if ax.get_visible())
        parts = list(map(_plain, [fig.get_suptitle(), seen, *axes]))
    return " ".join(part if part.endswith("?") else f"{part.rstrip('.')}." for part in parts if part)


def _plain(text: str) -> str:
    """A label without mathematical markup and line breaks."""
    text = re.sub(r"(?<!\\)\$", "", text).replace(r"\$", "$")
    return " ".join(
        re.sub(r"\\([A-Za-z]+) ?", r"\1 ", text)
        .replace("^T", "\u1d40")
        .translate({123: None, 125: None})
        .split()
    )


def _axes_in_words(ax: Axes) -> str:
    title = ax.get_title("left") or ax.get_title()
    if not ax.axison:
        words = dict.fromkeys(text.get_text() for text in ax.texts if text.get_text() not in ("", "+"))
        return ": ".join(filter(None, [title, "; ".join(words)]))
    axes = [
        f"{name}: {axis.get_label_text()}{_range_in_words(axis)}"
        for name, axis in (("x", ax.xaxis), ("y", ax.yaxis))
        if axis.get_label_text()
    ]
    images = [f"image of {' x '.join(map(str, image.get_array().shape[:2]))} values" for image in ax.images]
    named = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
    parts = [title, *axes, *images, *_bars_in_words(ax), *map(_line_in_words, named)]
    return "; ".join(part for part in parts if part)


def _range_in_words(axis: mpl.axis.Axis) -> str:
    """An axis's range; "" if names or no numbers are on the axis."""
    if isinstance(axis.get_major_formatter(), mpl.ticker.FixedFormatter) or not len(axis.get_ticklocs()):
        return ""
    low, high = sorted(axis.get_view_interval())
    return f", {low:.3g} to {high:.3g}"


def _line_in_words(line: mpl.lines.Line2D) -> str:
    """The line's name with its first and last value, a single point, or where it crosses the axis."""
    name, ends = line.get_label(), [(x, y) for x, y in line.get_xydata().tolist() if math.isfinite(y)]
    if not ends:
        return str(name)
    (first, start), (last, end) = ends[0], ends[-1]
    if len(ends) == 1:
        return f"{name} at ({first:.3g}, {start:.3g})"
    if first == last:
        return f"{name} at {first:.3g}"
    return f"{name} at {start:.3g}" if start == end else f"{name} from {start + 0:.3g} to {end + 0:.3g}"


def _interval_in_words(ax: Axes, drawn: mpl.container.ErrorbarContainer) -> list[str]:
    """A horizontal interval with the name at its height; nothing for other intervals."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    points = drawn.lines[0].get_xydata().tolist()
    if not drawn.has_xerr or len(points) != 1 or not 0 <= points[0][1] < len(names):
        return []
    [(low, _), (high, _)] = drawn.lines[2][0].get_segments()[0]
    return [f"{names[round(points[0][1])]} {points[0][0]:.3g} ({low:.3g} to {high:.3g})"]


def _bars_in_words(ax: Axes, most: int = 12) -> list[str]:
    """Bars with the names at their axis; for many bars only their number."""
    found = []
    for drawn in ax.containers:
        if isinstance(drawn, mpl.container.ErrorbarContainer):
            found += _interval_in_words(ax, drawn)
        if not isinstance(drawn, mpl.container.BarContainer):
            continue
        upright = drawn.orientation == "vertical"
        axis = ax.xaxis if upright else ax.yaxis
        names = [label.get_text() for label in axis.get_majorticklabels()]
        values = [bar.get_height() if upright else bar.get_width() for bar in drawn]
        series = "" if str(drawn.get_label()).startswith("_") else f"{drawn.get_label()}: "
        if len(values) > most:
            found.append(f"{series}{len(values)} bars, the highest {max(values):.3g}")
        elif len(names) == len(values):
            pairs = zip(names, values, strict=True)
            found.append(series + ", ".join(f"{name} {value:.3g}" for name, value in pairs))
        else:
            found.append(series + ", ".join(f"{value:.3g}" for value in values))
    return found


def lines(
    series: Mapping[str, tuple[Sequence, Sequence]],
    title: str,
    xlabel: str,
    ylabel: str,
    logx: bool = False,
    logy: bool = False,
    ax: Axes | None = None,
) -> None:
    """One line for each name in `series`, {name: (x, y)}; named at its end or in a legend."""
    ax = ax or figure(title, xlabel, ylabel)[1]
    for number, (name, (x, y)) in enumerate(series.items()):
        style = {"linestyle": "-" if number < 4 else "--", "marker": "o" if len(x) <= 20 else None}
        ax.plot(x, y, markersize=4, label=name, **style)
    if logx:
        ax.set_xscale("log")
    if logy:
        ax.set_yscale("log")
    if len(series) > 1 and not _name_the_ends(ax, ax.lines[-len(series) :]):
        ax.legend()


def _name_the_ends(ax: Axes, drawn: Sequence[mpl.lines.Line2D], room: float = 0.09) -> bool:
    """Write each line's name right of its end, if all end at one x, `room` of the height apart."""
    ends = [line.get_xydata()[-1] for line in drawn if len(line.get_xydata())]
    if len({float(x) for x, _ in ends}) != 1 or max(len(line.get_label()) for line in drawn) > 18:
        return False
    ax.autoscale_view()  # else the heights are of the axis before these lines
    heights = sorted(ax.transAxes.inverted().transform(ax.transData.transform(ends))[:, 1])
    if any(high - low < room for low, high in itertools.pairwise(heights)):
        return False
    for line, end in zip(drawn, ends, strict=True):
        place = {"textcoords": "offset points", "va": "center"}
        ax.annotate(line.get_label(), end, (6, 0), color=line.get_color(), gid=AT_END, **place)
    return True


def bars(
    values: Mapping[str, float],
    title: str,
    xlabel: str,
    ax: Axes | None = None,
    highlight: Sequence[str] = (),
) -> None:
    """Horizontal bars, the first on top, with their values; highlighted ones in the second colour."""
    ax = ax or figure(title, xlabel, "")[1]
    # a blank at either end belongs to a token and is made visible; one between words is not
    names = [name.replace("$", r"\$") if " " in name.strip() else printable(name) for name in values]
    colours = [COLOURS[1] if name in highlight else COLOURS[0] for name in values]
    drawn = ax.barh(range(len(names)), list(values.values()), color=colours)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.bar_label(drawn, fmt="%.3g", padding=3)
    ax.margins(x=0.12)


def history(history: Any, title: str = "The loss falls", ax: Axes | None = None) -> None:
    """Training loss by step, smoothed and raw, with the losses of the evaluations."""
    steps, losses = history.column("loss")
    ax = ax or figure(title, "step", "loss (nats a token)")[1]
    ax.plot(steps, losses, color=COLOURS[0], alpha=0.25, linewidth=1)
    ax.plot(steps, smooth(losses), color=COLOURS[0], label="training")
    names = sorted({name for row in history.rows for name in row if name.endswith("loss") and name != "loss"})
    for name, colour in zip(names, COLOURS[1:], strict=False):
        ax.plot(*history.column(name), color=colour, marker="o", markersize=4, label=name.replace("_", " "))
    ax.legend()


def smooth(values: Sequence[float], share: float = 0.05) -> list[float]:
    """Exponential moving average over about `share` of the run, corrected for the bias at the start."""
    keep = 1 - 1 / max(1.0, share * len(values))
    result, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        result.append(total / weight)
    return result


def printable(token: str) -> str:
    """A token's text for a label: blanks and line breaks made visible, dollar signs escaped."""
    return token.replace("\n", "\\n").replace(" ", "\u00b7").replace("$", r"\$")


def coloured_text(
    tokens: Sequence[str], losses: Sequence[float | None], title: str, ax: Axes | None = None, width: int = 72
) -> None:
    """A text in boxes coloured by each token's loss in nats, printed below; None leaves a box white."""
    texts = [printable(token) for token in tokens]
    labels = ["" if loss is None else f"{loss:.1f}" for loss in losses]
    lengths = [
        max(len(text.replace(r"\$", "$")), len(label) + 0.4, 2.6)
        for text, label in zip(texts, labels, strict=True)
    ]
    places, line, column = [], 0, 0.0
    for token, length in zip(tokens, lengths, strict=True):
        if column and column + length > width:
            line, column = line + 1, 0.0
        places.append((line, column))
        line, column = (line + 1, 0.0) if token.endswith("\n") else (line, column + length)
    lines = places[-1][0] + 1
    if ax is None:
        fig, ax = figure(title, "", "")
        fig.set_figheight(0.5 + 0.55 * lines)
    boxes = zip(texts, lengths, losses, labels, places, strict=True)
    for text, length, loss, label, (line, column) in boxes:
        shade = min((loss or 0) / 10, 1.0)
        face = "white" if loss is None else mpl.colormaps["Oranges"](shade)
        ax.add_patch(
            mpl.patches.Rectangle(
                (column, line - 0.28), length - 0.1, 0.56, facecolor=face, edgecolor=INK, linewidth=0.5
            )
        )
        ax.text(
            column + length / 2,
            line,
            text,
            family="DejaVu Sans Mono",
            ha="center",
            va="center_baseline",
            color=on_ground(face),
        )
        if label:
            ax.text(column + length / 2, line + 0.49, label, ha="center", va="center")
    ax.set(xlim=(-0.5, width + 0.5), ylim=(lines - 0.3, -0.5), xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)


def box(ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    """A box around a text, its centre at x, y."""
    ax.add_patch(
        mpl.patches.Rectangle(
            (x - width / 2, y - height / 2),
            width,
            height,
            facecolor=colour,
            edgecolor=INK,
            linewidth=0.8,
            zorder=3,
        )
    )
    ax.text(x, y, text, ha="center", va="center", zorder=4, color=on_ground(colour))


def on_ground(colour: Any) -> str:
    """Black or white, whichever has more contrast to this colour; INK without a colour."""
    if mpl.colors.to_rgba(colour)[3] == 0:
        return INK
    return max("black", "white", key=lambda each: contrast(each, colour))


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], linewidth: float = 1) -> None:
    ax.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": linewidth, "shrinkA": 0, "shrinkB": 0},
    )


def heatmaps(matrices: Mapping[str, Any], title: str, limit: float | None = None) -> None:
    """Matrices side by side, blue below zero, red above, on one scale up to `limit` (None: the largest)."""
    arrays = {name: matrix.detach().cpu().numpy() for name, matrix in matrices.items()}
    limit = limit or max(abs(array).max() for array in arrays.values()) or 1.0
    fig, axes = plt.subplots(1, len(arrays), figsize=(WIDTH, 2.5), squeeze=False)
    entitle(fig, title)
    for ax, (name, array) in zip(axes[0], arrays.items(), strict=True):
        image = ax.imshow(array, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set(xlabel=f"{name} [{array.shape[0]}, {array.shape[1]}]", xticks=[], yticks=[])
        ax.grid(visible=False)
    fig.colorbar(image, ax=list(axes[0]), shrink=0.8, label="weight")


def bands(
    series: Mapping[str, Mapping[float, Sequence[float]]],
    title: str,
    xlabel: str,
    ylabel: str,
    logx: bool = False,
    logy: bool = False,
    ax: Axes | None = None,
) -> None:
    """The mean and range of repeated values for each name in `series`, {name: {x: values}}."""
    ax = ax or figure(title, xlabel, ylabel)[1]
    means = {
        name: (list(points), [sum(values) / len(values) for values in points.values()])
        for name, points in series.items()
    }
    lines(means, "", "", "", logx=logx, logy=logy, ax=ax)
    for name, line in zip(series, list(ax.lines)[-len(series) :], strict=True):
        low, high = ([limit(values) for values in series[name].values()] for limit in (min, max))
        ax.fill_between(list(series[name]), low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    if logx:
        log_ticks(ax, sorted({x for points in series.values() for x in points}))


def strip_plot(
    rows: Mapping[str, Sequence[float]],
    title: str,
    xlabel: str,
    log: bool = False,
    live: Mapping[str, float] | None = None,
    marks: str = "mean of the stored runs",
) -> None:
    """Repeated values per row: small marks, their mean as a dot; live: one more run of some rows, a star."""
    fig, ax = figure(title, xlabel, "")
    for place, values in enumerate(rows.values()):
        at = [place] * len(values)
        ax.plot(list(values), at, "|", color=COLOURS[0], markersize=12, markeredgewidth=1.5)
        mean = sum(values) / len(values)
        ax.plot([mean], [place], "o", color=COLOURS[0], markersize=8, label=marks if place == 0 else None)
    for number, (name, value) in enumerate((live or {}).items()):
        place = list(rows).index(name)
        label = "the run above" if number == 0 else None
        ax.plot([value], [place], "*", color=COLOURS[1], markersize=12, label=label)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.grid(axis="y", visible=False)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    if log:
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        steps = (1, 2, 5) if high / low < 100 else (1,)
        ax.xaxis.set_major_locator(LogLocator(subs=steps))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_xlim(min(0, *(min(values) for values in rows.values())), None)
    fig.legend(ncols=2, loc="outside lower center")


def means_and_ranges(ax: Axes, points: Mapping[float, Sequence[float]], colour: str, name: str) -> None:
    """Means with their ranges over the seeds, joined by a thin line: {x: values}."""
    means = [sum(values) / len(values) for values in points.values()]
    low, high = ([limit(values) for values in points.values()] for limit in (min, max))
    ax.plot(list(points), means, "o-", color=colour, linewidth=1, markersize=5, label=name)
    ax.vlines(list(points), low, high, color=colour, linewidth=3, alpha=0.5)


def log_ticks(ax: Axes, values: Sequence[float]) -> None:
    """Put these values, as plain numbers, on a logarithmic x axis."""
    ax.set_xticks(list(values), [f"{value:,}" for value in values])
    ax.set_xticks([], minor=True)


def _show(fig: Figure) -> None:
    from IPython.display import publish_display_data

    text, html = figure_html(fig)
    publish_display_data({"text/plain": text, "text/html": html})


def _hook() -> None:
    """From now on, notebooks show all matplotlib figures by `figure_html`."""
    from IPython import get_ipython

    if shell := get_ipython():
        shell.display_formatter.ipython_display_formatter.for_type(Figure, _show)


_hook()
