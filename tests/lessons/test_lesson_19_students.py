"""Lesson 19: the nearest hill, who wrote a batch, steps on the teacher's answers."""

import copy

import pytest
import torch
from helpers import tiny_model

from course_utils.lessons.lesson_19 import hills, students, suspects
from course_utils.log_probs import fast_token_log_probs
from course_utils.methods.distillation import token_kl
from course_utils.methods.rollouts import answer_mask, rollout

SAMPLING = {"max_new_tokens": 6, "stop_ids": [1], "pad_id": 0}
PROMPTS = [[5, 6, 7], [9], [8, 4]] * 20


def test_a_hill_among_the_students_is_found():
    teacher = hills.hill(6.0, 1.2)
    for direction in ("forward", "reverse"):
        found, kl = hills.nearest_hill(teacher, direction)
        torch.testing.assert_close(found, teacher.softmax(-1), atol=0.02, rtol=0)
        assert kl == pytest.approx(0, abs=1e-3)


def test_forward_covers_and_reverse_seeks():
    teacher = hills.two_hills()
    forward, reverse = (hills.nearest_hill(teacher, name)[0] for name in ("forward", "reverse"))
    middle = (teacher.softmax(-1) * hills.TOKENS).sum().item()
    assert (forward * hills.TOKENS).sum().item() == pytest.approx(middle, abs=0.2)
    assert reverse[2:7].sum() > 0.95


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_the_writer_is_found(name):
    models = {"student": tiny_model(0, 20), "teacher": tiny_model(1, 20)}
    batch = rollout(models[name], PROMPTS, generator=torch.Generator().manual_seed(0), **SAMPLING)
    with torch.no_grad():
        log_probs = {other: fast_token_log_probs(model, batch) for other, model in models.items()}
    assert suspects.writer_of(log_probs, answer_mask(batch)) == name


@pytest.mark.parametrize("loss", [students.hard_labels, students.soft_labels])
def test_steps_on_the_teachers_answers_lower_the_forward_kl(loss):
    student, teacher = tiny_model(0, 20), tiny_model(1, 20).requires_grad_(False)
    batch = rollout(teacher, PROMPTS, generator=torch.Generator().manual_seed(1), **SAMPLING)
    before = students.mean_kl(teacher, student, batch)
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    step, generator = students.step_on_the_teachers(loss), torch.Generator().manual_seed(0)
    for _ in range(20):
        step(student, teacher, PROMPTS, optimizer, SAMPLING, generator)
    assert students.mean_kl(teacher, student, batch) < 0.8 * before


def test_the_suspect_step_is_a_reverse_kl_on_the_teachers_answers():
    student, teacher = tiny_model(0, 20), tiny_model(1, 20).requires_grad_(False)
    batch = rollout(teacher, PROMPTS, generator=torch.Generator().manual_seed(0), **SAMPLING)
    optimizer = torch.optim.SGD(copy.deepcopy(student).parameters(), lr=0.0)
    generator = torch.Generator().manual_seed(0)
    row = suspects.their_loop_step(student, teacher, PROMPTS, optimizer, SAMPLING, generator)
    with torch.no_grad():
        logits = [students.answer_logits(model, batch) for model in (student, teacher)]
    assert row["loss"] == pytest.approx(token_kl(*logits).mean().item(), rel=1e-5)


def test_entropy_of_a_uniform_model():
    model = tiny_model(0, 20)
    torch.nn.init.zeros_(model.transformer.ln_f.weight)
    torch.nn.init.zeros_(model.transformer.ln_f.bias)  # all logits are 0
    batch = rollout(model, [[5, 6]] * 4, max_new_tokens=3, stop_ids=(), pad_id=0)
    assert students.answer_entropy(model, batch) == pytest.approx(
        3 * torch.tensor(20.0).log().item(), rel=1e-4
    )
