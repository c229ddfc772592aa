"""The chat box of lesson 09 as a learner sees it: type, watch the answer grow, ask again, start over.

The base model with its new markers answers, without training: its answers make no sense, and the box must
show exactly those.
"""

import pytest

from course_utils.chatml import SYSTEM, add_chat_tokens
from course_utils.methods.chat import chat
from course_utils.models import load_model

STAND_IN = "assistant = base"
# records how often the conversation on the page changed, since an answer is too fast to watch
WATCH = """() => {
    window.chatStates = [];
    const note = () => {
        const said = document.querySelectorAll('.course-chat .course-assistant');
        const text = said.length ? said[said.length - 1].innerText : '';
        if (text !== window.chatStates.at(-1)) window.chatStates.push(text);
    };
    new MutationObserver(note).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


@pytest.fixture
def box(open_lesson):
    """Lesson 09 with only the cells run that the chat box needs."""
    notebook = open_lesson("09")
    notebook.page.evaluate("window.jupyterapp.commands.execute('notebook:show-all-cell-code')")  # imports too
    for text in (
        "COURSE_SCALE",
        "= start(",
        "lesson_09 import",
        "= session.load_model()",
        "= sft_model(",
        "check.fit_context(",
        "chat_box(",
    ):
        index = notebook.find(text)
        source = "".join(notebook.cells()[index]["source"])
        notebook.rewrite_and_run(index, STAND_IN if "= sft_model(" in source else source)
        assert all(output["output_type"] != "error" for output in notebook.cells()[index]["outputs"])
    return Box(notebook, index)


class Box:
    """The box's controls on the page."""

    def __init__(self, notebook, index):
        self.notebook, self.page = notebook, notebook.page
        self.cell = notebook.cell(index)

    def type(self, label, text):
        field = self.cell.locator(".widget-text", has_text=label).locator("input")
        field.fill(text)
        field.press("Enter")
        self.notebook.wait_idle()

    def turns(self, role):
        return [
            turn.removeprefix(role).strip() for turn in self.cell.locator(f".course-{role}").all_inner_texts()
        ]

    def ask(self, text, expected):
        """Type a question and wait for the whole answer under it."""
        before = len(self.turns("assistant"))
        self.type("you", text)
        answer = self.cell.locator(".course-assistant").nth(before)
        answer.filter(has_text=expected[-20:]).wait_for()
        assert self.turns("user")[-1] == text
        return self.turns("assistant")[-1]

    def wait_empty(self):
        self.cell.locator(".course-user").first.wait_for(state="detached")


class Direct:
    """The same conversation without a notebook."""

    def __init__(self):
        self.model, self.tokenizer = load_model("pocket")
        add_chat_tokens(self.model, self.tokenizer)
        self.restart()

    def restart(self, system=SYSTEM):
        self.messages = [{"role": "system", "content": system}]

    def ask(self, text):
        return "".join(chat(self.model, self.tokenizer, self.messages, text)).strip()


def words(text):
    return text.split()


def test_a_learner_talks_to_the_model(box, tmp_path):
    assert len(box.turns("user")) == len(box.turns("assistant")) == 5, "the questions of the saved lesson"
    box.cell.get_by_role("button", name="New conversation").click()
    box.wait_empty()

    direct = Direct()
    box.page.evaluate(WATCH)
    for question in ("What is the capital of France?", "And of Italy?"):
        expected = direct.ask(question)
        assert words(box.ask(question, expected)) == words(expected)
    assert box.turns("user") == ["What is the capital of France?", "And of Italy?"], "both exchanges stay"
    states = [state for state in box.page.evaluate("window.chatStates") if state]
    assert len(states) > 10, "the answer grows before the reader's eyes"
    box.page.screenshot(path=tmp_path / "chat.png")

    box.type("system", "You are a pirate.")
    box.wait_empty()
    direct.restart("You are a pirate.")
    expected = direct.ask("<b>Hello</b>")
    assert words(box.ask("<b>Hello</b>", expected)) == words(expected)
    assert box.turns("user") == ["<b>Hello</b>"], "markup is shown, not rendered"
