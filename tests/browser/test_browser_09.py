"""The chat box of lesson 09 as a learner meets it: type, press Enter, watch the answer grow, ask back."""

import pytest

from course_utils.artifacts import sft_model
from course_utils.session import start

# records how often the conversation on the page changed, since an answer is too fast to be watched
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
def chat(open_lesson, lab, monkeypatch):
    """Lesson 09 with only the cells run that the chat box needs, the assistant made before."""
    monkeypatch.setenv("COURSE_HOME", str(lab[2] / "home"))
    sft_model(start("pocket", "quick", 0))
    notebook = open_lesson("09")
    texts = ["COURSE_SCALE", "= start(", "import plots, widgets", "= sft_model(session)", "chat_box("]
    for text in texts:
        index = notebook.find(text)
        notebook.rewrite_and_run(index, "".join(notebook.cells()[index]["source"]))
    return Chat(notebook, index)


class Chat:
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

    def ask(self, text):
        """The answer that appears under the question."""
        before = len(self.turns("assistant"))
        self.type("you", text)
        self.cell.locator(".course-assistant").nth(before).wait_for()
        self.notebook.wait_idle()
        assert self.turns("user")[-1] == text
        return self.turns("assistant")[-1]

    def wait_empty(self):
        self.cell.locator(".course-user").first.wait_for(state="detached")


def test_a_learner_talks_to_the_assistant(chat, tmp_path):
    assert len(chat.turns("user")) == len(chat.turns("assistant")) == 3, "the questions of the saved lesson"

    capital = chat.ask("What is the capital of France? Answer in a sentence.")
    assert capital == "The capital of France is Paris."
    chat.cell.get_by_role("button", name="New conversation").click()
    chat.wait_empty()

    chat.page.evaluate(WATCH)
    story = chat.ask("Tell me a story.")
    assert len(story.split()) > 30
    states = [state for state in chat.page.evaluate("window.chatStates") if state]
    assert len(states) > 10, "the answer grows before the reader's eyes"
    chat.page.screenshot(path=tmp_path / "chat.png")

    chat.type("system", "You are a helpful assistant. You answer in full sentences.")
    chat.wait_empty()
    chat.ask("<b>Hello</b>")
    assert chat.turns("user") == ["<b>Hello</b>"], "markup is shown, not rendered"
