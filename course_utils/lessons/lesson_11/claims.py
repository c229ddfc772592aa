"""The claims of lesson 11, in the order in which it makes them."""

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
        name="penalty_holds",
        text="The penalty holds the policy at less than 60% of the distance that it goes without",
        at_most=0.6,
        unit="%",
        headline=True,
        stored=True,
        excludes={"a penalty without effect": 1.0},
    ),
    Claim(
        name="gold_higher",
        text="With the penalty the gold score ends at least 0.1 higher",
        at_least=0.1,
        unit="(gold score)",
        stored=True,
        excludes={"a penalty without effect": 0.0},
    ),
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
