"""The figures of lesson 06 show the given numbers."""

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import layout_faults, texts

from course_utils.lessons.lesson_06 import figures
from course_utils.lessons.lesson_06.loss_terms import loss_terms
from course_utils.methods.quantization import NF4

WEIGHTS = [0.12, -0.05, 0.60, -0.33, 0.02, 0.21]
P = torch.tensor([0.70, 0.20, 0.06, 0.04])
CHANGES = {"one": torch.tensor([0.3, -0.2, -0.9, 0.9]), "other": torch.tensor([-1.1, 0.7, 0.2, 0.1])}
CODES, LEVELS = torch.tensor([[3, 2], [1, 4], [2, 0]]), torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
X, GRAD = torch.tensor([2.0, 1.0]), torch.tensor([1.0, -2.0, 0.5])
W, BA = torch.tensor([0.06, 0.13, -0.16, -0.04, 0.23]), torch.tensor([0.02, -0.02, 0.02, 0.02, -0.02])
INPUTS, VECTORS = torch.tensor([[1.0, 2.0], [1.0, -1.0]]), torch.tensor([[0.5, -1.0], [2.0, 0.5]])
PICTURES = {
    "block": lambda: figures.block_of_codes(WEIGHTS, NF4),
    "changes": lambda: figures.terms_by_hand(["Lima", "Quito", "Paris", "blue"], P, 0, CHANGES),
    "passes": lambda: figures.both_passes(CODES, LEVELS, 2.0, X, GRAD),
    "again": lambda: figures.rounded_again(W, BA, 0.1),
    "sum": lambda: figures.sum_over_tokens(INPUTS, VECTORS, "vector"),
}


def rows(name, count):
    """The cells of every row with this name."""
    found = texts()
    return [found[at + 1 : at + 1 + count] for at, text in enumerate(found) if text == name]


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []


def test_a_block_is_stored_as_the_nearest_levels():
    PICTURES["block"]()
    nearest = [min(range(16), key=lambda code: abs(NF4[code] - weight / 0.6)) for weight in WEIGHTS]
    assert rows("stored: its code", 6) == [[str(code) for code in nearest]]
    assert rows("level × scale", 6) == [["0.10", "−0.05", "0.60", "−0.32", "0.00", "0.20"]]
    assert any("scale is 0.60" in text for text in texts())


def test_the_terms_by_hand_are_those_of_the_exercise():
    PICTURES["changes"]()
    logits, target = P.log()[None], torch.tensor([0])
    for change in CHANGES.values():
        first, second = (float(term) for term in loss_terms(logits, change[None], target))
        shown = "".join(texts()).replace("−", "-")
        assert f"= {first:.3f}" in shown and f"= {second:.3f}" in shown
    assert CHANGES["one"].norm() == pytest.approx(CHANGES["other"].norm())


def test_both_passes_use_the_weight_that_the_codes_stand_for():
    PICTURES["passes"]()
    dense = LEVELS[CODES] * 2
    found = [text.replace("−", "-") for text in texts()]
    for name, values in {"y": X @ dense.T, "gradient of x": GRAD @ dense}.items():
        at = found.index(name) + 1
        assert [float(text) for text in found[at : at + len(values)]] == values.tolist()


def test_one_weight_changes_its_level_over_w_and_none_over_w_hat():
    PICTURES["again"]()
    over_w_hat, over_w = rows("rounded", 5)
    [w_hat] = rows("Ŵ: W, rounded", 5)
    assert over_w_hat == w_hat
    assert [a != b for a, b in zip(over_w, w_hat, strict=True)] == [False, False, True, False, False]
    assert [text for text in texts() if text.startswith("sum of")] == [
        "sum of magnitudes: 0.00 moved from Ŵ, 0.10 in BA",
        "sum of magnitudes: 0.10 moved from Ŵ, 0.10 in BA",
    ]


def test_the_error_is_the_sum_of_the_products():
    PICTURES["sum"]()
    total = [float(text.replace("−", "-")) for text in texts()[-5:-1]]
    assert total == (VECTORS.T @ INPUTS).flatten().tolist()


def test_every_share_on_the_way_has_its_bar():
    figures.on_the_way(["weights", "logits"], {"all": [0.09, 0.134], "first": [None, 0.08]}, "Where?")
    ax = plt.gcf().axes[0]
    assert [round(float(bar.get_width()), 1) for bar in ax.patches] == [9.0, 13.4, 8.0]
    assert [text.get_text() for text in ax.texts] == ["9.0", "13.4", "8.0"]


def test_every_sample_has_its_mark_and_the_live_run_a_star():
    samples = {"NF4": [(0.13, 0.02), (0.14, 0.01)], "gradient": [(0.13, 0.16)]}
    figures.rise_by_change(samples, {"NF4": [(0.134, 0.02)]}, "Why?")
    lines = [
        list(zip(*(data.tolist() for data in map(torch.tensor, line.get_data())), strict=True))
        for line in plt.gcf().axes[0].lines
        if len(line.get_xdata())
    ]
    assert [len(points) for points in lines] == [2, 1, 1]
    assert lines[1][0] == pytest.approx((13.4, 2.0)) and lines[2][0] == pytest.approx((13.0, 16.0))
