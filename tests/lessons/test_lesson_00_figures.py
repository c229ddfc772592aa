"""The pictures of lesson 00: nothing overlaps, numbers come out by hand, shapes are the configuration's."""

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import faults_of
from matplotlib.patches import FancyArrowPatch
from transformers import GPT2Config

from course_utils.lessons.lesson_00 import figures
from course_utils.plots import alt_text

SMALL = GPT2Config(n_embd=32, n_head=2, n_layer=3, n_inner=48, vocab_size=80, bos_token_id=0, eos_token_id=0)


TOKENS = ["Rome", "Paris", "the", "fox"]
TOY = ["cat", "sat", "it"]
X = torch.tensor([[1.0, 3.0], [-1.0, 3.0], [1.0, 1.0]])
W_QUERY, W_KEY, W_VALUE = torch.tensor(
    [[[1.0, 0.0], [0.5, 0.5]], [[0.5, 0.5], [0.5, -0.5]], [[0.5, -1.0], [0.5, 0.5]]]
)
TABLE = torch.arange(80).view(20, 4) / 100
PICTURES = {
    "next": lambda: figures.expected_next(
        ["The", " capital", " of", " France", " is"],
        [270, 339, 266, 2002, 269],
        [" currency", " of", " the", " is", " Par"],
        [0.12, 0.94, 0.11, 0.58, 0.96],
    ),
    "softmax": lambda: figures.softmax_by_hand(TOKENS, torch.tensor([1.0, 3.0, 0.0, -1.0])),
    "temperature": lambda: figures.softmax_by_hand(TOKENS, torch.tensor([1.0, 3.0, 0.0, -1.0]), (0.5, 2.0)),
    "growing": lambda: figures.growing_text(
        ["One", " day"], [["One", " day", " a"], ["One", " day", " a", " fox"]]
    ),
    "nucleus": lambda: figures.nucleus(TOKENS, torch.tensor([0.25, 0.1, 0.5, 0.15]), 0.7),
    "embedding": lambda: figures.embedding(["Mia", " met", "Mia"], [3, 5, 3], TABLE, 2 * TABLE, [0, 2], 3),
    "query and key": lambda: figures.queries_and_keys(TOY, X, W_QUERY, W_KEY),
    "scores": lambda: figures.scores_and_weights(TOY, X[-1] @ W_QUERY, X @ W_KEY),
    "mixture": lambda: figures.mixture(TOY, X, W_VALUE, torch.tensor([0.58, 0.14, 0.28])),
    "mask": lambda: figures.masked_scores(TOY, (X @ W_QUERY) @ (X @ W_KEY).T / 2**0.5),
    "all of it": lambda: figures.attention_by_hand(TOY, X, W_QUERY, W_KEY, W_VALUE),
}


@pytest.mark.parametrize("dpi", [72, 96, 192])
@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name, dpi):
    assert faults_of(PICTURES[name], dpi) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        # e, e^3, 1, 1/e: sum 24.17
        ("softmax", "2.72, 20.09, 1.00, 0.37. p: share of the sum: 0.11, 0.83, 0.04, 0.02"),
        ("temperature", "0.02, 0.98, 0.00, 0.00. p at temperature 2: 0.21, 0.58, 0.13, 0.08"),
        ("growing", "round 2: One ·day (data), ·a ·fox"),
        ("nucleus", "sum before it: 0.00, 0.50, 0.75, 0.90. less than 0.7?: stays, stays, dropped, dropped"),
        ("nucleus", "verdict: stays, dropped, stays, dropped"),
        ("embedding", "row of wpe (trained): 0.00 0.02 0.04, 0.16 0.18 0.20"),
        ("embedding", "sum: the vector x: 0.12 0.15 0.18, 0.28 0.31 0.34"),
        ("query and key", "nothing, nothing, 1.5 0.5. key: x W key: 2.0 −1.0, 1.0 −2.0, 1.0 0.0"),
        ("scores", "query · key: 2.50, 0.50, 1.50. score: over √2: 1.77, 0.35, 1.06"),
        ("scores", "weight: its share: 0.58, 0.14, 0.28"),
        ("mixture", "value: x W value: 2.0 0.5, 1.0 2.5, 1.0 −0.5"),
        ("mixture", "mixture: nothing, nothing, 1.58 0.50"),  # .58 · 2 + .14 + .28; .29 + .35 - .14
        ("mask", "weights: 1.00 0.00 0.00; 0.80 0.20 0.00; 0.58 0.14 0.28"),
    ],
)
def test_pictures_show_what_comes_out_by_hand(name, said):
    PICTURES[name]()
    assert said in alt_text(plt.gcf())


def test_each_token_has_an_arrow_to_its_place_and_back():
    PICTURES["nucleus"]()
    arrows = [patch._posA_posB for patch in plt.gcf().axes[0].patches if isinstance(patch, FancyArrowPatch)]
    columns = sorted({start[0] for start, _ in arrows})
    steps = [(columns.index(start[0]), columns.index(end[0])) for start, end in arrows]
    assert sorted(steps[:4]) == [(0, 1), (1, 3), (2, 0), (3, 2)]
    assert sorted(steps[4:]) == sorted((after, before) for before, after in steps[:4])


def test_rules_stand_at_their_means():
    numbers = {("a", "broken"): [0.1, 0.3], ("a", "variety"): [0.4, 0.6]}
    groups = {"top-k": [{"temperature": 1.3, "top_k": 5}]}
    figures.rules_compared(groups, lambda rule, name: numbers["a", name], "Rules")
    [ax] = plt.gcf().axes
    assert ax.lines[0].get_xydata().tolist() == [[pytest.approx(0.5), pytest.approx(0.2)]]
    assert [text.get_text() for text in ax.texts] == ["5"]


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
