import copy
import json
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import tiny_gpt2, tiny_llama
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

from course_utils.log_probs import FrozenHeadLogProbs
from course_utils.methods import lora, lora_files
from course_utils.methods.lora_fast import LowRankLinear, speed_up
from course_utils.training import scored_lm_loss

MODELS = {"gpt2": (tiny_gpt2, ["c_attn"]), "llama": (tiny_llama, ["q_proj", "v_proj"])}
IDS = torch.randint(1, 64, (3, 10), generator=torch.Generator().manual_seed(1))


def fill_b(model, seed=0):
    """A random B, as after training."""
    generator = torch.Generator().manual_seed(seed)
    for layer in lora.lora_layers(model).values():
        layer.lora_B.data = 0.1 * torch.randn(layer.lora_B.shape, generator=generator)
    return model


def adapted(make, targets, rank=4, alpha=8.0, seed=0, **options):
    return fill_b(lora.apply_lora(make(), rank, alpha, targets, **options), seed)


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.fixture(params=MODELS)
def case(request):
    return MODELS[request.param]


# --- the layer


def conv1d(n_in, n_out):
    layer = Conv1D(n_out, n_in)
    nn.init.normal_(layer.bias)
    return layer


LAYERS = [nn.Linear(6, 10), nn.Linear(6, 10, bias=False), conv1d(6, 10), conv1d(8, 8)]


@pytest.mark.parametrize("original", LAYERS)
def test_layer_is_the_sum_written_out(original):
    layer = lora.LoRALinear(original, rank=3, alpha=6.0)
    layer.lora_B.data.normal_()
    n_in, n_out = lora.layer_sizes(original)
    assert layer.lora_A.shape == (3, n_in) and layer.lora_B.shape == (n_out, 3)
    x = torch.randn(2, 5, n_in)
    delta = torch.zeros(n_out, n_in)
    for k in range(3):
        delta += 2.0 * torch.outer(layer.lora_B[:, k], layer.lora_A[k]).detach()
    weight = original.weight.T if isinstance(original, Conv1D) else original.weight
    bias = 0 if original.bias is None else original.bias
    expected = torch.einsum("oi,bti->bto", weight + delta, x) + bias
    torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=1e-5)
    assert layer.weight.shape == original.weight.shape
    effective = layer.weight.T if isinstance(original, Conv1D) else layer.weight
    torch.testing.assert_close(effective, weight + delta, atol=1e-6, rtol=1e-5)


def test_start_is_the_original_and_only_b_gets_a_gradient():
    layer = lora.LoRALinear(nn.Linear(6, 10), rank=3)
    x = torch.randn(4, 6)
    assert torch.equal(layer(x), layer.original(x))
    layer(x).square().sum().backward()
    assert layer.lora_B.grad.abs().max() > 0
    assert layer.lora_A.grad.abs().max() == 0
    assert layer.original.weight.grad is None and layer.original.bias.grad is None


def test_a_is_uniform_with_std_of_one_over_sqrt_three_in():
    layer = lora.LoRALinear(nn.Linear(300, 400), rank=200)
    assert layer.lora_A.std().item() == pytest.approx((3 * 300) ** -0.5, rel=0.02)
    assert layer.lora_A.abs().max() <= 300**-0.5


def test_scales():
    assert lora.LoRALinear(nn.Linear(64, 64), rank=16, alpha=32.0).scale == 2.0
    assert lora.LoRALinear(nn.Linear(64, 64), rank=16, alpha=32.0, rslora=True).scale == 8.0


def test_dropout_only_in_training_and_only_on_the_update():
    layer = lora.LoRALinear(nn.Linear(50, 50), rank=4, dropout=0.5)
    layer.lora_B.data.normal_()
    x = torch.randn(2, 50)
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    layer.train()
    assert not torch.equal(layer(x), layer(x))
    layer.lora_B.data.zero_()
    assert torch.equal(layer(x), layer.original(x))


def test_dropout_falls_on_the_input_of_a_not_on_its_output():
    """By the definition; at rank 1, dropout on A x would give only two values, 0 and twice the change."""
    layer = lora.LoRALinear(nn.Linear(50, 50), rank=1, dropout=0.5).train()
    layer.lora_B.data.normal_()
    x = torch.randn(1, 50)
    torch.manual_seed(7)
    output = layer(x)
    torch.manual_seed(7)
    dropped = nn.functional.dropout(x, 0.5)
    change = layer.scale * dropped @ layer.lora_A.T @ layer.lora_B.T
    torch.testing.assert_close(output, layer.original(x) + change)
    draws = {round((layer(x) - layer.original(x))[0, 0].item(), 4) for _ in range(20)}
    assert len(draws) > 10


def test_bf16_base_keeps_its_dtype():
    layer = lora.LoRALinear(nn.Linear(6, 10).bfloat16(), rank=3)
    layer.lora_B.data.normal_()
    y = layer(torch.randn(4, 6).bfloat16())
    assert y.dtype == layer.weight.dtype == torch.bfloat16 and layer.lora_A.dtype == torch.float32


@pytest.mark.parametrize("rank", [0, -1, 7, 2.0])
def test_rank_must_fit(rank):
    with pytest.raises(ValueError, match="rank must be a whole number from 1 to 6"):
        lora.LoRALinear(nn.Linear(6, 10), rank=rank)


def test_unsupported_layer():
    with pytest.raises(TypeError, match=r"nn\.Linear and Conv1D layers, not Embedding"):
        lora.LoRALinear(nn.Embedding(6, 10), rank=2)


# --- the model


def test_apply_freezes_and_counts(case):
    make, targets = case
    model = make()
    before = sum(p.numel() for p in model.parameters())
    base = logits(model)
    assert lora.apply_lora(model, 4, 8.0, targets) is model
    assert torch.equal(logits(model), base)
    sizes = [lora.layer_sizes(layer.original) for layer in lora.lora_layers(model).values()]
    assert len(sizes) == 2 * len(targets)
    added = sum(4 * (n_in + n_out) for n_in, n_out in sizes)
    assert lora.count_trainable(model) == (added, before + added)
    assert all(p.requires_grad == ("lora_" in name) for name, p in model.named_parameters())


def test_counts_of_gpt2_small():
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
    model.tie_weights()
    lora.apply_lora(model, 8, 16.0, ["c_attn"])
    trainable, total = lora.count_trainable(model)
    assert trainable == 294_912 and total - trainable == 124_439_808


def test_by_default_all_linear_layers_of_the_blocks(case):
    make, targets = case
    model = make()
    linear = {name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | Conv1D)}
    assert set(lora.find_targets(model)) == linear - {"lm_head"}
    assert set(lora.find_targets(model)) > set(lora.find_targets(model, targets))


def test_targets_match_whole_name_parts():
    model = tiny_gpt2()
    assert lora.find_targets(model, ["attn.c_proj"]) == [f"transformer.h.{i}.attn.c_proj" for i in (0, 1)]
    assert len(lora.find_targets(model, "c_proj")) == 4
    with pytest.raises(ValueError, match="No layer is named 'attn_c'"):
        lora.find_targets(model, ["attn_c"])


@pytest.mark.parametrize("targets", [["W_q"], ["c_attn", "W_q"]])
def test_no_match_names_candidates_and_changes_nothing(targets):
    model = tiny_gpt2()
    with pytest.raises(ValueError, match=r"No layer is named 'W_q'.*c_attn \(32 to 96, 2x\)"):
        lora.apply_lora(model, 4, 8.0, targets)
    assert not lora.lora_layers(model) and all(p.requires_grad for p in model.parameters())


def test_refusals_change_nothing():
    model = tiny_gpt2()
    with pytest.raises(ValueError, match="from 1 to 32"):
        lora.apply_lora(model, 33, 8.0, ["c_attn"])
    with pytest.raises(ValueError, match="tied"):
        lora.apply_lora(model, 4, 8.0, ["lm_head"])
    with pytest.raises(TypeError, match=r"transformer\.h\.0\.mlp.*Candidates"):
        lora.apply_lora(model, 4, 8.0, ["mlp"])
    with pytest.raises(ValueError, match="empty"):
        lora.apply_lora(model, 4, 8.0, [])
    assert not lora.lora_layers(model) and all(p.requires_grad for p in model.parameters())
    lora.apply_lora(model, 4, 8.0, ["c_attn"])
    with pytest.raises(ValueError, match="already has LoRA layers"):
        lora.apply_lora(model, 4, 8.0, ["c_proj"])


def test_no_lora_layers_is_an_error():
    for function in (lora.merge_lora, lora.unwrap_lora, lora.get_adapter):
        with pytest.raises(ValueError, match="call apply_lora"):
            function(tiny_gpt2())


def test_merge_unmerge_unwrap(case):
    make, targets = case
    model = adapted(make, targets)
    with_adapter, base = logits(model), logits(make())
    assert (with_adapter - base).abs().max() > 1e-3
    weights = {name: layer.original.weight.clone() for name, layer in lora.lora_layers(model).items()}

    lora.merge_lora(model)
    torch.testing.assert_close(logits(model), with_adapter, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="is merged"):
        lora.merge_lora(model)
    with pytest.raises(ValueError, match="is merged"), lora.adapter_off(model):
        pass
    lora.unmerge_lora(model)
    assert all(torch.equal(lora.lora_layers(model)[name].original.weight, w) for name, w in weights.items())
    assert torch.equal(logits(model), with_adapter)
    with pytest.raises(ValueError, match="is not merged"):
        lora.unmerge_lora(model)

    lora.merge_lora(model)
    lora.unwrap_lora(model)
    assert model.state_dict().keys() == make().state_dict().keys()
    torch.testing.assert_close(logits(model), with_adapter, atol=1e-6, rtol=0)


def test_unwrap_without_merge_is_the_base(case):
    make, targets = case
    assert torch.equal(logits(lora.unwrap_lora(adapted(make, targets))), logits(make()))


def test_adapter_off_is_the_base_bit_for_bit_even_after_an_error(case):
    make, targets = case
    model = adapted(make, targets)
    with_adapter = logits(model)
    with pytest.raises(RuntimeError, match="inside"), lora.adapter_off(model):
        assert torch.equal(logits(model), logits(make()))
        layer = next(iter(lora.lora_layers(model).values()))
        assert layer.weight is layer.original.weight
        raise RuntimeError("inside")
    assert torch.equal(logits(model), with_adapter)


def test_adapter_off_within_adapter_off_leaves_it_off(case):
    make, targets = case
    model = adapted(make, targets)
    with_adapter = logits(model)
    with lora.adapter_off(model):
        with lora.adapter_off(model):
            pass
        assert torch.equal(logits(model), logits(make()))
    assert torch.equal(logits(model), with_adapter)


def test_training_moves_the_adapter_alone(case):
    make, targets = case
    model = lora.apply_lora(make(), 4, 8.0, targets)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(20):
        loss = model(IDS, labels=IDS).loss
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < losses[0] - 0.1
    assert all(torch.equal(dict(model.named_parameters())[n], p) for n, p in frozen.items())


# --- named adapters


def test_swap_and_swap_back(case):
    make, targets = case
    model = adapted(make, targets, seed=1)
    adapters = lora.Adapters(model)
    adapters.add("formal")
    formal = logits(model)
    for layer in lora.lora_layers(model).values():
        layer.lora_B.data.zero_()
    assert torch.equal(logits(model), logits(make()))
    fill_b(model, seed=2)
    adapters.add("pirate")
    pirate = logits(model)
    adapters.set("formal")
    assert torch.equal(logits(model), formal)
    fill_b(model, seed=3)
    adapters.set("formal")
    assert torch.equal(logits(model), formal)
    adapters.set("pirate")
    assert torch.equal(logits(model), pirate)
    with pytest.raises(KeyError, match=r"'neither'.*\['formal', 'pirate'\]"):
        adapters.set("neither")


def test_weighted_sum_is_the_sum_of_deltas(case):
    make, targets = case
    model = adapted(make, targets, rank=2, alpha=8.0, seed=1)
    other = adapted(make, targets, rank=3, alpha=5.0, seed=2, rslora=True)
    names = list(lora.lora_layers(model))
    deltas = [
        {n: (x.weight - x.original.weight).detach() for n, x in lora.lora_layers(m).items()}
        for m in (model, other)
    ]
    adapters = lora.Adapters(model)
    adapters.add("a")
    adapters.add("b", lora.get_adapter(other))
    adapters.weighted_sum({"a": 0.75, "b": -0.5})
    for name in names:
        layer = lora.lora_layers(model)[name]
        delta = (layer.weight - layer.original.weight).detach()
        torch.testing.assert_close(delta, 0.75 * deltas[0][name] - 0.5 * deltas[1][name], atol=1e-6, rtol=0)
    adapters.set("b")
    torch.testing.assert_close(logits(model), logits(other), atol=1e-6, rtol=0)


def test_a_sum_of_no_adapters_is_refused(case):
    with pytest.raises(ValueError, match="at least one adapter"):
        lora.weighted_sum([], [])
    with pytest.raises(ValueError, match="at least one adapter"):
        lora.Adapters(adapted(*case)).weighted_sum({})


def test_a_layer_that_the_adapter_lacks_is_left_alone():
    model = adapted(tiny_gpt2, ["c_attn", "attn.c_proj"])
    narrow = adapted(tiny_gpt2, ["c_attn"], rank=2, seed=5)
    lora.set_adapter(model, lora.get_adapter(narrow))
    torch.testing.assert_close(logits(model), logits(narrow), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match=r"attn\.c_proj, which has no LoRA here"):
        lora.set_adapter(narrow, lora.get_adapter(adapted(tiny_gpt2, ["c_attn", "attn.c_proj"])))


def test_adapter_of_another_shape_is_refused():
    llama = lora.get_adapter(adapted(*MODELS["llama"]))
    with pytest.raises(ValueError, match=r"there is no layer model\.layers"):
        lora.Adapters(adapted(*MODELS["gpt2"])).add("x", llama)


# --- files


def test_save_and_load_round_trip(case, tmp_path):
    make, targets = case
    model = adapted(make, targets, rank=3, alpha=7.0, rslora=True, dropout=0.1).eval()
    folder = lora_files.save_adapter(model, tmp_path / "adapter")
    assert sorted(f.name for f in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    fresh = lora_files.load_adapter(make(), folder)
    assert torch.equal(logits(fresh), logits(model))
    assert [p.requires_grad for p in fresh.parameters()] == [p.requires_grad for p in model.parameters()]
    again = adapted(make, targets, rank=2, seed=9)
    assert torch.equal(logits(lora_files.load_adapter(again, folder)), logits(model))
    assert json.loads((folder / "adapter_config.json").read_text())["target_modules"] == sorted(targets)


def test_short_targets_do_not_catch_other_layers(tmp_path):
    model = adapted(tiny_gpt2, ["attn.c_proj"])
    lora_files.save_adapter(model, tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == ["attn.c_proj"]
    one = adapted(tiny_gpt2, ["h.1.attn.c_attn"])
    lora_files.save_adapter(one, tmp_path)
    name = "transformer.h.1.attn.c_attn"
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == [name]


def test_adapter_for_other_weights_is_refused_and_nothing_changes(case, tmp_path):
    make, targets = case
    lora_files.save_adapter(adapted(make, targets), tmp_path)
    other = make(seed=1)
    with pytest.raises(ValueError, match="trained on other weights"):
        lora_files.load_adapter(other, tmp_path)
    assert not lora.lora_layers(other)
    lora_files.load_adapter(other, tmp_path, check_base=False)
    assert lora.lora_layers(other)


def test_adapter_for_another_architecture_or_width_is_refused(tmp_path):
    lora_files.save_adapter(adapted(*MODELS["gpt2"]), tmp_path)
    with pytest.raises(ValueError, match=r"there is no layer transformer\.h\.0\.attn\.c_attn"):
        lora_files.load_adapter(tiny_llama(), tmp_path)
    config = GPT2Config(n_layer=2, n_embd=48, n_head=2, vocab_size=64, bos_token_id=0, eos_token_id=0)
    wide = GPT2LMHeadModel(config)
    with pytest.raises(ValueError, match=r"takes 48 to 144 values, the adapter has A \[4, 32\]"):
        lora_files.load_adapter(wide, tmp_path)


def edit_config(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_damaged_and_unsupported_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no adapter_config\.json"):
        lora_files.read_adapter(tmp_path)
    lora_files.save_adapter(adapted(*MODELS["gpt2"]), tmp_path)
    weights = (tmp_path / "adapter_model.safetensors").read_bytes()

    edit_config(tmp_path, use_dora=True)
    with pytest.raises(ValueError, match="use_dora"):
        lora_files.read_adapter(tmp_path)
    edit_config(tmp_path, use_dora=False, bias="all")
    with pytest.raises(ValueError, match="bias"):
        lora_files.read_adapter(tmp_path)
    edit_config(tmp_path, bias="none", peft_type="PROMPT_TUNING")
    with pytest.raises(ValueError, match="PROMPT_TUNING"):
        lora_files.read_adapter(tmp_path)
    edit_config(tmp_path, peft_type="LORA")

    tensors = load_file(tmp_path / "adapter_model.safetensors")
    missing = {k: v for k, v in tensors.items() if not k.endswith("h.1.attn.c_attn.lora_B.weight")}
    save_file(missing, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"missing for layer 'transformer\.h\.1\.attn\.c_attn'"):
        lora_files.read_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match="damaged"):
        lora_files.read_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(weights)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        lora_files.read_adapter(tmp_path)


def refused(folder):
    with pytest.raises(ValueError) as error:
        lora_files.read_adapter(folder)
    return str(error.value)


@pytest.mark.parametrize(
    "name, value",
    [
        ("layers_to_transform", [0]),
        ("layers_pattern", "h"),
        ("layer_replication", [[0, 2]]),
        ("exclude_modules", ["c_proj"]),
        ("alora_invocation_tokens", [1, 2]),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "olora"),
        ("loftq_config", {"bits": 4}),
        ("target_parameters", ["w"]),
        ("rank_pattern", {"c_attn": 2}),
        ("a_setting_of_tomorrow", 1),
        ("trainable_token_indices", [1]),
    ],
)
def test_settings_that_are_not_understood_are_refused_by_name(tmp_path, name, value):
    lora_files.save_adapter(adapted(*MODELS["gpt2"]), tmp_path)
    edit_config(tmp_path, **{name: value})
    assert f"uses {name}, unsupported here" in refused(tmp_path)


@pytest.mark.parametrize(
    "name, value",
    [
        ("target_modules", ".*attn"),
        ("target_modules", "all-linear"),
        ("target_modules", ["c_fc"]),
        ("target_modules", [3]),
        ("target_modules", []),
        ("r", "4"),
        ("r", 0),
        ("lora_alpha", None),
        ("lora_alpha", math.inf),
        ("lora_alpha", 10**400),
        ("use_rslora", "yes"),
        ("task_type", "SEQ_CLS"),
    ],
)
def test_odd_values_are_refused_by_name(tmp_path, name, value):
    lora_files.save_adapter(adapted(*MODELS["gpt2"]), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    save_file(load_file(file), file)  # like PEFT: without our metadata
    lora_files.read_adapter(tmp_path)
    edit_config(tmp_path, **{name: value})
    assert name in refused(tmp_path) and "adapter_config.json" in refused(tmp_path)


@pytest.mark.parametrize("name, value", [("r", 8), ("lora_alpha", 32), ("use_rslora", True)])
def test_weights_beside_the_config_of_another_adapter_are_refused(tmp_path, name, value):
    lora_files.save_adapter(adapted(*MODELS["gpt2"]), tmp_path)
    edit_config(tmp_path, **{name: value})
    assert f"{name} is {value} in adapter_config.json" in refused(tmp_path)
    assert "The two files belong to different adapters" in refused(tmp_path)


def test_flipped_bytes_of_an_adapter_are_seen(tmp_path):
    lora_files.save_adapter(adapted(*MODELS["gpt2"]), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    whole = file.read_bytes()
    start = len(whole) // 2
    for place in range(start, len(whole), (len(whole) - start) // 20):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert "is damaged: adapter_model.safetensors has changed" in refused(tmp_path)


@pytest.mark.parametrize("name", [b"base_sha256", b"tensors_sha256"])
def test_an_adapter_that_lost_a_checksum_is_refused(tmp_path, name):
    lora_files.save_adapter(adapted(*MODELS["gpt2"]), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes().replace(name, name[:-1] + b"7"))
    assert "is damaged: adapter_model.safetensors has changed" in refused(tmp_path)


def test_values_that_are_not_finite_are_refused(tmp_path):
    lora_files.save_adapter(adapted(*MODELS["gpt2"]), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = math.nan
    save_file(tensors, file)
    assert f"the values of {name} are not finite numbers" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"[]", b"\xff", b"[" * 100_000, b'{"r": ' + b"9" * 5000 + b"}"])
def test_a_config_that_is_no_object_is_named(tmp_path, content):
    lora_files.save_adapter(adapted(*MODELS["gpt2"]), tmp_path)
    (tmp_path / "adapter_config.json").write_bytes(content)
    assert f"The adapter in {tmp_path} is damaged" in refused(tmp_path)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("/folders/ann/models/mine", "mine"),
        ("/folders/ann/.cache/hub/models--a--b/snapshots/0123", "a/b"),
        ("owner/name", "owner/name"),
        ("", None),
    ],
)
def test_no_absolute_path_is_handed_on(tmp_path, name, expected):
    model = adapted(*MODELS["gpt2"])
    model.name_or_path = name
    lora_files.save_adapter(model, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == expected


def test_merged_models_are_not_saved(tmp_path):
    model = adapted(*MODELS["gpt2"])
    lora.merge_lora(model)
    with pytest.raises(ValueError, match="unmerge_lora"):
        lora_files.save_adapter(model, tmp_path)


# --- the fast path


def batch(right=True):
    mask = torch.ones_like(IDS)
    for row, length in enumerate((10, 7, 4)):
        if right:
            mask[row, length:] = 0
        else:
            mask[row, : 10 - length] = 0
    labels = IDS.masked_fill(mask == 0, -100)
    labels[0, :4] = -100
    return {"input_ids": IDS, "attention_mask": mask, "labels": labels}


def plain_loss(model, batch):
    out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    targets = batch["labels"][:, 1:]
    loss = F.cross_entropy(out.transpose(1, 2), targets, reduction="sum", ignore_index=-100)
    return loss, (targets != -100).sum()


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_fast_step_gives_the_same_loss_and_gradients(case, right, training):
    make, targets = case
    model = adapted(make, targets).train(training)
    fast = speed_up(copy.deepcopy(model))
    loss, count = plain_loss(model, batch(right))
    fast_loss, fast_count = scored_lm_loss(fast, batch(right))
    assert fast_count == count
    torch.testing.assert_close(fast_loss / count, loss / count, atol=1e-6, rtol=0)
    (loss / count).backward()
    (fast_loss / count).backward()
    for (name, p), (_, q) in zip(model.named_parameters(), fast.named_parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None) == ("lora_" not in name)
        if p.grad is not None:
            assert p.grad.abs().max() > 1e-4
            torch.testing.assert_close(q.grad, p.grad, atol=1e-6, rtol=0)


@pytest.mark.parametrize("original", [nn.Linear(6, 10), nn.Linear(6, 10, bias=False), conv1d(6, 10)])
def test_fused_product_against_finite_differences(original):
    original = original.double().requires_grad_(False)
    sizes = (7, 6), (3, 6), (10, 3)
    x, A, B = (torch.randn(*size, dtype=torch.float64, requires_grad=True) for size in sizes)

    def function(x, A, B):
        return LowRankLinear.apply(x, original, A, B, 0.5)

    assert torch.autograd.gradcheck(function, (x, A, B))


@pytest.mark.parametrize("rows", [1, 128, 300])
def test_frozen_head_loss_is_the_cross_entropy(rows):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, 16, generator=generator).requires_grad_()
    head = 3 * torch.randn(2**14, 16, generator=generator)
    targets = torch.randint(2**14, (rows,), generator=generator)
    expected = F.cross_entropy(hidden.double() @ head.T.double(), targets, reduction="sum")
    (gradient,) = torch.autograd.grad(expected, hidden)
    loss = -FrozenHeadLogProbs.apply(hidden, head, targets).sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    (0.5 * loss).backward()
    torch.testing.assert_close(hidden.grad, 0.5 * gradient, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        assert -FrozenHeadLogProbs.apply(hidden, head, targets).sum() == loss


def test_scored_loss_of_a_model_that_trains_its_head(case):
    make, _ = case
    model = make()
    losses = [plain_loss(model, batch())[0], scored_lm_loss(model, batch())[0]]
    gradients = [torch.autograd.grad(loss, model.get_output_embeddings().weight)[0] for loss in losses]
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-4)


def test_fused_layer_falls_back(case):
    make, targets = case
    model = adapted(make, targets)
    fast = speed_up(copy.deepcopy(model))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        torch.testing.assert_close(fast(IDS).logits, model(IDS).logits, atol=2e-2, rtol=0)
    with lora.adapter_off(fast):
        torch.testing.assert_close(logits(fast), logits(make()), atol=1e-6, rtol=0)
    lora.merge_lora(fast)
    torch.testing.assert_close(logits(fast), logits(model), atol=1e-6, rtol=0)
