"""Peak, fall and gold at equal KL, on scores made up for the test."""

import pytest
import torch

from course_utils.lessons.lesson_12 import over_kl


def run(kls, golds):
    found = {"kl": kls[-1]}
    for i, (kl, scores) in enumerate(zip(kls, golds, strict=True)):
        found |= {f"kl_{i}": kl, f"golds_{i}": scores}
    return found


def test_golds_are_by_seed_checkpoint_and_prompt():
    runs = [run([0, 1], [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]), run([0, 2], [[0.7, 0.8, 0.9], [0.0, 0.1, 0.2]])]
    scores = over_kl.golds(runs)
    assert scores.shape == (2, 2, 3) and scores[1, 0, 2] == pytest.approx(0.9)
    assert over_kl.mean_path(runs, "kl") == [0, 1.5]


def test_the_peak_is_read_on_the_other_half():
    """Even prompts peak at point 1, odd ones at point 2: each half is read where the other one peaks."""
    even, odd = [0.2, 0.9, 0.5, 0.1], [0.3, 0.4, 0.8, 0.2]
    scores = torch.tensor([even, odd] * 3).T[None]  # (1, 4, 6)
    rise, fall = over_kl.rise_and_fall(scores)
    assert rise == pytest.approx(((0.4 - 0.3) + (0.5 - 0.2)) / 2)
    assert fall == pytest.approx(((0.4 - 0.2) + (0.5 - 0.1)) / 2)


def test_the_first_rise_is_that_from_the_start_to_the_first_checkpoint():
    scores = torch.tensor([[[0.2, 0.4], [0.5, 0.5], [0.9, 0.9]], [[0.1, 0.1], [0.0, 0.2], [0.9, 0.9]]])
    assert over_kl.first_rise(scores) == pytest.approx(0.1)


def test_noise_alone_has_no_fall_on_average():
    """The maximum of a flat noisy curve lies above its end; read on the other half it does not."""
    torch.manual_seed(0)
    drawn = [torch.rand(5, 11, 44) for _ in range(300)]
    falls = torch.tensor([over_kl.rise_and_fall(scores)[1] for scores in drawn])
    naive = torch.stack([scores.mean((0, 2)).max() - scores.mean((0, 2))[-1] for scores in drawn])
    room = 4 * falls.std() / 300**0.5
    assert falls.mean().abs() < room < naive.mean() / 2


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    torch.manual_seed(0)
    inside = 0
    for _ in range(60):
        seeds, prompts = torch.randn(8, 1, 1), torch.randn(1, 1, 40)
        _, low, high = over_kl.bootstrap_interval(
            seeds + prompts, lambda scores: scores.mean().item(), draws=200
        )
        inside += low <= 0 <= high
    assert inside >= 48


def test_redrawing_keeps_the_halves():
    scores = torch.arange(6.0).expand(3, 2, 6) + 10 * torch.arange(3.0)[:, None, None]
    drawn = over_kl.redrawn(scores, torch.Generator().manual_seed(0))
    assert drawn.shape == scores.shape
    assert (drawn[:, :, ::2] % 10 % 2 == 0).all() and (drawn[:, :, 1::2] % 10 % 2 == 1).all()
    assert torch.equal(scores, torch.arange(6.0).expand(3, 2, 6) + 10 * torch.arange(3.0)[:, None, None])


def test_gold_at_a_distance_lies_between_two_checkpoints():
    one = run([0.0, 4.0, 12.0], [[0.0, 1.0], [0.4, 0.6], [0.8, 0.2]])
    assert over_kl.at_kl(one, 6.0) == pytest.approx([0.5, 0.5])
    assert over_kl.at_kl(one, 4.0) == pytest.approx([0.4, 0.6])
    assert over_kl.at_kl(one, 13.0) is None
    back = run([0.0, 8.0, 3.0, 9.0], [[0.0], [0.8], [0.1], [0.2]])
    assert over_kl.at_kl(back, 6.0) == pytest.approx([0.6]), "where it first comes so far"
    assert over_kl.gold_at([one, back], 13.0) is None
    assert over_kl.gold_at([one, one], 6.0)[0] == pytest.approx(0.5)
