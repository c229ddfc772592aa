"""Distillation against definitions: the KL of torch.distributions, gradients by enumeration, the writer."""

import copy

import pytest
import torch
from helpers import tiny_model

from course_utils.log_probs import fast_token_log_probs
from course_utils.methods import distillation
from course_utils.methods.distillation import (
    answer_logits,
    distillation_step,
    later_kl,
    sampled_loss,
    sampled_step,
    token_kl,
    train_distillation,
)
from course_utils.methods.rollouts import answer_mask, rollout

SAMPLING = {"max_new_tokens": 5, "stop_ids": [1], "pad_id": 0}
PROMPTS = [[5, 6, 7], [9], [8, 4]]


def test_token_kl_is_the_kl_of_both_distributions():
    student, teacher = torch.randn(2, 3, 7, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    p, q = (torch.distributions.Categorical(logits=logits) for logits in (student, teacher))
    torch.testing.assert_close(token_kl(student, teacher), torch.distributions.kl_divergence(p, q))
    forward = torch.distributions.kl_divergence(q, p)
    torch.testing.assert_close(token_kl(student, teacher, "forward"), forward)
    with pytest.raises(ValueError, match="reverse, forward"):
        token_kl(student, teacher, "backward")


def test_only_the_student_gets_a_gradient():
    student, teacher = (torch.randn(2, 5, requires_grad=True) for _ in range(2))
    for direction in distillation.DIRECTIONS:
        token_kl(student, teacher, direction).sum().backward()
    assert teacher.grad is None and student.grad.any()


def test_answer_logits_predict_the_answers_tokens():
    model = tiny_model(vocab_size=20)
    batch = rollout(model, PROMPTS, generator=torch.Generator().manual_seed(0), **SAMPLING)
    with torch.no_grad():
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        logits = model(**inputs).logits
        rows = [
            logits[row, place - 1]
            for row, labels in enumerate(batch["labels"])
            for place in range(len(labels))
            if labels[place] != -100
        ]
        torch.testing.assert_close(answer_logits(model, batch), torch.stack(rows))


def test_the_student_writes_and_comes_nearer():
    student, teacher = tiny_model(0, 20), tiny_model(1, 20)
    before = copy.deepcopy(teacher.state_dict())
    history = train_distillation(student, teacher, PROMPTS, SAMPLING, steps=40, lr=3e-3, batch_size=32)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_a_step_samples_from_the_student(monkeypatch):
    student, teacher, writers = tiny_model(0, 20), tiny_model(1, 20), []

    def watched(model, *arguments, **options):
        writers.append(model)
        return rollout(model, *arguments, **options)

    monkeypatch.setattr(distillation, "rollout", watched)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    row = distillation_step(student, teacher, PROMPTS, optimizer, SAMPLING)
    assert len(writers) == 1 and writers[0] is student
    assert row["tokens"] >= len(PROMPTS) and row["loss"] > 0


def test_nothing_to_train_is_an_error():
    student = tiny_model(0, 20).requires_grad_(False)
    with pytest.raises(ValueError, match="nothing of the student"):
        train_distillation(student, tiny_model(1, 20), PROMPTS, SAMPLING, steps=1, lr=1e-3)


def test_with_the_later_kl_the_gradient_is_that_of_the_sequence_kl():
    generator = torch.Generator().manual_seed(3)
    size = 4
    table = torch.randn(size + 1, size, generator=generator, dtype=torch.double).requires_grad_()
    teacher = torch.randn(size + 1, size, generator=generator, dtype=torch.double)
    log_p, log_q = table.log_softmax(-1), teacher.log_softmax(-1)
    own, other = (
        (each[0].repeat_interleave(size) + each[1:].flatten()) for each in (log_p, log_q)
    )  # of all sequences of two tokens
    (exact,) = torch.autograd.grad((own.exp() * (own - other)).sum(), table, retain_graph=True)

    each = token_kl(table, teacher)  # of the first token, and of the second after each first one
    kl = torch.stack([each[:1].expand(size * size), each[1:].repeat_interleave(size)], 1)
    log_probs = torch.stack([log_p[0].repeat_interleave(size), log_p[1:].flatten()], 1)
    weights = own.exp().detach()[:, None]
    later = later_kl(kl, torch.ones_like(kl)).detach()
    (whole,) = torch.autograd.grad((weights * (kl + log_probs * later)).sum(), table, retain_graph=True)
    (alone,) = torch.autograd.grad((weights * kl).sum(), table)
    torch.testing.assert_close(whole, exact)
    assert not torch.allclose(alone[0], exact[0], atol=1e-3)
    torch.testing.assert_close(alone[1:], exact[1:])


def test_later_kl():
    kl = torch.tensor([[9.0, 1, 2, 4], [3, 5, 9, 9]])
    mask = torch.tensor([[0.0, 1, 1, 1], [1, 1, 0, 0]])
    assert later_kl(kl, mask).tolist() == [[0, 6, 4, 0], [5, 0, 0, 0]]


def test_the_sampled_losss_gradient_is_the_reverse_kls_on_average():
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(5, generator=generator, dtype=torch.double).requires_grad_()
    teacher = torch.randn(5, generator=generator, dtype=torch.double)
    log_p, log_q = student.log_softmax(-1), teacher.log_softmax(-1)
    (exact,) = torch.autograd.grad(token_kl(student, teacher), student, retain_graph=True)
    weighted = torch.zeros_like(student)
    for word, chance in enumerate(log_p.exp().tolist()):  # every word that can be sampled
        one = torch.ones(1, 1, dtype=torch.double)
        loss = sampled_loss(log_p[word].view(1, 1), log_q[word].view(1, 1), one)
        weighted += chance * torch.autograd.grad(loss, student, retain_graph=True)[0]
    torch.testing.assert_close(weighted, exact)


def test_the_sampled_loss_is_a_mean_over_the_answers_tokens():
    student = torch.tensor([[-1.0, -2, -3], [-1, -1, 0]], requires_grad=True)
    teacher = torch.tensor([[-2.0, -1, -3], [-3, 5, 5]])
    mask = torch.tensor([[1.0, 1, 1], [1, 0, 0]])
    sampled_loss(student, teacher, mask).backward()
    torch.testing.assert_close(student.grad, torch.tensor([[1.0, -1, 0], [2, 0, 0]]) / 4)


def test_a_sampled_step_reads_one_number_a_token_and_comes_nearer():
    student, teacher = tiny_model(0, 20), tiny_model(1, 20)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.0)
    row = sampled_step(student, teacher, PROMPTS, optimizer, SAMPLING, torch.Generator().manual_seed(0))
    batch = rollout(student, PROMPTS, generator=torch.Generator().manual_seed(0), **SAMPLING)
    mask = answer_mask(batch)
    with torch.no_grad():
        apart = fast_token_log_probs(student, batch) - fast_token_log_probs(teacher, batch)
    assert row["loss"] == pytest.approx(((apart * mask).sum() / mask.sum()).item(), rel=1e-4)
    assert row["tokens"] == int(mask.sum())

    settings = {"steps": 60, "lr": 3e-3, "batch_size": 64, "step": sampled_step}
    history = train_distillation(student, teacher, PROMPTS, SAMPLING, **settings)
    first, last = (sum(row["loss"] for row in part) for part in (history[:10], history[-10:]))
    assert last < 0.5 * first
