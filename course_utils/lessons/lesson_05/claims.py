"""The claims of lesson 05 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="own_manner",
        text="Each of formal and gossip gives at least 80% of its answers in its own manner",
        at_least=0.8,
        unit="%",
        excludes={"the other adapter": None, "the base": None},
    ),
    Claim(
        name="held_out_answers",
        text="The worse of formal and gossip gets at least 80% of the held-out questions right",
        at_least=0.8,
        unit="%",
        excludes={"the base": None},
    ),
    Claim(
        name="swap_time",
        text="A swap takes less than a tenth of the time of loading the model",
        at_most=0.1,
        unit="%",
        excludes={"loading the model": 1.0},
        models="any",
    ),
    Claim(
        name="factors_added",
        text="With A's and B's added, the sum is off by more than 30% of the true sum's size",
        at_least=0.3,
        unit="%",
        excludes={"the stack": None},
    ),
    Claim(
        name="sum_knows",
        text="The sum's loss of a true answer is at least 0.1 nats lower than the loss of another fact's "
        "answer",
        at_least=0.1,
        unit="nats a token",
        excludes={"the formal adapter": None},
    ),
    Claim(
        name="mixed_manner",
        text="At three to one, at least 80% of the answers are in the manner with the larger weight",
        at_least=0.8,
        unit="%",
        excludes={"half and half": None},
    ),
    Claim(
        name="mixtures_answer",
        text="Every mixture gets at least 80% of the held-out questions right",
        at_least=0.8,
        unit="%",
        excludes={"the base": None},
    ),
    Claim(
        name="attention_is_slower",
        text="After 150 steps on new facts LoRA on attention has 2 to 4 times the loss of LoRA on all layers,"
        " with as many values",
        at_most=4.0,
        at_least=2.0,
        unit="times",
        headline=True,
        stored=True,
        excludes={
            "the MLP in its place": None,
            "c_attn alone, one of the attention's two matrices": None,
            "the attention at a third of its rate": None,
        },
    ),
]


MORE_CLAIMS = [
    Claim(
        name="gap_closes",
        text="After 450 steps the attention has at most twice the loss of all linear layers",
        at_most=2.0,
        unit="times",
        stored=True,
        excludes={"the lowest of five seeds after 150 steps": None},
    ),
    Claim(
        name="attention_gets_there",
        text="After 450 steps LoRA on attention gets at least 95% of the new facts right",
        at_least=0.95,
        unit="%",
        stored=True,
        excludes={"after 150 steps": None},
    ),
]
