"""The same A and B in PEFT and in ours: logits, loss and gradients to 1e-6, and each other's files."""

import copy
import json
import warnings

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from course_utils.methods import lora, lora_files
from course_utils.methods.lora_fast import speed_up
from course_utils.training import scored_lm_loss

peft = pytest.importorskip("peft")


def gpt2(_):
    return GPT2LMHeadModel(
        GPT2Config(
            n_layer=2,
            n_embd=64,
            n_head=2,
            vocab_size=96,
            n_positions=32,
            bos_token_id=0,
            eos_token_id=0,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
        )
    )


def llama(bias):
    return LlamaForCausalLM(
        LlamaConfig(
            num_hidden_layers=2,
            hidden_size=64,
            intermediate_size=96,
            num_attention_heads=2,
            num_key_value_heads=1,
            vocab_size=96,
            max_position_embeddings=32,
            attention_bias=bias,
            mlp_bias=bias,
        )
    )


CASES = {
    "gpt2 by default": (gpt2, None, None),
    "llama by default": (llama, False, None),
    "gpt2 c_attn": (gpt2, None, ["c_attn"]),
    "gpt2 all layers, square ones too": (gpt2, None, ["c_attn", "c_proj", "c_fc"]),
    "llama without bias": (llama, False, ["q_proj", "v_proj"]),
    "llama with bias": (llama, True, ["q_proj", "o_proj", "down_proj"]),
}
IDS = torch.randint(1, 96, (3, 12), generator=torch.Generator().manual_seed(1))
MASK = torch.ones_like(IDS)
MASK[1, 9:] = 0
LABELS = IDS.masked_fill(MASK == 0, -100)


@pytest.fixture(params=CASES)
def base(request):
    """(base model, target modules); biases are random, so that a lost one shows."""
    make, bias, targets = CASES[request.param]
    torch.manual_seed(0)
    model = make(bias).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model, targets


def peft_model(model, targets, rslora=False, rank=4, alpha=8):
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=targets or "all-linear",
        use_rslora=rslora,
        task_type="CAUSAL_LM",
        init_lora_weights=False,
        fan_in_fan_out=isinstance(model, GPT2LMHeadModel),
    )
    torch.manual_seed(5)
    theirs = peft.get_peft_model(copy.deepcopy(model), config)
    for name, parameter in theirs.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return theirs.eval()


def their_layers(model):
    modules = model.get_base_model().named_modules()
    return {name: module for name, module in modules if isinstance(module, peft.tuners.lora.LoraLayer)}


def ours_with_theirs(model, targets, theirs, rslora=False, rank=4, alpha=8.0):
    """Our LoRA with PEFT's A and B copied in by hand."""
    ours = lora.apply_lora(copy.deepcopy(model), rank, alpha, targets, rslora=rslora).eval()
    layers = lora.lora_layers(ours)
    assert set(layers) == set(their_layers(theirs))
    for name, module in their_layers(theirs).items():
        layer = layers[name]
        layer.lora_A.data.copy_(module.lora_A["default"].weight)
        layer.lora_B.data.copy_(module.lora_B["default"].weight)
    return ours


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=MASK).logits[MASK.bool()]


def loss_and_gradients(model):
    loss = model(input_ids=IDS, attention_mask=MASK, labels=LABELS).loss
    loss.backward()
    return loss.detach(), our_gradients(model) if lora.lora_layers(model) else their_gradients(model)


def test_dropout_is_where_peft_has_it():
    """In training, with one seed, both draw the same masks: dropout elsewhere would give other logits."""
    base = gpt2(None).eval()
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        lora_dropout=0.5,
        target_modules=["c_attn"],
        task_type="CAUSAL_LM",
        init_lora_weights=False,
        fan_in_fan_out=True,
    )
    theirs = peft.get_peft_model(copy.deepcopy(base), config)
    ours = lora.apply_lora(copy.deepcopy(base), 4, 8.0, ["c_attn"], dropout=0.5)
    for name, module in their_layers(theirs).items():
        layer = lora.lora_layers(ours)[name]
        layer.lora_A.data.copy_(module.lora_A["default"].weight)
        layer.lora_B.data.copy_(module.lora_B["default"].weight)
    without = logits(ours)
    drawn = []
    for model in (ours.train(), theirs.train()):
        torch.manual_seed(11)
        drawn.append(logits(model))
    torch.testing.assert_close(drawn[0], drawn[1], atol=1e-5, rtol=0)
    assert (drawn[0] - without).abs().max() > 0.01


def our_gradients(model):
    return {
        f"{name}.{part}": getattr(layer, part).grad
        for name, layer in lora.lora_layers(model).items()
        for part in ("lora_A", "lora_B")
    }


def their_gradients(model):
    return {
        f"{name}.{part}": getattr(module, part)["default"].weight.grad
        for name, module in their_layers(model).items()
        for part in ("lora_A", "lora_B")
    }


def compare(ours, theirs, atol):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert theirs[name].abs().max() > 1e-5
        torch.testing.assert_close(ours[name], theirs[name], atol=atol, rtol=0)


@pytest.mark.parametrize("rslora", [False, True])
def test_logits_loss_and_gradients(base, rslora):
    model, targets = base
    theirs = peft_model(model, targets, rslora)
    ours = ours_with_theirs(model, targets, theirs, rslora)
    assert (logits(ours) - logits(model)).abs().max() > 1e-2
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-6, rtol=0)
    our_loss, our_grads = loss_and_gradients(ours)
    their_loss, their_grads = loss_and_gradients(theirs)
    torch.testing.assert_close(our_loss, their_loss, atol=1e-6, rtol=0)
    compare(our_grads, their_grads, atol=1e-6)


def test_fast_path(base):
    model, targets = base
    theirs = peft_model(model, targets)
    ours = speed_up(ours_with_theirs(model, targets, theirs))
    loss, count = scored_lm_loss(ours, {"input_ids": IDS, "attention_mask": MASK, "labels": LABELS})
    (loss / count).backward()
    their_loss, their_grads = loss_and_gradients(theirs)
    torch.testing.assert_close((loss / count).detach(), their_loss, atol=1e-6, rtol=0)
    compare(our_gradients(ours), their_grads, atol=1e-6)


def test_bf16(base):
    """bf16 base, fp32 adapters, as PEFT keeps them; bf16 has 8 bits, so the bound is 1e-2."""
    model, targets = base
    model = copy.deepcopy(model).bfloat16()
    theirs = peft_model(model, targets)
    ours = ours_with_theirs(model, targets, theirs)
    assert all(layer.lora_A.dtype == torch.float32 for layer in lora.lora_layers(ours).values())
    assert logits(ours).dtype == torch.bfloat16
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-2, rtol=0)
    our_loss, our_grads = loss_and_gradients(ours)
    their_loss, their_grads = loss_and_gradients(theirs)
    torch.testing.assert_close(our_loss.float(), their_loss.float(), atol=1e-2, rtol=0)
    compare(our_grads, their_grads, atol=1e-2)


def test_bf16_autocast(base):
    model, targets = base
    theirs = peft_model(model, targets)
    ours = ours_with_theirs(model, targets, theirs)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-2, rtol=0)


def test_merged_weights(base):
    model, targets = base
    theirs = peft_model(model, targets)
    ours = ours_with_theirs(model, targets, theirs)
    lora.merge_lora(ours)
    merged = theirs.merge_and_unload().state_dict()
    for name, weight in lora.unwrap_lora(ours).state_dict().items():
        torch.testing.assert_close(weight, merged[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("rslora", [False, True])
def test_peft_loads_ours(base, rslora, tmp_path):
    model, targets = base
    ours = lora.apply_lora(copy.deepcopy(model), 4, 8.0, targets, rslora=rslora)
    for layer in lora.lora_layers(ours).values():
        torch.nn.init.normal_(layer.lora_B, std=0.1)
    lora_files.save_adapter(ours, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # PEFT warns about keys that are missing or unexpected
        theirs = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path)
    torch.testing.assert_close(logits(theirs), logits(ours), atol=1e-6, rtol=0)
    assert (logits(theirs) - logits(model)).abs().max() > 1e-2


@pytest.mark.parametrize("rslora", [False, True])
def test_ours_loads_peft(base, rslora, tmp_path):
    model, targets = base
    theirs = peft_model(model, targets, rslora)
    theirs.save_pretrained(tmp_path)
    ours = lora_files.load_adapter(copy.deepcopy(model), tmp_path)
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-6, rtol=0)


def test_files_agree_on_keys_shapes_and_settings(base, tmp_path):
    from safetensors.torch import load_file

    model, targets = base
    theirs = peft_model(model, targets)
    theirs.save_pretrained(tmp_path / "theirs")
    lora_files.save_adapter(ours_with_theirs(model, targets, theirs), tmp_path / "ours")
    our_file, their_file = (load_file(tmp_path / x / "adapter_model.safetensors") for x in ("ours", "theirs"))
    assert our_file.keys() == their_file.keys()
    assert all(torch.equal(our_file[key], their_file[key]) for key in our_file)
    our_config, their_config = (
        json.loads((tmp_path / x / "adapter_config.json").read_text()) for x in ("ours", "theirs")
    )
    layers = [lora.find_targets(model, found["target_modules"]) for found in (our_config, their_config)]
    assert layers[0] == layers[1]
    del our_config["target_modules"]
    their_config["base_model_name_or_path"] = (
        their_config["base_model_name_or_path"] or None
    )  # "" in some versions
    for key, value in our_config.items():
        assert their_config[key] == value, key


def test_weighted_sum_is_pefts_cat(tmp_path):
    torch.manual_seed(0)
    model = gpt2(None).eval()
    theirs = peft_model(model, ["c_attn"])
    config = copy.deepcopy(theirs.peft_config["default"])
    config.r, config.lora_alpha = 2, 6
    theirs.add_adapter("second", config)
    theirs.save_pretrained(tmp_path)
    theirs.add_weighted_adapter(["default", "second"], [0.7, 0.4], "mix", combination_type="cat")
    theirs.set_adapter("mix")

    ours = lora_files.load_adapter(copy.deepcopy(model), tmp_path)
    adapters = lora.Adapters(ours)
    adapters.add("first")
    adapters.add("second", lora_files.read_adapter(tmp_path / "second"))
    adapters.weighted_sum({"first": 0.7, "second": 0.4})
    torch.testing.assert_close(logits(ours), logits(theirs.eval()), atol=1e-6, rtol=0)
