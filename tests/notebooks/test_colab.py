"""The copies for Colab with its IPython 7.34 and ipywidgets 7.7: `pytest -m colab` (needs a network).

The versions overlay this environment, whose other packages stay. For lessons 00, 03 and 08 only:
`pytest -m colab -k "00 or 03 or 08"`.
"""

import os
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from course_utils.commands.copies import colab_copy
from course_utils.home import ROOT
from course_utils.notebook_files import lessons

VERSIONS = {"ipython": "7.34.0", "ipykernel": "6.17.1", "ipywidgets": "7.7.1"}
NEEDED = (
    "widgetsnbextension<4 jupyterlab_widgets<2 ipython_genutils backcall pickleshare jedi parso decorator"
)
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="session")
def overlay(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colab")
    packages = [f"{name}=={version}" for name, version in VERSIONS.items()] + NEEDED.split()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*pip, *packages], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot install Colab's versions: {done.stderr[-300:]}")
    return folder


@pytest.mark.colab
@pytest.mark.parametrize("lesson", lessons(more=True), ids=lambda path: path.stem)
def test_a_copy_runs_with_colabs_versions(lesson, overlay, tmp_path):
    notebook = colab_copy(lesson, "")
    told = "import IPython, ipykernel, ipywidgets\n"
    told += "print([m.__version__ for m in (IPython, ipykernel, ipywidgets)])"
    notebook.cells.insert(1, new_code_cell(told))
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(overlay), str(ROOT)]),
        "COURSE_SOLUTIONS": "1",
        "COURSE_SCALE": "smoke",
        "COURSE_MODEL": "pocket",
    }
    command = [
        sys.executable,
        "-m",
        "papermill",
        "copy.ipynb",
        "out.ipynb",
        "-k",
        "python3",
        "--no-progress-bar",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = [cell for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells if "outputs" in cell]
    assert cells[0].outputs[0].text.strip() == str(list(VERSIONS.values()))
    outputs = [output for cell in cells for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    asked = [cell for cell in cells if "predict(" in cell.source or "widget" in cell.metadata.get("tags", [])]
    for cell in asked:  # each prediction and control is a widget that the browser can show
        assert any(WIDGET in output.get("data", {}) for output in cell.outputs), cell.source[:200]
