"""What the fault trials have in common: how many, and the table tried / handled / bad that they end in.

`make faults` runs the long trials and writes the table to docs/faults.json.
"""

import json
import os
import time
from importlib.metadata import version
from pathlib import Path

import pytest

LONG = os.environ.get("COURSE_FAULTS") == "long"
FILE = Path(__file__).resolve().parents[2] / "docs" / "faults.json"


def many(short, long):
    """How many trials: `long` under `make faults`, else `short`."""
    return long if LONG else short


@pytest.fixture
def tabulate(record_property):
    """tabulate(kind, faults): a row of the table; of each trial "" if handled, else what was bad."""

    def row(kind, faults):
        faults = list(faults)
        bad = [fault for fault in faults if fault]
        record_property("trials", [kind, len(faults), len(faults) - len(bad), len(bad)])
        assert faults and not bad, f"{len(bad)} of {len(faults)} are bad:\n" + "\n".join(bad[:20])

    return row


def pytest_terminal_summary(terminalreporter):
    """Print the table; the long one is written too. Workers hand their rows over in the reports."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    rows = sorted(
        value
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "trials"
    )
    if not rows:
        return
    terminalreporter.section("faults")
    for kind, tried, handled, bad in [["", "tried", "handled", "bad"], *rows]:
        terminalreporter.write_line(f"{kind:50} {tried:>7} {handled:>7} {bad:>7}")
    if LONG:
        write(rows)


def write(rows):
    """docs/faults.json: date, versions, rows. Rows of kinds that were not tried this time stay."""
    old = json.loads(FILE.read_text())["rows"] if FILE.exists() else []
    kinds = {row[0] for row in rows}
    packages = ("torch", "transformers", "tokenizers", "peft", "trl")
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "versions": {name: version(name) for name in packages},
        "columns": ["kind", "tried", "handled", "bad"],
        "rows": sorted([row for row in old if row[0] not in kinds] + [list(row) for row in rows]),
    }
    FILE.write_text(json.dumps(found, indent=1) + "\n")
