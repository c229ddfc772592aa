"""Lesson 05 on other models: new facts by LoRA on the attention alone."""

from course_utils.lessons.lesson_05.experiments import BEST_PLACE_RATES
from course_utils.replicate.rows import Arm, Published, Row, loss_over

PLACES = ("attention", "MLP", "all linear")


ROW = Row(
    lesson="05",
    claim="attention_is_slower",
    headline="LoRA on the attention alone learns new facts more slowly",
    quantity="the loss on new facts after 150 steps of LoRA on the attention, over that of LoRA on all "
    "linear layers with about as many values; both are measured on the facts that they learn",
    unit="times",
    control="LoRA on the MLP in place of the attention",
    why="many recipes still put LoRA on the attention alone",
    sweep="lora_layers",
    arms={
        place: Arm({"task": "invented", "place": place}, BEST_PLACE_RATES["invented", place])
        for place in PLACES
    },
    value=lambda results, rates: loss_over("all linear", "attention", results),
    of_control=lambda results, rates: loss_over("all linear", "MLP", results),
    choose_by="loss",
    at_least=1.5,
    published=(
        Published(
            figure="attention alone is behind the MLP alone with as many values, and adds nothing to it",
            source="Schulman and others 2025, LoRA Without Regret, thinkingmachines.ai/blog/lora",
            verdict="same direction",
            difference="the loss on instructions and reasoning, Llama 3 and Qwen 3; curves, no ratio",
        ),
    ),
)
