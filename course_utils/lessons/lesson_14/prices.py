"""What the guide's defaults cost, in US dollars, each with day and place of reading: the one file to renew.

Prices of tokens are per million, prices of cards per hour, on demand. What is an assumption says so.
"""

from typing import NamedTuple


class Price(NamedTuple):
    """A price, the day on which it was read, and where."""

    value: float
    read: str
    source: str


ASSUMED = "an assumption: put yours in its place"
LUNA = "OpenAI's list, as the notes of Codexometer 0.18.4 quote it"
TERRA = "OpenAI's list, as docs.litellm.ai/blog/gpt-6-1-terra quotes it"
AKASH = "akash.network/pricing/gpus"
RUNPOD = "RunPod, in gemmozero/ai-energy-futures-2026 (Hugging Face)"
RECEIPTS = "runpod.io/pricing, in datareceipts/data-receipts (GitHub)"

# a larger model of a provider: GPT-6.1 Terra; what begins a prompt and repeats is read again at a lower price
READ = Price(1.0, "2026-10-26", TERRA)
READ_AGAIN = Price(0.05, "2026-10-26", TERRA)
WRITE = Price(5.0, "2026-10-26", TERRA)
# the same three of the provider's smallest, GPT-6 Luna
SMALLEST = tuple(Price(value, "2026-09-22", LUNA) for value in (0.1, 0.01, 0.5))
REPEATS = (
    1024  # tokens from which a beginning is kept: OpenAI's Prompt Caching 201, for models before GPT-5.6
)
LONGEST = 272_000  # tokens of a prompt, above which Terra's prices double

# an open model on shared hardware, read or written; an adapter costs what its base does (docs.fireworks.ai,
# Specialized Model Inference: one base, three adapters), where the base is one that takes adapters
HOSTED = Price(0.2, "2026-09-25", "docs.fireworks.ai/serverless/pricing, up to 16 billion parameters")
HOSTED_ABOVE = Price(0.9, "undated", "fireworks.ai/pricing in an older copy, 16 to 80 billion parameters")


def hosted(parameters: int) -> Price:
    """The price of a model with this many parameters on shared hardware."""
    return HOSTED if parameters <= 16e9 else HOSTED_ABOVE


CARDS = {
    "RTX 3090": Price(0.24, "2026-09-20", RUNPOD),
    "RTX 4090": Price(0.44, "2026-09-20", RUNPOD),
    "L40S": Price(0.99, "2026-09-20", RUNPOD),
    "A100 80 GB": Price(1.79, "2026-11-09", RECEIPTS),
    "H100 80 GB": Price(3.99, "2026-11-09", RECEIPTS),
    "H200": Price(4.45, "2026-09-20", AKASH),
    "B200": Price(5.0, "2026-09-20", AKASH),
}

PERSON_DAY = Price(600.0, "2026-11-30", ASSUMED)
LABEL = Price(2.0, "2026-11-30", ASSUMED)


class Closing(NamedTuple):
    """An offer that ends: the last day of new trainings, that of models tuned before, and where it stands."""

    new: str
    models: str
    source: str


# the page was read in excerpts, its dates in reports that quote it
TUNING = Closing("6 January 2027", "14 January 2027", "developers.openai.com/api/docs/deprecations")
