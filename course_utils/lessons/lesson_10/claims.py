"""The claims of lesson 10 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="orders_pairs",
        text="The reward model orders more than 60% of new pairs as the gold score does",
        at_least=0.6,
        unit="%",
        excludes={"a coin": 0.5},
    ),
    Claim(
        name="told_twice",
        text="Telling a good story twice raises the proxy of more than 80% of them",
        at_least=0.8,
        unit="%",
        excludes={"the words shuffled": None},
    ),
    Claim(
        name="length_counts",
        text="On biased pairs a neutral story behind a good one raises the proxy by at least 0.5 standard "
        "deviations",
        at_least=0.5,
        unit="standard deviations",
        headline=True,
        stored=True,
        excludes={"trained on balanced pairs": None},
    ),
    Claim(
        name="biased_test",
        text="A test with the bias gives the biased model at least four points more than a test without it",
        at_least=0.04,
        unit="%",
        stored=True,
        excludes={"the model of balanced pairs": None},
    ),
    Claim(
        name="prefers_longer",
        text="A model of biased pairs prefers the longer of two equally good stories in more than 69% of "
        "pairs",
        at_least=0.69,
        unit="%",
        stored=True,
        excludes={"shares of words, which do not see length": None},
    ),
]


MORE_CLAIMS = [
    Claim(
        name="shorter_is_better",
        text="Where the shorter story is the better one, the bias costs at least ten points of accuracy",
        at_least=0.1,
        unit="%",
        stored=True,
        excludes={"where the longer one is": None},
    ),
    Claim(
        name="more_pairs",
        text="2,400 pairs give a better model than 50",
        at_least=0.01,
        unit="%",
        stored=True,
        excludes={"no gain": 0.0},
    ),
    Claim(
        name="blind_to_the_prompt",
        text="The proxy lacks a part of the gold score: being on the prompt correlates with it by 0.4 less",
        at_least=0.4,
        unit="(correlation)",
        excludes={"a model that sees it as the gold score does": 0.0},
    ),
    Claim(
        name="follows_length",
        text="Length correlates with the proxy and hardly with the gold score: the difference is at least "
        "0.2",
        at_least=0.2,
        unit="(correlation)",
        excludes={"a model without the shortcut": 0.0},
    ),
]
