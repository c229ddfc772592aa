"""`python -m course_utils sheets`: a plan's run sheets for its teacher, from plans, scripts and slides.

python -m course_utils sheets half-a-day                   to build/sheets/half-a-day.html
python -m course_utils sheets one-day --start 8:30

The first page has the whole plan by the clock; then one page a lesson: clock, cells, what to
say, what they do, which slide, when to go on, what to leave out.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from course_utils.checks.lesson_texts import sections, titles
from course_utils.commands.key import markdown
from course_utils.commands.slides import deck_names, slides_of
from course_utils.home import ROOT, write_page
from course_utils.notebook_files import lessons, read_notebook
from course_utils.ownership import BUILD, OTHER_FOLDER, OVERWRITE_HELP, own_page
from course_utils.templates import templates
from course_utils.terminal import Parser, plain_line

PLANS, SCRIPTS = (ROOT / "docs" / name for name in ("plans.md", "scripts.md"))
SHEETS = BUILD / "sheets"
LESSON = re.compile(r"\d\dm?")
IN_ITALICS = re.compile(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)")  # a section, in italics
TO_DO = re.compile(r"`(\w+)`")
EXERCISE = re.compile(r"\bcheck\.(\w+)\(")
SAID = ("Aim", "In the half day")  # by the sheet itself, or of no use while teaching
WEEKS = "Twelve weeks"


def guide_tables(path: Path) -> dict[str, list[list[str]]]:
    """{heading: the rows of the first table under it, each as its cells} of a guide."""
    found = {}
    for part in path.read_text(encoding="utf-8").split("\n## ")[1:]:
        rows = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
        found[part.splitlines()[0]] = [[cell.strip() for cell in row] for row in rows[2:]]
    return found


@cache
def plans() -> dict[str, str]:
    """{name on the command line: heading} of the plans that lead lessons."""
    return {
        heading.partition(":")[0].lower().replace(" ", "-"): heading
        for heading, rows in guide_tables(PLANS).items()
        if any(LESSON.fullmatch(row[1]) for row in rows)
    }


@cache
def notes(lesson: str) -> dict[str, str]:
    """{bold words that begin a paragraph of the lesson's script: the rest of that paragraph}."""
    parts = SCRIPTS.read_text(encoding="utf-8").split("\n## ")[1:]
    script = next(part for part in parts if part.startswith(f"{lesson} "))
    bold = re.compile(r"\*\*([^*]+?)\.?\*\*,? ?((?:(?!\*\*).)+)", re.DOTALL)
    return {words: text.strip() for words, text in bold.findall(script)}


@cache
def cells(lesson: str) -> dict[str, tuple[int, int]]:
    """{heading or exercise: its first and last code cell, as Run All numbers them} of a lesson."""
    found: dict[str, tuple[int, int]] = {}
    for number, (headings, cell) in enumerate(sections(read_notebook(lessons([lesson])[0])), 1):
        for name in [*headings, *EXERCISE.findall(cell.source)]:
            found[name] = (found.get(name, (number, number))[0], number)
    return found


@cache
def slides_by_section() -> dict[tuple[str, str], list[str]]:
    """{(lesson, section): slides with a figure or claim from it: "lora 3 after it"; "3 asks, 4 shows"}."""
    found: dict[tuple[str, str], list[str]] = {}
    for deck in deck_names():
        slides = slides_of(deck)
        for number, slide in enumerate(slides, 1):
            asks = number > 1 and slides[number - 2]["title"] == slide["title"]
            name = f"{deck} {number - 1} asks, {number} shows" if asks else f"{deck} {number} after it"
            for taken in [*slide["figures"], *slide["claims"]]:
                for section in taken["sections"]:
                    found.setdefault((taken["lesson"], section), []).append(name)
    return found


def sheet(row: Sequence[str], minutes: int, begins: datetime, ran: set[int], later: set[int]) -> dict:
    """A lesson's page: the steps of its script that this row of a plan shows, by the clock.

    minutes: what the steps have together. ran: cells of earlier rows, to which those of this one are added.
    later: cells of later rows. What no row shows is run as it is, before the step that follows it.
    """
    lesson, shown, do = row[1], set(IN_ITALICS.findall(row[2])), set(TO_DO.findall(row[3]))
    script = next(rows for heading, rows in guide_tables(SCRIPTS).items() if heading.startswith(f"{lesson} "))
    steps, wanted, left, elsewhere = [], not ran, shown | do, []
    for length, you, they in script:
        named, tried = set(IN_ITALICS.findall(you)), set(TO_DO.findall(they))
        if named or tried:
            wanted = bool(named & shown or tried & do)
            if not wanted:
                elsewhere += sorted(named)
        if wanted:
            left -= named | tried
            steps.append(
                {
                    "length": int(length),
                    "you": markdown(you),
                    "they": markdown("run its cell as it is" if tried and not tried & do else they),
                    "cells": _cells(lesson, (named | tried) & (shown | do) or named | tried),
                    "slides": sorted(
                        {s for one in named for s in slides_by_section().get((lesson, one), [])}
                    ),
                }
            )
    whole = sum(step["length"] for step in steps)
    passed = 0
    for step in steps:
        step["clock"] = f"{begins + timedelta(minutes=round(minutes * passed / whole)):%H:%M}"
        passed += step["length"]
    first, section = min((cells(lesson)[one][0], one) for one in shown)
    ran |= set(range(1, first))
    for number, step in enumerate(steps):
        before = set(range(1, min(step["cells"], default=1))) - ran
        after = set().union(later, *(one["cells"] for one in steps[number + 1 :]))
        step["first"], step["jump"] = _range(before - after), _range(before & after)
        ran |= step["cells"] | before - after
        step["cells"] = _range(step["cells"])
    return {
        "lesson": lesson,
        "title": titles()[lesson],
        "from": f"{begins:%H:%M}",
        "to": f"{begins + timedelta(minutes=minutes):%H:%M}",
        "above": (first, section),
        "steps": steps,
        "left": [(name, _range(_cells(lesson, [name]))) for name in sorted(left)],
        "elsewhere": [(name, _range(_cells(lesson, [name]))) for name in elsewhere],
        "ask": row[4],
        "notes": [
            (words, markdown(text[0].upper() + text[1:]))
            for words, text in notes(lesson).items()
            if words not in SAID
        ],
    }


def _cells(lesson: str, names: Iterable[str]) -> set[int]:
    found = [cells(lesson)[name] for name in names if name in cells(lesson)]
    return {number for first, last in found for number in range(first, last + 1)}


def _range(numbers: set[int]) -> str:
    """ "9 to 11, 14"."""
    parts = []
    for number in sorted(numbers):
        if number - 1 not in numbers:
            parts.append([number, number])
        parts[-1][1] = number
    return ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in parts)


def run_sheets(plan: str, start: datetime) -> dict:
    """{"title", "rows", "sheets"} of a plan; rows by the clock, a sheet for each row that leads a lesson."""
    heading = plans()[plan]
    before, planned = frame() if heading.startswith(WEEKS) else (0, 0)
    clock, rows, sheets = start, [], []
    ran: dict[str, set[int]] = {}  # cells, by lesson
    table = guide_tables(PLANS)[heading]
    for number, row in enumerate(table):
        if planned or row[1] == "second day":
            clock = start
        led = bool(LESSON.fullmatch(row[1]))
        rows.append(
            {"clock": f"{clock:%H:%M}", "cells": [markdown(cell) for cell in row], "led": led, "next": None}
        )
        if led:
            begins = clock + timedelta(minutes=before)
            later = [other for other in table[number + 1 :] if other[1] == row[1]]
            named = [IN_ITALICS.findall(other[2]) + TO_DO.findall(other[3]) for other in later]
            to_come = _cells(row[1], itertools.chain(*named))
            sheets.append(sheet(row, planned or int(row[0]), begins, ran.setdefault(row[1], set()), to_come))
            if number and table[number - 1][1] in ("break", "lunch"):
                rows[-2]["next"] = sheets[-1]
        clock += timedelta(minutes=int(row[0]))
    return {"title": heading.partition(":")[0], "rows": rows, "sheets": sheets}


def frame() -> tuple[int, int]:
    """Minutes of a week of the term before its lesson begins, and for what is shown and done of it."""
    rows = next(rows for heading, rows in guide_tables(PLANS).items() if heading.startswith("A week"))
    minutes = [int(row[0]) for row in rows]
    return minutes[0], minutes[1] + minutes[2]


def main(argv: Sequence[str] = ()) -> int:
    """`python -m course_utils sheets PLAN [--start TIME] [--out FOLDER]`."""
    parser = Parser(
        "python -m course_utils sheets",
        description="Write a plan's run sheets, one page a lesson, as an HTML page to print.",
    )
    parser.add_argument("plan", choices=list(plans()), metavar="PLAN", help=", ".join(plans()))
    parser.add_argument("--start", type=time_of, default=time_of("9:00"), metavar="TIME", help="default 9:00")
    parser.add_argument("--out", type=Path, default=SHEETS, help="folder; default build/sheets")
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    chosen = parser.parse_args(argv)
    page = own_page(chosen.out / f"{chosen.plan}.html", OTHER_FOLDER, chosen.overwrite)
    text = templates.get_template("sheets.html").render(run_sheets(chosen.plan, chosen.start))
    write_page(page, text, OTHER_FOLDER, chosen.overwrite)
    print(f"Open {plain_line(page)}")
    return 0


def time_of(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%H:%M")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time of a day, such as 9:00 or 13:30") from None
