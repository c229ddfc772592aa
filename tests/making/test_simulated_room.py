"""Simulated learners: progress files like the course's, with the checks' own messages."""

import shlex
from datetime import UTC, datetime, timedelta

import pytest

from course_utils.checks import progress
from course_utils.checks.exercises import registry
from course_utils.commands.room import Room
from course_utils.commands.room_page import AWAY, STUCK, whereabouts
from course_utils.making import room as simulated

NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def learners(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    simulated.simulate(folder, NOW, learners=10, seed=1)
    return folder, Room([folder]).learners()[0]


@pytest.mark.slow
def test_ten_learners_some_of_whom_are_stuck(learners):
    _, found = learners
    rows = [whereabouts(lessons, NOW) for lessons in found.values()]
    assert len(rows) == 10 and sum(row["stuck"] for row in rows) == 3
    assert all(row["minutes"] > STUCK for row in rows if row["stuck"])
    assert not any(row["silent"] > AWAY for row in rows)


def test_the_files_are_as_progress_has_them(learners, monkeypatch, capsys):
    folder, found = learners
    monkeypatch.setenv("COURSE_HOME", str(folder / "Ada"))
    full = {
        lesson: {"exercises": {}, "predictions": {}, "hints": {}} | kinds
        for lesson, kinds in found["Ada"].items()
    }
    assert progress.recorded() == full and capsys.readouterr().out == ""


def test_messages_are_those_of_the_checks_and_times_do_not_run_ahead(learners):
    for lessons in learners[1].values():
        for lesson, kinds in lessons.items():
            for name, entry in kinds.get("exercises", {}).items():
                assert registry()[name].lesson == lesson
                times = [datetime.fromisoformat(one["at"]) for one in entry["tries"]]
                assert times == sorted(times) and times[-1] <= NOW
                said = {one["mistake"] for one in entry["tries"]} - {""}
                assert said <= set(simulated.messages(name, lesson))


def test_the_same_seed_makes_the_same_room(learners, tmp_path):
    simulated.simulate(tmp_path, NOW + timedelta(0), learners=2, seed=1)
    same = (tmp_path / "Ada" / "progress.json").read_text()
    assert same == (learners[0] / "Ada" / "progress.json").read_text()


def test_the_command_that_is_printed_can_be_pasted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simulated, "simulate", lambda *arguments: None)
    simulated.main([str(tmp_path / "a room")])
    assert shlex.split(capsys.readouterr().out)[-1] == str(tmp_path / "a room")
