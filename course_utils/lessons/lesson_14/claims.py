"""The claims of lesson 14 and of its companion, in the order in which they are made."""

from course_utils.checks.claims import Claim

CLAIMS = [
    Claim(
        name="chosen_on_the_test",
        text="A rate chosen on the test set makes a method seem at least a point better than its equal",
        at_least=1,
        unit="points",
        excludes={"chosen on other questions": None},
        models="any",
    ),
    Claim(
        name="lora_against_full",
        text="After 60 steps, each at its best rate, LoRA gets at least 5 points more of the lists right "
        "than full fine-tuning",
        at_least=5,
        unit="points",
        headline=True,
        stored=True,
        excludes={"one rate for both, 1e-3": None},
    ),
    Claim(
        name="lora_against_full_longer",
        text="After 180 steps LoRA still gets at least 5 points more right, though only full fine-tuning got "
        "its rate anew",
        at_least=5,
        unit="points",
        stored=True,
        excludes={"one rate for both, 1e-3": None},
    ),
    Claim(
        name="grpo_on_top",
        text="LoRA gets at least 3 points more of the lists right by 180 steps than by 60 with GRPO on top",
        at_least=3,
        unit="points",
        stored=True,
        excludes={"60 steps of LoRA alone": None},
    ),
    Claim(
        name="three_calls",
        text="Three calls of the untrained model name at least 20 points more of the lists than LoRA after"
        " 60 steps",
        at_least=20,
        unit="points",
        stored=True,
        excludes={"the same, letter by letter": None},
    ),
]

MORE_CLAIMS = [
    Claim(
        name="lists_left_wrong",
        text="The best trained method leaves at least 15% of the lists wrong",
        at_least=0.15,
        unit="%",
        stored=True,
        excludes={"three calls": None},
    ),
    Claim(
        name="worst_and_best",
        text="The interval between the worst and the best trained method leaves out 0",
        at_most=-5,
        unit="points",
        models="any",
    ),
    Claim(
        name="full_and_lora",
        text="The interval between full fine-tuning and LoRA leaves out 0",
        at_most=-5,
        unit="points",
        models="any",
    ),
    Claim(
        name="peak_memory",
        text="LoRA takes at most 90% of full fine-tuning's peak memory",
        at_most=0.9,
        unit="%",
    ),
    Claim(
        name="rule_of_thumb",
        text="The rule gives at most 75% of what QLoRA of a small model with a large vocabulary needs",
        at_most=0.75,
        unit="%",
        excludes={"full fine-tuning": None},
        models="any",
    ),
]
