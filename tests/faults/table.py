"""Shared by the fault trials: their number, and the final table tried / handled / bad.

`make faults` runs the long trials and writes the table to docs/faults.md.
"""

import os
import time
from importlib.metadata import version
from pathlib import Path

import pytest

LONG = os.environ.get("COURSE_FAULTS") == "long"
FILE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"


def many(short, long):
    """Number of trials: `long` under `make faults`, else `short`."""
    return long if LONG else short


@pytest.fixture
def tabulate(record_property):
    """tabulate(kind, faults): a row of the table; faults: per trial "" if handled, else what was bad."""

    def row(kind, faults):
        faults = list(faults)
        bad = [fault for fault in faults if fault]
        record_property("trials", [kind, len(faults), len(faults) - len(bad), len(bad)])
        assert faults and not bad, f"{len(bad)} of {len(faults)} are bad:\n" + "\n".join(bad[:20])

    return row


def print_table(terminalreporter):
    """Print the table, and write the long one. Workers send their rows in the reports."""
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


PAGE = """\
# Trials of faults and bad input

What `make faults` tried, each trial with a file, a moment, a spelling or a setting of its own drawn
by a seed. Handled: refused with a message that says what, where and what to do, or survived with
nothing lost; bad: anything else. `make nightly` runs a short version of every kind, `make test` of a few.

Last written with {packages}.

| kind | tried | handled | bad | last tried |
|---|---|---|---|---|
{rows}

## By hand

{by_hand}
"""


def write(rows):
    """Write docs/faults.md: versions and table. Rows of kinds not tried now and text by hand stay."""
    page = FILE.read_text(encoding="utf-8")
    table, _, by_hand = page.partition("## By hand")
    before = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    kinds = {row[0] for row in rows} | {"kind"}
    today = time.strftime("%Y-%m-%d")
    kept = [row for row in before if row[0] not in kinds]
    table = sorted(kept + [[*map(str, row), today] for row in rows])
    page = PAGE.format(
        packages=", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "trl")),
        rows="\n".join(f"| {' | '.join(row)} |" for row in table),
        by_hand=by_hand.strip(),
    )
    FILE.write_text(page, encoding="utf-8")
