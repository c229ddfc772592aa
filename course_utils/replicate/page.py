"""Does it hold? The rows of all lessons, a column a model, from stored runs: docs/holds.md and its CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections import Counter
from collections.abc import Iterable

from course_utils.home import write_whole
from course_utils.ownership import ROOT
from course_utils.replicate.rows import Row, all_rows
from course_utils.replicate.stored import stored_rows
from course_utils.templates import templates

PAGE, CSV = ROOT / "docs" / "holds.md", ROOT / "docs" / "holds.csv"
SOURCE = "pocket"  # the bounds were set on its runs
LONG_TITLES = {
    SOURCE: "pocket, from which the claims come",
    "smollm2": "SmolLM2-135M-Instruct, weights rounded to 4 bits",
}


def seeds_in_words(values: Iterable[float]) -> str:
    """Mean (lowest to highest), three digits."""
    values = list(values)
    mean, low, high = (f"{value:.3g}" for value in (statistics.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def steps_in_words(values: Iterable[float]) -> str:
    """Each seed's: of values that are steps of a grid a mean says nothing."""
    return ", ".join(f"{value:.3g}" for value in values)


def bounds_in_words(row: Row) -> str:
    """at least 3, at most 32."""
    bounds = {"at least": row.at_least, "at most": row.at_most}
    return ", ".join(f"{name} {bound}" for name, bound in bounds.items() if bound is not None)


def cell(row: Row, found: dict) -> dict:
    """A model's cell: its values, the control's, the numbers beside them, and whether it agrees.

    Where the bounds come from, agreement is called "source".
    """
    outcome = row.outcome(found)
    return {
        "values": (steps_in_words if row.rates_by_seed else seeds_in_words)(found["values"]),
        "controls": seeds_in_words(found["controls"]),
        "beside": [seeds_in_words(map(number, found["results"])) for number in row.beside.values()],
        "outcome": "source" if found["model"]["name"] == SOURCE and outcome == "agrees" else outcome,
        "reason": row.reason(found),
    }


def outcome_table() -> dict:
    """{"models": by size, "rows": [{"row", "bounds", "cells": {model: cell}}], "hours"}."""
    rows, sizes, minutes = [], {}, 0.0
    for row in all_rows().values():
        found = {each["model"]["name"]: each for each in stored_rows(row)}
        sizes |= {name: each["model"]["parameters"] for name, each in found.items()}
        minutes += sum(each["minutes"] for each in found.values())
        cells = {name: cell(row, each) for name, each in found.items()}
        rows.append({"row": row, "bounds": bounds_in_words(row), "cells": cells})
    models = sorted(sizes, key=sizes.__getitem__)
    outcomes = {
        name: [one["cells"][name]["outcome"] for one in rows if name in one["cells"]] for name in models
    }
    return {
        "models": [
            {
                "name": name,
                "title": LONG_TITLES.get(name, name),
                "parameters": sizes[name],
                "counts": ", ".join(f"{each} {count}" for each, count in Counter(outcomes[name]).items()),
            }
            for name in models
        ],
        "rows": rows,
        "hours": minutes / 60,
    }


def holds_page() -> str:
    """The guide's text: the table of outcomes in HTML, then a section a row."""
    return templates.get_template("holds.md").render(outcome_table())


def holds_csv() -> str:
    """A line for each row and model."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [
        "lesson",
        "claim",
        "quantity",
        "unit",
        "model",
        "parameters",
        "seeds",
        "values",
        "controls",
        "outcome",
    ]
    writer.writerow(names)
    for lesson, row in all_rows().items():
        for found in stored_rows(row):
            numbers = [" ".join(f"{value:.6g}" for value in found[key]) for key in ("values", "controls")]
            model = found["model"]
            about = [lesson, row.claim, row.quantity, row.unit, model["name"], model["parameters"]]
            writer.writerow([*about, len(found["seeds"]), *numbers, cell(row, found)["outcome"]])
    return text.getvalue()


def write_holds() -> None:
    """Write the page and its CSV into docs/."""
    write_whole(PAGE, holds_page())
    write_whole(CSV, holds_csv())


if __name__ == "__main__":
    write_holds()
