"""Lesson 06 on other models: LoRA over weights of 4 bits beside LoRA over whole ones."""

from course_utils.lessons.lesson_06.experiments import BEST_QLORA_RATES
from course_utils.replicate.rows import Arm, Published, Row, loss_over

ROW = Row(
    lesson="06",
    claim="lora_over_four_bits",
    headline="after tuning, four bits raise the loss by less than half",
    quantity="the held-out loss of LoRA over NF4, over that of LoRA over fp32, after 60 steps",
    unit="times",
    control="LoRA over weights of 2 bits",
    why="who has too little memory asks what four bits cost after tuning",
    sweep="qlora",
    arms={
        base: Arm({"base": base, "place": "all", "validation": True}, BEST_QLORA_RATES[base, "all"])
        for base in ("fp32", "nf4", "nf2")
    },
    value=lambda results, rates: loss_over("fp32", "nf4", results),
    of_control=lambda results, rates: loss_over("fp32", "nf2", results),
    at_most=1.5,
    beside={
        "gain of LoRA over NF4, as a share of that over fp32": lambda results: (
            (results["fp32"]["before"] - results["nf4"]["loss"])
            / (results["fp32"]["before"] - results["fp32"]["loss"])
        )
    },
    published=(
        Published(
            figure="53.1% on MMLU with NF4, 53.0% with 16 bits, the mean of eight models",
            source="Dettmers et al. 2023, arXiv 2305.14314, table 4",
            verdict="same direction",
            difference="right answers to multiple choice, LLaMA of 7 to 65 billion parameters; here a loss",
        ),
    ),
)
