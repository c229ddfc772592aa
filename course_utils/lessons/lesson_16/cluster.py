"""Many runs on many machines, each on a Dask worker: a small training or a whole lesson."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence


def this_worker() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def fine_tune(model: str, rate: float, seed: int, steps: int) -> dict:
    """Tune all weights on questions; returns the loss on validation questions, and the worker."""
    from course_utils.data import batches, encode_prompt_completion, load_questions
    from course_utils.evaluation import mean_loss
    from course_utils.methods.distributed import train_alone
    from course_utils.models import load_model

    tuned, tokenizer = load_model(model)
    tune, validation = (
        [
            encode_prompt_completion(tokenizer, row["prompt"], row["completion"])
            for row in load_questions(name)
        ]
        for name in ("tune", "validation")
    )
    stream = batches(tune, 16, seed, tokenizer.pad_token_id)
    train_alone(tuned.train(), stream, steps, rate)
    return {"loss": mean_loss(tuned.eval(), validation[:200]), "worker": this_worker()}


def run_lesson(lesson: str, seed: int, model: str = "pocket", scale: str = "smoke") -> dict:
    """Execute a lesson in this process; returns its claims as {text: measured value}, and the worker.

    Raises papermill's PapermillExecutionError if a cell fails. The executed notebook is discarded.
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
            extra_arguments=["--IPKernelApp.log_level=50"],  # otherwise its log goes to the worker's stderr
        )
    values = {record["text"]: record["value"] for record in claims.read(done)}
    return {"claims": values, "worker": this_worker()}


def run_points(client, run: Callable[..., dict], points: Sequence[dict]) -> Iterator[dict]:
    """A row for each point as they come: the point with what run(**point) returned, or with its "error".

    client: a dask.distributed Client. Leaving the loop early cancels what has not begun. A lost worker
    costs what it was at: another one does it again.
    """
    from distributed import as_completed

    tasks = {client.submit(run, **point, pure=False): point for point in points}
    try:
        for future in as_completed(tasks):
            if future.status == "finished":
                yield tasks[future] | future.result()
            else:
                yield tasks[future] | {"error": repr(future.exception())}
    finally:
        client.cancel(list(tasks))
