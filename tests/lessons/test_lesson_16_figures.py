"""The figures and the widget of the lesson on several machines."""

import re

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import layout_faults, texts

from course_utils.budget import GIB, training_need
from course_utils.lessons.lesson_16 import figures, scaling, splits
from course_utils.lessons.lesson_16.figures import memory_of_cards
from course_utils.lessons.lesson_16.widgets import show_cards


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


TOKENS = [[3.0, 1.0], [0.2, 0.6, 1.0, 0.2]]
VALUES = [[1, 2, 3], [10, 20, 30], [100, 200, 300]]
WEIGHTS = {"in her script": [1 / 4] * 2 + [1 / 8] * 4, "in one process": [1 / 6] * 6}
ON_CARDS = {
    name: scaling.held_on_card(4e9, 4e9, 8e9, 1e9, 4, stage)
    for stage, name in enumerate(("DDP", "ZeRO 1", "ZeRO 2", "ZeRO 3"))
}
PICTURES = {
    "losses": lambda: figures.losses_of_processes(TOKENS),
    "weights": lambda: figures.losses_of_processes(TOKENS, WEIGHTS),
    "ring": lambda: figures.ring_by_turns(*scaling.ring_turns(VALUES)),
    "cards": lambda: figures.what_cards_hold(ON_CARDS, 4, "a model in training", unit="GB"),
    "by stage": lambda: figures.memory_by_stage(
        {"full": [142, 92.2, 39, 17.1], "lora": [14.9, 14.6, 14.3, 4.75]}, 8, "Which frees the most?"
    ),
    "who": lambda: figures.who_works_on_what(splits.owners(), ["tokens", "layer 1", "layer 2"], splits.KEEPS),
    "timetable": lambda: figures.timetable(splits.pipeline_jobs(3, 4), "What does each of three cards do?"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []


def test_a_mean_of_means_is_another_loss():
    PICTURES["losses"]()
    assert "the batch: sum 6.0, 6 tokens: loss 1.0" in texts()
    PICTURES["weights"]()
    assert [text.rpartition(" ")[2] for text in texts() if "added up" in text] == ["1.25", "1.00"]


def test_the_ring_ends_with_all_sums_everywhere_and_marks_what_arrived():
    states, arrived = scaling.ring_turns(VALUES)
    assert states[0] == VALUES and states[-1] == [[111, 222, 333]] * 3
    for before, after, places in zip(states, states[1:], arrived, strict=False):
        for rank, place in enumerate(places):
            changed = [piece for piece in range(3) if before[rank][piece] != after[rank][piece]]
            assert changed in ([place], [])
    sums, _ = scaling.ring_all_reduce([torch.tensor(row) for row in VALUES])
    assert [one.tolist() for one in sums] == states[-1]
    PICTURES["ring"]()
    assert texts(bold=True) == [
        *("303", "11", "220", "222", "333", "111", "111", "222", "333", "333", "111", "222")
    ]


def test_cards_hold_less_at_every_stage_and_gather_at_the_last():
    PICTURES["cards"]()
    found = texts()
    assert [text for text in found if text.endswith(" GB")] == ["20 GB", "14 GB", "7 GB", "5 GB"]
    assert found.count("gathered") == 4 and found.count("buckets") == 8


@pytest.mark.parametrize("cards, batches", [(1, 3), (2, 1), (3, 4), (4, 16)])
def test_a_pipeline_waits_for_its_ends(cards, batches):
    jobs = splits.pipeline_jobs(cards, batches)
    assert splits.waiting(jobs) == pytest.approx((cards - 1) / (batches + cards - 1))
    when = [{job: time for time, job in enumerate(row) if job} for row in jobs]
    for batch in range(batches):
        forward = [row[f"F{batch}"] for row in when]
        backward = [row[f"B{batch}"] for row in when]
        assert forward == sorted(set(forward)) and backward == sorted(set(backward), reverse=True)
        assert forward[-1] < backward[-1]


def test_every_cell_is_worked_on():
    for split, matrices in splits.owners().items():
        owned = [cell for matrix in matrices for row in matrix for cell in row]
        assert set(owned) <= {"0", "1", "0 1"} and split in splits.KEEPS
        assert any(cell != "0 1" for cell in owned)


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
    held = [float(row.split("GiB")[0].split()[-1]) for row in rows[1:5]]
    whole = (
        need.weights + 2 * need.gradients + need.moments + max(need.step, need.saved)
    )  # with DDP's buckets
    assert held[0] == pytest.approx(whole / GIB, abs=0.06) and held == sorted(held, reverse=True)
    assert all(row.endswith(" fits") for row in rows[1:5])
    amount, stages = re.fullmatch(r"a step sends ([\d.]+) GiB in [\d.]+ s at stage (.+)", rows[5]).groups()
    assert float(amount) == pytest.approx(1.5 * need.gradients / GIB, abs=0.01)
    assert stages == "0, 1, 2, 3"  # weights travel in 16 bits, gradients in 32


@pytest.mark.slow
def test_without_bf16_weights_are_counted_and_travel_in_fp32(capsys):
    sums = {}
    for card in ("T4", "L4"):
        show_cards("SmolLM2-135M", "lora", cards=4, card=card, rows=1)
        out = capsys.readouterr().out
        held, sent = re.findall(r"([\d.]+) GiB +(?:fits|does)", out), re.findall(r"sends ([\d.]+)", out)
        sums[card] = float(held[0]), float(sent[-1])  # a copy on each card; all of it in parts
    frozen = 2 * training_need("SmolLM2-135M", "lora", 1, 1024).parameters / GIB
    assert sums["T4"][0] - sums["L4"][0] > 0.9 * frozen
    assert sums["T4"][1] > 1.5 * sums["L4"][1]


def test_four_bits_have_no_last_stage(capsys):
    show_cards("SmolLM2-135M", "qlora", rows=1)
    assert "3: and weights" not in capsys.readouterr().out
