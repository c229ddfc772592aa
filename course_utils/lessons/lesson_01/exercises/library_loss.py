"""Lesson 01, library_loss: mend the loss."""

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare, expect_gradients
from course_utils.checks.exercises import Exercise
from course_utils.data import IGNORE, Example, collate
from course_utils.lessons.lesson_01.weights_and_loss import colleagues_loss
from course_utils.models import untrained_gpt2
from course_utils.training import fast_lm_loss, lm_loss


def library_loss(model, batch):
    """Summed loss of a batch by transformers' labels=, and the number of tokens that it is the sum over."""
    output = model(batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"])
    count = (batch["labels"][:, 1:] != IGNORE).sum()
    return output.loss * count, count


def _small_model(vocabulary, width):
    return untrained_gpt2(
        n_layer=1, n_head=2, n_embd=width, vocab_size=vocabulary, n_positions=16, initializer_range=0.5
    )


def _example(prompt, completion):
    """Token ids that end with an end of text (0), with labels on those after the prompt."""
    return Example([*prompt, *completion, 0], [IGNORE] * len(prompt) + [*completion, 0])


def _batches_for_the_library():
    """A model and a padded batch, twice: with loss on all tokens and pad 0; with masked prompts and pad 1."""
    whole = [_example([], row) for row in ([5, 3, 8, 2, 6], [4, 7, 1])]
    answers = [_example([5, 3, 8, 2], [6, 4]), _example([2, 9], [7]), _example([], [3, 6, 1, 5])]
    return [(_small_model(10, 8), collate(whole, 0)), (_small_model(12, 6), collate(answers, 1))]


def _by_labels(fault):
    """A wrong library_loss, with the labels fault(batch) and the right count."""

    def wrong(model, batch):
        output = model(batch["input_ids"], attention_mask=batch["attention_mask"], labels=fault(batch))
        count = (batch["labels"][:, 1:] != IGNORE).sum()
        return output.loss * count, count

    return wrong


def _shifted_by_hand(model, batch):
    """Logits and labels shifted by hand, and again by the library."""
    output = model(batch["input_ids"][:, :-1], labels=batch["labels"][:, 1:])
    count = (batch["labels"][:, 1:] != IGNORE).sum()
    return output.loss * count, count


def _with_count(count_of):
    """A wrong library_loss, with count_of(batch) as the number of tokens."""

    def wrong(model, batch):
        total, count = library_loss(model, batch)
        other = torch.as_tensor(count_of(batch))
        return total / count * other, other

    return wrong


def _twice_and_counted_after(model, batch):
    labels = F.pad(batch["labels"][:, 1:], (0, 1), value=IGNORE)
    return library_loss(model, {**batch, "labels": labels})


def _padding_alone_masked(model, batch):
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORE)
    return library_loss(model, {**batch, "labels": labels})


def _mean_of_rows(model, batch):
    rows = [{name: part[i : i + 1] for name, part in batch.items()} for i in range(len(batch["labels"]))]
    means = [total / count for total, count in (library_loss(model, row) for row in rows)]
    count = library_loss(model, batch)[1]
    return sum(means) / len(means) * count, count


def _by_hand_on_logits(model, batch):
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    targets = batch["labels"][:, 1:]
    return F.cross_entropy(logits[:, :-1].mT, targets, reduction="sum"), (targets != IGNORE).sum()


TWICE = (
    "The labels are still shifted twice: once in your function, and once inside the model. transformers "
    "expects unshifted labels."
)
COUNT = (
    "The library's mean is over the predicted labels, and you multiply by another number. No position "
    "predicts the first label of a row: count in labels[:, 1:]."
)
LIBRARY_MISTAKES = [
    (TWICE, colleagues_loss),
    (TWICE, _by_labels(lambda batch: F.pad(batch["labels"][:, 1:], (0, 1), value=IGNORE))),
    (TWICE, _shifted_by_hand),
    (TWICE, _twice_and_counted_after),
    (
        "roll shifts the labels, and the library shifts them again. It expects unshifted labels.",
        _by_labels(lambda batch: batch["labels"].roll(-1, 1)),
    ),
    (
        "You shift the labels one place to the right, so each position must predict the token that it has "
        "just read. The library expects unshifted labels.",
        _by_labels(lambda batch: F.pad(batch["labels"][:, :-1], (1, 0), value=IGNORE)),
    ),
    (
        "Padding and prompts get loss: you pass the input ids as labels. The batch's labels have -100 there.",
        _by_labels(lambda batch: batch["input_ids"]),
    ),
    (
        "Prompts get loss: you mask only the padding. The batch's labels have -100 at both.",
        _padding_alone_masked,
    ),
    (COUNT, _with_count(lambda batch: (batch["labels"] != IGNORE).sum())),
    (COUNT, _with_count(lambda batch: batch["labels"][:, 1:].numel())),
    (COUNT, _with_count(lambda batch: batch["labels"].numel())),
    (COUNT, _with_count(lambda batch: batch["attention_mask"].sum())),
    (COUNT, _with_count(lambda batch: len(batch["labels"]))),
    (
        "The sum is right, but the number is not. Return the number that you multiply by: the count of "
        "labels[:, 1:] that are not -100.",
        lambda model, batch: (library_loss(model, batch)[0], (batch["labels"] != IGNORE).sum()),
    ),
    (
        "You divide the library's mean by the number of tokens. It is already a mean: multiply.",
        lambda model, batch: (
            library_loss(model, batch)[0] / library_loss(model, batch)[1] ** 2,
            library_loss(model, batch)[1],
        ),
    ),
    (
        "You take the mean of the rows' means, so a token of a short row weighs more. Give the library the "
        "whole batch at once.",
        _mean_of_rows,
    ),
    (
        "The order is reversed: return the summed loss first, then the number.",
        lambda model, batch: library_loss(model, batch)[::-1],
    ),
    (
        "The library's loss is a mean. Training needs the sum: multiply it by the number of tokens.",
        lambda model, batch: (
            library_loss(model, batch)[0] / library_loss(model, batch)[1],
            library_loss(model, batch)[1],
        ),
    ),
]
_compared = compare(
    library_loss,
    _batches_for_the_library,
    LIBRARY_MISTAKES,
    else_="It is the library's mean times the number of predicted labels, and that number.",
)


def _check_library_loss(fn):
    _compared(fn)
    model, batch = _batches_for_the_library()[1]
    expect_gradients(fn(model, batch)[0], {"The model": model.transformer.wte.weight})


EXERCISE = Exercise(
    name="library_loss",
    lesson="01",
    minutes=10,
    difficulty=2,
    reference=library_loss,
    check=_check_library_loss,
    wrong=[
        *((wrong, message) for message, wrong in LIBRARY_MISTAKES),
        (lambda model, batch: library_loss(model, batch)[0], "should be a tuple of 2"),
        (
            lambda model, batch: (2 * library_loss(model, batch)[0], library_loss(model, batch)[1]),
            "times the",
        ),
        (lambda model, batch: tuple(part.detach() for part in library_loss(model, batch)), "has no graph"),
        (lambda model, batch: None, "Is there a return?"),
    ],
    right=[lm_loss, fast_lm_loss, _by_hand_on_logits],
    hints=(
        "One sentence is enough for a test, before any training: compare its loss by this function and by "
        "yours. It has no padding, so padding cannot cause a difference.",
        'transformers shifts inside the model: labels=batch["labels"], as they are. Its loss is the mean '
        "over the labels that are not -100, except each row's first; multiply by their number.",
    ),
    then="The training below uses your library_loss.",
)
