"""Lesson 18: right answers to its exercises pass, wrong ones get their own message; its claims' bounds."""

import re

import pytest
import torch
from helpers import draws_of, feed

from course_utils.checks import show_table
from course_utils.checks.claims import claims_of
from course_utils.lessons.lesson_18 import stored
from course_utils.methods.grpo import GRPOSettings, group_advantages, train_grpo
from course_utils.methods.kl import k1, k2, k3
from course_utils.methods.rollouts import answer_mask, frozen_copy
from course_utils.notebook_files import lessons, read_notebook


@pytest.mark.parametrize("exercise, seed", draws_of("18"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


def test_the_seeds_that_find_the_hole_keep_the_headline_and_the_controls_find_none():
    assert claims_of("18")["loose_verifier"].at_least == stored.FOUND
    trained = [name for name in stored.POINTS if name.startswith("trained on")]
    found = {name: sum(stored.found_the_hole(name)) for name in trained}
    assert (found["trained on loose"], found["trained on loose, dr_grpo"]) == (4, 5)
    assert found["trained on mended"] == sum(stored.found_the_hole("the start's answers")) == 0


def test_the_penalty_that_the_table_lacks_is_worst_where_the_others_are_best():
    """k3 in the reward, the row of the folded answer, compared with the notebook's rows."""
    [path] = lessons(["18m"])
    sources = [cell.source for cell in read_notebook(path).cells]
    first = next(place for place, source in enumerate(sources) if source.startswith("V = 6"))
    [row] = re.findall(r"^`(\"k3, in the reward\": .+)`$", "\n".join(sources), re.MULTILINE)
    names = {"torch": torch, "k1": k1, "k2": k2, "k3": k3, "show_table": show_table}
    for source in (*sources[first : first + 2], f"penalties |= {{{row}}}", sources[first + 2]):
        exec(source, names)
    cosines = [
        {name: names["cosine"](each[name], each["KL"]) for name in names["penalties"]}
        for _, each in sorted(names["found"].items())  # the nearest reference first
    ]
    missing = [each.pop("k3, in the reward") for each in cosines]
    assert missing == sorted(missing) and max(missing) < 0.6
    assert missing[0] < 0.2 and min(value for value in cosines[0].values() if value is not None) > 0.9


NAMES = range(1, 6)  # the right names for a small model, whose tokens are numbers


def named(batch):
    """Number of right names in each answer, [rows]."""
    answers = batch["input_ids"][:, 1:] * answer_mask(batch).long()
    return sum((answers == name).sum(1) for name in NAMES)


def too_many_after(model, advantages):
    """Share of answers with several names among those with any, after a training that rewards any name."""
    sampling = {"max_new_tokens": 6, "stop_ids": [0], "pad_id": 0}
    policy, prompts, counts = frozen_copy(model).requires_grad_(True), [[7, 8], [9]], []

    def pays(batch):
        counts[:] = named(batch).tolist()
        return (named(batch) > 0).float()

    settings = GRPOSettings(iterations=25, lr=5e-3, batch_size=64, group=32)
    train_grpo(policy, pays, prompts, sampling, settings, advantages=advantages)
    settings = GRPOSettings(iterations=1, lr=0.0, batch_size=512, group=256, seed=1)
    train_grpo(policy, pays, prompts, sampling, settings)
    return sum(count > 1 for count in counts) / max(1, sum(count > 0 for count in counts))


@pytest.mark.slow
def test_broken_trainings_do_not_find_the_hole(model):
    assert too_many_after(model, group_advantages) > stored.FOUND
    broken = {
        "a turned sign": lambda scores, group: -group_advantages(scores, group),
        "every answer its own group": lambda scores, group: scores - scores.view(-1, 1).mean(1),
    }
    found = {name: too_many_after(model, advantages) for name, advantages in broken.items()}
    assert max(found.values()) < stored.FOUND, found
