"""The claims of lesson 00, and of its companion, in the order in which they make them."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="completes_but_withholds",
        text="The model completes the statement with the capital, and does not answer with it, for at "
        "least 57 countries of 60",
        at_least=57,
        unit="countries",
        headline=True,
        excludes={"random weights": 0, "the same model tuned on questions about the other 108 countries": 3},
        seeds=[60, 60, 60, 60, 60],
    ),
    Claim(
        name="examples_in_front",
        text="Eight answered questions in front still leave at most 3 of the 60 capitals answered",
        at_most=3,
        unit="capitals",
        excludes={"the tuned model, with the same eight questions in front": 46},
        seeds=[0, 0, 0, 0, 0],
    ),
    Claim(
        name="sixty_steps",
        text="After sixty steps on questions about other countries it gives the capitals of at least 54 of"
        " the sixty",
        at_least=54,
        unit="countries",
        excludes={"no training": None, "eight questions in front": None},
        seeds=[59, 60, 59, 57, 58],
    ),
    Claim(
        name="top_p",
        text="At temperature 1.3 top-p 0.9 lowers the share of broken sentences by at least 10 percentage "
        "points",
        at_least=0.1,
        unit="%",
        excludes={"a rule that removes nothing": 0.0, "a top-p that drops the wrong tokens": -0.33},
        seeds=[0.212, 0.237, 0.16, 0.212, 0.213],
    ),
]

MORE_CLAIMS = [
    Claim(
        name="ten_steps",
        text="Ten steps on questions about other countries bring at least 50 of the sixty capitals",
        at_least=50,
        unit="countries",
        stored=True,
        excludes={
            "no training": None,
            "ten steps on statements, the best of five": None,
            "sixty steps from random weights": None,
        },
    ),
    Claim(
        name="name_head_attends",
        text="The name head spends at least 80% of its attention on names where a known name comes next",
        at_least=0.8,
        unit="%",
        excludes={"the next best head": None, "the same head where no known name comes next": None},
        seeds=[0.989, 0.996, 0.995, 0.982, 0.992],
    ),
    Claim(
        name="name_head_off",
        text="Switched off, the name head raises the loss on known names at least fivefold",
        at_least=5,
        unit="times",
        excludes={"the worst other head": None},
        seeds=[15.3, 12.5, 16.6, 14.4, 14.0],
    ),
    Claim(
        name="leak_flatters",
        text="The leak makes the loss on held-out text at most a fifth of the honest one",
        at_most=0.2,
        unit="times",
        excludes={"no leak": 1.0},
        seeds=[0.043, 0.042, 0.041, 0.037, 0.04],
    ),
    Claim(
        name="leak_misleads",
        text="Read with the right mask, your colleague's model has a loss at least 2 nats a letter above "
        "yours",
        at_least=2.0,
        unit="nats a letter",
        excludes={"no leak": 0.0},
        seeds=[4.5, 4.5, 4.1, 4.2, 4.2],
    ),
]
