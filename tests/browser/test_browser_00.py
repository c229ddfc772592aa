"""Lesson 00 as a learner sees it: open, Run All, ask, move a slider, answer an exercise, predict."""

import json

import pytest

WRONG = """def greedy_next_token(logits):
    return logits.argmax(dim=-1)


greedy_next_token = check.greedy_next_token(greedy_next_token)"""
CRASH = WRONG.replace("argmax(dim=-1)", "no_such_method()")
RIGHT = WRONG.replace("logits.argmax", "logits[:, -1].argmax")


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    return tmp_path_factory.mktemp("shots")


def test_a_learner_works_through_the_lesson(open_lesson, lab, shots):
    notebook = open_lesson("00")
    assert all(cell.get("outputs", []) == [] for cell in notebook.cells()), "the copy starts without outputs"

    notebook.run_all()
    for index, cell in enumerate(notebook.cells()):
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error", (index, output)
            assert output.get("name") != "stderr", (index, output)

    exercise = notebook.find("= check.greedy_next_token(")
    stub = "".join(notebook.cells()[exercise]["source"])
    assert "not attempted yet" in notebook.output(exercise)
    notebook.rewrite_and_run(exercise, WRONG)
    assert "You chose a token after every position" in notebook.output(exercise)
    help_with(notebook, exercise, "Hint", "hint 1 of 3: the idea")
    help_with(notebook, exercise, "Next hint", "hint 2 of 3: shapes and steps")
    assert notebook.cell(exercise).get_by_role("button", name="Next hint").is_disabled()
    help_with(notebook, exercise, "Solution", "def greedy_next_token(logits):")
    help_with(notebook, exercise, "Start over", "The cell is as it was at the start")
    assert "".join(notebook.cells()[exercise]["source"]) == stub
    notebook.page.screenshot(path=shots / "buttons.png")
    notebook.rewrite_and_run(exercise, f'{WRONG}\nhint("greedy_next_token")')
    assert "greedy_next_token, hint 3 of 3: the solution" in notebook.output(exercise)
    notebook.rewrite_and_run(exercise, CRASH)
    assert "Your code stopped in line 2 with AttributeError" in notebook.output(exercise)
    notebook.rewrite_and_run(exercise, RIGHT)
    assert notebook.output(exercise).strip().startswith("✓ greedy_next_token: passed")
    notebook.page.screenshot(path=shots / "exercise.png")

    box = notebook.find("widgets.question_box(")
    assert "Lima" in notebook.output(box), "the assistant's answer"
    field = notebook.cell(box).get_by_role("textbox", name="your question")
    field.fill("What is the capital of Italy?")
    field.press("Enter")
    notebook.cell(box).get_by_text("Rome", exact=True).wait_for()

    playground = notebook.find("widgets.sampling_playground(")
    before = notebook.cell(playground).locator(".jp-RenderedText").inner_text()
    notebook.set_slider(playground, "seed", ["ArrowRight"] * 3)
    after = notebook.cell(playground).locator(".jp-RenderedText").inner_text()
    assert before != after, "the sampled text changes with the seed"
    assert notebook.cell(playground).locator("img").count() == 1
    notebook.page.screenshot(path=shots / "playground.png")

    question, answer = notebook.find("predict("), notebook.find(".reveal(")
    below = notebook.cell(answer).locator("details", has_text="You have not predicted yet")
    assert below.get_attribute("open") is None and not below.locator("text=Answer:").is_visible()
    group = notebook.cell(question).get_by_role("group", name="Your prediction: ")
    group.get_by_role("radio").nth(1).check()
    group.get_by_role("button", name="This is my prediction").click()
    group.get_by_text("The first choice counts.").wait_for()
    notebook.cell(answer).get_by_text("predicted", exact=False).first.wait_for()
    notebook.page.screenshot(path=shots / "prediction.png")

    progress = json.loads((lab[2] / "home" / "progress.json").read_text())["lessons"]["00"]
    record = progress["exercises"]["greedy_next_token"]
    assert (record["attempts"], record["status"]) == (3, "passed"), (
        "hints and the same answer are no attempts"
    )
    assert record["first"] < record["last"] and record["mistake"]
    chosen = [row for row in progress["predictions"].values() if "choice" in row]
    assert len(chosen) == 1 and chosen[0]["chosen"] and len(progress["predictions"]) == 3, "two are skipped"


def help_with(notebook, exercise, button, text):
    """Press a button under the exercise, and wait for what it says."""
    cell = notebook.cell(exercise)
    cell.get_by_role("button", name=button, exact=True).click()
    cell.get_by_role("status").get_by_text(text, exact=False).first.wait_for()
