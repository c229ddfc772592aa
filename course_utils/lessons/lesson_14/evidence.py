"""What is known about the guide's options: points with their source, a person's days, risks."""

from dataclasses import dataclass
from typing import NamedTuple

GOALS = {
    "facts that change": "facts that change or must be cited",
    "facts that stay": "facts that stay as they are",
    "behaviour": "a task, a format or a tone",
    "ability": "right answers to problems that it gets wrong",
    "preference": "nothing, but some of its answers are better than others",
}
PLAIN = ("prompting", "long context", "retrieval", "larger model", "provider's tuning")
TUNED = ("LoRA", "QLoRA", "full")
TRAINED = (*TUNED, "right samples", "distillation", "DPO", "GRPO")
OPTIONS = (*PLAIN, *TRAINED)

MEASURED, COMPUTED, RULE = "measured here on 4.8M", "computed from your answers", "a rule of thumb"
YOURS = "your own measurement"


@dataclass(frozen=True)
class Reason:
    """A sentence, its basis, and its source."""

    text: str
    basis: str
    source: str = ""


class Quality(NamedTuple):
    """Percentage points over the same small model with a prompt; spread: what another task may differ by."""

    points: float
    spread: float
    basis: str
    source: str = ""


DAYS = {  # of a person, with data, trials and judging: a rule of thumb
    "prompting": 2,
    "long context": 3,
    "retrieval": 8,
    "larger model": 2,
    "LoRA": 8,
    "QLoRA": 8,
    "full": 10,
    "right samples": 10,
    "distillation": 10,
    "DPO": 12,
    "GRPO": 20,
}

NARROW = ("published at 7B", "arXiv 2405.00732")  # 31 tasks: 4-bit LoRA 34 over the base, 10 over GPT-4
OWN_RUNS = (MEASURED, "lesson 18, stored runs")
REASONING = ("published at 32B", "arXiv 2501.12948")  # AIME 2024: RL 47.0, distilled 72.6, teacher 79.8
FACTS = ("published at 7B", "arXiv 2312.05934")  # current events: 48.1, tuned 50.4, retrieval 87.5
LONG = ("published at 32B or more", "arXiv 2407.16833")  # 8 points over retrieval on average, and dearer
_FACTS = {"long context": Quality(47, 15, *LONG), "retrieval": Quality(39, 15, *FACTS)} | dict.fromkeys(
    TUNED, Quality(2, 10, *FACTS)
)
QUALITY: dict[str, dict[str, Quality]] = {
    "facts that change": _FACTS,
    "facts that stay": _FACTS,
    "behaviour": {
        "larger model": Quality(24, 10, *NARROW),
        "right samples": Quality(20, 15, RULE),
        "distillation": Quality(24, 10, RULE),  # at most what its teacher gives
        "GRPO": Quality(20, 15, RULE),
    }
    | dict.fromkeys(TUNED, Quality(34, 10, *NARROW)),
    "ability": {
        "larger model": Quality(50, 15, *REASONING),
        "distillation": Quality(43, 15, *REASONING),
        "right samples": Quality(25, 15, *OWN_RUNS),
        "GRPO": Quality(17, 15, *OWN_RUNS),
    }
    | dict.fromkeys(TUNED, Quality(43, 15, *OWN_RUNS)),
    "preference": {
        "larger model": Quality(8, 8, RULE),
        "DPO": Quality(11, 5, "published at 7B to 70B", "arXiv 2311.10702"),
    }
    | dict.fromkeys(TUNED, Quality(2, 4, RULE)),  # on the chosen answers alone
}

KNOWN = {  # what is known about an option in any case
    "long context": (Reason("Nothing is built, and nothing is missed.", RULE),),
    "retrieval": (
        Reason("Shown at every question, passages harm: only above a threshold.", MEASURED, "lesson 15"),
    ),
    "larger model": (Reason("Nothing is trained, and a better one may come by itself.", RULE),),
    "LoRA": (
        Reason(
            "On all linear layers it reaches full fine-tuning while the data fit its values.",
            "published at 1B to 8B",
            "thinkingmachines.ai/blog/lora",
        ),
    ),
    "QLoRA": (Reason("It reaches LoRA on a 16-bit base.", "published at 7B", "arXiv 2305.14314"),),
    "full": (
        Reason(
            "It learns more where there is much to learn, and forgets more.",
            "published at 7B",
            "arXiv 2405.09673",
        ),
    ),
    "right samples": (
        Reason("Draw, let the program pick the right ones, tune on them; it needs nothing else.", RULE),
        Reason("It was ahead of GRPO, and cheaper.", MEASURED, "lesson 18"),
    ),
    "GRPO": (
        Reason(
            "It raises answers that some samples already get right: look at 16 samples first.",
            "published at 7B",
            "arXiv 2504.13837",
        ),
    ),
}
RISKS = {
    "the provider": "A provider retires models and changes prices on months' notice.",
    "shared, by the token": "Few bases take adapters on shared hardware, and such offers end.",
    "a card of its own": "Somebody has to keep it running.",
}
