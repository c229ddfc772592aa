"""Lesson 09 on other models: questions about some facts, and what the model then says about the others."""

from course_utils.lessons.lesson_09.experiments import BEST_RATES
from course_utils.replicate.rows import Arm, Published, Row

ROW = Row(
    lesson="09",
    claim="other_facts",
    headline="facts without a question in tuning are answered, too",
    quantity="the share of right short answers about facts that tuning had no question about, of those facts "
    "that the base model completes in a statement",
    unit="share",
    control="invented facts, which the base model cannot know",
    why="who tunes on a part of the questions asks whether the model will answer the rest from what it knows",
    sweep="instruction_ways",
    arms={"LoRA": Arm({"way": "lora", "known": True}, BEST_RATES["lora"])},
    value=lambda results, rates: results["LoRA"]["short_known"],
    of_control=lambda results, rates: results["LoRA"]["short_invented"],
    at_least=0.7,
    remark="Invented facts, which no text states, show only that nothing leaks. The base models "
    "complete nearly all "
    "facts; of the four that pocket-s does not, half or more are answered.",
    published=(
        Published(
            figure="96.6% of the other people's questions where pre-training tells each life in five "
            "wordings and orders of its sentences, 9.7% where in one",
            source="Allen-Zhu and Li 2023, arXiv 2309.14316, in the words of their 2309.14402",
            verdict="same direction",
            difference="invented lives, GPT-2 of 12 layers, half of the people tuned on; here facts of the "
            "world, many wordings, and of the facts only those that the base completes",
        ),
    ),
)
