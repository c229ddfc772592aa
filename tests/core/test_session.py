import random
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from course_utils import session
from course_utils.home import home
from course_utils.machine import cores, find_device
from course_utils.model_files import ModelError
from course_utils.session import Session, choose_scale, start


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, course_utils, course_utils.session, course_utils.commands.cli; "
        "print({'torch', 'transformers', 'numpy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_start_prints_machine_model_and_scale_and_how_to_change_each(capsys):
    made = start("pocket", "quick", seed=3)
    machine, model, scale = capsys.readouterr().out.splitlines()
    assert machine.startswith("Machine: cpu") and f"torch {torch.__version__}" in machine
    assert "COURSE_DEVICE=cpu|cuda|mps" in machine
    assert model.startswith("Model:   pocket from ") and "MODEL = " in model
    assert scale.startswith("Scale:   quick") and "seed 3" in scale and '"full"' in scale
    assert made == Session("pocket", "quick", 3, torch.device("cpu"), torch.float32)
    assert session.current() is made


def test_the_same_seed_gives_the_same_draws(capsys):
    def draws():
        return random.random(), np.random.rand(), torch.rand(1).item()

    start("pocket", "smoke", seed=1)
    first = draws()
    start("pocket", "smoke", seed=2)
    other = draws()
    start("pocket", "smoke", seed=1)
    assert draws() == first
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_threads_are_the_physical_cores_unless_the_user_says_otherwise(monkeypatch, capsys):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        start("pocket", "smoke")
        assert torch.get_num_threads() == before + 1
        monkeypatch.delenv("OMP_NUM_THREADS")
        start("pocket", "smoke")
        assert torch.get_num_threads() == cores()
    finally:
        torch.set_num_threads(before)


def test_a_container_limits_the_cores(monkeypatch):
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda path: "200000 100000\n")
    assert cores() == 2
    monkeypatch.setattr(Path, "read_text", lambda path: "max 100000\n")
    assert cores() == 64


def test_steps_picks_by_scale():
    def value(scale):
        return Session("pocket", scale, 0, torch.device("cpu"), torch.float32).steps(quick=200, full=1500)

    assert [value(scale) for scale in ("smoke", "quick", "full")] == [2, 200, 1500]


def test_scale_is_quick_on_a_cpu_and_full_on_an_accelerator():
    assert choose_scale("auto", torch.device("cpu")) == "quick"
    assert choose_scale("auto", torch.device("cuda")) == "full"
    assert choose_scale("smoke", torch.device("cuda")) == "smoke"


def test_an_unknown_scale_is_named_with_the_choices():
    with pytest.raises(ValueError, match=r"Unknown scale 'fast': choose auto, smoke, quick, full"):
        start("pocket", "fast")


def test_an_unknown_model_stops_the_start():
    with pytest.raises(ModelError, match="Did you mean pocket"):
        start("pockets")


def test_a_wrong_device_is_named_with_the_choices(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "gpu")
    with pytest.raises(ValueError, match=r"COURSE_DEVICE=gpu: choose one of cuda, mps, cpu"):
        find_device()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_here_is_refused_with_what_is(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "cuda")
    with pytest.raises(ValueError, match=r"finds no cuda here\. Usable: .*cpu\. Unset COURSE_DEVICE"):
        find_device()


def test_autocast_is_bf16_only_where_the_session_says_so():
    cpu = torch.device("cpu")
    x = torch.ones(2, 2)
    with Session("pocket", "quick", 0, cpu, torch.float32).autocast() as nothing:
        assert nothing is nullcontext().__enter__() and (x @ x).dtype == torch.float32
    with Session("pocket", "quick", 0, cpu, torch.bfloat16).autocast():
        assert (x @ x).dtype == torch.bfloat16


def test_home_is_course_home_or_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "mine"))
    assert home() == tmp_path / "mine"
    monkeypatch.delenv("COURSE_HOME")
    assert home().name == "finetuning-course"


@pytest.mark.parametrize("seed", ["abc", 2**64, 2**32, -1, 1.5, "1e3", "²", None, "9" * 5000])
def test_a_wrong_seed_is_named_with_the_choices(seed):
    with pytest.raises(ValueError, match=r"Unknown seed .*from 0 to 4294967295 \(SEED in the first cell, or"):
        start("pocket", "smoke", seed)


def test_seeds_as_text_and_empty_settings_are_taken(capsys):
    assert start("pocket", "smoke", " 7 ").seed == 7
    assert start("pocket", "smoke", 2**32 - 1).seed == 2**32 - 1
    made = start("", "", "")
    assert (made.model_name, made.scale, made.seed) == ("pocket", "quick", 0)


@pytest.mark.parametrize("wanted", ["cpu:0", "cpu:7", "cpu:", "cuda:²", "mps:3"])
def test_a_device_with_an_odd_number_is_refused(monkeypatch, wanted):
    monkeypatch.setenv("COURSE_DEVICE", wanted)
    with pytest.raises(ValueError, match=f"COURSE_DEVICE={wanted}: choose one of cuda, mps, cpu"):
        find_device()


@pytest.mark.parametrize(
    "said",
    [
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
        "Placeholder storage has not been allocated on MPS device!",
    ],
)
def test_a_tensor_on_another_device_is_explained(shell, capsys, said):
    shell.run_cell(f"raise RuntimeError({said!r})")
    assert "device=x.device" in capsys.readouterr().out
    shell.run_cell("raise RuntimeError('another fault')")
    assert "device=x.device" not in capsys.readouterr().out
