"""Lesson 19 on other models: how many more answers GRPO needs than distillation for an equal gradient."""

from course_utils.lessons.lesson_18.experiments import LIST_RATES
from course_utils.replicate.rows import Arm, Published, Row

DRAWS = 3  # of gradient_agreement


def noise_over_signal(run, loss):
    """Noise over signal of a batch's gradient: (1 - cosine) / cosine of two batches, mean over the draws."""
    draws = [run[f"{loss}_{draw}"] for draw in range(DRAWS) if f"{loss}_{draw}" in run]
    cosine = min(max(sum(draws) / len(draws), 0.01), 0.9999)
    return (1 - cosine) / cosine


ROW = Row(
    lesson="19",
    claim="answers_needed",
    headline="GRPO needs many times the answers of an exact KL",
    quantity="answers that GRPO needs for gradients that agree as well as the exact KL's, over its own",
    unit="times",
    control="over those of one sampled log-ratio a token",
    why="who has both a teacher and a verifier asks which needs fewer answers",
    sweep="gradient_agreement",
    arms={"same prompts": Arm({"prompts": "same"}, LIST_RATES["GRPO"])},
    value=lambda results, rates: (
        noise_over_signal(results["same prompts"], "GRPO")
        / noise_over_signal(results["same prompts"], "exact")
    ),
    of_control=lambda results, rates: (
        noise_over_signal(results["same prompts"], "GRPO")
        / noise_over_signal(results["same prompts"], "sampled")
    ),
    at_least=5,
    remark="It rests on equal prompts in both batches and on GRPO's baseline. Where each batch has "
    "its own prompts, the lesson's "
    "five stored seeds give 4.4 to 18 times, one below the bound, and 66 where GRPO's gradients do "
    "not agree at all (a "
    "cosine below .01 counts as .01). With right or wrong as the reward, without the baseline, it is "
    "2.4 to 11.7 times, "
    "two of three seeds below the bound.",
    published=(
        Published(
            "on-policy distillation takes 9 to 30 times less compute than training on the teacher's answers",
            "Lu and others 2025, On-Policy Distillation, thinkingmachines.ai/blog/on-policy-distillation",
            "not comparable",
            "compute to a score on AIME 2024, fine-tuning extrapolated; here answers for equal gradients",
        ),
        Published(
            "7 to 10 times fewer gradient steps than reinforcement learning to the same result",
            "Lu and others 2025, On-Policy Distillation, thinkingmachines.ai/blog/on-policy-distillation",
            "same direction",
            "steps to a result, at one log-ratio a token, as in the control; here answers for equal "
            "gradients",
        ),
    ),
    untestable=lambda results: (
        "" if results["same prompts"]["start_right"] >= 0.02 else "the start gets nearly no list right"
    ),
)
