"""Lessons run headless at smoke scale with the solutions and another seed, anywhere, without the hub."""

import papermill
import pytest
from helpers import logging_hub

from course_utils.notebook_files import lessons

LESSONS = lessons(more=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
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
