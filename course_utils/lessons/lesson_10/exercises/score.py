"""Lesson 10, score: the score."""

import torch

from course_utils.checks.compare import Mistake, compare, expect_gradients
from course_utils.checks.exercises import Exercise
from course_utils.methods.reward import RewardModel, last_token, score
from course_utils.models import untrained_gpt2


def _no_forward(*arguments, **options):
    raise Mistake("model(...) asks this very function, without end. Call model.body, then model.head.")


def _judge(width=8):
    """A small reward model of random weights, with a centre that is not 0; its forward is the exercise."""
    body = untrained_gpt2(
        n_layer=2, n_head=2, n_embd=width, vocab_size=12, n_positions=12, initializer_range=0.7
    )
    model = RewardModel(body.base_model)
    torch.nn.init.normal_(model.head.weight)
    model.centre += 0.7
    model.forward = _no_forward
    return model.eval()


def _texts(*rows, width=8):
    """A model, and token ids of these masks; 0 where the mask is."""
    mask = torch.tensor(rows)
    return _judge(width), torch.randint(1, 12, mask.shape) * mask, mask


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


def _read(fault):
    """A wrong score: fault(hidden [batch, tokens, width], mask) gives what the head reads."""

    def wrong(model, input_ids, attention_mask):
        hidden = model.body(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=_positions(attention_mask)
        ).last_hidden_state
        return model.head(fault(hidden, attention_mask)).squeeze(-1) - model.centre

    return wrong


def _at(hidden, places):
    return hidden[torch.arange(len(hidden)), places]


def _every_row(model, input_ids, attention_mask):
    hidden = model.body(
        input_ids, attention_mask=attention_mask, position_ids=_positions(attention_mask)
    ).last_hidden_state
    return model.head(hidden[:, last_token(attention_mask)]).squeeze(1) - model.centre


def _body(**options):
    """A wrong score: another call of the body, options(mask) being its arguments beside the ids."""

    def wrong(model, input_ids, attention_mask):
        given = {name: make(attention_mask) for name, make in options.items()}
        hidden = model.body(input_ids=input_ids, **given).last_hidden_state
        return model.head(_at(hidden, last_token(attention_mask))).squeeze(1) - model.centre

    return wrong


def _of_score(change):
    """A wrong score: change(the right one, the model)."""
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
    """Each row without its padding."""
    rows = []
    for ids, real in zip(input_ids, attention_mask.bool(), strict=True):
        hidden = model.body(ids[real][None]).last_hidden_state
        rows.append(model.head(hidden[0, -1]) - model.centre)
    return torch.cat(rows)


def _all_then_gather(model, input_ids, attention_mask):
    """The head at every token, then one of them."""
    hidden = model.body(input_ids, attention_mask=attention_mask, position_ids=_positions(attention_mask))[0]
    every = model.head(hidden)[..., 0]  # (batch, tokens)
    last = attention_mask.shape[1] - 1 - attention_mask.flip(1).argmax(1, keepdim=True)
    return every.gather(1, last)[:, 0] - model.centre


EVERY_ROW = (
    "hidden[:, last] takes all these places of every row. One place a row: hidden[torch.arange(batch), last]."
)
UNMASKED = "The body gets no attention_mask: with padding on the left, the padding is read as text."
SCORE_MISTAKES = [
    (
        "The score is read in the last column. That is padding where a row is padded on the right, and the "
        "score then depends on how long the others in the batch are.",
        _read(lambda hidden, mask: hidden[:, -1]),
    ),
    (
        "The score is read at the number of real tokens minus one. With padding on the left the last one "
        "stands further right: take last_token.",
        _read(lambda hidden, mask: _at(hidden, mask.sum(1) - 1)),
    ),
    (EVERY_ROW, _read(lambda hidden, mask: hidden[:, last_token(mask)])),
    (EVERY_ROW, _every_row),
    (
        "The score is read one token before the last: the answer's end is not seen.",
        _read(lambda hidden, mask: _at(hidden, (last_token(mask) - 1).clamp(min=0))),
    ),
    (
        "The score is read at the first token, which has seen nothing of the answer.",
        _read(lambda hidden, mask: hidden[:, 0]),
    ),
    (
        "The score is a mean over tokens. One position is read: the last real one.",
        _read(lambda hidden, mask: (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)),
    ),
    (
        "The positions are not given: with padding on the left the model counts from the padding on. Pass "
        "position_ids that count real tokens, from 0.",
        _body(attention_mask=lambda mask: mask),
    ),
    (
        "The positions count from 1. The first real token has position 0, as in training.",
        _body(attention_mask=lambda mask: mask, position_ids=lambda mask: mask.cumsum(1)),
    ),
    (
        "Padding on the left gets the position -1 here, which is none: clamp(min=0).",
        _body(attention_mask=lambda mask: mask, position_ids=lambda mask: mask.cumsum(1) - 1),
    ),
    (UNMASKED, _body(position_ids=_positions)),
    (
        "Neither attention_mask nor position_ids go into the body: padding on the left is read as text.",
        _body(),
    ),
    (
        "The centre is missing: subtract model.centre at the end.",
        _of_score(lambda s, model: s + model.centre),
    ),
    ("The centre is added. Subtract it.", _of_score(lambda s, model: s + 2 * model.centre)),
    ("The sign of the score is turned.", _of_score(lambda s, model: -s)),
    ("These are probabilities. A score is a number without limits.", _of_score(lambda s, model: s.sigmoid())),
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
        (lambda model, input_ids, attention_mask: model(input_ids, attention_mask), "asks this very"),
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
    right=[_row_alone, _all_then_gather],
    hints=(
        "Three steps: the body makes a vector of each token; the vector at the last real token is taken; "
        "the head makes a number of it. On the left of a padded row stand tokens that must not count, "
        "neither in attention nor as positions.",
        "position_ids = (attention_mask.cumsum(1) - 1).clamp(min=0); hidden = model.body(input_ids=..., "
        "attention_mask=..., position_ids=...).last_hidden_state is [batch, tokens, width]; "
        "hidden[torch.arange(batch), last_token(attention_mask)] is [batch, width]; "
        "model.head(...).squeeze(1) - model.centre is [batch].",
    ),
    then="The held-out stories, the tricks and the hunt below are scored by your function.",
)
