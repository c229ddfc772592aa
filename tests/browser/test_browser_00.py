"""Lesson 00 as a learner meets it: open, Run All, turn a slider, answer an exercise, choose a prediction."""

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
    assert "not attempted yet" in notebook.output(exercise)
    notebook.rewrite_and_run(exercise, WRONG)
    assert "You chose a token after every position" in notebook.output(exercise)
    notebook.rewrite_and_run(exercise, f'{WRONG}\nhint("greedy_next_token")')
    assert "greedy_next_token, hint 1 of 3: the idea" in notebook.output(exercise)
    notebook.rewrite_and_run(exercise, CRASH)
    assert "Your code stopped in line 2 with AttributeError" in notebook.output(exercise)
    notebook.rewrite_and_run(exercise, RIGHT)
    assert notebook.output(exercise).strip() == "greedy_next_token: passed"
    notebook.page.screenshot(path=shots / "exercise.png")

    playground = notebook.find("widgets.sampling_playground(")
    before = notebook.cell(playground).locator(".jp-RenderedText").inner_text()
    notebook.set_slider(playground, "seed", ["ArrowRight"] * 3)
    after = notebook.cell(playground).locator(".jp-RenderedText").inner_text()
    assert before != after, "the sampled text changes with the seed"
    assert notebook.cell(playground).locator("img").count() == 1
    notebook.page.screenshot(path=shots / "playground.png")

    question, answer = notebook.find("predict("), notebook.find(".reveal(")
    notebook.cell(question).locator("input[type=radio]").nth(1).check()
    notebook.rewrite_and_run(answer, "".join(notebook.cells()[answer]["source"]))
    assert "predicted" in notebook.output(answer)
    notebook.page.screenshot(path=shots / "prediction.png")

    progress = json.loads((lab[2] / "home" / "progress.json").read_text())["lessons"]["00"]
    record = progress["exercises"]["greedy_next_token"]
    assert (record["attempts"], record["status"]) == (3, "passed"), "the same answer again is no attempt"
    assert record["first"] < record["last"] and record["mistake"]
    assert len(progress["predictions"]) == 1
