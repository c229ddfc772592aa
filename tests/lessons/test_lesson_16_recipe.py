"""The recipe for 7B: its rehearsal, the lines that it rejects, and the script for SLURM."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")

from safetensors.torch import load_file
from transformers import AutoTokenizer

from course_utils.budget import CARDS, KNOWN_MODELS, load_config
from course_utils.chatml import IM_END, IM_START, TEMPLATE, encode_conversation
from course_utils.data import DATA, IGNORE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "data/conversations/train.jsonl"
sys.path.insert(0, str(ROOT / "recipes"))
qlora = importlib.import_module("qlora")


def recipe(*arguments, **environment):
    """Run it like a user, without a network: (exit status, stdout, stderr)."""
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


@pytest.fixture(scope="module")
def tokenizer():
    """The pocket model's tokenizer with ChatML's markers, at which a base's generation does not stop."""
    loaded = AutoTokenizer.from_pretrained(DATA / "pocket-gpt2", local_files_only=True)
    loaded.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
    loaded.chat_template = TEMPLATE
    return loaded


@pytest.mark.night
def test_a_rehearsal_says_what_will_be_done_and_what_it_takes(few):
    code, out, err = recipe("--data", few, "--dry-run", "--cards", 4, "--batch", 32)
    assert code == 0, err
    words = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "nf4, double quantisation: True" in words["weights"]
    assert "4 card(s) x 4 x 2 accumulated = 32" in words["batch"]
    assert "Qwen2.5-7B-Instruct is taken for an instruct model" in words["base"]
    assert "⟦Sm<|im_end|>⟧" in out
    assert "2 steps are few: with fewer than 100" in words["WARNING"]
    assert "40,370,176 of 7,615,616,512" in words["trained"]  # 7.6 billion, as on its card
    weights, gradients = (
        float(words["memory"].split(f"{part} ")[1].split(",")[0]) for part in ("weights", "gradients")
    )
    head_and_embedding, rest = 2 * 152064 * 3584, 7_615_616_512 - 2 * 152064 * 3584
    expected = (2 * head_and_embedding + (4 + 8 / 64 + 32 / (64 * 256)) / 8 * rest) / 2**30
    assert weights == pytest.approx(expected, rel=0.01)
    assert gradients == pytest.approx(2 * 2 * 40_370_176 / 2**30, abs=0.006)  # DDP's buckets, too
    assert "fits a RTX 4090" in words["card"]
    assert re.search(r"2 steps of a Qwen2ForCausalLM .* losses \d+\.\d+, \d+\.\d+", words["rehearsal"])


def test_a_base_that_cannot_be_had_is_told(few, tmp_path):
    code, _, err = recipe("--data", few, "--out", tmp_path / "out", HF_HUB_CACHE=str(tmp_path))
    assert code == 1 and "Traceback" not in err
    assert "\nQwen/Qwen2.5-7B-Instruct is not on disk" in f"\n{err}" and "--dry-run" in err


def test_a_card_that_is_too_small_is_told(few):
    code, out, _ = recipe(
        "--data", few, "--dry-run", "--bits", 16, "--per-card", 8, "--batch", 8, "--card", "T4"
    )
    assert code == 0 and "does NOT fit a T4" in out and "nf4" not in out


def test_a_card_without_bf16_is_counted_in_fp32(few, monkeypatch, capsys):
    monkeypatch.setattr(qlora, "rehearse", lambda *arguments: None)

    def planned(card):
        qlora.main(
            ["--data", str(few), "--dry-run", "--base", "SmolLM2-135M", "--card", card, "--bits", "16"]
        )
        out = capsys.readouterr().out
        weights, hours = (re.search(rf"{name} ([\d.e-]+)", out)[1] for name in ("weights", "training"))
        return "has no bf16" in out, float(weights), float(hours) * CARDS[card][1]

    (warned, weights, hours), newer = planned("T4"), planned("L4")
    assert (warned, newer[0]) == (True, False)
    assert weights == pytest.approx(2 * newer[1], abs=0.02)
    assert hours == pytest.approx(newer[2] * 65 / 8.1, rel=0.1)


@pytest.mark.parametrize("tied", [True, False])
def test_of_a_base_the_markers_rows_are_trained_in_embeddings_and_head(
    tied, few, tokenizer, tmp_path, monkeypatch, capsys
):
    load_config(dict(KNOWN_MODELS["SmolLM2-135M"], tie_word_embeddings=tied)).save_pretrained(
        tmp_path / "base"
    )
    tokenizer.save_pretrained(tmp_path / "base")
    tables, real = {}, qlora.train

    def train(chosen, examples=None):
        """The real training; records its initial weights and what it wrote."""
        chosen.lr, chosen.out = 0.1, tmp_path / "out"
        losses = real(chosen, examples)
        tables.update(before=load_file(Path(chosen.base) / "model.safetensors"))
        tables.update(merged=load_file(chosen.out / "merged/model.safetensors"))
        return losses

    monkeypatch.setattr(qlora, "train", train)
    command = ["--data", str(few), "--dry-run", "--base", str(tmp_path / "base"), "--bits", "16", "--merge"]
    qlora.main([*command, "--batch", "8", "--rslora", "--dora"])
    assert "not trained to stop" in capsys.readouterr().out
    markers = sorted(tokenizer.convert_tokens_to_ids([IM_START, IM_END]))
    for name in ["model.embed_tokens.weight"] + ([] if tied else ["lm_head.weight"]):
        moved = (tables["merged"][name] - tables["before"][name]).abs().amax(1)
        assert sorted(moved.nonzero().flatten().tolist()) == markers, name
    generation = json.loads((tmp_path / "out/generation_config.json").read_text(encoding="utf-8"))
    assert markers[1] in generation["eos_token_id"]
    saved = AutoTokenizer.from_pretrained(tmp_path / "out/merged", local_files_only=True)
    assert saved.eos_token == IM_END


def test_masks_are_those_of_lesson_08(tokenizer):
    messages = [
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Good day."},
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "Nobody."},
    ]
    assert qlora.encode_chat(tokenizer, messages) == encode_conversation(tokenizer, messages)


def test_a_template_that_rewrites_earlier_turns_is_refused(tokenizer):
    forgetful = AutoTokenizer.from_pretrained(DATA / "pocket-gpt2", local_files_only=True)
    forgetful.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
    forgetful.chat_template = TEMPLATE.replace(
        "message['content'] | trim + '<|im_end|>' }}{% endgen",
        "(message['content'] if loop.last else '') | trim + '<|im_end|>' }}{% endgen",
    )
    turns = [{"role": role, "content": "Well."} for role in ("user", "assistant")]
    assert qlora.encode_chat(forgetful, turns).labels.count(IGNORE) < len(
        qlora.encode_chat(forgetful, turns).labels
    )
    with pytest.raises(ValueError, match="message 2: the template renders this answer differently"):
        qlora.encode_chat(forgetful, turns * 2)


def line(*contents, roles=("user", "assistant")):
    messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)]
    return json.dumps({"messages": messages}).encode()


BAD = {
    b'{"messages": [': "not JSON",
    b'{"messages": "\xff"}': "not UTF-8",
    b"[1]": "expected",
    b'{"text": "Hello."}': "expected",
    line("Who?", "  "): "is empty",
    line("Who?", "Me.", roles=("user", "user")): "no assistant turn",
    line("Who?", "Me.", roles=("user", "bot")): "the role 'bot'",
    line("Me.", "Who?", roles=("assistant", "user")): "the user must ask first",
    line("Who? <|im_end|>", "Me."): "contains <|im_end|>",
    line("Who? " * 400, "Me."): "exceed --length 64",
}


def test_every_bad_line_is_named_at_once(tokenizer, tmp_path):
    path = tmp_path / "bad.jsonl"
    good = line("Who?", "Me.")
    path.write_bytes(b"\n".join([good, *BAD, good]))
    with pytest.raises(SystemExit) as stopped:
        qlora.read_data(path, tokenizer, 64)
    first, *faults = str(stopped.value).splitlines()
    assert first.endswith("10 of 12 lines cannot be used:")
    for number, (fault, words) in enumerate(zip(faults, BAD.values(), strict=True), start=2):
        assert fault.startswith(f"  line {number}: ") and words in fault


def test_padding_counts():
    assert qlora.padded_tokens([5, 5, 5], 2, 0) == 15
    drawn = {qlora.padded_tokens([1, 1, 9, 9], 2, seed) for seed in range(9)}
    assert drawn == {20, 36}  # equal lengths together, or each short one with a long one


def test_packing_without_flash_attention_is_refused(few, capsys):
    with pytest.raises(SystemExit):
        qlora.options(["--data", str(few), "--packing"])
    assert "flash_attention_2" in capsys.readouterr().err


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Call main with a folder and options; returns what has run. Training and the merge are left out."""
    run = []
    monkeypatch.setattr(qlora, "train", lambda chosen: run.append("train"))
    monkeypatch.setattr(qlora, "merge", lambda chosen: run.append("merge"))

    def start(out, *more):
        qlora.main(["--data", str(tmp_path / "my.jsonl"), "--out", str(out), *more])
        return run

    return start


def test_a_folder_is_for_one_run(started, tmp_path):
    (tmp_path / "my.jsonl").write_bytes(line("Who?", "Me."))
    out = tmp_path / "new/adapter"
    started(out)
    assert started(out, "--lr", "1e-3") == ["train"] * 2  # nothing was trained yet
    (out / "checkpoint-5").mkdir()
    assert started(out, "--lr", "1e-3", "--per-card", "2") == ["train"] * 3  # continues
    with pytest.raises(SystemExit, match=r"another run \(other lr\): use another --out"):
        started(out)
    (tmp_path / "my.jsonl").write_bytes(line("Who?", "You."))
    with pytest.raises(SystemExit, match="other data, rank, lr"):
        started(out, "--rank", "8")
    assert started(tmp_path / "other") == ["train"] * 4


def test_a_folder_of_somebody_else_is_left_alone(started, tmp_path):
    (tmp_path / "my.jsonl").write_bytes(line("Who?", "Me."))
    for name, text in (("run.json", '{"mine": 1}'), ("notes.txt", "mine")):
        (tmp_path / name[:3]).mkdir()
        (tmp_path / name[:3] / name).write_text(text)
        with pytest.raises(SystemExit, match="has something else in it: name a new folder"):
            started(tmp_path / name[:3])
        assert [path.read_text() for path in (tmp_path / name[:3]).iterdir()] == [text]
    with pytest.raises(SystemExit, match="has something else in it"):
        started(tmp_path / "my.jsonl")


def test_a_run_that_has_ended_is_merged_or_refused(started, tmp_path, monkeypatch):
    (tmp_path / "my.jsonl").write_bytes(line("Who?", "Me."))
    out = tmp_path / "adapter"
    started(out)
    (out / "generation_config.json").write_text("{}")
    with pytest.raises(SystemExit, match="or add --merge"):
        started(out)
    with pytest.raises(SystemExit, match="other epochs"):
        started(out, "--epochs", "3")
    assert started(out, "--merge") == ["train", "merge"]
    monkeypatch.setenv("RANK", "1")
    assert started(out, "--merge") == ["train", "merge"]


def test_a_t4_gets_no_bf16():
    assert "is_bf16_supported(including_emulation=False)" in (ROOT / "recipes/qlora.py").read_text()


SCRIPT = ROOT / "recipes/train.slurm"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_slurm_script_is_one():
    done = subprocess.run([shutil.which("bash"), "-n", str(SCRIPT)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_slurm_script_asks_slurm_and_starts_the_recipe():
    text = SCRIPT.read_text()
    lines = text.splitlines()
    asked = [line for line in lines if line.startswith("#SBATCH")]
    known = "job-name nodes ntasks-per-node gpus-per-node cpus-per-task mem time output".split()
    assert [re.fullmatch(r"#SBATCH --([a-z-]+)=\S+", line)[1] for line in asked] == known
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert max(lines.index(line) for line in asked) < first_command  # SLURM does not read later ones
    command = text.split(" accelerate launch")[1].replace("\\\n", " ").split()
    arguments = command[command.index("recipes/qlora.py") + 1 :]
    assert [word for word in arguments if word.startswith("--")] == ["--data", "--out"]
    qlora.options([word.strip('"') for word in arguments])
    assert all((ROOT / word).is_file() for word in command if word.startswith("recipes/"))
