"""Lesson 19, distillation_step: the on-policy step."""

import functools

import torch

from course_utils.checks.compare import Mistake, close
from course_utils.checks.exercises import Exercise
from course_utils.data import IGNORE
from course_utils.lessons.lesson_19.exercises.shared import AGAIN
from course_utils.log_probs import log_probs_of
from course_utils.methods.distillation import answer_logits, distillation_step, token_kl
from course_utils.methods.rollouts import answer_mask, rollout


class _Watched:
    """A divergence that records its arguments."""

    def __init__(self, divergence):
        self.divergence, self.calls, self.teacher_learns = divergence, 0, False

    def __call__(self, student, teacher):
        self.calls += 1
        self.teacher_learns |= teacher.requires_grad
        return self.divergence(student, teacher)


STEP_PROMPTS = [[[5, 6, 7], [3, 2]], [[4, 4, 8, 9, 2], [7], [6, 3, 3]]]
STEP_SAMPLING = {"max_new_tokens": 6, "stop_ids": [1], "pad_id": 0}
STEP_CASES = [(1, "reverse", 0.5), (2, "forward", 0.2)]  # seed, direction, rate


def _stepped(fn, seed, direction, lr):
    """What fn does to a small student in two steps, and to its teacher."""
    from course_utils.models import untrained_gpt2

    shape = {"n_layer": 1, "n_head": 1, "n_embd": 16, "vocab_size": 11, "n_positions": 24}
    torch.manual_seed(seed)
    student, teacher = (untrained_gpt2(**shape, initializer_range=0.5, pad_token_id=0) for _ in range(2))
    before = torch.cat([parameter.detach().flatten() for parameter in teacher.parameters()])
    optimizer = torch.optim.SGD(student.parameters(), lr=lr)
    for parameter in student.parameters():
        parameter.grad = torch.ones_like(parameter)  # left over from before
    divergence = _Watched(lambda one, other: token_kl(one, other, direction))
    generator, rows, weights = torch.Generator().manual_seed(seed), [], []
    for prompts in STEP_PROMPTS:
        rows.append(
            fn(student, teacher, [*prompts] * 3, optimizer, dict(STEP_SAMPLING), generator, divergence)
        )
        weights.append(torch.cat([parameter.detach().flatten() for parameter in student.parameters()]))
    after = torch.cat([parameter.detach().flatten() for parameter in teacher.parameters()])
    return {
        "weights": torch.stack(weights),
        "rows": rows,
        "calls": divergence.calls,
        "teacher_learns": divergence.teacher_learns,
        "teacher_moved": not torch.equal(before, after),
    }


_known = functools.cache(_stepped)  # for functions that do not change


def _check_distillation_step(fn):
    try:
        mine = [_stepped(fn, *case) for case in STEP_CASES]
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        raise Mistake(
            "The loss has no graph, so the student cannot learn. The student's logits come first in the "
            "divergence and need a gradient; the teacher's come second and need none."
        ) from None
    right = [_known(distillation_step, *case) for case in STEP_CASES]
    if any(run["teacher_moved"] for run in mine):
        raise Mistake("Your step changes the teacher. It is frozen.")
    if not all(run["calls"] for run in mine):
        named = _named_step(mine)
        raise Mistake(named or "Your step never calls `divergence`, which compares student and teacher.")
    if not _same_weights(mine, right):
        raise Mistake(
            _named_step(mine)
            or "After two steps the student's weights are not those of this order: the student samples, both "
            "models compute logits at the answers' tokens, the mean of the divergence, backward, one step."
        )
    if any(run["teacher_learns"] for run in mine):
        raise Mistake(
            "The student's weights are right, but the teacher's forward pass keeps an unneeded graph: wrap "
            "it in torch.no_grad()."
        )
    for own, wanted in zip(mine, right, strict=True):
        _check_rows(own["rows"], wanted["rows"])


def _check_rows(own, wanted):
    for row, numbers in zip(own, wanted, strict=True):
        if not isinstance(row, dict) or not {"loss", "tokens"} <= row.keys():
            raise Mistake(
                'Return {"loss": the mean divergence, "tokens": how many tokens it is the mean of}.'
            )
        if getattr(row["loss"], "requires_grad", False):
            raise Mistake("The loss that you return is still attached to its graph: loss.item().")
        for name in ("loss", "tokens"):
            if not close(row[name], numbers[name]):
                raise Mistake(f"{name} should be {numbers[name]:.4g}, but is {float(row[name]):.4g}.")


def _same_weights(runs, others):
    return all(close(one["weights"], other["weights"], 1e-4) for one, other in zip(runs, others, strict=True))


def _named_step(mine):
    for message, wrong in STEP_MISTAKES:
        if _same_weights(mine, [_known(wrong, *case) for case in STEP_CASES]):
            return message
    return None


IN_ORDER = ("zero_grad", "backward", "step")


def _step(writer="student", mean=torch.mean, order=IN_ORDER, loss_of=None, given=True, model=answer_logits):
    """A wrong distillation_step: another writer, mean, order or loss, or without a part."""

    def wrong(student, teacher, prompts, optimizer, sampling, generator=None, divergence=token_kl):
        who = {"student": student, "teacher": teacher}[writer]
        batch = rollout(who, prompts, generator=generator if given else None, **sampling)
        with torch.no_grad():
            wanted = model(teacher, batch)
        own = model(student, batch)
        loss = mean(divergence(own, wanted)) if loss_of is None else loss_of(student, batch)
        for name in order:
            loss.backward() if name == "backward" else getattr(optimizer, name)()
        return {"loss": loss.item(), "tokens": len(wanted)}

    return wrong


def _every_place(model, batch):
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.flatten(0, 1)


def _one_late(model, batch):
    """The logits at the answers' tokens, which predict the next tokens."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return logits[batch["labels"] != IGNORE]


def _own_words(student, batch):
    labels = batch["labels"][:, 1:]
    return -log_probs_of(answer_logits(student, batch), labels[labels != IGNORE]).mean()


def _greedy(student, teacher, prompts, optimizer, sampling, generator=None, divergence=token_kl):
    sampling = {**sampling, "temperature": 0.0}
    return distillation_step(student, teacher, prompts, optimizer, sampling, generator, divergence)


def _by_rows(mean):
    """A wrong distillation_step: mean(values, mask), both [rows, tokens], with 0 off the answers."""

    def wrong(student, teacher, prompts, optimizer, sampling, generator=None, divergence=token_kl):
        batch = rollout(student, prompts, generator=generator, **sampling)
        with torch.no_grad():
            wanted = answer_logits(teacher, batch)
        values, mask = divergence(answer_logits(student, batch), wanted), answer_mask(batch)
        loss = mean(mask.masked_scatter(mask == 1, values), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss.item(), "tokens": len(wanted)}

    return wrong


def _teacher_with_graph(student, teacher, prompts, optimizer, sampling, generator=None, divergence=token_kl):
    batch = rollout(student, prompts, generator=generator, **sampling)
    wanted = answer_logits(teacher, batch)
    loss = divergence(answer_logits(student, batch), wanted).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"loss": loss.item(), "tokens": len(wanted)}


def _models_exchanged(student, teacher, prompts, optimizer, sampling, generator=None, divergence=token_kl):
    batch = rollout(student, prompts, generator=generator, **sampling)
    with torch.no_grad():
        wanted = answer_logits(teacher, batch)
    loss = divergence(wanted, answer_logits(student, batch)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"loss": loss.item(), "tokens": len(wanted)}


def _attached(*arguments, **options):
    row = distillation_step(*arguments, **options)
    return {**row, "loss": torch.tensor(row["loss"], requires_grad=True)}


def _with_mask(student, teacher, prompts, optimizer, sampling, generator=None, divergence=token_kl):
    """Right: the logits at all positions, and a mask."""
    batch = rollout(student, prompts, generator=generator, **sampling)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    theirs = teacher(**inputs).logits.detach()[:, :-1]
    mask = answer_mask(batch)
    values = divergence(student(**inputs).logits[:, :-1], theirs)
    loss = (values * mask).sum() / mask.sum()
    student.zero_grad()
    loss.backward()
    optimizer.step()
    return {"loss": float(loss.detach()), "tokens": int(mask.sum())}


def _row_by_row(student, teacher, prompts, optimizer, sampling, generator=None, divergence=token_kl):
    """Right: one answer after the other, with summed gradients."""
    batch = rollout(student, prompts, generator=generator, **sampling)
    optimizer.zero_grad(set_to_none=True)
    tokens = int((batch["labels"][:, 1:] != IGNORE).sum())
    total = 0.0
    for row in range(len(batch["input_ids"])):
        part = {name: value[row : row + 1] for name, value in batch.items()}
        with torch.inference_mode():
            wanted = answer_logits(teacher, part)
        loss = divergence(answer_logits(student, part), wanted.clone()).sum() / tokens
        loss.backward()
        total += loss.detach()
    optimizer.step()
    return {"loss": total, "tokens": tokens}


STEP_MISTAKES = [
    (
        "Your teacher writes the answers. On-policy means that the student writes them: rollout(student, "
        "...). The teacher only scores.",
        _step(writer="teacher"),
    ),
    (
        "The gradients of the previous step are still there: call optimizer.zero_grad() before backward().",
        _step(order=("backward", "step")),
    ),
    (
        "You clear the gradients after the step, so the first step includes earlier gradients: call "
        "optimizer.zero_grad() before backward().",
        _step(order=("backward", "step", "zero_grad")),
    ),
    (
        "The student does not move. The order is zero_grad(), backward(), step().",
        _step(order=("zero_grad", "backward")),
    ),
    ("This is the sum over the tokens. Take the mean.", _step(mean=torch.sum)),
    (
        "This is the mean over answers of their token sums. Take the mean over all tokens.",
        _by_rows(lambda values, mask: values.sum(1).mean()),
    ),
    (
        "You average each answer by itself, so a token of a short one counts more. Take one mean over all "
        "tokens.",
        _by_rows(lambda values, mask: (values.sum(1) / mask.sum(1)).mean()),
    ),
    (
        "Your mean includes positions off the answers: divide by the number of answer tokens.",
        _by_rows(lambda values, mask: values.mean()),
    ),
    (
        "You score prompt and padding, too. Compare the models where the answer's tokens are predicted: "
        "answer_logits(model, batch).",
        _step(model=_every_place),
    ),
    (
        "The logits are one position late: the logits that predict a token are at the token before it.",
        _step(model=_one_late),
    ),
    (
        "You train the student on its own words, without the teacher. Use the divergence.",
        _step(loss_of=_own_words),
    ),
    ("You take the likeliest answers. Sample them, as `sampling` says.", _greedy),
    ("The generator has no effect: pass it to rollout, so that a run can be repeated.", _step(given=False)),
]
_check_distillation_step.mistakes = STEP_MISTAKES

EXERCISE = Exercise(
    name="distillation_step",
    lesson="19",
    minutes=15,
    difficulty=3,
    reference=distillation_step,
    check=_check_distillation_step,
    wrong=[
        (_teacher_with_graph, "torch.no_grad()"),
        (_models_exchanged, "The loss has no graph"),
        (_attached, "still attached"),
        (lambda *arguments: distillation_step(*arguments)["loss"], 'Return {"loss"'),
        (_step(mean=lambda values: 3 * values.mean()), "are not those of"),
        (_step(order=("backward", "zero_grad", "step")), "The order is"),
        (_step(order=("zero_grad", "step", "backward")), "The order is"),
    ],
    right=[_with_mask, _row_by_row],
    hints=(
        "Four lines: the student writes, the teacher reads, the divergence compares both at every token, "
        "and the optimizer takes a step. Only the student's logits need a gradient.",
        "batch = rollout(student, prompts, generator=generator, **sampling); answer_logits(model, batch) "
        "is [answer tokens, V]; divergence(student's, teacher's) is [answer tokens]; its mean is the "
        'loss; zero_grad, backward, step; return {"loss": loss.item(), "tokens": their number}.',
    ),
    then=f"The training below calls your function in every step. {AGAIN}",
)
