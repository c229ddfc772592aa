"""Run a lesson's notebook at one seed and give back its claims; every bound must hold."""

import papermill
import pytest

from course_utils.making import notebooks

five_seeds = pytest.mark.parametrize("seed", range(5))


def claims(lesson: str, seed: int, folder) -> dict[str, float]:
    """{text: measured value} of a lesson run on the pocket model at quick scale. Raises where one fails."""
    parameters = {"MODEL": "pocket", "SCALE": "quick", "SEED": seed}
    done = papermill.execute_notebook(
        notebooks.find(lesson),
        folder / f"seed{seed}.ipynb",
        parameters,
        kernel_name="python3",
        progress_bar=False,
        cwd=str(folder),
    )
    records = [
        output.metadata["course"]["claim"]
        for cell in done.cells
        for output in cell.get("outputs", [])
        if "claim" in output.get("metadata", {}).get("course", {})
    ]
    assert records and all(record["holds"] and record["binding"] for record in records)
    return {record["text"]: record["value"] for record in records}
