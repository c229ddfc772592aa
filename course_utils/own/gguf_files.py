"""GGUF, the file format of llama.cpp and Ollama: GPT-2 and Llama-like models, all values in 32 bits.

Tensor and setting names are those of llama.cpp, from its library `gguf`.
"""

import json
from pathlib import Path

from transformers.pytorch_utils import Conv1D

# llama.cpp's names for how a tokenizer splits text before merging bytes, by the entries of tokenizer.json
PRE_TOKENIZERS = {("ByteLevel",): "gpt-2", ("Digits", "ByteLevel"): "smollm"}


def gguf_fault(model, tokenizer) -> str:
    """The reason why the model cannot be written as GGUF, or ""."""
    kind = model.config.model_type
    if kind not in ("gpt2", "llama"):
        return f"this writes models of type gpt2 and llama, but the model is of type {kind}"
    if kind == "llama" and model.config.rope_parameters["rope_type"] != "default":
        return f"its positions are scaled ({model.config.rope_parameters['rope_type']})"
    if not pre_tokenizer_name(tokenizer):
        return "its tokenizer does not split text as GPT-2's or SmolLM's does"
    return ""


def pre_tokenizer_name(tokenizer) -> str | None:
    """llama.cpp's name for how the tokenizer splits text; None if it is unknown here."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    first = state["pre_tokenizer"] or {"type": None}
    steps = first["pretokenizers"] if first["type"] == "Sequence" else [first]
    plain = state["model"]["type"] == "BPE" and state["normalizer"] is None
    cut = all(step.get("use_regex", True) and step.get("individual_digits", True) for step in steps)
    begin = any(step.get("add_prefix_space") for step in steps)
    names = tuple(step["type"] for step in steps)
    return PRE_TOKENIZERS.get(names) if plain and cut and not begin else None


def write_gguf(model, tokenizer, path: Path, name: str) -> None:
    """Write model, tokenizer and chat template into one file. ValueError for a tensor unknown to GGUF."""
    from gguf import MODEL_ARCH, GGUFWriter, LlamaFileType, get_tensor_name_map

    kind, config = model.config.model_type, model.config
    writer = GGUFWriter(path, kind)
    writer.add_name(name)
    writer.add_file_type(LlamaFileType.ALL_F32)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    {"gpt2": _add_gpt2, "llama": _add_llama}[kind](writer, config)
    _add_tokenizer(writer, tokenizer, model.get_input_embeddings().num_embeddings)
    names = get_tensor_name_map(MODEL_ARCH[kind.upper()], config.num_hidden_layers)
    for own_name, value in _tensors(model).items():
        place = names.get_name(own_name, try_suffixes=(".weight", ".bias"))
        if place is None:
            raise ValueError(f"GGUF has no place for the tensor {own_name} in a model of type {kind}")
        writer.add_tensor(place, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_gpt2(writer, config):
    writer.add_feed_forward_length(config.n_inner or 4 * config.n_embd)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)


def _add_llama(writer, config):
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_vocab_size(config.vocab_size)


def _add_tokenizer(writer, tokenizer, rows):
    """Add the vocabulary, with as many tokens as the embedding has rows, and the chat template."""
    from gguf import TokenType

    known = {number: token for token, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder

    def kind(number):
        if number in added:
            return TokenType.CONTROL if added[number].special else TokenType.USER_DEFINED
        return TokenType.NORMAL if number in known else TokenType.UNUSED

    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")  # byte-level BPE, for every model
    writer.add_tokenizer_pre(pre_tokenizer_name(tokenizer))
    writer.add_token_list([known.get(number, f"[PAD{number}]") for number in range(rows)])
    writer.add_token_types([kind(number) for number in range(rows)])
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_eot_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id)
    writer.add_chat_template(tokenizer.chat_template)


def _tensors(model):
    """{name: values in fp32}, every matrix as [out, in], without a head tied to the embedding."""
    transposed = {f"{name}.weight" for name, layer in model.named_modules() if isinstance(layer, Conv1D)}
    values = {
        name: (value.T if name in transposed else value).detach().float().contiguous().numpy()
        for name, value in model.named_parameters()  # a tied weight occurs once, as the embedding's
    }
    if model.config.model_type == "llama":
        for name, value in values.items():
            if ".q_proj." in name:
                values[name] = _interleaved(value, model.config.num_attention_heads)
            elif ".k_proj." in name:
                values[name] = _interleaved(value, model.config.num_key_value_heads)
    return values


def _interleaved(value, heads):
    """Query or key rows in llama.cpp's order for rotation: pairs adjacent, not half a head apart."""
    return value.reshape(heads, 2, -1, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape).copy()
