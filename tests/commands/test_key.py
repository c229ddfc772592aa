"""The answer key: it has everything in the registry, and learners' copies have nothing of it."""

import pytest
from markupsafe import escape

from course_utils.checks.exercises import exercises_of, find_fault
from course_utils.commands import book, cli, key
from course_utils.commands.lab import fresh_copy
from course_utils.home import ROOT
from course_utils.notebook_files import lessons


@pytest.fixture(scope="module")
def found():
    return key.key(["04"])


@pytest.mark.slow
def test_a_lesson_has_its_exercises_in_order_with_minutes(found):
    (lesson,) = found
    names = [one["name"] for one in lesson["entries"]]
    assert names == ["best_rank", "RankCut", "energy_curve"]
    assert (lesson["title"], lesson["minutes"]) == ("How low can the rank go?", 30)


def test_task_solution_and_each_message_that_the_check_gives(found):
    entry, exercise = found[0]["entries"][0], exercises_of("04")["best_rank"]
    assert entry["solution"] == exercise.solution.strip() and "Return the sum of its first" in entry["text"]
    said = {find_fault(exercise, wrong)[0] for wrong, _ in exercise.wrong}
    assert {row["message"] for row in entry["wrong"]} == said and len(entry["wrong"]) == len(said)


def outer(power):
    def inner(x):
        return x**power

    return inner


SQUARE, BOTH = lambda x: x * x, [lambda x: x, lambda x: -x]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (SQUARE, ""),  # three lambdas in a line cannot be told apart
        (outer(2), ""),
        (max, ""),
        (outer, "def outer(power):\n    def inner(x):\n        return x**power\n\n    return inner"),
    ],
)
def test_the_code_of_a_wrong_answer_is_shown_where_it_says_all(answer, code):
    assert key.code_of_answer(answer) == code


def test_a_lambda_alone_is_cut_out_of_its_line():
    alone = [lambda x: x + 1]
    assert key.code_of_answer(alone[0]) == "lambda x: x + 1"


def test_the_page_has_all_of_it_and_escapes_code(found):
    page = key.key_page(found)
    assert page.count("<article") == 3 and 'id="RankCut"' in page
    assert (
        "You return the whole matrix: the rank has no effect." in page
        and str(escape(found[0]["entries"][0]["solution"])) in page
    )
    assert "Answer key: 3 exercises" in page


def test_the_command_writes_the_lessons_asked_for(tmp_path, found, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(key, "key", lambda numbers: asked.append(numbers) or found)
    out = tmp_path / "deep" / "key.html"
    assert cli.main(["key", "4", "--out", str(out)]) == 0 and asked == [["04", "04m"]]
    assert "best_rank" in out.read_text("utf-8") and str(out) in capsys.readouterr().out
    assert cli.main(["key", "77"]) == 1 and "There is no lesson '77'" in capsys.readouterr().err


def test_the_book_has_the_key_only_if_asked_for(tmp_path, found, monkeypatch):
    monkeypatch.setattr(book, "lessons", lambda more: lessons(["04"]))
    book.write_sources(tmp_path / "plain", "")
    book.write_sources(tmp_path / "teachers", "", key.key_in_markdown(found))
    assert not (tmp_path / "plain" / "key.md").exists()
    assert "\nkey\n" not in (tmp_path / "plain" / "index.md").read_text("utf-8")
    page = (tmp_path / "teachers" / "key.md").read_text("utf-8")
    assert "### Exercise 1 of 3: the best cut" in page and page.count("`````python") == 3
    assert "\nkey\n" in (tmp_path / "teachers" / "index.md").read_text("utf-8")


def test_learners_copies_have_no_solution():
    """Neither work/ nor colab/ has a solution that its lesson does not show."""
    for path in lessons(["04"]):
        copy = "\n".join(cell.source for cell in fresh_copy(path).cells)
        for name, exercise in exercises_of("04").items():
            assert exercise.solution.strip() not in copy, name
    assert not [path for path in (ROOT / "colab").rglob("*") if "key" in path.name]
