"""Predictions: the learner commits to an answer before the notebook reveals it. The first choice counts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

import course_utils.checks.progress as progress
from course_utils import session
from course_utils.checks.show import folded, has_page, note_html, publish_note, show
from course_utils.widgets import MAKE_SCRIPT, publish_view

BANDS = ("too low", "right", "too high")  # where a predicted number may lie
NOT_YET = "You have not predicted yet: choose above, or open this"


class Prediction:
    """A question with options, or for a number; `reveal` compares. Made by `predict`.

    title: for a figure that shows the answer: the question at first, what `reveal` says of the answer then.
    """

    def __init__(
        self, question: str, options: Sequence[str] | None = None, unit: str = "", within: float = 2.0
    ):
        self.question, self.unit, self.within = question, unit, within
        self.options = None if options is None else [str(option) for option in options]
        self.title = question
        self._view = None
        self._revealed: tuple | None = None  # (answer, because, id of the display)
        if self.options is not None and len(set(self.options)) < max(2, len(self.options)):
            raise ValueError(f"A prediction needs two or more different options, not {self.options}.")
        self.choice = self._recorded()

    def _recorded(self) -> str | float | None:
        """The first choice of an earlier run, from the progress file."""
        choice = progress.prediction(progress.open_lesson(), self.question).get("choice")
        if self.options is None:
            return float(choice) if isinstance(choice, int | float) else None
        return choice if choice in self.options else None

    def choose(self, choice: str | float) -> None:
        """Commit to one of the options, or to a number (what the button does). Only the first time counts."""
        choice = self._known(choice)
        if self.choice is None:
            self.choice = choice
            chosen = {"choice": choice, "chosen": progress.now()}
            progress.record("predictions", progress.open_lesson(), self.question, **chosen)
            if self._revealed is not None:
                self._show_answer(update=True)
        if self._view is not None:
            self._view.choice, self._view.locked = str(self.choice), True

    def reveal(self, answer: str | float, because: str | Mapping[str, str] = "") -> None:
        """Show the answer, how it compares with the prediction, and why it is so.

        because: a sentence for each option, {option: why, or what would have had to be true}; for a number
        {"too low": ..., "right": ..., "too high": ...}; or one sentence. Without a prediction the answer is
        folded. A number is in the question's unit, and right within a factor of `within`.
        """
        if session.stopped():
            show(f"No answer yet: not judged, since {session.stopped()}")
            return
        answer = self._known(answer)
        if isinstance(because, Mapping) and set(because) != set(self.options or BANDS):
            raise ValueError(
                f"`because` needs a sentence for each of {list(self.options or BANDS)}, and has them for "
                f"{list(because)}."
            )
        sentence = because[self._key(answer, answer)] if isinstance(because, Mapping) else because
        self.title = (sentence or self._words(answer)).removesuffix(".")
        self._revealed = answer, because, uuid.uuid4().hex
        self._show_answer()

    def _key(self, choice: str | float, answer: str | float) -> str:
        """The option chosen, or the band that a number lies in."""
        if self.options is not None:
            return choice
        if choice == answer or (choice * answer > 0 and 1 / self.within <= choice / answer <= self.within):
            return "right"
        return "too low" if choice < answer else "too high"

    def _show_answer(self, update: bool = False) -> None:
        answer, because, display = self._revealed
        outcome = {"answer": answer}
        title = f"Answer: {self._words(answer)}"
        kind = "neutral"
        if self.choice is not None:
            right = self._key(self.choice, answer) == self._key(answer, answer)
            outcome |= {"choice": self.choice, "right": right}
            title += " (as you predicted)" if self.choice == answer else self._compared(right)
            kind = "good" if right else "bad"
        progress.record_reveal(progress.open_lesson(), self.question, **outcome)
        reasons = (
            [f"{key}: {why}" for key, why in because.items()] if isinstance(because, Mapping) else [because]
        )
        reasons = [reason for reason in reasons if reason]
        text, html = "\n".join([title, *reasons]), note_html(title, *reasons, kind=kind)
        if self.choice is None:
            text, html = f"{NOT_YET.replace('open this', 'read on')}.\n{text}", folded(NOT_YET, html)
        kept = dict(because) if isinstance(because, Mapping) else {self._key(answer, answer): because}
        record = {"question": self.question, **outcome, "reasons": kept}
        publish_note(text, html, {"course": {"prediction": record}}, display=display, update=update)

    def _compared(self, right: bool) -> str:
        verdict = f", right within a factor of {self.within:g}" if right else ""
        return f" (you predicted: {self._words(self.choice)}{verdict})"

    def _words(self, value: str | float) -> str:
        return value if isinstance(value, str) else f"{value:.4g} {self.unit}".strip()

    def _known(self, value: str | float) -> str | float:
        if self.options is None:
            return float(value)
        if str(value) not in self.options:
            raise ValueError(f"{value!r} is not among the options of {self.question!r}: {self.options}.")
        return str(value)

    def _text(self) -> str:
        options = self.options or [f"a number{self.unit and f', in {self.unit}'}"]
        mark = {option: "x" if option == self.choice else " " for option in options}
        return f"Your prediction: {self.question}" + "".join(f"\n  ({mark[o]}) {o}" for o in options)

    def _display(self) -> None:
        if not has_page():
            print(self._text())
            return
        self._view = _view(self)
        publish_view(self._view, self._text())


def predict(
    question: str, options: Sequence[str] | None = None, unit: str = "", within: float = 2.0
) -> Prediction:
    """Ask for a prediction: a choice in JupyterLab, plain text where nobody can choose.

    options: three or four; without them a number is asked for, in `unit`, right within a factor of `within`.
    Call `.reveal(answer, because={option: sentence})` on what it returns once the answer has been measured.
    """
    prediction = Prediction(question, options, unit, within)
    prediction._display()
    return prediction


PREDICTION_STYLE = """
.course-prediction { border: 1px solid #8C8C8C; border-radius: 4px; padding: 6px 12px; margin: 2px 0;
  max-width: 46em; min-width: 0; }
.course-prediction legend { font-weight: bold; padding: 0 4px; }
.course-prediction label { display: block; padding: 3px 0; }
.course-prediction input[type=radio] { margin: 0 8px 0 0; }
.course-prediction input[type=number] { width: 10em; margin-right: 8px; }
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
  const options = model.get("options");
  const name = `prediction-${Math.random().toString(36).slice(2)}`;
  const inputs = (options.length ? options : [""]).map(option => {
    const label = make(box, "label");
    const input = make(label, "input");
    input.type = options.length ? "radio" : "number";
    if (options.length) [input.name, input.value] = [name, option];
    else input.step = "any";
    label.append(options.length ? option : model.get("unit") || "a number");
    return input;
  });
  const chosen = () => (options.length ? inputs.find(input => input.checked) : inputs[0])?.value ?? "";
  const button = make(box, "button", "This is my prediction");
  button.type = "button";
  const status = make(box, "div");
  status.setAttribute("role", "status");
  const draw = () => {
    const [choice, locked] = [model.get("choice"), model.get("locked")];
    for (const input of inputs) {
      if (locked && options.length) input.checked = input.value === choice;
      else if (locked) input.value = choice;
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
    """The question in JupyterLab: radio buttons or a number, and a button that commits to them."""
    import anywidget
    import traitlets

    class PredictionView(anywidget.AnyWidget):
        _esm, _css = PREDICTION_SCRIPT, PREDICTION_STYLE
        question = traitlets.Unicode().tag(sync=True)
        options = traitlets.List().tag(sync=True)
        unit = traitlets.Unicode().tag(sync=True)
        choice = traitlets.Unicode().tag(sync=True)
        locked = traitlets.Bool().tag(sync=True)

    locked = prediction.choice is not None
    view = PredictionView(
        question=prediction.question,
        options=prediction.options or [],
        unit=prediction.unit,
        choice=str(prediction.choice) if locked else "",
        locked=locked,
    )
    view.on_msg(lambda view, content, buffers: prediction.choose(content["choice"]))
    return view
