"""Lesson 13: right answers to its exercises pass, wrong ones get their own message; its headline's bound."""

import copy

import pytest
import torch
from helpers import draws_of, feed

from course_utils.lessons.lesson_12.experiments import runs_of
from course_utils.lessons.lesson_13 import suspects
from course_utils.making.claims import claims_in
from course_utils.methods.dpo import pair_metrics, reference_log_probs, train_dpo
from course_utils.notebook_files import lessons, read_notebook


@pytest.mark.parametrize("exercise, seed", draws_of("13"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


@pytest.fixture(scope="module")
def bound():
    """What the accuracy on held-out pairs has to be at least."""
    [path] = lessons(["13"])
    [headline] = [claim for claim in claims_in(read_notebook(path)) if claim.constant("headline") is True]
    return headline.constant("at_least")


def test_the_headline_refuses_random_labels(bound):
    assert all(run["held_accuracy"] > bound for run in runs_of("dpo"))
    assert sum(run["held_accuracy"] for run in runs_of("dpo_labels")) / len(runs_of("dpo_labels")) < bound


def test_the_headline_refuses_a_dropped_reference_and_labels_turned_round(bound):
    start = suspects.small_model(0)
    pairs, new = suspects.small_pairs(256, 0), suspects.small_pairs(128, 1)
    of_pairs, of_new = (reference_log_probs(start, part, suspects.PAD) for part in (pairs, new))

    def accuracy(pairs, of_pairs, of_new):
        policy = copy.deepcopy(start)
        settings = {"beta": 0.1, "lr": 1e-3, "pad_id": suspects.PAD, "batch_size": 8}
        train_dpo(policy, pairs, of_pairs, steps=8, **settings)
        return pair_metrics(policy, new, of_new, 0.1, suspects.PAD)["accuracy"]

    assert accuracy(pairs, of_pairs, of_new) > bound
    assert accuracy([pair[::-1] for pair in pairs], of_pairs.flip(1), of_new) < bound
    assert accuracy(pairs, torch.zeros_like(of_pairs), torch.zeros_like(of_new)) < bound
