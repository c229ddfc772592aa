"""What fits, the largest batch, time and price, compared with arithmetic by hand."""

import matplotlib.pyplot as plt
import pytest

from course_utils import budget
from course_utils.budget import CARDS, GIB, plan
from course_utils.lessons.lesson_14 import widgets

pytestmark = pytest.mark.slow

TINY = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
}


@pytest.mark.parametrize(
    "method, size", [pytest.param("full", 1.5, marks=pytest.mark.night), ("lora", 1.3), ("qlora", 4.0)]
)
def test_the_largest_batch_fits_and_one_more_does_not(monkeypatch, method, size):
    monkeypatch.setitem(CARDS, "small", (size, 10))
    rows = plan(TINY, method, 1, 512, "small").largest_batch
    assert rows > 2
    assert plan(TINY, method, rows, 512, "small").fits
    assert not plan(TINY, method, rows + 1, 512, "small").fits


@pytest.mark.parametrize("limit", [100, 129, 130, 138, 139, 140, 170, 171, 1000, 10**6])
def test_the_search_is_short_on_a_line_with_a_bend(monkeypatch, limit):
    """Compared with counting up: a batch's memory grows by 1 per row, and from 40 rows on by 3."""
    monkeypatch.setattr(budget, "_used", lambda need: need)
    asked = []

    def need_at(rows):
        asked.append(rows)
        return 100 + max(rows - 1, 3 * (rows - 1) - 78)

    expected = max(rows for rows in range(1, 400_000) if need_at(rows) <= limit)
    asked.clear()
    assert budget._largest(need_at, limit) == expected
    assert len(asked) <= 16


@pytest.mark.night
def test_what_cannot_fit_has_no_batch():
    found = plan("Llama-3.1-70B", "full", 1, 128, "A100 80 GB")
    assert not found.fits and found.largest_batch == 0
    assert found.need.weights + found.need.gradients + found.need.moments == 16 * found.need.parameters


@pytest.mark.parametrize("card", ["T4", pytest.param("H200", marks=pytest.mark.night)])
def test_fits_says_what_the_plan_says(card):
    big = {**TINY, "num_hidden_layers": 4, "hidden_size": 8192, "intermediate_size": 28672}
    for method in ("full", "qlora"):
        assert budget.fits(big, method, 1, 64, card) == plan(big, method, 1, 64, card).fits
    assert budget.fits(big, "full", 1, 64, card) == (card == "H200")


@pytest.mark.night
def test_this_machine_stands_beside_the_cards(monkeypatch):
    monkeypatch.setattr(budget, "CARDS", dict(CARDS))
    monkeypatch.setattr(budget, "memory", lambda: 3 * GIB)
    monkeypatch.setattr(budget.torch.cuda, "is_available", lambda: False)
    assert budget.cards_here(64)[-1] == "this machine"
    size, tflops = budget.CARDS["this machine"]
    assert size == 3 and 1e-6 < tflops < 1e4
    assert budget.cards_here() == [*CARDS, "this machine"]
    assert budget.CARDS["this machine"][1] == tflops
    assert not plan("Llama-2-7B", "lora", 1, 512, "this machine").fits
    assert plan("gpt2", "lora", 1, 512, "this machine").fits


@pytest.mark.night
def test_known_verdicts():
    """7B in 4 bits fits in 24 GB; full fine-tuning needs more than one 80 GB card."""
    assert plan("Llama-2-7B", "qlora", 1, 512, "RTX 4090").fits
    assert not plan("Llama-2-7B", "full", 1, 512, "A100 80 GB").fits
    assert not plan("Llama-2-7B", "lora", 1, 512, "T4", checkpointing=False).fits


def test_hours_and_cost_by_hand():
    found = plan("gpt2", "full", 1, 512, "L4", price=2.0, checkpointing=False, examples=1000, epochs=2)
    flop = 6 * 124_439_808 * 512 * 1000 * 2
    assert found.hours == pytest.approx(flop / (121e12 * budget.UTILISATION) / 3600)
    assert found.cost == pytest.approx(2 * found.hours)
    frozen = plan("gpt2", "lora", 1, 512, "L4", checkpointing=True, examples=1000, epochs=2)
    assert frozen.hours == pytest.approx(found.hours)  # four sixths, plus two for checkpointing


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_card_without_bf16_trains_in_fp32(method):
    """A T4's 65 TFLOP/s are those of fp16."""
    older, newer = (plan(TINY, method, 2, 64, card, checkpointing=False) for card in ("T4", "L4"))
    for found, precision in ((older, "fp32"), (newer, "mixed")):
        assert found.need == budget.training_need(TINY, method, 2, 64, precision)
    assert older.need.weights > newer.need.weights and older.need.step > newer.need.step
    assert older.hours == pytest.approx(newer.hours * 121 / 8.1)


@pytest.mark.night
@pytest.mark.parametrize("card, told", [("T4", True), ("L4", False)])
def test_the_widget_says_where_there_is_no_bf16(card, told, capsys):
    widgets.memory_plan("SmolLM2-135M", "lora", 1, 256, card)
    plt.close("all")
    assert ("No bf16" in capsys.readouterr().out) == told


@pytest.mark.parametrize("gpu, native, precision", [(0, 0, "fp32"), (1, 0, "fp32"), (1, 1, "mixed")])
def test_bf16_by_emulation_is_none(gpu, native, precision, monkeypatch):
    """As on a T4, for which torch says yes by default."""
    monkeypatch.setattr(budget.torch.cuda, "is_available", lambda: bool(gpu))
    monkeypatch.setattr(
        budget.torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native
    )
    assert budget.training_precision(budget.THIS_MACHINE) == precision


def test_used_memory_is_the_need_and_the_two_assumptions():
    found = plan(TINY, "lora", 2, 64, "T4")
    assert found.used_bytes == int(found.need.total * budget.FRAGMENTS) + GIB


def test_an_unknown_card_is_said():
    with pytest.raises(ValueError, match="RTX 4090"):
        plan(TINY, card="Voodoo 2")


def test_the_widget_prints_the_plan(capsys):
    plt.close("all")  # other tests' figures
    widgets.memory_plan("SmolLM2-135M", "lora", 2, 256, "T4", price=0.5)
    assert len(plt.get_fignums()) == 1
    plt.close("all")
    printed = capsys.readouterr().out
    found = plan("SmolLM2-135M", "lora", 2, 256, "T4", 0.5)
    assert "134,515,008 parameters" in printed and "fits" in printed
    assert f"largest batch {found.largest_batch}" in printed
