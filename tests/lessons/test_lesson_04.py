"""Lesson 04: its exercises' verdicts, and broken runs that its claims exclude."""

import pytest
import torch
from helpers import draws_of, feed

from course_utils.evaluation import mean_loss
from course_utils.lessons.lesson_04 import experiments, stored
from course_utils.methods.lora_analysis import RankCut, linear_layers, random_like
from course_utils.models import load_model
from course_utils.stored_runs import load_sweep


@pytest.mark.parametrize("exercise, seed", draws_of("04"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


@pytest.fixture(scope="module")
def runs():
    """The base model, one with all matrices tuned as in the lesson, and held-out questions."""
    point = {"task": "questions", "place": "full", "rank": None, "lr": experiments.FULL_RATE}
    tuned, _ = experiments.tuned_at_rank(point, seed=0)
    return load_model("pocket")[0], tuned, experiments.question_examples("held_out", sample=100)


class WeakestFirst(RankCut):
    """Keeps the weakest directions."""

    def __init__(self, before, after, names=None):
        super().__init__(before, after, names)
        self.svds = {n: (U.flip(1), S.flip(0), Vh.flip(0)) for n, (U, S, Vh) in self.svds.items()}


class RandomOnes(RankCut):
    """Keeps the directions of a random matrix, with the change's singular values."""

    def __init__(self, before, after, names=None):
        super().__init__(before, after, names)
        for name, (U, S, Vh) in self.svds.items():
            other = torch.linalg.svd(random_like(U * S @ Vh, 1), full_matrices=False)
            self.svds[name] = (other[0], S, other[2])


@pytest.mark.slow
def test_only_the_right_cut_to_rank_1_keeps_the_gain(runs):
    base, tuned, questions = runs
    before, after = mean_loss(base, questions), mean_loss(tuned, questions)

    def kept(kind):
        cut = kind(base, tuned, linear_layers(base))
        share = (before - mean_loss(cut.set(1), questions)) / (before - after)
        cut.set(None)
        return share

    assert kept(RankCut) > 0.8
    assert kept(WeakestFirst) < 0.4
    assert kept(RandomOnes) < 0.4


def ratios(task, place, rank, alpha=16.0):
    """Losses divided by those of rank 4 on c_attn, seed by seed."""
    pairs = zip(stored.losses_of(task, place, rank, alpha), stored.losses_of(task, "c_attn", 4), strict=False)
    return [one / other for one, other in pairs]


def test_more_rank_on_c_attn_at_the_same_alpha_fails_the_claims_on_place():
    assert max(ratios("invented", "c_fc", 3)) < 0.4 < min(ratios("invented", "c_attn", 8))
    assert max(ratios("questions", "all", 1)) < 0.9 < min(ratios("questions", "c_attn", 64))


def test_a_larger_alpha_helps_rank_64_on_known_facts_and_leaves_it_behind_all_layers():
    larger = ratios("questions", "c_attn", 64, alpha=128.0)
    assert max(larger) < 1
    assert all(one < other for one, other in zip(ratios("questions", "all", 1), larger, strict=True))


def test_with_its_own_alpha_rank_64_is_ahead_of_both_places_on_invented_facts():
    """The strongest rival that the lesson names: sixteen times the values."""
    rival, at_16 = (stored.losses_of("invented", "c_attn", 64, alpha) for alpha in (128.0, 16.0))
    for place, rank in (("c_fc", 3), ("all", 1)):
        assert max(rival) < min(stored.losses_of("invented", place, rank))
    assert max(rival) < min(at_16)


def test_in_three_times_the_steps_c_attn_comes_below_what_c_fc_had():
    later = stored.losses_of("invented", "c_attn", 4, steps=900)
    assert max(later) < min(stored.losses_of("invented", "c_fc", 3))


KINDS = [("full", None, 16.0), ("all", 1, 16.0), ("all", 8, 16.0)]
KINDS += [("c_attn", rank, 16.0) for rank in (1, 4, 8, 64)]
KINDS += [("c_attn", rank, 16.0 * rank**0.5) for rank in (8, 64)]  # under alpha / sqrt(r)


def rates_reported(task, place, rank, alpha=16.0):
    """The rates at which the lesson's losses of a kind of training were made, over 30 or 300 steps."""
    names = ("lora_rank", "lora_place")
    points = [row["point"] for name in names for row in load_sweep(name)["rows"]]
    return {
        point["lr"]
        for point in points
        if (point["task"], point.get("place", "c_attn"), point["rank"]) == (task, place, rank)
        and point["rslora"] == (alpha != 16.0)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_rate_on_known_facts_won_a_sweep(kind):
    found = stored.rates_of("questions", *kind)
    best = stored.best_rate("questions", *kind)
    assert min(found) < best < max(found) and found[best] == min(found.values())
    reported = {experiments.FULL_RATE} if kind[0] == "full" else rates_reported("questions", *kind)
    assert reported == {best}, "what is reported has the best rate"


PLACES = [("c_attn", 4), ("c_fc", 3), ("all", 1)]


@pytest.mark.parametrize("place, rank", PLACES)
def test_every_place_on_invented_facts_has_the_best_of_its_rates(place, rank):
    found = stored.rates_of("invented", place, rank)
    best = stored.best_rate("invented", place, rank)
    assert tuple(found) == experiments.PLACE_RATES
    assert min(found) < best < max(found)
    assert rates_reported("invented", place, rank) == {best}


def test_stored_losses_are_found_by_their_alpha_under_either_scale():
    """alpha / sqrt(r) at alpha 16 and rank 64 is alpha / r at alpha 128."""
    rows = [row for row in load_sweep("lora_rank")["rows"] if row["point"]["rank"] == 64]
    by_root = [row["result"]["loss"] for row in rows if row["point"]["rslora"]]
    assert stored.losses_of("questions", "c_attn", 64, alpha=128.0) == by_root and len(by_root) == 5
    assert stored.losses_of("questions", "c_attn", 64, alpha=64.0) == []
    assert stored.losses_by_values("invented", [("c_fc", 3, 16.0)])["c_fc"][15_360][0] == 3
    assert stored.kept({"cut_0": 2.0, "cut_1": 0.75, "loss": 0.5}, "cut_1") == pytest.approx(5 / 6)


@pytest.mark.parametrize("dimension", [100, 1000, 10_000])
def test_the_best_rate_of_a_random_subspace_lies_inside_its_sweep(dimension):
    rows = [row["point"] | row["result"] for row in load_sweep("random_subspace")["rows"]]
    found = {}
    for row in rows:
        if row["dimension"] == dimension:
            found.setdefault(row["lr"], []).append(row["loss"])
    best = min(found, key=lambda lr: sum(found[lr]))
    assert min(found) < best < max(found)
