import shlex
import shutil
import sys
from pathlib import Path

import pytest

from course_utils import data, models
from course_utils.commands import cli, doctor
from course_utils.home import home


def report(capsys):
    status = cli.main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    return status, [line for line in lines if line.startswith("FAIL")], lines


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_all_is_well_here(capsys):
    status, failed, lines = report(capsys)
    assert (status, failed) == (0, [])
    assert lines[-1] == "The course can run here."
    assert any('"The capital of France is Paris": loaded and run' in line for line in lines)
    subjects = [line[6:].split()[0] for line in lines[:-1]]
    assert {"python", "packages", "torch", "memory", "disk", "data", "pocket", "jupyter", "cache"} <= {
        *subjects
    }


def test_a_missing_and_an_old_package_are_named_with_the_remedy(capsys, monkeypatch):
    project = doctor._project()
    project["dependencies"] = ["torch>=2.6", "numpy>=999", "no-such-package>=1"]
    project["optional-dependencies"]["test"] = ["no-such-tester>=1"]
    monkeypatch.setattr(doctor, "_project", lambda: project)
    status, failed, lines = report(capsys)
    assert status == 1
    (line,) = failed
    assert "numpy is " in line and "needed >=999" in line and "no-such-package>=1 is missing" in line
    assert shlex.split(line)[-6:] == [sys.executable, "-m", "pip", "install", "-e", str(doctor.ROOT)]
    (line,) = [line for line in lines if "no-such-tester>=1 is missing" in line]
    assert line.startswith("note") and shlex.split(line)[-1] == f"{doctor.ROOT}[test]"


def test_an_old_python_is_named(capsys, monkeypatch):
    project = doctor._project()
    monkeypatch.setattr(doctor, "_project", lambda: project | {"requires-python": ">=3.99"})
    status, (line,), _ = report(capsys)
    assert status == 1 and "(>=3.99 needed)" in line and "make .venv PYTHON=" in line


def test_a_damaged_pocket_model_is_named(capsys, monkeypatch, tmp_path):
    (tmp_path / "checksums.json").write_text('{"model.safetensors": "0"}')
    monkeypatch.setattr(models, "POCKET", tmp_path)
    monkeypatch.setitem(models.SHIPPED_MODELS, "pocket", tmp_path)
    status, (line,), _ = report(capsys)
    assert status == 1 and f"{tmp_path / 'model.safetensors'} is missing. Restore it: git checkout" in line


@pytest.mark.parametrize("file", ["examples/questions.csv", "artifacts/assistant/config.json"])
def test_a_damaged_data_file_is_named(capsys, monkeypatch, tmp_path, file):
    shutil.copytree(data.DATA, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(data, "DATA", tmp_path)
    path = tmp_path / file
    path.write_bytes(path.read_bytes().replace(b"a", b"e", 1))
    status, (line,), _ = report(capsys)
    assert status == 1 and f"{path} is damaged" in line and "Restore it: git checkout" in line


def test_too_little_memory_and_disk_are_named(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "memory", lambda: 2**30)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 2**20}))
    status, failed, _ = report(capsys)
    assert status == 1 and len(failed) == 2
    assert "close other programs" in failed[0] and "COURSE_HOME" in failed[1]


def test_an_unreachable_hub_is_no_failure(capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    status, failed, lines = report(capsys)
    assert (status, failed) == (0, [])
    assert any(line.startswith("note  hub") and "not reached within 3 s" in line for line in lines)


def test_a_check_that_breaks_is_a_line_not_a_traceback(capsys, monkeypatch):
    def broken():
        raise RuntimeError("odd machine")
        yield

    monkeypatch.setattr(doctor, "torch_and_device", broken)
    status, failed, _ = report(capsys)
    assert status == 1 and failed == ["FAIL  broken     RuntimeError: odd machine"]


def test_places_that_cannot_be_written_are_named(capsys, monkeypatch, tmp_path):
    blocked = tmp_path / "file\x9b2J"
    blocked.write_text("")
    monkeypatch.setenv("COURSE_HOME", str(blocked))
    monkeypatch.setattr(doctor, "OWN_ROOT", blocked)
    monkeypatch.setattr(doctor, "packages", doctor.torch_and_device)  # needs pyproject.toml under ROOT
    monkeypatch.setattr(doctor, "python", doctor.torch_and_device)
    status, failed, lines = report(capsys)
    assert status == 1
    assert r"file\x9b2J cannot be written" in failed[0] and "Set COURSE_HOME" in failed[0]
    assert lines[-1] != "The course can run here."
    (line,) = [line for line in lines if "work cannot be written" in line]
    assert line.startswith("note") and "copy the course to a folder of yours" in line, (
        "a hub's checkout is so"
    )


def test_an_empty_setting_counts_as_unset(capsys, monkeypatch):
    for name in ("COURSE_HOME", "COURSE_MODEL", "COURSE_SCALE", "COURSE_SEED", "COURSE_DEVICE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("XDG_DATA_HOME", "/nowhere")
    assert home() != Path.cwd() and home().name == "finetuning-course"
    arguments = cli._parser().parse_args(["run"])
    assert (arguments.model, arguments.scale, arguments.seed) == ("auto", "auto", "0")


def test_a_wrong_setting_breaks_no_command_that_does_not_need_it(capsys, monkeypatch):
    monkeypatch.setenv("COURSE_SEED", "abc")
    assert cli.main(["progress"]) == 0
    assert cli.main(["run", "00"]) == 1
    assert "Unknown seed 'abc': choose a whole number from 0 to 4294967295" in capsys.readouterr().err
