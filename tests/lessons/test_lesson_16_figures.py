"""The figures and the widget of the lesson on several machines."""

import re

import matplotlib.pyplot as plt
import pytest

from course_utils.budget import GIB, training_need
from course_utils.lessons.lesson_16.figures import copies_and_parts, memory_of_cards
from course_utils.lessons.lesson_16.widgets import show_cards


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_the_picture_shows_what_each_process_holds():
    copies_and_parts()
    left, right = plt.gcf().axes
    assert "two copies" in left.get_title(loc="left") and "two parts" in right.get_title(loc="left")
    filled = [sum(p.get_width() for p in ax.patches if p.get_alpha() == 0.75) for ax in (left, right)]
    assert filled[0] == pytest.approx(2 * filled[1])


def test_bars_add_up_and_the_card_is_a_line():
    memory_of_cards({"a": {"weights": 3.0, "step": 2.0}, "b": {"weights": 1.0, "step": 4.0}}, 4.5, "title")
    [ax] = plt.gcf().axes
    ends = [bar.get_x() + bar.get_width() for bar in ax.patches]
    assert ends == [3.0, 1.0, 5.0, 5.0]
    assert ax.get_xlabel() == "GiB on each card" and list(ax.lines[0].get_xdata()) == [4.5, 4.5]


def test_the_widget_says_what_fits(capsys):
    show_cards("SmolLM2-135M", "full", cards=4, card="L4", link="Ethernet 10 Gbit/s", rows=1)
    rows = capsys.readouterr().out.splitlines()
    need = training_need("SmolLM2-135M", "full", 1, 1024, "mixed", 16, checkpointing=True)
    held = [float(row.split("GiB")[0].split()[-1]) for row in rows[1:]]
    whole = (
        need.weights + 2 * need.gradients + need.moments + max(need.step, need.saved)
    )  # with DDP's buckets
    assert held[0] == pytest.approx(whole / GIB, abs=0.06) and held == sorted(held, reverse=True)
    assert all(" fits " in row for row in rows[1:])
    sent = [float(row.split("sends")[1].split()[0]) for row in rows[1:]]
    assert sent[0] == pytest.approx(1.5 * need.gradients / GIB, abs=0.01)


@pytest.mark.slow
def test_without_bf16_weights_are_counted_and_travel_in_fp32(capsys):
    sums = {}
    for card in ("T4", "L4"):
        show_cards("SmolLM2-135M", "lora", cards=4, card=card, rows=1)
        rows = capsys.readouterr().out.splitlines()[1:]
        found = [re.search(r"([\d.]+) GiB +(?:fits|does).*sends +([\d.]+)", row).groups() for row in rows]
        sums[card] = float(found[0][0]), float(found[-1][1])  # a copy on each card; all of it in parts
    frozen = 2 * training_need("SmolLM2-135M", "lora", 1, 1024).parameters / GIB
    assert sums["T4"][0] - sums["L4"][0] > 0.9 * frozen
    assert sums["T4"][1] > 1.5 * sums["L4"][1]


def test_four_bits_have_no_last_stage(capsys):
    show_cards("SmolLM2-135M", "qlora", rows=1)
    assert "3: and weights" not in capsys.readouterr().out
