"""The pictures of lesson 02: nothing overlaps, their numbers come out by hand; the map has all its runs."""

import math

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import faults_of

from course_utils import plots
from course_utils.lessons.lesson_02 import figures, stored

TOKENS, LOSSES = [["Lima", "end"], ["It", "is", "Lima", "end"]], [[3.0, 1.0], [0.6, 0.4, 2.6, 0.4]]
PICTURES = {
    "step": lambda: figures.step_by_hand((1.0, 2.0), (3.0, -4.0), -6.0, rate=0.1, clip=1.0),
    "batch": lambda: figures.rows_of_a_batch(
        [["Q", ":", " Lima", "<|endoftext|>", "<|endoftext|>"]], [[-100, -100, 4, 0, -100]], [4]
    ),
    "parts": lambda: figures.two_parts({"a": (["Lima", "end"], [5.0, 1.0]), "b": (["It"], [-2.0])}),
    "adam": lambda: figures.adamw_on_numbers(
        {"weight 1": ([4.0, 4.0, -4.0], 2), "weight 2": ([0.2, 0.2, 0.2], 3)}, (0.5, 0.75), 0.1
    ),
    "faults": lambda: figures.faults_on_numbers(TOKENS, LOSSES, [[7.0, 5.0], [6.0, 8.0, 5.0, 7.0]]),
    "replay": lambda: figures.replay_shares({"examples": (16, 2), "tokens read": (341, 126)}),
    "memory": lambda: figures.memory_of_a_step({"weights": 19e6, "moments": 38e6}),
}


@pytest.mark.parametrize("dpi", [72, 96, 192])
@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name, dpi):
    assert faults_of(PICTURES[name], dpi) == []


def words(name):
    PICTURES[name]()
    return plots.alt_text(plt.gcf()).replace("\u00a0", " ").replace("\N{MINUS SIGN}", "-")


def test_a_step_is_that_of_torch():
    weights = torch.tensor([1.0, 2.0], requires_grad=True)
    x, optimizer = torch.tensor([3.0, -4.0]), torch.optim.SGD([weights], lr=0.1)
    losses = []
    for _ in range(2):
        loss = (weights @ x + 6.0) ** 2 / 2
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([weights], 1.0)
        optimizer.step()
        if len(losses) == 1:
            after = [f"{value:.2f}" for value in weights.tolist()]
            first_norm = norm.item()
    said = words("step")
    assert f"loss {losses[0]:.3f}" in said and f"loss on this batch is {losses[1]:.3f}" in said
    assert f"norm {first_norm:.0f}" in said and f"weights ({after[0]}, {after[1]})" in said


def test_only_answer_and_real_end_are_drawn_as_carrying_loss():
    assert "Q : (data), ·Lima <|endoftext|> (carries loss), <|endoftext|>." in words("batch")


def test_one_batch_divides_by_all_tokens():
    said = words("parts")
    assert "(6.0 + -2.0) / 3 tokens = 1.33" in said and "(3.00 + -2.00) / 2 = 0.50" in said


def test_adam_moves_as_torch_does():
    said = words("adam")
    for gradients in ([4.0, 4.0, -4.0], [0.2, 0.2, 0.2]):
        weight = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.5, 0.75))
        moves = []
        for gradient in gradients:
            before = weight.item()
            weight.grad = torch.tensor([gradient])
            optimizer.step()
            moves.append(f"{weight.item() - before:+.3f}")
        assert f"moves, rate 0.1 (trained): {', '.join(moves)}" in said


def test_each_fault_changes_other_numbers():
    said = words("faults")
    assert "sound. 2.00. 2. 1.33. 6." in said and "mean of means. 2.00. 2. 1.50. 6." in said
    assert "mask by id. 3.00. 1. 1.65. 4." in said and "double shift. 6.00. 2. 6.33. 6." in said


def test_shares_of_a_step():
    said = words("replay")
    assert "questions 16. 11% (data)" in said and "questions 341. 27% (data)" in said


def test_the_map_has_the_rivals_and_equal_numbers_of_tokens():
    base = stored.base_run()
    figures.remedies_map("title", base | {"text_loss": base["text_loss"] + 0.1}, base)
    for ax, key in zip(plt.gcf().axes, ("text_loss", "fact_loss"), strict=True):
        drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
        less = base[key] if key == "text_loss" else 0.0
        for name, runs in {
            "rate, 137 steps": stored.runs(1e-5, steps=137),
            "replay, 73 steps": stored.runs(replay=2, steps=73),
        }.items():
            [place] = drawn[name]
            wanted = stored.mean_of(runs, key) - less, stored.mean_of(runs, "answer_loss")
            assert place == pytest.approx(list(wanted))
        assert len(drawn["rate"]) == 4 and len(drawn["replay"]) == 3 and len(drawn["walk back"]) == 4
        assert drawn["rate"][0][0] == pytest.approx(stored.mean_of(stored.runs(1e-5), key) - less)
        rates = sorted(text.get_text() for text in ax.texts)
        assert rates == sorted(["1e-5", "5e-5", "2e-4", "5e-4", "5e-5", "2e-4", "5e-4"])


def test_rates_and_the_live_run_stand_on_both_panels():
    results = {"answers": {1e-5: [0.1, 0.3], 2e-4: [0.03]}, "texts": {1e-5: [0.02], 2e-4: [0.3, 0.5]}}
    figures.over_rates(results, "title", (2e-4, {"answers": 0.04, "texts": 0.35}))
    left, right = plt.gcf().axes
    assert left.lines[0].get_ydata().tolist() == pytest.approx([0.2, 0.03])
    assert right.lines[0].get_ydata().tolist() == pytest.approx([0.02, 0.4])
    assert [ax.lines[1].get_xydata().tolist() for ax in (left, right)] == [[[2e-4, 0.04]], [[2e-4, 0.35]]]


def test_the_way_back_begins_at_the_base():
    figures.way_back("title")
    left, right = plt.gcf().axes
    for line in left.lines:
        assert line.get_ydata()[0] == stored.base_run()["answer_loss"] and len(line.get_xdata()) == 5
    assert [line.get_ydata()[0] for line in right.lines] == [0.0, 0.0]
    assert math.isclose(right.lines[0].get_ydata()[-1], stored.mean_of(stored.runs(), "forgetting"))
