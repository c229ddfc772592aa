"""Claims: a sentence about an experiment, with the value measured and the bound that it must keep.

The claims of a cell are shown together when the cell has run, below its figures.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from course_utils import session
from course_utils.checks.show import publish_note, shell


class ClaimFailed(AssertionError):
    """A claim that binds here does not hold."""


STORED = "stored runs"
_waiting: list[dict] = []  # records of the cell that runs


def claim(
    text: str,
    value: Any,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    equals: Any = None,
    tolerance: float = 0.0,
    unit: str = "",
    headline: bool = False,
    stored: bool = False,
    excludes: str | Mapping[str, float] = "",
    seeds: Sequence[float] = (),
    models: tuple[str, ...] | str = ("pocket",),
) -> None:
    """Show the claim, the measured value and the bound; keep them as a record in the output's metadata.

    text: a sentence that is true where the claim holds. value: a number, a one-element tensor, a bool or a
    string. Give at_most, at_least, both, or equals (within the tolerance). unit: "nats", "tokens", "times";
    with "%" a share of 1 and its bound are shown as per cent. headline: the lesson's main finding. stored:
    the value comes from stored runs. excludes: the broken variant that the bound shuts out, best with its
    value, {"transposed": 0.04}. seeds: the right run's values over seeds, which the bound must leave alone.
    The bound binds at quick and full scale on the models named (models="any": on all); elsewhere it is
    shown. With COURSE_STRICT=1 a bound that binds and does not hold raises ClaimFailed.
    """
    value = value.item() if hasattr(value, "item") else value
    if (equals is None) == (at_most is None and at_least is None):
        raise ValueError("A claim needs at_most, at_least, both, or equals alone.")
    holds = _holds(value, at_most, at_least, equals, tolerance)
    reason = _why_not_judged(models)
    bounds = {"at_most": at_most, "at_least": at_least, "equals": equals, "tolerance": tolerance}
    record = {
        "text": text,
        "value": _plain(value),
        "unit": unit,
        "shown": quantity(value, unit),
        "bound": _bound(unit, **bounds),
        "room": _room(value, **bounds) if holds else None,
        "holds": holds,
        "binding": not reason,
        "outcome": reason or ("holds" if holds else "DOES NOT HOLD"),
        "headline": headline,
        "stored": stored,
        "excludes": excludes if isinstance(excludes, str) else dict(excludes),
        "seeds": [_plain(float(one)) for one in seeds],
        **{name: _plain(limit) for name, limit in bounds.items() if limit is not None},
    }
    _waiting.append(record)
    failed = not reason and not holds and os.environ.get("COURSE_STRICT") == "1"
    events = getattr(shell(), "events", None)
    if events is not None:
        events.register("post_run_cell", _show_waiting)  # once: a function that is registered stays so
    if events is None or failed:
        _show_waiting()
    if failed:
        raise ClaimFailed(f"{text}: measured {record['shown']}, which should be {record['bound']}.")


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
    """A value that JSON knows."""
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


def _room(value: Any, at_most: Any, at_least: Any, equals: Any, tolerance: float) -> float | None:
    """How far a value that holds is from its (nearer) bound, over the larger of the two; None: no bound."""
    if equals is not None:
        return 1 - abs(value - equals) / tolerance if tolerance else None
    value = float(value)
    limits = [float(limit) for limit in (at_most, at_least) if limit is not None]
    if not math.isfinite(value):
        return 1.0
    return min(abs(value - limit) / (max(abs(value), abs(limit)) or 1) for limit in limits)


def _why_not_judged(models: tuple[str, ...] | str) -> str:
    """In words why no bound binds here, or ""."""
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
    """Show the claims that have been made since: a line for one, a table for more."""
    if not _waiting:
        return
    records = list(_waiting)
    _waiting.clear()
    text = "\n".join(map(_line, records))
    html = _html_line(records[0]) if len(records) == 1 else _table(records)
    publish_note(text, html, {"course": {"claims": records}})


def _line(record: dict) -> str:
    room = f" ({_share_left(record)} room)" if record["room"] is not None else ""
    excluded = f", excludes {_excluded(record)}" if record["excludes"] else ""
    return (
        f"{_kind(record)}: {record['text'].rstrip('.')}. Measured {record['shown']}; "
        f"{record['bound']}{room}{excluded}: {record['outcome']}"
    )


def _kind(record: dict) -> str:
    name = "Headline" if record["headline"] else "Claim"
    return f"{name} ({STORED})" if record["stored"] else name


def _share_left(record: dict) -> str:
    return f"{record['room']:.0%}"


def _excluded(record: dict) -> str:
    if isinstance(record["excludes"], str):
        return record["excludes"]
    values = record["excludes"].items()
    return ", ".join(f"{name} ({quantity(value, record['unit'])})" for name, value in values)


def _is_broken(record: dict) -> bool:
    return record["binding"] and not record["holds"]


BROKEN_STYLE = "border-left:4px solid #D55E00;padding-left:8px;font-weight:bold"


def _html_line(record: dict) -> str:
    style = BROKEN_STYLE if _is_broken(record) else "padding:2px 0"
    return f'<div style="{style}">{escape(_line(record))}</div>'


def _table(records: list[dict]) -> str:
    """Rows of claim, value, bound, room, outcome; what is excluded where a claim names it."""
    some_exclude = any(record["excludes"] for record in records)
    heads = ["Claim", "Measured", "Bound", "Room", "Outcome", *["Excludes"] * some_exclude]
    cell = "text-align:left;padding:3px 10px;white-space:normal"
    rows = ["".join(f'<th scope="col" style="{cell}">{head}</th>' for head in heads)]
    for record in records:
        style = f"{cell};{BROKEN_STYLE}" if _is_broken(record) else cell
        room = "" if record["room"] is None else _share_left(record)
        texts = [record["text"], record["shown"], record["bound"], room, record["outcome"]]
        texts += [_excluded(record)] * some_exclude
        if record["headline"] or record["stored"]:
            texts[0] = f"{_kind(record)}: {texts[0]}"
        kinds = ["", ' class="measured"', "", ' class="room"', "", ' class="excluded"']
        parts = zip(texts, kinds, strict=False)
        rows.append("".join(f'<td style="{style}"{kind}>{escape(text)}</td>' for text, kind in parts))
    return f'<table style="margin:4px 0">{"".join(f"<tr>{row}</tr>" for row in rows)}</table>'
