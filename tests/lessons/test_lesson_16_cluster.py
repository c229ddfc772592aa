"""Lessons on Dask's workers: all return; a failing one stops no other, a lost worker is replaced."""

import os
import threading
import time

import pytest

pytest.importorskip("distributed")

import distributed
import nbformat
import psutil
from nbformat.v4 import new_code_cell, new_notebook

from course_utils import notebook_files
from course_utils.lessons.lesson_16 import cluster

pytestmark = pytest.mark.night


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    """A folder of three small lessons: 41 claims its seed, 42 fails, 43 waits."""
    folder = tmp_path_factory.mktemp("notebooks")
    parameters = new_code_cell("SEED = 0", metadata={"tags": ["parameters"]})
    claim = "from course_utils.checks import claim\nclaim('seed', SEED, at_least=0, models='any')"
    sources = {"41": claim, "42": "1 / 0", "43": "import time\ntime.sleep(2)\n" + claim}
    for number, source in sources.items():
        kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
        cells = [parameters, new_code_cell(source)]
        notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, folder / f"{number}_test.ipynb")
    return folder


@pytest.fixture(scope="module")
def client(lessons):
    def look_there(folder=lessons):
        notebook_files.NOTEBOOKS = folder

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as local, distributed.Client(local) as client:
        client.register_plugin(Setup(look_there))
        yield client


class Setup(distributed.WorkerPlugin):
    """Runs a function on every worker, also on those that join later."""

    def __init__(self, function):
        self.function = function

    def setup(self, worker):
        self.function()


def points(lessons, seeds):
    return [{"lesson": lesson, "seed": seed} for lesson in lessons for seed in seeds]


def test_every_seed_comes_back_with_its_own_claims(client):
    results = list(cluster.run_points(client, cluster.run_lesson, points(["41"], range(3))))
    assert sorted((row["lesson"], row["seed"], row["claims"]["seed"]) for row in results) == [
        ("41", seed, seed) for seed in range(3)
    ]


def test_a_training_comes_back_with_its_loss(client):
    rows = [{"model": "pocket", "rate": rate, "seed": 0, "steps": 2} for rate in (1e-3, 0.0)]
    losses = {row["rate"]: row["loss"] for row in cluster.run_points(client, cluster.fine_tune, rows)}
    assert losses[1e-3] < losses[0.0]


def test_one_that_fails_stops_no_other(client):
    results = {
        row["lesson"]: row
        for row in cluster.run_points(client, cluster.run_lesson, points(["42", "41"], [0]))
    }
    assert "ZeroDivisionError" in results["42"]["error"] and "claims" in results["41"]


def test_a_lost_worker_costs_nothing_but_time(client):
    tasks = cluster.run_points(client, cluster.run_lesson, points(["43"], range(2)))
    pids = client.run(os.getpid)
    victim = next(iter(pids.values()))
    deadline = time.monotonic() + 60
    results = []
    reader = threading.Thread(target=lambda: results.extend(tasks))
    reader.start()
    while not any(client.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    psutil.Process(victim).kill()
    reader.join(120)
    assert sorted(row["seed"] for row in results) == [0, 1] and all("claims" in row for row in results)
