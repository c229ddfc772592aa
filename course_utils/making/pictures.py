"""The sample pictures of docs/drawing.md: the lessons' figures with toy numbers.

python -m course_utils.making.pictures    writes docs/images/drawing-*.png and the page's alternative texts
"""

from __future__ import annotations

import base64
import re
from functools import cache, partial

import matplotlib.pyplot as plt
import torch

from course_utils.budget import Need, training_need
from course_utils.chatml import encode_conversation
from course_utils.data import DATA
from course_utils.home import ROOT, write_whole
from course_utils.lessons.lesson_00.figures import attention_by_hand
from course_utils.lessons.lesson_01.figures import shift
from course_utils.lessons.lesson_03.figures import full_beside_lora
from course_utils.lessons.lesson_08.figures import conversation
from course_utils.lessons.lesson_12.figures import credit
from course_utils.lessons.lesson_16.figures import what_cards_hold
from course_utils.lessons.lesson_16.scaling import card_memory
from course_utils.lessons.lesson_16.widgets import gathered_of
from course_utils.models import load_tokenizer
from course_utils.plots import SCREEN, alt_text, png

SAMPLES_PAGE = ROOT / "docs" / "drawing.md"
STAGES = {"DDP": 0, "ZeRO 1": 1, "ZeRO 2": 2, "ZeRO 3": 3}
N_CARDS = 4


def conversation_of_two_turns() -> None:
    messages = [
        {"role": "user", "content": "Capital of Peru?"},
        {"role": "assistant", "content": "Lima"},
        {"role": "user", "content": "Thanks"},
        {"role": "assistant", "content": "You are welcome."},
    ]
    tokenizer = load_tokenizer(DATA / "artifacts" / "tokenizer")
    conversation(tokenizer, encode_conversation(tokenizer, messages))


@cache
def need_of_7b() -> Need:
    return training_need("Llama-2-7B")


def cards_of_a_large_model() -> None:
    gathered = gathered_of("Llama-2-7B", width=4)
    held = {name: card_memory(need_of_7b(), N_CARDS, stage, gathered) for name, stage in STAGES.items()}
    for parts in held.values():
        del parts["step"]
    what_cards_hold(held, N_CARDS, "a 7B model in training")


SAMPLES = {
    "attention": partial(
        attention_by_hand,
        ["cat", "sat", "it"],
        torch.tensor([[1.0, 3.0], [-1.0, 3.0], [1.0, 1.0]]),
        torch.tensor([[1.0, 0.0], [0.5, 0.5]]),
        torch.tensor([[0.5, 0.5], [0.5, -0.5]]),
        torch.tensor([[0.5, -1.0], [0.5, 0.5]]),
    ),
    "shift": partial(shift, ["Paris", "is", "the", "capital", "of", "France"], [0.35, 0.6, 0.2, 0.98, 0.75]),
    "lora": partial(
        full_beside_lora,
        torch.tensor(
            [[0.7, -1.2, 0.3, 0.9], [-0.4, 0.5, 1.1, -0.8], [1.3, 0.2, -0.6, 0.4], [-0.9, 0.8, 0.1, -1.4]]
        ),
        torch.tensor(
            [[0.3, -0.1, 0.5, -0.7], [-0.6, 0.2, 0.4, -0.3], [0.1, 0.8, -0.2, 0.6], [-0.5, 0.3, -0.9, 0.2]]
        ),
        torch.tensor([[1.0], [-2.0], [0.5], [-1.0]]),
        torch.tensor([[0.4, -0.2, 0.6, 0.8]]),
    ),
    "conversation": conversation_of_two_turns,
    "credit": partial(
        credit, ["Tom", "shouted", "and", "left"], [0.0, 0.0, 0.0, 2.0], [1.1, 0.5, 1.4, 1.2], 0.5
    ),
    "cards": cards_of_a_large_model,
}


def main() -> None:
    page = SAMPLES_PAGE.read_text(encoding="utf-8")
    for name, draw in SAMPLES.items():
        draw()
        figure = plt.gcf()
        words = alt_text(figure)
        image = f"images/drawing-{name}.png"
        page = re.sub(rf"!\[[^]]*\]\({image}\)", lambda _, new=f"![{words}]({image})": new, page)
        write_whole(SAMPLES_PAGE.parent / image, base64.b64decode(png(figure, 1.5 * SCREEN)))
    write_whole(SAMPLES_PAGE, page)


if __name__ == "__main__":
    main()
