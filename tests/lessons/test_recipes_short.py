"""The three short recipes: two steps each with a small random model, their training data, rejected lines."""

import importlib.util
import json
import math
import runpy
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")

import torch
import trl
from peft import PeftModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
SHORT = ("sft", "dpo", "grpo")
WORDS = (
    "[UNK] <|endoftext|> <|im_start|> <|im_end|> <think> </think> system user assistant what is plus 0 1 2 3"
)
SUMS = [(a, b) for a in range(3) for b in range(2)] * 4
ROWS = {
    "sft": [
        {
            "messages": [
                {"role": "user", "content": f"what is {a} plus {b}"},
                {"role": "assistant", "content": f"{a + b}"},
            ]
        }
        for a, b in SUMS
    ],
    "dpo": [{"prompt": f"what is {a} plus {b}", "chosen": f"{a + b}", "rejected": "what"} for a, b in SUMS],
    "grpo": [{"prompt": f"what is {a} plus {b}", "answer": a + b} for a, b in SUMS],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a Qwen3 of sixteen words, random weights and Qwen3's own chat template."""
    folder = tmp_path_factory.mktemp("base")
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS.split())}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"unk_token": "[UNK]", "pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, additional_special_tokens=["<|im_start|>"], **special
    )
    tokenizer.add_tokens(["<think>", "</think>"])
    template = Path(trl.__file__).parent / "chat_templates/qwen3.jinja"
    tokenizer.chat_template = template.read_text(encoding="utf-8")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), **sizes, **heads, **ends)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a recipe as a script, without a network; returns its final namespace."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it asked for a network"))
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest keeps its own handlers

    def go(name, rows, *more):
        data = tmp_path / "data.jsonl"
        if rows is not None:
            data.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        arguments = ["--data", data, "--out", tmp_path / "out", "--steps", 2, *more]
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        return runpy.run_path(str(RECIPES / f"{name}.py"), run_name="__main__")

    return go


@pytest.fixture
def trained(run, base, tmp_path):
    """Train two steps, and assert losses and an adapter that PEFT loads; returns the namespace."""

    def go(name):
        names = run(name, map(json.dumps, ROWS[name]), "--base", base)
        losses = [row["loss"] for row in names["trainer"].state.log_history if "loss" in row]
        assert len(losses) == 2 and all(map(math.isfinite, losses))
        loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "out")
        moved = {
            n: bool(p.any()) for n, p in loaded.named_parameters() if "lora_B" in n
        }  # they start at zero
        assert len(moved) == 2 * 7 and all(moved.values())  # two layers of seven, but not the head
        return names

    return go


@pytest.mark.parametrize("name", SHORT)
def test_weights_that_are_a_pickle_are_not_loaded(run, base, tmp_path, name):
    pickled = shutil.copytree(base, tmp_path / "pickled")
    torch.save(Qwen3ForCausalLM.from_pretrained(base).state_dict(), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        run(name, map(json.dumps, ROWS[name]), "--base", pickled)


def words(trainer, ids):
    return trainer.processing_class.decode([i for i in ids if i >= 0])


def test_sft_trains_on_the_answers_alone(trained, capsys):
    trainer = trained("sft")["trainer"]
    assert "held-out loss 2." in capsys.readouterr().out  # ln 16 = 2.77
    for row in trainer.train_dataset:
        whole, learnt = words(trainer, row["input_ids"]), words(trainer, row["labels"])
        answer = whole.split()[-2]
        assert whole.startswith("<|im_start|> user what is") and answer in "0123"
        assert learnt == f"<think> </think> {answer} <|im_end|>"  # an empty thought, as in Qwen3


def test_dpo_prefers_the_chosen_within_the_template(trained):
    names = trained("dpo")
    assert names["before"] == pytest.approx(math.log(2), abs=1e-4)
    assert names["after"] < names["before"]
    for row in names["trainer"].train_dataset:
        prompt = words(names["trainer"], row["prompt_ids"])
        assert prompt.startswith("<|im_start|> user what is") and prompt.endswith("<|im_start|> assistant")
        assert set(words(names["trainer"], row["chosen_ids"]).split()) & set("0123")


def test_dpo_takes_messages_too(run, base, tmp_path):
    as_messages = [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": row["rejected"],
        }
        for row in ROWS["dpo"]
    ]
    texts, turns = (
        run("dpo", map(json.dumps, rows), "--base", base, "--out", tmp_path / name)
        for name, rows in {"texts": ROWS["dpo"], "turns": as_messages}.items()
    )
    assert texts["rows"] == turns["rows"]


def test_grpo_pays_for_right_answers(trained):
    names = trained("grpo")
    paid = [row["reward"] for row in names["trainer"].state.log_history if "reward" in row]
    assert len(paid) == 2 and all(0 < share < 1 for share in paid)
    answers = ["It is 42.", "42 or 43", "6 x 7 = 42", "1,042", "40-42", "-42", "", "42.5"]
    completions = [[{"role": "assistant", "content": text}] for text in answers]
    wanted = [42, 42, 42, 1042, 42, -42, 42, 42.5]
    assert names["reward"](completions, wanted, prompts=None) == [1, 0, 1, 1, 1, 1, 0, 1]


def test_grpo_says_what_vllm_needs(run, base, capsys, monkeypatch):
    real = importlib.util.find_spec
    none = {"vllm": lambda *_: None}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: none.get(name, real)(name, *more))
    with pytest.raises(SystemExit):
        run("grpo", map(json.dumps, ROWS["grpo"]), "--base", base, "--vllm")
    assert "--vllm needs vLLM, in a version that TRL takes" in capsys.readouterr().err


def turns(*roles):
    return json.dumps({"messages": [{"role": role, "content": "Why?"} for role in roles]})


BAD = [
    ("sft", "{", "JSONDecodeError"),
    ("sft", '{"text": "Why?"}', "KeyError('messages')"),
    ("sft", '{"messages": []}', "IndexError"),
    ("sft", '{"messages": "Why?"}', "TypeError"),
    ("sft", turns("user"), "the last message is not the assistant's"),
    ("sft", "[" * 10**5, "RecursionError"),
    ("dpo", '{"prompt": "Why?", "chosen": "So.", "rejected": "\\ud800"}', "surrogates not allowed"),
    ("dpo", '{"prompt": "Why?", "chosen": "So."}', "KeyError('rejected')"),
    ("dpo", '{"prompt": "Why?", "chosen": "So.", "rejected": null}', "TypeError"),
    ("grpo", '{"prompt": "Why?"}', "KeyError('answer')"),
    ("grpo", '{"prompt": "Why?", "answer": "Rome"}', "could not convert string to float: 'Rome'"),
]


@pytest.mark.parametrize("name, line, fault", BAD)
def test_a_bad_line_is_named(run, name, line, fault):
    with pytest.raises(SystemExit) as stopped:
        run(name, [json.dumps(ROWS[name][0]), line])
    message = str(stopped.value)
    assert "data.jsonl', line 2: " in message and fault in message and "--help" in message


@pytest.mark.parametrize("name", SHORT)
def test_a_missing_file_is_named(run, name):
    with pytest.raises(SystemExit, match=r"--data .*data\.jsonl': FileNotFoundError.*Give a file"):
        run(name, None)


@pytest.mark.parametrize("name", SHORT)
def test_of_two_runs_in_one_folder_the_second_is_refused(run, name, tmp_path, capsys):
    (tmp_path / "out").mkdir()  # by the other, a moment ago
    with pytest.raises(SystemExit):
        run(name, map(json.dumps, ROWS[name]))
    assert "File exists. Name a new folder, or remove this one" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("rows, steps", [(1, 2), (4, 0), (4, -5)])
@pytest.mark.parametrize("name", SHORT)
def test_too_little_to_train_is_refused_at_once(run, name, rows, steps, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(name, map(json.dumps, ROWS[name][:rows]), "--steps", steps)
    assert "--steps has to be 1 or more, and --data needs two lines" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", SHORT)
def test_a_base_without_a_chat_template_is_refused(run, name, base, tmp_path, capsys):
    plain = tmp_path / "plain"
    shutil.copytree(base, plain)
    tokenizer = AutoTokenizer.from_pretrained(plain)
    tokenizer.chat_template = None
    (plain / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(plain)
    with pytest.raises(SystemExit):
        run(name, map(json.dumps, ROWS[name]), "--base", plain)
    assert "has no chat template: take an instruct model" in capsys.readouterr().err


@pytest.mark.parametrize("name", SHORT)
def test_they_need_nothing_of_the_course(name):
    assert "course_utils" not in (RECIPES / f"{name}.py").read_text(encoding="utf-8")
