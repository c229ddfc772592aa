"""The table of draws: it names lessons like other commands, and reports disagreements."""

from types import SimpleNamespace

import pytest

from course_utils.making import draws


def test_a_lesson_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no lesson '99'"):
        draws.main(["99"])


@pytest.mark.parametrize("name", ["1", "01", "01_why_fine_tuning_works"])
def test_a_lesson_is_named_as_elsewhere(name, monkeypatch, capsys):
    exercises = [
        SimpleNamespace(lesson=lesson, name=f"of_{lesson}", right=[], wrong=[]) for lesson in ("00", "01")
    ]
    monkeypatch.setattr(draws, "registry", lambda: {one.name: one for one in exercises})
    monkeypatch.setattr(draws, "disagreements", lambda exercise, count: [])
    assert draws.main([name]) == 0
    shown = capsys.readouterr().out
    assert "of_01" in shown and "of_00" not in shown
