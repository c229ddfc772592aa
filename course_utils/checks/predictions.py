"""Predictions: the learner commits to an answer before the notebook reveals it. The first choice counts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

import course_utils.checks.progress as progress
from course_utils import session
from course_utils.checks.show import folded, has_page, note_html, publish_note, show
from course_utils.widgets import MAKE_SCRIPT, publish_view

NOT_YET = "You have not predicted yet: choose above, or open this"


class Prediction:
    """A question with options; `reveal` shows the answer. Made by `predict`.

    title: for a figure of the answer: the question, extended by `reveal` with the result of the prediction.
    """

    def __init__(self, question: str, options: Sequence[str]):
        self.question, self.options = question, [str(option) for option in options]
        self.title = question
        self._view = None
        self._revealed: tuple | None = None  # (answer, because, id of the display)
        if len(set(self.options)) < max(2, len(self.options)):
            raise ValueError(f"A prediction needs two or more different options, not {self.options}.")
        self.choice = self._recorded()

    def _recorded(self) -> str | None:
        """The first choice, from the progress file."""
        choice = progress.prediction(progress.open_lesson(), self.question).get("choice")
        return choice if choice in self.options else None

    def choose(self, choice: str) -> None:
        """Commit to one of the options (as the button does). Only the first time counts."""
        choice = self._known(choice)
        if self.choice is None:
            self.choice = self._recorded()  # made in another kernel meanwhile
            if self.choice is None:
                self.choice = choice
                chosen = {"choice": choice, "chosen": progress.now()}
                progress.record("predictions", progress.open_lesson(), self.question, **chosen)
            if self._revealed is not None:
                self._show_answer(update=True)
        if self._view is not None:
            self._view.choice, self._view.locked = self.choice, True

    def reveal(self, answer: str, because: str | Mapping[str, str] = "") -> None:
        """Show the answer, how it compares with the prediction, and why.

        because: {option: why it is so, or what would have had to be true}, a sentence each; or one sentence.
        Without a prediction the answer is folded.
        """
        if session.stopped():
            show(f"No answer yet: not judged, since {session.stopped()}")
            return
        answer = self._known(answer)
        if isinstance(because, Mapping) and set(because) != set(self.options):
            raise ValueError(
                f"`because` needs a sentence for each of {self.options}, and has them for {list(because)}."
            )
        sentence = because[answer] if isinstance(because, Mapping) else because
        self.title = (sentence or answer).removesuffix(".")
        self._revealed = answer, because, uuid.uuid4().hex
        self._show_answer()

    def _show_answer(self, update: bool = False) -> None:
        answer, because, display = self._revealed
        outcome = {"answer": answer}
        title = f"Answer: {answer}"
        kind = "neutral"
        if self.choice is not None:
            right = self.choice == answer
            outcome |= {"choice": self.choice, "right": right}
            title += " (as you predicted)" if right else f" (you predicted: {self.choice})"
            kind = "good" if right else "bad"
        progress.record_reveal(progress.open_lesson(), self.question, **outcome)
        reasons = (
            [f"{key}: {why}" for key, why in because.items()] if isinstance(because, Mapping) else [because]
        )
        reasons = [reason for reason in reasons if reason]
        text, html = "\n".join([title, *reasons]), note_html(title, *reasons, kind=kind)
        if self.choice is None:
            text, html = f"{NOT_YET.replace('open this', 'read on')}.\n{text}", folded(NOT_YET, html)
        kept = dict(because) if isinstance(because, Mapping) else {answer: because}
        record = {"question": self.question, **outcome, "reasons": kept}
        publish_note(text, html, {"course": {"prediction": record}}, display=display, update=update)

    def _known(self, value: str) -> str:
        if str(value) not in self.options:
            raise ValueError(f"{value!r} is not among the options of {self.question!r}: {self.options}.")
        return str(value)

    def _text(self) -> str:
        mark = {option: "x" if option == self.choice else " " for option in self.options}
        return f"Your prediction: {self.question}" + "".join(f"\n  ({mark[o]}) {o}" for o in self.options)

    def _display(self) -> None:
        if not has_page():
            print(self._text())
            return
        self._view = _view(self)
        publish_view(self._view, self._text())


def predict(question: str, options: Sequence[str]) -> Prediction:
    """Ask for a prediction: a choice in JupyterLab, plain text elsewhere.

    options: three or four. When the answer has been measured, call `.reveal(answer,
    because={option: sentence})` on the result.
    """
    prediction = Prediction(question, options)
    prediction._display()
    return prediction


PREDICTION_STYLE = """
.course-prediction { border: 1px solid #8C8C8C; border-radius: 4px; padding: 6px 12px; margin: 2px 0;
  max-width: 46em; min-width: 0; }
.course-prediction legend { font-weight: bold; padding: 0 4px; }
.course-prediction label { display: block; padding: 3px 0; }
.course-prediction input[type=radio] { margin: 0 8px 0 0; }
.course-prediction button { margin: 6px 0 2px; padding: 4px 10px; }
.course-prediction [role=status]:not(:empty) { padding-top: 4px; }
"""

PREDICTION_SCRIPT = (
    MAKE_SCRIPT
    + """
function render({ model, el }) {
  const box = make(el, "fieldset");
  box.className = "course-prediction";
  box.dataset.lmSuppressShortcuts = "true";  // or JupyterLab would take the keys
  box.addEventListener("keydown", event => { if (event.key.startsWith("Arrow")) event.stopPropagation(); });
  make(box, "legend", `Your prediction: ${model.get("question")}`);
  const name = `prediction-${Math.random().toString(36).slice(2)}`;
  const inputs = model.get("options").map(option => {
    const label = make(box, "label");
    const input = make(label, "input");
    [input.type, input.name, input.value] = ["radio", name, option];
    label.append(option);
    return input;
  });
  const chosen = () => inputs.find(input => input.checked)?.value ?? "";
  const button = make(box, "button", "This is my prediction");
  button.type = "button";
  const status = make(box, "div");
  status.setAttribute("role", "status");
  const draw = () => {
    const [choice, locked] = [model.get("choice"), model.get("locked")];
    for (const input of inputs) {
      if (locked) input.checked = input.value === choice;
      input.disabled = locked;
    }
    button.disabled = locked || !chosen();
    button.hidden = locked;
    if (locked) status.textContent = `You predicted: ${choice}. The first choice counts.`;
  };
  for (const input of inputs) input.addEventListener("input", () => { button.disabled = !chosen(); });
  let waiting;
  button.addEventListener("click", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (!model.get("locked")) status.textContent = "No kernel answers: run this cell and choose again.";
    }, 3000);
    model.send({ choice: chosen() });  // fails without a kernel
  });
  model.on("change:locked", draw);
  draw();
  return () => { clearTimeout(waiting); model.off("change:locked", draw); };
}
export default { render };
"""
)


def _view(prediction: Prediction):
    """The question in JupyterLab: radio buttons, and a button to commit."""
    import anywidget
    import traitlets

    class PredictionView(anywidget.AnyWidget):
        _esm, _css = PREDICTION_SCRIPT, PREDICTION_STYLE
        question = traitlets.Unicode().tag(sync=True)
        options = traitlets.List().tag(sync=True)
        choice = traitlets.Unicode().tag(sync=True)
        locked = traitlets.Bool().tag(sync=True)

    locked = prediction.choice is not None
    view = PredictionView(
        question=prediction.question,
        options=prediction.options,
        choice=prediction.choice if locked else "",
        locked=locked,
    )
    view.on_msg(lambda view, content, buffers: prediction.choose(content["choice"]))
    return view
