"""Two processes train like one: by hand, sharded and with Accelerate; an interrupt leaves nothing behind."""

import ast
import inspect
import ipaddress
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch

from course_utils.methods import distributed
from course_utils.methods.distributed import (
    METHODS,
    add_gradients,
    follow,
    rows_of,
    run_processes,
    sources_of,
)

pytestmark = pytest.mark.slow

WRAPPED = ("accelerate", "accelerate_fsdp")
SHARES = {"sharded": 0.5}  # share of weights and moments that a process holds
SETTINGS = {"steps": 4, "batch_size": 6, "lr": 1e-3, "log": lambda line: None}


@pytest.fixture(scope="module")
def alone():
    return run_processes("alone", 1, **SETTINGS)[0]


@pytest.fixture(scope="module")
def together():
    """The reports of two processes, {method: [by rank]}; all methods run in the same processes, in turn."""
    return run_processes([name for name in METHODS if name not in {"alone", *WRAPPED}], 2, **SETTINGS)


@pytest.fixture(scope="module")
def wrapped():
    """Like together, but each in separate processes, since a process keeps Accelerate's first settings."""
    return {name: run_processes(name, 2, **SETTINGS) for name in WRAPPED}


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[pytest.mark.night] if name in WRAPPED else [])
        for name in METHODS
        if name not in ("alone", "script")
    ],
)
def test_two_processes_have_the_losses_of_one(alone, method, request):
    reports = request.getfixturevalue("wrapped" if method in WRAPPED else "together")[method]
    for report in reports:
        assert report["losses"] == pytest.approx(alone["losses"], abs=1e-5)
        assert report["bytes"] / alone["bytes"] == pytest.approx(SHARES.get(method, 1.0), abs=0.01)


def test_the_mean_of_means_is_another_loss(alone, together):
    [first, second] = together["script"]
    assert first["losses"] == second["losses"]
    assert first["losses"][0] == pytest.approx(alone["losses"][0], abs=1e-5)  # the first weights are the same
    assert abs(first["losses"][-1] - alone["losses"][-1]) > 5e-4


def process_loss(loss, tokens, world, averaged=False):
    """The package's process_loss without the number of processes."""
    return loss / tokens


def test_a_missing_world_factor_is_seen_where_gradients_are_averaged(alone):
    """Adam nearly hides gradients of half the size: a bound of 1e-4 does not detect it."""
    [first, _] = run_processes("sharded", 2, functions=[process_loss], **SETTINGS)
    apart = [abs(a - b) for a, b in zip(first["losses"], alone["losses"], strict=True)]
    assert max(apart) > 1e-5


STARTS = """
import sys, torch, torch.distributed as dist
from course_utils.methods.distributed import same_start
rank, store = int(sys.argv[1]), dist.FileStore(sys.argv[2], 2)
dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
torch.manual_seed(rank)
model = torch.nn.Linear(3, 2)
before = model.weight.tolist(), model.bias.tolist()
same_start(model)
print((before, (model.weight.tolist(), model.bias.tolist())))
"""


def test_all_start_with_the_weights_of_the_first(tmp_path):
    command = [sys.executable, "-c", STARTS]
    started = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    texts = [process.communicate(timeout=300)[0] for process in started]
    (first, first_after), (second, second_after) = map(ast.literal_eval, texts)
    assert first != second and first == first_after == second_after


def test_functions_of_the_package_do_not_travel():
    assert sources_of([rows_of, process_loss]) == [inspect.getsource(process_loss)]


def test_frozen_weights_have_no_gradients_to_add(monkeypatch):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2).requires_grad_(False), torch.nn.Linear(2, 2))
    model(torch.ones(1, 2)).sum().backward()
    added = []
    monkeypatch.setattr("torch.distributed.all_reduce", added.append)
    add_gradients(model)
    assert len(added) == 2


@pytest.mark.night
def test_accelerate_passes_over_fsdp_on_a_cpu(together, wrapped):
    assert {report["model"] for report in wrapped["accelerate_fsdp"]} == {"DistributedDataParallel"}
    assert "FSDP" in together["sharded"][0]["model"]


@pytest.mark.skipif(sys.platform != "linux", reason="bytes sent are counted on Linux")
def test_bytes_sent(alone, together):
    weights = alone["bytes"] / 3  # two moments per weight
    sent = {name: reports[1]["sent"] / weights for name, reports in together.items()}  # 0 sends the start too
    assert sent["by_hand"] == pytest.approx(1.0, abs=0.02)
    assert 1.3 < sent["sharded"] < 2.0


@pytest.mark.parametrize("counters", [None, {"write_bytes": 3}, {"write_bytes": 3, "write_chars": 7}])
def test_bytes_sent_are_none_where_the_system_does_not_count_them(monkeypatch, counters):
    process = SimpleNamespace(**({"io_counters": lambda: SimpleNamespace(**counters)} if counters else {}))
    monkeypatch.setattr(distributed.psutil, "Process", lambda: process)
    assert distributed.sent_bytes() == (counters or {}).get("write_chars")


def test_rows_are_dealt_out():
    batch = {"input_ids": torch.arange(10).view(5, 2)}
    parts = [rows_of(batch, rank, 2)["input_ids"] for rank in range(2)]
    assert [part[:, 0].tolist() for part in parts] == [[0, 4, 8], [2, 6]]


@pytest.mark.parametrize(
    "method, processes, size, words",
    [("fsdp", 2, 4, "choose one of"), ("by_hand", 1, 4, "only 'alone'"), ("by_hand", 4, 2, "without one")],
)
def test_what_cannot_run_is_refused(method, processes, size, words):
    with pytest.raises(ValueError, match=words):
        run_processes(method, processes, batch_size=size)


def test_a_failure_shows_the_last_lines():
    with pytest.raises(RuntimeError, match=r"failed; the last lines:"):
        run_processes("alone", 1, model="/no-such-model", log=lambda line: None)


def start_run():
    """A process that trains with two others forever, and all its descendants, once they run."""
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"  # pytest may ignore it
    code += "from course_utils.methods.distributed import run_processes;"
    code += "run_processes('by_hand', steps=10**6, batch_size=2)"
    starter = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout.readline().startswith("process ")
    below = psutil.Process(starter.pid).children(recursive=True)
    assert len(below) == 3  # torchrun and two processes
    return starter, below


@pytest.mark.parametrize("stop", [pytest.param("interrupt", marks=pytest.mark.night), "kill"])
def test_nothing_outlives_the_one_that_started_it(stop):
    if stop == "interrupt" and os.name != "posix":
        pytest.skip("sends a signal")
    starter, below = start_run()
    starter.kill() if stop == "kill" else starter.send_signal(signal.SIGINT)
    starter.wait(60)
    starter.stdout.close()
    _, left = psutil.wait_procs(below, timeout=300)
    for process in left:
        process.kill()
    assert left == []


@pytest.mark.timing
def test_an_interrupt_leaves_no_process():
    sleep = "import time; time.sleep(60)"
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{sleep}']);"
    child += f"print('started', flush=True); {sleep}"
    seen, below, before = [], [], psutil.Process().children(recursive=True)

    def interrupt(line):
        seen.append(line)
        below.extend(set(psutil.Process().children(recursive=True)) - set(before))
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        follow([sys.executable, "-c", child], dict(os.environ), interrupt)
    assert seen == ["started"] and time.monotonic() - started < 30
    assert len(below) >= 2 and psutil.wait_procs(below, timeout=10)[1] == []


@pytest.mark.night
def test_every_port_is_on_loopback():
    starter, below = start_run()
    try:
        found = [each for process in below for each in process.net_connections("inet")]
        ports = [each.laddr for each in found if each.status == psutil.CONN_LISTEN]
        assert ports and {ipaddress.ip_address(address.ip).is_loopback for address in ports} == {True}
    finally:
        starter.kill()
        starter.wait()
        starter.stdout.close()
        psutil.wait_procs(below, timeout=300)
