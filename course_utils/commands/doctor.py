"""`python -m course_utils doctor`: checks that everything the course needs is here."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from course_utils.commands.lab import OTHER_CHECKOUT
from course_utils.fetch import HUB_TIMEOUT, within
from course_utils.home import OTHER_HOME, ROOT, home, pip_install
from course_utils.machine import GIB, cores, find_device, memory
from course_utils.ownership import OWN_ROOT, restore_command
from course_utils.terminal import command, plain_line


class Line(NamedTuple):
    """One line of the report. level: ok, note (worth knowing) or FAIL; todo: what to do about it."""

    level: str
    subject: str
    text: str
    todo: str = ""


def doctor() -> int:
    """Print one line for each check; returns 1 if any failed, else 0."""
    failed = False
    machine = (python, packages, torch_and_device, memory_free, disk_free, places)
    for check in (*machine, shipped_files, pocket_model, jupyter, hub, caches):
        for line in _guarded(check):
            failed |= line.level == "FAIL"
            text = f"{line.level:4}  {line.subject:10} {line.text}" + (f". {line.todo}" if line.todo else "")
            print(plain_line(text), flush=True)
    print("Something is wrong: see the lines marked FAIL." if failed else "The course can run here.")
    return int(failed)


def _guarded(check: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    try:
        yield from check()
    except Exception as fault:
        yield Line("FAIL", check.__name__.partition("_")[0], f"{type(fault).__name__}: {fault}")


def python() -> Iterator[Line]:
    from packaging.specifiers import SpecifierSet

    needed = _project()["requires-python"]
    text = f"{sys.version.split()[0]} ({needed} needed) at {sys.executable}"
    if SpecifierSet(needed).contains(sys.version.split()[0], prereleases=True):
        yield Line("ok", "python", text)
    else:
        yield Line("FAIL", "python", text, "Install a newer Python, then: make .venv PYTHON=python3.12")


def packages() -> Iterator[Line]:
    """Installed versions against pyproject.toml: required ones must fit, those of the extras should."""
    project = _project()
    yield _compare("packages", project["dependencies"], "FAIL", f"Install them: {pip_install()}")
    uses = {"lab": "JupyterLab", "compare": "the library sections of the lessons", "test": "make test"}
    for extra, why in uses.items():
        yield _compare(
            "packages",
            project["optional-dependencies"][extra],
            "note",
            f"Needed for {why}: {pip_install(extra)}",
            f" of [{extra}]",
        )


def _compare(subject: str, requirements: list[str], level: str, todo: str, which: str = "") -> Line:
    from packaging.requirements import Requirement

    faults = []
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate():
            continue  # for another system
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            faults.append(f"{requirement} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            faults.append(f"{requirement.name} is {found}, needed {requirement.specifier}")
    if faults:
        return Line(level, subject, "; ".join(faults), todo)
    return Line("ok", subject, f"all {len(requirements)}{which} as pyproject.toml requires")


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def torch_and_device() -> Iterator[Line]:
    import torch

    device = find_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    yield Line("ok", "torch", f"{torch.__version__}, device {name}, {cores()} CPU core(s)")


def memory_free() -> Iterator[Line]:
    import psutil

    free = min(psutil.virtual_memory().available, memory())
    text = f"{free / GIB:.1f} of {memory() / GIB:.1f} GiB free"
    if free < 2 * GIB:
        yield Line("FAIL", "memory", text, "A lesson on the pocket model needs 2 GiB: close other programs")
    else:
        yield Line("ok", "memory", text)


def disk_free() -> Iterator[Line]:
    free = shutil.disk_usage(_existing(home())).free
    text = f"{free / GIB:.1f} GiB free for {home()}"
    if free < GIB:
        yield Line("FAIL", "disk", text, "Free some space, or set COURSE_HOME to a folder on another disk")
    else:
        yield Line("ok", "disk", text)


def _existing(folder: Path) -> Path:
    """The folder, or its nearest existing parent."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def places() -> Iterator[Line]:
    """Whether the course can write to its folders. On a hub, learners have the checkout read-only."""
    only_lab = f"`lab` and `reset` alone need it. {OTHER_CHECKOUT}"
    for place, level, todo in ((home(), "FAIL", OTHER_HOME), (OWN_ROOT / "work", "note", only_lab)):
        try:
            with tempfile.TemporaryFile(dir=_existing(place)) as probe:
                probe.write(b"probe")
        except OSError as fault:
            yield Line(level, "places", f"{place} cannot be written ({fault.strerror})", todo)
        else:
            yield Line("ok", "places", f"{place} can be written")


def shipped_files() -> Iterator[Line]:
    from course_utils.artifacts import SHIPPED_FOLDERS
    from course_utils.data import DATA
    from course_utils.model_files import wrong_checksums

    folders = [DATA, *(DATA / "artifacts" / name for name in SHIPPED_FOLDERS)]
    if faults := [fault for folder in folders for fault in wrong_checksums(folder)]:
        yield Line("FAIL", "data", "; ".join(faults), f"Restore it: {restore_command(DATA)}")
    else:
        yield Line("ok", "data", f"checksums of {DATA} are right")


def pocket_model() -> Iterator[Line]:
    import torch

    from course_utils.model_files import wrong_checksums
    from course_utils.models import POCKET, load_model

    if faults := wrong_checksums(POCKET):
        yield Line("FAIL", "pocket", "; ".join(faults), f"Restore it: {restore_command(POCKET)}")
        return
    yield Line("ok", "pocket", f"checksums of {POCKET} are right")
    started = time.perf_counter()
    model, tokenizer = load_model("pocket", find_device())
    prompt = "The capital of France is"
    ids = tokenizer(prompt, return_tensors="pt").input_ids.to(model.device)
    with torch.no_grad():
        for _ in range(2):  # Paris is two tokens
            logits = model(ids).logits
            ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
    seconds = time.perf_counter() - started
    if not bool(logits.isfinite().all()):
        yield Line(
            "FAIL",
            "pocket",
            "a forward pass gives values that are not finite",
            "Try COURSE_DEVICE=cpu, or another version of torch",
        )
        return
    yield Line("ok", "pocket", f'"{tokenizer.decode(ids[0])}": loaded and run in {seconds:.1f} s')


def jupyter() -> Iterator[Line]:
    try:
        text = f"jupyterlab {version('jupyterlab')}, ipywidgets {version('ipywidgets')}"
    except PackageNotFoundError:
        todo = f"Needed where you work in JupyterLab, not in Colab: {pip_install('lab')}"
        yield Line("note", "jupyter", "jupyterlab is missing", todo)
        return
    manager = Path(sys.prefix) / "share/jupyter/labextensions/@jupyter-widgets/jupyterlab-manager"
    if not manager.is_dir():
        yield Line(
            "FAIL",
            "jupyter",
            f"{text}, but JupyterLab's widget extension is missing ({manager})",
            command(sys.executable, "-m", "pip", "install", "--force-reinstall", "jupyterlab_widgets"),
        )
        return
    from jupyter_client.kernelspec import KernelSpecManager

    kernel = KernelSpecManager().get_kernel_spec("python3").argv[0]
    if Path(kernel).name == kernel or Path(kernel).parent == Path(sys.executable).parent:
        yield Line("ok", "jupyter", f"{text}, widget extension, kernel python3")
    else:
        yield Line(
            "FAIL",
            "jupyter",
            f"{text}, but the kernel python3 starts {kernel}, not this Python",
            command(sys.executable, "-m", "ipykernel", "install", "--sys-prefix"),
        )


def hub() -> Iterator[Line]:
    """Whether the hub answers. It is only needed for `fetch gpt2`, so no answer is not a failure."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    def ask():
        get_session().get(f"{constants.ENDPOINT}/api/models/gpt2", timeout=HUB_TIMEOUT).raise_for_status()

    try:
        within(HUB_TIMEOUT, ask)
        yield Line("ok", "hub", f"{constants.ENDPOINT} answers")
    except Exception as fault:  # errors of the hub client's HTTP library, which varies with its version
        yield Line(
            "note",
            "hub",
            f"{constants.ENDPOINT} not reached within {HUB_TIMEOUT:.0f} s "
            f"({type(fault).__name__}); only `fetch gpt2` needs it",
        )


def caches() -> Iterator[Line]:
    from course_utils.model_files import ModelError
    from course_utils.models import resolve

    for name in ("gpt2", "smollm2"):
        try:
            source = resolve(name)
        except ModelError:
            source = None
        if source and isinstance(source.place, Path):
            yield _fetched(name, source.place)
        else:
            yield Line(
                "note",
                "models",
                f"{name} is not on disk",
                f"Get it with: python -m course_utils fetch {name}",
            )
    cache = home() / "cache"
    size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    yield Line("ok", "cache", f"{size / 2**20:.0f} MiB in {cache} (may be deleted at any time)")


def _fetched(name: str, folder: Path) -> Line:
    from course_utils.model_files import wrong_checksums

    faults = wrong_checksums(folder) if (folder / "checksums.json").is_file() else []
    if faults:
        return Line("FAIL", "models", "; ".join(faults), f"Delete {folder} and fetch {name} again")
    return Line("ok", "models", f"{name} is in {folder}")
