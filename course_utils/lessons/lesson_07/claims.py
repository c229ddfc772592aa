"""The claims of lesson 07 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="same_as_package",
        text="Trained side by side, your prompt and the package's are the same: they differ by less than "
        "2% of the way that training moved them",
        at_most=0.02,
        unit="%",
        excludes={"mask not extended": 1.38},
        seeds=[0.0, 0.0, 0.0, 0.0, 0.0],
    ),
    Claim(
        name="prompt_against_lora",
        text="With as many values and steps, each at the best rate tried, the prompt's held-out loss is 1.4 "
        "to 2.5 times LoRA's",
        at_most=2.5,
        at_least=1.4,
        unit="times",
        headline=True,
        stored=True,
        excludes={
            "LoRA's worst seed over its best": None,
            "a prompt of four vectors": None,
            "a prompt that is trained without its mask": 16.2,
        },
    ),
    Claim(
        name="five_times_the_steps",
        text="After five times the steps the prompt's held-out loss is still at least 1.6 times LoRA's",
        at_least=1.6,
        unit="times",
        stored=True,
        excludes={
            "LoRA's worst seed over its best": None,
            "a prompt against LoRA at too low a rate (validation)": None,
        },
    ),
    Claim(
        name="prefix_against_lora",
        text="With 8 times as many values, a prefix still has at least 1.1 times the held-out loss of LoRA",
        at_least=1.1,
        unit="times",
        stored=True,
        excludes={"LoRA's worst seed over its best": None},
    ),
]


MORE_CLAIMS = [
    Claim(
        name="sixteen_vectors",
        text="Sixteen vectors have less than three quarters of the loss of one vector",
        at_most=0.75,
        unit="times",
        stored=True,
        excludes={"four vectors": None},
    ),
    Claim(
        name="nearest_words",
        text="The nearest words keep less than half of the prompt's gain",
        at_most=0.5,
        unit="%",
        excludes={"the prompt itself": 1.0},
        seeds=[0.185, 0.133, 0.092, 0.306, 0.165],
    ),
]
