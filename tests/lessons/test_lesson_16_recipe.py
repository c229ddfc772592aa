"""The recipe for 7B: its rehearsal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("trl")

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "data/conversations/train.jsonl"


def recipe(*arguments, **environment):
    """Runs it as a user would, without a network: (exit status, stdout, stderr)."""
    command = [sys.executable, ROOT / "recipes/qlora.py", *arguments]
    command = [str(part) for part in command]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Sixteen of the course's conversations."""
    path = tmp_path_factory.mktemp("data") / "few.jsonl"
    path.write_text("".join(TRAIN.read_text().splitlines(keepends=True)[:16]))
    return path


def test_a_rehearsal_says_what_will_be_done_and_what_it_takes(few):
    code, out, err = recipe("--data", few, "--dry-run", "--cards", 4, "--batch", 32)
    assert code == 0, err
    words = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "nf4, double quantisation: True" in words["weights"]
    assert "4 card(s) x 4 x 2 accumulated = 32" in words["batch"]
    assert "16 of 16" in words["template"]
    assert "⟦Sm<|im_end|>⟧" in out
    assert "40,370,176 of 7,615,616,512" in words["trained"]  # 7.6 billion, as its card says
    weights = float(words["memory"].split("weights ")[1].split(",")[0])
    head_and_embedding, rest = 2 * 152064 * 3584, 7_615_616_512 - 2 * 152064 * 3584
    expected = (2 * head_and_embedding + (4 + 8 / 64 + 32 / (64 * 256)) / 8 * rest) / 2**30
    assert weights == pytest.approx(expected, rel=0.01)
    assert "fits a RTX 4090" in words["card"]


def test_a_card_that_is_too_small_is_told(few):
    code, out, _ = recipe(
        "--data", few, "--dry-run", "--bits", 16, "--per-card", 8, "--batch", 8, "--card", "T4"
    )
    assert code == 0 and "does NOT fit a T4" in out and "nf4" not in out
