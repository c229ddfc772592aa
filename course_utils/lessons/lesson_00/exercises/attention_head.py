"""Lesson 00, attention_head: an attention head."""

import torch
import torch.nn.functional as F
from torch import nn

from course_utils.checks.compare import compare
from course_utils.checks.exercises import Exercise
from course_utils.checks.operations import without_loops
from course_utils.gpt2 import attention_head


class _DropTheFirst(nn.Dropout):
    """A deterministic dropout: it drops the first token's weight."""

    def forward(self, weights):
        kept = torch.ones(weights.shape[-1])
        kept[0] = 0
        return 2 * kept * weights


def _head(queries, keys, size, scale, *front, dropout=None):
    """Inputs of attention_head; the queries belong to the last tokens."""
    query = torch.randn(*front, queries, size)
    key, value = torch.randn(2, *front, keys, size)
    visible = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    return query, key, value, visible, scale, dropout or nn.Dropout(0.0)


def _with_gaps():
    """Some earlier tokens are hidden and some later ones visible: not a triangle."""
    query, key, value, _, *rest = _head(3, 4, 3, 0.6)
    visible = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]]).bool()
    return query, key, value, visible, *rest


def _heads():
    return [
        _head(4, 4, 3, 0.5),
        _head(5, 5, 4, 0.8, 2, 3),
        _head(2, 5, 4, 0.3),
        _head(3, 3, 2, 1.5, 2, dropout=_DropTheFirst(0.0)),
        _with_gaps(),
    ]


def _seen_far_below():
    """A visible token scores less than any finite number that could replace hidden scores."""
    query, key = torch.ones(2, 4), torch.tensor([[-3e5] * 4, [0.0] * 4])
    return [(query, key, *_head(2, 2, 4, 1.0)[2:])]


def _hidden_far_above():
    """A hidden token scores 400 more than the visible ones."""
    query, key = torch.ones(2, 4), torch.tensor([[0.0] * 4, [100.0] * 4])
    return [(query, key, *_head(2, 2, 4, 1.0)[2:])]


def _attend(fault):
    """A wrong attention_head: fault(scaled scores, value, visible, dropout)."""

    def wrong(query, key, value, visible, scale, dropout):
        return fault(scale * query @ key.mT, value, visible, dropout)

    return wrong


def _weights(scores, visible, dim=-1, hidden=-torch.inf):
    return scores.masked_fill(~visible, hidden).softmax(dim)


def _scaled_by(change):
    """A wrong attention_head with another scale: change(query, scale)."""
    return lambda query, key, value, visible, scale, dropout: attention_head(
        query, key, value, visible, change(query, scale), dropout
    )


def _scale_after_softmax(query, key, value, visible, scale, dropout):
    return dropout(scale * _weights(query @ key.mT, visible)) @ value


def _keys_look(query, key, value, visible, scale, dropout):
    return dropout(_weights(scale * key @ query.mT, visible)) @ value


def _own_mask(diagonal):
    """A wrong attention_head: the triangle up to diagonal(T, S) instead of `visible`."""

    def wrong(query, key, value, visible, scale, dropout):
        T, S = query.shape[-2], key.shape[-2]
        own = torch.ones(T, S, dtype=torch.bool).tril(diagonal(T, S))
        return attention_head(query, key, value, own, scale, dropout)

    return wrong


def _masked_and_shared_out(scores, value, visible, dropout):
    weights = scores.softmax(-1) * visible
    return dropout(weights / weights.sum(-1, keepdim=True)) @ value


def _dropout_by_torch(query, key, value, visible, scale, dropout):
    rate = dropout.p if dropout.training else 0.0
    return F.scaled_dot_product_attention(query, key, value, visible, dropout_p=rate, scale=scale)


def _by_torch(query, key, value, visible, scale, dropout):
    count = key.shape[-2]
    identity = torch.eye(count).expand(*key.shape[:-2], count, count)
    weights = F.scaled_dot_product_attention(query, key, identity, attn_mask=visible, scale=scale)
    return dropout(weights) @ value


def _query_by_query(query, key, value, visible, scale, dropout):
    scores = [
        torch.stack([scale * (one * other).sum(-1) for other in key.unbind(-2)], -1)
        for one in query.unbind(-2)
    ]
    return dropout(_weights(torch.stack(scores, -2), visible)) @ value


def _head_by_einsum(query, key, value, visible, scale, dropout):
    scores = torch.einsum("...td,...sd->...ts", query * scale, key)
    weights = torch.where(visible, scores, -torch.inf).softmax(-1)
    return torch.einsum("...ts,...sd->...td", dropout(weights), value)


OWN_MASK = "You make your own mask. Use the argument `visible`: it differs from call to call."
HEAD_MISTAKES = [
    (
        "The scores are not scaled: multiply them by `scale` before the softmax.",
        _scaled_by(lambda q, scale: 1.0),
    ),
    (
        "You divide by the scale. Multiply: it is already 1 / sqrt(size).",
        _scaled_by(lambda q, scale: 1 / scale),
    ),
    ("You apply the scale twice.", _scaled_by(lambda q, scale: scale**2)),
    (
        "The scale is an argument: use it instead of 1 / sqrt(size). Some models scale in another way.",
        _scaled_by(lambda q, scale: q.shape[-1] ** -0.5),
    ),
    (
        "You scale after the softmax, so the weights of a row do not add up to 1. Scale the scores.",
        _scale_after_softmax,
    ),
    (
        "Nothing is hidden: every token sees those after it. Where `visible` is False, the score becomes "
        "-inf before the softmax.",
        _attend(lambda scores, value, visible, dropout: dropout(scores.softmax(-1)) @ value),
    ),
    (
        "The mask is inverted: you hide the visible tokens. masked_fill fills where its mask is True, so "
        "give it ~visible.",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, ~visible)) @ value),
    ),
    (
        "You mask after the softmax, so the weights of a row no longer add up to 1. Mask the scores.",
        _attend(lambda scores, value, visible, dropout: dropout(scores.softmax(-1) * visible) @ value),
    ),
    (
        "You set hidden scores to 0, but exp(0) is 1: a hidden token still gets weight. Use -inf.",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, visible, hidden=0)) @ value),
    ),
    (OWN_MASK, _own_mask(lambda T, S: 0)),
    (OWN_MASK, _own_mask(lambda T, S: S - T)),
    (
        "Your softmax runs over the queries. It must run over the keys, the last dimension, so that each row "
        "of weights adds up to 1.",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, visible, -2)) @ value),
    ),
    (
        "Your softmax does not run over the last dimension. Each row of weights must add up to 1: write "
        "softmax(-1).",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, visible, 0)) @ value),
    ),
    (
        "Dimension 1 is the last one only for a single head. With dimensions for heads and texts in front it "
        "is not: write softmax(-1).",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, visible, 1)) @ value),
    ),
    (
        "Query and key are swapped. Rows belong to queries, so the query comes first: query @ key.mT.",
        _keys_look,
    ),
    (
        "These are the weights. Use them to mix the values: weights @ value.",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, visible))),
    ),
    (
        "There is no softmax: scores can be negative and add up to anything.",
        _attend(lambda scores, value, visible, dropout: dropout(scores.masked_fill(~visible, 0)) @ value),
    ),
    (
        "You do not call `dropout`. Apply it to the weights, before they mix the values.",
        _attend(lambda scores, value, visible, dropout: _weights(scores, visible) @ value),
    ),
    (
        "You apply `dropout` to the scores. Apply it to the weights, after the softmax.",
        _attend(
            lambda scores, value, visible, dropout: (
                dropout(scores.masked_fill(~visible, -torch.inf)).softmax(-1) @ value
            )
        ),
    ),
    (
        "You apply `dropout` to the mixture. Apply it to the weights, before they mix the values.",
        lambda query, key, value, visible, scale, dropout: dropout(
            attention_head(query, key, value, visible, scale, nn.Identity())
        ),
    ),
]
FAR_BELOW = (
    "A visible token can score less than the number that you use for hidden ones; then the hidden ones get "
    "the weight. Use -inf."
)
FAR_ABOVE = (
    "A hidden token can score far higher than the visible ones. Masking after the softmax then gives 0 / 0, "
    "and exp by hand overflows. Mask the scores, then call softmax."
)

EXERCISE = Exercise(
    name="attention_head",
    lesson="00m",
    minutes=15,
    difficulty=2,
    reference=attention_head,
    check=without_loops(
        compare(
            attention_head,
            _heads,
            HEAD_MISTAKES,
            else_="scores = scale * query @ key.mT, -inf where not visible, softmax over the last "
            "dimension, then the mixture of the values.",
            gradient=["query", "key", "value"],
            extremes=[(FAR_ABOVE, _hidden_far_above), (FAR_BELOW, _seen_far_below)],
        ),
        lambda: _head(40, 40, 4, 0.5, 2, 3),
        100,
        "With a loop over the tokens, this lesson takes minutes; query @ key.mT gives all scores at once.",
    ),
    wrong=[
        (_attend(_masked_and_shared_out), "far higher than the visible ones"),
        (
            _attend(
                lambda scores, value, visible, dropout: (
                    dropout(_weights(scores, visible, hidden=-1e4)) @ value
                )
            ),
            "can score less than the number",
        ),
        (_dropout_by_torch, "You do not call `dropout`"),
        (_query_by_query, "operations of torch where a few would do"),
        (
            lambda query, key, value, visible, scale, dropout: attention_head(
                query.detach(), key, value, visible, scale, dropout
            ),
            "query gets no gradient",
        ),
        (
            lambda query, key, value, visible, scale, dropout: attention_head(
                query.mul_(scale), key, value, visible, 1.0, dropout
            ),
            "changes its argument query in place",
        ),
        (
            lambda query, key, value, visible, scale, dropout: attention_head(
                query, key, value, visible, scale, dropout
            ).flip(-1),
            "then the mixture of the values",
        ),
        (lambda query, key, value, visible, scale, dropout: None, "Is there a return?"),
    ],
    right=[
        _by_torch,
        _head_by_einsum,
        _attend(
            lambda scores, value, visible, dropout: dropout(_weights(scores, visible, hidden=-1e9)) @ value
        ),
    ],
    hints=(
        "A token's score for another token is the dot product of its query with the other's key. Hidden "
        "tokens get -inf, softmax turns scores into weights, and the weights mix the values.",
        "scores = scale * query @ key.mT is [..., T, S]; masked_fill(~visible, -torch.inf); softmax over "
        "the last dimension; dropout; weights @ value is [..., T, size]. Write .mT, not .T: it swaps only "
        "the last two dimensions.",
    ),
    then="The forward pass below uses it in all heads of all blocks.",
)
