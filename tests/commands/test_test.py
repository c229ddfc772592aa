"""`python -m course_utils test` hands pytest what make's targets need, and says what is missing."""

from types import SimpleNamespace

import pytest
from helpers import leave_to_another_commit

from course_utils.commands import cli, tests


@pytest.fixture
def started(monkeypatch):
    calls = []

    def run(command, cwd, env):
        calls.append((command, cwd, env))
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(tests.subprocess, "run", run)
    return calls


def test_everything_with_the_notebooks(started):
    assert cli.main(["test", "-k", "session"]) == 3
    [(command, cwd, environment)] = started
    assert command[1:5] == ["-m", "pytest", "tests", "notebooks"] and command[-2:] == ["-k", "session"]
    assert "--nbval" in command and cwd == tests.ROOT and environment["PYTHONUTF8"] == "1"


def test_quick_leaves_out_what_takes_long(started):
    assert cli.main(["test", "--quick"]) == 3
    [(command, _, _)] = started
    assert "--quick" not in command and "notebooks" not in command and "--nbval" not in command
    marks = command[command.index("-m", 2) + 1]
    assert all(f"not {mark}" in marks for mark in ("notebook", "browser", "seeds", "slow", "faults"))


def test_what_is_missing_is_named(started, monkeypatch, capsys):
    monkeypatch.setattr(tests.importlib.util, "find_spec", lambda name: None if name == "nbval" else name)
    assert cli.main(["test"]) == 1 and not started
    assert "nbval" in (said := capsys.readouterr().err) and "[lab,test,compare]" in said


@pytest.mark.parametrize("now", [6, 7])
def test_of_the_tests_that_take_turns_a_commit_runs_half(now):
    left = []

    def item(name, *numbers):
        marks = [pytest.mark.turns(number).mark for number in numbers]
        return SimpleNamespace(
            iter_markers=lambda _: marks, add_marker=lambda mark: left.append((name, mark))
        )

    leave_to_another_commit([item("always"), item("even", 0), item("odd", 1), item("four", 4)], now)
    assert left == [(name, "other_turn") for name in (["odd"] if now == 6 else ["even", "four"])]
