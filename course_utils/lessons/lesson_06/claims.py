"""The claims of lesson 06 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="one_coin",
        text="NF4's errors with one sign per output raise the loss by at least 10%",
        at_least=0.1,
        unit="%",
        stored=True,
        excludes={"NF4": None, "at random, NF4's size": None},
    ),
    Claim(
        name="along_the_gradient",
        text="A fiftieth of NF4's error, along the gradient, changes the logits as much as NF4's error and "
        "raises the loss by at least 5%",
        at_least=0.05,
        unit="%",
        headline=True,
        stored=True,
        excludes={
            "NF4": None,
            "at random, NF4's size": None,
            "one coin per output, two fifths": None,
            "inputs times noise, a thirteenth": None,
        },
    ),
    Claim(
        name="lora_over_four_bits",
        text="LoRA over 4 bits has at most 1.35 times the loss of LoRA over fp32",
        at_most=1.35,
        unit="times",
        stored=True,
        excludes={"LoRA over 2 bits": None},
    ),
    Claim(
        name="rounded_again",
        text="Ŵ + BA, rounded, keeps less than half of the adapter",
        at_most=0.5,
        unit="%",
        stored=True,
        excludes={"W + BA, rounded": None},
    ),
]


MORE_CLAIMS = [
    Claim(
        name="along_the_inputs",
        text="An error of NF4's size along the layers' inputs raises the loss by at least 2 nats a token",
        at_least=2.0,
        unit="nats",
        stored=True,
        excludes={"at random, same size": None, "NF4": None},
    ),
    Claim(
        name="two_terms",
        text="On each sample the two terms together come within 20% of the rise under NF4",
        at_most=0.2,
        unit="%",
        stored=True,
        excludes={"the second term alone": None, "all words equally likely": None},
    ),
    Claim(
        name="three_bits",
        text="With 3 bits the loss rises at least 2.5 times as much as with 4",
        at_least=2.5,
        unit="times",
        stored=True,
        excludes={"the worst table of 4 bits": None},
    ),
    Claim(
        name="two_bits",
        text="At 2 bits, LoRA on all linear layers leaves less than 80% of the loss of as many values on "
        "c_attn alone",
        at_most=0.8,
        unit="%",
        stored=True,
        excludes={"rank 8 on c_attn": None},
    ),
]
