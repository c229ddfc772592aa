"""How long lessons are: each limit is enforced."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_utils.making import measures
from course_utils.making.lints import main
from course_utils.making.measures import EXCEPTIONS, LIMITS, MOST_EXCEPTIONS, measure_faults

LESSON = "07"


def test_few_lessons_have_exceptions_and_each_has_a_reason():
    assert len({lesson for lesson, _ in EXCEPTIONS}) <= MOST_EXCEPTIONS
    for (_, measure), (value, reason) in EXCEPTIONS.items():
        assert LIMITS[measure].is_broken(value) and reason


def picture():
    return new_code_cell("figures.idea()", metadata={"tags": ["picture"]})


def exercise(name):
    return new_code_cell(f"{name} = check.{name}({name})", metadata={"tags": ["exercise"]})


@pytest.fixture
def notebook():
    """The smallest lesson within all limits; its first cell is text, its second a picture."""
    cells = [new_markdown_cell("# 07 Title"), *(picture() for _ in range(4))]
    return new_notebook(cells=[*cells, new_markdown_cell("## Bug hunt: who?"), exercise("prompt_fault")])


def test_a_lesson_within_the_limits_has_no_faults(notebook):
    assert measure_faults(notebook, LESSON) == []


def text(count):
    return lambda notebook: notebook.cells.insert(0, new_markdown_cell("word " * count))


def text_at_the_end(notebook):
    notebook.cells.append(new_markdown_cell("word " * 2600))


def claims_at_length(notebook):
    record = {"text": "word " * 2600}
    notebook.cells[1].outputs = [new_output("display_data", metadata={"course": {"claims": [record]}})]


def code(source, **metadata):
    return lambda notebook: notebook.cells.append(new_code_cell(source, metadata=metadata))


def many_cells(notebook):
    notebook.cells += [new_code_cell("1") for _ in range(41)]


def brackets(notebook):
    notebook.cells[0].source += "\n(one two three four five six seven eight nine)" * 7


def short_brackets(notebook):
    notebook.cells[0].source += "\n(one two three four five six [seven](a_b) eight) `(a b c d e f g h i)`" * 7


def exercises_that_take_long(notebook):
    notebook.cells[5:5] = [exercise(name) for name in ("start_from_words", "with_prompt")] * 3


def a_hunt_that_takes_long(notebook):
    notebook.cells += [exercise("prompt_fault") for _ in range(12)]


def fewer_pictures(notebook):
    notebook.cells[1].metadata["tags"] = []


WORDS = '"' + "word " * 2600 + '"'


@pytest.mark.parametrize(
    "change, broken",
    [
        (text(201), ["words before a code cell, mean", "words before a code cell, most"]),
        (text(170), ["words before a code cell, mean"]),
        (text(150), []),
        (text_at_the_end, ["words"]),
        (claims_at_length, ["words"]),
        (code(f"plots.caption({WORDS})"), ["words"]),
        (code(f"plots.lines(x, {WORDS})"), ["words"]),
        (code(f"show_table(x, title={WORDS})"), ["words"]),
        (code(f"predict({WORDS}, [1, 2])"), ["words"]),
        (code(f"def with_prompt(x):\n    {WORDS}\ncheck.with_prompt(1)", tags=["exercise"]), ["words"]),
        (code(f"x = {WORDS}"), []),
        (many_cells, ["code cells"]),
        (code("x = 1\n" * 280), ["visible lines of code"]),
        (code("x = 1\n" * 280, jupyter={"source_hidden": True}), []),
        (code("\n" * 280), []),
        (brackets, ["brackets of more than 8 words"]),
        (short_brackets, []),
        (exercises_that_take_long, ["minutes of the exercises without the hunt"]),
        (a_hunt_that_takes_long, []),
        (fewer_pictures, ["pictures"]),
    ],
)
def test_each_limit_is_enforced(notebook, change, broken):
    change(notebook)
    assert [fault.rpartition(":")[0] for fault in measure_faults(notebook, LESSON)] == broken


def test_the_minutes_of_the_lesson_are_those_that_the_readme_states(notebook, monkeypatch):
    assert measures.stated_minutes("00") > 60
    assert measures.stated_minutes("77") is None
    monkeypatch.setattr(measures, "stated_minutes", lambda lesson: 76)
    assert measure_faults(notebook, LESSON) == ["minutes of the lesson: 76, at most 75"]


def test_an_exception_has_a_limit_of_its_own(notebook, monkeypatch):
    monkeypatch.setitem(EXCEPTIONS, (LESSON, "pictures"), (3, "a reason"))
    fewer_pictures(notebook)
    assert measure_faults(notebook, LESSON) == []
    notebook.cells[2].metadata["tags"] = []
    assert measure_faults(notebook, LESSON) == ["pictures: 2, at least 3"]


def test_the_table_marks_what_is_past_its_limit(capsys, monkeypatch):
    monkeypatch.setattr(
        "course_utils.making.lints.measures", lambda *_: {name: limit.value for name, limit in LIMITS.items()}
    )
    monkeypatch.setitem(EXCEPTIONS, ("07", "pictures"), (5, "a reason"))
    assert main(["--measures", "06", "07"]) == 0
    _, six, seven, limits = capsys.readouterr().out.splitlines()
    assert "!" not in six and seven.endswith("4!")
    assert limits.split()[0] == "limit"
