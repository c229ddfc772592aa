"""`python -m course_utils test` hands pytest what make's targets need, and says what is missing."""

from pathlib import Path
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


def test_help_names_quick_and_where_the_other_options_are(started, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["test", "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and not started and "--quick" in shown and "pytest" in shown


def test_what_is_missing_is_named(started, monkeypatch, capsys):
    monkeypatch.setattr(tests.importlib.util, "find_spec", lambda name: None if name == "nbval" else name)
    assert cli.main(["test"]) == 1 and not started
    assert "nbval" in (said := capsys.readouterr().err) and "[lab,test,compare]" in said


@pytest.mark.parametrize(
    "now, left", [(6, ["odd.py", "02_a.ipynb"]), (7, ["even.py", "four.py", "13_b.ipynb"])]
)
def test_of_the_tests_that_take_turns_a_commit_runs_half(now, left):
    marks = {}

    def item(name, *numbers):
        own = marks[name] = [pytest.mark.turns(number).mark for number in numbers]
        return SimpleNamespace(path=Path(name), iter_markers=lambda _: list(own), add_marker=own.append)

    items = [item("always.py"), item("even.py", 0), item("odd.py", 1), item("four.py", 4)]
    leave_to_another_commit([*items, item("02_a.ipynb"), item("13_b.ipynb")], now)
    assert [name for name, own in marks.items() if "other_turn" in own] == left
