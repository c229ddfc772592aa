"""Stored experiments of instruction tuning: the number of examples, and loss on everything."""

import random

from course_utils.stored_runs import sweep

EXAMPLE_COUNTS = (30, 120, 470)


@sweep(
    "instruction_tuning",
    points=[
        *[{"examples": number, "everything": False} for number in EXAMPLE_COUNTS],
        {"examples": EXAMPLE_COUNTS[-1], "everything": True},
    ],
)
def instruction_tuning(point: dict, seed: int) -> dict:
    """Full fine-tuning, 80 steps of 16, on questions about four relations; then held-out questions.

    Shares of right answers (short, sentence) and of answers that end with <|im_end|>.
    """
    from course_utils.methods import sft
    from course_utils.models import load_model

    model, tokenizer = load_model("pocket")
    rows = random.Random(seed).sample(sft.asked("tune"), point["examples"])
    sft.instruction_tune(
        model,
        tokenizer,
        [sft.as_conversation(row) for row in rows],
        steps=80,
        lr=6e-4,
        seed=seed,
        everything=point["everything"],
        label=f"{point}, seed {seed}",
    )
    return sft.answered(model, tokenizer, sft.asked("held_out"))
