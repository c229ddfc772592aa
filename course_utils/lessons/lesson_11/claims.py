"""The claims of lesson 11 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="few_places",
        text="One place in ten holds more than 30% of the KL of the runaway",
        at_least=0.3,
        unit="%",
        excludes={"a distance that is spread evenly": 0.1},
    ),
    Claim(
        name="gold_higher",
        text="After as many updates the gold score is at least 0.1 higher with the penalty than without",
        at_least=0.1,
        unit="(gold score)",
        headline=True,
        stored=True,
        excludes={"a penalty without effect": 0.0},
    ),
    Claim(
        name="penalty_holds",
        text="With the penalty the KL at the end is less than 60% of what it is without",
        at_most=0.6,
        unit="%",
        stored=True,
        excludes={"a penalty without effect": 1.0},
    ),
]

MORE_CLAIMS = [
    Claim(
        name="k3_near",
        text="Near the reference k3 has less than half the spread of k1",
        at_most=0.5,
        unit="times",
        excludes={"at the runaway": None},
    ),
    Claim(
        name="k3_far",
        text="At the runaway k3 has more than three times the spread of k1",
        at_least=3,
        unit="times",
        excludes={"near the reference": None},
    ),
]
