"""The picture of GPT-2's block shows the shapes of the configuration it is given."""

import matplotlib.pyplot as plt
import pytest
from transformers import GPT2Config

from course_utils.lessons.lesson_00 import figures


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        (
            GPT2Config(),
            [
                "wte [50,257, 768]",
                "wpe [1,024, 768]",
                "768 $\\to$ 3,072",
                "[768, 3 * 768]",
                "[T, 64]",
                "[T, 12 * 64]",
                "c_proj [768, 768]",
                "one of 12 blocks",
            ],
        ),
        (
            GPT2Config(
                n_embd=32, n_head=2, n_layer=3, n_inner=48, vocab_size=80, bos_token_id=0, eos_token_id=0
            ),
            ["wte [80, 32]", "32 $\\to$ 48", "[T, 16]", "one of 2 heads", "one of 3 blocks"],
        ),
    ],
)
def test_block_picture_has_the_shapes_of_the_configuration(config, shapes):
    figures.gpt2_block(config)
    written = "\n".join(text.get_text() for ax in plt.gcf().axes for text in ax.texts)
    plt.gcf().canvas.draw()
    plt.close("all")
    assert [shape for shape in shapes if shape not in written] == []
