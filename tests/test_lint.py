import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("arguments", [["check", "--output-format", "concise"], ["format", "--check"]])
def test_ruff_finds_nothing(arguments):
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-m", "ruff", *arguments, root], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
