"""Exercises of lesson 19: the KL of a token, the on-policy step, the KL that comes later, who wrote it."""

import functools

import torch
import torch.nn.functional as F

from course_utils.checks.compare import Mistake, call, close, compare
from course_utils.checks.exercises import Exercise
from course_utils.data import IGNORE
from course_utils.lessons.lesson_19.suspects import writer_of
from course_utils.log_probs import log_probs_of
from course_utils.methods.distillation import answer_logits, distillation_step, later_kl, token_kl
from course_utils.methods.rollouts import answer_mask, rollout


def _logits(*shape):
    return 2 * torch.randn(*shape), 2 * torch.randn(*shape)


def _positions():
    first, second = _logits(3, 5), _logits(2, 4, 7)
    return [call(*first), call(*first, "forward"), call(*second, direction="forward"), call(*second)]


def _certain():
    """Logits so far apart that a probability is 0 in float32."""
    student, teacher = torch.tensor([[120.0, -120, 0], [0, 0, -300]]), torch.tensor([[0.0, 1, 0], [9, 0, 1]])
    return [
        *(call(student, teacher, direction) for direction in ("reverse", "forward")),
        *(call(teacher, student, direction) for direction in ("reverse", "forward")),
    ]


def _kl(fault):
    """A wrong token_kl: fault(first, second), log-probabilities whose KL(first || second) is wanted."""

    def wrong(student, teacher, direction="reverse"):
        student, teacher = student.log_softmax(-1), teacher.detach().log_softmax(-1)
        return fault(*((student, teacher) if direction == "reverse" else (teacher, student)))

    return wrong


def _exchanged(student, teacher, direction="reverse"):
    return token_kl(student, teacher, {"reverse": "forward", "forward": "reverse"}[direction])


def _not_detached(student, teacher, direction="reverse"):
    student, teacher = student.log_softmax(-1), teacher.log_softmax(-1)
    first, second = (student, teacher) if direction == "reverse" else (teacher, student)
    return (first.exp() * (first - second)).sum(-1)


def _student_detached(student, teacher, direction="reverse"):
    return token_kl(student.detach(), teacher, direction)


def _of_raw_logits(student, teacher, direction="reverse"):
    first, second = (student, teacher.detach()) if direction == "reverse" else (teacher.detach(), student)
    return (first.softmax(-1) * (first - second)).sum(-1)


def _log_of_softmax(student, teacher, direction="reverse"):
    student, teacher = student.softmax(-1), teacher.detach().softmax(-1)
    first, second = (student, teacher) if direction == "reverse" else (teacher, student)
    return (first * (first.log() - second.log())).sum(-1)


def _with_a_floor(student, teacher, direction="reverse"):
    student, teacher = student.softmax(-1), teacher.detach().softmax(-1)
    first, second = (student, teacher) if direction == "reverse" else (teacher, student)
    return (first * ((first + 1e-9).log() - (second + 1e-9).log())).sum(-1)


def _without_log_target(student, teacher, direction="reverse"):
    first, second = student.log_softmax(-1), teacher.detach().log_softmax(-1)
    if direction == "forward":
        first, second = second, first
    return F.kl_div(second, first, reduction="none").sum(-1)


def _over_places(student, teacher, direction="reverse"):
    student, teacher = student.log_softmax(0), teacher.detach().log_softmax(0)
    first, second = (student, teacher) if direction == "reverse" else (teacher, student)
    return (first.exp() * (first - second)).sum(-1)


def _by_torch(student, teacher, direction="reverse"):
    first, second = student.log_softmax(-1), teacher.detach().log_softmax(-1)
    if direction == "forward":
        first, second = second, first
    return F.kl_div(second, first, reduction="none", log_target=True).sum(-1)


def _by_entropies(student, teacher, direction="reverse"):
    """Cross-entropy minus entropy."""
    pair = [F.log_softmax(student, -1), F.log_softmax(teacher.detach(), -1)]
    p, q = pair if direction == "reverse" else pair[::-1]
    weights = torch.exp(p)
    return torch.einsum("...v,...v->...", weights, p) - torch.einsum("...v,...v->...", weights, q)


KL_MISTAKES = [
    (
        "The directions are exchanged. reverse is KL(student || teacher): the mean is over what the student "
        "would say.",
        _exchanged,
    ),
    (
        "direction has no effect: this is the reverse KL both times.",
        lambda student, teacher, direction="reverse": token_kl(student, teacher),
    ),
    ("The sign is turned: a KL is never negative.", _kl(lambda p, q: (p.exp() * (q - p)).sum(-1))),
    (
        "The entropy is missing: this is the cross-entropy alone. The KL is 0 where both models agree.",
        _kl(lambda p, q: -(p.exp() * q).sum(-1)),
    ),
    (
        "Every token of the vocabulary counts alike here. Weigh each by the first model's probability.",
        _kl(lambda p, q: (p - q).mean(-1)),
    ),
    (
        "This is the mean over the vocabulary. The probabilities are the weights already: sum.",
        _kl(lambda p, q: (p.exp() * (p - q)).mean(-1)),
    ),
    (
        "Return a number for each position, [...]: sum over the vocabulary alone, the last dimension.",
        _kl(lambda p, q: (p.exp() * (p - q)).sum()),
    ),
    (
        "This compares logits. A constant added to all logits of a model changes it: take log_softmax first.",
        _of_raw_logits,
    ),
    ("The softmax runs over the positions. The vocabulary is the last dimension.", _over_places),
    ("F.kl_div wants probabilities as its second argument, or log_target=True.", _without_log_target),
    ("The teacher is a constant here: teacher.detach().", _not_detached),
    (
        "The values are right, and the gradient stops half-way: in the reverse KL the weights are the "
        "student's own and must not be detached.",
        _kl(lambda p, q: (p.exp().detach() * (p - q)).sum(-1)),
    ),
]


class _Watched:
    """A divergence that remembers what it was given."""

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
        parameter.grad = torch.ones_like(parameter)  # left over from something before
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


_known = functools.cache(_stepped)  # of functions that stay the same


def _check_distillation_step(fn):
    try:
        mine = [_stepped(fn, *case) for case in STEP_CASES]
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        raise Mistake(
            "The loss has no graph, so nothing can learn. The student's logits come first in the divergence "
            "and need a gradient; the teacher's come second and need none."
        ) from None
    right = [_known(distillation_step, *case) for case in STEP_CASES]
    if any(run["teacher_moved"] for run in mine):
        raise Mistake("Your step changes the teacher. It is frozen.")
    if not all(run["calls"] for run in mine):
        named = _named_step(mine)
        raise Mistake(named or "Your step never calls `divergence`: it compares student and teacher.")
    if not _same_weights(mine, right):
        raise Mistake(
            _named_step(mine)
            or "After two steps the student's weights are not those of: the student samples, both models "
            "give logits at the answers' tokens, the mean of the divergence, backward, one step."
        )
    if any(run["teacher_learns"] for run in mine):
        raise Mistake(
            "The student's weights are right, and the teacher's forward pass keeps a graph that nobody "
            "needs: wrap it in torch.no_grad()."
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
                raise Mistake(f"{name} should be {numbers[name]:.4g}, and is {float(row[name]):.4g}.")


def _same_weights(runs, others):
    return all(close(one["weights"], other["weights"], 1e-4) for one, other in zip(runs, others, strict=True))


def _named_step(mine):
    for message, wrong in STEP_MISTAKES:
        if _same_weights(mine, [_known(wrong, *case) for case in STEP_CASES]):
            return message
    return None


IN_ORDER = ("zero_grad", "backward", "step")


def _step(writer="student", mean=torch.mean, order=IN_ORDER, loss_of=None, given=True, model=answer_logits):
    """A wrong distillation_step: with another writer, mean, order or loss, or without a part."""

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
    """The logits at the answers' tokens, which predict the tokens after them."""
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
    """Right: the logits of all places, and a mask."""
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
    """Right: one answer after the other, gradients added up."""
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
        "The teacher writes the answers here. On-policy means that the student writes them: "
        "rollout(student, ...). The teacher only scores.",
        _step(writer="teacher"),
    ),
    (
        "The gradients of the step before are still there: optimizer.zero_grad() before backward().",
        _step(order=("backward", "step")),
    ),
    (
        "The gradients are cleared after the step, so the first step still holds what was there before: "
        "optimizer.zero_grad() before backward().",
        _step(order=("backward", "step", "zero_grad")),
    ),
    (
        "The student does not move. The order is zero_grad(), backward(), step().",
        _step(order=("zero_grad", "backward")),
    ),
    ("This is the sum over the tokens. Take the mean.", _step(mean=torch.sum)),
    (
        "This is the mean over answers of the sums of their tokens. Take the mean over all tokens.",
        _by_rows(lambda values, mask: values.sum(1).mean()),
    ),
    (
        "Each answer is averaged by itself here, so a token of a short one counts more. Take one mean over "
        "all tokens.",
        _by_rows(lambda values, mask: (values.sum(1) / mask.sum(1)).mean()),
    ),
    (
        "The mean runs over the places off the answers too: divide by the number of answer tokens.",
        _by_rows(lambda values, mask: values.mean()),
    ),
    (
        "Prompt and padding are scored too. Compare the models where the answer's tokens are predicted: "
        "answer_logits(model, batch).",
        _step(model=_every_place),
    ),
    (
        "The logits are one place late: those that predict a token stand at the token before it.",
        _step(model=_one_late),
    ),
    (
        "This trains the student on its own words, and the teacher has no say. Use the divergence.",
        _step(loss_of=_own_words),
    ),
    ("The answers are the likeliest ones. Sample them, as the sampling says.", _greedy),
    ("The generator has no effect: hand it to rollout, so that a run can be made again.", _step(given=False)),
]
_check_distillation_step.mistakes = STEP_MISTAKES


def _kl_rows():
    def rows(count, tokens):
        mask = torch.zeros(count, tokens)
        mask[0, 1:3] = 1
        mask[1:, 2:] = 1
        return 3 * torch.rand(count, tokens), mask

    return [rows(2, 5), rows(4, 8), (torch.tensor([[1.0, 2, 4, 8]]), torch.ones(1, 4))]


def _later_by_loop(kl, mask):
    result = torch.zeros_like(kl)
    rest = torch.zeros(len(kl))
    for t in range(kl.shape[1] - 1, -1, -1):
        result[:, t] = rest * mask[:, t]
        rest = rest + kl[:, t] * mask[:, t]
    return result


def _later_by_matrix(kl, mask):
    tokens = kl.shape[1]
    after = torch.tril(torch.ones(tokens, tokens), diagonal=-1)  # [later, earlier]
    return (torch.where(mask == 1, kl, 0.0) @ after) * mask


LATER_MISTAKES = [
    (
        "A token's own KL is in the sum. Only what comes after it counts.",
        lambda kl, mask: (kl * mask).flip(1).cumsum(1).flip(1) * mask,
    ),
    (
        "This sums what came before the token. Sum what comes after it.",
        lambda kl, mask: ((kl * mask).cumsum(1) - kl * mask) * mask,
    ),
    (
        "This is the sum over the whole answer, for every token.",
        lambda kl, mask: (kl * mask).sum(1, keepdim=True) * mask,
    ),
    (
        "This is the KL of the next token alone. Sum over all later ones.",
        lambda kl, mask: F.pad((kl * mask)[:, 1:], (0, 1)) * mask,
    ),
    (
        "Tokens off the mask are in the sum: multiply by the mask first.",
        lambda kl, mask: (kl.flip(1).cumsum(1).flip(1) - kl) * mask,
    ),
    (
        "The mask has no effect: kl * mask first, and the mask again at the end.",
        lambda kl, mask: kl.flip(1).cumsum(1).flip(1) - kl,
    ),
    ("Places off the mask should be 0.", lambda kl, mask: (kl * mask).flip(1).cumsum(1).flip(1) - kl * mask),
    (
        "The sum runs over the answers. A row is an answer: dimension 1 is the tokens.",
        lambda kl, mask: ((kl * mask).flip(0).cumsum(0).flip(0) - kl * mask) * mask,
    ),
]


def _batches_to_place():
    """Log-probabilities of the same answers by three models; each of them wrote some batch."""
    mask = torch.zeros(6, 5)
    for row, length in enumerate((5, 1, 3, 5, 2, 4)):
        mask[row, :length] = 1
    cases = []
    for place in range(150):
        values = {name: -3 * torch.rand(6, 5) - 0.2 for name in ("student", "teacher", "start")}
        if place >= 147:  # one token that a model finds nearly impossible
            values["student"][0, place - 146] = -40.0
        cases.append((values, mask))
    return cases


def _placed(score, best=max):
    """A wrong writer_of: the name with the best score(values, mask)."""

    def wrong(log_probs, mask):
        scores = {name: score(values, mask).item() for name, values in log_probs.items()}
        return best(scores, key=scores.get)

    return wrong


def _by_votes(log_probs, mask):
    sums = torch.stack([(values * mask).sum(1) for values in log_probs.values()])
    votes = sums.argmax(0).bincount(minlength=len(log_probs))
    return list(log_probs)[votes.argmax()]


def _by_stack(log_probs, mask):
    names, values = zip(*log_probs.items(), strict=True)
    return names[int((torch.stack(values) * mask[None]).flatten(1).sum(1).argmax())]


def _by_differences(log_probs, mask):
    """Nobody has a positive mean log-ratio against the writer."""
    for name, own in log_probs.items():
        others = (other for key, other in log_probs.items() if key != name)
        if all(((own - other) * mask).sum() >= 0 for other in others):
            return name
    return None


WRITER_MISTAKES = [
    (
        "This is the model that finds the answers least likely. The writer finds them likeliest.",
        _placed(lambda v, m: (v * m).sum(), min),
    ),
    ("Prompt and padding count here too. Multiply by the mask.", _placed(lambda v, m: v.sum())),
    (
        "Every answer is divided by its length here, so a short one counts as much as a long one. The KL is "
        "of whole answers: sum the tokens, then take the mean.",
        _placed(lambda v, m: ((v * m).sum(1) / m.sum(1)).mean()),
    ),
    (
        "This counts the answers that a model finds likeliest. A vote forgets by how much: the theorem is "
        "about the mean.",
        _by_votes,
    ),
    (
        "This is the mean of probabilities, which one likely answer decides. Take the mean of "
        "log-probabilities.",
        _placed(lambda v, m: (v * m).sum(1).exp().mean()),
    ),
    ("This looks at the first token alone.", _placed(lambda v, m: v[:, 0].sum())),
    ("This looks at the first answer alone.", _placed(lambda v, m: (v * m)[0].sum())),
]

AGAIN = "Run the cells again from here to the end of the training."

EXERCISES = [
    Exercise(
        name="token_kl",
        lesson="19",
        minutes=10,
        difficulty=2,
        reference=token_kl,
        check=compare(
            token_kl,
            _positions,
            KL_MISTAKES,
            else_="reverse: the sum over the vocabulary of p * (log p - log q), with p the student and q the "
            "teacher; forward: with p the teacher.",
            gradient=("student", "teacher"),
            extremes=[
                (
                    "Where a probability is too small for float32, its logarithm is not: take log_softmax, "
                    "not the logarithm of softmax.",
                    _certain,
                )
            ],
        ),
        wrong=[
            (_student_detached, "no graph"),
            (_log_of_softmax, "take log_softmax"),
            (_with_a_floor, "take log_softmax"),
            (_kl(lambda p, q: 2 * (p.exp() * (p - q)).sum(-1)), "the sum over the vocabulary"),
            (lambda student, teacher, direction="reverse": None, "Is there a return"),
        ],
        right=[_by_torch, _by_entropies],
        hints=(
            "KL(p || q) is the mean, over what p would say, of log p - log q. Over a vocabulary that mean is "
            "a sum: nothing is sampled. reverse: p is the student.",
            "log_softmax(-1) of both, the teacher's detached, [..., V]; exchange them where the direction is "
            "forward; (first.exp() * (first - second)).sum(-1) is [...].",
        ),
        then=f"The colours below and the training call yours. {AGAIN}",
    ),
    Exercise(
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
        then=f"The training below calls yours for every step. {AGAIN}",
    ),
    Exercise(
        name="later_kl",
        lesson="19",
        minutes=8,
        difficulty=2,
        reference=later_kl,
        check=compare(
            later_kl,
            _kl_rows,
            LATER_MISTAKES,
            else_="For an answer with the KL 1, 2, 4, 8 at its tokens the later KL is 14, 12, 8, 0.",
        ),
        wrong=[
            (lambda kl, mask: 0 * kl, "14, 12, 8, 0"),
            (lambda kl: kl, "should take the arguments"),
            (lambda kl, mask: None, "Is there a return"),
        ],
        right=[_later_by_loop, _later_by_matrix],
        hints=(
            "Go through an answer from its end and keep the sum of what you have passed.",
            "A cumulative sum from the end: (kl * mask).flip(1).cumsum(1).flip(1), [rows, tokens]. It holds "
            "the token's own KL: take that away, and multiply by the mask. Or begin with the sum of all: "
            "sum(1, keepdim=True).",
        ),
        then="The gradients below are made with yours.",
    ),
    Exercise(
        name="writer_of",
        lesson="19",
        minutes=8,
        difficulty=2,
        reference=writer_of,
        check=compare(
            writer_of,
            _batches_to_place,
            WRITER_MISTAKES,
            else_="Sum the log-probabilities of an answer's tokens, take the mean over the answers, and "
            "return the name with the largest mean.",
        ),
        wrong=[
            (lambda log_probs, mask: "student", "Sum the log-probabilities"),
            (lambda log_probs, mask: None, "Is there a return"),
            (lambda log_probs: "student", "should take the arguments"),
        ],
        right=[_by_stack, _by_differences],
        hints=(
            "The mean of log p - log q over what p wrote is KL(p || q), which is never negative. Who then "
            "has the largest mean log-probability?",
            "(values * mask).sum(1) is [rows], the log-probability of each answer; its mean is one number a "
            "model; return the name of the largest.",
        ),
        then="The verdicts below are yours.",
    ),
]
