"""The recipe for one card or several: its rehearsal, rows on every template of TRL, refusals, SLURM."""

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

import trl
from jinja2 import TemplateError
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from course_utils.budget import CARDS, KNOWN_MODELS, load_config
from course_utils.chatml import IM_END, IM_START, TEMPLATE, encode_conversation
from course_utils.data import DATA, IGNORE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "data/conversations/train.jsonl"
TEMPLATES = Path(trl.__file__).parent / "chat_templates"
sys.path.insert(0, str(ROOT / "recipes"))
qlora, rehearsal = (importlib.import_module(name) for name in ("qlora", "rehearsal"))
SEVEN = ("--base", "Qwen/Qwen2.5-7B-Instruct")


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
    """The pocket model's tokenizer with ChatML's markers, which ends at neither."""
    loaded = AutoTokenizer.from_pretrained(DATA / "pocket-gpt2", local_files_only=True)
    loaded.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
    loaded.chat_template = TEMPLATE
    return loaded


def of_bytes(template):
    """A tokenizer with a token for each byte and each marker of a chat template; it ends at <eos>."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    named = r"<[|｜][^<>'\s{}]{1,40}[|｜]>|<(?:start_of_turn|end_of_turn|turn\||\|turn|end_of_utterance)>"
    markers = sorted({*re.findall(named, template)} - {"<bos>", "<eos>"})
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "additional_special_tokens": markers}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **special)
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.night
def test_a_rehearsal_says_what_will_be_done_and_what_it_takes(few):
    code, out, err = recipe("--data", few, "--dry-run", "--cards", 4, "--batch", 32, *SEVEN)
    assert code == 0, err
    words = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "NF4, its scales quantised" in words["weights"]
    assert "4 card(s) x 4 x 2 accumulated = 32" in words["batch"]
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


SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}
LINEAR = {"linear_num_key_heads": 8, "linear_num_value_heads": 16}
LINEAR |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8}
ARCHITECTURES = [  # type, template, the token that ends a turn, further settings, layers that LoRA trains
    ("qwen3", "qwen3", "<|im_end|>", {}, 4 * 7),
    ("qwen3_5_text", "qwen3_5_nothink", "<|im_end|>", LINEAR, 3 * 5 + 4 + 4 * 3),
    ("llama", "llama3_2", "<|eot_id|>", {}, 4 * 7),
    ("gemma3_text", "gemma3", "<end_of_turn>", {"sliding_window": 32}, 4 * 7),
    ("smollm3", "", "<|im_end|>", {}, 4 * 7),
]


@pytest.mark.night
@pytest.mark.parametrize(
    "kind, template, end, more, layers", ARCHITECTURES, ids=lambda value: str(value)[:12]
)
def test_architectures_that_people_use_are_rehearsed(kind, template, end, more, layers, tmp_path, capsys):
    """Two steps of a small random model on conversations of two turns: an adapter for every linear layer."""
    text = (TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8") if template else TEMPLATE
    tokenizer = of_bytes(text)
    tokenizer.eos_token = end
    settings = SMALL | more | {"vocab_size": len(tokenizer), "max_position_embeddings": 2048}
    ends = {name: tokenizer.eos_token_id for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    AutoConfig.for_model(kind, **settings, **ends).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    rows = [line("Who?", f"{n}.", "And?", "Me.", roles=("user", "assistant") * 2) for n in range(8)]
    (tmp_path / "my.jsonl").write_bytes(b"\n".join(rows))
    given = {"--data": tmp_path / "my.jsonl", "--base": tmp_path / "base", "--bits": 16, "--batch": 8}
    qlora.main(["--dry-run", *(str(part) for pair in given.items() for part in pair)])
    out = capsys.readouterr().out
    assert re.search(r"rehearsal  2 steps of a \w+ with [\d,]+ values: losses \d+\.\d+, \d+\.\d+", out)
    assert ("each answer has a row of its own" in out) == template.startswith("qwen3")
    trained = int(re.search(r"trained    ([\d,]+) of", out)[1].replace(",", ""))
    model = rehearsal.AutoModelForCausalLM.from_config(load_config(tmp_path / "base"))
    linear = [m for m in model.modules() if type(m).__name__ == "Linear"]
    linear.remove(model.get_output_embeddings())
    assert len(linear) == layers
    assert trained == 16 * sum(sum(module.weight.shape) for module in linear)


def test_a_base_that_cannot_be_had_is_told(few, tmp_path):
    code, _, err = recipe("--data", few, "--out", tmp_path / "out", HF_HUB_CACHE=str(tmp_path))
    assert code == 1 and "Traceback" not in err
    assert "\nQwen/Qwen3.5-9B is not on disk" in f"\n{err}" and "--dry-run" in err


def test_a_card_that_is_too_small_is_told(few):
    arguments = ["--dry-run", "--bits", 16, "--per-card", 8, "--batch", 8, "--card", "T4", *SEVEN]
    code, out, _ = recipe("--data", few, *arguments)
    assert code == 0 and "does NOT fit a T4" in out and "NF4" not in out


def test_the_recipes_own_base_has_the_size_of_its_card():
    with rehearsal.torch.device("meta"):
        model = rehearsal.AutoModelForCausalLM.from_config(rehearsal.find_config(qlora.BASE))
    assert model.num_parameters() == pytest.approx(8.95e9, rel=0.001)  # 9B on its card, 8.95 in GGUF files


def test_an_unknown_card_is_told(few):
    with pytest.raises(SystemExit, match="--card 'T5' is unknown: choose one of T4, "):
        qlora.main(["--data", str(few), "--dry-run", "--card", "T5"])


def test_a_card_without_bf16_is_counted_in_fp32(few, monkeypatch, capsys):
    monkeypatch.setattr(rehearsal, "rehearse", lambda *arguments: None)

    def planned(card):
        qlora.main(
            ["--data", str(few), "--dry-run", "--base", "SmolLM2-135M", "--card", card, "--bits", "16"]
        )
        out = capsys.readouterr().out
        weights, hours = (
            float(re.search(rf"{name} ([\d.e-]+)", out)[1]) for name in ("memory     weights", "training")
        )
        return "has no bf16" in out, weights, hours * CARDS[card][1]

    (warned, weights, hours), newer = planned("T4"), planned("L4")
    assert (warned, newer[0]) == (True, False)
    assert weights == pytest.approx(2 * newer[1], abs=0.02)
    assert hours == pytest.approx(newer[2] * 65 / 8.1, rel=0.1)


def test_a_base_that_was_not_trained_to_chat_is_refused(tokenizer, few, tmp_path):
    """The pocket model's own tokenizer ends at another token than ChatML's turns."""
    load_config(KNOWN_MODELS["SmolLM2-135M"]).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(SystemExit, match=r"not trained to stop at <\|im_end\|>.*take its instruct model"):
        qlora.main(["--data", str(few), "--dry-run", "--base", str(tmp_path)])
    with pytest.raises(SystemExit, match="has no chat template: take its instruct model"):
        bare = AutoTokenizer.from_pretrained(DATA / "pocket-gpt2", local_files_only=True)
        qlora.chat_tokenizer(bare, "mine", set())


def test_the_merged_model_has_moved_and_stops_at_the_end_of_a_turn(few, tmp_path, monkeypatch):
    instruct = of_bytes(TEMPLATE)
    instruct.eos_token = IM_END
    settings = KNOWN_MODELS["SmolLM2-135M"] | {"vocab_size": len(instruct), "num_hidden_layers": 2}
    load_config(settings).save_pretrained(tmp_path / "base")
    instruct.save_pretrained(tmp_path / "base")
    tables, real = {}, qlora.train

    def train(chosen, rows=None):
        """The real training; records its initial weights and what it wrote."""
        chosen.lr, chosen.out = 0.1, tmp_path / "out"
        losses = real(chosen, rows)
        tables.update(before=load_file(Path(chosen.base) / "model.safetensors"))
        tables.update(merged=load_file(chosen.out / "merged/model.safetensors"))
        return losses

    monkeypatch.setattr(qlora, "train", train)
    command = ["--data", str(few), "--dry-run", "--base", str(tmp_path / "base"), "--bits", "16", "--merge"]
    qlora.main([*command, "--batch", "8"])
    before, merged = tables["before"], tables["merged"]
    moved = {name for name in before if not before[name].equal(merged[name])}
    assert moved and all(name.endswith("_proj.weight") for name in moved)
    generation = json.loads((tmp_path / "out/generation_config.json").read_text(encoding="utf-8"))
    assert generation["eos_token_id"] in ([instruct.eos_token_id], instruct.eos_token_id)
    saved = AutoTokenizer.from_pretrained(tmp_path / "out/merged", local_files_only=True)
    assert saved.eos_token == IM_END


TURNS = [
    {"role": "user", "content": "Who asks?"},
    {"role": "assistant", "content": "First answer."},
    {"role": "user", "content": "And then?"},
    {"role": "assistant", "content": "Second answer."},
]


def test_masks_are_those_of_lesson_08(tokenizer):
    [row] = qlora.encode_chat(tokenizer, TURNS)
    theirs = encode_conversation(tokenizer, TURNS)
    assert (row["input_ids"], row["labels"]) == (theirs.input_ids, theirs.labels)


FOR_IMAGES = {"idefics3", "llava_next", "smolvlm"}
SPLIT = {"deepseek_r1_distill", "deepseekv3", "glm4moe", "gptoss", "phi3", "phi3_5"}
SPLIT |= {"qwen3", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6"}
SHIPPED = sorted(path.stem for path in TEMPLATES.glob("*.jinja") if not path.stem.endswith("_training"))


@pytest.mark.parametrize("name", SHIPPED)
def test_two_turns_are_trained_on_every_template_that_trl_ships(name):
    """Each answer has loss once, with a special token after it, behind the prompt that a server shows."""
    tokenizer = of_bytes((TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8"))
    if name in FOR_IMAGES:
        with pytest.raises((ValueError, TemplateError), match="text"):
            qlora.encode_chat(tokenizer, TURNS)
        return
    rows = qlora.encode_chat(tokenizer, TURNS)
    assert len(rows) == (2 if name in SPLIT else 1)
    learnt = "".join(tokenizer.decode([label for label in row["labels"] if label != IGNORE]) for row in rows)
    assert learnt.count("First answer.") == learnt.count("Second answer.") == 1
    assert "asks" not in learnt and "then" not in learnt
    for row, asked in zip(rows, (TURNS[:1], TURNS[:3])[-len(rows) :], strict=True):
        prompt = tokenizer.apply_chat_template(
            asked, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        assert tokenizer.decode(row["input_ids"]).startswith(prompt)
        assert row["labels"][-1] != IGNORE or tokenizer.decode(row["input_ids"][-1:]) == "\n"
        last = [label for label in row["labels"] if label != IGNORE][-1]
        assert last in tokenizer.all_special_ids


def test_a_row_of_its_own_is_what_the_model_sees_when_it_has_to_answer(tokenizer):
    forgetful = AutoTokenizer.from_pretrained(DATA / "pocket-gpt2", local_files_only=True)
    forgetful.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
    forgetful.chat_template = TEMPLATE.replace(
        "message['content'] | trim + '<|im_end|>' }}{% endgen",
        "(message['content'] if loop.last else '') | trim + '<|im_end|>' }}{% endgen",
    )
    first, second = qlora.encode_chat(forgetful, TURNS)
    assert first == qlora.encode_chat(tokenizer, TURNS[:2])[0]
    emptied = [*TURNS[:1], {"role": "assistant", "content": ""}, *TURNS[2:]]
    seen = qlora.answer_row(tokenizer, emptied)
    assert (second["input_ids"], second["labels"]) == (seen["input_ids"], seen["labels"])


def test_a_later_answer_that_is_rewritten_leaves_no_loss_twice(tokenizer):
    """The template keeps the first answer and empties the second when a third follows."""
    forgetful = AutoTokenizer.from_pretrained(DATA / "pocket-gpt2", local_files_only=True)
    forgetful.add_special_tokens({"additional_special_tokens": [IM_START, IM_END]})
    forgetful.chat_template = TEMPLATE.replace(
        "message['content'] | trim + '<|im_end|>' }}{% endgen",
        "('' if loop.index == 4 and not loop.last else message['content']) | trim + '<|im_end|>' }}{% endgen",
    )
    turns = [*TURNS, {"role": "user", "content": "Last?"}, {"role": "assistant", "content": "Third answer."}]
    rows = qlora.encode_chat(forgetful, turns)
    learnt = [tokenizer.decode([label for label in row["labels"] if label != IGNORE]) for row in rows]
    assert learnt == [f"{name} answer.<|im_end|>" for name in ("First", "Second", "Third")]


def test_thoughts_in_the_data_are_refused():
    tokenizer = of_bytes((TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8"))
    thought = [TURNS[0], {"role": "assistant", "content": "<think>Hm.</think>First answer."}]
    with pytest.raises(ValueError, match=r"message 2: .*thoughts \(<think>\) and images are not trained"):
        qlora.encode_chat(tokenizer, thought)


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
    assert rehearsal.padded_tokens([5, 5, 5], 2, 0) == 15
    drawn = {rehearsal.padded_tokens([1, 1, 9, 9], 2, seed) for seed in range(9)}
    assert drawn == {20, 36}  # equal lengths together, or each short one with a long one


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
    (out / "checkpoint-5/trainer_state.json").write_text('{"global_step": 5}')
    assert started(out, "--lr", "1e-3", "--per-card", "2") == ["train"] * 3  # continues
    with pytest.raises(SystemExit, match=r"another run \(other lr\): use another --out"):
        started(out)
    (tmp_path / "my.jsonl").write_bytes(line("Who?", "You."))
    with pytest.raises(SystemExit, match="other data, rank, lr"):
        started(out, "--rank", "8")
    assert started(tmp_path / "other") == ["train"] * 4


def test_a_checkpoint_that_a_kill_has_torn_is_passed_over(tmp_path):
    for step, state in (
        ("9", '{"global_step": 9}'),
        ("10", '{"global_step": 10}'),
        ("11", '{"glo'),
        ("12", None),
    ):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state:
            (tmp_path / f"checkpoint-{step}/trainer_state.json").write_text(state)
    assert qlora.checkpoints(tmp_path) == [str(tmp_path / "checkpoint-9"), str(tmp_path / "checkpoint-10")]


def test_of_two_runs_in_one_folder_the_second_is_refused(started, tmp_path):
    (tmp_path / "my.jsonl").write_bytes(line("Who?", "Me."))
    out = tmp_path / "adapter"
    ended, held = qlora.open_folder(qlora.options(["--data", str(tmp_path / "my.jsonl"), "--out", str(out)]))
    assert not ended
    with pytest.raises(SystemExit, match="another process works in it"):
        started(out)
    held.release()
    assert started(out) == ["train"]


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
    with pytest.raises(SystemExit, match="File name too long"):
        started(tmp_path / ("x" * 300))


@pytest.mark.parametrize("rank, first", [("0", True), ("1", False)])
def test_only_the_others_of_several_processes_leave_the_folder_to_the_first(
    started, tmp_path, monkeypatch, rank, first
):
    (tmp_path / "my.jsonl").write_bytes(line("Who?", "Me."))
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit, match="has something else in it"):
        started(tmp_path)  # a rank alone makes no second process
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert qlora.first_process() == first


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
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert started(out, "--merge") == ["train", "merge"]


@pytest.mark.parametrize("make", [Path.mkdir, lambda place: place.write_text("mine")])
def test_what_stands_in_the_merged_models_place_is_kept(started, tmp_path, make):
    (tmp_path / "my.jsonl").write_bytes(line("Who?", "Me."))
    started(tmp_path / "out")
    make(tmp_path / "out" / "merged")
    with pytest.raises(SystemExit, match="merged is there already: move it away"):
        started(tmp_path / "out", "--merge")


@pytest.mark.parametrize(
    "option",
    ["--rank 0", "--lr -1", "--lr nan", "--lr inf", "--seed -1", "--per-card 0", "--cards 0", "--steps -5"],
)
def test_numbers_that_train_nothing_are_refused_at_once(option, tmp_path, capsys):
    with pytest.raises(SystemExit):
        qlora.main(["--data", "my.jsonl", "--out", str(tmp_path / "out"), *option.split()])
    assert f"argument {option.split()[0]}: invalid" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="its devices are files elsewhere")
def test_a_device_without_an_end_is_not_read():
    with pytest.raises(SystemExit, match="/dev/zero: a pipe can be read only once, a device has no end"):
        qlora.read_bytes("/dev/zero")


def test_the_folder_is_checked_before_the_imports_that_take_long(tmp_path):
    (tmp_path / "my.jsonl").write_bytes(line("Who?", "Me."))
    code = (
        "import sys, qlora\n"
        "try: qlora.main(sys.argv[1:])\n"
        "except SystemExit as stop: print(stop, 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, "--data", tmp_path / "my.jsonl", "--out", tmp_path]
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT / "recipes", capture_output=True, text=True
    )
    assert done.stdout.endswith("has something else in it: name a new folder False\n"), done.stderr


def test_a_t4_gets_no_bf16():
    assert "is_bf16_supported(including_emulation=False)" in (ROOT / "recipes/qlora.py").read_text()


SCRIPTS = ("train", "two_nodes", "sweep")
NEEDS_BASH = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")


def script(name):
    return ROOT / f"recipes/{name}.slurm"


@NEEDS_BASH
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_slurm_script_is_one(name):
    done = subprocess.run([shutil.which("bash"), "-n", str(script(name))], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_slurm_script_asks_slurm_and_starts_the_recipe(name):
    text = script(name).read_text()
    lines = text.splitlines()
    asked = [line for line in lines if line.startswith("#SBATCH")]
    known = "job-name nodes ntasks-per-node gpus-per-node cpus-per-task mem time output array ntasks".split()
    assert {re.fullmatch(r"#SBATCH --([a-z-]+)=\S+", line)[1] for line in asked} <= {*known}
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert max(lines.index(line) for line in asked) < first_command  # SLURM does not read later ones
    command = text[text.rindex("recipes/qlora.py") :].split(">>")[0].split()
    given = [word.strip('"') for word in command[1:] if "@" not in word]
    values = {"$rate": "1e-4", "$seed": "1"}
    qlora.options([values.get(word, word) for word in given])
    assert all((ROOT / word).is_file() for word in re.findall(r"recipes/\w+\.(?:py|yaml)", text))


@NEEDS_BASH
def test_the_jobs_of_a_sweep_are_nine_different_runs(tmp_path):
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(0o755)
    asked = set()
    for task in range(9):
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": str(task)}
        command = ["bash", str(script("sweep")), "a.jsonl", "b.jsonl", str(tmp_path / "out")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        logged = Path(f"{done.stdout.strip()}.log").read_text().split()
        chosen = qlora.options(logged[1:])
        assert (chosen.data, chosen.held_out, str(chosen.out)) == ("a.jsonl", "b.jsonl", done.stdout.strip())
        asked.add((chosen.lr, chosen.seed))
    assert asked == {(rate, seed) for rate in (5e-5, 2e-4, 8e-4) for seed in range(3)}


@pytest.mark.night
@NEEDS_BASH
def test_two_nodes_of_one_process_train_like_one_process(tmp_path):
    """The script for SLURM with two nodes that are this machine: srun starts its command once for each."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    stubs = {
        "scontrol": "echo localhost; echo localhost",
        "srun": 'shift 2; "$@" & first=$!; "$@" & second=$!; wait $first && wait $second',
    }
    for name, text in stubs.items():
        (bin_ / name).write_text(f"#!/bin/bash\n{text}\n")
        (bin_ / name).chmod(0o755)
    tokenizer = of_bytes(TEMPLATE)
    tokenizer.eos_token = IM_END
    settings = SMALL | {"vocab_size": len(tokenizer), "max_position_embeddings": 512}
    model = rehearsal.AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **settings))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    rows = [line("Who?", f"{n}.") for n in range(16)]
    (tmp_path / "my.jsonl").write_bytes(b"\n".join(rows))
    options = ["--base", tmp_path / "base", "--bits", 16, "--steps", 2, "--batch", 8, "--per-card", 2]
    options = [str(part) for part in options]
    slurm = {"JOB_ID": 4711, "NNODES": 2, "GPUS_ON_NODE": 1, "CPUS_PER_TASK": 1, "JOB_NODELIST": "two"}
    environment = {**os.environ, **{f"SLURM_{name}": str(value) for name, value in slurm.items()}}
    environment["PATH"] = f"{bin_}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", str(script("two_nodes")), str(tmp_path / "my.jsonl"), str(tmp_path / "two"), *options]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "process    0 of 2 on cpu" in done.stdout and "process    1 of 2 on cpu" in done.stdout
    assert done.stdout.count("adapter    in") == 1
    code, _, err = recipe("--data", tmp_path / "my.jsonl", "--out", tmp_path / "one", *options)
    assert code == 0, err
    two, one = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("two", "one"))
    assert two.keys() == one.keys() and any("lora_B" in name for name in one)
    for name in one:
        assert two[name].allclose(one[name], rtol=1e-3, atol=1e-6), name
