"""The playground in Chromium: its engine on a blank page, and the page itself from a file."""

import time

import pytest

from course_utils.making.chromium import engine_page, missing
from course_utils.models import load_model
from course_utils.playground.page import playground_page

NEEDS_CHROMIUM = ("browser", "engine", "opened")


def pytest_collection_modifyitems(items):
    why = missing()
    for item in items:
        if set(NEEDS_CHROMIUM) & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def engine(browser):
    """A page with the engine's functions; models.plain and models.kernel are the pocket model."""
    return engine_page(browser)


@pytest.fixture(scope="session")
def pocket():
    """(model, tokenizer); tests leave it as it is."""
    return load_model("pocket")


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("playground") / "playground.html"
    path.write_text(playground_page(), encoding="utf-8")
    return path


class Playground:
    """The opened page. Its policy forbids wait_for_function, so that `until` asks again and again."""

    def __init__(self, page):
        self.page = page
        self.asked, self.errors = [], []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text))

    def open(self, file, fragment=""):
        self.page.goto(file.as_uri() + fragment)
        self.until("find('ready').textContent.includes('ready')")

    def until(self, condition, seconds=120):
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}; errors: {self.errors}"
            time.sleep(0.02)

    def texts(self, name):
        """A function that returns what the element has shown since now, however briefly."""
        self.page.evaluate(
            """name => {
                window.seenTexts = [];
                new MutationObserver(() => seenTexts.push(find(name).textContent))
                    .observe(find(name), { childList: true, characterData: true, subtree: true });
            }""",
            name,
        )
        return lambda: self.page.evaluate("seenTexts")

    def press(self, button):
        """Click, and wait until what it began has ended."""
        self.page.click(button)
        self.until("!running")

    def call(self, kind, **job):
        return self.page.evaluate("([kind, job]) => call(kind, job)", [kind, job])


@pytest.fixture
def opened(browser, file):
    """The page, ready; afterwards nothing was asked of a network and no error was thrown."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, accept_downloads=True)
    playground = Playground(context.new_page())
    playground.open(file)
    yield playground
    context.close()
    assert [url for url in playground.asked if not url.startswith(("file:", "blob:"))] == []
    assert playground.errors == []
