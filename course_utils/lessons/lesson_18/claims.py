"""The claims of lesson 18 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="silent_groups",
        text="At least 95% of the groups of long lists are silent",
        at_least=0.95,
        unit="%",
        excludes={"short lists": None},
    ),
    Claim(
        name="random_rewards",
        text="At GRPO's rate random rewards leave at most a tenth of the samples right",
        at_most=0.1,
        unit="%",
        stored=True,
        excludes={"start": None, "GRPO": None},
    ),
    Claim(
        name="loose_verifier",
        text="With longer answers half or more of what the loose verifier accepts has more than the names",
        at_least=0.5,
        unit="%",
        headline=True,
        stored=True,
        excludes={"the start": None, "trained on the mended one": None},
    ),
    Claim(
        name="strict_falls",
        text="There the strict verifier accepts less than 10% after the training",
        at_most=0.1,
        unit="%",
        stored=True,
        excludes={"the start": None, "trained on the mended one": None},
    ),
]

MORE_CLAIMS = [
    Claim(
        name="by_chance",
        text="By chance at most 2% of short lists are right with 16 answers",
        at_most=0.02,
        unit="%",
        stored=True,
        excludes={"against their own questions": None},
    ),
    Claim(
        name="true_answers",
        text="For about the same seconds, tuning on true answers beats GRPO by at least 2 points",
        at_least=0.02,
        unit="%",
        stored=True,
        excludes={"GRPO itself": 0.0},
    ),
]
