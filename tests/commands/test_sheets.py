"""Run sheets have what their plan names, by the clock; errors name the plans."""

import ast
import builtins
import re
from datetime import datetime

import pytest

from course_utils.commands import cli, sheets
from course_utils.notebook_files import lessons, read_notebook

NINE = datetime(2026, 1, 1, 9)


@pytest.mark.parametrize("plan", sheets.plans())
def test_a_sheet_has_every_section_and_exercise_of_its_row_and_its_clock_rises(plan):
    heading = sheets.plans()[plan]
    led = [row for row in sheets.guide_tables(sheets.PLANS)[heading] if sheets.LESSON.fullmatch(row[1])]
    for row, one in zip(led, sheets.run_sheets(plan, NINE)["sheets"], strict=True):
        assert one["lesson"] == row[1] and one["steps"] and one["ask"].endswith("?")
        said = " ".join(f"{step['you']} {step['they']}" for step in one["steps"])
        left = [name for name, _ in one["left"]]
        for name in sheets.IN_ITALICS.findall(row[2]):
            assert f"<em>{name}</em>" in said or name in left
        for name in sheets.TO_DO.findall(row[3]):
            assert f"<code>{name}</code>" in said or name in left
        clocks = [one["from"], *(step["clock"] for step in one["steps"]), one["to"]]
        assert clocks == sorted(clocks) and clocks[0] == clocks[1]
        assert {"Go on when", "If time is short"} & {words for words, _ in one["notes"]}


def names_of(source):
    """(names that a cell sets, names that it reads when it runs: not those in its functions)."""
    tree = ast.parse(re.sub(r"(?m)^[%!].*", "", source))
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.Lambda)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    loads = [node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    read = {node.id for node in loads if id(node) not in inside}
    made = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    made |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    imports = [node.names for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return made | {(one.asname or one.name).split(".")[0] for part in imports for one in part}, read


def numbers_in(text):
    parts = [part.split(" to ") for part in text.split(", ") if part]
    return [number for part in parts for number in range(int(part[0]), int(part[-1]) + 1)]


@pytest.mark.parametrize("plan", sheets.plans())
def test_who_runs_a_sheets_cells_in_its_order_misses_no_name(plan):
    known: dict[str, set[str]] = {}
    for one in sheets.run_sheets(plan, NINE)["sheets"]:
        notebook = read_notebook(lessons([one["lesson"]])[0])
        sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        have = known.setdefault(one["lesson"], set(dir(builtins)))
        order = [*range(1, one["above"][0])]
        order += [n for step in one["steps"] for n in numbers_in(step["first"]) + numbers_in(step["cells"])]
        for number in order:
            made, read = names_of(sources[number - 1])
            assert not read - made - have, f"{one['lesson']}, cell {number}"
            have |= made


def test_a_cell_that_no_row_shows_is_run_and_one_of_a_later_row_is_jumped_over():
    found = sheets.run_sheets("half-a-day", NINE)["sheets"]
    found += sheets.run_sheets("one-day", NINE)["sheets"]
    of = {(one["lesson"], step["cells"]): step for one in found for step in one["steps"]}
    assert of["08", "15 to 18"]["first"] == "12 to 14" and not of["08", "15 to 18"]["jump"]
    assert (of["08", "32 to 34"]["first"], of["08", "32 to 34"]["jump"]) == ("24 to 30", "31")


@pytest.mark.parametrize("plan", ["half-a-day", "one-day", "two-days"])
def test_a_plan_with_all_minutes_of_a_script_shows_all_of_it_and_a_sheet_says_what_it_leaves_out(plan):
    table = sheets.guide_tables(sheets.PLANS)[sheets.plans()[plan]]
    led = [row for row in table if sheets.LESSON.fullmatch(row[1])]
    left_out: dict[str, set[str]] = {}
    for row, one in zip(led, sheets.run_sheets(plan, NINE)["sheets"], strict=True):
        script = next(
            rows for name, rows in sheets.guide_tables(sheets.SCRIPTS).items() if name[:2] == row[1]
        )
        named = {name for _, you, _ in script for name in sheets.IN_ITALICS.findall(you)}
        said, told = " ".join(step["you"] for step in one["steps"]), {name for name, _ in one["elsewhere"]}
        assert {name for name in named if f"<em>{name}</em>" in said} | told == named
        left_out[row[1]] = left_out.get(row[1], told) & told
        minutes = sum(int(other[0]) for other in led if other[1] == row[1])
        if minutes != sum(int(step[0]) for step in script):
            left_out[row[1]] = set()
    assert not any(left_out.values()), left_out


def test_the_second_half_of_a_lesson_begins_after_the_break_where_the_first_ended():
    found = sheets.run_sheets("half-a-day", NINE)
    *_, before, after = found["sheets"]
    assert [before["lesson"], after["lesson"]] == ["03", "03"]
    assert (before["to"], after["from"]) == ("12:05", "12:15")  # minutes of the plan
    section = "Where the gradient goes"
    start, _ = sheets.cells("03")[section]
    assert after["steps"][0]["cells"].startswith(f"{start} ") and after["above"] == (start, section)
    assert found["rows"][-1]["clock"] == "12:50"
    breaks = [row["next"] for row in found["rows"] if row["next"]]
    assert [one["lesson"] for one in breaks] == ["02", "03"] and breaks[1] is after
    assert breaks[0]["above"][1] == "Three remedies for forgetting"  # what takes minutes runs in the break


def test_a_week_of_the_term_begins_with_its_frame_and_the_second_day_in_the_morning():
    weeks = sheets.run_sheets("twelve-weeks", NINE)
    assert {one["from"] for one in weeks["sheets"]} == {"09:10"}
    days = sheets.run_sheets("two-days", NINE)["rows"]
    assert [row["clock"] for row in days].count("09:00") == 2


def test_a_step_names_its_slides():
    [name] = sheets.slides_by_section()["03", "Where the gradient goes"]
    deck, first, _, number, _ = name.replace(",", "").split()
    asks, shows = (sheets.slides_of(deck)[int(each) - 1] for each in (first, number))
    assert asks["title"] == shows["title"] and shows["figures"] and not asks["figures"]
    sheet = sheets.run_sheets("half-a-day", NINE)["sheets"][4]
    assert any(name in step["slides"] for step in sheet["steps"])


def test_the_command_writes_a_page_and_names_the_plans(tmp_path, capsys):
    assert cli.main(["sheets", "half-a-day", "--start", "8:30", "--out", str(tmp_path)]) == 0
    page = (tmp_path / "half-a-day.html").read_text(encoding="utf-8")
    assert page.count("<section") == 5 and "08:40 to 09:10" in page
    for wrong in (["golf"], ["half-a-day", "--start", "nine"]):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["sheets", *wrong])
    told = capsys.readouterr().err
    assert "half-a-day" in told and "'nine' is no time of a day, such as 9:00" in told
