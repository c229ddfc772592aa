"""Memory from a configuration, compared with published sizes, real forward passes, and measured peaks."""

import json
import os
from pathlib import Path

import pytest
import torch
from helpers import config_step
from transformers import AutoModelForCausalLM

from course_utils.budget import KNOWN_MODELS, NF4_BITS, load_config, training_need
from course_utils.memory import measure_peak, random_batch, training_memory
from course_utils.methods.lora import apply_lora, count_trainable
from course_utils.methods.quantization import bits_per_parameter

TINY_GPT2 = {
    "model_type": "gpt2",
    "n_layer": 6,
    "n_embd": 64,
    "n_head": 2,
    "vocab_size": 500,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
TINY_LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 5,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
}
PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-xl": 1_557_611_200,
    "SmolLM2-135M": 134_515_008,
    "Qwen2.5-0.5B": 494_032_768,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-2-7B": 6_738_415_616,
    "Mistral-7B": 7_241_732_096,
    "Qwen2.5-7B": 7_615_616_512,
    "Llama-3.1-8B": 8_030_261_248,
    "Qwen2.5-32B": 32_763_876_352,
    "Llama-3.1-70B": 70_553_706_496,
    "SmolLM3-3B": 3_075_098_624,
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-4B": 4_022_468_096,
    "Qwen3-8B": 8_190_735_360,
    "Qwen3-32B": 32_762_123_264,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN_MODELS)
def test_parameters_are_the_published_ones(name):
    assert training_need(name, "lora", batch_size=1, tokens=8).parameters == PUBLISHED[name]


def test_lora_on_gpt2_small_trains_a_and_b_of_every_linear_layer():
    need = training_need("gpt2", "lora", batch_size=1, tokens=8, rank=8)
    ins_and_outs = (768 + 2304) + (768 + 768) + (768 + 3072) + (3072 + 768)
    assert need.trainable == 12 * 8 * ins_and_outs
    assert (need.gradients, need.moments) == (4 * need.trainable, 8 * need.trainable)


@pytest.mark.parametrize("config", [TINY_GPT2, TINY_LLAMA], ids=lambda config: config["model_type"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_counts_are_those_of_a_real_model(config, method):
    """With six and five layers, so that the linear extrapolation from two and four is tested, too."""
    model = AutoModelForCausalLM.from_config(load_config(config), dtype=torch.float32).train()
    if method == "lora":
        apply_lora(model, rank=4)
    parts = training_memory(model, random_batch(model, 3, 40))
    need = training_need(config, method, batch_size=3, tokens=40, rank=4)
    assert need.trainable == count_trainable(model)[0]
    assert (need.weights, need.gradients, need.moments) == (
        parts["weights"],
        parts["gradients"],
        parts["moments"],
    )
    # without values, transformers cannot see that nothing is padded: it makes a mask and repeats keys
    assert parts["activations"] <= need.saved <= 1.12 * parts["activations"]


def test_checkpointing_saves_activations_and_adds_no_weights():
    plain, saving = (
        training_need(TINY_LLAMA, "lora", tokens=64, checkpointing=flag) for flag in (False, True)
    )
    assert saving.saved < 0.6 * plain.saved
    assert saving.step < plain.step
    assert saving.weights == plain.weights


def test_quantised_weights_take_four_bits_and_their_scales():
    """Only weights of the linear layers differ: 4.127 bits against 32."""
    config = load_config(TINY_GPT2)
    lora, qlora = (training_need(config, method, tokens=64) for method in ("lora", "qlora"))
    linear = 6 * 12 * 64 * 64
    assert bits_per_parameter(4, 64, True) == pytest.approx(NF4_BITS)
    assert lora.weights - qlora.weights == pytest.approx(linear * (32 - NF4_BITS) / 8, rel=1e-3)


def test_mixed_precision_halves_an_adapters_base():
    fp32, mixed = (training_need(TINY_LLAMA, "lora", precision=p) for p in ("fp32", "mixed"))
    assert fp32.weights - mixed.weights == 2 * fp32.parameters


def test_need_grows_with_batch_and_length():
    small, batch, length = (
        training_need(TINY_GPT2, batch_size=b, tokens=t).step for b, t in ((2, 32), (4, 32), (2, 64))
    )
    assert batch > 1.5 * small and length > 1.5 * small


def test_a_configuration_by_file_and_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY_LLAMA))
    expected = training_need(TINY_LLAMA)
    assert training_need(tmp_path) == training_need(str(tmp_path / "config.json")) == expected


def test_what_cannot_be_read_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="Mistral-7B"):
        training_need("no/such-model")
    with pytest.raises(ValueError, match="method is one of"):
        training_need(TINY_GPT2, "adapter")
    with pytest.raises(ValueError, match="context of 64"):
        training_need(TINY_GPT2, tokens=65)
    with pytest.raises(ValueError, match="tokens >= 2"):
        training_need(TINY_GPT2, tokens=1)


@pytest.mark.night
@pytest.mark.parametrize(
    "source, method, batch_size, tokens",
    [
        ("pocket", "full", 8, 128),
        ("pocket", "lora", 8, 128),
        ("pocket", "qlora", 8, 128),
        ("pocket", "full", 4, 250),
        ("gpt2", "lora", 2, 128),
        ("SmolLM2-135M", "lora", 1, 256),
    ],
)
def test_measured_peaks_are_within_fifteen_per_cent(source, method, batch_size, tokens, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, Path(__file__).parents[1:3])))
    settings = {"source": source, "method": method, "batch_size": batch_size, "tokens": tokens}
    measured = measure_peak(config_step, **settings).total
    assert training_need(**settings).total == pytest.approx(measured, rel=0.15)


@pytest.mark.slow
def test_each_kind_of_layer_is_counted_in_its_share():
    """Twelve layers, three in four with linear attention, from four and eight of them."""
    linear = {f"linear_num_{name}_heads": 2 for name in ("key", "value")}
    linear |= {f"linear_{name}_head_dim": 8 for name in ("key", "value")}
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "vocab_size": 100}
    sizes |= {"num_key_value_heads": 1, "head_dim": 16, "num_hidden_layers": 12}
    config = load_config({"model_type": "qwen3_5_text", **sizes, **linear})
    assert {*config.layer_types} == {"linear_attention", "full_attention"}
    need = training_need(config, "full", 1, 8)
    assert need.parameters == AutoModelForCausalLM.from_config(config).num_parameters()
