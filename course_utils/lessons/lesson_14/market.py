"""Models and cards, with the sources of their numbers: those that budget.py uses, and others.

The configurations themselves are budget.KNOWN_MODELS; memory and TFLOP/s of the cards are budget.CARDS.
"""

from typing import NamedTuple


class Origin(NamedTuple):
    """The source of a model's configuration: the repository of its config.json, and its licence."""

    source: str
    date: str
    licence: str


LLAMA = "Meta's community licence"
ORIGINS = {
    "gpt2": Origin("openai-community/gpt2", "February 2019", "MIT"),
    "gpt2-xl": Origin("openai-community/gpt2-xl", "November 2019", "MIT"),
    "SmolLM2-135M": Origin("HuggingFaceTB/SmolLM2-135M", "November 2024", "Apache-2.0"),
    "Qwen2.5-0.5B": Origin("Qwen/Qwen2.5-0.5B", "September 2024", "Apache-2.0"),
    "Llama-3.2-1B": Origin("meta-llama/Llama-3.2-1B", "September 2024", LLAMA),
    "Llama-2-7B": Origin("meta-llama/Llama-2-7b-hf", "July 2023", LLAMA),
    "Mistral-7B": Origin("mistralai/Mistral-7B-Instruct-v0.2", "December 2023", "Apache-2.0"),
    "Qwen2.5-7B": Origin("Qwen/Qwen2.5-7B", "September 2024", "Apache-2.0"),
    "Llama-3.1-8B": Origin("meta-llama/Llama-3.1-8B", "July 2024", LLAMA),
    "Qwen2.5-32B": Origin("Qwen/Qwen2.5-32B", "September 2024", "Apache-2.0"),
    "Llama-3.1-70B": Origin("meta-llama/Llama-3.1-70B", "July 2024", LLAMA),
    "SmolLM3-3B": Origin("HuggingFaceTB/SmolLM3-3B", "July 2025", "Apache-2.0"),
    "Qwen3-0.6B": Origin("Qwen/Qwen3-0.6B", "April 2025", "Apache-2.0"),
    "Qwen3-4B": Origin("Qwen/Qwen3-4B", "April 2025", "Apache-2.0"),
    "Qwen3-8B": Origin("Qwen/Qwen3-8B", "April 2025", "Apache-2.0"),
    "Qwen3-32B": Origin("Qwen/Qwen3-32B", "April 2025", "Apache-2.0"),
}


class Card(NamedTuple):
    """What budget.CARDS lacks: memory bandwidth in GB per second, the year, and the data sheet."""

    bandwidth: int
    year: int
    source: str


SHEETS = {
    "T4": Card(320, 2018, "NVIDIA T4 data sheet"),
    "RTX 3090": Card(936, 2020, "NVIDIA Ampere GA102 white paper"),
    "RTX 4090": Card(1008, 2022, "NVIDIA Ada white paper"),
    "L4": Card(300, 2023, "NVIDIA L4 data sheet"),
    "RTX 5090": Card(1792, 2025, "NVIDIA RTX Blackwell white paper"),
    "A100 40 GB": Card(1555, 2020, "NVIDIA A100 data sheet"),
    "L40S": Card(864, 2023, "NVIDIA L40S data sheet"),
    "A100 80 GB": Card(2039, 2020, "NVIDIA A100 data sheet (SXM)"),
    "H100 80 GB": Card(3350, 2022, "NVIDIA H100 data sheet (SXM)"),
    "H200": Card(4800, 2023, "NVIDIA H200 data sheet (SXM)"),
    "B200": Card(8000, 2024, "NVIDIA HGX B200 data sheet"),
    "MI300X": Card(5300, 2023, "AMD MI300X data sheet"),
}


def model_rows() -> list[dict]:
    """A row for each known model: layers, context, licence, and the source of its configuration."""
    from course_utils.budget import KNOWN_MODELS, load_config

    rows = []
    for name in KNOWN_MODELS:
        config, origin = load_config(name), ORIGINS.get(name, Origin("", "", ""))
        rows.append(
            {
                "model": name,
                "layers": config.num_hidden_layers,
                "width": config.hidden_size,
                "vocabulary": config.vocab_size,
                "context": config.max_position_embeddings,
                "licence": origin.licence,
                "published": origin.date,
                "config.json of": origin.source,
            }
        )
    return rows


def card_rows() -> list[dict]:
    """A row for each card: memory, speed, bandwidth, year and data sheet."""
    from course_utils.budget import CARDS

    return [
        {
            "card": name,
            "memory": CARDS[name][0],
            "speed": CARDS[name][1],
            "bandwidth": sheet.bandwidth,
            "year": str(sheet.year),  # a number would get a comma
            "source": sheet.source,
        }
        for name, sheet in SHEETS.items()
    ]


def load_context(model: str) -> int:
    """Context length of a known model, in tokens."""
    from course_utils.budget import load_config

    return load_config(model).max_position_embeddings
