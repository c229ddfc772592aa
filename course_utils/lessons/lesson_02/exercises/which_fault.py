"""Lesson 02, which_fault: bug hunt, which fault is it."""

import math

import torch

from course_utils.checks.exercises import Exercise, Mistake
from course_utils.lessons.lesson_02 import suspects
from course_utils.models import untrained_gpt2
from course_utils.training import accumulated_step, lm_loss


def which_fault(suspect, model, micro_batches):
    """What is wrong with a step: "mask by id", "double shift", "mean of means", or "sound"."""

    def compared(batches):
        (mean, tokens), (right_mean, right_tokens) = (
            step(model, batches) for step in (suspect, accumulated_step)
        )
        model.zero_grad()
        return math.isclose(mean, right_mean, rel_tol=1e-3), tokens == right_tokens

    one_mean, one_count = compared(micro_batches[:1])
    if not one_count:
        return "mask by id"
    if not one_mean:
        return "double shift"
    return "sound" if compared(micro_batches)[0] else "mean of means"


def _tiny_model(seed):
    torch.manual_seed(seed)
    return untrained_gpt2(
        n_layer=1, n_head=2, n_embd=16, vocab_size=20, n_positions=16, initializer_range=0.5
    )


def _answer_batches(seed, lengths):
    """Micro-batches; a row is a prompt of three tokens, an answer, the end (id 0) and padding (id 0)."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for rows in lengths:
        width = 4 + max(rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        labels, attention = torch.full_like(ids, -100), torch.zeros_like(ids)
        for row, length in enumerate(rows):
            ids[row, : 3 + length] = torch.randint(1, 20, (3 + length,), generator=generator)
            labels[row, 3 : 4 + length] = ids[row, 3 : 4 + length]
            attention[row, : 4 + length] = 1
        batches.append({"input_ids": ids, "attention_mask": attention, "labels": labels})
    return batches


def _sound_in_another_style(model, micro_batches):
    """Row by row: the same sums in another order, so the last digits differ."""
    rows = [
        {name: value[row : row + 1] for name, value in batch.items()}
        for batch in micro_batches
        for row in range(len(batch["labels"]))
    ]
    return accumulated_step(model, rows)


VERDICTS = {
    "mask by id": [suspects.masked_by_id],
    "double shift": [suspects.shifted_twice],
    "mean of means": [suspects.mean_of_means],
    "sound": [accumulated_step, _sound_in_another_style],
}


def _verdicts(fn):
    """(right verdict, the suspect's number, fn's verdict) for every suspect on two sets of micro-batches."""
    for seed, lengths in ((1, ((1, 2), (6, 5, 4))), (2, ((7, 3), (1,), (2, 1)))):
        for verdict, steps in VERDICTS.items():
            for number, step in enumerate(steps):
                yield verdict, number, fn(step, _tiny_model(seed), _answer_batches(seed, lengths))


def _check_which_fault(fn):
    found = list(_verdicts(fn))
    for _, _, said in found:
        if said not in VERDICTS:
            raise Mistake(f"Return one of {', '.join(map(repr, VERDICTS))}. Yours returns {said!r}.")
    if all(said == right for right, _, said in found):
        return
    said = [answer for *_, answer in found]
    for message, wrong in FAULT_MISTAKES:
        if all(own == theirs for own, (*_, theirs) in zip(said, _verdicts(wrong), strict=True)):
            raise Mistake(message)
    right, _, said = next(row for row in found if row[0] != row[2])
    raise Mistake(
        f"A step that should get the verdict {right!r} gets {said!r}. First compare the numbers of tokens, "
        "then the means on one micro-batch, then the means on all of them."
    )


def _fault_by(rule):
    """A wrong which_fault: rule(one, all) of (suspect's mean, tokens, right mean, tokens)."""

    def wrong(suspect, model, micro_batches):
        def both(batches):
            return (*suspect(model, batches), *accumulated_step(model, batches))

        return rule(both(micro_batches[:1]), both(micro_batches))

    return wrong


def _near(numbers):
    return math.isclose(numbers[0], numbers[2], rel_tol=1e-3)


def _means_alone(one, every):
    if not _near(one):
        return "double shift"
    return "sound" if _near(every) else "mean of means"


def _all_at_once(one, every):
    if every[1] != every[3]:
        return "mask by id"
    return "sound" if _near(every) else "double shift"


def _all_at_once_means(one, every):
    if every[1] != every[3]:
        return "mask by id"
    return "sound" if _near(every) else "mean of means"


def _one_batch_alone(one, every):
    if one[1] != one[3]:
        return "mask by id"
    return "sound" if _near(one) else "double shift"


def _to_the_last_bit(one, every):
    if one[1] != one[3]:
        return "mask by id"
    if one[0] != one[2]:
        return "double shift"
    return "sound" if every[0] == every[2] else "mean of means"


def _shift_and_means_exchanged(one, every):
    found = _one_batch_alone(one, every)
    if found == "double shift":
        return "mean of means"
    return found if found != "sound" or _near(every) else "double shift"


def _counts_alone(one, every):
    return "mask by id" if one[1] != one[3] else "sound"


FAULT_MISTAKES = [
    (
        "You take a mask by id for a double shift: both change the mean. The number of tokens tells them "
        "apart, since a mask by id drops the end of every row.",
        _fault_by(_means_alone),
    ),
    (
        "You take a mean of means for a double shift. On a single micro-batch a mean of means is right, and "
        "a double shift is not.",
        _fault_by(_all_at_once),
    ),
    (
        "You take a double shift for a mean of means. On a single micro-batch a mean of means is right, and "
        "a double shift is not.",
        _fault_by(_all_at_once_means),
    ),
    (
        "You take a mean of means for sound: on one micro-batch it is. Compare on all of them, too.",
        _fault_by(_one_batch_alone),
    ),
    (
        "You blame a sound step: two correct ways to add up differ in the last digits. Compare the means "
        "with a tolerance (math.isclose).",
        _fault_by(_to_the_last_bit),
    ),
    ("Double shift and mean of means are swapped.", _fault_by(_shift_and_means_exchanged)),
    (
        "Two of the faults do not change the number of tokens. They show in the means, sometimes by only a "
        "few per cent: compare them with a tolerance of about a thousandth.",
        _fault_by(_counts_alone),
    ),
]


def _by_two_losses(suspect, model, micro_batches):
    rows = []
    for batches in (micro_batches[:1], micro_batches):
        mean, tokens = suspect(model, batches)
        with torch.no_grad():
            sums, counts = zip(*(lm_loss(model, batch) for batch in batches), strict=True)
        rows.append((float(mean) * int(tokens) - float(sum(sums)), int(tokens) - int(sum(counts))))
    (first, missing), (every, _) = rows
    if missing:
        return "mask by id"
    return "double shift" if abs(first) > 1e-2 else "mean of means" if abs(every) > 1e-2 else "sound"


def _every_batch_alone(suspect, model, micro_batches):
    alone = [which_fault(suspect, model, [batch]) for batch in micro_batches]
    return alone[0] if alone[0] != "sound" else which_fault(suspect, model, micro_batches)


EXERCISE = Exercise(
    name="which_fault",
    lesson="02",
    minutes=8,
    difficulty=2,
    reference=which_fault,
    check=_check_which_fault,
    wrong=[
        *((wrong, message) for message, wrong in FAULT_MISTAKES),
        (lambda suspect, model, micro_batches: "sound", "gets 'sound'"),
        (lambda suspect, model, micro_batches: "A", "Return one of"),
        (lambda suspect, model, micro_batches: None, "Return one of"),
    ],
    right=[_by_two_losses, _every_batch_alone],
    hints=(
        "Each of the three faults leaves a different trace in (mean loss, tokens). One changes the number of "
        "tokens. One is right as long as there is a single micro-batch.",
        "Call suspect and accumulated_step on micro_batches[:1]. Different tokens: mask by id. Different "
        "mean: double shift. Then call both on all micro_batches. Different mean: mean of means; else "
        "sound. "
        "Compare means with math.isclose(..., rel_tol=1e-3).",
    ),
    then="The next cell applies your test to the three steps.",
)
