"""The claims of lesson 17, in the order in which it makes them."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="cut_takes_targets",
        text="A cut at the median length takes targets at least 1.5 times as often as tokens",
        at_least=1.5,
        unit="times",
        excludes={"targets spread evenly": 1.0},
    ),
    Claim(
        name="other_spellings",
        text="Invented facts taught in other spellings get at least 50 points more than those never taught",
        at_least=0.5,
        unit="%",
        headline=True,
        excludes={"no leak": 0.0},
    ),
    Claim(
        name="asked_later",
        text="The colleague's held-out questions get at least twice the score of those asked later",
        at_least=2.0,
        unit="times",
        excludes={"a score that lasts": 1.0},
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
        excludes={"trained on answers dealt out at random": 0.225, "no training": 1.0},
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
