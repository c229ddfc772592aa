"""The buttons under an exercise: hint, next hint, solution, start over."""

from __future__ import annotations

from collections.abc import Callable

import anywidget
import traitlets

from course_utils.notebook_files import code_cells, lessons, read_notebook, tags
from course_utils.widgets import MAKE_SCRIPT, publish_view

BUTTONS_STYLE = """
.course-buttons button { margin: 2px 8px 2px 0; padding: 3px 10px; }
.course-buttons [role=status]:not(:empty) { border-left: 4px solid #0072B2; padding: 2px 10px; margin: 4px 0;
  max-width: 46em; }
.course-buttons pre { margin: 4px 0 0; }
"""

BUTTONS_SCRIPT = (
    MAKE_SCRIPT
    + """
function render({ model, el }) {
  const box = make(el, "div");
  box.className = "course-buttons";
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", `Help with ${model.get("name")}`);
  let waiting;
  const ask = act => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { say({ title: "No kernel answers: run this cell and try again." }); }, 3000);
    model.send({ act });  // fails without a kernel
  };
  const buttons = {};
  for (const [act, label] of [["hint", "Hint"], ["solution", "Solution"], ["restart", "Start over"]]) {
    buttons[act] = make(box, "button", label);
    buttons[act].type = "button";
    buttons[act].addEventListener("click", () => ask(act));
  }
  const status = make(box, "div");
  status.setAttribute("role", "status");
  const say = ({ title, text, code }) => {
    status.replaceChildren();
    if (title) make(status, "b", title);
    if (text) make(status, "div", text);
    if (code) make(status, "pre", code);
  };
  const draw = () => {
    clearTimeout(waiting);
    const shown = model.get("shown");
    say(shown);
    buttons.hint.textContent = shown.step ? "Next hint" : "Hint";
    buttons.hint.disabled = shown.step >= 2;
  };
  const answered = ({ stub }) => {
    if (stub === undefined) return draw();
    clearTimeout(waiting);
    const content = el.closest(".jp-Cell")?.querySelector(".jp-InputArea-editor .cm-content");
    const editor = (content?.cmTile ?? content?.cmView?.rootView)?.view;
    if (!editor) return say({ title: "The cell as it was at the start:", code: stub });
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: stub } });
    say({ title: "The cell is as it was at the start. Undo in the cell (Ctrl+Z) brings yours back." });
  };
  model.on("msg:custom", answered);
  draw();
  return () => { clearTimeout(waiting); model.off("msg:custom", answered); };
}
export default { render };
"""
)


class ExerciseButtons(anywidget.AnyWidget):
    """Sends a button's act; receives {} once `shown` (title, text, code, step) has the answer, or a stub."""

    _esm, _css = BUTTONS_SCRIPT, BUTTONS_STYLE
    name = traitlets.Unicode().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)


def exercise_buttons(name: str, lesson: str, take_hint: Callable[[int], tuple[str, str, str]]) -> None:
    """Display the buttons. take_hint(step) returns title, text and code; step 3 is the solution."""

    def answer(view: ExerciseButtons, content: dict, buffers: list) -> None:
        if content["act"] == "restart":
            view.send({"stub": stub_of(name, lesson)})
            return
        seen = view.shown.get("step", 0)
        step = 3 if content["act"] == "solution" else min(seen + 1, 2)
        title, text, code = take_hint(step)
        view.shown = {"title": title, "text": text, "code": code, "step": max(seen, min(step, 2))}
        view.send({})

    view = ExerciseButtons(name=name)
    view.on_msg(answer)
    publish_view(view)


def stub_of(name: str, lesson: str) -> str:
    """The exercise's cell as the saved lesson has it."""
    for cell in code_cells(read_notebook(lessons([lesson])[0])):
        if "exercise" in tags(cell) and f"check.{name}(" in cell.source:
            return cell.source
    raise ValueError(f"Lesson {lesson} has no exercise cell that calls check.{name}.")
