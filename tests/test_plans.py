"""The plans for teaching: their minutes add up, what they name exists, and led lessons have a script."""

import re

import pytest

from course_utils.checks.exercises import registry
from course_utils.checks.lesson_texts import titles
from course_utils.commands.sheets import PLANS, SCRIPTS
from course_utils.commands.sheets import guide_tables as sections
from course_utils.notebook_files import lesson_key, lesson_of, lessons, read_notebook

KEY = r"\d\dm?"  # of a lesson, or of a companion
PAGES = range(300, 800)  # words of a script: two pages
SPOKEN = 130  # words per minute
HEADING = re.compile(r"^#{2,3} (.+?)(?:, \d+ min)?$", re.MULTILINE)


def headings(lesson, more=False):
    """Headings of a lesson or a companion; with `more`, of both."""
    cells = [cell for path in lessons([lesson], more=more) for cell in read_notebook(path).cells]
    return HEADING.findall("\n".join(cell.source for cell in cells if cell.cell_type == "markdown"))


def shown(lesson, names):
    """(words, predictions) of some sections of a lesson, each up to the next heading."""
    words, predictions, inside = 0, 0, False
    for cell in read_notebook(lessons([lesson])[0]).cells:
        if cell.cell_type == "code":
            predictions += inside and "predict(" in cell.source
            continue
        for part in re.split(r"^(?=#{2,3} )", cell.source, flags=re.MULTILINE):
            if heading := HEADING.match(part):
                inside = heading[1] in names
            words += inside * len(part.split())
    return words, predictions


plans = pytest.mark.parametrize(("name", "rows"), sections(PLANS).items(), ids=list(sections(PLANS)))


def test_there_are_half_a_day_a_day_two_days_a_term_and_a_session():
    names = [heading.partition(":")[0] for heading in sections(PLANS)]
    plans = ["Half a day", "One day", "Two days", "A week of the term", "Twelve weeks"]
    assert names == [*plans, "Where the field went"]


@plans
def test_the_minutes_sum(name, rows):
    promised = int(re.search(r": (\d+) minutes", name)[1])
    assert sum(int(row[0]) for row in rows) == promised


@plans
def test_exercises_exist_and_fit_with_all_that_is_said_into_three_quarters_of_the_minutes(name, rows):
    frame = sections(PLANS)["A week of the term: 90 minutes"]
    show, do = (
        next(int(row[0]) for row in frame if part in row[1])
        for part in ("sections of the plan", "exercises of the plan")
    )
    for row in rows:
        if len(row) < 4 or not re.fullmatch(KEY, row[1]):
            continue
        names = re.findall(r"`(\w+)`", row[3])
        for each in names:
            assert registry()[each].lesson == row[1], f"{each} is no exercise of lesson {row[1]}"
        minutes = sum(registry()[each].minutes for each in names)
        words, predictions = shown(row[1], re.findall(r"\*([^*]+)\*", row[2]))
        planned = int(row[0])
        if "weeks" in name:
            planned = show + do
            assert minutes <= do, row
        assert minutes + words / SPOKEN + predictions <= 0.75 * planned, row  # the rest is for questions


@plans
def test_named_sections_exist(name, rows):
    for row in rows:
        if len(row) > 2 and re.fullmatch(KEY, row[1]):
            named = re.findall(r"\*([^*]+)\*", row[2])
            assert named and set(named) <= set(headings(row[1])), row


@plans
def test_every_lesson_has_a_question_and_every_half_day_a_break(name, rows):
    for row in rows:
        if len(row) > 4 and re.fullmatch(KEY, row[1]):
            assert row[4].endswith("?"), row
    if len(rows[0]) > 4 and "weeks" not in name:
        work = 0
        for row in rows:
            work = 0 if row[1] in ("break", "lunch", "second day") else work + int(row[0])
            assert work <= 135, f"{work} minutes without a break, at: {row}"


def minutes_of(plan):
    """{lesson: its minutes} of one plan."""
    [rows] = [rows for name, rows in sections(PLANS).items() if name.startswith(plan)]
    led = [row for row in rows if re.fullmatch(KEY, row[1])]
    return {row[1]: sum(int(other[0]) for other in led if other[1] == row[1]) for row in led}


def test_every_lesson_has_a_script_of_two_pages_whose_minutes_are_the_plans():
    found = sections(SCRIPTS)
    assert [heading[:2] for heading in found] == [lesson_key(path) for path in lessons()]
    [(_, frame)] = [(name, rows) for name, rows in sections(PLANS).items() if name.startswith("A week")]
    week = sum(int(row[0]) for row in frame)  # of lessons that no plan leads
    planned = minutes_of("Twelve weeks") | minutes_of("Two days") | minutes_of("One day")
    for heading, rows in found.items():
        assert sum(int(row[0]) for row in rows) == planned.get(heading[:2], week), heading
        assert heading[3:].removesuffix(", led") == titles()[heading[:2]]
    for part in SCRIPTS.read_text(encoding="utf-8").split("\n## ")[1:]:
        assert len(part.split()) in PAGES, part.splitlines()[0]


def test_exercises_and_sections_of_scripts_exist():
    for part in SCRIPTS.read_text(encoding="utf-8").split("\n## ")[1:]:
        lesson = part[:2]
        table = "\n".join(line for line in part.splitlines() if line.startswith("|"))
        for name in re.findall(r"\| `(\w+)` \|", table):
            assert lesson_of(registry()[name].lesson) == lesson, name
        shown = {" ".join(name.split()) for name in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", part)}
        assert shown <= (there := set(headings(lesson, more=True))), shown - there
