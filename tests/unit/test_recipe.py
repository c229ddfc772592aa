"""The recipe for 7B: its rehearsal, what it refuses, and two real steps of it on the pocket model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "data/conversations/train.jsonl"


def recipe(*arguments, processes=1, **environment):
    """Runs it as a user would, without a network: (exit status, stdout, stderr)."""
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_machines", "1", "--num_processes",
              str(processes), "--mixed_precision", "no", "--main_process_port", "0"]  # fmt: skip
    command = [sys.executable, *(launch if processes > 1 else []), ROOT / "recipes/qlora.py", *arguments]
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


def test_a_folder_with_a_configuration_is_enough_for_a_rehearsal(few, tmp_path):
    config = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 96,
              "num_attention_heads": 4, "vocab_size": 6400}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    code, out, err = recipe("--data", few, "--dry-run", "--base", tmp_path, "--rank", 2)
    assert code == 0, err
    linear = 4 * (64 + 64) + 3 * (64 + 96)  # in + out of q, k, v, o and of gate, up, down
    assert f"trained    {2 * 2 * linear:,} of " in out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--batch", "6"], "not a multiple of --per-card 4"),
        (["--length", "20"], "more than --length 20"),
        (["--data", "missing.jsonl"], "missing.jsonl: no such file"),
        (["--base", "nobody/nothing"], "--base nobody/nothing: no configuration"),
    ],
)
def test_what_is_at_fault_is_said_in_a_line(few, arguments, words):
    code, _, err = recipe("--data", few, "--dry-run", *arguments)
    assert code == 1 and words in err.splitlines()[-1]
    assert "Traceback" not in err


def test_4_bit_weights_are_not_sharded(few):
    code, _, err = recipe("--data", few, ACCELERATE_USE_FSDP="true")
    assert code == 1 and "not to be sharded" in err


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The pocket model with the markers, whose rows are not trained, in a folder."""
    from course_utils.chatml import add_chat_tokens
    from course_utils.models import load_model

    folder = tmp_path_factory.mktemp("base")
    model, tokenizer = load_model("pocket")
    add_chat_tokens(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_base_without_the_markers_is_refused(few):
    code, _, err = recipe("--data", few, "--base", ROOT / "data/pocket-gpt2", "--dry-run")
    assert code == 1 and "has no tokens <|im_start|> and <|im_end|>" in err.splitlines()[-1]


def test_two_real_steps_and_an_adapter_that_peft_loads(few, base, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "adapter"
    settings = ["--data", few, "--held-out", few, "--base", base, "--out", out, "--batch", 8]
    code, stdout, err = recipe(*settings, "--steps", 2)
    assert code == 0, err
    assert f"adapter in {out}" in stdout
    assert "generation" in AutoTokenizer.from_pretrained(out).chat_template
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out)
    moved = [name for name, p in adapted.named_parameters() if "lora_B" in name and p.abs().max() > 0]
    assert len(moved) == 4 * 4  # blocks, linear layers of each
    state = json.loads((out / "checkpoint-2" / "trainer_state.json").read_text())
    assert [row["step"] for row in state["log_history"] if "loss" in row] == [1, 2]
    stop = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
    assert AutoTokenizer.from_pretrained(out).convert_tokens_to_ids("<|im_end|>") in stop
    code, _, err = recipe(*settings, "--steps", 3)  # goes on where it stopped
    assert code == 0, err
    assert json.loads((out / "checkpoint-3" / "trainer_state.json").read_text())["global_step"] == 3


def test_two_processes_have_the_losses_of_one(few, base, tmp_path):
    losses = {}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        code, stdout, err = recipe(
            "--data", few, "--base", base, "--out", out, "--batch", 8, "--steps", 2,
            processes=processes, GLOO_SOCKET_IFNAME="lo",
        )  # fmt: skip
        assert code == 0, err
        assert f"process 0 of {processes} on cpu" in stdout
        history = json.loads((out / "checkpoint-2" / "trainer_state.json").read_text())["log_history"]
        losses[processes] = [row["loss"] for row in history if "loss" in row]
    assert losses[2] == pytest.approx(losses[1], abs=1e-3)
