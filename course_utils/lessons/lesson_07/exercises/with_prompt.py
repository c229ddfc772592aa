"""Lesson 07, with_prompt: the prompt in front."""

import functools

import torch
import torch.nn.functional as F

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise, Mistake
from course_utils.lessons.lesson_07.exercises.shared import places_in_rows
from course_utils.lessons.lesson_07.small_prompts import with_prompt


def _text(side, width, *lengths):
    """Embeddings, mask and labels of texts of these lengths, padded on this side; every token has a label."""
    rows, tokens = len(lengths), max(lengths)
    mask = (torch.arange(tokens) < torch.tensor(lengths)[:, None]).long()
    mask = mask.flip(1) if side == "left" else mask
    labels = torch.randint(0, 5, (rows, tokens)).masked_fill(mask == 0, -100)
    return torch.randn(rows, tokens, width), mask, labels


def _batch(fault):
    """A wrong with_prompt: fault(the four right tensors, and all arguments)."""

    def wrong(prompt, embeddings, mask, labels):
        return fault(*with_prompt(prompt, embeddings, mask, labels), prompt, embeddings, mask, labels)

    return wrong


def _positions(text):
    """A wrong with_prompt with other positions of the text: text(mask [B, T], P) -> [B, T]."""

    def wrong(prompt, embeddings, mask, labels):
        e, m, l, right = with_prompt(prompt, embeddings, mask, labels)
        return e, m, l, torch.cat([right[:, : len(prompt)], text(mask, len(prompt))], 1)

    return wrong


def _appended(prompt, text):
    return torch.cat([text, prompt.expand(len(text), -1, -1)], 1)


def _behind_the_padding(prompt, embeddings, mask, labels):
    _, *others = with_prompt(prompt, embeddings, mask, labels)
    first = mask.argmax(1).tolist()
    rows = [torch.cat([row[:k], prompt, row[k:]]) for row, k in zip(embeddings, first, strict=True)]
    return torch.stack(rows), *others


def _as_if_padded_left(mask, length):
    padding = mask.shape[1] - mask.sum(1, keepdim=True)
    return length + (places_in_rows(mask) - padding).clamp(min=0)


def _text_in_place(prompt, embeddings, mask, labels):
    right = with_prompt(prompt, embeddings, mask, labels)
    embeddings.zero_()
    return right


def _by_padding(prompt, embeddings, mask, labels):
    length = len(prompt)
    front = prompt[None].repeat(len(embeddings), 1, 1)
    text = length + (mask.cumsum(1) - 1).clamp(min=0)
    return [
        torch.cat((front, embeddings), dim=1),
        F.pad(mask, (length, 0), value=1),
        F.pad(labels, (length, 0), value=-100),
        torch.cat([torch.arange(length).repeat(len(mask), 1), text], 1),
    ]


def _row_by_row(prompt, embeddings, mask, labels):
    ones, positions = torch.ones(len(prompt), dtype=torch.long), []
    for row in mask.tolist():
        real = iter(range(len(prompt), len(prompt) + sum(row)))
        positions.append([*range(len(prompt)), *(next(real) if one else 1 for one in row)])
    return (
        torch.stack([torch.cat([prompt, text]) for text in embeddings]),
        torch.stack([torch.cat([ones, row]) for row in mask]),
        torch.stack([torch.cat([-100 * ones, row]) for row in labels]),
        torch.tensor(positions),
    )


def _first_label_lost(first):
    """A wrong with_prompt: one token of each text, at first(mask [B, T]), loses its label."""

    def wrong(prompt, embeddings, mask, labels):
        labels = labels.clone()
        labels[torch.arange(len(mask)), first(mask)] = -100
        return with_prompt(prompt, embeddings, mask, labels)

    return wrong


def _at_real_tokens(fn):
    """fn with position 0 at padding, where the position does not matter."""

    @functools.wraps(fn)
    def answer(prompt, embeddings, mask, labels):
        result = fn(prompt, embeddings, mask, labels)
        real = F.pad(mask, (len(prompt), 0), value=1)
        if not isinstance(result, tuple | list) or len(result) != 4:
            return result
        *others, positions = result
        if not isinstance(positions, torch.Tensor) or positions.shape != real.shape:
            return result
        if positions.is_floating_point():
            raise Mistake("Positions must be integers: they are looked up in a table.")
        there = (positions >= 0) & (positions < real.shape[1])
        if not there[real == 0].all():
            raise Mistake(
                "Padding has a negative position, or one of P + T or more, which is not in the position "
                "table. Which position padding gets does not matter, but it must be a valid one."
            )
        return (*others, positions.masked_fill(real == 0, 0))

    return answer


APPENDED = (
    "The prompt is appended, not prepended. A causal model reads from left to right: what comes after the "
    "text has no effect on it."
)
NO_LABEL = "The prompt's places have a label. They should not be predicted: use -100, the label without loss."
AS_LONG = (
    "The embeddings are as long as before: the prompt has places of its own, it is not added to the text's "
    "vectors."
)
FOUR = "Return four tensors: embeddings, mask, labels and positions."
AT_ZERO = (
    "The text begins at position 0, like the prompt: two tokens have the same position. It must begin at P."
)
FIRST_LABEL = (
    "The text's first token has lost its label. After a prompt it can be predicted, from the prompt's last "
    "place: do not change the labels of the text."
)
COUNTED = (
    "You count padding. A text's first real token has position P whether there is padding before it or not."
)
PROMPT_MISTAKES = [
    (AS_LONG, _batch(lambda e, m, l, p, prompt, text, mask, labels: (text + prompt.mean(0), m, l, p))),
    (
        AS_LONG,
        _batch(lambda e, m, l, p, prompt, text, mask, labels: (text + prompt.mean(0), mask, labels, p)),
    ),
    (
        AS_LONG,
        _batch(lambda e, m, l, p, prompt, text, mask, labels: (e[:, : text.shape[1]], mask, labels, p)),
    ),
    (APPENDED, _batch(lambda e, m, l, p, prompt, text, mask, labels: (_appended(prompt, text), m, l, p))),
    (
        APPENDED,
        _batch(
            lambda e, m, l, p, prompt, text, mask, labels: (
                _appended(prompt, text),
                F.pad(mask, (0, len(prompt)), value=1),
                F.pad(labels, (0, len(prompt)), value=-100),
                p,
            )
        ),
    ),
    (
        "No gradient can reach the prompt: it was detached or copied on the way.",
        _batch(lambda e, m, l, p, *given: (e.detach(), m, l, p)),
    ),
    (
        "You do not extend the attention mask: it needs a 1 for each of the P tokens of the prompt, in "
        "front.",
        _batch(lambda e, m, l, p, prompt, text, mask, labels: (e, mask, l, p)),
    ),
    (
        "The mask is 0 at the prompt: nothing attends to it, so it has no effect.",
        _batch(lambda e, m, l, p, prompt, text, mask, labels: (e, F.pad(mask, (len(prompt), 0)), l, p)),
    ),
    (
        "You extend the mask at the end: the prompt stands in front, so its ones must, too. With your mask, "
        "padding is read and text is not.",
        _batch(
            lambda e, m, l, p, prompt, text, mask, labels: (e, F.pad(mask, (0, len(prompt)), value=1), l, p)
        ),
    ),
    (
        "The mask is 1 everywhere: padding is read as text.",
        _batch(lambda e, m, l, p, *given: (e, torch.ones_like(m), l, p)),
    ),
    (
        "You do not extend the labels. They must be as long as the input: place t of the labels belongs to "
        "place t of the embeddings.",
        _batch(lambda e, m, l, p, prompt, text, mask, labels: (e, m, labels, p)),
    ),
    (
        "You extend the labels at the end. Every label must move P places to the right, with its token.",
        _batch(
            lambda e, m, l, p, prompt, text, mask, labels: (
                e,
                m,
                F.pad(labels, (0, len(prompt)), value=-100),
                p,
            )
        ),
    ),
    (
        NO_LABEL,
        _batch(lambda e, m, l, p, prompt, text, mask, labels: (e, m, F.pad(labels, (len(prompt), 0)), p)),
    ),
    (
        NO_LABEL,
        _batch(
            lambda e, m, l, p, prompt, text, mask, labels: (e, m, F.pad(labels, (len(prompt), 0), value=1), p)
        ),
    ),
    (
        "You shift the labels. A label stands at its own token: the library compares it with what the place "
        "before expects.",
        _batch(lambda e, m, l, p, *given: (e, m, F.pad(l[:, 1:], (0, 1), value=-100), p)),
    ),
    (FIRST_LABEL, _first_label_lost(lambda mask: mask.argmax(1))),
    (FIRST_LABEL, _first_label_lost(lambda mask: torch.zeros(len(mask), dtype=torch.long))),
    (AT_ZERO, _positions(lambda mask, length: (mask.cumsum(1) - 1).clamp(min=0))),
    (AT_ZERO, _positions(lambda mask, length: places_in_rows(mask))),
    (
        "You put the prompt after the padding of a row. Put it before the whole row, since mask and labels "
        "are extended in front, too.",
        _behind_the_padding,
    ),
    (
        "You subtract padding as if all of it were on the left. It may be on the right: count the tokens "
        "read before a token.",
        _positions(_as_if_padded_left),
    ),
    (COUNTED, _batch(lambda e, m, l, p, *given: (e, m, l, places_in_rows(p)))),
    (
        "The positions are one too high: the very first token has position 0, so the one after P prompt "
        "tokens has P.",
        _batch(lambda e, m, l, p, *given: (e, m, l, (p + 1).clamp(max=p.shape[1] - 1))),
    ),
    (
        "The positions are one too high: the very first token has position 0, so the one after P prompt "
        "tokens has P.",
        _batch(lambda e, m, l, p, *given: (e, m, l, p + 1)),
    ),
    (
        "The prompt has no positions: each row should have P + T, the prompt's first.",
        _batch(lambda e, m, l, p, prompt, *given: (e, m, l, p[:, len(prompt) :])),
    ),
    (
        "The prompt's own positions are 0 to P - 1 in every row: it is never padded.",
        _batch(lambda e, m, l, p, prompt, *given: (e, m, l, p * (places_in_rows(p) >= len(prompt)))),
    ),
    (FOUR, _batch(lambda e, m, l, p, *given: (e, m, l))),
    (FOUR, _batch(lambda e, m, l, p, *given: (e, m))),
    (FOUR, _batch(lambda e, m, l, p, *given: e)),
]


def _check_with_prompt(fn):
    compare(
        _at_real_tokens(with_prompt),
        [
            (torch.randn(2, 5), *_text("right", 5, 4, 3, 2)),
            (torch.randn(5, 3), *_text("left", 3, 3, 6)),
            (torch.randn(1, 4), *_text("left", 4, 2, 1, 5)),
        ],
        [(message, _at_real_tokens(wrong)) for message, wrong in PROMPT_MISTAKES],
        else_="The prompt stands in front: its vectors, P ones in the mask, P times -100 in the labels; "
        "positions count the tokens read.",
        gradient=("prompt",),
    )(_at_real_tokens(fn))


EXERCISE = Exercise(
    name="with_prompt",
    lesson="07",
    minutes=12,
    difficulty=3,
    reference=with_prompt,
    check=_check_with_prompt,
    wrong=[
        *[(wrong, message) for message, wrong in PROMPT_MISTAKES],
        (
            lambda prompt, text, mask, labels: (torch.cat([prompt, text], 1), mask, labels, mask),
            "Your code stopped",
        ),
        (lambda prompt, *rest: with_prompt(prompt.detach().clone(), *rest), "No gradient can reach"),
        (_batch(lambda e, m, l, p, *given: (torch.zeros_like(e), m, l, p)), "stands in front"),
        (_positions(lambda mask, length: 3 + (mask.cumsum(1) - 1).clamp(min=0)), "positions count"),
        (_positions(lambda mask, length: length + mask.cumsum(1) - 1 - 9 * (1 - mask)), "negative position"),
        (_positions(lambda mask, length: length + mask.cumsum(1) - 1 + 50 * (1 - mask)), "negative position"),
        (_batch(lambda e, m, l, p, *given: (e, m, l, p.float())), "must be integers"),
        (_text_in_place, "changes its argument embeddings in place"),
        (_batch(lambda *given: None), "Is there a return"),
    ],
    right=[_by_padding, _row_by_row],
    then="The prompts below are trained on the batches that your function makes, and the model answers after "
    "them: run the cells below again.",
    hints=(
        "Four tensors have one entry per place, and each gets P more in front. For a prompt token, the "
        "entries say: its vector, that it may be read, that it is not predicted, how many tokens are read "
        "before it.",
        "prompt.expand(B, -1, -1) is [B, P, d]; torch.cat(..., 1) puts it before [B, T, d]. For the "
        "mask P ones (mask.new_ones(B, P)), for the labels P times -100 "
        "(labels.new_full((B, P), -100)). The new mask's running sum (cumsum(1)) counts what is read; "
        "minus 1 it is the position.",
    ),
)
