"""The figures and sliders of lesson 11 show the given numbers."""

import math

import matplotlib.pyplot as plt
import pytest
import torch
from helpers import layout_faults, texts

from course_utils.lessons.lesson_11 import figures, widgets
from course_utils.lessons.lesson_11.small_kl import best_policy, mean_sequence_kl, rewards_by_token
from course_utils.lessons.lesson_11.toy import Toy
from course_utils.methods.kl import exact_kl, rlhf_kl_penalty

POLICY, REFERENCE = torch.tensor([[0.6, 0.3, 0.08, 0.02], [0.3, 0.3, 0.2, 0.2]])
ANSWERS = [["Tom", "ran", "home", "end"], ["Run", "end", "pad", "pad"]]
NOW = torch.tensor([[-1.0, -0.5, -2.0, -0.1], [-2.0, -0.3, -9.0, -torch.inf]])
BEFORE = torch.tensor([[-1.5, -2.5, -1.8, -0.3], [-1.4, -1.2, -4.0, -torch.inf]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
OF_ANSWERS, REWARDS = torch.tensor([0.5, 0.3, 0.15, 0.05]), torch.tensor([1.0, 2.0, 0.0, 3.0])
NAMES = ["time", "mmmmmmmmmmmmmm", "·", "<1234>", "WWWWWWWWWWW", "grandmothers", "a", "b"]


def a_place(before="she looked under the bed and behind the door, and then her", drawn=1):
    generator = torch.Generator().manual_seed(0)
    policy, reference = torch.randn(2, len(NAMES), generator=generator).mul(3).softmax(-1)
    figures.at_place(before, policy, reference, drawn, token_of=NAMES.__getitem__)
    return policy, reference


PICTURES = {
    "by hand": lambda: figures.by_hand(["time", "day", "king", "frog"], POLICY, REFERENCE),
    "predicted": lambda: figures.predicted_by(["pad", "Tell", "me"], ["Once", "upon", "end", "pad"]),
    "a place": a_place,
    "the first place": lambda: a_place(""),
    "answers": lambda: figures.kl_of_answers(ANSWERS, NOW, BEFORE, MASK),
    "paid": lambda: figures.penalties_and_scores(ANSWERS, NOW - BEFORE, [1.0, -0.5], MASK, 0.1),
    "one number": lambda: figures.one_number(
        "ABCD", OF_ANSWERS, REWARDS, best_policy(OF_ANSWERS, REWARDS, 1.0), 1.0
    ),
}


def rows(name):
    """The cells of each row with this name, as many as there are columns."""
    found = texts()
    return [found[i + 1 : i + 6] for i, text in enumerate(found) if text == name]


def number(text):
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps(name):
    PICTURES[name]()
    for dpi in (72, 100):
        assert layout_faults(plt.gcf(), dpi) == []
    plt.close("all")


def test_the_divergence_by_hand_is_the_exact_one():
    PICTURES["by hand"]()
    [[*_, forth]], [[*_, back]] = rows("p · log (p / q)"), rows("q · log (q / p)")
    assert number(forth) == pytest.approx(exact_kl(POLICY.log(), REFERENCE.log()).item(), abs=0.006)
    assert number(back) == pytest.approx(exact_kl(REFERENCE.log(), POLICY.log()).item(), abs=0.006)


def test_a_place_has_all_of_its_divergence():
    policy, reference = a_place()
    found = texts()
    whole = found[found.index("sum") + 1 : found.index("sum") + 4]
    exact = exact_kl(policy.log(), reference.log()).item()
    assert whole[:2] == ["1.00", "1.00"] and number(whole[2]) == pytest.approx(exact, abs=0.006)


@pytest.mark.parametrize("value, shown", [(0.0, "0.00"), (-1e-9, "0.00"), (4.2e-6, "4e-6"), (0.6, "0.60")])
def test_a_small_probability_is_not_shown_as_none(value, shown):
    policy, reference = torch.tensor([[0.9, 0.1], [1 - value, value]], dtype=torch.double)
    figures.at_place("text", policy, reference, 0, token_of=["a", "b"].__getitem__, most=2)
    assert texts()[texts().index("b") + 2] == shown
    plt.close("all")


def test_logits_stand_one_place_before_their_token():
    PICTURES["predicted"]()
    found = texts()
    start = found.index("its logits predict")
    assert found[start + 1 : start + 4] == ["Once", "upon", "end"]
    cells = {
        text.get_text(): text.get_position()[0] for text in plt.gcf().axes[0].texts[start + 1 : start + 4]
    }
    tokens = {text.get_text(): text.get_position()[0] for text in plt.gcf().axes[0].texts[:start]}
    assert cells["Once"] == tokens["me"] and cells["end"] == tokens["upon"]


def test_sums_of_answers_are_those_of_the_exercises():
    PICTURES["answers"]()
    assert any("1.4 nats" in text for text in texts())
    assert mean_sequence_kl(NOW, BEFORE, MASK).item() == pytest.approx(1.4)
    PICTURES["paid"]()
    penalties = rlhf_kl_penalty(NOW, BEFORE, 0.1, MASK)
    rewards = rewards_by_token(torch.tensor([1.0, -0.5]), penalties, MASK)
    for shown, wanted in zip(rows("reward"), rewards.tolist(), strict=True):
        assert [number(text) for text in shown] == pytest.approx([*wanted, sum(wanted)], abs=0.006)
    for shown, wanted in zip(rows("penalty"), penalties.tolist(), strict=True):
        assert [number(text) for text in shown] == pytest.approx([*wanted, sum(wanted)], abs=0.006)


def test_the_best_policy_has_one_number_and_the_highest_objective():
    PICTURES["one number"]()
    [[*four, _]] = rows("r − β · log-ratio")
    assert len(set(four)) == 1
    objectives = [
        number(text.split("= ")[1]) for text in texts() if " = " in text and "·" in text and "1 ·" in text
    ]
    assert len(objectives) == 3 and max(objectives) == objectives[2] == number(four[0])


def test_ascent_and_formula_agree_at_every_price():
    toy = Toy(0)
    for beta in (0.3, 1.0, 3.0):
        found, rows_of = toy.ascend(beta)
        assert torch.allclose(found, best_policy(toy.reference, toy.reward, beta), atol=2e-3)
        assert rows_of[0] == (0, pytest.approx(0, abs=1e-6), beta)


def test_the_point_of_a_price_lies_on_the_curve(capsys):
    toy = Toy(1)
    for beta in (0.1, 1.0, 5.0):
        widgets.show_price(toy, best_policy, beta)
        left, right = plt.gcf().axes
        curve, point = right.lines
        [kl], [reward] = point.get_data()
        below = max((y, x) for x, y in zip(*curve.get_data(), strict=True) if x <= kl + 1e-6)
        above = min((y, x) for x, y in zip(*curve.get_data(), strict=True) if x >= kl - 1e-6)
        assert below[0] <= reward + 1e-6 and reward <= above[0] + 1e-6
        assert sum(bar.get_height() for bar in left.patches[: len(toy.reward)]) == pytest.approx(1, abs=1e-4)
        told, best = capsys.readouterr().out, best_policy(toy.reference, toy.reward, beta)
        assert f"KL {kl:.2f}" in told
        bound, gain = float(told.split()[-1]), best > toy.reference
        assert toy.reward[gain].min() > bound - 0.006 and toy.reward[~gain].max() < bound + 0.006
        assert f"{int(gain.sum())} of {len(best)} answers gain" in told
        plt.close("all")


def test_stopped_runs_ends_and_start_are_drawn():
    start = {"kl": 0.0, "gold": 0.3, "proxy": -0.5}
    path = [[{"kl": 4.0, "gold": 0.2, "proxy": 0.1}, {"kl": 9.0, "gold": 0.1, "proxy": 0.3}]] * 2
    ends = {
        "with": [{"kl": 8.0, "gold": 0.2, "proxy": 0.2}],
        "without": [{"kl": 50.0, "gold": 0.0, "proxy": 1}],
    }
    figures.gold_over_kl(path, ends, start, "title", [(path[0][1], ends["with"][0])])
    gold, proxy = plt.gcf().axes
    *_, joined, ring = proxy.lines
    assert list(joined.get_xdata()) == [9.0, 8.0] and list(ring.get_ydata()) == [0.3]
    for line in (*gold.lines[-2:], joined, ring):
        line.remove()
    assert [line.get_ydata()[0] for line in gold.lines] == [0.3, 0.3, 0.2, 0.2, 0.0]
    assert list(proxy.lines[0].get_xdata()) == [0.0, 4.0, 9.0] and math.isclose(gold.get_xlim()[0], 0)
    plt.close("all")
