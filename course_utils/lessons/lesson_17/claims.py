"""The claims of lesson 17 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="asked_later",
        text="Of the held-out chats at least 20 points more are answered rightly than of the later ones",
        at_least=0.2,
        unit="%",
        headline=True,
        excludes={"a score that lasts": 0.0, "a split by template, at five seeds": None},
    ),
    Claim(
        name="cut_takes_targets",
        text="A cut at the median length takes targets at least 1.5 times as often as tokens",
        at_least=1.5,
        unit="times",
        excludes={"targets spread evenly": 1.0},
    ),
    Claim(
        name="by_rules",
        text="With the question turned into the beginning of a statement at least 90% of the answers agree",
        at_least=0.9,
        unit="%",
        excludes={"the best of the eight prompts": None},
    ),
    Claim(
        name="sft_loss",
        text="SFT takes the loss on held-out answers to at most a tenth",
        at_most=0.1,
        unit="times",
        excludes={"trained on answers dealt out at random": None, "no training": 1.0},
    ),
    Claim(
        name="sft_agrees",
        text="After SFT at least 80% of the answers agree with the reference",
        at_least=0.8,
        unit="%",
        excludes={"the base": None, "the base by prompt": None},
    ),
    Claim(
        name="sentences_after_dpo",
        text="After DPO at least 70% of the answers are sentences",
        at_least=0.7,
        unit="%",
        excludes={"after SFT": None},
    ),
    Claim(
        name="forgetting",
        text="The two trainings raise the loss on other text by 0.05 to 1.6 nats",
        at_most=1.6,
        at_least=0.05,
        unit="nats",
        excludes={"nothing forgotten": 0.0},
    ),
    Claim(
        name="better_than_prompt",
        text="In the end at least 40 points more of the answers agree than by the best of the eight prompts",
        at_least=0.4,
        unit="%",
        excludes={"no better": 0.0},
    ),
]

MORE_CLAIMS = [
    Claim(
        name="other_spellings",
        text="Invented facts taught in other spellings get at least 50 points more than those never taught",
        at_least=0.5,
        unit="%",
        stored=True,
        excludes={"the base, of the same facts": None},
    ),
    Claim(
        name="dealt_out",
        text="Trained on answers dealt out at random, the held-out loss falls to less than 0.4 of its start",
        at_most=0.4,
        unit="times",
        stored=True,
        excludes={"no training": 1.0},
    ),
]
