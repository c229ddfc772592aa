"""Lesson 19's bug hunt: a loop in which the teacher scores its own samples, and who wrote a batch."""

import torch

from course_utils.methods.distillation import answer_logits, token_kl
from course_utils.methods.rollouts import rollout


def their_answers(student, teacher, prompts, sampling, generator=None):
    """The batch of answers on which their step trains."""
    return rollout(teacher, prompts, generator=generator, **sampling)


def their_loop_step(student, teacher, prompts, optimizer, sampling, generator=None, divergence=token_kl):
    """distillation_step with another writer."""
    batch = their_answers(student, teacher, prompts, sampling, generator)
    with torch.no_grad():
        wanted = answer_logits(teacher, batch)
    loss = divergence(answer_logits(student, batch), wanted).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"loss": loss.item(), "tokens": len(wanted)}


def writer_of(log_probs, mask):
    """Who wrote a batch of answers, of those in log_probs {name: [rows, tokens]}; mask [rows, tokens].

    Nobody finds what one has sampled likelier than its writer does, on average over answers: the difference
    of the means is a KL.
    """
    means = {name: (values * mask).sum(1).mean().item() for name, values in log_probs.items()}
    return max(means, key=means.get)
