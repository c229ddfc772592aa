"""Lessons, and at night companions, run headless at smoke scale with the solutions, without the hub."""

import papermill
import pytest
from helpers import logging_hub

from course_utils.notebook_files import lessons

LESSONS = lessons()
COMPANIONS = [path for path in lessons(more=True) if path not in LESSONS]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        *(pytest.param(path, id=path.stem) for path in LESSONS),
        *(pytest.param(path, id=path.stem, marks=pytest.mark.night) for path in COMPANIONS),
    ],
)
def test_papermill_at_smoke_scale_with_solutions(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_SOLUTIONS", "1")
    with logging_hub(monkeypatch) as asked:
        done = papermill.execute_notebook(
            path,
            tmp_path / "out.ipynb",
            {"MODEL": "pocket", "SCALE": "smoke", "SEED": 1},  # 0 is that of the saved outputs
            kernel_name="python3",
            progress_bar=False,
        )
    assert asked == []
    texts = [
        str(output.get("data", {}).get("text/plain", ""))
        for cell in done.cells
        for output in cell.get("outputs", [])
    ]
    exercises = [cell for cell in done.cells if "exercise" in cell.metadata.get("tags", [])]
    assert sum(": passed" in text for text in texts) == len(exercises)
    assert not any("not attempted" in text for text in texts)
    stderr = [
        output.text
        for cell in done.cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stderr"
    ]
    assert stderr == []
