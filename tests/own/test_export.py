"""The formats that servers read: the same greedy text from all, files as required, complete or not at all."""

import json
import re
import socket

import pytest
import torch
from filelock import FileLock
from helpers import CONTEXT, tiny_model, tiny_tokenizer
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from course_utils.chatml import IM_END, marker_ids
from course_utils.commands import cli
from course_utils.methods.sft import replies
from course_utils.models import load_model, save_model
from course_utils.own import export
from course_utils.own.export import ANSWER_TOKENS, QUESTIONS, ask, export_run
from course_utils.own.gguf_files import gguf_fault
from course_utils.own.own_run import Plan, Run, prepare_model, run_settings, save_result
from course_utils.own.report import write_report
from course_utils.own.verdict import Verdict
from course_utils.ownership import mark, umask
from course_utils.session import Session

pytest.importorskip("gguf", reason="GGUF is written by the package gguf, of the extra compare")
pytest.importorskip("accelerate", reason="transformers reads GGUF with accelerate, of the extra compare")


def tiny_smollm2(vocab_size):
    """SmolLM2's architecture with random weights: grouped heads, a tied head, its rotary base."""
    torch.manual_seed(1)
    config = LlamaConfig(
        num_hidden_layers=2,
        hidden_size=48,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=vocab_size,
        max_position_embeddings=160,
        rope_theta=100000.0,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=0,
        eos_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def tiny_base(kind, tokenizer):
    return (tiny_model if kind == "gpt2" else tiny_smollm2)(vocab_size=len(tokenizer))


def made_run(folder, kind, method):
    """A run's folder like the lesson's, with values far from their start; its session and model."""
    tokenizer = tiny_tokenizer()
    base = folder / "base of mine"
    save_model(tiny_base(kind, tokenizer), tokenizer, base)
    session = Session(str(base), "quick", 0, torch.device("cpu"), torch.float32)
    plan = Plan(method, 0, 2, 1e-2, rank=12, alpha=24.0)
    settings = run_settings(session, plan, type("Files", (), {"data": None, "pairs": None}), [])
    model, tokenizer = session.load_model()
    torch.manual_seed(2)
    prepare_model(model, tokenizer, plan)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    run = Run(folder / "My run, 1", settings)
    run.work.mkdir()

    def write(place):
        save_result(model, tokenizer, place, method)
        write_report(place, "", "", Verdict("better", "so"), {})

    return run.finish(write), session, model, tokenizer


@pytest.fixture(
    scope="module",
    params=[("llama", "lora"), ("llama", "qlora"), ("gpt2", "lora"), ("gpt2", "qlora"), ("gpt2", "full")],
)
def exported(request, tmp_path_factory):
    kind, method = request.param
    folder = tmp_path_factory.mktemp("of a machine")
    run, session, model, tokenizer = made_run(folder, kind, method)
    out = export_run(run, base=session.model_name)
    assert out == folder / "My run, 1-export"
    expected = replies(model.eval(), tokenizer, QUESTIONS, max_new_tokens=ANSWER_TOKENS)
    return kind, method, out, expected


def test_all_forms_say_what_the_runs_model_says(exported):
    """Asked again, with the libraries alone, and compared with the trained model."""
    kind, method, out, expected = exported
    assert len({reply.text for reply in expected}) == len(expected)
    merged = AutoModelForCausalLM.from_pretrained(out / "merged", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(out / "merged")
    assert ask(merged, tokenizer) == expected
    assert ask(*export.LOAD["model.gguf"](out)) == expected
    if kind == "llama" and method != "full":
        peft = pytest.importorskip("peft", reason="the adapter is loaded by PEFT, of the extra compare")
        base, _ = load_model(str(out / "base"))
        assert ask(base, tokenizer) != expected
        assert ask(peft.PeftModel.from_pretrained(base, out / "adapter").eval(), tokenizer) == expected
    else:
        assert not (out / "adapter").exists() and not (out / "base").exists()


def test_the_card_says_how_transformers_loads_gguf(exported, monkeypatch):
    """Plain transformers raises for GPT-2's kind; the card's code loads it, and other kinds need none."""
    kind, _, out, _ = exported
    card = (out / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(out)
    if kind != "gpt2":
        assert "GGUF in transformers" not in card
        AutoModelForCausalLM.from_pretrained(".", gguf_file="model.gguf")
        return
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModelForCausalLM.from_pretrained(".", gguf_file="model.gguf")
    names = {}
    exec(re.search(r"```python\n(.*?)```", card, re.DOTALL)[1], names)
    assert names["model"].config.n_positions == CONTEXT


def test_the_merged_model_ends_its_turn(exported):
    out = exported[2]
    tokenizer = AutoTokenizer.from_pretrained(out / "merged")
    assert tokenizer.eos_token == IM_END
    assert "generation" not in tokenizer.chat_template.replace("add_generation_prompt", "")
    settings = json.loads((out / "merged" / "generation_config.json").read_text(encoding="utf-8"))
    assert settings["eos_token_id"] == [0, marker_ids(tokenizer)[1]] and settings["pad_token_id"] == 0
    from gguf import GGUFReader

    fields = GGUFReader(out / "model.gguf").fields
    for name in ("eos_token_id", "eot_token_id"):
        assert fields[f"tokenizer.ggml.{name}"].contents() == marker_ids(tokenizer)[1]
    assert fields["tokenizer.chat_template"].contents() == tokenizer.chat_template
    assert fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert IM_END in (out / "Modelfile").read_text(encoding="utf-8")


def test_no_file_names_a_place_on_this_machine(exported):
    out = exported[2]
    texts = [
        path
        for path in out.rglob("*")
        if path.suffix in (".json", ".md", ".jinja") or path.name == "Modelfile"
    ]
    assert len(texts) > 5
    for path in texts:
        text = path.read_text(encoding="utf-8")
        assert "of a machine" not in text and "base of mine/" not in text, path
    assert {path.name for path in out.parent.iterdir() if path.name.endswith(".part")} == set()
    readable = 0o666 & ~umask()
    assert {path.stat().st_mode & 0o777 for path in out.rglob("*") if path.is_file()} == {readable}
    assert out.stat().st_mode & 0o666 == readable


def test_an_adapter_for_servers_has_linear_layers_alone(tmp_path):
    run, session, *_ = made_run(tmp_path, "llama", "lora")
    out = export_run(run, tmp_path / "x" / "out", session.model_name)
    with safe_open(out / "adapter" / "adapter_model.safetensors", "pt") as file:
        keys = set(file.keys())
    layers = [f"self_attn.{name}_proj" for name in "qkvo"] + [
        f"mlp.{name}_proj" for name in ("gate", "up", "down")
    ]
    prefix = "base_model.model.model.layers"
    assert keys == {f"{prefix}.{n}.{layer}.lora_{m}.weight" for n in (0, 1) for layer in layers for m in "AB"}
    config = json.loads((out / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert "modules_to_save" not in config and "trainable_token_indices" not in config
    assert config["base_model_name_or_path"] is None
    assert (config["r"], config["lora_alpha"], config["bias"]) == (12, 24.0, "none")
    assert sorted(config["target_modules"]) == sorted(layer.rpartition(".")[2] for layer in layers)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert (
        "vllm serve base --max-model-len 160 --enable-lora --max-lora-rank 16 --lora-modules my-run-1=adapter"
        in card
    )
    assert "Not tried in vLLM" in card and "ollama create my-run-1 -f Modelfile" in card


def test_a_run_without_gguf_says_why(tmp_path, monkeypatch, capsys):
    run, session, *_ = made_run(tmp_path, "llama", "lora")
    monkeypatch.setattr(export, "gguf_fault", lambda *_: "its positions are scaled (yarn)")
    out = export_run(run, base=session.model_name)
    assert not (out / "model.gguf").exists() and not (out / "Modelfile").exists()
    assert "There is no GGUF: its positions are scaled (yarn)." in (out / "README.md").read_text(
        encoding="utf-8"
    )
    assert "model.gguf is left out: its positions are scaled (yarn)" in capsys.readouterr().out


def test_what_gguf_cannot_hold_is_named():
    tokenizer = tiny_tokenizer()
    model = tiny_smollm2(len(tokenizer))
    assert gguf_fault(model, tokenizer) == ""
    from tokenizers import pre_tokenizers

    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    assert gguf_fault(model, tokenizer) == ""
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    assert "does not split text" in gguf_fault(model, tokenizer)
    model.config.rope_parameters["rope_type"] = "llama3"
    assert "positions are scaled (llama3)" in gguf_fault(model, tokenizer)
    model.config.model_type = "qwen2"
    assert "of type qwen2" in gguf_fault(model, tokenizer)


@pytest.mark.parametrize("verdict", ["no better", "unusable", None])
def test_a_result_that_is_not_better_is_exported_only_when_asked_for(tmp_path, capsys, verdict):
    run, session, *_ = made_run(tmp_path, "gpt2", "lora")
    if verdict:
        write_report(run, "", "", Verdict(verdict, "so"), {})
    else:
        (run / "results.json").unlink()
    said = verdict or "no verdict"
    command = ["export", str(run), "--base", session.model_name]
    assert cli.main(command) == 1
    assert f"is not shown to be better than no training (results.json: {said})" in capsys.readouterr().err
    assert not (tmp_path / "My run, 1-export").exists()
    assert cli.main([*command, "--anyway"]) == 0
    assert f"The verdict on it: **{said}**." in (tmp_path / "My run, 1-export" / "README.md").read_text(
        "utf-8"
    )


def test_the_card_of_an_export_repeats_the_caution_beside_better(tmp_path):
    run, session, *_ = made_run(tmp_path, "gpt2", "lora")
    write_report(run, "", "", Verdict("better", "so", "", "none of its 42 answers agrees"), {})
    assert cli.main(["export", str(run), "--base", session.model_name]) == 0
    card = (tmp_path / "My run, 1-export" / "README.md").read_text("utf-8")
    assert "The verdict on it: **better, but none of its 42 answers agrees**." in card


@pytest.mark.parametrize("form", ["merged", "adapter", "model.gguf"])
def test_a_form_that_answers_otherwise_leaves_nothing(tmp_path, monkeypatch, capsys, form):
    run, session, *_ = made_run(tmp_path, "llama", "lora")
    load = export.LOAD[form]

    def damaged(folder):
        model, tokenizer = load(folder)
        with torch.no_grad():
            model.get_output_embeddings().weight.mul_(-1)
        return model, tokenizer

    monkeypatch.setitem(export.LOAD, form, damaged)
    before = sorted(tmp_path.iterdir())
    assert cli.main(["export", str(run), "--base", session.model_name]) == 1
    assert (
        f"{form} does not answer as the run's model does, so nothing was written" in capsys.readouterr().err
    )
    assert sorted(tmp_path.iterdir()) == before


def test_the_command_finds_the_base_or_says_what_to_do(tmp_path, monkeypatch, capsys):
    run, session, *_ = made_run(tmp_path, "gpt2", "lora")
    other = tmp_path / "other"
    save_model(tiny_model(seed=5, vocab_size=len(tiny_tokenizer())), tiny_tokenizer(), other)
    before = sorted(tmp_path.iterdir())

    def told(*arguments):
        assert cli.main(["export", *map(str, arguments)]) == 1
        assert sorted(tmp_path.iterdir()) == before
        return capsys.readouterr().err

    monkeypatch.chdir(tmp_path / "other")
    assert "trained on base of mine. Say where that model lies: --base FOLDER" in told(run)
    assert "its weights differ" in told(run, "--base", other)
    assert f"--base {run / 'run.json'} is a file. Give the model's folder." in told(
        run, "--base", run / "run.json"
    )
    (tmp_path / "other" / "x").mkdir()
    later = tmp_path / "other" / "x" / "later"
    with FileLock(later.with_name(".later.lock"), is_singleton=False):
        assert f"another process writes {later}" in told(run, "--out", later)
    assert not later.exists()
    assert "no such folder" in told(tmp_path / "nothing")
    assert "run.json is missing, or is not the lesson's" in told(other)
    assert f"OUT: {other} exists. Name a new folder with --out." in told(run, "--out", other)
    mark(other, "export")
    assert f"OUT: {other} exists. Delete it, or name a new folder with" in told(run, "--out", other)
    settings = (run / "run.json").read_bytes()
    for damaged in ("", "{", "[]", "{}", '{"base": "pocket", "weights": 4, "method": "lora"}'):
        (run / "run.json").write_text(damaged)
        assert "run.json is missing, or is not the lesson's" in told(run)
    named = {**json.loads(settings), "base": "somebody/model"}
    (run / "run.json").write_text(json.dumps(named))
    with monkeypatch.context() as local:
        local.setattr(socket.socket, "connect", lambda *_: pytest.fail("it asked for a network"))
        assert "or fetch it from the hub: --base somebody/model" in told(run)
    (run / "run.json").write_bytes(settings)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (run / name).rename(tmp_path / "moved")
        before = sorted(tmp_path.iterdir())
        assert f"{name} is missing" in told(run, "--base", session.model_name)
        (tmp_path / "moved").rename(run / name)
    (run / "adapter_config.json").rename(tmp_path / "moved")
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install gguf accelerate" in told(run)
    monkeypatch.undo()
    (tmp_path / "moved").rename(run / "adapter_config.json")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", str(run.relative_to(tmp_path)), "--base", "base of mine"]) == 0
    assert "is ready" in capsys.readouterr().out
