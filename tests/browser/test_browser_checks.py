"""Predictions and exercises by mouse and keyboard, with and without a kernel, in a small notebook."""

import json

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course_utils.notebook_files import write_notebook

IMPORTS = """from course_utils.checks import claim, predict
from course_utils.lessons.lesson_00 import check"""
ASK = 'colour = predict("Which colour is the sky?", ["red", "green", "blue"])'
ASK_AGAIN = 'how_many = predict("How many letters has colour?", ["five", "six", "seven"])'
REVEAL = """colour.reveal("blue", because={"red": "Dust would.", "green": "No.", "blue": "Waves scatter."})
how_many.reveal("six", because={"five": "In America.", "six": "Count them.", "seven": "No."})
claim("Blue is short", 0.45, at_most=0.5, unit="%")
claim("Red is long", 700, at_least=600, unit="nm")"""
STUB = """def greedy_next_token(logits):
    ...


greedy_next_token = check.greedy_next_token(greedy_next_token)"""
WRONG = STUB.replace("...", "return logits.argmax(dim=-1)")


@pytest.fixture(scope="module")
def small(lab):
    """A notebook that asks for two choices, and has an exercise."""
    folder = lab[2] / "work"
    sources = (IMPORTS, ASK, ASK_AGAIN, REVEAL, STUB)
    cells = [new_markdown_cell("# Checks"), *map(new_code_cell, sources)]
    cells[-1].metadata["tags"] = ["exercise"]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    write_notebook(new_notebook(cells=cells, metadata=metadata), folder / "98_checks.ipynb")


def progress_of(lab):
    return json.loads((lab[2] / "home" / "progress.json").read_text())["lessons"]["00"]


def test_a_choice_by_keyboard_counts_once_and_comes_back(open_lesson, lab, small):
    notebook = open_lesson("98")
    page = notebook.page
    notebook.run_all()
    answers = notebook.cell(4).locator("details").filter(has_text="You have not predicted yet")
    assert answers.count() == 2 and not answers.first.get_by_text("Answer: blue").is_visible()

    group = notebook.cell(2).get_by_role("group", name="Your prediction: Which colour is the sky?")
    radios, commit = group.get_by_role("radio"), group.get_by_role("button", name="This is my prediction")
    assert [radios.nth(n).get_attribute("value") for n in range(3)] == ["red", "green", "blue"]
    assert commit.is_disabled()
    radios.first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert radios.nth(2).is_checked()
    page.keyboard.press("Tab")  # the radio buttons are one stop
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.value") == "blue"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    group.get_by_text("You predicted: blue. The first choice counts.").wait_for()
    notebook.cell(4).get_by_text("Answer: blue (as you predicted)").wait_for()  # it was not run again
    assert answers.count() == 1

    notebook.cell(3).get_by_role("radio").first.check()
    notebook.cell(3).get_by_role("button", name="This is my prediction").click()
    notebook.cell(4).get_by_text("Answer: six (you predicted: five)").wait_for()
    assert notebook.cell(4).locator(".course-claim").count() == 2

    predictions = progress_of(lab)["predictions"]
    assert {row["choice"] for row in predictions.values()} == {"blue", "five"}
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    notebook.wait_idle()
    page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    notebook.run_all()
    group.get_by_text("You predicted: blue.").wait_for()
    assert [radios.nth(n).is_checked() for n in range(3)] == [False, False, True]
    assert all(radios.nth(n).is_disabled() for n in range(3))


def test_buttons_help_and_start_over_and_say_when_no_kernel_answers(open_lesson, lab, small):
    notebook = open_lesson("98")
    notebook.run_all()
    notebook.rewrite_and_run(5, WRONG)
    cell = notebook.cell(5)
    edges = [
        notebook.cell(index)
        .locator(".jp-InputArea-editor")
        .evaluate("node => getComputedStyle(node).borderLeft")
        for index in (4, 5)
    ]
    assert "rgb(0, 114, 178)" in edges[1] and "rgb(0, 114, 178)" not in edges[0]
    assert "Given:" in notebook.output(5) or "after every position" in notebook.output(5)

    def press(button, text):
        cell.get_by_role("button", name=button, exact=True).click()
        cell.get_by_role("status").get_by_text(text, exact=False).first.wait_for()

    press("Hint", "hint 1 of 3: the idea")
    press("Next hint", "hint 2 of 3: shapes and steps")
    assert cell.get_by_role("button", name="Next hint").is_disabled()
    press("Solution", "def greedy_next_token(logits):")
    press("Start over", "The cell is as it was at the start")
    assert "    ...\n" in "".join(notebook.cells()[5]["source"])
    assert progress_of(lab)["exercises"]["greedy_next_token"]["attempts"] == 1
    notebook.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    press("Solution", "No kernel answers: run this cell and try again.")
