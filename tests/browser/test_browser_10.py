"""Lesson 10 as a learner sees it: ten labels by key and by button, undo, and their use."""

import json

import pytest


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    return tmp_path_factory.mktemp("shots")


def state(tool):
    """(request, left story, right story, status) as the page shows them."""
    return [
        tool.locator(part).inner_text() for part in (".prompt", ".left.answer", ".right.answer", ".status")
    ]


def wait_for(notebook, tool, labelled):
    notebook.page.wait_for_function(
        "([element, text]) => element.querySelector('.status').innerText.startsWith(text)",
        arg=[tool.element_handle(), f"{labelled} of 10" if labelled else "Pair 1 of 10"],
    )


def test_ten_labels_by_key_and_button(open_lesson, lab, shots):
    notebook = open_lesson("10")
    notebook.rewrite_and_run(notebook.find("SCALE ="), 'MODEL, SCALE, SEED = "pocket", "smoke", 0')
    widget, taken = notebook.find("labelling.show()"), notebook.find("yours = labelling.result()")
    cells = [notebook.find(text) for text in ("= start(", "import textwrap", "= preference_pairs(session)")]
    for index in (*cells, widget, taken):
        notebook.run(index)
        for output in notebook.cells()[index]["outputs"]:
            assert output["output_type"] != "error", (index, output)
            assert output.get("name") != "stderr", (index, output)

    assert "No label is yours yet" in notebook.output(taken)
    tool = notebook.cell(widget).locator(".labelling")
    tool.wait_for()

    def saved():
        files = (lab[2] / "home" / "labels").glob("lesson_10-*.jsonl")
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def check_label(shown, side):
        """Assert that the last saved label is the story shown on that side."""
        last = saved()[-1]
        assert last["prompt"][-1]["content"] == shown[0]
        chosen, rejected = (shown[1], shown[2]) if side == "left" else (shown[2], shown[1])
        assert last["chosen"][0]["content"].split() == chosen.split()
        assert last["rejected"][0]["content"].split() == rejected.split()

    cells_before = len(notebook.cells())
    tool.click(position={"x": 5, "y": 5})
    sides = {"1": "left", "2": "right", "ArrowLeft": "left", "ArrowRight": "right"}
    for number, (key, side) in enumerate(sides.items(), start=1):
        shown = state(tool)
        notebook.page.keyboard.press(key)
        wait_for(notebook, tool, number)
        check_label(shown, side)
        assert state(tool)[1:3] != shown[1:3], "the next pair is shown"
    notebook.page.screenshot(path=shots / "labelling.png")

    fourth = shown
    notebook.page.keyboard.press("u")
    wait_for(notebook, tool, 3)
    assert state(tool)[:3] == fourth[:3] and len(saved()) == 3, "undo shows the pair again"
    tool.get_by_role("button", name="Left is better").click()
    wait_for(notebook, tool, 4)
    check_label(fourth, "left")
    tool.get_by_role("button", name="Undo").click()
    wait_for(notebook, tool, 3)
    for number in range(4, 11):
        notebook.page.keyboard.press("2")
        wait_for(notebook, tool, number)
    assert "All pairs are labelled" in state(tool)[0]
    assert len(saved()) == 10
    assert len(notebook.cells()) == cells_before, "JupyterLab took none of the keys for itself"
    notebook.page.screenshot(path=shots / "labelled.png")

    notebook.run(taken)
    assert "All 10 labels are yours" in notebook.output(taken)
    assert "10 pairs, each with a chosen" in notebook.output(taken)
