"""The labelling tool: pairs shown blind and in random order, labelled by key or button, saved at once."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

from course_utils.home import home
from course_utils.preferences import Pair, read_pairs, request, swapped, write_pairs
from course_utils.widgets import publish_view


class Labelling:
    """Pairs to label one after the other, and the labels so far, kept in a file.

    Neither the order of the pairs nor the sides reveal a pair's original label. Existing labels in the file,
    for the same pairs in the same order, are reused; other pairs have their own file.
    """

    def __init__(self, pairs: Sequence[Pair], seed: int = 0, path: Path | None = None):
        rng = random.Random(seed)
        shuffled = rng.sample(list(pairs), len(pairs))
        self.simulated = shuffled
        self.shown = [pair if rng.random() < 0.5 else swapped(pair) for pair in shuffled]  # left: chosen
        key = hashlib.sha256(repr(self.shown).encode()).hexdigest()[:8]
        self.path = path or home() / "labels" / f"lesson_10-{key}.jsonl"
        self.labels: list[Pair] = []
        saved = read_pairs(self.path) if self.path.is_file() else []
        for label, pair in zip(saved, self.shown, strict=False):
            if label not in (pair, swapped(pair)):
                break
            self.labels.append(label)

    @property
    def current(self) -> tuple[str, str, str] | None:
        """(request, left answer, right answer) of the next pair to label; None when all are labelled."""
        if len(self.labels) == len(self.shown):
            return None
        pair = self.shown[len(self.labels)]
        return request(pair.prompt), pair.chosen, pair.rejected

    def choose(self, side: str) -> None:
        """Label the current pair: "left" or "right" is better. Does nothing when all are labelled."""
        if side not in ("left", "right"):
            raise ValueError(f'a label must be "left" or "right", not {side!r}')
        if self.current is not None:
            pair = self.shown[len(self.labels)]
            self.labels.append(pair if side == "left" else swapped(pair))
            self._save()

    def undo(self) -> None:
        """Remove the last label, if there is one."""
        if self.labels:
            self.labels.pop()
            self._save()

    def _save(self) -> None:
        if self.labels:
            write_pairs(self.path, self.labels)
        else:
            self.path.unlink(missing_ok=True)

    def result(self) -> list[Pair]:
        """All pairs with your labels, or the simulated annotator's if you gave none; prints which."""
        yours, total = len(self.labels), len(self.shown)
        if yours == total:
            print(f"All {total} labels are yours.")
        elif yours:
            print(f"{yours} of {total} labels are yours; the simulated annotator's stand in for the rest.")
        else:
            print(
                f"No label is yours yet: the simulated annotator's stand in for all {total}. "
                "Label the pairs above and run this cell again."
            )
        return [*self.labels, *self.simulated[yours:]]

    def show(self) -> None:
        """Display the tool; as text if there is no kernel with a page."""
        from IPython import get_ipython

        if getattr(get_ipython(), "kernel", None) is None:
            print(self._text())
            return
        publish_view(_view(self), self._text())

    def _text(self) -> str:
        if self.current is None:
            return f"All {len(self.shown)} pairs are labelled."
        asked, left, right = self.current
        number = len(self.labels) + 1
        return f"Pair {number} of {len(self.shown)}. {asked}\n\nLeft:  {left}\n\nRight: {right}"


LABELLING_STYLE = """
.labelling { border: 1px solid #767676; border-radius: 4px; padding: 10px; max-width: 900px; }
.labelling:focus { outline: none; }
.labelling:focus-within { border-color: #0072B2; box-shadow: 0 0 0 2px #2F96CC; }
.labelling .answers { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; margin: 8px 0; }
.labelling .answer { white-space: pre-wrap; border: 1px solid #767676; padding: 8px; line-height: 1.4; }
.labelling button { margin-right: 8px; padding: 4px 10px; }
.labelling .status { opacity: 0.85; margin-top: 6px; }
"""

SCRIPT = """
const KEYS = {1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", u: "undo", Backspace: "undo"};

function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "labelling";
  box.tabIndex = 0;
  box.dataset.lmSuppressShortcuts = "true";  // or JupyterLab would take the keys
  const make = (parent, tag, name) => {
    const child = document.createElement(tag);
    child.className = name;
    parent.append(child);
    return child;
  };
  const prompt = make(box, "b", "prompt");
  const answers = make(box, "div", "answers");
  const texts = {left: make(answers, "div", "answer left"), right: make(answers, "div", "answer right")};
  const send = act => {
    box.focus({ preventScroll: true });  // a button that gets disabled would lose the keys
    model.send({ act });
  };
  const buttons = {};
  const labels = {left: "Left is better (1 or ←)", right: "Right is better (2 or →)", undo: "Undo (u)"};
  for (const [act, label] of Object.entries(labels)) {
    buttons[act] = make(box, "button", act);
    buttons[act].textContent = label;
    buttons[act].onclick = () => send(act);
  }
  const status = make(box, "div", "status");
  status.setAttribute("role", "status");
  box.addEventListener("keydown", event => {
    const act = KEYS[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    send(act);
  });
  const draw = () => {
    const state = model.get("state");
    prompt.textContent = state.prompt;
    for (const side of ["left", "right"]) {
      texts[side].textContent = state[side];
      buttons[side].disabled = state.done;
    }
    answers.style.display = state.done ? "none" : "grid";
    buttons.undo.disabled = state.labelled === 0;
    status.textContent = state.status;
  };
  model.on("change:state", draw);
  draw();
  el.append(box);
  return () => model.off("change:state", draw);
}
export default { render };
"""


def _view(labelling: Labelling):
    """The tool's page in JupyterLab: it shows `state` and sends "left", "right" and "undo"."""
    import anywidget
    import traitlets

    class LabellingView(anywidget.AnyWidget):
        _esm, _css = SCRIPT, LABELLING_STYLE
        state = traitlets.Dict().tag(sync=True)

    def handle(view, content, buffers):
        act = content.get("act")
        if act == "undo":
            labelling.undo()
        else:
            labelling.choose(act)
        view.state = _state(labelling)

    view = LabellingView(state=_state(labelling))
    view.on_msg(handle)
    return view


def _state(labelling: Labelling) -> dict:
    labelled, total = len(labelling.labels), len(labelling.shown)
    asked, left, right = labelling.current or ("All pairs are labelled.", "", "")
    where = f"saved in {labelling.path.name}"
    status = (
        f"{labelled} of {total} labelled, {where}"
        if labelled
        else f"Pair 1 of {total}; click here, then use the keys"
    )
    done = labelling.current is None
    if done:
        status += ". Run the next cell."
    return {
        "prompt": asked,
        "left": left,
        "right": right,
        "labelled": labelled,
        "done": done,
        "status": status,
    }
