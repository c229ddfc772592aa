"""Lesson 07 on other models: a soft prompt beside LoRA with as many values."""

from course_utils.replicate.rows import Arm, Published, Row, loss_over

LORA = {"method": "LoRA", "size": 1, "start": "", "validation": True}


ROW = Row(
    lesson="07",
    claim="prompt_against_lora",
    headline="a soft prompt has a higher loss than LoRA with as many values",
    quantity="the held-out loss of a soft prompt over that of LoRA of rank 1 on query, key and value, with "
    "as many values, after 50 steps",
    unit="times",
    control="LoRA again, from another start and with other batches",
    why="who serves many tasks on one model asks what a prompt costs beside an adapter",
    sweep="prompt_tuning",
    arms={
        "prompt": Arm({"method": "prompt", "size": "as LoRA", "start": "words", "validation": True}, 0.06),
        "LoRA": Arm(LORA, 1e-2),
        "LoRA again": Arm(LORA | {"draw": 100}, 1e-2),
    },
    value=lambda results, rates: loss_over("LoRA", "prompt", results),
    of_control=lambda results, rates: loss_over("LoRA", "LoRA again", results),
    at_least=1.2,
    remark="How far the control is from 1 is the noise of one LoRA: up to 15% on pocket-s.",
    published=(
        Published(
            figure="a prompt of 3.2 million values 63.1% on WikiSQL, LoRA of 4.7 million 73.4%",
            source="Hu et al. 2021, arXiv 2106.09685, table 4",
            verdict="same direction",
            difference="right answers, GPT-3, whole training, LoRA with half as many values again; here a "
            "loss after 50 steps",
        ),
        Published(
            figure="beyond billions of parameters a prompt matches the tuning of all weights",
            source="Lester, Al-Rfou and Constant 2021, arXiv 2104.08691",
            verdict="not comparable",
            difference="all weights in LoRA's place, T5 to 11 billion parameters, scores on SuperGLUE",
        ),
    ),
)
