"""Lesson 12: right answers to its exercises pass, wrong ones get their own message; its headline's bound."""

import pytest
import torch
from helpers import draws_of, feed

from course_utils.checks.claims import claims_of
from course_utils.lessons.lesson_12 import experiments, over_kl


@pytest.mark.parametrize("exercise, seed", draws_of("12"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


def fall(scores):
    return over_kl.rise_and_fall(scores)[1]


def test_the_headline_refuses_broken_runs():
    """A fall of the gold score: seen in each seed's run without the penalty, and in no run that lacks what
    makes it.
    """
    bound = claims_of("12")["gold_falls"].at_least
    free = over_kl.golds(experiments.runs_of("ppo", beta=0.0))  # (seeds, checkpoints, prompts)
    assert all(fall(run[None]) > bound for run in free)
    untrained = torch.cat([free[:, :1].roll(shift, 0) for shift in range(len(free))], 1)
    assert fall(untrained) < bound, "an update that never reaches the policy"
    always_on = over_kl.golds(experiments.runs_of("ppo", beta=0.1))
    assert fall(always_on) < bound, "a penalty whatever beta says"
    by_gold = over_kl.golds(experiments.runs_of("ppo_controls", reward="gold"))
    assert fall(by_gold) < bound, "a reward that sees the gold score"
