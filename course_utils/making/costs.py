"""Updates the lessons' costs in README's table, seconds and the largest memory, from a run.

python -m course_utils.making.costs runs/20260101-120000      a full run with --jobs 1 on an idle machine
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from pathlib import Path

from course_utils.home import ROOT, write_whole
from course_utils.notebook_files import is_companion, lesson_key, lessons
from course_utils.ownership import read_regular
from course_utils.terminal import Parser

README = ROOT / "README.md"
STEP = 5  # seconds; times are rounded up to a multiple
TIME_ROW = re.compile(r"^(\| \[(\d\d) .*\| )(\d+)( s \| \d+ minutes \|)$", re.M)
MEMORY_ROW = re.compile(r"(\| Memory \| at most )([\d.]+)( GiB a lesson \(measured; lesson )(\d\d)(\))")


def stated(text: str) -> tuple[dict[str, int], float]:
    """({lesson: seconds}, GiB of the largest lesson) stated in a README's text."""
    return {row[2]: int(row[3]) for row in TIME_ROW.finditer(text)}, float(MEMORY_ROW.search(text)[2])


def with_costs(text: str, rows: list[dict]) -> str:
    """README's text with the seconds and memory from the rows of a run's results.json.

    ValueError if a lesson is missing or did not pass.
    """
    passed = {lesson_key(Path(row["lesson"])): row for row in rows if row["status"] == "passed"}
    found = {key: row for key, row in passed.items() if not is_companion(key)}
    if missing := sorted(set(map(lesson_key, lessons())) - found.keys()):
        raise ValueError(f"not in this run, or not passed: {', '.join(missing)}. Run all: make run")
    largest = max(found, key=lambda lesson: found[lesson]["peak_bytes"])
    gib = math.ceil(10 * found[largest]["peak_bytes"] / 2**30) / 10

    def with_seconds(row: re.Match) -> str:
        return f"{row[1]}{STEP * math.ceil(found[row[2]]['seconds'] / STEP)}{row[4]}"

    text = TIME_ROW.sub(with_seconds, text)
    return MEMORY_ROW.sub(lambda row: f"{row[1]}{gib}{row[3]}{largest}{row[5]}", text)


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(
        prog="python -m course_utils.making.costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="the folder of a run of all lessons")
    results = json.loads(read_regular(parser.parse_args(arguments).run / "results.json"))
    write_whole(README, with_costs(README.read_text(encoding="utf-8"), results["lessons"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
