"""The claims of lesson 03, and of its companion, in the order in which they make them."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="lowers_the_loss",
        text="LoRA lowers the loss on held-out answers to less than 4% of the base model's",
        at_most=0.04,
        unit="%",
        excludes={"A frozen": 0.0412, "only the biases trained, at the best of four rates": 0.0415},
        seeds=[0.029, 0.0333, 0.0296, 0.0295, 0.0315],
    ),
    Claim(
        name="activations_kept",
        text="LoRA on all linear layers keeps more than 95% of the activations",
        at_least=0.95,
        unit="%",
        excludes={"LoRA on q, k, v alone": None},
    ),
    Claim(
        name="same_as_peft",
        text="After twenty steps side by side, your LoRA and PEFT's have made the same change: they differ"
        " by less than 2% of its size",
        at_most=0.02,
        unit="%",
        headline=True,
        excludes={"scale left out": 0.491, "A frozen": 0.666, "loss on the prompts too": 0.869},
        seeds=[2.4e-06, 8.6e-06, 6.5e-06, 6.2e-06, 5.2e-06],
    ),
    Claim(
        name="merged_transposed",
        text="Merged transposed, the change keeps less than 5% of its gain",
        at_most=0.05,
        unit="%",
        excludes={"merged rightly": 1.0},
        seeds=[0.0205, 0.013, 0.0167, 0.0158, 0.013],
    ),
]

MORE_CLAIMS = [
    Claim(
        name="higher_rate",
        text="LoRA needs the higher rate: its validation loss at 2e-4, full fine-tuning's best rate, is at"
        " least 5 times its loss at 2e-3",
        at_least=5,
        unit="times",
        excludes={"full fine-tuning": None},
        stored=True,
    ),
    Claim(
        name="rank_suffices",
        text="At every rank LoRA misses less than 1% more than it must",
        at_most=0.01,
        unit="%",
        excludes={"one rank less": None},
        seeds=[3.2e-07, 4.9e-07, 9e-07, 4.5e-06, 1.4e-07],
        models="any",
    ),
    Claim(
        name="alpha_is_faster",
        text="Alpha 16 is faster than alpha 1: after 15 steps alpha 1 misses at least 1.5 times as much",
        at_least=1.5,
        unit="times",
        excludes={"two equal alphas": 1.0},
        seeds=[2.15, 1.95, 1.77, 1.97, 2.07],
        models="any",
    ),
    Claim(
        name="every_alpha_arrives",
        text="Every alpha gets there: after 200 steps less than 5% is missing",
        at_most=0.05,
        unit="%",
        excludes={"one rank less": None},
        seeds=[6.4e-05, 4.5e-05, 3.2e-05, 0.00011, 0.0048],
        models="any",
    ),
]
