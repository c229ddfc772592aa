"""Many lessons and seeds on many machines: each a notebook executed by papermill on one of Dask's workers."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Sequence


def run_lesson(lesson: str, seed: int, model: str = "pocket", scale: str = "smoke") -> dict:
    """Executes a lesson where it is called: its claims as {text: measured value}, and by whom it was run.

    Raises papermill's PapermillExecutionError where a cell fails. The executed notebook is thrown away.
    """
    import papermill

    from course_utils.checks import claims
    from course_utils.notebook_files import lessons

    with tempfile.TemporaryDirectory() as folder:
        done = papermill.execute_notebook(
            lessons([lesson])[0],
            os.path.join(folder, "out.ipynb"),
            {"MODEL": model, "SCALE": scale, "SEED": seed},
            kernel_name="python3",
            progress_bar=False,
            cwd=folder,
            extra_arguments=["--IPKernelApp.log_level=50"],  # its own log would go to the worker's stderr
        )
    values = {record["text"]: record["value"] for record in claims.read(done)}
    worker = f"{socket.gethostname()}:{os.getpid()}"
    return {"lesson": lesson, "seed": seed, "claims": values, "worker": worker}


def sweep_lessons(client, lessons: Sequence[str], seeds: Sequence[int], **settings) -> Iterator[dict]:
    """The results of every lesson at every seed as they come; {"lesson", "seed", "error"} of one that failed.

    client: a dask.distributed Client. Leaving the loop early cancels what has not begun. settings go to
    run_lesson. A worker that is lost costs its lesson, which another one does again.
    """
    from distributed import as_completed

    tasks = {
        client.submit(run_lesson, lesson, seed, **settings, pure=False): (lesson, seed)
        for lesson in lessons
        for seed in seeds
    }
    try:
        for future in as_completed(tasks):
            if future.status == "finished":
                yield future.result()
            else:
                lesson, seed = tasks[future]
                yield {"lesson": lesson, "seed": seed, "error": repr(future.exception())}
    finally:
        client.cancel(list(tasks))
