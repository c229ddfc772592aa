"""The copies for Colab: the lessons' cells without outputs, after a cell that installs the course."""

import importlib.util
import os
import sys
import types
from importlib.metadata import version

import nbformat
import pytest
from packaging.requirements import Requirement

from course_utils.commands import addresses, cli, copies
from course_utils.home import ROOT
from course_utils.making.notebooks import structure_faults
from course_utils.notebook_files import lesson_key, lessons, place_in, read_notebook

ADDRESS = "https://example.org/somebody/course"


def test_the_copies_are_current():
    """After a change of a lesson: make copies."""
    address = addresses.repository()
    places = {place_in(addresses.COPIES, path): path for path in lessons(more=True)}
    assert set(addresses.COPIES.rglob("*.ipynb")) == set(places)
    for place, lesson in places.items():
        text = nbformat.writes(copies.colab_copy(lesson, address)) + "\n"
        assert place.read_text(encoding="utf-8") == text, "make copies"


@pytest.mark.parametrize("lesson", lessons(more=True), ids=lambda path: path.stem)
def test_a_copy_has_the_lesson_and_no_outputs(lesson):
    copy, original = copies.colab_copy(lesson, ADDRESS), read_notebook(lesson)
    nbformat.validate(copy)
    assert [cell.source for cell in copy.cells if "colab" not in cell.metadata.get("tags", [])] == [
        cell.source for cell in original.cells
    ]
    assert all(cell.outputs == [] for cell in copy.cells if cell.cell_type == "code")
    del copy.cells[1]
    assert structure_faults(copy, lesson_key(lesson)) == []


def test_the_first_cell_fetches_only_in_colab_and_only_once(tmp_path, monkeypatch):
    cell = copies.colab_copy(lessons()[0], ADDRESS).cells[1].source
    calls, widgets = [], []
    monkeypatch.setattr("subprocess.run", lambda command, check: calls.append(command))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.chdir(tmp_path)
    course = tmp_path / "course"
    cell = cell.replace("/content/finetuning-course", course.as_posix())
    exec(cell, {})
    assert calls == []
    output = types.SimpleNamespace(enable_custom_widget_manager=lambda: widgets.append(1))
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(output=output))
    monkeypatch.setitem(sys.modules, "google", types.SimpleNamespace(colab=sys.modules["google.colab"]))
    (tmp_path / "course" / "notebooks").mkdir(parents=True)
    exec(cell, {})
    assert [command[1:] for command in calls] == [[str(course / "colab" / "install.py")]] and widgets == [1]
    assert sys.path[0] == str(course)
    monkeypatch.chdir(tmp_path)
    (course / "notebooks").rmdir()
    course.rmdir()
    with pytest.raises(FileNotFoundError):  # this git fetches nothing
        exec(cell, {})
    assert calls[1] == ["git", "clone", "--depth", "1", ADDRESS, str(course)]


def test_without_an_address_the_reader_brings_the_files(monkeypatch):
    cell = copies.colab_copy(lessons()[0], "").cells[1].source
    assert "git" not in cell
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace())
    with pytest.raises(SystemExit, match="Upload a zip"):
        exec(cell.replace("/content/finetuning-course", "/content/no-such-course"), {})


def test_copies_of_lessons_that_are_gone_go(tmp_path):
    gone = nbformat.writes(copies.colab_copy(lessons()[0], ADDRESS))
    (tmp_path / "99_gone.ipynb").write_text(gone, encoding="utf-8")
    mine = {"98_mine.ipynb": '{"cells": []}', "97_notes.ipynb": "no notebook", "mine.ipynb": gone}
    for name, text in mine.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    first = copies.write_copies(tmp_path, ADDRESS)
    assert not (tmp_path / "99_gone.ipynb").exists() and len(first) == len(lessons(more=True)) + 1
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in mine} == mine
    assert copies.write_copies(tmp_path, ADDRESS) == []


@pytest.mark.skipif(os.name != "posix", reason="pipes are Unix's")
def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "99_pipe.ipynb")
    os.mkfifo(tmp_path / lessons()[-1].name)
    with pytest.raises(FileExistsError, match=r"ipynb is a pipe\. Move it away"):
        copies.write_copies(tmp_path, ADDRESS)
    (tmp_path / lessons()[-1].name).unlink()
    assert len(copies.write_copies(tmp_path, ADDRESS)) == len(lessons(more=True))


def test_a_file_of_somebody_elses_under_a_lessons_name_is_left_alone(tmp_path):
    mine = tmp_path / lessons()[-1].name
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="is not a copy of a lesson"):
        copies.write_copies(tmp_path, ADDRESS)
    assert mine.read_text(encoding="utf-8") == "mine" and list(tmp_path.iterdir()) == [mine]


@pytest.fixture
def install():
    spec = importlib.util.spec_from_file_location("install", ROOT / "colab" / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_what_is_missing_or_unfit_is_installed(install):
    fits = Requirement(f"numpy=={version('numpy')}")
    lines = [fits, Requirement("no-such-package>=1"), Requirement("matplotlib>=999")]
    assert install.lacking(lines) == (["no-such-package>=1"], ["matplotlib>=999"])


def test_jupyterlab_is_not_asked_for_in_colab(install):
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {requirement.name for requirement in install.needed(project)}
    assert "jupyterlab" not in names and {"torch", "ipywidgets", "peft"} <= names


@pytest.mark.parametrize("argument, status", [("--help", 0), ("nonsense", 2)])
def test_no_option_writes_copies(monkeypatch, argument, status):
    monkeypatch.setattr(copies, "write_copies", lambda: pytest.fail("written"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["copies", argument])
    assert ended.value.code == status
