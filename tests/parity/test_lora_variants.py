"""LoRA's variants of lesson 05 against PEFT's: the start, weights after some steps, files."""

import copy

import pytest
import torch
from helpers import tiny_gpt2, tiny_llama
from safetensors.torch import load_file, save_file

from course_utils.methods import lora, lora_files
from course_utils.methods.lora_analysis import weight_matrix
from course_utils.methods.lora_variants import plus_groups, start_pissa, to_dora
from course_utils.methods.quantization import quantize_model

peft = pytest.importorskip("peft")
optimizers = pytest.importorskip("peft.optimizers")

IDS = torch.randint(1, 64, (3, 12), generator=torch.Generator().manual_seed(1))
RANK, ALPHA = 4, 10


@pytest.fixture(params=[tiny_gpt2, tiny_llama])
def base(request):
    """A model whose biases are random, so that a lost one shows."""
    model = request.param()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def theirs_of(base, **options):
    """PEFT's model on all linear layers."""
    conv1d = hasattr(base, "transformer")
    config = peft.LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        fan_in_fan_out=conv1d,
        **options,
    )
    torch.manual_seed(3)
    return peft.get_peft_model(copy.deepcopy(base), config)


def layers_of(theirs):
    modules = theirs.get_base_model().named_modules()
    return {name: module for name, module in modules if isinstance(module, peft.tuners.lora.LoraLayer)}


def with_their_factors(base, theirs):
    ours = lora.apply_lora(copy.deepcopy(base), RANK, float(ALPHA))
    for name, module in layers_of(theirs).items():
        layer = ours.get_submodule(name)
        layer.lora_A.data.copy_(module.lora_A["default"].weight)
        layer.lora_B.data.copy_(module.lora_B["default"].weight)
    return ours


def losses_of(model, optimizer, steps=3):
    """Losses of some steps on one batch."""
    losses = []
    for _ in range(steps):
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_lora_plus(base):
    """The same start, ratio and rate: the same factors after three steps."""
    theirs = theirs_of(base)
    ours = with_their_factors(base, theirs)
    their_optimizer = optimizers.create_loraplus_optimizer(
        theirs, torch.optim.AdamW, lr=2e-3, loraplus_lr_ratio=16
    )
    our_optimizer = torch.optim.AdamW(plus_groups(ours, 2e-3, 16), weight_decay=0.0)
    torch.testing.assert_close(losses_of(ours, our_optimizer), losses_of(theirs, their_optimizer))
    for name, module in layers_of(theirs).items():
        layer = ours.get_submodule(name)
        torch.testing.assert_close(layer.lora_A, module.lora_A["default"].weight, atol=1e-5, rtol=0)
        torch.testing.assert_close(layer.lora_B, module.lora_B["default"].weight, atol=1e-5, rtol=0)


def test_dora(base):
    theirs = theirs_of(base, use_dora=True)
    ours = to_dora(with_their_factors(base, theirs))
    adams = [
        torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
        for model in (ours, theirs)
    ]
    our_losses, their_losses = (
        losses_of(model, optimizer) for model, optimizer in zip((ours, theirs), adams, strict=True)
    )
    torch.testing.assert_close(our_losses, their_losses, atol=1e-5, rtol=0)
    moved = 0.0
    for name, module in layers_of(theirs).items():
        layer = ours.get_submodule(name)
        lengths = module.lora_magnitude_vector["default"].weight
        torch.testing.assert_close(layer.magnitude, lengths, atol=1e-4, rtol=0)
        torch.testing.assert_close(layer.lora_B, module.lora_B["default"].weight, atol=1e-4, rtol=0)
        moved += (lengths - weight_matrix(layer.original).norm(dim=1)).abs().max().item()
    assert moved > 0.01


def test_pissa_in_the_product(base):
    """A singular vector may have either sign, so the products B A are compared, and the frozen rest."""
    theirs = theirs_of(base, init_lora_weights="pissa")
    ours = lora.apply_lora(copy.deepcopy(base), RANK, float(ALPHA))
    for layer in lora.lora_layers(ours).values():
        start_pissa(layer)
    with torch.no_grad():
        before = base(input_ids=IDS).logits
        torch.testing.assert_close(ours(input_ids=IDS).logits, before, atol=1e-4, rtol=1e-4)
    for steps in (0, 3):
        descents = [
            torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
            for model in (ours, theirs)
        ]
        losses = [losses_of(m, o, steps) for m, o in zip((ours, theirs), descents, strict=True)]
        torch.testing.assert_close(*losses, atol=1e-5, rtol=0)
        for name, module in layers_of(theirs).items():
            layer = ours.get_submodule(name)
            product = module.lora_B["default"].weight @ module.lora_A["default"].weight
            torch.testing.assert_close(layer.lora_B @ layer.lora_A, product, atol=1e-4, rtol=0)
            torch.testing.assert_close(layer.original.weight, module.base_layer.weight, atol=1e-5, rtol=0)


@pytest.mark.parametrize("setting", [{"use_dora": True}, {"init_lora_weights": "pissa"}])
def test_load_adapter_reads_what_peft_trained(base, setting, tmp_path):
    """On the base from which PEFT started, whose weights PEFT's PiSSA has changed."""
    theirs = theirs_of(base, **setting)
    trained = [p for p in theirs.parameters() if p.requires_grad]
    losses_of(theirs, torch.optim.AdamW(trained, lr=1e-2))
    theirs.save_pretrained(tmp_path)
    ours = lora_files.load_adapter(copy.deepcopy(base), tmp_path)
    with torch.no_grad():
        right, result = (model(input_ids=IDS).logits for model in (theirs.eval(), ours))
        torch.testing.assert_close(result, right, atol=1e-4, rtol=1e-4)
        assert (right - base(input_ids=IDS).logits).abs().max() > 0.1


@pytest.mark.parametrize("setting", [{"use_dora": True}, {"init_lora_weights": "pissa"}])
def test_a_variant_on_four_bits_is_refused(base, setting, tmp_path):
    """Both compute with the frozen matrix, which DoRA would read transposed if it is square."""
    theirs_of(base, **setting).save_pretrained(tmp_path)
    model = quantize_model(lora.apply_lora(copy.deepcopy(base), RANK, float(ALPHA)))
    with pytest.raises(ValueError, match="the model's layers have 4 bits"):
        lora_files.load_adapter(model, tmp_path)


def test_a_dora_adapter_without_its_lengths_is_refused(base, tmp_path):
    theirs_of(base, use_dora=True).save_pretrained(tmp_path)
    file = tmp_path / lora_files.WEIGHTS_FILE
    kept = {name: value for name, value in load_file(file).items() if "magnitude" not in name}
    save_file(kept, file)
    model = copy.deepcopy(base)
    with pytest.raises(ValueError, match="DoRA needs a length for each output"):
        lora_files.load_adapter(model, tmp_path)
    assert not lora.lora_layers(model)
