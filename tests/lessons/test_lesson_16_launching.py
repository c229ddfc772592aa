"""How accelerate would read the recipes' configuration files."""

import os
from pathlib import Path

import pytest

pytest.importorskip("accelerate")

from course_utils.lessons.lesson_16.launching import launch_environment, sharding_plugin

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def test_the_sharded_file_asks_for_stage_3_of_fsdp2():
    before = dict(os.environ)
    made = launch_environment(RECIPES / "fsdp.yaml")
    assert made["ACCELERATE_USE_FSDP"] == "true" and made["FSDP_VERSION"] == "2"
    assert made["ACCELERATE_MIXED_PRECISION"] == "bf16"
    plugin = sharding_plugin(RECIPES / "fsdp.yaml")
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    assert type(plugin.cpu_offload).__name__ == "OffloadPolicy" and plugin.cpu_ram_efficient_loading  # none
    assert dict(os.environ) == before


def test_blocks_of_the_model_are_what_is_wrapped():
    import torch
    from transformers import AutoModelForCausalLM

    from course_utils.budget import load_config

    config = load_config("Qwen2.5-7B")
    config.num_hidden_layers = 3
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    plugin = sharding_plugin(RECIPES / "fsdp.yaml")
    plugin.set_auto_wrap_policy(model)
    [block] = plugin.auto_wrap_policy.keywords["transformer_layer_cls"]
    assert sum(type(module) is block for module in model.modules()) == 3


def test_the_other_file_asks_for_plain_data_parallel():
    made = launch_environment(RECIPES / "ddp.yaml")
    assert "ACCELERATE_USE_FSDP" not in made and made["ACCELERATE_MIXED_PRECISION"] == "bf16"


@pytest.mark.parametrize(
    "right, wrong", [("reshard_after", "reshared_after"), ("fsdp_version", "fsdp_verson")]
)
def test_a_misspelt_key_is_found(right, wrong, tmp_path):
    text = (RECIPES / "fsdp.yaml").read_text()
    assert right in text
    (tmp_path / "fsdp.yaml").write_text(text.replace(right, wrong))
    with pytest.raises(ValueError, match=wrong):
        launch_environment(tmp_path / "fsdp.yaml")
