"""Lesson 04: its exercises' verdicts, and broken runs that its claims exclude."""

import pytest
import torch
from helpers import draws_of, feed

from course_utils.evaluation import mean_loss
from course_utils.lessons.lesson_04 import experiments
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


def losses_of(task, place, rank, rslora=False):
    """Stored losses over the seeds, under alpha / r, or alpha / sqrt(r) with rslora."""
    rows = [
        row["point"] | row["result"]
        for name in ("lora_rank", "lora_place")
        for row in load_sweep(name)["rows"]
    ]
    kind = (task, place, rank, rslora)
    return [
        row["loss"]
        for row in rows
        if (row["task"], row.get("place", "c_attn"), row["rank"], row["rslora"]) == kind
    ]


def ratios(task, place, rank, rslora=False):
    """Losses divided by those of rank 4 on c_attn, seed by seed."""
    rank_4 = losses_of(task, "c_attn", 4)
    return [one / other for one, other in zip(losses_of(task, place, rank, rslora), rank_4, strict=True)]


def test_more_rank_on_c_attn_fails_the_claims_on_place():
    assert max(ratios("invented", "c_fc", 3)) < 0.4 < min(ratios("invented", "c_attn", 8))
    assert max(ratios("questions", "all", 1)) < 0.9 < min(ratios("questions", "c_attn", 64))


def test_a_larger_alpha_helps_rank_64_and_leaves_it_behind_all_layers():
    larger = ratios("questions", "c_attn", 64, rslora=True)
    assert max(larger) < 1
    assert all(one < other for one, other in zip(ratios("questions", "all", 1), larger, strict=True))


def rates_of(*kind):
    """{rate: loss} in the sweep, for a task, place, rank and scale."""
    rows = [row["point"] | row["result"] for row in load_sweep("rank_rates")["rows"]]
    names = ("task", "place", "rank", "rslora")
    return {row["lr"]: row["validation"] for row in rows if tuple(row[name] for name in names) == kind}


def test_every_rate_on_known_facts_won_a_sweep():
    kinds = [("full", None, False), ("all", 1, False), ("all", 8, False)]
    kinds += [("c_attn", rank, False) for rank in (1, 4, 8, 64)]
    kinds += [("c_attn", rank, True) for rank in (8, 64)]
    best = {}
    for kind in kinds:
        found = rates_of("questions", *kind)
        best[kind] = min(found, key=found.get)
        assert min(found) < best[kind] < max(found), kind
    assert best.pop(("full", None, False)) == experiments.FULL_RATE
    rows = [row["point"] for name in ("lora_rank", "lora_place") for row in load_sweep(name)["rows"]]
    stored = {
        (row.get("place", "c_attn"), row["rank"], row["rslora"]): row["lr"]
        for row in rows
        if row["task"] == "questions"
    }
    assert stored == best, "what is reported has the best rates"


@pytest.mark.parametrize("place, rank", [("c_attn", 4), ("c_fc", 3), ("all", 1)])
def test_every_place_on_invented_facts_has_the_best_of_its_rates(place, rank):
    found = rates_of("invented", place, rank, False)
    best = min(found, key=found.get)
    assert tuple(sorted(found)) == experiments.PLACE_RATES
    assert min(found) < best < max(found)
    rows = [row["point"] for name in ("lora_rank", "lora_place") for row in load_sweep(name)["rows"]]
    reported = {
        row["lr"]
        for row in rows
        if (row["task"], row.get("place", "c_attn"), row["rank"]) == ("invented", place, rank)
    }
    assert reported == {best}


@pytest.mark.parametrize("dimension", [100, 1000, 10_000])
def test_the_best_rate_of_a_random_subspace_lies_inside_its_sweep(dimension):
    rows = [row["point"] | row["result"] for row in load_sweep("random_subspace")["rows"]]
    found = {}
    for row in rows:
        if row["dimension"] == dimension:
            found.setdefault(row["lr"], []).append(row["loss"])
    best = min(found, key=lambda lr: sum(found[lr]))
    assert min(found) < best < max(found)
