"""Lesson 10, score: the score."""

import torch

from course_utils.checks.compare import Mistake, compare, expect_gradients
from course_utils.checks.exercises import Exercise
from course_utils.methods.reward import RewardModel, last_token, score
from course_utils.models import untrained_gpt2


def _no_forward(*arguments, **options):
    raise Mistake(
        "model(...) calls this same function, in endless recursion. Call model.body, then model.head."
    )


def _model(width=8):
    """A small reward model with random weights and a centre that is not 0; its forward is the exercise."""
    body = untrained_gpt2(
        n_layer=2, n_head=2, n_embd=width, vocab_size=12, n_positions=12, initializer_range=0.7
    )
    model = RewardModel(body.base_model)
    torch.nn.init.normal_(model.head.weight)
    model.centre += 0.7
    model.forward = _no_forward
    return model.eval()


def _texts(*rows, width=8):
    """A model, and token ids for these masks; 0 where the mask is 0."""
    mask = torch.tensor(rows)
    return _model(width), torch.randint(1, 12, mask.shape) * mask, mask


def _score_inputs():
    """Padded on the right; on the left; on both sides; not at all; one row."""
    return [
        _texts([1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]),
        _texts([0, 0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1], width=4),
        _texts([1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 1]),
        _texts([1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
        _texts([1, 1, 1, 1]),
    ]


def _positions(mask):
    return (mask.cumsum(1) - 1).clamp(min=0)


def _padding_at(place):
    """Positions as right as _positions: those of padding, on either side, are read by no real token."""
    return lambda mask: (mask.cumsum(1) - 1).masked_fill(mask == 0, place)


def _read(fault, positions=_positions):
    """A wrong score: the head reads fault(hidden [batch, tokens, width], mask)."""

    def wrong(model, input_ids, attention_mask):
        hidden = model.body(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=positions(attention_mask)
        ).last_hidden_state
        return model.head(fault(hidden, attention_mask)).squeeze(-1) - model.centre

    return wrong


def _at(hidden, places):
    return hidden[torch.arange(len(hidden)), places]


def _one_side_a_row(padded_left):
    """Where the last real token is if each row is padded on one side at most."""
    return lambda mask: torch.where(padded_left(mask), mask.shape[1] - 1, mask.sum(1) - 1)


def _read_at(column):
    """A wrong score: read at column(mask) of each row."""
    return _read(lambda hidden, mask: _at(hidden, column(mask)))


def _every_row(model, input_ids, attention_mask):
    hidden = model.body(
        input_ids, attention_mask=attention_mask, position_ids=_positions(attention_mask)
    ).last_hidden_state
    return model.head(hidden[:, last_token(attention_mask)]).squeeze(1) - model.centre


def _body(**options):
    """A wrong score: options(mask) are the body's arguments besides the ids."""

    def wrong(model, input_ids, attention_mask):
        given = {name: make(attention_mask) for name, make in options.items()}
        hidden = model.body(input_ids=input_ids, **given).last_hidden_state
        return model.head(_at(hidden, last_token(attention_mask))).squeeze(1) - model.centre

    return wrong


def _of_score(change):
    """A wrong score: change(right score, model)."""
    return lambda model, input_ids, attention_mask: change(score(model, input_ids, attention_mask), model)


def _detached(model, input_ids, attention_mask):
    with torch.no_grad():
        hidden = model.body(input_ids, attention_mask=attention_mask, position_ids=_positions(attention_mask))
    last = _at(hidden.last_hidden_state, last_token(attention_mask))
    return model.head(last).squeeze(1) - model.centre


def _score_in_place(model, input_ids, attention_mask):
    right = score(model, input_ids, attention_mask)
    attention_mask.mul_(torch.arange(attention_mask.shape[1]))
    return right


def _row_alone(model, input_ids, attention_mask):
    """Right: each row by itself, without its padding."""
    rows = []
    for ids, real in zip(input_ids, attention_mask.bool(), strict=True):
        hidden = model.body(ids[real][None]).last_hidden_state
        rows.append(model.head(hidden[0, -1]) - model.centre)
    return torch.cat(rows)


def _all_then_gather(model, input_ids, attention_mask):
    """Right: the head at every token, then one of its outputs."""
    hidden = model.body(input_ids, attention_mask=attention_mask, position_ids=_positions(attention_mask))[0]
    every = model.head(hidden)[..., 0]  # (batch, tokens)
    last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(1, keepdim=True)
    return every.gather(1, last)[:, 0] - model.centre


EVERY_ROW = (
    "hidden[:, last] takes all these columns of every row. Take one column per row: "
    "hidden[torch.arange(batch), last]."
)
UNMASKED = "You pass no attention_mask to the body: with padding on the left, it reads the padding as text."
BOTH_SIDES = "A row padded on both sides is read at another token than its last real one: use last_token."
LAST_COLUMN = (
    "You read the score in the last column. If a row is padded on the right, that is padding, and the "
    "score depends on the length of the other rows."
)
SCORE_MISTAKES = [
    (LAST_COLUMN, _read(lambda hidden, mask: hidden[:, -1])),
    (LAST_COLUMN, _read(lambda hidden, mask: hidden[:, -1], _padding_at(0))),
    (LAST_COLUMN, _read(lambda hidden, mask: hidden[:, -1], _padding_at(1))),
    (
        "You read the score at the number of real tokens minus one. With padding on the left, the last token "
        "is further right: use last_token.",
        _read(lambda hidden, mask: _at(hidden, mask.sum(1) - 1)),
    ),
    (EVERY_ROW, _read(lambda hidden, mask: hidden[:, last_token(mask)])),
    (EVERY_ROW, _every_row),
    (EVERY_ROW, _read(lambda hidden, mask: hidden[:, last_token(mask)][:, 0])),
    (BOTH_SIDES, _read_at(_one_side_a_row(lambda mask: mask[:, -1] == 1))),
    (BOTH_SIDES, _read_at(_one_side_a_row(lambda mask: mask[:, 0] == 0))),
    (
        "You read the score one token before the last: the head does not see the answer's end.",
        _read(lambda hidden, mask: _at(hidden, (last_token(mask) - 1).clamp(min=0))),
    ),
    (
        "You read the score at the first token, which has seen nothing of the answer.",
        _read(lambda hidden, mask: hidden[:, 0]),
    ),
    (
        "You take a mean over tokens. Read one vector: that of the last real token.",
        _read(lambda hidden, mask: (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)),
    ),
    (
        "You pass no position_ids: with padding on the left, the model counts the padding. Pass position_ids "
        "that count real tokens, from 0.",
        _body(attention_mask=lambda mask: mask),
    ),
    (
        "Your positions count from 1. The first real token has position 0, as in training.",
        _body(attention_mask=lambda mask: mask, position_ids=lambda mask: mask.cumsum(1)),
    ),
    (
        "Padding on the left gets the invalid position -1: clamp(min=0).",
        _body(attention_mask=lambda mask: mask, position_ids=lambda mask: mask.cumsum(1) - 1),
    ),
    (UNMASKED, _body(position_ids=_positions)),
    (
        "You pass neither attention_mask nor position_ids to the body: it reads padding on the left as text.",
        _body(),
    ),
    (
        "The centre is missing: subtract model.centre at the end.",
        _of_score(lambda s, model: s + model.centre),
    ),
    ("You add the centre. Subtract it.", _of_score(lambda s, model: s + 2 * model.centre)),
    ("The sign of the score is wrong.", _of_score(lambda s, model: -s)),
    ("These are probabilities. A score is an unbounded number.", _of_score(lambda s, model: s.sigmoid())),
]
_COMPARE_SCORES = compare(
    score,
    _score_inputs,
    SCORE_MISTAKES,
    else_="It is the head of the body's last hidden state at the last real token, minus the centre.",
    tolerance=1e-4,
)


def _check_score(fn):
    _COMPARE_SCORES(fn)
    model, ids, mask = _texts([1, 1, 1, 0], [1, 1, 1, 1])
    learn = {"The head": model.head.weight, "The body's last block": model.body.h[-1].mlp.c_fc.weight}
    expect_gradients(fn(model, ids, mask), learn)


EXERCISE = Exercise(
    name="score",
    lesson="10",
    minutes=12,
    difficulty=2,
    reference=score,
    check=_check_score,
    wrong=[
        *((wrong, message) for message, wrong in SCORE_MISTAKES),
        (lambda model, input_ids, attention_mask: model(input_ids, attention_mask), "calls this same"),
        (_of_score(lambda s, model: s[:, None]), "should have the shape"),
        (_of_score(lambda s, model: s.squeeze()), "should have the shape"),
        (_of_score(lambda s, model: s.tolist()), "should be a tensor"),
        (_of_score(lambda s, model: s.mean()), "should have the shape"),
        (_of_score(lambda s, model: 2 * s), "It is the head of the body's last hidden state"),
        (_of_score(lambda s, model: None), "Is there a return"),
        (_of_score(lambda s, model: s.detach()), "has no graph"),
        (_detached, "The body's last block gets no gradient"),
        (_score_in_place, "changes its argument attention_mask in place"),
    ],
    right=[
        _row_alone,
        _all_then_gather,
        *(_read(lambda hidden, mask: _at(hidden, last_token(mask)), _padding_at(place)) for place in (0, 1)),
    ],
    hints=(
        "Three steps: the body computes a vector for each token; take the vector at the last real token; the "
        "head turns it into a number. Padding on the left must not count, neither in attention nor in "
        "positions.",
        "position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0); hidden = model.body(input_ids=..., "
        "attention_mask=..., position_ids=...).last_hidden_state is [batch, tokens, width]; "
        "hidden[torch.arange(batch), last_token(attention_mask)] is [batch, width]; "
        "model.head(...).squeeze(1) - model.centre is [batch].",
    ),
    then="Your function scores all stories below.",
)
