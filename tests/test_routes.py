"""README's routes: each has what its lessons build on, before them, and states their hours."""

import math
import re

import pytest

from course_utils.home import ROOT
from course_utils.making.measures import stated_minutes
from course_utils.notebook_files import lessons, read_notebook

ROW = re.compile(r"^\| ([^|]+) \| (\d\d[\d, to]*) \| (\d+) hours \|$", re.MULTILINE)
ROUTES = ROW.findall((ROOT / "README.md").read_text(encoding="utf-8"))


def numbers(names: str) -> list[str]:
    """ "00 to 02, 05" as ["00", "01", "02", "05"]."""
    ranges = [re.findall(r"\d\d", part) for part in names.split(",")]
    return [f"{number:02}" for ends in ranges for number in range(int(ends[0]), int(ends[-1]) + 1)]


def built_on(lesson: str) -> set[str]:
    """The lessons named in the paragraph "Builds on" of a lesson."""
    opening = read_notebook(lessons([lesson])[0]).cells[0].source
    paragraph = re.search(r"^\*\*Builds on\*\*(.+?)(?:\n\n|\Z)", opening, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"\b\d\d\b", paragraph[1])) if paragraph else set()


def test_every_lesson_but_the_first_builds_on_another_one():
    first, *others = numbers("00 to 19")
    assert not built_on(first) and all(map(built_on, others))


@pytest.mark.parametrize(("aim", "names", "hours"), ROUTES, ids=[aim for aim, *_ in ROUTES])
def test_a_route_has_what_its_lessons_build_on_and_its_hours(aim, names, hours):
    route = numbers(names)
    missing = {lesson: built_on(lesson) - set(route[:place]) for place, lesson in enumerate(route)}
    assert {lesson: names for lesson, names in missing.items() if names} == {}
    assert math.ceil(sum(map(stated_minutes, route)) / 60) == int(hours)


def test_there_are_routes():
    assert len(ROUTES) == 4


def test_the_answers_on_top_are_those_that_lesson_00_shows():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (What .+\?) \| ([^|]+) \| ([^|]+) \|$", readme, re.MULTILINE)
    shown = "".join(str(cell.get("outputs")) for cell in read_notebook(lessons(["00"])[0]).cells)
    assert len(rows) == 2
    for question, before, after in rows:
        assert re.search(rf"{re.escape(question)}.{{0,200}}?{before}.{{0,200}}?{after}", shown), question


def test_what_the_readme_shows_before_and_after_is_what_lesson_00_shows():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (What [^|]+\?) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    outputs = [
        output["data"]["text/html"]
        for cell in read_notebook(lessons(["00"])[0]).cells
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    assert len(rows) >= 2
    for row in rows:
        assert any(all(f">{cell}<" in html for cell in row) for html in outputs), row
