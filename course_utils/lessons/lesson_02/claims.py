"""The claims of lesson 02, and of its companion, in the order in which they make them."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="shifted_twice",
        text="Shifting twice leaves at most 20% of the held-out questions answered",
        at_most=0.2,
        unit="%",
        excludes={"your step": None},
        seeds=[0.04, 0.04, 0],
    ),
    Claim(
        name="masked_by_id",
        text="Masking by id makes the answers at least 1.3 times as long",
        at_least=1.3,
        unit="times",
        excludes={"a mean of means": None},
        seeds=[3.97, 5.6, 3.73],
    ),
    Claim(
        name="tuned_loss",
        text="Tuning at 2e-4 lowers the loss on held-out answers to less than 5% of the base model's",
        at_most=0.05,
        unit="%",
        excludes={"2e-3": None},
        seeds=[0.0239, 0.0201, 0.0243],
    ),
    Claim(
        name="rate_too_high",
        text="Half of pre-training's rate ends with at least three times the loss of the best rate",
        at_least=3,
        unit="times",
        stored=True,
        excludes={"the next rate, 5e-4": None},
    ),
    Claim(
        name="facts_lost",
        text="At 2e-3 the model loses at least 5% of the facts",
        at_least=0.05,
        unit="%",
        excludes={"2e-4": None},
        seeds=[0.229, 0.34, 0.333],
    ),
    Claim(
        name="half_way",
        text="Half-way at least 90% of the gain on the answers is kept",
        at_least=0.9,
        unit="%",
        excludes={"in proportion to the way": 0.5},
        seeds=[0.984, 0.979, 0.976],
    ),
    Claim(
        name="replay",
        text="Replay at 2e-4 costs at most 10%: the gain given up and the forgetting left, added up",
        at_most=0.1,
        unit="%",
        headline=True,
        excludes={"rate 1e-5": None, "rate 1e-5, as many tokens": None, "half-way": None},
    ),
]

MORE_CLAIMS = [
    Claim(
        name="more_questions",
        text="Twice the questions, instead of old texts, leave at least half of the forgetting",
        at_least=0.5,
        unit="%",
        stored=True,
        excludes={"replay": None},
    ),
    Claim(
        name="adamw_unclipped",
        text="Without clipping AdamW ends at 2e-4 with at least 1.2 times the loss",
        at_least=1.2,
        unit="times",
        stored=True,
        excludes={"without warm-up": None},
    ),
    Claim(
        name="sgd_unclipped",
        text="At a rate of 0.3 SGD ends with at least ten times the loss if nothing is clipped",
        at_least=10,
        unit="times",
        excludes={"clipping without effect": 1.0},
        seeds=[144, 245, 163],
    ),
    Claim(
        name="memory_that_stays",
        text="What stays between steps is within a third of weights and moments as predicted",
        at_most=1.33,
        at_least=0.75,
        unit="times",
        excludes={"one moment forgotten": None},
    ),
    Claim(
        name="memory_of_a_step",
        text="What a step takes on top is within a fifth of the prediction",
        at_most=1.2,
        at_least=0.83,
        unit="times",
        excludes={"the logits' gradient forgotten": None},
    ),
]
