"""Exercises of lesson 07: a prompt before a batch, its start, positions, nearest words, a prefix's layout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.checks.compare import call, compare, unchanged
from course_utils.checks.exercises import Exercise, Mistake, expect_tensor
from course_utils.methods.prompt_tuning import keys_and_values, nearest_words


def with_prompt(prompt, embeddings, mask, labels):
    """A batch behind a prompt [P, d]: embeddings [B, P + T, d], mask and labels [B, P + T]."""
    rows, length = len(embeddings), len(prompt)
    embeddings = torch.cat([prompt.expand(rows, -1, -1), embeddings], 1)
    mask = torch.cat([mask.new_ones(rows, length), mask], 1)
    labels = torch.cat([labels.new_full((rows, length), -100), labels], 1)
    return embeddings, mask, labels


def _right_padded(length, width, *lengths):
    """A prompt [length, width] and a batch of texts of these lengths, token 0 among the labels."""
    rows, tokens = len(lengths), max(lengths)
    mask = (torch.arange(tokens) < torch.tensor(lengths)[:, None]).long()
    labels = torch.randint(0, 5, (rows, tokens)).masked_fill(mask == 0, -100)
    labels[:, 0] = -100
    return torch.randn(length, width), torch.randn(rows, tokens, width), mask, labels


def _batch(fault):
    """A wrong with_prompt: fault(embeddings, mask, labels as they should be, and all arguments)."""

    def wrong(prompt, embeddings, mask, labels):
        return fault(*with_prompt(prompt, embeddings, mask, labels), prompt, embeddings, mask, labels)

    return wrong


def _appended(prompt, text):
    return torch.cat([text, prompt.expand(len(text), -1, -1)], 1)


def _text_in_place(prompt, embeddings, mask, labels):
    right = with_prompt(prompt, embeddings, mask, labels)
    embeddings.zero_()
    return right


def _by_padding(prompt, embeddings, mask, labels):
    length = len(prompt)
    front = prompt[None].repeat(len(embeddings), 1, 1)
    return [
        torch.cat((front, embeddings), dim=1),
        F.pad(mask, (length, 0), value=1),
        F.pad(labels, (length, 0), value=-100),
    ]


def _row_by_row(prompt, embeddings, mask, labels):
    ones = torch.ones(len(prompt), dtype=torch.long)
    return (
        torch.stack([torch.cat([prompt, text]) for text in embeddings]),
        torch.stack([torch.cat([ones, row]) for row in mask]),
        torch.stack([torch.cat([-100 * ones, row]) for row in labels]),
    )


APPENDED = (
    "The prompt is appended, not prepended. A causal model reads from left to right: what stands behind the "
    "text can steer nothing in it."
)
NO_GRADIENT = "No gradient can reach the prompt: it was detached or copied on the way."
NO_LABEL = "The prompt's places have a label. They are not to be predicted: -100, the label without loss."
AS_LONG = (
    "The embeddings are as long as before: the prompt takes places of its own, it is not added to the text's "
    "vectors."
)
PROMPT_MISTAKES = [
    (AS_LONG, _batch(lambda e, m, l, prompt, text, mask, labels: (text + prompt.mean(0), m, l))),
    (AS_LONG, _batch(lambda e, m, l, prompt, text, mask, labels: (text + prompt.mean(0), mask, labels))),
    (AS_LONG, _batch(lambda e, m, l, prompt, text, mask, labels: (e[:, : text.shape[1]], mask, labels))),
    (APPENDED, _batch(lambda e, m, l, prompt, text, mask, labels: (_appended(prompt, text), m, l))),
    (
        APPENDED,
        _batch(
            lambda e, m, l, prompt, text, mask, labels: (
                _appended(prompt, text),
                F.pad(mask, (0, len(prompt)), value=1),
                F.pad(labels, (0, len(prompt)), value=-100),
            )
        ),
    ),
    (NO_GRADIENT, _batch(lambda e, m, l, *given: (e.detach(), m, l))),
    (
        "The attention mask is not extended: the model needs a 1 for each of the P tokens of the prompt, in "
        "front.",
        _batch(lambda e, m, l, prompt, text, mask, labels: (e, mask, l)),
    ),
    (
        "The mask is 0 at the prompt: then nothing attends to it, and it has no effect.",
        _batch(lambda e, m, l, prompt, text, mask, labels: (e, F.pad(mask, (len(prompt), 0)), l)),
    ),
    (
        "The mask is extended at the end: the prompt stands in front, so its ones do too. As it is, the "
        "first tokens of padding are read.",
        _batch(lambda e, m, l, prompt, text, mask, labels: (e, F.pad(mask, (0, len(prompt)), value=1), l)),
    ),
    (
        "The mask is 1 everywhere: padding is read as text.",
        _batch(lambda e, m, l, *given: (e, torch.ones_like(m), l)),
    ),
    (
        "The labels are not extended. They must be as long as the input: position t of the labels belongs to "
        "position t of the embeddings.",
        _batch(lambda e, m, l, prompt, text, mask, labels: (e, m, labels)),
    ),
    (
        "The labels are extended at the end. Every label has to move P places to the right, with its token.",
        _batch(
            lambda e, m, l, prompt, text, mask, labels: (e, m, F.pad(labels, (0, len(prompt)), value=-100))
        ),
    ),
    (NO_LABEL, _batch(lambda e, m, l, prompt, text, mask, labels: (e, m, F.pad(labels, (len(prompt), 0))))),
    (
        NO_LABEL,
        _batch(lambda e, m, l, prompt, text, mask, labels: (e, m, F.pad(labels, (len(prompt), 0), value=1))),
    ),
    ("Return three tensors: embeddings, mask and labels.", _batch(lambda e, m, l, *given: (e, m))),
    ("Return three tensors: embeddings, mask and labels.", _batch(lambda e, m, l, *given: e)),
]


def start_from_words(model, ids, length):
    """Freeze the model; a trainable prompt [length, d] of these tokens' embeddings, repeated and cut."""
    model.requires_grad_(False)
    table = model.get_input_embeddings().weight  # (V, d)
    repeated = [ids[place % len(ids)] for place in range(length)]
    return nn.Parameter(table[repeated].clone())


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


def prompted_positions(mask, length):
    """Position ids [B, length + T] of a prompt and a left-padded text, mask [B, T]."""
    text = length + (mask.cumsum(1) - 1).clamp(min=0)
    return torch.cat([torch.arange(length).expand(len(mask), -1), text], 1)


def _left_padded(*lengths):
    places = torch.arange(max(lengths))
    return (places >= max(lengths) - torch.tensor(lengths)[:, None]).long()


def _check_positions(fn):
    for mask, length in [(_left_padded(3, 5), 3), (_left_padded(6, 1, 4, 6), 7), (_left_padded(2, 1, 4), 1)]:
        with unchanged(mask=mask):
            positions = fn(mask, length)
        _expect_positions(positions, mask, length)


def _expect_positions(positions, mask, length):
    expect_tensor(positions, None, "the positions")
    rows, tokens = mask.shape
    if positions.shape == mask.shape:
        raise Mistake("The prompt has no positions: there should be P + T a row.")
    expect_tensor(positions, (rows, length + tokens), "the positions")
    if positions.is_floating_point():
        raise Mistake("Positions are whole numbers: they are looked up in a table.")
    prompt, text = positions.split([length, tokens], 1)
    right = length + mask.cumsum(1) - 1
    if torch.equal(positions[:, -length:], torch.arange(length).expand(rows, -1)):
        raise Mistake("The prompt stands behind the text. It comes first, at positions 0 to P - 1.")
    if not torch.equal(prompt, torch.arange(length).expand(rows, -1)):
        raise Mistake("The prompt's own positions are 0 to P - 1 in every row: it is never padded.")
    if (positions < 0).any() or (positions >= length + tokens).any():
        _expect_no_known_fault(text, right, mask, length)
        raise Mistake(
            "There are negative positions, or some as large as P + T, and no row of the position table has "
            "such a number. What padding gets does not matter, but it has to be a position that there is."
        )
    _expect_no_known_fault(text, right, mask, length)
    wrong = ((text != right) & (mask == 1)).nonzero()
    if len(wrong):
        row = int(wrong[0, 0])
        raise Mistake(
            f"Behind a prompt of {length} the real tokens should have positions {length}, {length + 1}, "
            f"{length + 2} and so on. With the mask {mask[row].tolist()} yours are {positions[row].tolist()}."
        )


def _expect_no_known_fault(text, right, mask, length):
    real = mask == 1
    places = torch.arange(mask.shape[1]).expand_as(mask)
    for message, wrong in (
        (
            "The text begins at position 0, where the prompt is already: two tokens at one position. It "
            "begins at P.",
            right - length,
        ),
        (
            "The text begins at position 0, where the prompt is already: two tokens at one position. It "
            "begins at P.",
            places,
        ),
        ("One too far: the first token behind P prompt tokens has position P.", right + 1),
        (
            "Padding is counted. A text's first real token should have position P whether there is padding "
            "before it or not.",
            length + places,
        ),
    ):
        if torch.equal(text[real], wrong[real]) and not torch.equal(text[real], right[real]):
            raise Mistake(message)


def _positions(text):
    """A prompted_positions of another text: text(mask, length) -> [B, T]."""
    return lambda mask, length: torch.cat([torch.arange(length).expand(len(mask), -1), text(mask, length)], 1)


def _positions_in_place(mask, length):
    right = prompted_positions(mask, length)
    mask.cumsum_(1)
    return right


def _one_by_one(mask, length):
    rows = []
    for row in mask.tolist():
        padding = row.count(0)
        rows.append([*range(length), *[0] * padding, *range(length, length + len(row) - padding)])
    return torch.tensor(rows)


def _words(count, width, prompts):
    """A prompt [prompts, width] and a table [count, width] of many lengths; no two cosines nearly equal."""
    while True:
        table = torch.randn(count, width) * torch.linspace(0.3, 3, count)[:, None]
        prompt = torch.randn(prompts, width) * torch.linspace(0.5, 2, prompts)[:, None]
        cosines = (_unit(prompt) @ _unit(table).T).sort(-1).values
        if cosines.diff(dim=-1).min() > 1e-3:
            return prompt, table


def _unit(x, dim=-1):
    return F.normalize(x, dim=dim)


def _by_sorting(prompt, table, k=1):
    lengths = prompt.norm(dim=1)[:, None] * table.norm(dim=1)
    order = (prompt @ table.T / lengths).argsort(dim=1, descending=True)[:, :k]
    return (prompt @ table.T / lengths).gather(1, order), order


def _by_broadcasting(prompt, table, k=1):
    cosines = F.cosine_similarity(prompt[:, None], table[None], dim=-1)
    return cosines.topk(k, dim=-1)


def _normalised_in_place(prompt, table, k=1):
    prompt /= prompt.norm(dim=-1, keepdim=True)
    return (prompt @ _unit(table).T).topk(k)


HALF_COSINE = (
    "The ids are right, the similarities are not: a cosine is divided by the length of the prompt's vector "
    "and by that of the word's."
)
NEAREST_MISTAKES = [
    (
        "These are dot products: a long vector wins over one that points the right way. Divide by both "
        "lengths.",
        lambda prompt, table, k=1: (prompt @ table.T).topk(k),
    ),
    (
        "These are dot products with a unit vector of the prompt: a long word wins over one that points the "
        "right way. Divide by the word's length too.",
        lambda prompt, table, k=1: (_unit(prompt) @ table.T).topk(k),
    ),
    (
        "These are the words farthest away. The larger the cosine, the nearer.",
        lambda prompt, table, k=1: (_unit(prompt) @ _unit(table).T).topk(k, largest=False),
    ),
    (HALF_COSINE, lambda prompt, table, k=1: (prompt @ _unit(table).T).topk(k)),
    (
        "Swapped: the similarities come first, then the ids.",
        lambda prompt, table, k=1: nearest_words(prompt, table, k)[::-1],
    ),
    (
        "These are the nearest by distance. Rows differ much in length; compare directions.",
        lambda prompt, table, k=1: torch.cdist(prompt, table).topk(k, largest=False),
    ),
    (
        "Not the words of the largest cosine. Mind the dimension: each vector is divided by its own length, "
        "along the last dimension.",
        lambda prompt, table, k=1: (_unit(prompt, 0) @ _unit(table, 0).T).topk(k),
    ),
    (
        "k is an argument: give the k nearest words, not the nearest alone.",
        lambda prompt, table, k=1: nearest_words(prompt, table, 1),
    ),
    (
        "Return two tensors: similarities [P, k] and token ids [P, k].",
        lambda prompt, table, k=1: nearest_words(prompt, table, k)[1],
    ),
    (
        "Return two tensors: similarities [P, k] and token ids [P, k].",
        lambda prompt, table, k=1: nearest_words(prompt, table, k)[0],
    ),
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
        name="with_prompt",
        lesson="07",
        minutes=10,
        difficulty=2,
        reference=with_prompt,
        check=compare(
            with_prompt,
            lambda: [_right_padded(2, 5, 4, 3, 2), _right_padded(5, 3, 3, 6)],
            PROMPT_MISTAKES,
            else_="The prompt stands in front: its vectors, P ones in the mask, P times -100 in the labels.",
            gradient=("prompt",),
        ),
        wrong=[
            (
                lambda prompt, text, mask, labels: (torch.cat([prompt, text], 1), mask, labels),
                "Your code stopped",
            ),
            (lambda prompt, *rest: with_prompt(prompt.detach().clone(), *rest), "No gradient can reach"),
            (_batch(lambda e, m, l, *given: (torch.zeros_like(e), m, l)), "stands in front"),
            (_text_in_place, "changes its argument embeddings in place"),
            (_batch(lambda *given: None), "Is there a return"),
        ],
        right=[_by_padding, _row_by_row],
        hints=(
            "Three things have one entry a position, and all three get P more in front. What does an "
            "entry of each say about a prompt token: its vector, that it may be read, that it is not "
            "predicted.",
            "prompt.expand(B, -1, -1) is [B, P, d]; torch.cat(..., 1) puts it before [B, T, d]. For the "
            "mask P ones (mask.new_ones(B, P)), for the labels P times -100 "
            "(labels.new_full((B, P), -100)).",
        ),
    ),
    Exercise(
        name="start_from_words",
        lesson="07",
        minutes=8,
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
            (_zeros_behind, "are zeros"),
            (_view, "a view of the table"),
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
        name="prompted_positions",
        lesson="07",
        minutes=8,
        difficulty=2,
        reference=prompted_positions,
        check=_check_positions,
        wrong=[
            (
                lambda mask, length: torch.arange(length + mask.shape[1]).expand(len(mask), -1),
                "Padding is counted",
            ),
            (_positions(lambda mask, length: (mask.cumsum(1) - 1).clamp(min=0)), "begins at position 0"),
            (
                _positions(lambda mask, length: torch.arange(mask.shape[1]).expand_as(mask)),
                "begins at position 0",
            ),
            (_positions(lambda mask, length: length + mask.cumsum(1)), "One too far"),
            (
                lambda mask, length: prompted_positions(mask, length).roll(-length, 1),
                "stands behind the text",
            ),
            (lambda mask, length: length + (mask.cumsum(1) - 1).clamp(min=0), "The prompt has no positions"),
            (lambda mask, length: F.pad(mask, (length, 0)).cumsum(1) - 1, "The prompt's own positions"),
            (
                lambda mask, length: prompted_positions(mask, length) - 8 * F.pad(1 - mask, (length, 0)),
                "negative positions",
            ),
            (
                lambda mask, length: prompted_positions(mask, length) + 50 * F.pad(1 - mask, (length, 0)),
                "as large as P + T",
            ),
            (lambda mask, length: prompted_positions(mask, length).float(), "whole numbers"),
            (_positions(lambda mask, length: 3 + (mask.cumsum(1) - 1).clamp(min=0)), "Behind a prompt of 7"),
            (
                lambda mask, length: prompted_positions(mask, length)[:1].expand(len(mask), -1),
                "Behind a prompt of 3",
            ),
            (_positions_in_place, "mask was changed"),
        ],
        right=[
            lambda mask, length: (F.pad(mask, (length, 0), value=1).cumsum(1) - 1).masked_fill(
                F.pad(mask, (length, 0), value=1) == 0, 1
            ),
            lambda mask, length: F.pad(mask, (length, 0), value=1).cumsum(1) - 1,
            _one_by_one,
        ],
        hints=(
            "Count real tokens, not places: a running sum of the mask says of each token how many real "
            "ones there are up to it. The prompt's P come before all of them.",
            "torch.arange(P) for the prompt, [B, P] by expand. For the text P + (mask.cumsum(1) - 1), "
            "where padding, which has nothing before it, is set to something that is not negative "
            "(clamp).",
        ),
    ),
    Exercise(
        name="nearest_words",
        lesson="07",
        minutes=8,
        difficulty=2,
        reference=nearest_words,
        check=compare(
            nearest_words,
            lambda: [(*_words(8, 3, 3), 2), (*_words(12, 5, 4), 3), call(*_words(6, 4, 2))],
            NEAREST_MISTAKES,
            else_="The k largest cosines of each row of the prompt, with the ids of their words.",
        ),
        wrong=[
            (lambda prompt, table, k=1: nearest_words(table, prompt, k), "should have the shape"),
            (
                lambda prompt, table, k=1: tuple(x.flip(1) for x in nearest_words(prompt, table, k)),
                "The k largest cosines",
            ),
            (_normalised_in_place, "changes its argument prompt in place"),
            (
                lambda prompt, table, k=1: tuple(
                    torch.zeros_like(x) for x in nearest_words(prompt, table, k)
                ),
                "The k largest cosines",
            ),
            (lambda prompt, table, k=1: None, "Is there a return"),
        ],
        right=[_by_sorting, _by_broadcasting],
        hints=(
            "The cosine of two vectors is the dot product of the two, each divided by its length. All "
            "pairs at once are one matrix product.",
            "F.normalize(x, dim=-1) divides each row by its length: [P, d] and [V, d]. Their product "
            "with the second transposed is [P, V]; topk(k) gives the values and the indices.",
        ),
    ),
    Exercise(
        name="keys_and_values",
        lesson="07",
        minutes=12,
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
        hints=(
            "Each token has a row of its own. Cut the row into its parts from the outside in: layers, "
            "keys and values, heads, and what is left. Only then move the tokens to their place.",
            "prefix.view(P, layers, 2, heads, -1), then permute so that dimensions 1, 2, 3 come first, 0 "
            "(the tokens) next, 4 last: [layers, 2, heads, P, head size].",
        ),
    ),
]
