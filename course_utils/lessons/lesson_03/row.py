"""Lesson 03 on other models: how much larger LoRA's best rate is than full fine-tuning's."""

from course_utils.lessons.lesson_03.experiments import FULL_RATE, LORA_RATE
from course_utils.replicate.rows import Arm, Published, Row

ROW = Row(
    lesson="03",
    claim="best_rate",
    headline="LoRA's best rate is several times higher than full fine-tuning's",
    quantity="LoRA's best rate over full fine-tuning's, after 30 steps",
    unit="times",
    control="held-out loss of LoRA at full fine-tuning's best rate, over that at its own",
    why="the first mistake with LoRA is the rate of full fine-tuning",
    sweep="first_rates",
    arms={
        "full": Arm({"method": "full fine-tuning"}, FULL_RATE),
        "LoRA": Arm({"method": "LoRA"}, LORA_RATE),
        "LoRA, full's rate": Arm({"method": "LoRA"}, rate_of="full"),
    },
    value=lambda results, rates: rates["LoRA"] / rates["full"],
    of_control=lambda results, rates: results["LoRA, full's rate"]["held_out"] / results["LoRA"]["held_out"],
    rates_by_seed=True,
    at_least=3,
    remark="Rates lie half decades apart, so that a value is a step of that grid: 3.16, the smallest "
    "above 1, 10 or 31.6. The "
    "control says what a wrong rate costs.",
    published=(
        Published(
            figure="LoRA's best rate is 10 times full fine-tuning's, about 15 times in runs under 100 steps",
            source="Schulman and others 2025, LoRA Without Regret, thinkingmachines.ai/blog/lora",
            verdict="same direction",
            difference="14 Llama and Qwen models, alpha 32, a finer search; here alpha 16, half decades",
        ),
    ),
)
