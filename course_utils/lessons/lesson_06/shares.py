"""The share of a real model that is quantised, computed from its config, without its weights."""

from __future__ import annotations

from course_utils.budget import KNOWN_MODELS, load_config
from course_utils.methods.quantization import bits_per_parameter

CONFIGS = {
    "Llama-2-7B": KNOWN_MODELS["Llama-2-7B"],
    "Mistral-7B-v0.3": KNOWN_MODELS["Mistral-7B"] | {"vocab_size": 32768},
    "Llama-3.1-8B": KNOWN_MODELS["Llama-3.1-8B"],
    "Qwen2.5-7B": KNOWN_MODELS["Qwen2.5-7B"],
}


def counts(name: str) -> dict[str, int]:
    """Parameters of a model: in the blocks' linear layers, in embedding and head, and in norms and biases."""
    config = load_config(CONFIGS[name])
    hidden, mlp, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    kv = hidden // config.num_attention_heads * config.num_key_value_heads
    biases = config.model_type == "qwen2"  # of query, key and value
    linear = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * mlp)
    return {
        "linear": linear,
        "embeddings": config.vocab_size * hidden * (1 if config.tie_word_embeddings else 2),
        "rest": (2 * layers + 1) * hidden + (layers * (hidden + 2 * kv) if biases else 0),
    }


def gigabytes(name: str) -> dict[str, float]:
    """GB of a model's weights: all in bf16; linear layers in NF4 and the rest in bf16 or fp32."""
    values = counts(name)
    total, left = sum(values.values()), values["embeddings"] + values["rest"]
    four_bits = values["linear"] * bits_per_parameter() / 8
    return {
        "bf16": 2 * total / 1e9,
        "4 bits, rest bf16": (four_bits + 2 * left) / 1e9,
        "4 bits, rest fp32": (four_bits + 4 * left) / 1e9,
    }
