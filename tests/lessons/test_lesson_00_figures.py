"""The pictures of GPT-2 show the given configuration's shapes; a head's pictures show its numbers."""

import matplotlib.pyplot as plt
import pytest
import torch
from transformers import GPT2Config

from course_utils.lessons.lesson_00 import figures
from course_utils.plots import alt_text

SMALL = GPT2Config(n_embd=32, n_head=2, n_layer=3, n_inner=48, vocab_size=80, bos_token_id=0, eos_token_id=0)


@pytest.mark.parametrize(
    ("draw", "config", "shapes"),
    [
        (
            figures.gpt2_way,
            GPT2Config(),
            ["wte [50,257, 768]", "wpe [1,024, 768]", "768 $\\to$ 3,072", "one of 12 blocks"],
        ),
        (figures.gpt2_way, SMALL, ["wte [80, 32]", "32 $\\to$ 48", "one of 3 blocks"]),
        (
            figures.attention_detail,
            GPT2Config(),
            ["[768, 3 * 768]", "[T, 64] each", "[T, 768], 64 columns each", "c_proj [768, 768]"],
        ),
        (figures.attention_detail, SMALL, ["[T, 16] each", "one of 2 heads", "[T, 32], 16 columns each"]),
    ],
)
def test_pictures_have_the_shapes_of_the_configuration(draw, config, shapes):
    draw(config)
    written = "\n".join(text.get_text() for ax in plt.gcf().axes for text in ax.texts)
    plt.gcf().canvas.draw()
    plt.close("all")
    assert [shape for shape in shapes if shape not in written] == []


def test_every_head_has_its_number_and_every_token_its_name():
    figures.head_scores(torch.tensor([[0.1, 0.92], [0.0, 0.3]]), "Heads", "share")
    assert [text.get_text() for text in plt.gcf().axes[0].texts] == ["0.10", "0.92", "0.00", "0.30"]
    figures.attention_map(torch.eye(3), ["Mia", " met", "\n"], [1], "A head")
    fig = plt.gcf()
    fig.canvas.draw()
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["Mia", "·met", "\\n"]
    assert "image of 3 x 3 values" in alt_text(fig)
    plt.close("all")
