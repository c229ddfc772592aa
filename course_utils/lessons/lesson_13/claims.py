"""The claims of lesson 13 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="chosen_answers",
        text="Tuning on the chosen answers makes them likelier by three nats or more, and DPO makes them "
        "less likely",
        at_least=3,
        unit="nats",
        headline=True,
        stored=True,
        excludes={"DPO": None, "longer answers": None, "random labels": None, "noise in the weights": None},
    ),
    Claim(
        name="stays_sound",
        text="With tuning added, DPO on 512 pairs lowers soundness by less than 0.15",
        at_most=0.15,
        unit="(soundness)",
        stored=True,
        excludes={"DPO alone": None},
    ),
    Claim(
        name="prompt_counted",
        text="One script's own accuracy exceeds its accuracy on answers by three per cent of the pairs or "
        "more",
        at_least=0.03,
        unit="%",
        excludes={"the sound script": None},
        models="any",
    ),
]


MORE_CLAIMS = [
    Claim(
        name="new_pairs",
        text="In the last eighth of its pass DPO brings the loss of new pairs, of prompts it has seen, "
        "below a coin's",
        at_most=0.68,
        unit="nats per pair",
        stored=True,
        excludes={"no training": None},
    ),
    Claim(
        name="length_alone",
        text="Trained to prefer longer answers, and nothing else, DPO raises the reward model's score by "
        "one or more",
        at_least=1,
        unit="logits",
        stored=True,
        excludes={"random labels": None},
    ),
    Claim(
        name="noise_alone",
        text="Noise in the weights alone lowers the chosen answers of held-out pairs by half a nat or more",
        at_least=0.5,
        unit="nats",
        stored=True,
        excludes={"no change": 0.0},
    ),
    Claim(
        name="by_heart",
        text="Twelve steps of LoRA learn four pairs by heart, to a margin of 0.2 or more",
        at_least=0.2,
        unit="logits",
        excludes={"no training": 0.0},
    ),
]
