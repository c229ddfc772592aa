"""LoRA with trained token rows: what moves, what is saved, what is rejected."""

import copy

import pytest
import torch
from helpers import tiny_llama, tiny_tokenizer

from course_utils.chatml import add_chat_tokens, encode_conversation, marker_ids
from course_utils.data import collate
from course_utils.methods.lora import apply_lora, count_trainable, lora_layers
from course_utils.methods.lora_files import load_adapter, save_adapter
from course_utils.methods.token_rows import (
    load_chat_adapter,
    merge_token_rows,
    save_chat_adapter,
    train_token_rows,
)
from course_utils.training import train

MESSAGES = [{"role": "user", "content": "is Paris the capital?"}, {"role": "assistant", "content": "a cat"}]


def batch_of(tokenizer):
    return collate([encode_conversation(tokenizer, MESSAGES)], 0)


@pytest.fixture
def chat(model, tokenizer):
    """A model with LoRA and trained marker rows, its tokenizer, and the model before."""
    base = copy.deepcopy(model)
    add_chat_tokens(model, tokenizer)
    train_token_rows(apply_lora(model, 4, 8.0), marker_ids(tokenizer))
    return model, tokenizer, base


def trained(model, tokenizer, steps=5):
    train(model, iter(lambda: batch_of(tokenizer), None), steps=steps, lr=1e-2)
    return model.eval()


def test_the_model_is_unchanged_at_the_start(model, tokenizer):
    add_chat_tokens(model, tokenizer)
    batch = batch_of(tokenizer)
    with torch.no_grad():
        before = model(**batch).loss
        train_token_rows(model, marker_ids(tokenizer))
        torch.testing.assert_close(model(**batch).loss, before, atol=1e-6, rtol=0)


def test_only_the_adapter_and_the_two_rows_are_trained(chat):
    model, tokenizer, _ = chat
    adapter = sum(layer.lora_A.numel() + layer.lora_B.numel() for layer in lora_layers(model).values())
    assert count_trainable(model)[0] == adapter + 2 * model.config.n_embd
    before = model.get_input_embeddings().weight.clone()
    trained(model, tokenizer)
    moved = (model.get_input_embeddings().weight != before).any(1).nonzero().flatten().tolist()
    assert moved == list(marker_ids(tokenizer))
    assert torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight)


def test_gradients_are_those_of_the_full_embedding(model, tokenizer):
    """The truth: both rows of the gradient of a plain, tied, trainable embedding."""
    add_chat_tokens(model, tokenizer)
    plain, batch, tokens = copy.deepcopy(model), batch_of(tokenizer), list(marker_ids(tokenizer))
    plain(**batch).loss.backward()
    train_token_rows(model, tokens)
    model(**batch).loss.backward()
    expected = plain.get_input_embeddings().weight.grad[tokens]
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(model.get_input_embeddings().rows.grad, expected, atol=1e-6, rtol=1e-5)


def test_merging_gives_a_plain_model_with_the_same_output(chat):
    model, tokenizer, _ = chat
    trained(model, tokenizer)
    batch = batch_of(tokenizer)
    with torch.no_grad():
        before = model(**batch).logits
        merge_token_rows(model)
        torch.testing.assert_close(model(**batch).logits, before, atol=1e-5, rtol=0)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_merging_writes_a_head_of_its_own_too(tokenizer):
    model = tiny_llama(vocab_size=len(tokenizer))
    add_chat_tokens(model, tokenizer)
    train_token_rows(apply_lora(model, 4, 8.0), marker_ids(tokenizer))
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    for layer in (embedding, head):
        torch.nn.init.normal_(layer.rows)
    rows, head_rows, batch = embedding.rows.detach(), head.rows.detach(), batch_of(tokenizer)
    assert not torch.allclose(rows, head_rows)
    with torch.no_grad():
        before = model(**batch).logits
        merge_token_rows(model)
        torch.testing.assert_close(model(**batch).logits, before, atol=1e-5, rtol=0)
    markers = list(marker_ids(tokenizer))
    assert torch.equal(model.get_input_embeddings().weight[markers], rows)
    assert torch.equal(model.get_output_embeddings().weight[markers], head_rows)


def test_saved_and_loaded_on_the_base_without_the_tokens(chat, tmp_path):
    model, tokenizer, base = chat
    trained(model, tokenizer)
    save_chat_adapter(model, tokenizer, tmp_path)
    size = len(base.get_input_embeddings().weight)
    loaded_tokenizer = load_chat_adapter(base, tmp_path)
    assert len(base.get_input_embeddings().weight) == size + 2
    assert loaded_tokenizer.chat_template == tokenizer.chat_template
    batch = batch_of(loaded_tokenizer)
    with torch.no_grad():
        torch.testing.assert_close(base(**batch).logits, model(**batch).logits, atol=1e-6, rtol=0)


def test_what_is_refused(chat, tmp_path):
    model, tokenizer, base = chat
    save_chat_adapter(model, tokenizer, tmp_path / "chat")
    with pytest.raises(ValueError, match="already trains token rows"):
        train_token_rows(model, [1])
    with pytest.raises(ValueError, match=r"ids from 0 to 327, got \[328\]"):
        train_token_rows(copy.deepcopy(base), [328])
    with pytest.raises(ValueError, match="trains no token rows"):
        merge_token_rows(base)
    with pytest.raises(ValueError, match="trains no token rows"):
        save_chat_adapter(base, tokenizer, tmp_path)
    with pytest.raises(ValueError, match="trainable_token_indices"):
        load_adapter(copy.deepcopy(base), tmp_path / "chat")
    save_adapter(apply_lora(copy.deepcopy(base), 4, 8.0), tmp_path / "plain")
    with pytest.raises(ValueError, match="names no trainable_token_indices: use load_adapter"):
        load_chat_adapter(base, tmp_path / "plain")


def test_an_adapter_for_another_model_changes_nothing(chat, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    model, tokenizer, _ = chat
    save_chat_adapter(model, tokenizer, tmp_path)
    vocabulary = len(tiny_tokenizer())
    config = GPT2Config(vocab_size=vocabulary, n_embd=48, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    wide = GPT2LMHeadModel(config)
    with pytest.raises(ValueError, match=r"rows of transformer.wte should be \[2, 48\], found \[2, 32\]"):
        load_chat_adapter(wide, tmp_path)
    assert len(wide.get_input_embeddings().weight) == vocabulary and not lora_layers(wide)
