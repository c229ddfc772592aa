"""Exercises of lesson 07: a prompt before a batch, its start, positions, nearest words, a prefix's layout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.checks.exercises import Exercise, Mistake, close, expect_tensor
from course_utils.methods.prompt_tuning import keys_and_values, nearest_words


def with_prompt(prompt, embeddings, mask, labels):
    """A batch behind a prompt [P, d]: embeddings [B, P + T, d], mask and labels [B, P + T]."""
    rows, length = len(embeddings), len(prompt)
    embeddings = torch.cat([prompt.expand(rows, -1, -1), embeddings], 1)
    mask = torch.cat([mask.new_ones(rows, length), mask], 1)
    labels = torch.cat([labels.new_full((rows, length), -100), labels], 1)
    return embeddings, mask, labels


def _check_with_prompt(fn):
    rows, tokens, width, length = 3, 4, 5, 2
    prompt, text = torch.randn(length, width, requires_grad=True), torch.randn(rows, tokens, width)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
    labels = torch.tensor([[-100, 7, 8, 9], [-100, 5, 6, -100], [-100, 4, -100, -100]])
    result = fn(prompt, text, mask, labels)
    if not isinstance(result, tuple | list) or len(result) != 3:
        raise Mistake("Return three tensors: embeddings, mask and labels.")
    for value in result:
        expect_tensor(value)
    embeddings, new_mask, new_labels = result
    both = (rows, length + tokens)
    if embeddings.shape == (rows, tokens, width):
        raise Mistake(
            "The embeddings are as long as before: the prompt takes places of its own, it is not "
            "added to the text's vectors."
        )
    expect_tensor(embeddings, (*both, width), "the embeddings")
    each = prompt.expand(rows, -1, -1)
    if close(embeddings, torch.cat([text, each], 1)):
        raise Mistake(
            "The prompt is appended, not prepended. A causal model reads from left to right: what "
            "stands behind the text can steer nothing in it."
        )
    if not close(embeddings, torch.cat([each, text], 1)):
        raise Mistake("The first P embeddings of every row should be the prompt, the rest the row's text.")
    if not embeddings.requires_grad:
        raise Mistake("No gradient can reach the prompt: it was detached or copied on the way.")
    if new_mask.shape == mask.shape:
        raise Mistake(
            "The attention mask is not extended: the model needs a 1 for each of the P tokens "
            "of the prompt, in front."
        )
    expect_tensor(new_mask, both, "the mask")
    if torch.equal(new_mask, torch.cat([torch.zeros(rows, length, dtype=mask.dtype), mask], 1)):
        raise Mistake("The mask is 0 at the prompt: then nothing attends to it, and it has no effect.")
    if torch.equal(new_mask, torch.cat([mask, torch.ones(rows, length, dtype=mask.dtype)], 1)):
        raise Mistake(
            "The mask is extended at the end: the prompt stands in front, so its ones do too. As "
            "it is, the first tokens of padding are read."
        )
    if not torch.equal(new_mask, torch.cat([torch.ones(rows, length, dtype=mask.dtype), mask], 1)):
        raise Mistake("The mask should be P ones, then the old mask, in every row.")
    if new_labels.shape == labels.shape:
        raise Mistake(
            "The labels are not extended. They must be as long as the input: position t of the "
            "labels belongs to position t of the embeddings."
        )
    expect_tensor(new_labels, both, "the labels")
    front = new_labels[:, :length]
    if torch.equal(new_labels[:, :tokens], labels):
        raise Mistake(
            "The labels are extended at the end. Every label has to move P places to the right, "
            "with its token."
        )
    if (front != -100).any():
        raise Mistake(
            f"The prompt's places have the label {int(front[front != -100][0])}. They are not to "
            "be predicted: -100, the label without loss."
        )
    if not torch.equal(new_labels[:, length:], labels):
        raise Mistake("Behind the prompt the labels should be the old ones.")


def start_from_words(model, ids, length):
    """Freeze the model; a trainable prompt [length, d] of these tokens' embeddings, repeated and cut."""
    model.requires_grad_(False)
    table = model.get_input_embeddings().weight  # (V, d)
    repeated = [ids[place % len(ids)] for place in range(length)]
    return nn.Parameter(table[repeated].clone())


class _Toy(nn.Module):
    """An embedding and a head: all that start_from_words needs of a model."""

    def __init__(self, vocabulary=9, width=4):
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.head = nn.Linear(width, vocabulary)

    def get_input_embeddings(self):
        return self.table


def _check_start_from_words(fn):
    model, ids = _Toy(), [3, 4, 8]
    table = model.table.weight.detach().clone()
    prompt = expect_tensor(fn(model, ids, 5), None, "the prompt")
    if prompt.shape == (3, 4):
        raise Mistake(
            "The prompt has as many vectors as there are words. Begin the words again until the "
            "length is reached."
        )
    expect_tensor(prompt, (5, 4), "the prompt")
    if not isinstance(prompt, nn.Parameter):
        raise Mistake(
            "The prompt is no nn.Parameter. As part of a module it would not be among what is "
            "trained and saved."
        )
    if not prompt.requires_grad:
        raise Mistake("The prompt is frozen. It is the one thing that is trained.")
    if any(parameter.requires_grad for parameter in model.parameters()):
        raise Mistake(
            "The base is not frozen: its weights would be trained along with the prompt, and this "
            "would be full fine-tuning with a prompt on top."
        )
    if torch.equal(prompt.detach(), table[[3, 3, 4, 4, 8]]):
        raise Mistake("Each word stands twice in a row. Repeat the whole text: 3, 4, 8, 3, 4.")
    if (prompt.detach()[3:] == 0).all():
        raise Mistake("The places behind the words are zeros. Begin the words again.")
    if not torch.equal(prompt.detach(), table[[3, 4, 8, 3, 4]]):
        raise Mistake("With words 3, 4, 8 and length 5 the prompt should be rows 3, 4, 8, 3, 4 of the table.")
    longer = expect_tensor(fn(_Toy(), [3, 4, 8], 2), None, "the prompt")
    if longer.shape != (2, 4):
        raise Mistake(f"With more words than places, cut: 2 vectors, not {len(longer)}.")
    model = _Toy()
    prompt = fn(model, [0, 1, 2], 3)
    before = model.table.weight.detach().clone()
    prompt.data += 1
    if not torch.equal(model.table.weight, before):
        raise Mistake(
            "The prompt is a view of the table: training it changes the model's embeddings. Copy "
            "the rows (clone)."
        )


def prompted_positions(mask, length):
    """Position ids [B, length + T] of a prompt and a left-padded text, mask [B, T]."""
    text = length + (mask.cumsum(1) - 1).clamp(min=0)
    return torch.cat([torch.arange(length).expand(len(mask), -1), text], 1)


def _check_positions(fn):
    mask, length = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]), 3
    positions = expect_tensor(fn(mask, length))
    if positions.shape == mask.shape:
        raise Mistake("The prompt has no positions: there should be P + T a row.")
    expect_tensor(positions, (2, length + 5))
    text = positions[:, length:]
    if torch.equal(positions[:, -length:], torch.arange(length).expand(2, -1)):
        raise Mistake("The prompt stands behind the text. It comes first, at positions 0 to P - 1.")
    if not torch.equal(positions[:, :length], torch.arange(length).expand(2, -1)):
        raise Mistake("The prompt's own positions are 0 to P - 1 in every row: it is never padded.")
    if (positions < 0).any():
        raise Mistake(
            "There are negative positions, and no row of the position table has such a number. "
            "What padding gets does not matter, but it has to be a position that there is."
        )
    if text[1].tolist() == [0, 1, 2, 3, 4]:
        raise Mistake(
            "The text begins at position 0, where the prompt is already: two tokens at one "
            "position. It begins at P."
        )
    if text[1].tolist() == [4, 5, 6, 7, 8]:
        raise Mistake("One too far: the first token behind P prompt tokens has position P.")
    if text[0, 2:].tolist() == [5, 6, 7]:
        raise Mistake(
            "Padding is counted. A text's first real token should have position P whether there is "
            "padding before it or not."
        )
    if text[0, 2:].tolist() != [3, 4, 5] or text[1].tolist() != [3, 4, 5, 6, 7]:
        raise Mistake("Behind a prompt of 3 the real tokens should have positions 3, 4, 5 and so on.")


def _check_nearest(fn):
    table = torch.randn(8, 3) * torch.linspace(0.3, 3, 8)[:, None]  # rows of many lengths
    prompt = torch.randn(3, 3)
    similarity, order = nearest_words(prompt, table, 8)
    result = fn(prompt, table, 2)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Mistake("Return two tensors: similarities [P, k] and token ids [P, k].")
    values, ids = (expect_tensor(value) for value in result)
    if torch.is_floating_point(ids) and not torch.is_floating_point(values):
        raise Mistake("Swapped: the similarities come first, then the ids.")
    expect_tensor(ids, (3, 2), "the ids")
    expect_tensor(values, (3, 2), "the similarities")
    if ids.tolist() == order.flip(1)[:, :2].tolist():
        raise Mistake("These are the words farthest away. The larger the cosine, the nearer.")
    if ids.tolist() == (prompt @ table.T).topk(2).indices.tolist():
        raise Mistake(
            "These are dot products: a long vector wins over one that points the right way. Divide "
            "by both lengths."
        )
    if ids.tolist() == torch.cdist(prompt, table).topk(2, largest=False).indices.tolist():
        raise Mistake("These are the nearest by distance. Rows differ much in length; compare directions.")
    if ids.tolist() != order[:, :2].tolist():
        raise Mistake(
            "Not the words of the largest cosine. Mind the dimension: each vector is divided by "
            "its own length, along the last dimension."
        )
    if not close(values, similarity[:, :2]):
        raise Mistake(
            "The ids are right, the similarities are not: a cosine is divided by the length of the "
            "prompt's vector and by that of the word's."
        )


def _check_keys_and_values(fn):
    layers, heads, size, length = 3, 2, 4, 5
    flat = torch.arange(float(length * layers * 2 * heads * size)).view(length, -1)
    right = keys_and_values(flat, layers, heads)
    result = expect_tensor(fn(flat.clone(), layers, heads))
    if result.shape == (layers, 2, length, heads, size):
        raise Mistake(
            "Heads and tokens have to change places: attention works on [heads, tokens, head size]."
        )
    if result.shape == (2, layers, heads, length, size):
        raise Mistake("The layers come first, then keys and values.")
    expect_tensor(result, (layers, 2, heads, length, size))
    if close(result, flat.view(layers, 2, heads, length, size)):
        raise Mistake(
            "The shape is right and the values are scrambled: view reads the numbers in their "
            "order in memory, and that begins with the token. Split the last dimension first, then "
            "permute."
        )
    if close(result, right.flip(1)):
        raise Mistake("Keys and values are swapped: index 0 of the second dimension is the keys.")
    if close(result, flat.view(length, 2, layers, heads, size).permute(2, 1, 3, 0, 4)):
        raise Mistake(
            "A token's values are taken as all keys, then all values. They stand layer by layer: "
            "keys and values of layer 0, then those of layer 1."
        )
    if close(result, flat.view(length, layers, 2, size, heads).permute(1, 2, 4, 0, 3)):
        raise Mistake(
            "Within keys or values, the heads stand one after the other: split into [heads, head "
            "size], not [head size, heads]."
        )
    if not close(result, right):
        raise Mistake(
            "The shape is right and the values are not. Split a token's values into layers, 2, "
            "heads, head size, in that order."
        )


def _batch(fault):
    """A wrong with_prompt: fault(embeddings, mask, labels as they should be, and all arguments)."""

    def wrong(prompt, embeddings, mask, labels):
        return fault(*with_prompt(prompt, embeddings, mask, labels), prompt, embeddings, mask, labels)

    return wrong


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


def _split(view, *order):
    """A wrong keys_and_values: another view, then permuted to the right shape."""
    return lambda prefix, layers, heads: view(prefix, layers, heads).permute(*order)


def _unit(x, dim=-1):
    return F.normalize(x, dim=dim)


EXERCISES = [
    Exercise(
        name="with_prompt",
        lesson="07",
        minutes=10,
        difficulty=2,
        reference=with_prompt,
        check=_check_with_prompt,
        wrong=[
            (_batch(lambda e, m, l, prompt, text, mask, labels: (e, m, labels)), "labels are not extended"),
            (_batch(lambda e, m, l, prompt, text, mask, labels: (e, mask, l)), "mask is not extended"),
            (
                _batch(
                    lambda e, m, l, prompt, text, mask, labels: (
                        torch.cat([text, prompt.expand(3, -1, -1)], 1),
                        m,
                        l,
                    )
                ),
                "appended, not prepended",
            ),
            (_batch(lambda e, m, l, prompt, text, mask, labels: (e.detach(), m, l)), "No gradient can reach"),
            (
                _batch(lambda e, m, l, prompt, text, mask, labels: (e, F.pad(mask, (2, 0)), l)),
                "0 at the prompt",
            ),
            (
                _batch(lambda e, m, l, prompt, text, mask, labels: (e, F.pad(mask, (0, 2), value=1), l)),
                "extended at the end: the prompt",
            ),
            (
                _batch(lambda e, m, l, prompt, text, mask, labels: (e, m, F.pad(labels, (0, 2), value=-100))),
                "Every label has to move",
            ),
            (
                _batch(lambda e, m, l, prompt, text, mask, labels: (e, m, F.pad(labels, (2, 0)))),
                "the label 0",
            ),
            (
                _batch(lambda e, m, l, prompt, text, mask, labels: (text + prompt.mean(0), m, l)),
                "not added to the text's",
            ),
            (_batch(lambda e, m, l, prompt, text, mask, labels: (e, m)), "Return three tensors"),
            (
                lambda prompt, text, mask, labels: (torch.cat([prompt, text], 1), mask, labels),
                "Your code stopped",
            ),
        ],
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
            (_start(change=lambda prompt: prompt.clone()), "no nn.Parameter"),
            (
                _start(change=lambda prompt: nn.Parameter(prompt.clone(), requires_grad=False)),
                "prompt is frozen",
            ),
            (_start(rows=lambda ids, length: ids), "as many vectors as there are words"),
            (
                _start(rows=lambda ids, length: sorted(ids[i % len(ids)] for i in range(length))),
                "twice in a row",
            ),
            (_start(rows=lambda ids, length: (ids * length)[: max(length, len(ids))]), "cut: 2 vectors"),
            (_start(change=lambda prompt: nn.Parameter(torch.randn_like(prompt))), "should be rows 3, 4, 8"),
            (_zeros_behind, "are zeros"),
            (_view, "a view of the table"),
        ],
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
            (lambda mask, length: torch.arange(length + 5).expand(2, -1), "Padding is counted"),
            (
                lambda mask, length: torch.cat(
                    [torch.arange(length).expand(2, -1), (mask.cumsum(1) - 1).clamp(min=0)], 1
                ),
                "begins at position 0",
            ),
            (
                lambda mask, length: torch.cat(
                    [torch.arange(length).expand(2, -1), length + mask.cumsum(1)], 1
                ),
                "One too far",
            ),
            (
                lambda mask, length: torch.cat(
                    [(mask.cumsum(1) - 1).clamp(min=0) + length, torch.arange(length).expand(2, -1)], 1
                ),
                "stands behind the text",
            ),
            (lambda mask, length: length + (mask.cumsum(1) - 1).clamp(min=0), "The prompt has no positions"),
            (lambda mask, length: F.pad(mask, (length, 0)).cumsum(1) - 1, "The prompt's own positions"),
            (
                lambda mask, length: prompted_positions(mask, length) - 8 * F.pad(1 - mask, (length, 0)),
                "negative positions",
            ),
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
        check=_check_nearest,
        wrong=[
            (lambda prompt, table, k: (prompt @ table.T).topk(k), "dot products"),
            (
                lambda prompt, table, k: (_unit(prompt) @ _unit(table).T).topk(k, largest=False),
                "farthest away",
            ),
            (lambda prompt, table, k: (prompt @ _unit(table).T).topk(k), "the similarities are not"),
            (lambda prompt, table, k: nearest_words(prompt, table, k)[::-1], "Swapped"),
            (lambda prompt, table, k: torch.cdist(prompt, table).topk(k, largest=False), "by distance"),
            (lambda prompt, table, k: (_unit(prompt, 0) @ _unit(table, 0).T).topk(k), "Not the words"),
            (lambda prompt, table, k: nearest_words(prompt, table, k)[1], "Return two tensors"),
        ],
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
        check=_check_keys_and_values,
        wrong=[
            (lambda prefix, layers, heads: prefix.view(layers, 2, heads, len(prefix), -1), "scrambled"),
            (
                lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).transpose(2, 3),
                "Heads and tokens",
            ),
            (lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).flip(1), "are swapped"),
            (
                lambda prefix, layers, heads: keys_and_values(prefix, layers, heads).transpose(0, 1),
                "The layers come first",
            ),
            (
                _split(
                    lambda prefix, layers, heads: prefix.view(len(prefix), 2, layers, heads, -1),
                    2,
                    1,
                    3,
                    0,
                    4,
                ),
                "all keys, then all values",
            ),
            (
                _split(
                    lambda prefix, layers, heads: prefix.view(len(prefix), layers, 2, -1, heads),
                    1,
                    2,
                    4,
                    0,
                    3,
                ),
                "one after the other",
            ),
            (lambda prefix, layers, heads: keys_and_values(prefix, layers, heads) + 1, "the values are not"),
        ],
        hints=(
            "Each token has a row of its own. Cut the row into its parts from the outside in: layers, "
            "keys and values, heads, and what is left. Only then move the tokens to their place.",
            "prefix.view(P, layers, 2, heads, -1), then permute so that dimensions 1, 2, 3 come first, 0 "
            "(the tokens) next, 4 last: [layers, 2, heads, P, head size].",
        ),
    ),
]
