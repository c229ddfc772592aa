"""Predictions: the learner commits to an answer before the notebook reveals it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import course_utils.checks.progress as progress
from course_utils import session
from course_utils.checks.show import show
from course_utils.widgets import WIDGET


class Prediction:
    """A question with options, shown as a choice to click; `reveal` compares. Made by `predict`."""

    def __init__(self, question: str, options: Sequence[str]):
        self.question = question
        self.options = [str(option) for option in options]
        self.choice: str | None = None
        if len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise ValueError(f"A prediction needs two or more different options, not {self.options}.")

    def choose(self, option: str) -> None:
        """Commit to one of the options (what a click does)."""
        self.choice = self._known(option)
        progress.record("predictions", progress.open_lesson(), self.question, choice=option)

    def reveal(self, answer: str, because: str = "") -> None:
        """Show the answer, how it compares with the prediction, and why it is so."""
        if session.stopped():
            show(f"No answer yet: not judged, since {session.stopped()}")
            return
        answer = self._known(str(answer))
        if self.choice is None:
            show(f"Answer: {answer}", *filter(None, [because]))
            return
        right = self.choice == answer
        progress.record(
            "predictions",
            progress.open_lesson(),
            self.question,
            choice=self.choice,
            answer=answer,
            right=right,
        )
        compared = "as you predicted" if right else f"you predicted: {self.choice}"
        show(f"Answer: {answer} ({compared})", *filter(None, [because]), kind="good" if right else "bad")

    def _known(self, option: str) -> str:
        if option not in self.options:
            raise ValueError(f"{option!r} is not among the options of {self.question!r}: {self.options}.")
        return option

    def _text(self) -> str:
        options = "".join(f"\n  ( ) {option}" for option in self.options)
        return f"Your prediction: {self.question}{options}"

    def _display(self) -> None:
        from IPython import get_ipython

        if getattr(get_ipython(), "kernel", None) is None:
            print(self._text())
            return
        import ipywidgets
        from IPython.display import publish_display_data

        buttons = ipywidgets.RadioButtons(options=self.options, value=None, layout={"width": "max-content"})
        buttons.observe(lambda change: self.choose(change["new"]), names="value")
        title = ipywidgets.HTML(f"<b>Your prediction:</b> {escape(self.question)}")
        box = ipywidgets.VBox([title, buttons])
        publish_display_data({"text/plain": self._text(), **{WIDGET: box._repr_mimebundle_()[WIDGET]}})


def predict(question: str, options: Sequence[str]) -> Prediction:
    """Ask for a prediction: a choice to click in JupyterLab, plain text where nobody can click.

    Call `.reveal(answer, because="...")` on what it returns once the answer has been measured.
    """
    prediction = Prediction(question, options)
    prediction._display()
    return prediction
