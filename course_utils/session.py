"""The first cell of every notebook: machine, model, scale and seeds. Also the handling of Stop."""

from __future__ import annotations

import os
import random
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.machine import cores, find_device, memory

if TYPE_CHECKING:
    import torch


SCALES = ("smoke", "quick", "full")
MAX_SEED = 2**32  # numpy's limit
OTHER_DEVICE = re.compile("on the same device|Placeholder storage")  # torch's messages for CUDA and MPS


def choose_scale(scale: str, device: torch.device) -> str:
    """`scale`, with auto (or "") resolved to quick on a CPU and full on an accelerator. ValueError."""
    if scale in ("auto", ""):
        return "quick" if device.type == "cpu" else "full"
    if scale not in SCALES:
        raise ValueError(
            f"Unknown scale {str(scale)[:40]!r}: choose auto, {', '.join(SCALES)} (SCALE in the first "
            "cell, or COURSE_SCALE)."
        )
    return scale


def check_seed(seed: int | str) -> int:
    """The seed as a number; "" is 0. Raises ValueError."""
    text = str(seed).strip() or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < MAX_SEED):
        raise ValueError(
            f"Unknown seed {text[:30]!r}: choose a whole number from 0 to {MAX_SEED - 1} (SEED in the first "
            "cell, or COURSE_SEED)."
        )
    return int(text)


@dataclass(frozen=True)
class Session:
    """A notebook's settings, made by `start`. Weights are fp32; autocast_dtype float32 means no autocast."""

    model_name: str
    scale: str
    seed: int
    device: torch.device
    autocast_dtype: torch.dtype

    def steps(self, quick: Any, full: Any, smoke: Any = 2) -> Any:
        """The value for this session's scale: a number of steps, of examples, or anything else."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.scale]

    def load_model(self) -> tuple:
        """A fresh copy of the session's model, and its tokenizer: (model, tokenizer), eval mode, fp32."""
        from course_utils.models import load_model

        return load_model(self.model_name, self.device)

    def autocast(self) -> AbstractContextManager:
        """bf16 autocast if the device does bf16 well, else a context that does nothing."""
        import torch

        if self.autocast_dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast_dtype)


_current: Session | None = None


def current() -> Session | None:
    """The last session made by `start` in this process, or None."""
    return _current


def start(model: str = "auto", scale: str = "auto", seed: int | str = 0) -> Session:
    """Choose device, model and scale, set threads and seeds, and print them in three lines.

    Empty arguments count as not given. Raises ValueError for an unknown scale, seed or device, ModelError for
    an unavailable model.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import numpy as np
    import torch

    from course_utils.fetch import be_quiet
    from course_utils.models import resolve

    seed, device = check_seed(seed), find_device()
    scale = choose_scale(scale, device)
    source = resolve(str(model or "auto"), device)
    be_quiet(offline=isinstance(source.place, Path))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores())
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    good_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = torch.bfloat16 if good_bf16 else torch.float32
    watch_cells()
    global _current
    _current = session = Session(source.name, scale, seed, device, dtype)
    print(f"Machine: {_machine(session)}. Another device: COURSE_DEVICE=cpu|cuda|mps.")
    print(
        f"Model:   {source.name} from {source.place} ({source.why}). "
        'Another: MODEL = "pocket", "gpt2", "smollm2", a folder or a hub id.'
    )
    print(f"Scale:   {scale}, {_expected_time(session)}; seed {seed}. Another: SCALE = {_listed(SCALES)}.")
    sys.stdout.flush()
    return session


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names[:-1]) + f' or "{names[-1]}"'


def _machine(session: Session) -> str:
    import torch

    threads = torch.get_num_threads()
    text = (
        f"{session.device}, {threads} CPU thread{'s' if threads > 1 else ''}, "
        f"{memory() / 2**30:.0f} GiB of memory, torch {torch.__version__}"
    )
    if session.device.type == "cuda":
        properties = torch.cuda.get_device_properties(session.device)
        text = f"{properties.name} with {properties.total_memory / 2**30:.0f} GiB, {text}"
    return text + (", bf16 autocast" if session.autocast_dtype == torch.bfloat16 else ", fp32")


def _expected_time(session: Session) -> str:
    if session.scale == "smoke":
        return "seconds a lesson (the path only: results mean nothing)"
    if session.device.type != "cpu":
        return "minutes a lesson (not measured on an accelerator)"
    if session.model_name != "pocket":
        return "for the pocket model a minute or two a lesson; this one is many times slower on a CPU"
    if session.scale == "quick":
        return "up to two minutes a lesson on two cores"
    return "about ten minutes a lesson on two cores (an estimate)"


# ------------------------------------------------------------------------------------------- Stop


class TrainingStopped(RuntimeError):
    """A training was interrupted, and the code that was about to run depends on it."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]  # IPython shows only this


_stop = ""  # where training in the running cell was interrupted, or ""
_again = ""  # the effect of running that cell again
_stopped_cells: dict[str, str] = {}  # {cell: reason} of interrupted cells not run to their end since
_in_cell, _why = False, ""  # whether a cell is running; why it was in _stopped_cells


def stopped() -> str:
    """Why results cannot be judged ("training was stopped"); "" if no stopped cell waits to be run again."""
    if _stop:
        return "training was stopped"
    return next(iter(_stopped_cells.values()), "")


def stop_here(where: str, again: str = "to start over") -> None:
    """Record that the running cell's training was interrupted; Run All halts at the end of the cell.

    where: in which step. again: the effect of running the cell again. Only if in_cell().
    """
    from IPython import get_ipython

    global _stop, _again
    _stop, _again = where, again
    # errors in the rest of the cell are consequences of the stop
    get_ipython().set_custom_exc((Exception, KeyboardInterrupt), lambda *error, **_: None)


def check_not_stopped() -> None:
    """Raise TrainingStopped if training in the running cell was interrupted."""
    if _stop:
        raise TrainingStopped(f"Stopped: {_stop}")


def _stop_message(cut_off: bool) -> str:
    """The message at the end of a stopped cell; cut_off: its last lines did not run."""
    if cut_off:
        advice = (
            "The rest of this cell did not run, and cells below may lack what it makes: run it again "
            f"{_again}. Until then"
        )
    else:
        advice = (
            f"The model and its history are kept: go on below, or run this cell again {_again}. "
            "Until it has run to its end"
        )
    return f"Stopped: {_stop}. {advice}, claims are not judged."


def watch_cells() -> None:
    """Make IPython, if present, report the start and end of each cell; called by `start`."""
    ipython = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if shell and _begin_cell not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", _begin_cell)
        shell.events.register("post_run_cell", _end_cell)


def in_cell() -> bool:
    """Whether a cell is running in a notebook that has called `start`."""
    return _in_cell


def _begin_cell(info: Any) -> None:
    global _in_cell, _why
    _in_cell, _why = True, _stopped_cells.pop(info.cell_id or info.raw_cell, "")


def _end_cell(result: Any) -> None:
    from IPython import get_ipython

    global _in_cell, _stop
    why = _why
    if _stop:
        # raise an error in the cell, so that the kernel answers "error" and Run All halts
        result.error_in_exec = TrainingStopped(_stop_message(cut_off=result.error_in_exec is not None))
        get_ipython().set_custom_exc((), None)
        get_ipython().showtraceback((TrainingStopped, result.error_in_exec, None))
        why = "training was stopped"
    elif isinstance(result.error_in_exec, KeyboardInterrupt):
        why = "a cell was stopped before its end"
    elif result.success:
        why = ""
    elif isinstance(result.error_in_exec, RuntimeError) and OTHER_DEVICE.search(str(result.error_in_exec)):
        print("A tensor on the CPU met one on the GPU. New tensors go where the others are: device=x.device.")
    elif result.error_in_exec is not None and _stopped_cells:
        print("Another cell was stopped before its end, and this one may need what it makes: run that again.")
    _in_cell, _stop = False, ""
    if why:
        _stopped_cells[result.info.cell_id or result.info.raw_cell] = why
