"""The rank slider of lesson 04: moving it redraws the cut and its error."""

import re

WIDGET = "control(widgets.cutter("


def run_above(notebook, index):
    """Run all cells above this one, and wait until every code cell of them has run or one has failed."""
    notebook.cell(index)
    notebook.page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-above')")
    notebook.page.wait_for_function(
        """index => {
        const cells = window.jupyterapp.shell.currentWidget.content.model.toJSON().cells.slice(0, index)
            .filter(cell => cell.cell_type === 'code');
        return cells.every(cell => cell.execution_count)
            || cells.some(cell => cell.outputs.some(output => output.output_type === 'error'));
    }""",
        arg=index,
        timeout=5 * 60_000,
    )
    notebook.wait_idle()


def test_the_rank_slider_redraws_the_cut_and_its_error(open_lesson, tmp_path):
    notebook = open_lesson("04")
    widget = notebook.find(WIDGET)
    run_above(notebook, widget)
    for index, cell in enumerate(notebook.cells()[:widget]):
        assert all(output["output_type"] != "error" for output in cell.get("outputs", [])), index
    notebook.run(widget)

    def shown():
        """(rank, error, picture) below the slider."""
        text = notebook.cell(widget).locator(".jp-RenderedText").inner_text()
        rank, error = re.search(r"rank (\d+) of .*error (\d\.\d+) of the norm", text, re.DOTALL).groups()
        return int(rank), float(error), notebook.cell(widget).locator("img").first.get_attribute("src")

    notebook.cell(widget).locator("img").first.wait_for()
    rank, error, picture = shown()
    assert rank == 8 and 0 < error < 1
    notebook.page.screenshot(path=tmp_path / "rank_8.png")
    notebook.set_slider(widget, "rank", ["PageUp"])
    higher, smaller, redrawn = shown()
    assert higher > 8 and smaller < error and redrawn != picture
    notebook.page.screenshot(path=tmp_path / "rank_higher.png")
    notebook.set_slider(widget, "rank", ["Home"])
    lowest, largest, _ = shown()
    assert lowest == 1 and largest > error
