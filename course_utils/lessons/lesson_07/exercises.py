"""Exercises of lesson 07: a prompt from words, and before a batch; a script's fault; a prefix's layout."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.checks.compare import compare, unchanged
from course_utils.checks.exercises import Exercise, Mistake, expect_tensor
from course_utils.lessons.lesson_07.parts import prompt_fault, start_from_words, with_prompt
from course_utils.methods.prompt_tuning import keys_and_values


def _text(side, width, *lengths):
    """Embeddings, mask and labels of texts of these lengths, padded on this side; every token has a label."""
    rows, tokens = len(lengths), max(lengths)
    mask = (torch.arange(tokens) < torch.tensor(lengths)[:, None]).long()
    mask = mask.flip(1) if side == "left" else mask
    labels = torch.randint(0, 5, (rows, tokens)).masked_fill(mask == 0, -100)
    return torch.randn(rows, tokens, width), mask, labels


def _batch(fault):
    """A wrong with_prompt: fault(the four tensors as they should be, and all arguments)."""

    def wrong(prompt, embeddings, mask, labels):
        return fault(*with_prompt(prompt, embeddings, mask, labels), prompt, embeddings, mask, labels)

    return wrong


def _positions(text):
    """A wrong with_prompt with other positions of the text: text(mask [B, T], P) -> [B, T]."""

    def wrong(prompt, embeddings, mask, labels):
        e, m, l, right = with_prompt(prompt, embeddings, mask, labels)
        return e, m, l, torch.cat([right[:, : len(prompt)], text(mask, len(prompt))], 1)

    return wrong


def _places(mask):
    return torch.arange(mask.shape[1]).expand_as(mask)


def _appended(prompt, text):
    return torch.cat([text, prompt.expand(len(text), -1, -1)], 1)


def _behind_the_padding(prompt, embeddings, mask, labels):
    _, *others = with_prompt(prompt, embeddings, mask, labels)
    first = mask.argmax(1).tolist()
    rows = [torch.cat([row[:k], prompt, row[k:]]) for row, k in zip(embeddings, first, strict=True)]
    return torch.stack(rows), *others


def _as_if_padded_left(mask, length):
    padding = mask.shape[1] - mask.sum(1, keepdim=True)
    return length + (_places(mask) - padding).clamp(min=0)


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
    """A wrong with_prompt: the label of one token of each text is taken away, at first(mask [B, T])."""

    def wrong(prompt, embeddings, mask, labels):
        labels = labels.clone()
        labels[torch.arange(len(mask)), first(mask)] = -100
        return with_prompt(prompt, embeddings, mask, labels)

    return wrong


def _at_real_tokens(fn):
    """The same, with position 0 wherever there is padding: which one it has there does not matter."""

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
            raise Mistake("Positions are whole numbers: they are looked up in a table.")
        there = (positions >= 0) & (positions < real.shape[1])
        if not there[real == 0].all():
            raise Mistake(
                "Padding has a negative position, or one as large as P + T, and no row of the position table "
                "has such a number. What padding gets does not matter, but it has to be a position that "
                "there is."
            )
        return (*others, positions.masked_fill(real == 0, 0))

    return answer


APPENDED = (
    "The prompt is appended, not prepended. A causal model reads from left to right: what stands behind the "
    "text can steer nothing in it."
)
NO_LABEL = "The prompt's places have a label. They are not to be predicted: -100, the label without loss."
AS_LONG = (
    "The embeddings are as long as before: the prompt takes places of its own, it is not added to the text's "
    "vectors."
)
FOUR = "Return four tensors: embeddings, mask, labels and positions."
AT_ZERO = (
    "The text begins at position 0, where the prompt is already: two tokens at one position. It begins at P."
)
FIRST_LABEL = (
    "The text's first token has lost its label. Behind a prompt it can be predicted, from the prompt's last "
    "place: leave the labels of the text as they are."
)
COUNTED = (
    "Padding is counted. A text's first real token has position P whether there is padding before it or not."
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
        "The attention mask is not extended: the model needs a 1 for each of the P tokens of the prompt, in "
        "front.",
        _batch(lambda e, m, l, p, prompt, text, mask, labels: (e, mask, l, p)),
    ),
    (
        "The mask is 0 at the prompt: then nothing attends to it, and it has no effect.",
        _batch(lambda e, m, l, p, prompt, text, mask, labels: (e, F.pad(mask, (len(prompt), 0)), l, p)),
    ),
    (
        "The mask is extended at the end: the prompt stands in front, so its ones do too. As it is, padding "
        "is read and text is not.",
        _batch(
            lambda e, m, l, p, prompt, text, mask, labels: (e, F.pad(mask, (0, len(prompt)), value=1), l, p)
        ),
    ),
    (
        "The mask is 1 everywhere: padding is read as text.",
        _batch(lambda e, m, l, p, *given: (e, torch.ones_like(m), l, p)),
    ),
    (
        "The labels are not extended. They must be as long as the input: position t of the labels belongs to "
        "position t of the embeddings.",
        _batch(lambda e, m, l, p, prompt, text, mask, labels: (e, m, labels, p)),
    ),
    (
        "The labels are extended at the end. Every label has to move P places to the right, with its token.",
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
    (FIRST_LABEL, _first_label_lost(lambda mask: mask.argmax(1))),
    (FIRST_LABEL, _first_label_lost(lambda mask: torch.zeros(len(mask), dtype=torch.long))),
    (AT_ZERO, _positions(lambda mask, length: (mask.cumsum(1) - 1).clamp(min=0))),
    (AT_ZERO, _positions(lambda mask, length: _places(mask))),
    (
        "The prompt stands behind the padding of a row. Put it before the whole row, since mask and labels "
        "are extended in front too.",
        _behind_the_padding,
    ),
    (
        "You count padding off as if all of it stood on the left. Here it may stand on the right: count what "
        "is read before a token.",
        _positions(_as_if_padded_left),
    ),
    (COUNTED, _batch(lambda e, m, l, p, *given: (e, m, l, _places(p)))),
    (
        "One too far: the first token of all has position 0, so the one behind P prompt tokens has P.",
        _batch(lambda e, m, l, p, *given: (e, m, l, (p + 1).clamp(max=p.shape[1] - 1))),
    ),
    (
        "The prompt has no positions: there should be P + T a row, the prompt's first.",
        _batch(lambda e, m, l, p, prompt, *given: (e, m, l, p[:, len(prompt) :])),
    ),
    (
        "The prompt's own positions are 0 to P - 1 in every row: it is never padded.",
        _batch(lambda e, m, l, p, prompt, *given: (e, m, l, p * (_places(p) >= len(prompt)))),
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
        "positions count the tokens that are read.",
        gradient=("prompt",),
    )(_at_real_tokens(fn))


class _Toy(nn.Module):
    """What start_from_words needs of a model, under GPT-2's names."""

    def __init__(self, vocabulary, width):
        super().__init__()
        self.transformer = nn.ModuleDict(
            {"wte": nn.Embedding(vocabulary, width), "ln_f": nn.LayerNorm(width)}
        )
        self.lm_head = nn.Linear(width, vocabulary)

    @property
    def device(self):
        return self.lm_head.weight.device

    def get_input_embeddings(self):
        return self.transformer.wte


# vocabulary, width, ids, length: repeated and cut, cut, as many as places, one word
STARTS = [
    (9, 4, [3, 4, 8], 5),
    (12, 6, [7, 0, 11, 2, 5], 2),
    (9, 4, [0, 1, 2], 3),
    (12, 6, [10], 4),
    (12, 6, [6, 1], 7),
]


def _check_start_from_words(fn):
    for vocabulary, width, ids, length in STARTS:
        model = _Toy(vocabulary, width)
        with unchanged(model=model, ids=ids):
            prompt = fn(model, ids, length)
        _expect_start(prompt, model, ids, length)


def _expect_start(prompt, model, ids, length):
    table = model.transformer.wte.weight.detach().clone()
    expect_tensor(prompt, None, "the prompt")
    width = table.shape[1]
    if prompt.shape == (len(ids), width) and len(ids) < length:
        raise Mistake(
            "The prompt has as many vectors as there are words. Begin the words again until the length is "
            "reached."
        )
    if prompt.shape == (len(ids), width) and len(ids) > length:
        raise Mistake(f"With more words than places, cut: {length} vectors, not {len(prompt)}.")
    expect_tensor(prompt, (length, width), "the prompt")
    if not isinstance(prompt, nn.Parameter):
        raise Mistake(
            "The prompt is no nn.Parameter. As part of a module it would not be among what is trained and "
            "saved."
        )
    if not prompt.requires_grad:
        raise Mistake("The prompt is frozen. It is the one thing that is trained.")
    if any(parameter.requires_grad for parameter in model.parameters()):
        raise Mistake(
            "The base is not frozen: its weights would be trained along with the prompt, and this would be "
            "full fine-tuning with a prompt on top."
        )
    if prompt.dtype != table.dtype:
        raise Mistake(
            f"The table is of {table.dtype}, and the prompt of {prompt.dtype}: they are joined below."
        )
    if 0 in prompt.stride():
        raise Mistake(
            "The places share one vector in memory (expand): training changes all of them at once. "
            "Copy it (repeat, or clone)."
        )
    right = [ids[place % len(ids)] for place in range(length)]
    _expect_rows(prompt.detach(), table, ids, right)
    prompt.data += 1
    if not torch.equal(model.transformer.wte.weight, table):
        raise Mistake(
            "The prompt is a view of the table: training it changes the model's embeddings. Copy the rows "
            "(clone)."
        )


def _expect_rows(prompt, table, ids, right):
    if torch.equal(prompt, table[right]):
        return
    if len(ids) < len(right):
        if torch.equal(prompt, table[sorted(right, key=ids.index)]):
            raise Mistake(f"Each word is repeated before the next one comes. Repeat the whole text: {right}.")
        if (prompt[len(ids) :] == 0).all():
            raise Mistake("The places behind the words are zeros. Begin the words again.")
    if len(ids) > len(right) and torch.equal(prompt, table[ids[-len(right) :]]):
        raise Mistake(f"These are the last words. Keep the first {len(right)}, and cut behind them.")
    raise Mistake(
        f"With words {', '.join(map(str, ids))} and length {len(right)} the prompt should be rows "
        f"{', '.join(map(str, right))} of the table."
    )


def _start(change=lambda prompt: nn.Parameter(prompt.clone()), freeze=True, rows=None):
    """A wrong start_from_words: other rows of the table, or something else done with them."""

    def wrong(model, ids, length):
        model.requires_grad_(not freeze)
        places = [ids[place % len(ids)] for place in range(length)] if rows is None else rows(ids, length)
        return change(model.get_input_embeddings().weight.detach()[places])

    return wrong


def _zeros_behind(model, ids, length):
    prompt = start_from_words(model, ids, length)
    prompt.data[len(ids) :] = 0
    return prompt


def _view(model, ids, length):
    right = start_from_words(model, ids, length)
    if ids[-1] - ids[0] == length - 1:
        return nn.Parameter(model.get_input_embeddings().weight[ids[0] : ids[-1] + 1])
    return right


def _expanded(model, ids, length):
    right = start_from_words(model, ids, length)
    return nn.Parameter(right[:1].data.expand(length, -1)) if len(ids) == 1 else right


def _freezing(chosen):
    """A wrong start_from_words: only the parameters whose name is chosen are frozen."""

    def wrong(model, ids, length):
        prompt = start_from_words(model, ids, length)
        for name, parameter in model.named_parameters():
            parameter.requires_grad = not chosen(name)
        return prompt

    return wrong


def _table_in_place(model, ids, length):
    prompt = start_from_words(model, ids, length)
    model.get_input_embeddings().weight.data[ids] = 0
    return prompt


def _by_name(model, ids, length):
    for parameter in model.parameters():
        parameter.requires_grad = False
    repeated = (ids * length)[:length]
    return nn.Parameter(model.transformer.wte.weight.data[repeated])


def _by_looking_up(model, ids, length):
    model.requires_grad_(False)
    words = torch.tensor(ids, device=model.device).repeat(length // len(ids) + 1)
    return nn.Parameter(model.get_input_embeddings()(words[:length]), requires_grad=True)


def _handed_over(kind, length, *lengths):
    """Arguments of prompt_fault for left-padded texts of these lengths: right, or with this fault."""
    tokens = max(lengths)
    mask = (torch.arange(tokens) >= tokens - torch.tensor(lengths)[:, None]).long()
    read = F.pad(mask, (length, 0), value=1)
    positions = read.cumsum(1) - 1
    rows, last = len(lengths), len(lengths) - 1
    padded = int(torch.tensor(lengths).argmin())
    if kind == "right, padding at 0":
        positions = positions * read
    elif kind == "not read":
        read[:, :length] = 0
    elif kind == "one place not read":
        read[last, length - 1] = 0
    elif kind == "first place not read":
        read[padded, 0] = 0
    elif kind == "padding read":
        read[padded, length] = 1
    elif kind == "padding beside the text read":
        read[padded, length + int(mask[padded].argmax()) - 1] = 1
    elif kind == "mask of the other side":
        read[:, length:] = mask.flip(1)
    elif kind == "all read":
        read[:] = 1
    elif kind == "ones at the end":  # two faults: the prompt is not read, and padding is
        read = F.pad(mask, (0, length), value=1)
    elif kind == "not shifted":
        positions = torch.cat([torch.arange(length).expand(rows, -1), (mask.cumsum(1) - 1).clamp(min=0)], 1)
    elif kind == "counted":
        positions = torch.arange(length + tokens).expand(rows, -1).clone()
    elif kind == "one row":
        positions[last, length:] -= 1
        positions = positions.clamp(min=0)
    elif kind == "one inside":
        positions[int(torch.tensor(lengths).argmax()), -2] -= 1
    elif kind == "two exchanged":
        longest = int(torch.tensor(lengths).argmax())
        positions[longest, -2:] = positions[longest, -2:].flip(0)
    elif kind == "no mask":  # two faults: padding is read, and counted
        read[:] = 1
        positions = torch.arange(length + tokens).expand(rows, -1).clone()
    elif kind == "first token":
        positions[torch.arange(rows), length + mask.argmax(1)] -= 1
    return mask, read, positions, length


KINDS = (
    "right",
    "right, padding at 0",
    "not read",
    "one place not read",
    "first place not read",
    "padding read",
    "padding beside the text read",
    "mask of the other side",
    "all read",
    "ones at the end",
    "not shifted",
    "counted",
    "one row",
    "one inside",
    "two exchanged",
    "no mask",
    "first token",
)


def _by_masked_select(mask, read, positions, length):
    of_prompt, of_text = read.split([length, mask.shape[1]], 1)
    if of_prompt.min() == 0:
        return "prompt not read"
    if torch.any((mask == 0) & (of_text == 1)):
        return "padding read"
    real = mask.bool()
    expected = torch.cat([torch.arange(length, length + count) for count in mask.sum(1).tolist()])
    return "right" if torch.equal(positions[:, length:][real], expected) else "wrong positions"


def _by_rows(mask, read, positions, length):
    for row, given, places in zip(mask.tolist(), read.tolist(), positions.tolist(), strict=True):
        if 0 in given[:length]:
            return "prompt not read"
        if any(one > real for one, real in zip(given[length:], row, strict=True)):
            return "padding read"
        text = [place for place, real in zip(places[length:], row, strict=True) if real]
        if text != list(range(length, length + len(text))):
            return "wrong positions"
    return "right"


def _fault_first_row(mask, read, positions, length):
    return prompt_fault(mask[:1], read[:1], positions[:1], length)


def _fault_any(mask, read, positions, length):
    if not read[:, :length].any():
        return "prompt not read"
    return prompt_fault(mask, read.clone().index_fill_(1, torch.arange(length), 1), positions, length)


def _fault_with_padding(mask, read, positions, length):
    verdict = prompt_fault(mask, read, positions, length)
    right = length + (mask.cumsum(1) - 1).clamp(min=0)
    return "wrong positions" if verdict == "right" and (positions[:, length:] != right).any() else verdict


def _fault_by_places(mask, read, positions, length):
    verdict = prompt_fault(
        mask, read, torch.cat([positions[:, :length], length + mask.cumsum(1) - 1], 1), length
    )
    wrong = (positions[:, length:] != length + _places(mask))[mask == 1].any()
    return "wrong positions" if verdict == "right" and wrong else verdict


def _fault_by_steps(mask, read, positions, length):
    text, real = positions[:, length:], mask == 1
    steps = (text.diff(dim=1) == 1) | ~(real[:, 1:] & real[:, :-1])
    verdict = prompt_fault(
        mask, read, torch.cat([positions[:, :length], length + mask.cumsum(1) - 1], 1), length
    )
    return "wrong positions" if verdict == "right" and not steps.all() else verdict


def _fault_all_read(mask, read, positions, length):
    verdict = prompt_fault(mask, F.pad(mask, (length, 0), value=1), positions, length)
    if not read[:, :length].all():
        return "prompt not read"
    return "padding read" if read.all() else verdict


def _fault_by_one_place(place):
    def wrong(mask, read, positions, length):
        if not read[:, :length][:, place].all():
            return "prompt not read"
        return prompt_fault(mask, F.pad(read[:, length:], (length, 0), value=1), positions, length)

    return wrong


def _fault_by_first_column(mask, read, positions, length):
    seen = read.clone()
    seen[:, length + 1 :] = mask[:, 1:]
    return prompt_fault(mask, seen, positions, length)


def _fault_beside_the_text(mask, read, positions, length):
    seen, text = read.clone(), F.pad(mask, (length, 0))
    beside = F.pad(text[:, 1:], (0, 1)) > text  # the last place before each text
    seen[:, length:] = torch.where(beside, read, text)[:, length:]
    return prompt_fault(mask, seen, positions, length)


def _fault_by_counts(mask, read, positions, length):
    verdict = prompt_fault(mask, F.pad(mask, (length, 0), value=1), positions, length)
    if not read[:, :length].all():
        return "prompt not read"
    return "padding read" if read[:, length:].sum() > mask.sum() else verdict


def _fault_at_zero(mask, read, positions, length):
    verdict = prompt_fault(
        mask, read, torch.cat([positions[:, :length], length + mask.cumsum(1) - 1], 1), length
    )
    wrong = (positions[:, length:] != mask.cumsum(1) - 1)[mask == 1].any()
    return "wrong positions" if verdict == "right" and wrong else verdict


def _fault_other_order(mask, read, positions, length):
    verdict = prompt_fault(mask, read, positions, length)
    return "padding read" if (read[:, length:] > mask).any() else verdict


def _fault_first_token(mask, read, positions, length):
    verdict = prompt_fault(mask, read, positions, length)
    first = positions[:, length:].gather(1, mask.argmax(1, keepdim=True))
    return "right" if verdict == "wrong positions" and (first == length).all() else verdict


def _fault_last_token(mask, read, positions, length):
    verdict = prompt_fault(mask, read, positions, length)
    last = positions[:, -1] == length + mask.sum(1) - 1
    return "right" if verdict == "wrong positions" and last.all() else verdict


def _fault_by_numbers(mask, read, positions, length):
    right = length + mask.cumsum(1) - 1
    text = positions[:, length:].masked_fill(mask == 0, 0)
    if (text.sort(1).values == (right * mask).sort(1).values).all():
        positions = torch.cat([positions[:, :length], right], 1)
    return prompt_fault(mask, read, positions, length)


def _fault_positions_first(mask, read, positions, length):
    verdict = prompt_fault(mask, F.pad(mask, (length, 0), value=1), positions, length)
    unread = not read[:, :length].all()
    return verdict if verdict != "right" and not unread else prompt_fault(mask, read, positions, length)


ONE_PLACE = "You look at one place of the prompt only. Each of its places has to be read, in every row."
ONE_PAD = "You look at one place of the padding only. Any may be read: compare all with the text's mask."
TWO_FAULTS = (
    "With two faults at once the verdict is the one that is tested first: whether the prompt is read, then "
    "padding, then positions."
)
FAULT_MISTAKES = [
    ("You look at the first row only. A fault may be in any row.", _fault_first_row),
    (
        "The prompt is read where all its places have a 1, in every row: with any() one of them is enough.",
        _fault_any,
    ),
    (ONE_PLACE, _fault_by_one_place(0)),
    (ONE_PLACE, _fault_by_one_place(-1)),
    (
        "Padding is read as soon as one of its places has a 1: compare with the text's own mask, place by "
        "place.",
        _fault_all_read,
    ),
    (ONE_PAD, _fault_by_first_column),
    (ONE_PAD, _fault_beside_the_text),
    (
        "You compare how many places are read. A mask padded on the other side reads as many, and the wrong "
        "ones: compare place by place.",
        _fault_by_counts,
    ),
    (
        "You count places. A left-padded text begins behind its padding, and its first real token has "
        "position P all the same: P + mask.cumsum(1) - 1.",
        _fault_by_places,
    ),
    (
        "That the positions go up by one is not enough: they have to begin at P, behind the prompt.",
        _fault_by_steps,
    ),
    ("The text's positions begin at P, the length of the prompt, not at 0.", _fault_at_zero),
    (
        "This finds fault with a right batch: what position padding has does not matter. Compare where the "
        "text's mask is 1.",
        _fault_with_padding,
    ),
    ("You look at the last position of a text only. A wrong one may stand before it.", _fault_last_token),
    (
        "You look at the first token of a text only. A wrong position may stand further on.",
        _fault_first_token,
    ),
    ("The right positions in another order are wrong positions: compare token by token.", _fault_by_numbers),
    (TWO_FAULTS, _fault_other_order),
    (TWO_FAULTS, _fault_positions_first),
]


def _flat(layers, heads, size, length):
    return torch.randn(length, layers * 2 * heads * size), layers, heads


def _split(view, *order):
    """A wrong keys_and_values: another view, then permuted to the right shape."""
    return lambda prefix, layers, heads: view(prefix, layers, heads).permute(*order)


def _by_indexing(prefix, layers, heads):
    parts = [[half.chunk(heads, 1) for half in layer.chunk(2, 1)] for layer in prefix.chunk(layers, 1)]
    return torch.stack([torch.stack([torch.stack(half) for half in layer]) for layer in parts])


def _tokens_moved(prefix, layers, heads):
    size = prefix.shape[1] // (2 * layers * heads)
    return prefix.reshape(-1, layers, 2, heads, size).movedim(0, 3)


SHAPE = "Split a token's values into layers, 2, heads, head size, in that order, then move the tokens."
KEYS_MISTAKES = [
    (
        "Heads and tokens have to change places: attention works on [heads, tokens, head size].",
        lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).transpose(2, 3),
    ),
    (
        "The layers come first, then keys and values.",
        lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).transpose(0, 1),
    ),
    (
        "The heads stand before keys and values: the result is [layers, 2, heads, P, head size].",
        lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).transpose(1, 2),
    ),
    (
        "The heads stand before keys and values: the result is [layers, 2, heads, P, head size].",
        _split(lambda prefix, layers, heads: prefix.view(len(prefix), layers, heads, 2, -1), 1, 2, 3, 0, 4),
    ),
    (
        "A layer's values are cut into heads first, then into keys and values. They stand the other way "
        "round: the keys of all heads, then the values of all heads.",
        _split(lambda prefix, layers, heads: prefix.view(len(prefix), layers, heads, 2, -1), 1, 3, 2, 0, 4),
    ),
    (
        "The shape is right and the values are scrambled: view reads the numbers in their order in memory, "
        "and that begins with the token. Split the last dimension first, then permute.",
        lambda prefix, layers, heads: prefix.view(layers, 2, heads, len(prefix), -1),
    ),
    (
        "Keys and values are swapped: index 0 of the second dimension is the keys.",
        lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).flip(1),
    ),
    (
        "A token's values are taken as all keys, then all values. They stand layer by layer: keys and values "
        "of layer 0, then those of layer 1.",
        _split(lambda prefix, layers, heads: prefix.view(len(prefix), 2, layers, heads, -1), 2, 1, 3, 0, 4),
    ),
    (
        "Within keys or values, the heads stand one after the other: split into [heads, head size], not "
        "[head size, heads].",
        _split(lambda prefix, layers, heads: prefix.view(len(prefix), layers, 2, -1, heads), 1, 2, 4, 0, 3),
    ),
    (
        "The tokens come first here. They stand between heads and head size: permute.",
        lambda prefix, layers, heads: prefix.view(len(prefix), layers, 2, heads, -1),
    ),
]


EXERCISES = [
    Exercise(
        name="start_from_words",
        lesson="07",
        minutes=4,
        difficulty=1,
        reference=start_from_words,
        check=_check_start_from_words,
        wrong=[
            (_start(freeze=False), "base is not frozen"),
            (_freezing(lambda name: "wte" in name), "base is not frozen"),
            (_freezing(lambda name: "wte" not in name), "base is not frozen"),
            (_start(change=lambda prompt: prompt.clone()), "no nn.Parameter"),
            (_start(change=lambda prompt: prompt.clone().requires_grad_()), "no nn.Parameter"),
            (
                _start(change=lambda prompt: nn.Parameter(prompt.clone(), requires_grad=False)),
                "prompt is frozen",
            ),
            (_start(rows=lambda ids, length: ids), "as many vectors as there are words"),
            (
                _start(rows=lambda ids, length: sorted(ids[i % len(ids)] for i in range(length))),
                "before the next one comes",
            ),
            (_start(rows=lambda ids, length: ids * (length // len(ids) + 1)), "should have the shape"),
            (_start(rows=lambda ids, length: (ids * length)[: max(length, len(ids))]), "cut: 2 vectors"),
            (_start(rows=lambda ids, length: (ids * length)[:length][::-1]), "should be rows 3, 4, 8"),
            (
                _start(rows=lambda ids, length: ids[-length:] if len(ids) > length else (ids * 9)[:length]),
                "These are the last words",
            ),
            (_start(change=lambda prompt: nn.Parameter(torch.randn_like(prompt))), "should be rows 3, 4, 8"),
            (_start(change=lambda prompt: nn.Parameter(prompt.double())), "the prompt of torch.float64"),
            (_zeros_behind, "are zeros"),
            (_view, "a view of the table"),
            (_expanded, "share one vector in memory"),
            (_table_in_place, "model was changed"),
            (lambda model, ids, length: None, "Is there a return"),
        ],
        right=[_by_name, _by_looking_up],
        hints=(
            "A word's vector is its row of the embedding table. Take the rows, as a copy, and make the "
            "copy the one thing that has a gradient.",
            "model.requires_grad_(False); table = model.get_input_embeddings().weight is [V, d]; place p "
            "of the prompt gets row ids[p % len(ids)]; nn.Parameter of a clone.",
        ),
    ),
    Exercise(
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
            (
                _positions(lambda mask, length: length + mask.cumsum(1) - 1 - 9 * (1 - mask)),
                "negative position",
            ),
            (
                _positions(lambda mask, length: length + mask.cumsum(1) - 1 + 50 * (1 - mask)),
                "negative position",
            ),
            (_batch(lambda e, m, l, p, *given: (e, m, l, p.float())), "whole numbers"),
            (_text_in_place, "changes its argument embeddings in place"),
            (_batch(lambda *given: None), "Is there a return"),
        ],
        right=[_by_padding, _row_by_row],
        then="The prompts below are trained on the batches that your function makes, and the model answers "
        "behind them: run the cells below again.",
        hints=(
            "Four things have one entry a place, and all four get P more in front. What does an entry of "
            "each say about a prompt token: its vector, that it may be read, that it is not predicted, how "
            "many tokens are read before it.",
            "prompt.expand(B, -1, -1) is [B, P, d]; torch.cat(..., 1) puts it before [B, T, d]. For the "
            "mask P ones (mask.new_ones(B, P)), for the labels P times -100 "
            "(labels.new_full((B, P), -100)). The new mask's running sum (cumsum(1)) counts what is read; "
            "minus 1 it is the position.",
        ),
    ),
    Exercise(
        name="prompt_fault",
        lesson="07",
        minutes=6,
        difficulty=2,
        reference=prompt_fault,
        check=compare(
            prompt_fault,
            [
                _handed_over(kind, length, *lengths)
                for length, lengths in ((3, (5, 2, 4)), (2, (3, 6)))
                for kind in KINDS
            ],
            FAULT_MISTAKES,
            else_="One of the four verdicts is wrong.",
        ),
        wrong=[
            (lambda mask, read, positions, length: "wrong positions", "finds fault with a right batch"),
            (
                lambda mask, read, positions, length: prompt_fault(mask, read, positions, 1),
                "Your code stopped",
            ),
            (lambda mask, read, positions, length: None, "Is there a return"),
            (
                lambda mask, read, positions, length: prompt_fault(mask, read, positions, length) != "right",
                "type",
            ),
        ],
        right=[_by_masked_select, _by_rows],
        then="The cell below asks it about the script.",
        hints=(
            "Three comparisons, each over all rows: the mask at the prompt's places, the mask at the text's "
            "places with the text's own, the positions of the text's real tokens with what they should be.",
            "read[:, :length] is the prompt's part, read[:, length:] the text's. Padding is read where the "
            "second is larger than mask. The text's positions should be length + mask.cumsum(1) - 1 where "
            "mask is 1.",
        ),
    ),
    Exercise(
        name="keys_and_values",
        lesson="07",
        minutes=10,
        difficulty=3,
        reference=keys_and_values,
        check=compare(
            keys_and_values,
            lambda: [_flat(3, 4, 5, 6), _flat(4, 5, 3, 7), _flat(5, 3, 4, 1)],
            KEYS_MISTAKES,
            else_=SHAPE,
            gradient=("prefix",),
        ),
        wrong=[
            (lambda prefix, layers, heads: keys_and_values(prefix, layers, heads) + 1, SHAPE),
            (lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).detach(), "has no graph"),
            (
                lambda prefix, layers, heads: prefix.view(-1, 3, 2, 4, 5).permute(1, 2, 3, 0, 4),
                "The result should have the shape",
            ),
            (
                lambda prefix, layers, heads: keys_and_values(prefix.zero_(), layers, heads),
                "changes its argument prefix in place",
            ),
        ],
        right=[_by_indexing, _tokens_moved],
        then="The prefix below is trained through your function: run the cells below again.",
        hints=(
            "Each token has a row of its own. Cut the row into its parts from the outside in: layers, "
            "keys and values, heads, and what is left. Only then move the tokens to their place.",
            "prefix.view(P, layers, 2, heads, -1), then permute so that dimensions 1, 2, 3 come first, 0 "
            "(the tokens) next, 4 last: [layers, 2, heads, P, head size].",
        ),
    ),
]
