"""Lesson 19's first half as a learner sees it: the KL of a token, a prediction, and the two hills."""

import re

STUB = (
    'def token_kl(student, teacher, direction="reverse"):\n    ...\n\n\ntoken_kl = check.token_kl(token_kl)'
)
OURS, THEIRS = "student.log_softmax(-1)", "teacher.detach().log_softmax(-1)"
REVERSE_ONLY = f"ours, theirs = {OURS}, {THEIRS}\n    return (ours.exp() * (ours - theirs)).sum(-1)"
BOTH = f"""ours, theirs = {OURS}, {THEIRS}
    if direction == "forward":
        ours, theirs = theirs, ours
    return (ours.exp() * (ours - theirs)).sum(-1)"""


def test_both_directions_are_written_predicted_and_moved(open_lesson, tmp_path):
    notebook = open_lesson("19")
    exercise, question = notebook.find("def token_kl"), notebook.find("hill_guess = predict(")
    answer, widget = notebook.find("hill_guess.reveal("), notebook.find("widgets.control(")
    for text in ("COURSE_MODEL", "session = start(", "lesson_19 import", "words, p, q ="):
        notebook.run(notebook.find(text))

    notebook.rewrite_and_run(exercise, STUB.replace("...", REVERSE_ONLY))
    assert "passed" not in notebook.output(exercise) and "direction" in notebook.output(exercise)
    notebook.rewrite_and_run(exercise, STUB.replace("...", BOTH))
    assert "passed" in notebook.output(exercise)
    table = notebook.find("assert_same(token_kl(both, both)")
    notebook.run(table)
    assert "your token_kl" in notebook.output(table)

    notebook.run(question)
    group = notebook.cell(question).get_by_role("group")
    group.get_by_role("radio").nth(2).check()
    group.get_by_role("button", name="This is my prediction").click()
    notebook.run(answer)
    assert "Answer: between them" in notebook.output(answer)

    notebook.run(widget)
    notebook.cell(widget).locator("img").first.wait_for()

    def shown():
        """(KL by direction from the figure's text, picture)."""
        text = notebook.cell(widget).locator(".jp-RenderedText").inner_text()
        spent = {name: int(share) for name, share in re.findall(r"(forward|reverse): (\d+)%", text)}
        return spent, notebook.cell(widget).locator("img").first.get_attribute("src")

    spent, picture = shown()
    assert spent["forward"] >= 25 > spent["reverse"]
    notebook.page.screenshot(path=tmp_path / "apart.png")
    notebook.set_slider(widget, "apart", ["Home"])
    together, redrawn = shown()
    assert together["forward"] == together["reverse"] < spent["forward"] and redrawn != picture
    notebook.page.screenshot(path=tmp_path / "together.png")
