"""The claims of lesson 08 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="end_marker",
        text="Without loss on the end marker the model writes it after at most 2% of its answers",
        at_most=0.02,
        unit="%",
        headline=True,
        excludes={"the right labels": None},
    ),
    Claim(
        name="masked_by_the_word",
        text="With the mistake 'mask by the word' no seed has the right words in over 5% of the answers",
        at_most=0.05,
        unit="%",
        stored=True,
        excludes={"the right labels": None},
    ),
]


MORE_CLAIMS = [
    Claim(
        name="shifted_twice",
        text="With the mistake 'labels shifted twice' no seed has the right words in over 5% of the answers",
        at_most=0.05,
        unit="%",
        stored=True,
        excludes={"the right labels": None},
    ),
    Claim(
        name="before_the_answer",
        text="A blank, or a missing newline, before the answer leaves at most a third of the right answers",
        at_most=1 / 3,
        unit="%",
        stored=True,
        excludes={"no ChatML at all": None},
    ),
    Claim(
        name="without_the_newline",
        text="Trained and asked without the newline, at least 90% of the answers are right in every seed",
        at_least=0.9,
        unit="%",
        stored=True,
        excludes={"asked with it": None},
    ),
    Claim(
        name="random_order",
        text="At equal tokens random order ends at most at 85% of the loss of buckets",
        at_most=0.85,
        unit="%",
        stored=True,
        excludes={"buckets over a constant": None},
    ),
    Claim(
        name="small_buckets",
        text="Four small buckets a step leave at most half of the gap between buckets and random order",
        at_most=0.5,
        unit="%",
        stored=True,
        excludes={"buckets over a constant": None},
    ),
]
