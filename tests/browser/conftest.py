"""A real JupyterLab on a free port over a learner's copies of the lessons, and Chromium to drive it."""

import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from course_utils.home import home
from course_utils.making.chromium import missing
from course_utils.making.notebooks import NOTEBOOKS

MINUTE = 60_000  # milliseconds
BY_DAY = ("test_a_learner_works_through_the_lesson",)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    why = missing()
    for item in items:
        if here in item.path.parents:
            item.add_marker("slow" if item.originalname in BY_DAY else "night")
            if why:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """(address, token, folder) of a running JupyterLab that serves the copies of the lessons in work/."""
    from course_utils.commands.lab import copy_lessons, jupyter_environment

    folder = tmp_path_factory.mktemp("lab")
    copy_lessons(NOTEBOOKS, folder / "work")
    (folder / "home").mkdir()
    (kept := home() / "cache").mkdir(parents=True, exist_ok=True)
    (folder / "home" / "cache").symlink_to(kept)  # what one test makes, no other has to make again
    token = secrets.token_hex(8)
    own = {
        "COURSE_HOME": "home",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    environment = {**os.environ, **jupyter_environment()}
    environment |= {name: str(folder / place) for name, place in own.items()}
    environment["COURSE_STRICT"] = "0"  # as for a learner
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--port=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True",
    ]
    log = folder / "lab.log"
    with log.open("w") as stream:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=stream)
    try:
        yield _address(server, log), token, folder
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _address(server, log):
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        match = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if match:
            with suppress(OSError):  # the address is logged just before the server listens
                urllib.request.urlopen(f"{match.group()}/api", timeout=30).close()
                return match.group()
        if server.poll() is not None:
            break
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture
def open_lesson(lab, browser):
    """Open a lesson, or as more/NN a companion, by the start of its name in its own page; returns a Notebook.

    Nothing remains of an earlier test: no progress, no kernel.
    """
    address, token, folder = lab
    (folder / "home" / "progress.json").unlink(missing_ok=True)
    contexts = []

    def open_it(start):
        name = next((folder / "work").glob(f"{start}*.ipynb")).relative_to(folder / "work").as_posix()
        contexts.append(browser.new_context(viewport={"width": 1200, "height": 1000}))
        page = contexts[-1].new_page()
        page.goto(f"{address}/lab/tree/work/{name}?token={token}&reset")
        return Notebook(page)

    yield open_it
    for context in contexts:
        context.close()
    for session in json.loads(_ask(f"{address}/api/sessions?token={token}")):
        _ask(f"{address}/api/sessions/{session['id']}?token={token}", "DELETE")


def _ask(address, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=60) as answer:
        return answer.read()


class Notebook:
    """An open notebook in JupyterLab, with the tests' actions. Cells count from 0, text cells included."""

    def __init__(self, page):
        self.page = page
        page.set_default_timeout(2 * MINUTE)
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.wait_idle()

    def wait_idle(self):
        """Wait until the kernel is connected and idle."""
        self.page.wait_for_function(
            """() => {
            const context = window.jupyterapp.shell.currentWidget?.sessionContext;
            return context?.isReady && context.session?.kernel?.status === 'idle';
        }""",
            timeout=3 * MINUTE,
        )

    def run_all(self):
        """Run All Cells, and wait until every code cell has run or one has failed."""
        self.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function(
            """() => {
            const cells = window.jupyterapp.shell.currentWidget.content.model.toJSON().cells
                .filter(cell => cell.cell_type === 'code');
            return cells.every(cell => cell.execution_count)
                || cells.some(cell => cell.outputs.some(output => output.output_type === 'error'));
        }""",
            timeout=5 * MINUTE,
        )
        self.wait_idle()

    def cells(self):
        """The page's notebook: a list of cells in the saved format."""
        return self.page.evaluate("window.jupyterapp.shell.currentWidget.content.model.toJSON().cells")

    def find(self, text):
        """Index of the first code cell whose source contains the text."""
        return next(
            index
            for index, cell in enumerate(self.cells())
            if cell["cell_type"] == "code" and text in "".join(cell["source"])
        )

    def cell(self, index):
        """The cell on the page, scrolled into view."""
        self.page.evaluate(
            """async index => {
            const content = window.jupyterapp.shell.currentWidget.content;
            content.activeCellIndex = index;
            await content.scrollToItem(index, 'center');
        }""",
            index,
        )
        cell = self.page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{index}']")
        cell.wait_for()
        return cell

    def output(self, index):
        """The text that the reader sees under a cell."""
        return self.cell(index).locator(".jp-Cell-outputArea").inner_text()

    def rewrite_and_run(self, index, source):
        """Type new source into a cell, press Shift-Enter, and wait until it has run."""
        self.page.evaluate(
            """index => {
            const content = window.jupyterapp.shell.currentWidget.content;
            content.model.cells.get(index).executionCount = null;
            content.widgets[index].inputHidden = false;
        }""",
            index,
        )
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_function(
            """index => {
            const cell = window.jupyterapp.shell.currentWidget.content.model.cells.get(index);
            return cell.executionCount;
        }""",
            arg=index,
            timeout=3 * MINUTE,
        )
        self.wait_idle()

    def run(self, index):
        """Run the cell unchanged; see rewrite_and_run."""
        self.rewrite_and_run(index, "".join(self.cells()[index]["source"]))

    def wait_for_other_text(self, index, before):
        """Wait until a control has printed another text than this one, and the kernel is idle."""
        self.page.wait_for_function(
            """([index, before]) => {
            const text = document.querySelector(
                `.jp-Notebook .jp-Cell[data-windowed-list-index='${index}'] .jp-RenderedText`)?.innerText;
            return text && text !== before;
        }""",
            arg=[index, before],
        )
        self.wait_idle()

    def set_slider(self, index, name, keys):
        """Move the slider of that name with keys, and wait for the new printed text.

        The slider's own number changes at once, so it is not waited for.
        """
        printed = self.cell(index).locator(".jp-RenderedText")
        before = printed.inner_text()
        self.cell(index).get_by_role("slider", name=name).focus()
        for key in keys:
            self.page.keyboard.press(key)
        self.wait_for_other_text(index, before)
