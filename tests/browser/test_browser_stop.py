"""A learner presses Stop in a training cell, in two lessons reduced to the cells that it needs."""

import re

import nbformat
import pytest
from helpers import needed_for
from nbformat.v4 import new_code_cell, new_notebook

from course_utils.notebook_files import code_cells, lessons, read_notebook

TRAINING = {"01": "history = train(tuned, question_batches()", "04": "STEPS, FULL_RATE = session.steps("}
LATER = 'from course_utils.checks import claim\n\nclaim("a later result", 1.0, at_most=2)'


@pytest.fixture(params=TRAINING)
def notebook(request, lab, open_lesson):
    """A short lesson that ends with the training and a claim."""
    sources = [cell.source for cell in code_cells(read_notebook(lessons([request.param])[0]))]
    training = next(number for number, source in enumerate(sources) if TRAINING[request.param] in source)
    kept = [sources[number] for number in needed_for(sources, training)]
    short = new_notebook(cells=[new_code_cell(source) for source in [*kept, LATER]])
    short.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    nbformat.write(short, lab[2] / "work" / f"stop_{request.param}.ipynb")
    return open_lesson(f"stop_{request.param}")


def test_stop_halts_run_all_and_nothing_is_judged_until_the_cell_has_run(notebook, tmp_path):
    page, (*_, training, later) = notebook.page, range(len(notebook.cells()))
    page.evaluate("() => void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(
        """index => {
        const cell = window.jupyterapp.shell.currentWidget.content.model.toJSON().cells[index];
        return cell.outputs.some(output => / [1-9]\\d*\\/\\d+ · /.test(output.data?.['text/plain']));
    }""",
        arg=training,
    )
    page.locator(".jp-NotebookPanel-toolbar [data-jp-item-name='interrupt']").click()
    page.wait_for_function(
        """index => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells[index]
            .outputs.some(output => output.output_type === 'error')""",
        arg=training,
    )
    notebook.wait_idle()
    page.screenshot(path=tmp_path / "stopped.png")

    shown = notebook.output(training)
    line = re.search(r" (\d+)/(\d+) · .* · interrupted at step (\d+) of (\d+)", shown)
    assert line, shown
    drawn, total, step, of = map(int, line.groups())
    assert total == of and 1 <= step < total and drawn in (step - 1, step), "the bar may be a step behind"
    assert shown.count("Stopped: ") == 1 and "Traceback" not in shown
    assert "The model and its history are kept: go on below, or run this cell again to start over." in shown
    assert notebook.cells()[later]["execution_count"] is None, "Run All halts"

    notebook.rewrite_and_run(later, LATER)
    assert "not judged: training was stopped" in notebook.output(later)
    notebook.run(training)
    assert all(output["output_type"] != "error" for output in notebook.cells()[training]["outputs"])
    assert f"{total}/{total}" in notebook.output(training)
    notebook.rewrite_and_run(later, LATER)
    assert "not judged" not in notebook.output(later)
