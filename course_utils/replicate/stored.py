"""Rows as they are stored: data/results/replications/LESSON-MODEL.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator

from course_utils.replicate.rows import Row
from course_utils.stored_runs import RESULTS

REPLICATIONS = RESULTS / "replications"
NAMED_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
ROW_SCHEMA = {
    "type": "object",
    "required": [
        *("lesson", "claim", "model", "sweep", "seeds", "versions", "machine"),
        *("minutes", "tried", "rates", "values", "controls", "results"),
    ],
    "properties": {
        "lesson": {"type": "string"},
        "claim": {"type": "string"},
        "model": {
            "type": "object",
            "required": ["name", "weights", "parameters"],
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "weights": {"type": "string"},
                "parameters": {"type": "integer", "minimum": 1},
            },
        },
        "sweep": {"type": "string"},
        "seeds": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
        "versions": {"type": "object"},
        "machine": {"type": "object"},
        "minutes": {"type": "number"},
        "tried": {"type": "object"},
        "rates": {"type": "array", "items": NAMED_NUMBERS},
        "values": {"type": "array", "items": {"type": "number"}},
        "controls": {"type": "array", "items": {"type": "number"}},
        "results": {"type": "array", "items": {"type": "object", "additionalProperties": NAMED_NUMBERS}},
    },
}


def file_name(lesson: str, model: str, ending: str = "") -> str:
    """LESSON-MODEL.json; of a folder or hub id its last part."""
    short = re.sub(r"[^\w.-]", "_", Path(model).name) or "model"
    return f"{lesson}-{short}{ending}.json"


def stored_rows(row: Row, folder: Path = REPLICATIONS) -> list[dict]:
    """What is stored of a row, the smallest model first. ValueError that names the file and the fault."""
    found = [read_row(path, row) for path in sorted(folder.glob(f"{row.lesson}-*.json"))]
    return sorted(found, key=lambda each: each["model"]["parameters"])


def read_row(path: Path, row: Row) -> dict:
    """A stored row. ValueError that names the file and the fault."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise ValueError(f"{path} is no JSON: {fault}") from None
    if faults := row_faults(found, row):
        raise ValueError(f"{path}: {'; '.join(faults)}")
    return found


def row_faults(found: Any, row: Row) -> list[str]:
    """What is wrong with a row of somebody else: its form, then its values against its own runs."""
    faults = [
        f"{fault.json_path}: {fault.message[:200]}"
        for fault in Draft202012Validator(ROW_SCHEMA).iter_errors(found)
    ]
    if faults:
        return faults
    if len({len(found[key]) for key in ("seeds", "rates", "values", "controls", "results")}) > 1:
        return ["seeds, rates, values, controls and results differ in number"]
    try:
        for key, of in (("values", row.value), ("controls", row.of_control)):
            now = list(map(of, found["results"], found["rates"]))
            if not np.allclose(found[key], now, rtol=1e-6, atol=1e-12):
                faults.append(f"{key} are {found[key]}, and its results give {now}")
        for number in (row.untestable, *row.beside.values()):
            list(map(number, found["results"]))
    except KeyError as missing:
        faults.append(f"its results lack {missing}")
    return faults
