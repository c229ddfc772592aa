"""Claims: a sentence about an experiment, with the measured value and the bound it must satisfy.

A lesson lists its claims in `lessons/lesson_NN/claims.py`, those of its companion in MORE_CLAIMS; the
notebook calls claim.NAME(value). The claims of a cell are shown together below its figures when the cell
has run.
"""

from __future__ import annotations

import difflib
import importlib
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from typing import Any

from course_utils import session
from course_utils.checks.show import BOX_COLOURS, SIGNS, publish_note, shell, sign_html
from course_utils.notebook_files import is_companion, lesson_of


class ClaimFailed(AssertionError):
    """A claim whose bound applies here does not hold."""


STORED = "stored runs"
_waiting: list[dict] = []  # records of the running cell


@dataclass(frozen=True)
class Claim:
    """A claim about an experiment, without the value, as listed in a lesson's claims.py.

    text: a sentence that is true if the claim holds. Give at_most, at_least, both, or equals (within
    tolerance). unit: "nats", "tokens", "times"; with "%", shares of 1 are shown as per cent. headline: the
    lesson's main finding. stored: the value comes from stored runs. excludes: the values of broken variants
    and controls, which must fail the bound, {"transposed": 0.04}; None if the notebook computes the value.
    seeds: values of the correct run over seeds, which must satisfy the bound; () if the notebook computes
    them or there are none. published: what others measured, with the source. The bound applies at quick and
    full scale to the named models (models="any": to all); elsewhere the value is only shown.
    """

    name: str
    text: str
    at_most: float | None = None
    at_least: float | None = None
    equals: Any = None
    tolerance: float = 0.0
    unit: str = ""
    headline: bool = False
    stored: bool = False
    excludes: str | Mapping[str, float | None] = ""
    seeds: Sequence[float] = ()
    published: str = ""
    models: tuple[str, ...] | str = ("pocket",)

    def __post_init__(self):
        if (self.equals is None) == (self.at_most is None and self.at_least is None):
            raise ValueError("A claim needs at_most, at_least, both, or equals alone.")

    @property
    def bounds(self) -> dict[str, Any]:
        names = ("at_most", "at_least", "equals", "tolerance")
        return {name: getattr(self, name) for name in names}

    def filled(self, seeds: Sequence[float], excludes: Any) -> Claim:
        """The claim completed by the notebook's values: one value, values in order, or values by name."""
        if seeds:
            self = replace(self, seeds=seeds)
        known = self.excludes if isinstance(self.excludes, Mapping) else {}
        missing = [name for name, value in known.items() if value is None]
        if isinstance(excludes, Mapping):
            fits, values = excludes.keys() == set(missing), dict(excludes)
        else:
            listed = list(excludes) if isinstance(excludes, Sequence) else [excludes]
            fits, values = len(listed) == len(missing), dict(zip(missing, listed, strict=False))
        if not fits:
            raise ValueError(
                f"claim.{self.name} takes excludes= with {len(missing)} values "
                f"({', '.join(missing) or 'none'}), not {excludes!r}."
            )
        return replace(self, excludes={**known, **values}) if missing else self


@cache
def claims_of(lesson: str) -> dict[str, Claim]:
    """The claims of one lesson ("03") or companion ("03m") by name, in the order of claims.py."""
    module = importlib.import_module(f"course_utils.lessons.lesson_{lesson_of(lesson)}.claims")
    listed = getattr(module, "MORE_CLAIMS", []) if is_companion(lesson) else module.CLAIMS
    return {each.name: each for each in listed}


def find_named(name: str, known: Mapping[str, Any], missing: str, whole: str) -> Any:
    """The entry of that name. AttributeError says `missing`, then close names or the advice dir(`whole`)."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        advice = f"Did you mean {' or '.join(near)}?" if near else f"dir({whole}) lists them."
        raise AttributeError(f"{missing} {name!r}. {advice}")
    return known[name]


class LessonClaims:
    """`claim.NAME(value, seeds=..., excludes=...)` shows a claim of the lesson's claims.py with its value.

    seeds, models: override the claim's own; excludes: the values left open in claims.py. Called with a text
    it is the function `claim`, as in older copies of the lessons.
    """

    def __init__(self, lesson: str):
        self.lesson = lesson

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)
        listed = find_named(name, claims_of(self.lesson), f"Lesson {self.lesson} has no claim", "claim")

        def measured(
            value: Any, *, seeds: Sequence[float] = (), excludes: Any = (), models: Any = ()
        ) -> None:
            claim = listed.filled(seeds, excludes)
            _measure(replace(claim, models=models) if models else claim, value)

        return measured

    def __call__(self, text: str, value: Any, **options: Any) -> None:
        claim(text, value, **options)

    def __dir__(self) -> list[str]:
        return sorted(claims_of(self.lesson))


def claim(text: str, value: Any, **options: Any) -> None:
    """Show a claim of one's own with the measured value: claim("It falls", loss, at_most=2, unit="nats").

    options: fields of Claim. See `_measure`.
    """
    _measure(Claim("", text, **options), value)


def _measure(claim: Claim, value: Any) -> None:
    """Show the claim, the value and the bound; store them as a record in the output's metadata.

    value: a number, a one-element tensor, a bool or a string. With COURSE_STRICT=1, raises ClaimFailed if a
    bound that applies does not hold.
    """
    value = value.item() if hasattr(value, "item") else value
    bounds = claim.bounds
    holds = _holds(value, **bounds)
    reason = _why_not_judged(claim.models)
    excludes = claim.excludes
    record = {
        "name": claim.name,
        "text": claim.text,
        "value": _plain(value),
        "unit": claim.unit,
        "shown": quantity(value, claim.unit),
        "bound": _bound(claim.unit, **bounds),
        "margin": _margin(value, **bounds) if holds else None,
        "holds": holds,
        "binding": not reason,
        "outcome": reason or ("holds" if holds else "DOES NOT HOLD"),
        "headline": claim.headline,
        "stored": claim.stored,
        "excludes": excludes if isinstance(excludes, str) else {n: _plain(v) for n, v in excludes.items()},
        "seeds": [_plain(float(one)) for one in claim.seeds],
        "published": claim.published,
        **{name: _plain(limit) for name, limit in bounds.items() if limit is not None},
    }
    _waiting.append(record)
    failed = not reason and not holds and os.environ.get("COURSE_STRICT") == "1"
    events = getattr(shell(), "events", None)
    if events is not None:
        events.register("post_run_cell", _show_waiting)  # once: a registered function stays registered
    if events is None or failed:
        _show_waiting()
    if failed:
        raise ClaimFailed(f"{claim.text}: measured {record['shown']}, which should be {record['bound']}.")


def read(notebook) -> list[dict]:
    """The records of all claims in the outputs of an executed notebook, in order."""
    outputs = [output for cell in notebook.get("cells", []) for output in cell.get("outputs", [])]
    lists = [output.get("metadata", {}).get("course", {}).get("claims", []) for output in outputs]
    return [record for records in lists for record in records]


def quantity(value: Any, unit: str = "") -> str:
    """A value with its unit in words: 0.0436 in "%" is 4.36%, 1234 in "tokens" is 1,234 tokens."""
    if unit == "%":
        return f"{_number(100 * value)}%"
    number = _number(value)
    if number == "1":
        unit = re.sub(r"^(nat|point|token)s\b", r"\1", unit)
    return f"{number} {unit}".strip()


def _number(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _plain(value: Any) -> Any:
    """The value as a type JSON supports."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _holds(value: Any, at_most: Any, at_least: Any, equals: Any, tolerance: float) -> bool:
    if equals is not None:
        return bool(abs(value - equals) <= tolerance if tolerance else value == equals)
    return bool((at_most is None or value <= at_most) and (at_least is None or value >= at_least))


def _bound(unit: str, at_most: Any, at_least: Any, equals: Any, tolerance: float) -> str:
    if equals is not None:
        if tolerance:
            return f"within {quantity(tolerance, unit)} of {quantity(equals, unit)}"
        return f"equal to {quantity(equals, unit)}"
    if at_most is None:
        return f"at least {quantity(at_least, unit)}"
    if at_least is None:
        return f"at most {quantity(at_most, unit)}"
    return f"between {quantity(at_least, unit)} and {quantity(at_most, unit)}"


def _margin(value: Any, at_most: Any, at_least: Any, equals: Any, tolerance: float) -> float | None:
    """Distance of a value from its nearer bound, relative to the larger of the two; None without a bound."""
    if equals is not None:
        return 1 - abs(value - equals) / tolerance if tolerance else None
    value = float(value)
    limits = [float(limit) for limit in (at_most, at_least) if limit is not None]
    if not math.isfinite(value):
        return 1.0
    return min(abs(value - limit) / (max(abs(value), abs(limit)) or 1) for limit in limits)


def _why_not_judged(models: tuple[str, ...] | str) -> str:
    """The reason why no bound applies here, or ""."""
    current = session.current()
    model = current.model_name if current else os.environ.get("COURSE_MODEL") or "pocket"
    scale = current.scale if current else os.environ.get("COURSE_SCALE") or "quick"
    if scale == "smoke":
        return "not judged at smoke scale"
    if session.stopped():
        return f"not judged: {session.stopped()}"
    if models != "any" and model not in models:
        return f"shown only; the bound is for {', '.join(models)}"
    return ""


def _show_waiting(*_: Any) -> None:
    """Show the claims recorded since the last call, one below the other."""
    if not _waiting:
        return
    records = list(_waiting)
    _waiting.clear()
    html = "".join(map(_box, records))
    publish_note("\n".join(map(_line, records)), html, {"course": {"claims": records}})


def _line(record: dict) -> str:
    margin = f" ({record['margin']:.0%} margin)" if record["margin"] is not None else ""
    excluded = f", excludes {_excluded(record)}" if record["excludes"] else ""
    return (
        f"{_kind(record)}: {record['text'].rstrip('.')}. Measured {record['shown']}; "
        f"{record['bound']}{margin}{excluded}: {record['outcome']}"
    )


def _kind(record: dict) -> str:
    name = "Headline" if record["headline"] else "Claim"
    return f"{name} ({STORED})" if record["stored"] else name


def _excluded(record: dict) -> str:
    if isinstance(record["excludes"], str):
        return record["excludes"]
    values = record["excludes"].items()
    return ", ".join(f"{name} ({quantity(value, record['unit'])})" for name, value in values)


def _box(record: dict) -> str:
    """The claim as HTML: sign, sentence, value, bar and its legend; the rest unfolds.

    Text and background keep the theme's colours.
    """
    state = "neutral" if not record["binding"] else "good" if record["holds"] else "bad"
    colour = BOX_COLOURS[state]
    sentence = f"<b>{escape(record['text'].rstrip('.'))}</b>"
    if record["headline"]:
        sentence = f"Headline: {sentence}"
    legend = " ".join(
        f'<span style="white-space:nowrap;margin-right:1.2em"><b style="color:{ink}">{sign}</b> '
        f'<span style="white-space:normal">{escape(words)}</span></span>'
        for sign, ink, words in _legend(record)
    )
    rest = "".join(f"<li>{escape(row)}</li>" for row in _rest(record))
    return (
        f'<div class="course-claim" style="border-left:4px solid {colour};padding:4px 12px;margin:8px 0;'
        f'max-width:44em"><div>{sign_html(SIGNS[state], state)} {sentence}</div>'
        f'<div style="margin-top:4px">{sign_html("●", state)} <b style="font-size:150%">'
        f"{escape(record['shown'])}</b> {escape(record['outcome'])}</div>"
        f'{_bar(record, colour)}<div style="font-size:90%">{legend}</div>'
        f'<details style="font-size:90%"><summary>why we believe it</summary><ul>{rest}</ul></details></div>'
    )


def _legend(record: dict) -> list[tuple[str, str, str]]:
    """(sign, colour, text) of the bound, the seeds and the nearest control."""
    rows = [("▐", LINE, record["bound"])]
    if seeds := _numbers(record["seeds"]):
        rows.append(("|", "inherit", f"{len(seeds)} seeds: {_range(min(seeds), max(seeds), record['unit'])}"))
    if nearest := _nearest_excluded(record):
        name, value = nearest
        rows.append(("✕", BOX_COLOURS["bad"], f"excluded: {name} ({quantity(value, record['unit'])})"))
    return rows


def _range(low: float, high: float, unit: str) -> str:
    if low == high:
        return f"all {quantity(low, unit)}"
    return f"{quantity(low, unit if unit == '%' else '')} to {quantity(high, unit)}"


def _rest(record: dict) -> list[str]:
    """The lines that unfold below a claim."""
    rows = [f"Measured in {STORED}." if record["stored"] else "Measured in this notebook."]
    if record["margin"] is not None:
        rows.append(f"Margin to the bound: {record['margin']:.0%} of the value.")
    if record["seeds"]:
        seeds = ", ".join(quantity(seed, record["unit"]) for seed in record["seeds"])
        rows.append(f"The same run at other seeds: {seeds}.")
    if record["excludes"]:
        rows.append(f"What the bound excludes: {_excluded(record)}.")
    if record["published"]:
        rows.append(f"Published: {record['published']}.")
    return rows


def _numbers(values: Any) -> list[float]:
    """The values that a bar can show."""
    found = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return [value for value in found if math.isfinite(value)]


def _nearest_excluded(record: dict) -> tuple[str, float] | None:
    """Name and value of the excluded run nearest to the bound; None if there is none."""
    if isinstance(record["excludes"], str):
        return None
    limits = _numbers(record.get(name) for name in ("at_most", "at_least", "equals"))
    known = [(name, value) for name, value in record["excludes"].items() if _numbers([value])]
    if not known or not limits:
        return None
    return min(known, key=lambda pair: min(abs(pair[1] - limit) for limit in limits))


def _bar(record: dict, colour: str) -> str:
    """A bar: the allowed range shaded, with the value, the seeds and the nearest control marked.

    "" if there is no scale: texts, exact values, infinity.
    """
    low, high = record.get("at_least"), record.get("at_most")
    if _numbers([record.get("equals")]):
        low, high = record["equals"] - record["tolerance"], record["equals"] + record["tolerance"]
    limits, seeds = _numbers([low, high]), _numbers(record["seeds"])
    nearest = _nearest_excluded(record)
    points = [*_numbers([record["value"]]), *limits, *seeds, *([nearest[1]] if nearest else [])]
    if not _numbers([record["value"]]) or not limits or min(points) == max(points):
        return ""
    first, last = min(points), max(points)

    def at(value: float) -> float:
        """Position in per cent of the bar's width."""
        return 4 + 92 * (value - first) / (last - first)

    start, end = 0 if low is None else at(low), 100 if high is None else at(high)
    tall, sign = "height:100%", "top:0;line-height:18px;width:1em;margin-left:-0.5em;text-align:center"
    parts = [
        (0, f"top:44%;width:100%;height:2px;background:{LINE}", ""),
        (start, f"{tall};width:{end - start:.1f}%;background:{colour};opacity:0.25", ""),
        *((at(limit), f"{tall};border-left:2px solid {LINE}", "") for limit in limits),
        *((at(seed), "top:25%;height:50%;border-left:1px solid", "") for seed in seeds),
        (at(record["value"]), f"{sign};color:{colour};font-size:130%", "●"),
    ]
    if nearest:
        parts.append((at(nearest[1]), f"{sign};color:{BOX_COLOURS['bad']};font-weight:bold", "✕"))
    drawn = (f'<div style="position:absolute;left:{x:.1f}%;{style}">{text}</div>' for x, style, text in parts)
    return (
        '<div aria-hidden="true" style="position:relative;height:18px;margin:4px 0;max-width:30em">'
        f"{''.join(drawn)}</div>"
    )


LINE = "#8C8C8C"  # a bar's line, visible on light and dark backgrounds
