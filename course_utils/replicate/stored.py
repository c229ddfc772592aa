"""Rows as they are stored: data/results/replications/LESSON-MODEL.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

from course_utils.stored_runs import RESULTS

REPLICATIONS = RESULTS / "replications"
ROW_KEYS = {  # of a row: its type
    "lesson": str,
    "claim": str,
    "model": dict,
    "sweep": str,
    "seeds": list,
    "versions": dict,
    "machine": dict,
    "minutes": float,
    "tried": dict,
    "rates": list,
    "values": list,
    "controls": list,
    "results": list,
}


def file_name(lesson: str, model: str, ending: str = "") -> str:
    """LESSON-MODEL.json; of a folder or hub id its last part."""
    short = re.sub(r"[^\w.-]", "_", Path(model).name) or "model"
    return f"{lesson}-{short}{ending}.json"


def stored_rows(lesson: str, folder: Path = REPLICATIONS) -> list[dict]:
    """The rows of a lesson, the smallest model first."""
    paths = sorted(folder.glob(f"{lesson}-*.json"))
    rows = [read_row(path) for path in paths]
    return sorted(rows, key=lambda row: row["model"]["parameters"])


def read_row(path: Path) -> dict:
    """A stored row. ValueError that names the file and the fault."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise ValueError(f"{path} is no JSON: {fault}") from None
    if faults := row_faults(row):
        raise ValueError(f"{path}: {'; '.join(faults)}")
    return row


def row_faults(row: object) -> list[str]:
    """What is wrong with a row of somebody else."""
    if not isinstance(row, dict):
        return ["it is no object"]
    faults = [f"{key} is missing" for key in ROW_KEYS if key not in row]
    faults += [
        f"{key} is no {kind.__name__}"
        for key, kind in ROW_KEYS.items()
        if key in row and not isinstance(row[key], kind)
    ]
    if not faults:
        lengths = {len(row[key]) for key in ("seeds", "rates", "values", "controls", "results")}
        if len(lengths) > 1 or not row["seeds"]:
            faults.append("seeds, rates, values, controls and results differ in number, or there are none")
        if not all(isinstance(value, int | float) for value in [*row["values"], *row["controls"]]):
            faults.append("values and controls are numbers")
        missing = {"name", "weights", "parameters"} - row["model"].keys()
        faults += [f"model has no {key}" for key in sorted(missing)]
    return faults
