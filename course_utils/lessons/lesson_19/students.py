"""The two models of the lesson, steps in which the teacher writes, and measures of nearness."""

import copy
from pathlib import Path

import torch

from course_utils.artifacts import RESTS_ON, conditions_of, is_shipped, load_shipped
from course_utils.data import IGNORE
from course_utils.home import cached
from course_utils.lessons.lesson_12.judging import by_length, sequence_kl
from course_utils.lessons.lesson_18 import experiments as grpo_runs
from course_utils.lessons.lesson_18 import task
from course_utils.lessons.lesson_18.task import list_student
from course_utils.log_probs import log_probs_of
from course_utils.methods.distillation import answer_logits, sampled_loss, token_kl
from course_utils.methods.grpo import GRPOSettings, group_advantages, train_grpo
from course_utils.methods.rollouts import answer_mask, encode_prompts, rollout, sampling_of
from course_utils.models import load_model, save_model
from course_utils.session import check_not_stopped

# cost of a step, in forward passes over a batch: sampling is one, a backward pass is two. A teacher that
# writes already has its logits
FORWARD_PASSES = {
    "on-policy": {"sampling": 1, "teacher": 1, "student": 1, "backward": 2},
    "sampled log-ratio": {"sampling": 1, "teacher": 1, "student": 1, "backward": 2},
    "hard labels": {"sampling": 1, "teacher": 0, "student": 1, "backward": 2},
    "soft labels": {"sampling": 1, "teacher": 0, "student": 1, "backward": 2},
    "GRPO": {"sampling": 1, "teacher": 0, "student": 1, "backward": 2},
}


def practice_prompts(tokenizer):
    """Requests for the practice lists of lesson 18's GRPO, as token ids: answers are not used."""
    rows = task.tune_lists("practice", grpo_runs.PRACTICE)
    return encode_prompts(tokenizer, [row["prompt"] for row in rows])


def list_teacher(session, seed=None):
    """Lesson 18's tuned model, GRPO from list_student of the same seed: shipped, or made once; frozen."""
    seed = session.seed if seed is None else seed

    def make(folder: Path) -> None:
        save_model(*train_list_teacher(session, seed), folder)

    if seed == 0 and is_shipped("list_teacher", session):
        model, _ = load_shipped("list_teacher", session.device)
    else:
        inputs = conditions_of(session) | {"start": seed}
        folder = cached("list_teacher", inputs, make, RESTS_ON["list_teacher"])
        model, _ = load_model(str(folder), session.device)
    return model.eval().requires_grad_(False)


def train_list_teacher(session, seed=None):
    """Train GRPO from list_student of a seed: (model, tokenizer)."""
    seed = session.seed if seed is None else seed
    model, tokenizer = list_student(session, seed)
    rows = task.tune_lists("practice", grpo_runs.PRACTICE)
    run = grpo_runs.GRPO_RUN
    settings = {**run, "iterations": session.steps(quick=run["iterations"], full=60)}
    settings["batch_size"] = session.steps(quick=64, full=64, smoke=16)
    train_grpo(
        model.requires_grad_(True),
        task.verifier(tokenizer, rows),
        practice_prompts(tokenizer),
        sampling_of(tokenizer, task.LIST_TOKENS),
        GRPOSettings(**settings, lr=grpo_runs.LIST_RATES["GRPO"], seed=seed),
        label="the teacher",
    )
    check_not_stopped()
    return model, tokenizer


@torch.no_grad()
def at_temperature(model, temperature):
    """A copy of a GPT-2 whose logits are divided by the temperature, by scaling its last norm."""
    model = copy.deepcopy(model)
    for value in model.transformer.ln_f.parameters():
        value /= temperature
    return model


def hard_labels(student, teacher, tokens):
    """Cross-entropy of the answers' tokens: fine-tuning on the answers. The teacher's logits are not used."""
    return -log_probs_of(student, tokens)


def soft_labels(student, teacher, tokens):
    """The teacher's whole distribution at each position: forward KL."""
    return token_kl(student, teacher, "forward")


def step_on_the_teachers(loss):
    """A step like distillation_step on the teacher's answers: loss(student's, teacher's logits, tokens)."""

    def step(student, teacher, prompts, optimizer, sampling, generator=None, divergence=None):
        batch = rollout(teacher, prompts, generator=generator, **sampling)
        with torch.no_grad():
            wanted = answer_logits(teacher, batch)
        targets = batch["labels"][:, 1:]
        value = loss(answer_logits(student, batch), wanted, targets[targets != -100]).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return {"loss": value.item(), "tokens": len(wanted)}

    return step


LOSSES = ("exact", "sampled", "GRPO", "right or wrong")


def gradients(student, teacher, tokenizer, rows, seed, sampled=sampled_loss, chosen=LOSSES, group=8):
    """{loss: gradient, one vector} of a batch of the student's answers, `group` to each list.

    exact: the KL of every token. sampled: the log-ratio of the sampled one, by the function `sampled`. GRPO:
    its loss, one advantage an answer. right or wrong: without GRPO's baseline and division.
    """
    model, settings = copy.deepcopy(student).requires_grad_(True), sampling_of(tokenizer, task.LIST_TOKENS)
    prompts = encode_prompts(tokenizer, [row["prompt"] for row in rows for _ in range(group)])
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    batch = rollout(model, prompts, generator=generator, **settings)
    with torch.no_grad():
        wanted = answer_logits(teacher, batch)
    logits, targets, mask = answer_logits(model, batch), batch["labels"][:, 1:], answer_mask(batch)
    said = targets[targets != IGNORE]
    ours, theirs = log_probs_of(logits, said), log_probs_of(wanted, said)
    right = task.verifier(tokenizer, rows)(batch)

    def of_tokens(scores):
        return scores[:, None].expand_as(mask)[mask == 1]

    losses = {
        "exact": token_kl(logits, wanted).mean(),
        "sampled": sampled(ours[None], theirs[None], torch.ones_like(ours)[None]),
        "GRPO": -(of_tokens(group_advantages(right, group)) * ours).mean(),
        "right or wrong": -(of_tokens(right) * ours).mean(),
    }
    each = list(model.parameters())
    return {
        name: torch.cat([part.flatten() for part in torch.autograd.grad(loss, each, retain_graph=True)])
        for name, loss in losses.items()
        if name in chosen
    }


@torch.no_grad()
def written_by(model, tokenizer, rows, count, seed=0):
    """A batch of `count` sampled answers to each row of data/lists."""
    prompts = encode_prompts(tokenizer, [row["prompt"] for row in rows for _ in range(count)])
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    return rollout(model, prompts, generator=generator, **sampling_of(tokenizer, task.LIST_TOKENS))


def mean_kl(first, second, batch):
    """Mean of KL(first || second) over answers that `first` wrote, in nats per answer."""
    sums = [sequence_kl(first, second, part).sum() for _, part in by_length(batch, 128)]
    return (sum(sums) / len(batch["input_ids"])).item()


@torch.no_grad()
def answer_entropy(model, batch):
    """Mean entropy of answers that the model wrote, in nats per answer: exact at every token."""
    total = 0.0
    for _, part in by_length(batch, 128):
        log_probs = answer_logits(model, part).log_softmax(-1)
        total -= (log_probs.exp() * log_probs).sum().item()
    return total / len(batch["input_ids"])
