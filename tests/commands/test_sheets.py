"""Run sheets have what their plan names, by the clock; errors name the plans."""

from datetime import datetime

import pytest

from course_utils.commands import cli, sheets

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


def test_the_second_half_of_a_lesson_begins_after_the_break_where_the_first_ended():
    found = sheets.run_sheets("half-a-day", NINE)
    *_, before, after = found["sheets"]
    assert [before["lesson"], after["lesson"]] == ["03", "03"]
    assert (before["to"], after["from"]) == ("12:10", "12:20")  # minutes of the plan
    start, _ = sheets.cells("03")["It learns"]
    assert after["steps"][0]["cells"].startswith("18 ") and after["above"] == start
    assert found["rows"][-1]["clock"] == "12:50"


def test_a_week_of_the_term_begins_with_its_frame_and_the_second_day_in_the_morning():
    weeks = sheets.run_sheets("twelve-weeks", NINE)
    assert {one["from"] for one in weeks["sheets"]} == {"09:10"}
    days = sheets.run_sheets("two-days", NINE)["rows"]
    assert [row["clock"] for row in days].count("09:00") == 2


def test_a_step_names_its_slides():
    deck, number = sheets.slides_by_section()["03", "Where the gradient goes"][0].split()
    slide = sheets.slides_of(deck)[int(number) - 1]
    assert slide["figures"] or slide["claims"]
    sheet = sheets.run_sheets("half-a-day", NINE)["sheets"][3]
    assert any(f"{deck} {number}" in step["slides"] for step in sheet["steps"])


def test_the_command_writes_a_page_and_names_the_plans(tmp_path, capsys):
    assert cli.main(["sheets", "half-a-day", "--start", "8:30", "--out", str(tmp_path)]) == 0
    page = (tmp_path / "half-a-day.html").read_text(encoding="utf-8")
    assert page.count("<section") == 5 and "08:40 to 09:10" in page
    for wrong in (["golf"], ["half-a-day", "--start", "nine"]):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["sheets", *wrong])
    assert "half-a-day" in capsys.readouterr().err
