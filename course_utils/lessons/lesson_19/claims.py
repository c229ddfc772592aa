"""The claims of lesson 19 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="on_policy",
        text="A short on-policy training leaves at most half of the KL from the teacher",
        at_most=0.5,
        unit="times",
        excludes={"no training": 1.0},
    ),
    Claim(
        name="answers_needed",
        text="On the same prompts GRPO needs at least five times as many answers as the exact KL for "
        "gradients that agree as well",
        at_least=5,
        unit="times",
        excludes={"the log-ratio in the exact KL's place": None},
    ),
    Claim(
        name="one_number_a_token",
        text="Twelve steps on one number a token leave at most 30% of the KL from the teacher",
        at_most=0.3,
        unit="%",
        stored=True,
        excludes={"three steps": None},
    ),
    Claim(
        name="whoever_writes",
        text="After 60 forward passes distillation leaves at most 30% of the KL from the teacher, whoever "
        "writes the answers",
        at_most=0.3,
        unit="%",
        headline=True,
        stored=True,
        excludes={"the exact KL after 15 passes": None, "the start at a lower temperature": None},
    ),
]

MORE_CLAIMS = [
    Claim(
        name="words_wasted",
        text="The bell of the forward KL spends a quarter or more of its words where the teacher has under"
        " 1%",
        at_least=0.25,
        unit="%",
        excludes={"reverse": None},
    ),
    Claim(
        name="other_gradients",
        text="In 200 random pairs of models the tokens' KL and the answers' have other gradients at the "
        "first token",
        at_most=0.95,
        unit="cosine",
        excludes={"at the last token": 1.0},
    ),
    Claim(
        name="two_teachers_refuse",
        text="With two teachers the model refuses at least 70% of unknown things",
        at_least=0.7,
        unit="%",
        stored=True,
        excludes={"with the adapter alone": None},
    ),
    Claim(
        name="two_teachers_manner",
        text="With two teachers at least 70% of the answers about known facts keep the manner",
        at_least=0.7,
        unit="%",
        stored=True,
        excludes={"one teacher": None, "one teacher, sixteen steps": None},
    ),
]
