"""JupyterLab as the course opens it: its defaults and style, and controls that come back after a restart."""

import pytest

ABOVE = ("COURSE_MODEL", "session = start(", "lesson_14 import")
CALCULATOR, QUESTION = "widgets.memory_calculator()", "predict("
DARK, LIGHT = "JupyterLab Dark", "JupyterLab Light"


@pytest.fixture
def notebook(open_lesson):
    return open_lesson("14")


def command(notebook, name, **arguments):
    notebook.page.evaluate(
        "([name, arguments]) => window.jupyterapp.commands.execute(name, arguments)", [name, arguments]
    )


def reopen(notebook):
    """Save the lesson, shut its kernel down and load the page again."""
    command(notebook, "docmanager:save")
    notebook.page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    notebook.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    notebook.page.reload()
    notebook.page.wait_for_selector(".jp-Notebook .jp-Cell")
    notebook.wait_idle()


def test_a_lesson_opens_quietly_beside_its_contents(notebook):
    page = notebook.page
    page.locator("#table-of-contents", has_text="What to remember").wait_for()
    assert page.locator(".Toastify__toast").count() == 0, "no question about news"
    settings = page.evaluate(
        """async () => {
        const settings = window.jupyterapp.serviceManager.settings;
        const of = async (id, name) => JSON.parse((await settings.fetch(id)).raw)[name];
        return [await of('@jupyterlab/apputils-extension:notification', 'fetchNews')];
    }"""
    )
    assert settings == [None], "what the user has set is left alone"
    state = page.evaluate(
        """() => {
        const panel = window.jupyterapp.shell.currentWidget;
        return [panel.context.model.dirty, panel.content.notebookConfig.windowingMode];
    }"""
    )
    assert state == [False, "defer"]


@pytest.mark.parametrize("width", [1024, 1920])
def test_lines_are_at_most_46em_and_words_stay_whole(notebook, width):
    notebook.page.set_viewport_size({"width": width, "height": 900})
    notebook.page.wait_for_timeout(500)
    found = notebook.page.evaluate(
        """() => [...document.querySelectorAll('.jp-MarkdownOutput > :is(p, ul, ol)')].map(node => {
        const style = getComputedStyle(node);
        return [node.offsetWidth / parseFloat(style.fontSize), style.overflowWrap, style.wordBreak];
    })"""
    )
    assert len(found) > 5
    assert {tuple(words) for _, *words in found} == {("normal", "normal")}
    assert max(ems for ems, *_ in found) < 46.1
    if width == 1920:
        assert max(ems for ems, *_ in found) > 45.9


def test_controls_come_back_with_their_state_and_without_it_as_text_and_picture(open_lesson, tmp_path):
    notebook = open_lesson("more/14")
    for text in (*ABOVE, CALCULATOR, QUESTION):
        index = notebook.find(text)
        notebook.run(index)
    question, calculator = notebook.find(QUESTION), notebook.find(CALCULATOR)
    notebook.cell(question).locator("input[type=radio]").nth(1).check()
    notebook.cell(question).get_by_role("button", name="This is my prediction").click()
    notebook.cell(question).get_by_text("You predicted:").wait_for()
    notebook.wait_idle()
    printed = notebook.cell(calculator).locator(".jp-RenderedText").inner_text().strip()

    reopen(notebook)  # the state was saved
    notebook.cell(question).locator("input[type=radio]").first.wait_for()
    assert notebook.cell(question).locator("input[type=radio]").nth(1).is_checked()
    notebook.cell(calculator).locator("img").first.wait_for()
    assert printed in notebook.output(calculator)
    assert notebook.cell(calculator).locator("select").count() > 0

    reopen(notebook)  # it was not saved: no kernel knew the controls
    notebook.cell(calculator).locator("img").first.wait_for()
    assert printed in notebook.output(calculator)
    assert notebook.cell(calculator).locator("select").count() == 0
    notebook.cell(question).locator("pre", has_text="( ) about 60 GiB").wait_for()
    for index in (question, calculator):
        assert "Error displaying" not in notebook.output(index)
    for theme in (DARK, LIGHT):
        command(notebook, "apputils:change-theme", theme=theme)
        notebook.cell(question)
        text, ground = (
            notebook.cell(question)
            .locator("pre")
            .last.evaluate(
                """node => {
            const colours = node => getComputedStyle(node);
            return [colours(node).color, colours(document.querySelector('.jp-Notebook')).backgroundColor];
        }"""
            )
        )
        assert abs(brightness(text) - brightness(ground)) > 0.5, theme
        notebook.page.screenshot(path=tmp_path / f"{theme}.png")


def brightness(colour):
    """Brightness of a CSS colour, 0 to 1."""
    numbers = colour.removeprefix("rgba").removeprefix("rgb").strip("()").split(",")
    return sum(float(number) for number in numbers[:3]) / 3 / 255
