"""How much of a real model is quantised: counted from its sizes, without its weights."""

from __future__ import annotations

from course_utils.methods.quantization import bits_per_parameter

# hidden size, MLP size, layers, query heads, key-value heads, vocabulary, head tied to the embedding, biases
# of query, key and value: from each model's config.json on the Hugging Face hub
CONFIGS = {
    "Llama-2-7B": (4096, 11008, 32, 32, 32, 32000, False, False),
    "Mistral-7B-v0.3": (4096, 14336, 32, 32, 8, 32768, False, False),
    "Llama-3.1-8B": (4096, 14336, 32, 32, 8, 128256, False, False),
    "Qwen2.5-7B": (3584, 18944, 28, 28, 4, 152064, False, True),
}


def counts(name: str) -> dict[str, int]:
    """Values of a model: in linear layers of the blocks, in embedding and head, and in norms and biases."""
    hidden, mlp, layers, heads, kv_heads, vocabulary, tied, biases = CONFIGS[name]
    kv = hidden // heads * kv_heads
    linear = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * mlp)
    return {
        "linear": linear,
        "embeddings": vocabulary * hidden * (1 if tied else 2),
        "rest": (2 * layers + 1) * hidden + (layers * (hidden + 2 * kv) if biases else 0),
    }


def gigabytes(name: str) -> dict[str, float]:
    """GB of a model's weights: all in bf16; linear layers in NF4 and the rest in bf16, or in fp32."""
    values = counts(name)
    total, left = sum(values.values()), values["embeddings"] + values["rest"]
    four_bits = values["linear"] * bits_per_parameter() / 8
    return {
        "bf16": 2 * total / 1e9,
        "4 bits, rest bf16": (four_bits + 2 * left) / 1e9,
        "4 bits, rest fp32": (four_bits + 4 * left) / 1e9,
    }
