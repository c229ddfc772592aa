"""Lesson 03 on other models: how much larger LoRA's best rate is than full fine-tuning's."""

from course_utils.lessons.lesson_03.experiments import FULL_RATE, LORA_RATE
from course_utils.replicate.rows import Arm, Row

ROW = Row(
    lesson="03",
    claim="best_rate",
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
    at_most=30,
)
