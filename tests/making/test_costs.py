"""README's times and memory come from a run, and are close to what a lesson needs here."""

import datetime
import json

import pytest

from course_utils.commands.run import run_lessons
from course_utils.making import costs
from course_utils.notebook_files import lessons

TEXT = costs.README.read_text(encoding="utf-8")
NUMBERS = [path.name[:2] for path in lessons()]


def results(seconds=61.0, gib=1.52):
    rows = [
        {"lesson": path.stem, "status": "passed", "seconds": seconds, "peak_bytes": int(gib * 2**30)}
        for path in lessons()
    ]
    rows[4] |= {"seconds": 100.0, "peak_bytes": 2**31 + 1}
    return rows


def test_readme_states_a_time_for_every_lesson_and_one_memory():
    seconds, memory = costs.stated(TEXT)
    assert sorted(seconds) == NUMBERS and min(seconds.values()) > 0 and memory > 0.5


def test_a_run_s_figures_are_rounded_up_into_the_table():
    text = costs.with_costs(TEXT, results())
    seconds, memory = costs.stated(text)
    assert seconds == {**dict.fromkeys(NUMBERS, 65), "04": 100} and memory == 2.1
    assert "(measured; lesson 04)" in text
    assert len(text.splitlines()) == len(TEXT.splitlines())


def test_a_run_without_all_lessons_is_refused(tmp_path, monkeypatch):
    rows = results()
    rows[3]["status"] = "failed"
    (tmp_path / "results.json").write_text(json.dumps({"lessons": rows[:-1]}))
    monkeypatch.setattr(costs, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text(TEXT)
    with pytest.raises(ValueError, match=r"not in this run, or not passed: 03, 19\. Run all: make run"):
        costs.main([str(tmp_path)])
    assert (tmp_path / "README.md").read_text() == TEXT


@pytest.mark.night
@pytest.mark.timing
def test_a_lesson_takes_about_what_readme_states(tmp_path):
    """A different lesson each day."""
    seconds, memory = costs.stated(TEXT)
    lesson = NUMBERS[datetime.date.today().toordinal() % len(NUMBERS)]
    assert run_lessons([lesson], "pocket", "quick", 0, 1, tmp_path / "run") == 0
    [row] = json.loads((tmp_path / "run" / "results.json").read_text())["lessons"]
    assert row["seconds"] < 3 * seconds[lesson] and row["peak_bytes"] < 1.3 * memory * 2**30
