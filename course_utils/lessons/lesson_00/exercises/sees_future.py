"""Lesson 00, sees_future: does it see the future? (bug hunt)."""

import torch

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise


def sees_future(logits_of, ids):
    """Do earlier positions depend on the last token? logits_of(ids): ids [B, T] -> logits [B, T, V]."""
    changed = ids.clone()
    changed[:, -1] += 1  # another token
    earlier, after_change = logits_of(ids)[:, :-1], logits_of(changed)[:, :-1]
    return not torch.allclose(earlier, after_change, rtol=0, atol=1e-4)


def _toy(mix, noise=0.0, favourite=0.0, drift=0.0):
    """A toy model, ids [B, T] -> logits [B, T, V]; mix [T, T]: which tokens' vectors a position adds up.

    drift: this multiple of the last token's id, growing with the row, is added to all logits, except in the
    first row.
    """

    def logits_of(ids):
        table = torch.sin(torch.arange(50 * 12).view(50, 12) ** 1.3)
        mixed = mix(ids.shape[1]) @ table[ids]
        mixed[..., 0] += favourite
        return mixed + noise * (ids.sum() % 7) + drift * (torch.arange(len(ids)) * ids[:, -1])[:, None, None]

    return logits_of


def _past(tokens):
    return torch.ones(tokens, tokens).tril()


def _slight(tokens):
    """The past and a little of the future."""
    return _past(tokens) + 0.01 * torch.ones(tokens, tokens).triu(1)


def _balanced(tokens):
    """The last token is added at one earlier position and subtracted at another."""
    mix = _past(tokens)
    mix[0, -1], mix[1, -1] = 1, -1
    return mix


def _earlier_alone(tokens):
    """The last token is seen from the first position, but not from its own."""
    mix = _past(tokens)
    mix[0, -1], mix[-1, -1] = 1, 0
    return mix


TOYS = [
    _toy(_past),
    _toy(torch.eye),
    _toy(lambda tokens: torch.ones(tokens, tokens).tril(-1)),
    _toy(lambda tokens: torch.zeros(tokens, tokens)),
    _toy(lambda tokens: torch.ones(tokens, tokens)),
    _toy(lambda tokens: torch.ones(tokens, tokens).tril(1)),
    _toy(_slight, favourite=30.0),
    _toy(lambda tokens: torch.ones(tokens, tokens), favourite=90.0),
    _toy(_past, drift=1.0),
    _toy(_past, drift=-1.0),
    _toy(_balanced),
    _toy(_earlier_alone),
]


def _suspects():
    """Each toy model with two batches; in the second, every text ends with token 0."""
    texts = [torch.randint(1, 40, (3, 6)), torch.randint(1, 40, (4, 8))]
    texts[1][:, -1] = 0
    return [(toy, ids) for toy in TOYS for ids in texts]


def _compared(change, differ):
    """A wrong sees_future: change(ids), then differ(logits before, logits after)."""
    return lambda logits_of, ids: differ(logits_of(ids), logits_of(change(ids.clone())))


def _next_id(place):
    def change(ids):
        ids[:, place] += 1
        return ids

    return change


def _to_zero(ids):
    ids[:, -1] = 0
    return ids


def _apart(before, after):
    return not torch.allclose(before, after, rtol=0, atol=1e-4)


def _last_in_place(logits_of, ids):
    before = logits_of(ids)
    ids[:, -1] += 1
    return _apart(before[:, :-1], logits_of(ids)[:, :-1])


def _cut(logits_of, ids):
    return _apart(logits_of(ids)[:, :-1], logits_of(ids[:, :-1]))


def _second_half(logits_of, ids):
    half = ids.shape[1] // 2
    other = torch.cat([ids[:, :half], (ids[:, half:] + 3) % 40], 1)
    return bool(((logits_of(ids) - logits_of(other))[:, :half].abs() > 1e-4).any())


FUTURE_MISTAKES = [  # the most frequent ones come first
    (
        "True and False are swapped: True means that an earlier position depends on the last token.",
        lambda logits_of, ids: not sees_future(logits_of, ids),
    ),
    ("Your function always returns True.", lambda logits_of, ids: True),
    (
        "Your function always returns False. Do you change a token between the two calls?",
        lambda logits_of, ids: _apart(logits_of(ids), logits_of(ids)),
    ),
    (
        "You look at the last position, which may change. Compare those before it.",
        _compared(_next_id(-1), lambda before, after: _apart(before[:, -1], after[:, -1])),
    ),
    (
        "You change more than the last token. Then earlier positions change in a correct model, too.",
        _compared(lambda ids: ids + 1, lambda before, after: _apart(before[:, :-1], after[:, :-1])),
    ),
    (
        "You compare the last position, too. It may change: it has read the token that you changed. Compare "
        "the positions before it.",
        _compared(_next_id(-1), _apart),
    ),
    (
        "You change the first token. All later positions may see it, so their logits change in a correct "
        "model, too. Change the last one.",
        _compared(_next_id(0), lambda before, after: _apart(before[:, 1:], after[:, 1:])),
    ),
    (
        "You test whether all logits before the last position change. One change is enough: any(), not "
        "all().",
        _compared(_next_id(-1), lambda before, after: bool(((before - after)[:, :-1].abs() > 1e-4).all())),
    ),
    (
        "You compare only the position before the last one. The last token may be visible only to an earlier "
        "position: compare all of them.",
        _compared(_next_id(-1), lambda before, after: _apart(before[:, -2], after[:, -2])),
    ),
    (
        "You compare the likeliest tokens. A model can see the future and still prefer the same token: "
        "compare the logits.",
        _compared(
            _next_id(-1), lambda before, after: bool((before.argmax(-1) != after.argmax(-1))[:, :-1].any())
        ),
    ),
    (
        "You compare only the first text. Compare the positions of all texts in the batch.",
        _compared(_next_id(-1), lambda before, after: _apart(before[0, :-1], after[0, :-1])),
    ),
    (
        "A logit can fall as well as rise: take abs() of the difference.",
        _compared(_next_id(-1), lambda before, after: bool(((after - before)[:, :-1] > 1e-4).any())),
    ),
    (
        "A logit can fall as well as rise: take abs() of the difference.",
        _compared(_next_id(-1), lambda before, after: bool(((before - after)[:, :-1] > 1e-4).any())),
    ),
    (
        "You compare only the first position. If a model looks one token ahead, only the position before the "
        "last one changes.",
        _compared(_next_id(-1), lambda before, after: _apart(before[:, 0], after[:, 0])),
    ),
    (
        "The tolerance is too large: the future may have a small effect. Rounding errors are about 1e-6.",
        _compared(_next_id(-1), lambda before, after: bool(((before - after)[:, :-1].abs() > 0.1).any())),
    ),
    (
        "You compare means or sums of the logits: changes of opposite sign cancel. Compare the logits one by "
        "one.",
        _compared(_next_id(-1), lambda before, after: _apart(before[:, :-1].sum(1), after[:, :-1].sum(1))),
    ),
    (
        "You set the last token to 0, but in one of the texts it is already 0: nothing changes. Use a "
        "different id, for example the id plus 1.",
        _compared(_to_zero, lambda before, after: _apart(before[:, :-1], after[:, :-1])),
    ),
]
ROUNDED = (
    "Two runs of a correct model can differ by rounding, here by about 1e-6. Allow for that: torch.allclose "
    "with a tolerance, instead of == or torch.equal."
)

EXERCISE = Exercise(
    name="sees_future",
    lesson="00m",
    minutes=10,
    difficulty=2,
    reference=sees_future,
    check=compare(
        sees_future,
        _suspects,
        FUTURE_MISTAKES,
        else_="True if the logits of an earlier position differ after a change of the last token.",
        extremes=[
            (ROUNDED, lambda: [(_toy(_past, noise=1e-6), torch.randint(1, 40, (2, n))) for n in (7, 9)])
        ],
    ),
    wrong=[
        (
            _compared(_next_id(-1), lambda before, after: not torch.equal(before[:, :-1], after[:, :-1])),
            "differ by rounding",
        ),
        (_last_in_place, "changes its argument ids in place"),
        (lambda logits_of, ids: False, "always returns False"),
        (lambda logits_of, ids: None, "Is there a return?"),
        (lambda logits_of, ids: logits_of(ids)[:, :-1] != logits_of(ids)[:, 1:], "should be one number"),
    ],
    right=[_cut, _second_half],
    hints=(
        "If a position cannot see the last token, its logits do not depend on it. Give the model the text "
        "twice, once with a different last token.",
        "changed = ids.clone(), then a different id at changed[:, -1]. Compare logits_of(ids)[:, :-1] with "
        "logits_of(changed)[:, :-1], [B, T - 1, V] each; torch.allclose(a, b, atol=1e-4) allows for "
        "rounding.",
    ),
)
