"""Lesson 07, start_from_words: a prompt from words."""

import torch
from torch import nn

from course_utils.checks.compare import unchanged
from course_utils.checks.exercises import Exercise, Mistake, expect_tensor
from course_utils.lessons.lesson_07.small_prompts import start_from_words


class _Toy(nn.Module):
    """The parts of a model that start_from_words needs, with GPT-2's names."""

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


# vocabulary, width, ids, length: repeated and cut; cut; as many as positions; one word
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
            "The prompt has as many vectors as there are words. Repeat the words until the length is reached."
        )
    if prompt.shape == (len(ids), width) and len(ids) > length:
        raise Mistake(f"With more words than positions, cut: {length} vectors, not {len(prompt)}.")
    expect_tensor(prompt, (length, width), "the prompt")
    if not isinstance(prompt, nn.Parameter):
        raise Mistake(
            "The prompt is not an nn.Parameter. As part of a module it would be neither trained nor saved."
        )
    if not prompt.requires_grad:
        raise Mistake("The prompt is frozen. It is the only thing to train.")
    if any(parameter.requires_grad for parameter in model.parameters()):
        raise Mistake(
            "The base is not frozen: its weights would be trained with the prompt, which is full fine-tuning "
            "plus a prompt."
        )
    if prompt.dtype != table.dtype:
        raise Mistake(
            f"The table is of {table.dtype}, but the prompt of {prompt.dtype}: they are concatenated below."
        )
    if 0 in prompt.stride():
        raise Mistake(
            "The positions share one vector in memory (expand): training changes all of them at once. Copy "
            "it (repeat, or clone)."
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
            raise Mistake(f"You repeat each word before the next one. Repeat the whole text: {right}.")
        if (prompt[len(ids) :] == 0).all():
            raise Mistake("The positions after the words are zeros. Repeat the words.")
    if len(ids) > len(right) and torch.equal(prompt, table[ids[-len(right) :]]):
        raise Mistake(f"These are the last words. Keep the first {len(right)}, and cut after them.")
    raise Mistake(
        f"With words {', '.join(map(str, ids))} and length {len(right)} the prompt should be rows "
        f"{', '.join(map(str, right))} of the table."
    )


def _start(change=lambda prompt: nn.Parameter(prompt.clone()), freeze=True, rows=None):
    """A wrong start_from_words: other rows of the table, or another use of them."""

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
    """A wrong start_from_words: it freezes only the parameters whose name is chosen."""

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


EXERCISE = Exercise(
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
        (_start(change=lambda prompt: prompt.clone()), "not an nn.Parameter"),
        (_start(change=lambda prompt: prompt.clone().requires_grad_()), "not an nn.Parameter"),
        (_start(change=lambda prompt: nn.Parameter(prompt.clone(), requires_grad=False)), "prompt is frozen"),
        (_start(rows=lambda ids, length: ids), "as many vectors as there are words"),
        (
            _start(rows=lambda ids, length: sorted(ids[i % len(ids)] for i in range(length))),
            "before the next one",
        ),
        (_start(rows=lambda ids, length: ids * (length // len(ids) + 1)), "should have the shape"),
        (_start(rows=lambda ids, length: (ids * length)[: max(length, len(ids))]), "cut: 2 vectors"),
        (_start(rows=lambda ids, length: (ids * length)[:length][::-1]), "should be rows 3, 4, 8"),
        (
            _start(rows=lambda ids, length: ids[-length:] if len(ids) > length else (ids * 9)[:length]),
            "These are the last words",
        ),
        (_start(change=lambda prompt: nn.Parameter(torch.randn_like(prompt))), "should be rows 3, 4, 8"),
        (_start(change=lambda prompt: nn.Parameter(prompt.double())), "but the prompt of torch.float64"),
        (_zeros_behind, "are zeros"),
        (_view, "a view of the table"),
        (_expanded, "share one vector in memory"),
        (_table_in_place, "model was changed"),
        (lambda model, ids, length: None, "Is there a return"),
    ],
    right=[_by_name, _by_looking_up],
    hints=(
        "A word's vector is its row of the embedding table. Take the rows, as a copy, and make the copy the "
        "only thing with a gradient.",
        "model.requires_grad_(False); table = model.get_input_embeddings().weight is [V, d]; position p of "
        "the prompt gets row ids[p % len(ids)]; nn.Parameter of a clone.",
    ),
)
