"""The claims of lesson 12, and of its companion, in the order in which they make them."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="quotation_marks",
        text="Ten iterations of REINFORCE add at least five quotation marks to an answer",
        at_least=5,
        unit="marks in an answer",
        excludes={"a policy that does not learn": 0.0},
    ),
    Claim(
        name="clip_keeps_near",
        text="With four passes over each batch the clip keeps the policy within 40 nats per answer",
        at_most=40,
        unit="nats per answer",
        stored=True,
        excludes={"no clip": None},
    ),
    Claim(
        name="proxy_rises",
        text="Training with the penalty raises the proxy on held-out prompts by half a logit or more",
        at_least=0.5,
        unit="logits",
        excludes={"no training": 0.0},
    ),
    Claim(
        name="free_goes_farther",
        text="Without the penalty the policy goes at least twice as far as with it",
        at_least=2,
        unit="times",
        excludes={"a penalty without effect": 1.0},
    ),
    Claim(
        name="gold_falls",
        text="Without the penalty the gold score falls from its peak by 0.07 or more within twenty "
        "iterations",
        at_least=0.07,
        unit="points",
        headline=True,
        stored=True,
        excludes={"with the penalty": None},
    ),
    Claim(
        name="penalty_keeps_near",
        text="At the same rate the penalty keeps the policy within 15 nats per answer",
        at_most=15,
        unit="nats per answer",
        stored=True,
        excludes={"without it": None},
    ),
    Claim(
        name="penalty_keeps_gold",
        text="After twenty iterations the gold score with the penalty lies a tenth or more above the one "
        "without",
        at_least=0.1,
        unit="points",
        stored=True,
        excludes={"a penalty without effect": 0.0},
    ),
]

MORE_CLAIMS = [
    Claim(
        name="gold_as_reward",
        text="Trained on the gold score itself without a penalty, the policy ends at least a tenth above "
        "the start",
        at_least=0.1,
        unit="points",
        stored=True,
        excludes={"trained on the proxy": None},
    ),
    Claim(
        name="farther_than_best_of_8",
        text="PPO with the penalty goes at least four times as far in KL as the best of 8",
        at_least=4,
        unit="times",
        stored=True,
        excludes={"the same distance": 1.0},
    ),
]
