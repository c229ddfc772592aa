"""Lesson 00, append_tokens: a text grows token by token."""

import torch

from course_utils.checks.compare import Mistake, compare
from course_utils.checks.exercises import Exercise


def append_tokens(logits_of, ids, choose, count):
    """Each text with `count` more tokens: ids [B, T] -> [B, T + count]."""
    for _ in range(count):
        token = choose(logits_of(ids))  # [B]
        ids = torch.cat([ids, token[:, None]], dim=1)
    return ids


def _logits_of(ids):
    """A toy model [B, T] -> [B, T, 40]: each position depends on all tokens up to it and their places."""
    table = torch.sin(torch.arange(40 * 40).view(40, 40) ** 1.3)
    weights = torch.arange(1, ids.shape[1] + 1)[:, None]
    return (table[ids] * weights).cumsum(1)


def _of_the_last(ids):
    """The same, of the last position alone: [B, 1, 40]."""
    return _logits_of(ids)[:, -1:]


def _all_positions(logits):
    if logits.dim() != 3:
        raise Mistake(
            f"choose takes logits [B, T, V], and you gave it {list(logits.shape)}. It looks for the last "
            "position itself: choose(logits_of(ids))."
        )


def _likeliest(logits):
    _all_positions(logits)
    return logits[:, -1].argmax(-1)


def _second(logits):
    _all_positions(logits)
    return logits[:, -1].topk(2).indices[:, 1]


def _texts():
    return [
        (_logits_of, torch.randint(40, (3, 4)), _likeliest, 3),
        (_of_the_last, torch.randint(40, (2, 5)), _second, 4),
        (_logits_of, torch.randint(40, (1, 2)), _second, 2),
    ]


def _loop(step):
    """A wrong append_tokens: `step(logits_of, ids, choose)` returns the ids after one token more."""

    def wrong(logits_of, ids, choose, count):
        for _ in range(count):
            ids = step(logits_of, ids, choose)
        return ids

    return wrong


def _in_front(logits_of, ids, choose):
    return torch.cat([choose(logits_of(ids))[:, None], ids], 1)


def _of_the_new_alone(logits_of, ids, choose):
    return torch.cat([ids, choose(logits_of(ids[:, -1:]))[:, None]], 1)


def _first_dropped(logits_of, ids, choose):
    return append_tokens(logits_of, ids, choose, 1)[:, 1:]


def _replaced(logits_of, ids, choose):
    return torch.cat([ids[:, :-1], choose(logits_of(ids))[:, None]], 1)


def _never_fed_back(logits_of, ids, choose, count):
    tokens = [choose(logits_of(ids))[:, None] for _ in range(count)]
    return torch.cat([ids, *tokens], 1)


def _first_row(logits_of, ids, choose):
    return torch.cat([ids, choose(logits_of(ids))[:1, None].expand(len(ids), 1)], 1)


def _collected(logits_of, ids, choose, count):
    texts = ids.tolist()
    for _ in range(count):
        tokens = choose(logits_of(torch.tensor(texts))).tolist()
        texts = [[*text, token] for text, token in zip(texts, tokens, strict=True)]
    return torch.tensor(texts)


def _by_recursion(logits_of, ids, choose, count):
    if count == 0:
        return ids
    token = choose(logits_of(ids)).unsqueeze(1)
    return _by_recursion(logits_of, torch.hstack((ids, token)), choose, count - 1)


def _into_a_buffer(logits_of, ids, choose, count):
    rows, start = ids.shape
    text = torch.zeros(rows, start + count, dtype=ids.dtype)
    text[:, :start] = ids
    for place in range(start, start + count):
        text[:, place] = choose(logits_of(text[:, :place]))
    return text


MISTAKES = [
    (
        "Every new token is chosen after the same text: the first one comes back again and again. Give the "
        "model the text with the tokens that are already appended: ids = torch.cat(...) within the loop.",
        _never_fed_back,
    ),
    ("Append the new token at the end: yours stands at the beginning.", _loop(_in_front)),
    (
        "Return the whole text, the tokens of `ids` first: yours has the new ones alone.",
        lambda logits_of, ids, choose, count: append_tokens(logits_of, ids, choose, count)[:, ids.shape[1] :],
    ),
    (
        "You append one token too many.",
        lambda logits_of, ids, choose, count: append_tokens(logits_of, ids, choose, count + 1),
    ),
    (
        "You append one token too few.",
        lambda logits_of, ids, choose, count: append_tokens(logits_of, ids, choose, count - 1),
    ),
    (
        "You append one token and stop. Repeat it `count` times.",
        lambda logits_of, ids, choose, count: append_tokens(logits_of, ids, choose, 1),
    ),
    (
        "The text stops growing: each new token takes the place of the last one. Keep all of `ids`.",
        _loop(_replaced),
    ),
    ("The text must grow: you drop its first token at every step.", _loop(_first_dropped)),
    (
        "The model gets the last token alone, and forgets the text. Give it all of `ids` at every step.",
        _loop(_of_the_new_alone),
    ),
    (
        "choose is an argument: call it, instead of taking the likeliest token.",
        lambda logits_of, ids, choose, count: append_tokens(logits_of, ids, _likeliest, count),
    ),
    ("Each text gets its own token: you append the first text's to all of them.", _loop(_first_row)),
]

EXERCISE = Exercise(
    name="append_tokens",
    lesson="00",
    minutes=10,
    difficulty=2,
    reference=append_tokens,
    check=compare(
        append_tokens,
        _texts,
        MISTAKES,
        else_="token = choose(logits_of(ids)), appended to ids, and the longer ids in the next round.",
    ),
    wrong=[
        (
            lambda logits_of, ids, choose, count: append_tokens(logits_of, ids, choose, count).tolist(),
            "should be a tensor",
        ),
        (
            lambda logits_of, ids, choose, count: append_tokens(logits_of, ids, choose, count).float(),
            "the dtype torch.int64",
        ),
        (
            lambda logits_of, ids, choose, count: append_tokens(logits_of, ids, choose, count).flip(0),
            "appended to ids, and the longer ids",
        ),
        (lambda logits_of, ids, choose, count: None, "Is there a return?"),
    ],
    right=[_collected, _by_recursion, _into_a_buffer],
    hints=(
        "A loop with three lines: ask the model, choose, append. The longer text is what the model reads in "
        "the next round.",
        "token = choose(logits_of(ids)) is [B]; token[:, None] is [B, 1]; torch.cat([ids, token[:, None]], "
        "dim=1) is [B, T + 1]. Give the result the name ids, and return it after the loop.",
    ),
    then="All texts below are made by it.",
)
