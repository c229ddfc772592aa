"""Stop in every training cell of a lesson, and run the cell again: one kernel per lesson, at smoke scale."""

import os
import re

import pytest
from jupyter_client.manager import start_new_kernel

from course_utils.notebook_files import code_cells, lessons, read_notebook

pytestmark = pytest.mark.night
# presses Stop once, after some training steps in the next cell
ARM = """
import signal
from course_utils.training import ProgressBar
plain_update, steps_left = globals().get("plain_update", ProgressBar.update), {steps}
def pressing_update(bar, *arguments):
    global steps_left
    steps_left -= 1
    plain_update(bar, *arguments)
    if steps_left == 0:
        ProgressBar.update = plain_update
        signal.raise_signal(signal.SIGINT)
ProgressBar.update = pressing_update
"""


class Kernel:
    def __init__(self):
        environment = {**os.environ, "COURSE_SCALE": "smoke"}
        self.manager, self.client = start_new_kernel(kernel_name="python3", env=environment)

    def run(self, source):
        """(reply, outputs) of a cell."""
        outputs = []
        reply = self.client.execute_interactive(
            source, timeout=120, allow_stdin=False, output_hook=outputs.append
        )
        return reply["content"], outputs

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel():
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.mark.parametrize("lesson", ["01", "12", "10", "03", "13"])
def test_each_training_cell_stops_and_runs_again(kernel, lesson):
    stopped = 0
    for number, cell in enumerate(code_cells(read_notebook(lessons([lesson])[0]))):
        kernel.run(ARM.format(steps=1))
        reply, outputs = kernel.run(cell.source)
        if reply["status"] == "ok":
            continue
        stopped += 1
        errors = [output["content"] for output in outputs if output["msg_type"] == "error"]
        assert [error["ename"] for error in errors] == ["TrainingStopped"], (number, errors)
        (line,) = errors[0]["traceback"]
        assert re.match(r"Stopped: .*interrupted (at step|after) \d+ of \d+", line), line
        reply, outputs = kernel.run(cell.source)
        assert reply["status"] == "ok", (number, reply["evalue"])
    assert stopped >= 2


def test_of_stopped_trainings_is_drawn_what_is_there(kernel):
    """Lesson 12's hunt trains three updates in one cell, draws them in the next, and judges them later."""
    cells = [cell.source for cell in code_cells(read_notebook(lessons(["12"])[0]))]
    trainings = next(number for number, source in enumerate(cells) if "hunted, courses = {}, {}" in source)
    verdicts = next(number for number, source in enumerate(cells) if "verdicts = {" in source)
    for source in cells[:trainings]:
        assert kernel.run(source)[0]["status"] == "ok"
    kernel.run(ARM.format(steps=3))  # in the second training: each has two iterations
    reply, _ = kernel.run(cells[trainings])
    assert "interrupted after 1 of 2. The rest of this cell did not run" in reply["evalue"]
    reply, outputs = kernel.run(cells[trainings + 1])
    shown = "".join(str(output["content"]) for output in outputs)
    assert reply["status"] == "ok" and "<img" in shown
    for source in cells[trainings + 2 : verdicts]:
        assert kernel.run(source)[0]["status"] == "ok"
    reply, outputs = kernel.run(cells[verdicts])
    shown = "".join(str(output["content"]) for output in outputs)
    assert reply["status"] == "error" and "Another cell was stopped before its end" in shown
    assert kernel.run(cells[trainings])[0]["status"] == "ok"
    assert kernel.run(cells[verdicts])[0]["status"] == "ok"
