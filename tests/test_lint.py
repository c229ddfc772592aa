import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "tool", [["ruff", "check", "--output-format", "concise"], ["ruff", "format", "--check"], ["mypy"]]
)
def test_a_linter_finds_nothing(tool):
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-m", *tool], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
