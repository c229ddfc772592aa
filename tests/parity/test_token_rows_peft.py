"""Trained token rows: our folder loads in PEFT, PEFT's in ours, with the same logits; gradients agree."""

import copy
import warnings

import pytest
import torch

from course_utils.chatml import add_chat_tokens, encode_conversation, marker_ids
from course_utils.data import collate
from course_utils.methods import lora, lora_files
from course_utils.methods.token_rows import load_chat_adapter, save_chat_adapter, train_token_rows

peft = pytest.importorskip("peft")

MESSAGES = [
    {"role": "user", "content": "is Paris the capital?"},
    {"role": "assistant", "content": "a cat sat."},
]


@pytest.fixture(params=["model", "llama"])
def base(request):
    """GPT-2 with a tied head, Llama with an untied one."""
    return request.getfixturevalue(request.param)


def batch_of(tokenizer):
    return collate([encode_conversation(tokenizer, MESSAGES)], 0)


def logits(model, tokenizer):
    batch = batch_of(tokenizer)
    with torch.no_grad():
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


def ours_on(base, tokenizer):
    model = copy.deepcopy(base)
    add_chat_tokens(model, tokenizer)
    train_token_rows(lora.apply_lora(model, 4, 8.0), marker_ids(tokenizer))
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if name.endswith(("lora_B", "rows")):
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def strict():
    """PEFT warns about keys that are missing or unexpected."""
    warnings.simplefilter("error", UserWarning)


def test_peft_loads_ours(base, tokenizer, tmp_path):
    ours = ours_on(base, tokenizer)
    save_chat_adapter(ours, tokenizer, tmp_path)
    resized = copy.deepcopy(base)
    resized.resize_token_embeddings(len(tokenizer))
    with warnings.catch_warnings():
        strict()
        theirs = peft.PeftModel.from_pretrained(resized, tmp_path).eval()
    torch.testing.assert_close(logits(theirs, tokenizer), logits(ours, tokenizer), atol=1e-5, rtol=0)
    assert (tmp_path / lora_files.WEIGHTS_FILE).stat().st_size < 40_000


def test_ours_loads_peft(model, tokenizer, tmp_path):
    chat = copy.deepcopy(model)
    add_chat_tokens(chat, tokenizer)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["c_attn"],
        task_type="CAUSAL_LM",
        fan_in_fan_out=True,
        init_lora_weights=False,
        trainable_token_indices=list(marker_ids(tokenizer)),
    )
    theirs = peft.get_peft_model(chat, config)
    for name, parameter in theirs.named_parameters():
        if "trainable_tokens_delta" in name:
            parameter.data += 0.1
    theirs.eval().save_pretrained(tmp_path, save_embedding_layers=False)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_chat_adapter(model, tmp_path)
    torch.testing.assert_close(logits(model, loaded), logits(theirs, tokenizer), atol=1e-5, rtol=0)


def test_gradients_of_the_rows(model, tokenizer):
    ours = ours_on(model, tokenizer)
    chat = copy.deepcopy(model)
    add_chat_tokens(chat, tokenizer)
    tokens = list(marker_ids(tokenizer))
    config = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=lora.default_lora_targets(model),
        task_type="CAUSAL_LM",
        fan_in_fan_out=True,
        trainable_token_indices=tokens,
    )
    theirs = peft.get_peft_model(chat, config)
    for name, parameter in theirs.named_parameters():
        if "trainable_tokens_delta" in name:
            parameter.data.copy_(ours.get_input_embeddings().rows)
            rows = parameter
    layers = lora.lora_layers(ours)
    for name, module in theirs.get_base_model().named_modules():
        if name in layers:
            module.lora_A["default"].weight.data.copy_(layers[name].lora_A)
            module.lora_B["default"].weight.data.copy_(layers[name].lora_B)
    batch = batch_of(tokenizer)
    ours(**batch).loss.backward()
    theirs(**batch).loss.backward()
    assert rows.grad.abs().max() > 1e-3
    torch.testing.assert_close(ours.get_input_embeddings().rows.grad, rows.grad, atol=1e-6, rtol=1e-5)
