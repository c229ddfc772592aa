"""Lesson 03 on other models: how much larger LoRA's best rate is than full fine-tuning's."""

from course_utils.lessons.lesson_03.experiments import FULL_RATE, LORA_RATE
from course_utils.replicate.rows import Arm, Published, Row

ROW = Row(
    lesson="03",
    claim="best_rate",
    headline="LoRA's best rate is several times higher than full fine-tuning's",
    quantity="LoRA's best rate over full fine-tuning's, after 30 steps",
    unit="times",
    control="the same rate for both",
    why="the first mistake with LoRA is the rate of full fine-tuning",
    sweep="first_rates",
    arms={"full": Arm({"method": "full fine-tuning"}, FULL_RATE), "LoRA": Arm({"method": "LoRA"}, LORA_RATE)},
    value=lambda results, rates: rates["LoRA"] / rates["full"],
    of_control=lambda results, rates: 1.0,
    rates_by_seed=True,
    at_least=3,
    at_most=32,  # thirty times, on a grid of half decades
    published=(
        Published(
            figure="LoRA's best rate is 10 times full fine-tuning's, about 15 times in runs under 100 steps",
            source="Schulman and others 2025, LoRA Without Regret, thinkingmachines.ai/blog/lora",
            verdict="same direction",
            difference="14 Llama and Qwen models, alpha 32, a finer search; here alpha 16, half decades",
        ),
    ),
)
