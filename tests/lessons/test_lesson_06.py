"""Lesson 06: verdicts on answers; where an error goes; what claims exclude; the hunt; sizes of models."""

import pytest
import torch
import torch.nn.functional as F
from helpers import draws_of, feed, tiny_gpt2, tiny_llama

from course_utils.budget import load_config
from course_utils.checks.claims import claims_of
from course_utils.lessons.lesson_06 import experiments, shares, stored, suspects, way
from course_utils.lessons.lesson_06.loss_terms import loss_terms
from course_utils.lessons.lesson_06.small_layer import FourBitLinear
from course_utils.methods.lora import apply_lora, count_trainable, lora_layers
from course_utils.methods.lora_analysis import linear_layers, weight_matrix
from course_utils.methods.quantization import (
    QuantizedLinear,
    dequantize_scales,
    quantize_model,
    quantized_layers,
)
from course_utils.models import load_model
from course_utils.stored_runs import load_sweep, ratios


@pytest.mark.parametrize("exercise, seed", [*draws_of("06"), *draws_of("06m")])
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


# --- where the error goes


def test_the_terms_are_the_derivatives_of_the_loss():
    torch.manual_seed(0)
    logits, change = torch.randn(6, 20, dtype=torch.float64), torch.randn(6, 20, dtype=torch.float64)
    targets = torch.randint(20, (6,))
    first, second = loss_terms(logits, change, targets)
    for size in (1e-2, 1e-3):
        rise = [
            F.cross_entropy(logits + sign * size * change, targets, reduction="none")
            - F.cross_entropy(logits, targets, reduction="none")
            for sign in (1, -1)
        ]
        torch.testing.assert_close((rise[0] - rise[1]) / (2 * size), first, atol=10 * size**2, rtol=0)
        torch.testing.assert_close((rise[0] + rise[1]) / (2 * size**2), second, atol=10 * size, rtol=0)


BOUND = claims_of("06")["along_the_gradient"].at_least


@pytest.mark.night
def test_the_right_gradient_keeps_the_headline():
    small, right = (experiments.weight_errors({"error": kind}, 0) for kind in ("gradient/50", "nf4"))
    assert small["rise"] / small["loss"] > BOUND > 2 * right["rise"] / right["loss"]
    assert small["logits"] == pytest.approx(right["logits"], rel=0.2)
    assert right["weights"] == pytest.approx(0.0925, abs=0.002)
    assert 50 * small["weights"] == pytest.approx(right["weights"], abs=1e-4)


@pytest.mark.slow
def test_a_gradient_of_the_wrong_sign_fails_the_headline(monkeypatch):
    uphill = experiments._gradients
    downhill = {name: -gradient for name, gradient in uphill(1).items()}
    monkeypatch.setattr(experiments, "_gradients", lambda sample: downhill)
    broken = experiments.weight_errors({"error": "gradient/50"}, 0)
    assert broken["rise"] / broken["loss"] < BOUND


@pytest.fixture(scope="module")
def along_the_inputs():
    return experiments.weight_errors({"error": "inputs"}, 0)


@pytest.mark.slow
def test_a_quantiser_that_packs_in_the_wrong_order_ruins_the_model_too(along_the_inputs, monkeypatch):
    base = load_model("pocket")[0]
    swapped = quantize_model(load_model("pocket")[0])
    for layer in quantized_layers(swapped).values():
        layer.codes.copy_(layer.codes << 4 | layer.codes >> 4)
    errors = {
        name: layer.weight.T - base.get_submodule(name).weight.detach()
        for name, layer in quantized_layers(swapped).items()
    }
    monkeypatch.setattr(experiments, "_rounding_error", lambda levels, block_size=64: errors)
    broken = experiments.weight_errors({"error": "nf4"}, 0)
    assert along_the_inputs["rise"] / broken["rise"] < 10


def rows_of(name):
    return [row["point"] | row["result"] for row in load_sweep(name)["rows"]]


def test_stored_claims_have_their_controls_on_the_other_side():
    rows = rows_of("weight_errors")

    def mean(error, key="rise"):
        values = [row[key] for row in rows if row["error"] == error]
        assert len(values) == 5
        return sum(values) / 5

    assert mean("random") / mean("nf4") < 2 and mean("inputs/13") / mean("nf4") < 2
    assert mean("gradient/50") / mean("inputs/13") > 2
    assert mean("inputs") / mean("nf4") > 50 and mean("gradient") / mean("nf4") > 50
    for small in ("inputs/13", "gradient/50"):
        assert mean(small, "logits") == pytest.approx(mean("nf4", "logits"), rel=0.2)
    kinds = ("nf4", "random", "coin/2.5", "inputs/13", "gradient/50", "coin")
    relative = {error: mean(error) / mean(error, "loss") for error in kinds}
    assert max(relative[error] for error in kinds[:4]) < BOUND / 2 < BOUND < relative["gradient/50"]
    assert relative["coin"] > claims_of("06")["one_coin"].at_least > 5 * relative["random"]
    logits = {e: [row["logits"] for row in rows if row["error"] == e] for e in ("coin", "nf4")}
    assert all(one > 2 * other for one, other in zip(*logits.values(), strict=True))
    assert mean("fp4-bnb") / mean("nf4") < 2.5 < mean("nf3") / mean("nf4")
    assert mean("nf4", "alike") / mean("nf4") > 2
    assert 0.5 < mean("nf4", "reflected") / mean("nf4") < 2


def test_the_rates_that_are_reported_won_a_sweep():
    rows = rows_of("qlora_rates")
    for (base, place), rate in experiments.BEST_QLORA_RATES.items():
        found = {row["lr"]: row["validation"] for row in rows if (row["base"], row["place"]) == (base, place)}
        assert min(found, key=found.get) == rate
        assert min(found) < rate < max(found)


def test_rank_32_on_c_attn_has_as_many_values_as_rank_8_everywhere():
    def values(place):
        modules, rank, alpha = experiments.QLORA_PLACES[place]
        return count_trainable(apply_lora(load_model("pocket")[0], rank, alpha, modules))[0]

    assert values("c_attn, rank 32") == values("all") == 4 * values("c_attn")


# --- the way of an error, the stored runs, the layer


@pytest.mark.parametrize("small", [tiny_gpt2, tiny_llama])
def test_a_doubled_layer_changes_its_outputs_by_their_size(small):
    model, names = small(), linear_layers(small())
    weights = {name: weight_matrix(model.get_submodule(name)) for name in names}
    inputs = {"input_ids": torch.arange(8).view(2, 4), "attention_mask": torch.ones(2, 4, dtype=torch.long)}
    found = way.output_changes(model, weights, {name: 2 * weights[name] for name in names}, inputs)
    assert list(found) == names and all(change == pytest.approx(1, abs=1e-4) for change in found.values())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_change_in_one_block_leaves_the_blocks_before_it():
    model, changed = tiny_gpt2(), tiny_gpt2()
    with torch.no_grad():
        changed.transformer.h[-1].mlp.c_proj.weight.mul_(3)
    inputs = {"input_ids": torch.arange(8).view(2, 4), "attention_mask": torch.ones(2, 4, dtype=torch.long)}
    *before, last, normed = way.stream_changes(model, changed, inputs)
    assert before and max(before) == 0 < last and normed > 0
    assert len(before) + 1 == model.config.num_hidden_layers


@pytest.mark.parametrize("small", [tiny_gpt2, tiny_llama])
def test_the_stream_after_the_last_block_is_not_yet_normed(small):
    model, changed = small(), small()
    inputs = {"input_ids": torch.arange(8).view(2, 4), "attention_mask": torch.ones(2, 4, dtype=torch.long)}
    norm = changed.base_model.ln_f if hasattr(changed.base_model, "ln_f") else changed.base_model.norm
    with torch.no_grad():
        norm.weight.mul_(2)
    *before, normed = way.stream_changes(model, changed, inputs)
    assert max(before) == 0 < normed and not norm._forward_pre_hooks


def test_the_sum_of_inputs_is_measured_against_unrelated_signs():
    model = torch.nn.Module()
    model.layer = torch.nn.Linear(4, 2)
    model.forward = lambda x, attention_mask: model.layer(x)
    x = torch.tensor([[[1.0, 1.0, 1.0, 1.0], [9.0, 9.0, 9.0, 9.0]]])
    found = way.input_sums(model, ["layer"], {"x": x, "attention_mask": torch.tensor([[1, 0]])})
    assert found == {"layer": pytest.approx(4 / 2)}  # the sum, over the norm
    assert way.over_blocks({"t.h.0.mlp.c": 1.0, "t.h.1.mlp.c": 2.0, "t.h.0.a": 5.0}) == {
        "mlp.c": 1.5,
        "a": 5.0,
    }


@pytest.mark.slow
def test_a_coin_keeps_magnitudes_and_gives_each_output_one_sign():
    coin, nf4 = (experiments.weight_error(kind, 0) for kind in ("coin", "nf4"))
    for name, error in coin.items():  # [in, out]
        torch.testing.assert_close(error.abs(), nf4[name].abs())
        signs = error.sign()
        assert ((signs == 1).any(0) != (signs == -1).any(0)).all() and len(signs[0].unique()) == 2


def test_the_mean_of_the_logits_is_taken_off():
    torch.testing.assert_close(
        way.centred(torch.tensor([[1.0, 2.0, 6.0]])), torch.tensor([[-2.0, -1.0, 3.0]])
    )


def test_stored_runs_are_five_of_each():
    lists = [stored.relative_rises("gradient/50"), stored.after_tuning("nf2", "c_attn")]
    lists += [stored.rises_in_blocks("nf4", size) for size in (48, 64)]
    lists.append(stored.after_merging("W + BA again", "kept"))
    assert [len(each) for each in lists] == [5] * 5
    assert ratios([1.0, 3.0], [2.0, 2.0]) == [0.5, 1.5]
    low, high = stored.with_interval([1.0, 2.0, 3.0, 4.0, 5.0])[1:]
    assert (low, high) == pytest.approx((3 - 1.963, 3 + 1.963), abs=1e-3)  # 2.776 * sqrt(2.5 / 5)


@pytest.mark.parametrize("small", [tiny_gpt2, tiny_llama])
def test_the_lessons_layer_is_the_packages_without_double_quantisation(small):
    torch.manual_seed(0)
    plain = small().get_submodule(linear_layers(small())[0]).requires_grad_(False)
    ours, theirs = FourBitLinear(plain), QuantizedLinear(plain, double=False)
    x = torch.randn(3, ours.in_features, requires_grad=True)
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours(x), theirs(x))
    assert torch.equal(*(torch.autograd.grad(layer(x).sum(), x)[0] for layer in (ours, theirs)))


# --- merging


@pytest.mark.parametrize("small", [tiny_gpt2, tiny_llama])
def test_an_adapter_is_there_in_full_where_nothing_is_rounded_again(small):
    base = small()
    model = apply_lora(quantize_model(small()), 4, 8.0)
    torch.manual_seed(0)
    for layer in lora_layers(model).values():
        torch.nn.init.normal_(layer.lora_B, std=0.001)
    found = experiments.merged_weights(model, base)
    assert experiments.adapter_kept(model, found["W_hat + BA"]) == pytest.approx(1, abs=1e-3)
    w_hat = {name: layer.original.weight for name, layer in lora_layers(model).items()}
    assert experiments.adapter_kept(model, w_hat) == 0
    lost, kept = (experiments.adapter_kept(model, found[f"{start} + BA again"]) for start in ("W_hat", "W"))
    assert lost < 0.5 < kept
    for name, layer in lora_layers(model).items():
        plain, x = base.get_submodule(name), torch.randn(3, layer.original.in_features)
        change = layer(x) - layer.original(x)
        bias = 0 if plain.bias is None else plain.bias
        torch.testing.assert_close(x @ found["W + BA"][name].T + bias, plain(x) + change)


# --- the bug hunt


def test_the_mean_is_lost_and_nothing_else():
    right = quantize_model(tiny_gpt2())
    theirs = suspects.their_model(right)
    state = theirs.state_dict()
    assert right.state_dict().keys() - state.keys() == {f"{n}.scale_mean" for n in quantized_layers(right)}
    other = tiny_gpt2()
    for parameter in other.parameters():
        parameter.data *= 3
    loaded = suspects.started_again(state, quantize_model(other))
    for name, layer in quantized_layers(loaded).items():
        before = theirs.get_submodule(name)
        assert torch.equal(layer.codes, before.codes) and torch.equal(layer.scale_codes, before.scale_codes)
        scales = [dequantize_scales(one.scale_codes, one.scales, one.scale_mean) for one in (before, layer)]
        difference = scales[0] - scales[1]
        torch.testing.assert_close(
            difference, (before.scale_mean - layer.scale_mean).expand_as(difference), atol=1e-6, rtol=0
        )
        assert not torch.allclose(layer.weight, before.weight)


# --- sizes of real models


@pytest.mark.parametrize("name", shares.CONFIGS)
def test_counts_are_those_of_transformers(name):
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(load_config(shares.CONFIGS[name]))
    assert sum(shares.counts(name).values()) == sum(p.numel() for p in model.parameters())


def test_shares_of_embeddings():
    found = {
        name: shares.counts(name)["embeddings"] / sum(shares.counts(name).values()) for name in shares.CONFIGS
    }
    assert 0.03 < found["Llama-2-7B"] < 0.045 and 0.13 < found["Llama-3.1-8B"] < 0.145
