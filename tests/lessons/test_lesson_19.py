"""Lesson 19: right answers to its exercises pass, wrong ones get their own message; its headline's bound."""

import pytest
import torch
from helpers import draws_of, feed, tiny_model

from course_utils.checks.claims import claims_of
from course_utils.lessons.lesson_19 import stored, students
from course_utils.methods.distillation import token_kl, train_distillation
from course_utils.methods.rollouts import rollout


@pytest.mark.parametrize("exercise, seed", [*draws_of("19"), *draws_of("19m")])
def test_answers_get_their_verdicts(exercise, seed):
    feed(exercise, seed)


@pytest.fixture(scope="module")
def bound():
    """The upper bound of the share of the start's KL from the teacher that distillation leaves."""
    return claims_of("19")["whoever_writes"].at_most


def test_every_seed_keeps_the_headline_and_the_controls_do_not(bound):
    assert max(max(stored.left(way)) for way in ("on-policy", "sampled log-ratio", "hard labels")) < bound
    assert min(stored.left("cooled start")) > bound


SAMPLING = {"max_new_tokens": 6, "stop_ids": [1], "pad_id": 0}
PROMPTS = [[5, 6, 7], [9], [8, 4]] * 20


def left_by(divergence):
    """Share of a small student's KL from its teacher that a training leaves."""
    teacher, found = tiny_model(1, 20).requires_grad_(False), []
    for steps in (0, 30):
        student = tiny_model(0, 20)
        train_distillation(student, teacher, PROMPTS, SAMPLING, steps=steps, lr=1e-2, divergence=divergence)
        batch = rollout(student, PROMPTS * 2, generator=torch.Generator().manual_seed(9), **SAMPLING)
        found.append(students.mean_kl(student, teacher, batch))
    return found[1] / found[0]


@pytest.mark.slow
def test_the_headline_refuses_broken_trainings(bound):
    assert left_by(token_kl) < bound
    broken = {
        "a turned sign": lambda student, teacher: -token_kl(student, teacher),
        "no teacher": lambda student, teacher: token_kl(student, student) + 0 * token_kl(student, teacher),
    }
    found = {name: left_by(divergence) for name, divergence in broken.items()}
    assert min(found.values()) > bound, found
