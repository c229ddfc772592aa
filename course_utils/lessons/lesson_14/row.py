"""Lesson 14 on other models: LoRA beside full fine-tuning after 60 steps, each at its own rate."""

from course_utils.lessons.lesson_14.experiments import BEST
from course_utils.replicate.rows import Arm, Published, Row, loss_over


def lead(results, arm):
    """Points by which an arm gets more held-out lists right than full fine-tuning."""
    return 100 * (results[arm]["right_judged"] - results["full"]["right_judged"])


ROW = Row(
    lesson="14",
    claim="lora_against_full",
    headline="on lists, LoRA is ahead of full fine-tuning after few steps",
    quantity="lists that LoRA gets right after 60 steps, more than full fine-tuning, each at its best rate",
    unit="points of 100",
    control="LoRA at full fine-tuning's rate",
    why="the choice between the two is every project's first",
    sweep="method_settings",
    arms={
        "full": Arm({"method": "full"}, BEST["full"], named="setting"),
        "LoRA": Arm({"method": "LoRA"}, BEST["LoRA"], named="setting"),
        "LoRA, full's rate": Arm({"method": "LoRA"}, rate_of="full", named="setting"),
    },
    value=lambda results, rates: lead(results, "LoRA"),
    of_control=lambda results, rates: lead(results, "LoRA, full's rate"),
    choose_by="loss",
    at_least=5,
    beside={"loss of LoRA over that of full fine-tuning": lambda results: loss_over("full", "LoRA", results)},
    published=(
        Published(
            "in typical post-training LoRA on all layers learns as much a step as full fine-tuning",
            "Schulman and others 2025, LoRA Without Regret, thinkingmachines.ai/blog/lora",
            "not comparable",
            "their loss over an epoch, Llama 3 and Qwen 3 from 1B on; here right answers after 60 steps",
        ),
        Published(
            "at the usual low ranks LoRA substantially underperforms full fine-tuning",
            "Biderman and others 2024, arXiv 2405.09673 (Llama-2-7B)",
            "not comparable",
            "code and mathematics from 100,000 examples or 20B tokens; here 340 lists of facts it knows",
        ),
    ),
    untestable=lambda results: (
        ""
        if 0.05 < max(results["LoRA"]["right_judged"], results["full"]["right_judged"]) < 0.98
        else "both get nearly none or nearly all lists right"
    ),
)
