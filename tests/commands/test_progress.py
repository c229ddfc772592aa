import json
import runpy

import pytest

from course_utils.checks import progress
from course_utils.checks.summary import summary
from course_utils.commands import cli


@pytest.fixture(autouse=True)
def course_home(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    progress.record_attempt("00", "softmax", "a text", mistake="Is there a return?")
    progress.record("predictions", "00", "How warm?", choice="a", answer="a", right=True)
    progress.record("predictions", "00", "How cold?", choice="a", answer="b", right=False)
    progress.record("predictions", "00", "How long?", answer="b")
    progress.record("predictions", "00", "How wide?", choice="b")
    progress.record("predictions", "01", "How cold?", choice="a", answer="b", right=False)


def test_progress_is_shown_as_a_table(capsys):
    assert cli.main(["progress"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["00", "0"] and lines[1].split()[-3:] == ["1", "1", "1"]
    assert "softmax: failed, 1 attempt(s)" in lines[2]
    assert lines[-1].split()[0] == "all" and lines[-1].split()[-3:] == ["1", "2", "1"]


def test_progress_as_json(capsys):
    assert cli.main(["progress", "--json"]) == 0
    shown = capsys.readouterr()
    summary = json.loads(shown.out)
    assert shown.err == ""
    row = summary["00"]["exercises"]["softmax"]
    assert row.pop("first") == row.pop("last") and "sources" not in row
    assert [one["mistake"] for one in row.pop("tries")] == ["Is there a return?"]
    assert row == {"status": "failed", "attempts": 1, "mistake": "Is there a return?"}


def test_a_folder_without_progress_is_said_beside_the_json(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "elsewhere"))
    assert cli.main(["progress", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["00"]["passed"] == 0
    assert f"no {tmp_path / 'elsewhere' / 'progress.json'}" in shown.err and "COURSE_HOME" in shown.err


def test_progress_is_cleared(capsys):
    assert cli.main(["progress", "--reset"]) == 0
    assert summary().get("00", {}).get("exercises", {}) == {}


def test_an_unknown_command_shows_the_choices(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["docter"])
    assert ended.value.code == 2 and "doctor" in capsys.readouterr().err


@pytest.mark.parametrize("command, words", [("reset", "the file's name"), ("run", "pocket, gpt2, smollm2")])
def test_help_says_what_an_argument_may_be(capsys, command, words):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert words in " ".join(capsys.readouterr().out.split())


def test_a_module_of_the_course_that_is_missing_is_a_fault_of_the_course(monkeypatch):
    def main():
        raise ModuleNotFoundError("No module named 'course_utils.gone'", name="course_utils.gone")

    monkeypatch.setattr(cli, "main", main)
    with pytest.raises(ModuleNotFoundError, match="gone"):
        runpy.run_module("course_utils", run_name="__main__")
