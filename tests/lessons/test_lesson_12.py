"""Lesson 12: right answers to its exercises pass, wrong ones get their own message; its headline's bound."""

import copy
import re

import pytest
import torch
from helpers import draws_of, feed, small_policy_parts

from course_utils.checks.claims import claims_of
from course_utils.lessons.lesson_12 import experiments, judging, over_kl
from course_utils.methods import ppo, rollouts
from course_utils.notebook_files import code_cells, lessons, read_notebook


@pytest.mark.parametrize("exercise, seed", draws_of("12"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


def fall(scores):
    return over_kl.rise_and_fall(scores)[1]


def test_the_headline_refuses_broken_runs():
    """A fall of the gold score: in the runs without the penalty, and in none that lacks what makes it."""
    bound = claims_of("12")["gold_falls"].at_least
    free = over_kl.golds(experiments.runs_of("ppo", beta=0.0))  # (seeds, checkpoints, prompts)
    assert fall(free) > bound and all(fall(run[None]) > 0 for run in free)
    untrained = torch.cat([free[:, :1].roll(shift, 0) for shift in range(len(free))], 1)
    assert fall(untrained) < bound, "an update that never reaches the policy"
    always_on = over_kl.golds(experiments.runs_of("ppo", beta=0.1))
    assert fall(always_on) < bound, "a penalty whatever beta says"
    by_gold = over_kl.golds(experiments.runs_of("ppo_controls", reward="gold", lr=1e-4))
    assert fall(by_gold) < bound, "a reward that sees the gold score"


def test_the_lessons_loop_is_the_packages_plain_path():
    """The cell that defines train_with, on a small model: the rows and weights of train_ppo."""
    _, model, tokenizer, reward_model, prompts, _ = small_policy_parts()
    sizes = {"iterations": 2, "batch_size": 4}
    space = {
        **vars(ppo),
        **{"copy": copy, "rollouts": rollouts, "judging": judging, "SEED": 3, "model": model},
        **{"reference": rollouts.frozen_copy(model), "tokenizer": tokenizer, "reward_model": reward_model},
        "training_prompts": rollouts.encode_prompts(tokenizer, prompts),
        "SAMPLING": rollouts.sampling_of(tokenizer, 5),
    }
    [cell] = [
        cell for cell in code_cells(read_notebook(lessons(["12"])[0])) if "def train_with(" in cell.source
    ]
    exec(re.sub(r"(?m)^SIZES = .*$(\n    .*$|\n}$)*", f"SIZES = {sizes}", cell.source), space)
    trained, rows, diary = space["train_with"](0.1)
    same = copy.deepcopy(model)
    expected = ppo.train_ppo(
        same,
        space["reference"],
        judging.proxy_reward(reward_model),
        space["training_prompts"],
        space["SAMPLING"],
        ppo.PPOSettings(beta=0.1, lr=2e-4, seed=3, **sizes),
    )
    assert rows == expected and len(diary) == 2
    assert all(map(torch.equal, trained.parameters(), same.parameters()))
