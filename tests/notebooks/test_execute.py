"""Executing and saving a lesson: nothing half-written, and the conditions are the course's."""

import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils.making import notebooks


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """Writes a one-cell lesson 42 and returns its path."""
    monkeypatch.setattr("course_utils.notebook_files.NOTEBOOKS", tmp_path)

    def write(source):
        path = tmp_path / "42_test.ipynb"
        notebook = new_notebook(cells=[new_markdown_cell("# Title"), new_code_cell(source)])
        path.write_text(nbformat.writes(notebook), encoding="utf-8")
        return path

    return write


@pytest.mark.slow
def test_outputs_are_written_with_the_conditions_of_the_course(lesson, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_SOLUTIONS", "1")
    home = os.environ["COURSE_HOME"]
    path = lesson(
        "import os, sys\nprint('loud', file=sys.stderr)\n"
        "print(sorted((k, v) for k, v in os.environ.items() if k.startswith('COURSE_')))"
    )
    assert notebooks.main(["42"]) == 1
    report = capsys.readouterr().out
    assert "peak memory" in report and "FAULT: code cell 0" in report and "writes to stderr: loud" in report
    outputs = notebooks.code_cells(notebooks.read_notebook(path))[0].outputs
    [stdout] = [output for output in outputs if output.name == "stdout"]
    assert "('COURSE_SCALE', 'quick'), ('COURSE_SEED', '0'), ('COURSE_STRICT', '1')]" in stdout.text
    assert "SOLUTIONS" not in stdout.text and home not in stdout.text
    assert os.environ["COURSE_HOME"] == home
    assert [found.name for found in path.parent.iterdir()] == ["42_test.ipynb"]


@pytest.mark.slow
def test_a_failing_lesson_and_a_check_write_nothing(lesson, capsys):
    path = lesson("raise ValueError('broken')")
    before = path.read_bytes()
    assert notebooks.main(["42"]) == 1
    assert "broken" in capsys.readouterr().err
    assert path.read_bytes() == before
    path = lesson("print(1)")
    before = path.read_bytes()
    notebooks.main(["42", "--check"])
    assert path.read_bytes() == before


def test_unknown_lesson_names_those_there_are(lesson, capsys):
    lesson("print(1)")
    assert notebooks.main(["7"]) == 1
    assert "Choose from: 42_test" in capsys.readouterr().err
