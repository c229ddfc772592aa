import json
import os
import re
import runpy
import shlex
import subprocess
import sys

import pytest

from course_utils.checks import progress
from course_utils.checks.summary import summary
from course_utils.commands import cli
from course_utils.home import ROOT


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


@pytest.mark.skipif(os.name != "posix", reason="pipes are Unix's")
@pytest.mark.parametrize("words", [["progress"], ["progress", "--json"], ["copies", "--help"]])
@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.night)])
def test_a_reader_that_leaves_ends_a_command_quietly(words, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reading, writing = os.pipe()
    os.close(reading)  # like `| head -0`
    command = [sys.executable, "-m", "course_utils", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.stderr == "" and done.returncode in (0, 141)  # argparse itself ignores the error


@pytest.mark.skipif(os.name != "posix", reason="closes streams as a shell does")
def test_a_closed_stream_leaves_its_number_to_no_other_file(tmp_path):
    code = (
        "import sys; from course_utils.commands import cli\n"
        "cli.main(['progress'])\n"
        f"sys.exit(open({str(tmp_path / 'mine')!r}, 'w').fileno())"
    )
    done = subprocess.run(["bash", "-c", f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} >&- 2>&-"])
    assert done.returncode > 2


def test_a_home_that_cannot_be_followed_is_told_in_a_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place, why in ((tmp_path / "loop", "cannot be followed"), (tmp_path / ("x" * 300), "too long")):
        monkeypatch.setenv("COURSE_HOME", str(place))
        assert cli.main(["progress"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert re.match("(OS|FileExists)Error: ", line) and why in line


def test_another_pipe_that_breaks_is_told(capsys, monkeypatch):
    def broken(arguments):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli, "_doctor", broken)
    assert cli.main(["doctor"]) == 1 and "Broken pipe" in capsys.readouterr().err


def test_progress_is_cleared(capsys):
    assert cli.main(["progress", "--reset"]) == 0
    assert summary().get("00", {}).get("exercises", {}) == {}


@pytest.mark.skipif(os.name != "posix", reason="pipes are Unix's")
def test_a_pipe_or_an_endless_device_is_moved_aside(capsys):
    progress.path().unlink()
    os.mkfifo(progress.path())
    assert cli.main(["progress"]) == 0 and "progress.damaged.json" in capsys.readouterr().out
    progress.path().unlink()
    progress.path().symlink_to("/dev/zero")
    assert cli.main(["progress"]) == 0 and "progress.damaged-2.json" in capsys.readouterr().out


def test_what_a_file_says_commands_no_terminal(capsys):
    hostile = "\x1b[2J\x9b31m\rsoftmax"
    progress.record_attempt("00", hostile, "a text", mistake="No.")
    state = json.loads(progress.path().read_text(encoding="utf-8"))
    state["lessons"]["\x1b[8m"] = {"exercises": {"\ud800": {"status": "\x07failed"}}}
    progress.path().write_text(json.dumps(state), encoding="utf-8")
    assert cli.main(["progress"]) == 0
    shown = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\r", "\x07"} & set(shown)
    assert (
        r"\x1b[2J\x9b31m\rsoftmax: failed" in shown and r"\x1b[8m" in shown and r"\ud800: \x07failed" in shown
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_an_editor_saved_in_another_utf_is_read(tmp_path, capsys, encoding):
    before = progress.recorded()
    progress.path().write_bytes(progress.path().read_text(encoding="utf-8").encode(encoding))
    assert progress.recorded() == before and capsys.readouterr().out == ""
    progress.record_attempt("00", "softmax", "another text", mistake=None)
    assert progress.recorded()["00"]["exercises"]["softmax"]["status"] == "passed"
    assert not list(tmp_path.glob("*.damaged*"))


def test_bytes_that_are_no_text_are_set_aside_and_the_rest_is_kept(tmp_path, capsys):
    content = progress.path().read_bytes().replace(b"How cold?", b"How k\xfchl?")
    progress.path().write_bytes(content)
    assert progress.recorded()["00"]["exercises"]["softmax"]["status"] == "failed"
    assert "How k\ufffdhl?" in progress.recorded()["00"]["predictions"]
    assert (tmp_path / "progress.damaged.json").read_bytes() == content
    assert capsys.readouterr().out.count("was damaged") == 1


def test_an_unknown_command_shows_the_choices(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["docter"])
    assert ended.value.code == 2 and "doctor" in capsys.readouterr().err


def test_an_error_commands_no_terminal(capsys):
    assert cli.main(["grade", "no\x1b[2J"]) == 1
    assert r"no\x1b[2J" in capsys.readouterr().err


@pytest.mark.parametrize("command, words", [("reset", "the file's name"), ("run", "pocket, gpt2, smollm2")])
def test_help_says_what_an_argument_may_be(capsys, command, words):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert words in " ".join(capsys.readouterr().out.split())


def test_a_module_of_the_course_that_is_missing_is_a_fault_of_the_course(monkeypatch):
    def main():
        raise ModuleNotFoundError("No module named 'course_utils.gone'", name="course_utils.gone")

    monkeypatch.setattr(cli, "main", main)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with pytest.raises(ModuleNotFoundError, match="gone"):
        runpy.run_module("course_utils", run_name="__main__")


PLACES = "course_utils progress", "course_utils.making.links --help", "course_utils.making.draws --help"


@pytest.mark.parametrize("called", PLACES)
def test_modules_in_the_current_folder_are_not_executed(tmp_path, called):
    for name in ("json", "argparse", "torch", "tqdm", "zipfile"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *called.split()]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "a stranger" not in done.stdout + done.stderr


def test_processes_that_commands_start_are_not_given_the_current_folder():
    """Those that may start in a learner's folder; pytest and acceptance start in the checkout.

    ownership and home only print what to type.
    """
    calls = re.compile(r"sys\.executable,\s*\"(-[cm])\"")
    found = {
        path.name for path in (ROOT / "course_utils").rglob("*.py") if calls.search(path.read_text("utf-8"))
    }
    assert found == {
        "acceptance.py",
        "stored.py",
        "home.py",
        "ownership.py",
        "doctor.py",
        "grade.py",
        "tests.py",
    }
