"""LoRA with new tokens: the rows of a few tokens are trained with the adapter and saved with it.

Equivalent to PEFT's `trainable_token_indices`, in its file format: PEFT loads a folder written here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_utils.chatml import add_chat_tokens, marker_ids
from course_utils.methods.lora import check_fits, get_adapter
from course_utils.methods.lora_files import (
    CONFIG_FILE,
    PREFIX,
    adapter_config,
    install_adapter,
    parse_adapter,
    peft_tensors,
    read_adapter_files,
    write_adapter_files,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROWS_TENSOR = (
    "token_adapter.trainable_tokens_delta"  # PEFT's name; it holds the rows themselves, not a difference
)


class RowsEmbedding(nn.Module):
    """A frozen embedding in which the rows of some tokens are parameters: ids [...] -> [..., d]."""

    tokens: Tensor

    def __init__(self, original: nn.Embedding, tokens: Tensor, rows: nn.Parameter) -> None:
        super().__init__()
        self.original = original.requires_grad_(False)
        self.rows = rows  # (tokens, d)
        self.register_buffer("tokens", tokens, persistent=False)
        self.num_embeddings = original.num_embeddings

    def forward(self, ids: Tensor) -> Tensor:
        embedded = self.original(ids)
        for token, row in zip(self.tokens, self.rows, strict=True):
            embedded = torch.where((ids == token).unsqueeze(-1), row.to(embedded.dtype), embedded)
        return embedded

    @property
    def weight(self) -> Tensor:
        return self.original.weight.index_copy(0, self.tokens, self.rows.to(self.original.weight.dtype))


class RowsHead(nn.Module):
    """A frozen output head in which the rows of some tokens are parameters: [..., d] -> [..., vocabulary]."""

    tokens: Tensor
    bias = None

    def __init__(self, original: nn.Linear, tokens: Tensor, rows: nn.Parameter) -> None:
        super().__init__()
        self.original = original.requires_grad_(False)
        self.rows = rows
        self.register_buffer("tokens", tokens, persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        logits = self.original(hidden)
        of_rows = (hidden.to(self.rows.dtype) @ self.rows.T).to(logits.dtype)  # (..., tokens)
        return logits.index_copy(-1, self.tokens, of_rows)

    weight = RowsEmbedding.weight


def train_token_rows(model: PreTrainedModel, tokens: Sequence[int]) -> PreTrainedModel:
    """Make the embedding rows of these tokens trainable and freeze all others, in place; returns the model.

    Call it after apply_lora, which freezes everything. If the head is tied to the embedding, both share the
    rows; otherwise the head gets its own. ValueError for no tokens, unknown tokens, or a model that already
    trains token rows.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if isinstance(embedding, RowsEmbedding):
        raise ValueError("the model already trains token rows: merge_token_rows(model) first")
    if not tokens or not all(0 <= token < embedding.num_embeddings for token in tokens):
        raise ValueError(f"tokens must be ids from 0 to {embedding.num_embeddings - 1}, got {list(tokens)}")
    index = torch.tensor(list(tokens), device=embedding.weight.device)
    rows = nn.Parameter(embedding.weight.detach()[index].float())
    tied = head.weight is embedding.weight
    model.set_input_embeddings(RowsEmbedding(embedding, index, rows))
    head_rows = rows if tied else nn.Parameter(head.weight.detach()[index].float())
    model.set_output_embeddings(RowsHead(head, index, head_rows))
    return model


@torch.no_grad()
def merge_token_rows(model: PreTrainedModel) -> PreTrainedModel:
    """Write the rows into the embedding and the head and remove the wrappers, in place."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if not isinstance(embedding, RowsEmbedding):
        raise ValueError("the model trains no token rows: train_token_rows(model, tokens) makes it do so")
    for layer in (embedding, head):
        layer.original.weight[layer.tokens] = layer.rows.to(layer.original.weight.dtype)
    model.set_input_embeddings(embedding.original)
    model.set_output_embeddings(head.original)
    return model


def _row_layers(model: PreTrainedModel) -> dict[str, RowsEmbedding | RowsHead]:
    """{name: layer} of the embedding, and of the head if it is not tied."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): name for name, module in model.named_modules()}
    own = (
        head.rows is not embedding.rows if isinstance(head, RowsHead) else head.weight is not embedding.weight
    )
    return {names[id(layer)]: layer for layer in ([embedding, head] if own else [embedding])}


def save_chat_adapter(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path | str) -> Path:
    """Save adapter, token rows and tokenizer (with its template) in PEFT's format; returns the folder."""
    if not isinstance(model.get_input_embeddings(), RowsEmbedding):
        raise ValueError("the model trains no token rows: save_adapter of methods.lora_files saves the rest")
    adapter, layers = get_adapter(model), _row_layers(model)
    tokens = model.get_input_embeddings().tokens.tolist()
    indices = tokens if len(layers) == 1 else {name.rpartition(".")[2]: tokens for name in layers}
    config = adapter_config(model) | {"trainable_token_indices": indices}
    tensors = peft_tensors(adapter.tensors)
    tensors |= {f"{PREFIX}{name}.{ROWS_TENSOR}": layer.rows.detach() for name, layer in layers.items()}
    tokenizer.save_pretrained(folder)
    return write_adapter_files(folder, config, tensors, adapter.fingerprint)


def load_chat_adapter(
    model: PreTrainedModel, folder: Path | str, check_base: bool = True
) -> PreTrainedTokenizerBase:
    """Put a chat adapter on its base model, in place, and return the tokenizer.

    The folder's tokenizer has the markers, so the model is resized first. ValueError if the folder has no
    token rows or does not fit (as in load_adapter).
    """
    from transformers import AutoTokenizer

    from course_utils.models import prepare_tokenizer

    config, tensors, fingerprint = read_adapter_files(folder)
    tokens = config.pop("trainable_token_indices", None)
    if not tokens:
        raise ValueError(f"{Path(folder) / CONFIG_FILE} names no trainable_token_indices: use load_adapter")
    if isinstance(tokens, dict):
        tokens = next(iter(tokens.values()))
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise ValueError(f"{Path(folder) / CONFIG_FILE}: trainable_token_indices cannot be {tokens!r}")
    rows = {}
    for name in _row_layers(model):
        rows[name] = tensors.pop(f"{PREFIX}{name}.{ROWS_TENSOR}", torch.empty(0))
        expected = (len(tokens), model.get_input_embeddings().weight.shape[1])
        if rows[name].shape != expected:
            found = f"found {list(rows[name].shape)}" if rows[name].numel() else "there are none"
            raise ValueError(f"{folder}: rows of {name} should be {list(expected)}, {found}")
    adapter = parse_adapter(folder, config, tensors, fingerprint)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    prepare_tokenizer(tokenizer, Path(folder))
    marker_ids(tokenizer)
    check_fits(model, adapter)
    add_chat_tokens(model, tokenizer)
    install_adapter(model, adapter, folder, check_base)
    train_token_rows(model, tokens)
    for name, layer in _row_layers(model).items():
        layer.rows.data.copy_(rows[name])
    return tokenizer
