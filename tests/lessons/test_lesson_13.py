"""Lesson 13: right answers to its exercises pass, wrong ones get their own message; the bound of its loss."""

import copy
import math

import pytest
import torch
from helpers import draws_of, feed

from course_utils.checks.claims import claims_of
from course_utils.lessons.lesson_12.experiments import runs_of
from course_utils.lessons.lesson_13 import experiments, suspects
from course_utils.methods.dpo import pair_metrics, reference_log_probs, train_dpo


@pytest.mark.parametrize("exercise, seed", draws_of("13"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


@pytest.fixture(scope="module")
def bound():
    """The upper bound of the loss on pairs that are new to a policy."""
    return claims_of("13m")["new_pairs"].at_most


def test_the_bound_of_the_loss_refuses_no_training(bound):
    assert all(run[f"training_{experiments.STEPS}_loss"] < bound for run in runs_of("dpo"))
    assert math.log(2) > bound


def test_the_bound_of_the_loss_refuses_a_dropped_reference_and_labels_turned_round(bound):
    """On small pairs, each seen at most once, with half or all of the training labels swapped."""
    start = suspects.small_model(0)
    pairs, new = suspects.small_pairs(256, 0), suspects.small_pairs(128, 1)
    reference, of_new = (reference_log_probs(start, part, suspects.PAD) for part in (pairs, new))

    def loss(turned=(False,), with_reference=True):
        which = torch.tensor([*turned] * (len(pairs) // len(turned)))
        given = [pair[::-1] if other else pair for pair, other in zip(pairs, which, strict=True)]
        of_given = torch.where(which[:, None], reference.flip(1), reference) * with_reference
        policy = copy.deepcopy(start)
        settings = {"beta": 0.1, "lr": 1e-3, "pad_id": suspects.PAD, "batch_size": 8}
        train_dpo(policy, given, of_given, steps=8, **settings)
        return pair_metrics(policy, new, of_new * with_reference, 0.1, suspects.PAD)["loss"]

    assert loss() < bound
    assert loss(turned=(False, True)) > bound
    assert loss(turned=(True,)) > bound
    assert loss(with_reference=False) > bound
