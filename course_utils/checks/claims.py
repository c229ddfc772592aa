"""Claims: a sentence about an experiment, with the value measured and the bound that it must keep."""

from __future__ import annotations

import math
import os
from typing import Any

from course_utils import session
from course_utils.checks.show import show


class ClaimFailed(AssertionError):
    """A claim that binds here does not hold."""


def claim(
    text: str,
    value: Any,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    equals: Any = None,
    tolerance: float = 0.0,
    unit: str = "",
    models: tuple[str, ...] | str = ("pocket",),
) -> None:
    """Show the claim, the measured value and the bound; keep them as a record in the output's metadata.

    value: a number, a one-element tensor, a bool or a string. Give at_most, at_least, both, or equals (within
    the tolerance). The bound binds at quick and full scale on the models named (models="any": on all);
    elsewhere it is shown. With COURSE_STRICT=1 a bound that binds and does not hold raises ClaimFailed.
    """
    value = value.item() if hasattr(value, "item") else value
    if (equals is None) == (at_most is None and at_least is None):
        raise ValueError("A claim needs at_most, at_least, both, or equals alone.")
    holds, bound = _judge(value, at_most, at_least, equals, tolerance)
    model, scale = _conditions()
    if scale == "smoke":
        outcome, binding = "not judged at smoke scale", False
    elif session.stopped():
        outcome, binding = f"not judged: {session.stopped()}", False
    elif models != "any" and model not in models:
        outcome, binding = f"shown only; the bound is for {', '.join(models)}", False
    else:
        outcome, binding = ("holds" if holds else "DOES NOT HOLD"), True
    unit = f" {unit}" if unit else ""
    record = {
        "text": text,
        "value": _plain(value),
        "bound": bound + unit,
        "unit": unit.strip(),
        "holds": holds,
        "binding": binding,
    }
    kind = "neutral" if not binding else "good" if holds else "bad"
    show(
        f"Claim: {text}",
        f"measured {_number(value)}{unit}; {bound}{unit}: {outcome}",
        kind=kind,
        metadata={"course": {"claim": record}},
    )
    if binding and not holds and os.environ.get("COURSE_STRICT") == "1":
        raise ClaimFailed(f"{text}: measured {_number(value)}{unit}, which should be {bound}{unit}.")


def read(notebook) -> list[dict]:
    """The records of all claims in the outputs of an executed notebook, in order."""
    outputs = [output for cell in notebook.get("cells", []) for output in cell.get("outputs", [])]
    records = [output.get("metadata", {}).get("course", {}).get("claim") for output in outputs]
    return [record for record in records if record]


def _judge(value: Any, at_most: Any, at_least: Any, equals: Any, tolerance: float) -> tuple[bool, str]:
    if equals is not None:
        if tolerance:
            return abs(value - equals) <= tolerance, f"within {_number(tolerance)} of {_number(equals)}"
        return bool(value == equals), f"equal to {_number(equals)}"
    holds = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
    if at_most is None:
        return bool(holds), f"at least {_number(at_least)}"
    if at_least is None:
        return bool(holds), f"at most {_number(at_most)}"
    return bool(holds), f"between {_number(at_least)} and {_number(at_most)}"


def _number(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _plain(value: Any) -> Any:
    """A value that JSON knows."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _conditions() -> tuple[str, str]:
    current = session.current()
    if current is not None:
        return current.model_name, current.scale
    return os.environ.get("COURSE_MODEL") or "pocket", os.environ.get("COURSE_SCALE") or "quick"
