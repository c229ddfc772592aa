"""The claims of lesson 01, and of its companion, in the order in which they make them."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="tuning_answers",
        text="Tuning lifts the share of held-out questions answered at least 60 points above a random "
        "change's",
        at_least=0.6,
        unit="%",
        headline=True,
        excludes={"no training": None, "tuned on exchanged answers": None},
    ),
    Claim(
        name="random_change_keeps",
        text="A random change as long as tuning's raises the perplexity on texts by a factor of at most 1.02",
        at_most=1.02,
        unit="times",
        excludes={"tuning": None},
    ),
    Claim(
        name="right_against_exchanged",
        text="Tuning lowers the loss of right answers at least 3 nats a token further than the loss of "
        "exchanged ones",
        at_least=3,
        unit="nats a token",
        excludes={"tuned on exchanged answers": None},
    ),
    Claim(
        name="shifted_twice",
        text="Training on labels shifted twice leaves at most 10% of the held-out questions answered",
        at_most=0.1,
        unit="%",
        excludes={"mended": None, "the base, not trained": None},
    ),
]

MORE_CLAIMS = [
    Claim(
        name="singular_values_alone",
        text="A random change with the singular values of tuning's raises the share of held-out questions "
        "answered by at most 10 points, at any length",
        at_most=0.1,
        unit="%",
        stored=True,
        excludes={"tuning": None},
    ),
    Claim(
        name="statements_kept",
        text="Tuning costs the base at most 5% of its statements",
        at_most=0.05,
        unit="%",
        stored=True,
        excludes={"a model that starts from random weights": None},
    ),
    Claim(
        name="perplexity_rises",
        text="Tuning raises the perplexity on texts by a factor between 1.15 and 2",
        at_most=2,
        at_least=1.15,
        unit="times",
        stored=True,
        excludes={"a random change": None},
    ),
    Claim(
        name="moves_as_far",
        text="From random weights the model moves at most three times as far as from the base",
        at_most=3,
        unit="times",
        stored=True,
        excludes={"four times the rate": None},
    ),
    Claim(
        name="from_the_base",
        text="Training from the base takes held-out answers to at most 0.25 nats a token",
        at_most=0.25,
        unit="nats a token",
        stored=True,
        excludes={"the base, not tuned": None, "from random weights": None},
    ),
    Claim(
        name="from_random_weights",
        text="Training from random weights leaves held-out answers above 4.5 nats a token",
        at_least=4.5,
        unit="nats a token",
        stored=True,
        excludes={"from the base": None},
    ),
    Claim(
        name="longer_from_random_weights",
        text="After 320 steps, too, random weights leave held-out answers above 4.5 nats a token",
        at_least=4.5,
        unit="nats a token",
        stored=True,
        excludes={"answers that they train on": None},
    ),
]
