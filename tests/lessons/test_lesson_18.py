"""Lesson 18: right answers to its exercises pass, wrong ones get their own message; its headline's bound."""

import pytest
from helpers import draws_of, feed

from course_utils.lessons.lesson_18.experiments import runs_at
from course_utils.making.claims import claims_in
from course_utils.methods.grpo import GRPOSettings, train_grpo
from course_utils.methods.ppo import group_advantages
from course_utils.methods.rollouts import answer_mask, frozen_copy
from course_utils.notebook_files import lessons, read_notebook


@pytest.mark.parametrize("exercise, seed", draws_of("18"))
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


@pytest.fixture(scope="module")
def bound():
    """How much the share of right answers has to rise."""
    [path] = lessons(["18"])
    [headline] = [claim for claim in claims_in(read_notebook(path)) if claim.constant("headline") is True]
    return headline.constant("at_least")


def test_every_seed_keeps_the_headline(bound):
    start, trained = (runs_at("verifiable_rewards", method=name) for name in ("start", "GRPO"))
    assert all(new["short_1"] - old["short_1"] > bound for old, new in zip(start, trained, strict=True))


def begins_even(batch):
    """A verifier for a model of token ids: the first one is even. About half of the answers are right."""
    first = answer_mask(batch).argmax(1, keepdim=True) + 1
    return (batch["input_ids"].gather(1, first).squeeze(1) % 2 == 0).float()


BROKEN = {
    "a turned sign": lambda scores, group: -group_advantages(scores, group),
    "every answer its own group": lambda scores, group: scores - scores.view(-1, 1).mean(1),
}


def gain(model, advantages):
    """Share of right answers after a short training minus before, over 256 answers each."""
    sampling = {"max_new_tokens": 4, "stop_ids": [0], "pad_id": 0}
    policy = frozen_copy(model).requires_grad_(True)
    prompts = [[1, 2, 3], [4, 5], [6], [7, 8]]

    def share(seed):
        settings = GRPOSettings(iterations=1, lr=0.0, batch_size=256, group=64, seed=seed)
        return train_grpo(policy, begins_even, prompts, sampling, settings)[0]["score"]

    before = share(1)
    settings = GRPOSettings(iterations=20, lr=5e-3, batch_size=64, group=16)
    train_grpo(policy, begins_even, prompts, sampling, settings, advantages=advantages)
    return share(1) - before


def test_the_headline_refuses_broken_trainings(model, bound):
    assert gain(model, group_advantages) > bound
    found = {name: gain(model, advantages) for name, advantages in BROKEN.items()}
    assert max(found.values()) < bound, found
