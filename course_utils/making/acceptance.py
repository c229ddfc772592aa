"""Do the tests detect a change of numbers, and ignore a change of text?

`python -m course_utils.making.acceptance` makes each change in a copy of the course, as an exact text
replacement, and runs the tests that must, or must not, detect it. Arguments select changes by name.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from course_utils.home import ROOT

CORE = "course_utils/training.py"
NUMBERS = ["tests/making/test_trajectories.py", "tests/making/test_short_forms.py"]
NEUTRAL = [
    *NUMBERS,
    *("tests/making/test_sweeps.py", "tests/core/test_training.py", "tests/core/test_reach.py"),
    *("tests/core/test_artifacts.py", "tests/methods/test_ppo.py", "tests/methods/test_kl.py"),
]


class Change(NamedTuple):
    """replacements: (file, text, new text), each text once in its file. tests: arguments of pytest."""

    name: str
    replacements: list[tuple[str, str, str]]
    tests: list[str]


MEAN = '''def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of the mask."""
    return (values * mask).sum() / mask.sum()


'''
GREEN = [
    Change(
        "a local variable renamed, a function moved, imports in another order, a keyword without effect",
        [
            (CORE, "norm = torch.nn.utils.clip_grad_norm_", "length = torch.nn.utils.clip_grad_norm_"),
            (CORE, "math.isfinite(norm)", "math.isfinite(length)"),
            (CORE, '"grad_norm": norm,', '"grad_norm": length,'),
            ("course_utils/methods/ppo.py", MEAN, ""),
            ("course_utils/methods/ppo.py", "FixedKL, k3, rlhf", "FixedKL, k3, masked_mean, rlhf"),
            ("course_utils/methods/kl.py", "def exact_kl(", f"{MEAN}def exact_kl("),
            (CORE, "import itertools\nimport math\n", "import math\nimport itertools\n"),
            (
                CORE,
                '    label="training",\n) -> History:',
                '    label="training",\n    note=None,\n) -> History:',
            ),
        ],
        NEUTRAL,
    )
]


def trajectories(names: str) -> list[str]:
    return [NUMBERS[0], "-k", names]


RED = [
    Change(
        "AdamW's epsilon 1e-4",
        [(CORE, "AdamW(groups, lr=lr,", "AdamW(groups, lr=lr, eps=1e-4,")],
        trajectories("full"),
    ),
    Change(
        "batches in another order",
        [("course_utils/data.py", "rng.shuffle(epoch)", "epoch.reverse()")],
        trajectories("full"),
    ),
    Change(
        "a mask off by one",
        [
            (
                "course_utils/data.py",
                "[IGNORE] * len(prompt_ids) + completion_ids)",
                "[IGNORE] * (len(prompt_ids) + 1) + completion_ids[1:])",
            )
        ],
        trajectories("full"),
    ),
    Change(
        "a mask of conversations off by one",
        [
            ("course_utils/chatml.py", "append([*content, end], learn=", "append(content, learn="),
            (
                "course_utils/chatml.py",
                "        append(newline)\n",
                "        append([end])\n        append(newline)\n",
            ),
        ],
        trajectories("conversations"),
    ),
    Change(
        "evaluation on another sample (02)",
        [
            (
                "course_utils/lessons/lesson_02/measures.py",
                "random.Random(0).sample(rows",
                "random.Random(1).sample(rows",
            )
        ],
        trajectories("plain_loop"),
    ),
    Change(
        "evaluation on another sample (03 to 07)",
        [
            (
                "course_utils/lessons/lesson_03/experiments.py",
                "random.Random(0).sample(rows",
                "random.Random(1).sample(rows",
            )
        ],
        [NUMBERS[1], "-k", "lora_rank or qlora"],
    ),
    Change(
        "PPO's lambda .9",
        [
            (
                "course_utils/methods/ppo.py",
                "gamma: float = 1.0, lam: float = 0.95",
                "gamma: float = 1.0, lam: float = 0.9",
            )
        ],
        trajectories("ppo"),
    ),
    Change(
        "PPO's lambda .9 in a stored run",
        [("course_utils/lessons/lesson_12/experiments.py", '{"lam": 0.95}', '{"lam": 0.9}')],
        [NUMBERS[1], "-k", "ppo_parts"],
    ),
    Change(
        "DPO's beta on one side",
        [
            (
                "course_utils/methods/dpo.py",
                "= beta * (rejected - reference_rejected)",
                "= rejected - reference_rejected",
            )
        ],
        trajectories("dpo"),
    ),
    Change(
        "NF4's block 128",
        [
            (
                "course_utils/methods/quantization.py",
                'def quantize_model(model: Model, levels: str = "nf4", block_size: int = 64',
                'def quantize_model(model: Model, levels: str = "nf4", block_size: int = 128',
            )
        ],
        trajectories("qlora"),
    ),
    Change(
        "a changed template",
        [("course_utils/chatml.py", "{{- '\\\\n' }}\n{%- endfor %}", "{%- endfor %}")],
        trajectories("conversations"),
    ),
    Change(
        "another system line",
        [("course_utils/chatml.py", 'SYSTEM = "You are a helpful', 'SYSTEM = "You are an able')],
        trajectories("conversations"),
    ),
    Change(
        "a rate in an experiments module",
        [
            (
                "course_utils/lessons/lesson_09/experiments.py",
                '"everything": 1.5e-3, "lora": 3e-3}',
                '"everything": 1.5e-3, "lora": 2e-3}',
            )
        ],
        [NUMBERS[1], "-k", "instruction_ways"],
    ),
]


def copied(folder: Path) -> None:
    """Copy the files of the course that a test may need."""
    for name in ("course_utils", "data", "tests", "notebooks", "docs", "recipes", "pyproject.toml"):
        place = ROOT / name
        copy = shutil.copytree if place.is_dir() else shutil.copy
        copy(place, folder / name)


def make_change(folder: Path, change: Change) -> None:
    """Apply the change in the copy. ValueError if a text does not occur exactly once."""
    for file, text, new in change.replacements:
        content = (folder / file).read_text(encoding="utf-8")
        if content.count(text) != 1:
            raise ValueError(f"{change.name}: {text!r} is {content.count(text)} times in {file}")
        (folder / file).write_text(content.replace(text, new), encoding="utf-8")


def take_back(folder: Path, change: Change) -> None:
    for file, _, _ in change.replacements:
        shutil.copy(ROOT / file, folder / file)


def tested(folder: Path, change: Change) -> tuple[int, str]:
    """(exit status of pytest, the first failure or the last line)."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *change.tests]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    lines = done.stdout.splitlines() or done.stderr.splitlines()
    faults = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, (faults or lines)[-1]


def main(words: str = "") -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        copied(folder)
        for expected, changes in (("red", RED), ("green", GREEN)):
            for change in [change for change in changes if words in change.name]:
                began = time.perf_counter()
                make_change(folder, change)
                status, line = tested(folder, change)
                take_back(folder, change)
                found = {0: "green", 1: "red"}.get(status, f"no verdict ({status})")
                wrong += found != expected
                seconds = time.perf_counter() - began
                verdict = found if found == expected else f"WRONG: {found}"
                print(f"{verdict}, {seconds:.0f} s: {change.name}\n    {line[:150]}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main(" ".join(sys.argv[1:])))
