"""`python -m course_utils test` gives pytest the options of make's targets, and reports what is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from course_utils.commands import cli, tests
from course_utils.notebook_files import lesson_key, lessons

TESTS = tests.ROOT / "tests"
MARKS = ("slow", "night", "timing", "seeds", "colab")


@pytest.fixture
def started(monkeypatch):
    calls = []

    def run(command, cwd, env):
        calls.append((command, cwd, env))
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(tests.subprocess, "run", run)
    return calls


def test_by_day_with_two_saved_lessons(started):
    assert cli.main(["test", "-k", "session"]) == 3
    [(command, cwd, environment)] = started
    saved = [lesson_key(Path(part)) for part in command if part.endswith(".ipynb")]
    assert saved == [lesson_key(path) for path in lessons(["00", "03"], more=True)]
    assert command[1:4] == ["-m", "pytest", "tests"] and command[-2:] == ["-k", "session"]
    assert "--nbval" in command and cwd == tests.ROOT and environment["PYTHONUTF8"] == "1"


def test_quick_leaves_out_what_takes_long(started):
    assert cli.main(["test", "--quick"]) == 3
    [(command, _, _)] = started
    assert "--quick" not in command and "--nbval" not in command and tests.QUICK in command


def test_at_night_all_that_has_not_passed_yet(started, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.setattr(tests, "checkout_files", lambda: [])
    monkeypatch.setattr(tests, "commit_named", {"v1": "1a"}.get)
    monkeypatch.setattr(tests, "changed_lessons", lambda since: ["03", "17"] if since == "1a" else [])
    assert cli.main(["test", "--night", "--since", "v1", "-x"]) == 3
    [(command, _, _)] = started
    assert command[3:5] == ["tests", "notebooks"] and "--nbval" in command and tests.NIGHT in command
    assert {"--seeds-of=03 17", "--minutes=115", "-x"} <= {*command}
    [journal] = [part.removeprefix("--journal=") for part in command if part.startswith("--journal=")]
    assert Path(journal).parent == tmp_path / "nights"


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A checkout with a committed lesson, and a function that writes a file there."""
    monkeypatch.setattr(tests, "ROOT", tmp_path)

    def write(name, text="x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    write("notebooks/01_a.ipynb")
    write(".gitignore", "ignored")
    tests.git("init", "--quiet")
    tests.git("add", ".")
    tests.git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "one")
    return write


def test_lessons_changed_are_those_of_another_notebook_or_module(clone):
    assert tests.changed_lessons(tests.yesterday()) == []
    clone("notebooks/01_a.ipynb", "changed")
    clone("notebooks/12_b.ipynb")
    clone("notebooks/more/14_more.ipynb")
    clone("course_utils/lessons/lesson_07/figures.py")
    clone("course_utils/methods/lora.py")
    assert tests.changed_lessons("HEAD") == ["01", "07", "12", "14"]


def test_what_names_no_commit_is_refused_and_no_option_of_git(clone, tmp_path):
    assert tests.commit_named("HEAD") == tests.git("rev-parse", "HEAD")
    clone("mine.txt", "precious")
    for name in (f"--output={tmp_path / 'mine.txt'}", "v9", ""):
        with pytest.raises(ValueError, match="there is no such commit"):
            tests.of_the_night(name) if name else tests.commit_named(name)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_the_journal_is_another_where_a_file_or_package_is_another(clone, monkeypatch):
    kept = {tests.digest_of(tests.checkout_files())}
    clone("ignored")
    assert {tests.digest_of(tests.checkout_files())} == kept
    clone("new.py")
    kept.add(tests.digest_of(tests.checkout_files()))
    clone("notebooks/01_a.ipynb", "changed")
    kept.add(tests.digest_of(tests.checkout_files()))
    monkeypatch.setattr(tests.importlib.metadata, "distributions", list)
    kept.add(tests.digest_of(tests.checkout_files()))
    assert len(kept) == 4


def test_without_a_clone_the_night_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tests, "ROOT", tmp_path)
    assert cli.main(["test", "--night"]) == 1
    assert "need git and a clone" in capsys.readouterr().err


TOY = """
import time, pytest
def test_first(): pass
def test_second():
    with open("times.txt", "a") as file: file.write("x")
    assert {good}
@pytest.mark.skip(reason="no browser")
def test_third(): pass
@pytest.mark.seeds
@pytest.mark.parametrize("lesson", ["01-0", "02-0", "02m-0"])
def test_claims(lesson): pass
"""


@pytest.fixture
def night(tmp_path):
    """Run a file of toy tests with the journal: (exit status, output, names in the journal)."""

    def run(*options, good=True):
        (tmp_path / "test_toy.py").write_text(TOY.format(good=good))
        command = [sys.executable, "-m", "pytest", "-p", "night", "--journal=journal.txt", "-rs", *options]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(tests.ROOT)])}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        path = tmp_path / "journal.txt"
        names = path.read_text().split() if path.exists() else []
        return done.returncode, done.stdout, [name.partition("::test_")[2] for name in names]

    return run


@pytest.mark.slow
def test_what_passed_is_left_out_and_what_failed_or_was_skipped_is_not(night):
    status, shown, passed = night(good=False)
    assert (status, passed) == (1, ["first"])
    named_at_once, _, _ = shown.partition("FAILURES")
    assert "FAILED test_toy.py::test_second" in named_at_once
    status, shown, passed = night("--seeds-of=02")
    assert (status, passed) == (
        0,
        ["first", "second", "claims[02-0]", "claims[02m-0]"],
    ) and "no browser" in shown
    assert "3 passed, 1 skipped" in shown


@pytest.mark.slow
def test_after_its_minutes_a_part_starts_no_other_test(night):
    for workers in ((), ("-n", "2")):
        status, shown, passed = night("--minutes=0", *workers)
        assert status != 0 and passed == [] and "3 tests are left: the same command goes on" in shown


def test_each_tier_holds_the_smaller_one_and_something_of_each_folder(request):
    found = request.config.all_items

    def tier(expression):
        marked = [{name: bool(item.get_closest_marker(name)) for name in MARKS} for item in found]
        return {item for item, marks in zip(found, marked, strict=True) if eval(expression, {}, marks)}

    check, by_day, at_night = map(tier, (tests.QUICK, tests.BY_DAY, tests.NIGHT))
    assert check <= by_day <= at_night
    ignored = [tests.ROOT / name for name in tests.NOT_QUICK]
    assert not [item for item in check if {item.path, *item.path.parents} & {*ignored}]
    assert {item for item in found if not item.get_closest_marker("colab")} == at_night
    if len({item.path for item in found}) < 100:
        pytest.skip("compares the folders where all tests are collected")
    assert len(check) < len(by_day) < len(at_night)
    assert {item.path.parent for item in found} - {item.path.parent for item in by_day} == {TESTS / "seeds"}


def test_no_commit_chooses_tests():
    for name in ("conftest.py", "helpers.py", "night.py"):
        assert not re.search(r"\bgit\b", (TESTS / name).read_text(encoding="utf-8")), name


def test_help_names_the_tiers_and_where_the_other_options_are(started, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["test", "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and not started
    assert all(word in shown for word in ("--quick", "--night", "--since", "pytest"))


def test_what_is_missing_is_named(started, monkeypatch, capsys):
    monkeypatch.setattr(tests.importlib.util, "find_spec", lambda name: None if name == "nbval" else name)
    assert cli.main(["test"]) == 1 and not started
    assert "nbval" in (said := capsys.readouterr().err) and "[lab,test,compare]" in said
