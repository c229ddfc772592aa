import copy
import json
from statistics import NormalDist

import pytest
import torch
from helpers import tiny_gpt2, tiny_llama
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from course_utils.memory import saved_bytes
from course_utils.methods import lora, lora_files
from course_utils.methods import quantization as q
from course_utils.model_files import ModelError, write_checksums

IDS = torch.randint(1, 64, (3, 10), generator=torch.Generator().manual_seed(1))
MODELS = {"gpt2": tiny_gpt2, "llama": tiny_llama}


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def fill_b(model):
    for layer in lora.lora_layers(model).values():
        nn.init.normal_(layer.lora_B, std=0.1)
    return model


@pytest.fixture(params=MODELS)
def make(request):
    return MODELS[request.param]


# --- levels


def test_nf4_is_made_of_quantiles_of_the_normal_distribution():
    offset = (1 - 1 / 30 + 1 - 1 / 32) / 2  # between the outermost quantiles of 15 and of 16 equal parts
    quantile = NormalDist().inv_cdf
    positive = [quantile(0.5 + (offset - 0.5) * i / 8) for i in range(1, 9)]
    negative = [quantile(0.5 + (offset - 0.5) * i / 7) for i in range(1, 8)]
    expected = [-x / negative[-1] for x in reversed(negative)] + [0] + [x / positive[-1] for x in positive]
    torch.testing.assert_close(q.normal_levels(4), torch.tensor(expected), atol=1e-6, rtol=0)
    torch.testing.assert_close(q.NF4, torch.tensor(expected), atol=1e-6, rtol=0)


def test_e2m1_by_its_bits():
    for code, level in enumerate(q.e2m1_levels().tolist()):
        sign, exponent, mantissa = code >> 3, code >> 1 & 3, code & 1
        magnitude = 2 ** (exponent - 1) * (1 + mantissa / 2) if exponent else mantissa / 2
        assert level == pytest.approx((-1) ** sign * magnitude / 6)


def test_integer_levels():
    assert [round(7 * x) for x in q.integer_levels(4).tolist()] == list(range(-7, 8))
    assert [8 * x for x in q.integer_levels(4, symmetric=False).tolist()] == list(range(-8, 8))
    assert len(q.integer_levels(8)) == 255


@pytest.mark.parametrize("name", q.LEVELS)
def test_tables_have_a_zero_and_lie_in_the_unit_interval(name):
    levels = q.LEVELS[name]
    assert len(levels) <= 16 and 0 in levels.tolist() and levels.abs().max() == 1
    assert levels.dtype == torch.float32


def test_dynamic_levels_are_twice_as_fine_a_decade_higher():
    assert len(q.DYNAMIC.unique()) == 256
    for i in range(7):
        low, high = 10.0 ** (i - 7), 10.0 ** (i - 6)
        assert sum(low < level < high for level in q.DYNAMIC.tolist()) == 2**i


# --- quantising


def nearest(x, levels, block_size):
    """The nearest level, by trying every level for every value."""
    codes, scales = [], []
    for block in x.flatten().split(block_size):
        scales.append(max(abs(value) for value in block.tolist()))
        distances = (block.double()[:, None] / (scales[-1] or 1) - levels.double()).abs()
        codes.append(distances.min(1).values)
    return torch.cat(codes), torch.tensor(scales)


@pytest.mark.parametrize("name", q.LEVELS)
@pytest.mark.parametrize("size, block_size", [((8, 64), 64), ((3, 50), 64), ((5, 7), 4)])
def test_the_nearest_level_and_the_largest_magnitude(name, size, block_size):
    x, levels = torch.randn(size), q.LEVELS[name]
    codes, scales = q.quantize(x, levels, block_size)
    distances, expected = nearest(x, levels, block_size)
    assert codes.dtype == torch.uint8 and torch.equal(scales, expected)
    values = q.dequantize(codes, scales, levels, block_size)
    every = scales.repeat_interleave(block_size)[: x.numel()]
    torch.testing.assert_close((values - x.flatten()).abs(), distances.float() * every, atol=1e-6, rtol=0)


def test_a_negative_extreme_keeps_its_sign_and_a_block_of_zeros_stays_zero():
    x = torch.tensor([-4.0, 1.0, 2.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    codes, scales = q.quantize(x, q.NF4, 4)
    values = q.dequantize(codes, scales, q.NF4, 4)
    assert scales.tolist() == [4, 0] and values[0] == -4 and values[4:].tolist() == [0] * 4


@pytest.mark.parametrize("name", q.LEVELS)
@pytest.mark.parametrize("block_size", [2, 64, 4096])
def test_the_fast_ways_give_the_same_bits(name, block_size):
    levels = q.LEVELS[name]
    ascending = levels.sort().values
    middles = (ascending[1:] + ascending[:-1]) / 2
    edges = torch.cat([middles, middles.nextafter(torch.tensor(2.0)), middles.nextafter(torch.tensor(-2.0))])
    for x in (
        torch.randn(4096),
        0.02 * torch.randn(3, 1001),
        torch.cat([edges, torch.ones(1)]),
        torch.zeros(6),
    ):
        codes, scales = q.quantize(x, levels, block_size)
        packed, fast_scales = q.quantize_packed(x, name, block_size)
        assert torch.equal(packed, q.pack(codes)) and torch.equal(fast_scales, scales)
        values = q.dequantize_packed(packed, scales, name, block_size)[: x.numel()]
        assert torch.equal(values, q.dequantize(codes, scales, levels, block_size))


def test_edges_are_told_apart_in_one_block():
    """At scale one, midpoints get the level below; one rounding step above, the level above."""
    middles = (q.NF4[1:] + q.NF4[:-1]) / 2
    above = middles.nextafter(torch.tensor(2.0))
    codes = q.unpack(q.quantize_packed(torch.cat([middles, above, torch.ones(2)]), "nf4", 32)[0])
    assert codes[:15].tolist() == list(range(15)) and codes[15:30].tolist() == list(range(1, 16))


def test_two_codes_a_byte_the_first_on_top():
    assert q.pack(torch.tensor([1, 2, 15, 0, 7], dtype=torch.uint8)).tolist() == [0x12, 0xF0, 0x70]
    assert q.unpack(torch.tensor([0x12, 0xF0], dtype=torch.uint8)).tolist() == [1, 2, 15, 0]


def test_double_quantisation_takes_the_mean_off_first():
    scales = 3 + 0.1 * torch.randn(1000)
    codes, second, mean = q.quantize_scales(scales)
    assert codes.dtype == torch.uint8 and len(second) == 4 and mean == scales.mean()
    error = q.dequantize_scales(codes, second, mean) - scales
    assert error.abs().max() < 0.02 * 0.35  # relative to a spread of 0.1, not a size of 3


def test_relative_error():
    x = torch.tensor([1.0, 0.6, 0.0, -0.2])
    levels = torch.tensor([-1.0, 0.0, 1.0])  # 0.6 goes to 1, -0.2 to 0
    assert q.relative_error(x, levels, 4) == pytest.approx((0.16 + 0.04) ** 0.5 / (1 + 0.36 + 0.04) ** 0.5)


# --- bits


@pytest.mark.parametrize("block_size", [64, 256, 4096])
@pytest.mark.parametrize("double", [False, True])
def test_bits_a_parameter_are_the_bytes_held(block_size, double):
    layer = nn.Linear(1024, 1024, bias=False)
    layer = q.QuantizedLinear(layer, block_size=block_size, double=double)
    bits = 8 * q.module_bytes(layer) / 2**20
    extra = 32 / 2**20 if double else 0  # the mean of the scales, once per layer
    assert bits - extra == pytest.approx(q.bits_per_parameter(4, block_size, double), abs=1e-9)


def test_published_sizes():
    assert q.bits_per_parameter(4, 64, double=False) == 4.5
    assert q.bits_per_parameter(4, 64) == pytest.approx(4.127, abs=1e-3)


def test_shared_storage_counts_once():
    model = tiny_gpt2()
    assert q.module_bytes(model) == 4 * sum(p.numel() for p in model.parameters())


# --- the layer

LAYERS = {"linear": nn.Linear(96, 64), "no bias": nn.Linear(96, 64, bias=False), "conv1d": Conv1D(64, 96)}


@pytest.fixture(params=LAYERS)
def original(request):
    layer = copy.deepcopy(LAYERS[request.param])
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize("double", [False, True])
def test_layer_and_gradient_are_those_of_the_dense_weight(original, double):
    layer = q.QuantizedLinear(original, double=double)
    weight = original.weight.T if isinstance(original, Conv1D) else original.weight
    assert layer.weight.shape == (64, 96)
    assert 0.05 < (layer.weight - weight).norm() / weight.norm() < 0.13
    dense = layer.weight.clone().requires_grad_()
    x = torch.randn(2, 5, 96, requires_grad=True)
    target = torch.randn(2, 5, 64)
    y = layer(x)
    expected = nn.functional.linear(x, dense, original.bias)
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=1e-5)
    ours = torch.autograd.grad((y - target).square().sum(), x)[0]
    theirs = torch.autograd.grad((expected - target).square().sum(), x)[0]
    assert theirs.abs().max() > 1
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def test_a_bias_can_still_be_trained():
    layer = q.QuantizedLinear(nn.Linear(96, 64))
    layer(torch.randn(3, 96)).sum().backward()
    assert torch.equal(layer.bias.grad, torch.full((64,), 3.0))


def test_nothing_but_codes_and_scales_is_kept(original):
    layer = q.QuantizedLinear(original).requires_grad_(False)
    names = {name for name, _ in layer.named_buffers()} | {name for name, _ in layer.named_parameters()}
    assert names - {"bias"} == {"codes", "scales", "scale_codes", "scale_mean"}
    x = torch.randn(2, 5, 96, requires_grad=True)
    assert saved_bytes(lambda: layer(x)) == 0


def test_lower_precision_in_and_out(original):
    layer = q.QuantizedLinear(original)
    x = torch.randn(2, 5, 96, requires_grad=True)
    if layer.bias is not None:
        layer.bias.data = layer.bias.data.bfloat16()
    y = layer(x.bfloat16())
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert x.grad.dtype == torch.float32


def test_autocast(original):
    layer = q.QuantizedLinear(original)
    x = torch.randn(2, 5, 96, requires_grad=True)
    plain = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().sum().backward()
    torch.testing.assert_close(y.float(), plain, atol=0.1, rtol=0.05)
    assert x.grad.abs().max() > 0


def test_sizes_that_no_block_divides():
    layer = q.QuantizedLinear(nn.Linear(7, 5), block_size=64)
    assert layer.weight.shape == (5, 7) and layer(torch.randn(2, 7)).shape == (2, 5)


def test_state_dict_goes_into_another_layer(original):
    layer, other = q.QuantizedLinear(original), q.QuantizedLinear(copy.deepcopy(original))
    other.codes.zero_()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.weight, layer.weight)


# --- the model


def test_every_linear_layer_but_the_head(make):
    model = make()
    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear | Conv1D) and n != "lm_head"]
    assert q.quantize_model(model) is model
    assert list(q.quantized_layers(model)) == linear and type(model.lm_head) is nn.Linear
    assert all("weight" not in name for name, _ in model.get_submodule(linear[0]).named_parameters())


def test_bytes_of_a_model():
    model = tiny_gpt2()
    weights = sum(4 * m.weight.numel() for n, m in model.named_modules() if isinstance(m, Conv1D))
    before = q.module_bytes(model)
    q.quantize_model(model, double=False)
    assert q.module_bytes(model) == before - weights + weights / 32 * 4.5


def test_more_levels_less_change(make):
    model = make()
    before = logits(model)
    changes = []
    for levels in ("nf4", "nf3", "nf2"):
        changes.append((logits(q.quantize_model(make(), levels)) - before).norm().item())
    assert 0 < changes[0] < changes[1] < changes[2]


def test_dequantised_model_has_the_same_logits_and_the_old_kinds(make):
    model = make()
    kinds = {name: (type(m), m.extra_repr()) for name, m in model.named_modules()}
    quantised = logits(q.quantize_model(model))
    q.dequantize_model(model)
    torch.testing.assert_close(logits(model), quantised, atol=1e-5, rtol=1e-4)
    assert {name: (type(m), m.extra_repr()) for name, m in model.named_modules()} == kinds
    assert model.state_dict().keys() == make().state_dict().keys()


def test_refused_settings_change_nothing(make):
    model = make()
    with pytest.raises(ValueError, match=r"levels must be one of int4-15, .*; got 'nf5'"):
        q.quantize_model(model, "nf5")
    with pytest.raises(ValueError, match="block_size must be a whole number"):
        q.quantize_model(model, block_size=0)
    with pytest.raises(ValueError, match="no quantised layers"):
        q.dequantize_model(model)
    list(model.modules())[-1].weight.data[0] = float("nan")
    name = q._linear_names(model)[-1]
    if torch.isnan(model.get_submodule(name).weight).any():
        with pytest.raises(ValueError, match="not finite numbers: nothing was quantised"):
            q.quantize_model(model)
    assert not q.quantized_layers(model)
    q.quantize_model(make_again := make())
    with pytest.raises(ValueError, match="already quantised"):
        q.quantize_model(make_again)


def test_a_weight_that_is_not_finite_is_named():
    model = tiny_gpt2()
    model.transformer.h[1].mlp.c_fc.weight.data[0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"h\.1\.mlp\.c_fc has weights that are not finite"):
        q.quantize_model(model)
    assert not q.quantized_layers(model)


# --- LoRA on top


def test_lora_starts_at_the_quantised_model_and_trains_alone(make):
    model = q.quantize_model(make())
    before = logits(model)
    lora.apply_lora(model, 4, 8.0)
    assert torch.equal(logits(model), before)
    model(IDS, labels=IDS).loss.backward()
    got = {name for name, p in model.named_parameters() if p.grad is not None}
    assert got == {name for name, p in model.named_parameters() if "lora_" in name}


def test_lora_gradients_are_those_over_the_dense_weight(make):
    model = fill_b(lora.apply_lora(q.quantize_model(make()), 4, 8.0))
    dense = q.dequantize_model(copy.deepcopy(model))
    for each in (model, dense):
        each(IDS, labels=IDS).loss.backward()
    theirs = dict(dense.named_parameters())
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            assert theirs[name].grad.abs().max() > 1e-6
            torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-6, rtol=1e-4)


def test_merging_into_the_dequantised_weight_changes_nothing(make):
    model = fill_b(lora.apply_lora(q.quantize_model(make()), 4, 8.0))
    before = logits(model)
    plain = q.merge_quantized(model)
    torch.testing.assert_close(logits(plain), before, atol=1e-5, rtol=1e-4)
    assert not lora.lora_layers(plain) and plain.state_dict().keys() == make().state_dict().keys()


def test_a_merge_into_quantised_layers_is_refused_and_names_the_right_one(make):
    model = fill_b(lora.apply_lora(q.quantize_model(make()), 4, 8.0))
    before = logits(model)
    with pytest.raises(ValueError, match=r"call merge_quantized\(model\)"):
        lora.merge_lora(model)
    assert torch.equal(logits(model), before) and lora.get_adapter(model).tensors, "all as it was"
    torch.testing.assert_close(logits(q.merge_quantized(model)), before, atol=1e-5, rtol=1e-4)


def test_a_merged_model_is_not_quantised(make):
    model = fill_b(lora.apply_lora(make(), 4, 8.0))
    lora.merge_lora(model)
    with pytest.raises(ValueError, match="LoRA is merged"):
        q.quantize_model(model)
    lora.unmerge_lora(model)
    q.quantize_model(model)


def test_a_model_with_lora_is_quantised_under_it(make):
    model = fill_b(lora.apply_lora(make(), 4, 8.0))
    adapter = lora.get_adapter(model)
    q.quantize_model(model)
    assert all(isinstance(x.original, q.QuantizedLinear) for x in lora.lora_layers(model).values())
    assert all(
        torch.equal(A, adapter.tensors[name][0]) for name, (A, _) in lora.get_adapter(model).tensors.items()
    )


# --- files


@pytest.mark.parametrize("double", [False, True])
def test_saved_and_loaded(make, tmp_path, double):
    model = q.quantize_model(make(), "fp4-bnb", 32, double)
    folder = q.save_quantized(model, tmp_path / "base")
    loaded = q.load_quantized(folder)
    assert torch.equal(logits(loaded), logits(model))
    assert q.module_bytes(loaded) == q.module_bytes(model)
    assert (folder / "model.safetensors").stat().st_size < q.module_bytes(model) + 20_000
    assert sorted(path.name for path in folder.iterdir()) == [
        "checksums.json",
        "config.json",
        "model.safetensors",
        "quantization.json",
    ]


def test_an_adapter_finds_its_quantised_base_again(tmp_path):
    model = q.quantize_model(tiny_gpt2())
    q.save_quantized(model, tmp_path / "base")
    fill_b(lora.apply_lora(model, 4, 8.0))
    with pytest.raises(ValueError, match="LoRA layers: save_adapter"):
        q.save_quantized(model, tmp_path / "base")
    lora_files.save_adapter(model, tmp_path / "adapter")
    loaded = lora_files.load_adapter(q.load_quantized(tmp_path / "base"), tmp_path / "adapter")
    assert torch.equal(logits(loaded), logits(model))
    with pytest.raises(ValueError, match="trained on other weights"):
        lora_files.load_adapter(tiny_gpt2(), tmp_path / "adapter")


def test_files_that_do_not_fit(tmp_path):
    with pytest.raises(ModelError, match=r"has no config\.json"):
        q.load_quantized(tmp_path)
    with pytest.raises(ValueError, match="no quantised layers"):
        q.save_quantized(tiny_gpt2(), tmp_path)
    folder = q.save_quantized(q.quantize_model(tiny_gpt2()), tmp_path / "base")
    config = json.loads((folder / "config.json").read_text())
    settings = json.loads((folder / "quantization.json").read_text())
    weights = load_file(folder / "model.safetensors")

    def refused(fault, changed=None, **tensors):
        (folder / "config.json").write_text(json.dumps(config | (changed or {})))
        save_file(weights | tensors, folder / "model.safetensors", {"format": "pt"})
        write_checksums(folder)
        with pytest.raises(ModelError, match=fault) as error:
            q.load_quantized(folder)
        assert str(folder) in str(error.value)

    bias = "transformer.h.0.mlp.c_fc.bias"
    refused(r"do not fit config\.json", {"n_layer": 1})
    refused("asks for 1000000 layers", {"n_layer": 10**6})
    refused("does not load.*model.safetensors", **{bias: torch.zeros(3)})
    refused("do not fit", **{bias: weights[bias].half()})
    refused("do not fit", more=torch.zeros(3))
    norm = weights.pop("transformer.ln_f.bias")
    refused(r"do not fit config\.json: \['transformer\.ln_f\.bias'\]")
    weights["transformer.ln_f.bias"] = norm
    refused("not finite, first those of", **{bias: weights[bias] * torch.nan})
    for changed in ({"levels": "nf5"}, {"other": 1}, {"block_size": "x"}):
        (folder / "quantization.json").write_text(json.dumps(settings | changed))
        refused("look at config.json and quantization.json")
    (folder / "quantization.json").write_text(json.dumps(settings))
    codes = "transformer.h.0.mlp.c_fc.codes"
    refused("do not fit", **{codes: weights[codes].float()})


def test_a_flipped_bit_is_named(tmp_path):
    folder = q.save_quantized(q.quantize_model(tiny_gpt2()), tmp_path / "base")
    for name in ("config.json", "quantization.json", "model.safetensors"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        with pytest.raises(ModelError, match=rf"{folder / name} is damaged"):
            q.load_quantized(folder)
        (folder / name).write_bytes(content)
