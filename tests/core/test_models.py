import json
import shutil
import socket

import psutil
import pytest
import torch
from helpers import CONTEXT, put_in_cache
from transformers import AutoModelForCausalLM, BloomConfig, GPT2Config, GPT2LMHeadModel, LlamaConfig

from course_utils import models
from course_utils.methods.lora import attention_targets, default_lora_targets
from course_utils.model_files import ModelError, sha256, write_checksums, wrong_checksums
from course_utils.models import load_model, resolve


@pytest.fixture
def folder(tmp_path, model, tokenizer):
    """A saved GPT-2 in fp16, with dropout in its configuration and gelu_new, like the real one."""
    model.config.update({"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1})
    path = tmp_path / "model"
    model.half().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def course_home(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "home"


def message(name):
    with pytest.raises(ModelError) as caught:
        load_model(name)
    return str(caught.value)


def test_a_loaded_model_is_ready_to_be_tuned(folder):
    model, tokenizer = load_model(str(folder))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training and all(parameter.requires_grad for parameter in model.parameters())
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
    assert tokenizer.pad_token == tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer.padding_side == "right"


def test_the_faster_activation_gives_the_same_logits(folder):
    reference = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    assert reference.config.activation_function == "gelu_new"
    model, _ = load_model(str(folder))
    assert model.config.activation_function == "gelu_pytorch_tanh"
    ids = torch.randint(0, model.config.vocab_size, (4, CONTEXT))
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, reference(ids).logits, atol=1e-5, rtol=0)


def test_another_activation_is_left_alone(tmp_path, tokenizer):
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, activation_function="relu")
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_model(str(tmp_path))[0].config.activation_function == "relu"


def test_each_load_is_a_fresh_copy(folder):
    first, _ = load_model(str(folder))
    with torch.no_grad():
        first.transformer.wte.weight.zero_()
    assert load_model(str(folder))[0].transformer.wte.weight.abs().sum() > 0


def test_loading_prints_nothing(folder, capfd):
    load_model(str(folder))
    assert capfd.readouterr() == ("", "")


def test_a_relative_folder_is_found(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert resolve("model") == ("folder", folder, "a local folder")


def test_gpt2_comes_from_the_hub_cache_or_from_fetch(folder, tmp_path, course_home):
    assert resolve("gpt2").place == "openai-community/gpt2"
    cached = put_in_cache(folder, tmp_path / "hub", "openai-community/gpt2")
    assert resolve("gpt2").place == cached
    assert load_model("gpt2")[0].config.n_embd == 32
    shutil.copytree(folder, course_home / "models" / "gpt2")
    assert resolve("gpt2").place == course_home / "models" / "gpt2"


def test_auto_is_pocket_on_a_cpu_and_gpt2_with_an_accelerator_if_it_is_on_disk(folder, tmp_path, course_home):
    assert resolve("auto", "cpu").kind == "pocket"
    assert resolve("auto", "cuda").kind == "pocket" and "fetch gpt2" in resolve("auto", "cuda").why
    put_in_cache(folder, tmp_path / "hub", "gpt2")
    assert resolve("auto", "cpu").kind == "pocket"
    assert resolve("auto", "cuda").kind == "gpt2"


def test_a_hub_id_comes_from_the_cache(folder, tmp_path, course_home):
    put_in_cache(folder, tmp_path / "hub", "someone/tiny")
    assert load_model("someone/tiny")[0].config.n_embd == 32
    assert resolve("someone/tiny").name.endswith("abc123")


def test_the_shipped_model_is_whole_and_loads():
    assert not wrong_checksums(models.POCKET)
    model, _ = load_model("pocket")
    assert model.config.model_type == "gpt2"


def test_an_unknown_name_gets_the_list_and_a_near_match():
    text = message("gtp2")
    assert "Unknown model 'gtp2'. Did you mean gpt2?" in text
    assert "auto, pocket, pocket-s, pocket-l, gpt2, smollm2, a local folder that exists, or a hub" in text
    assert "COURSE_MODEL" in text


def test_a_folder_that_is_not_there_is_named(tmp_path):
    assert f"There is no folder {tmp_path / 'nowhere'}." in message(str(tmp_path / "nowhere"))


def test_smollm2_says_how_to_get_it(course_home):
    assert f"looked in {course_home / 'models' / 'smollm2'}" in message("smollm2")
    assert "python -m course_utils fetch smollm2" in message("smollm2")


def test_a_folder_without_a_model(tmp_path):
    assert "config.json is missing" in message(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "holds an adapter, not a model" in message(str(tmp_path))


def test_a_missing_weight_file_is_named(folder):
    (folder / "model.safetensors").unlink()
    assert message(str(folder)).startswith(f"{folder / 'model.safetensors'} is missing.")


def test_a_missing_shard_is_named(folder):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert message(str(folder)).startswith(f"{folder / 'model-2.safetensors'} is missing.")


def test_a_damaged_weight_file_is_named(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert f"A weight file in {folder} is damaged" in message(str(folder))


def test_weights_that_lack_a_tensor_are_refused(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.h.1.attn.c_attn.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    text = message(str(folder))
    assert "lack 1 tensor(s)" in text and "transformer.h.1.attn.c_attn.weight" in text


def changed(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return message(str(folder))


def test_a_configuration_of_fewer_layers_is_refused(folder):
    text = changed(folder, n_layer=1)
    assert "have 11 tensor(s) that config.json does not ask for, first transformer.h.1." in text


def test_sizes_that_differ_are_named(folder, tokenizer):
    text = changed(folder, n_positions=64)
    assert f"{folder}: transformer.wpe.weight has the shape [128, 32], config.json asks for [64, 32]" in text


@pytest.mark.parametrize(
    "settings",
    [{"n_head": 0}, {"n_head": -2}, {"n_head": "2"}, {"n_embd": 0}, {"dtype": "abc"}, {"vocab_size": None}],
    ids=str,
)
def test_odd_settings_are_a_model_error(folder, settings):
    assert f"{folder} does not load as a language model; look at config.json" in changed(folder, **settings)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 1, "b": "c"}}', "[" * 10**5]
)
def test_a_broken_index_is_named(folder, content):
    (folder / "model.safetensors.index.json").write_text(content)
    assert message(str(folder)).startswith(f"{folder / 'model.safetensors.index.json'} is damaged")


def test_an_index_of_pickles_is_refused(folder):
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model.bin"}}')
    assert "names model.bin, but should name safetensors" in message(str(folder))


def test_a_tokenizer_that_is_damaged_is_named(folder):
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "BPE"')
    assert f"{folder} does not load" in message(str(folder)) and "tokenizer.json" in message(str(folder))


def test_weights_that_are_not_finite_are_refused(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.ln_f.bias"][3] = torch.nan
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert f"The weights in {folder} are not finite, first those of transformer.ln_f.bias" in message(
        str(folder)
    )


@pytest.mark.parametrize(
    "sizes, asked",
    [
        ({"n_layer": 10**6}, "1000000 layers"),
        ({"n_layer": 10**12}, "1000000000000 layers"),
        ({"n_embd": 10**6}, "values"),
        ({"n_inner": 10**9}, "values"),
        ({"vocab_size": 10**12}, "values"),
        ({"n_positions": 10**9}, "values"),
    ],
)
def test_a_model_larger_than_its_weights_is_not_built(folder, sizes, asked):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | sizes))
    before = psutil.Process().memory_info().rss
    text = message(str(folder))
    assert f"{folder / 'config.json'} asks for" in text and f"{asked}, the weights beside it have" in text
    assert psutil.Process().memory_info().rss - before < 2**28


@pytest.mark.parametrize("content", ["{", "[1]", "3", "[" * 10**5])
def test_a_damaged_list_of_checksums_is_named(folder, content):
    (folder / "checksums.json").write_text(content)
    assert f"{folder / 'checksums.json'} is damaged" in message(str(folder))


def test_a_fetched_model_is_checked_when_it_is_loaded(folder):
    write_checksums(folder)
    load_model(str(folder))
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert f"{folder / 'model.safetensors'} is damaged" in message(str(folder))


def test_every_file_of_the_shipped_model_has_a_checksum():
    sums = json.loads((models.POCKET / "checksums.json").read_text())
    assert {*sums, "checksums.json"} == {path.name for path in models.POCKET.iterdir()}


def test_a_pickle_is_refused_and_not_opened(folder):
    class Trap:
        def __reduce__(self):
            return (open, (str(folder / "opened"), "w"))

    (folder / "model.safetensors").unlink()
    torch.save(Trap(), folder / "pytorch_model.bin")
    text = message(str(folder))
    assert "only as a pickle (pytorch_model.bin)" in text and "Get the safetensors version" in text
    assert not (folder / "opened").exists()


def test_code_that_comes_with_a_model_is_not_run(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "trap.A", "AutoModelForCausalLM": "trap.B"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "trap.py").write_text(f"open({str(folder / 'opened')!r}, 'w')\n")
    assert "does not load as a language model" in message(str(folder))
    assert not (folder / "opened").exists()


def test_a_damaged_shipped_file_is_named(folder, monkeypatch):
    sums = {path.name: sha256(path) for path in folder.iterdir()}
    (folder / "checksums.json").write_text(json.dumps(sums))
    monkeypatch.setattr(models, "POCKET", folder)
    monkeypatch.setitem(models.SHIPPED_MODELS, "pocket", folder)
    assert not wrong_checksums(models.POCKET)
    load_model("pocket")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    text = message("pocket")
    assert f"{folder / 'model.safetensors'} is damaged" in text and f"git checkout -- {folder}" in text
    (folder / "tokenizer.json").unlink()
    assert f"{folder / 'tokenizer.json'} is missing" in message("pocket")


def test_an_unreachable_hub_is_reported_within_seconds(course_home, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts but never answers
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        text = message("someone/something")
    assert "someone/something is not on disk, and the Hugging Face hub was not reached within 3 s" in text
    assert 'MODEL = "pocket" needs no network' in text


def test_offline_mode_is_named_as_the_reason(course_home, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in message("gpt2")
    assert not any((course_home / "models").glob("gpt2*/"))


def test_lora_targets_by_architecture(model):
    assert default_lora_targets(model) == ["c_attn", "c_fc", "c_proj"]
    assert attention_targets(model) == ["c_attn"]
    config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    llama = AutoModelForCausalLM.from_config(config)
    assert default_lora_targets(llama) == "down_proj gate_proj k_proj o_proj q_proj up_proj v_proj".split()
    assert attention_targets(llama) == ["q_proj", "k_proj", "v_proj"]
    bloom = AutoModelForCausalLM.from_config(BloomConfig(vocab_size=8, hidden_size=8, n_layer=1, n_head=2))
    assert default_lora_targets(bloom) == ["dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value"]
    empty = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=8, n_layer=0, n_head=2))
    with pytest.raises(ModelError, match=r"No linear layers .* of this gpt2 model.*candidates: lm_head"):
        default_lora_targets(empty)
