"""Exercises of lesson 00: the next token, the rules of sampling, min-p, an attention head, a leak."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from course_utils.checks.compare import call, compare
from course_utils.checks.exercises import Exercise, Mistake
from course_utils.checks.operations import without_loops
from course_utils.generation import filter_logits
from course_utils.gpt2 import attention_head


def greedy_next_token(logits):
    """Id of the most probable next token of each row. logits [B, T, V] -> [B]."""
    return logits[:, -1].argmax(dim=-1)


GREEDY_MISTAKES = [
    (
        "You chose a token after every position. Only the last one predicts the next token.",
        lambda logits: logits.argmax(dim=-1),
    ),
    (
        "These are values, not token ids. max finds the value, argmax finds where it stands.",
        lambda logits: logits[:, -1].max(dim=-1).values,
    ),
    (
        "These tokens follow the first position. The next token follows the last one.",
        lambda logits: logits[:, 0].argmax(dim=-1),
    ),
    (
        "This is one position too early: it scores the last token, which is there already.",
        lambda logits: logits[:, -2].argmax(dim=-1),
    ),
    (
        "The scores of all positions are added up here. The last position alone scores the next token.",
        lambda logits: logits.sum(1).argmax(dim=-1),
    ),
    (
        "The largest score of any position wins here. The last position alone scores the next token.",
        lambda logits: logits.amax(1).argmax(dim=-1),
    ),
    (
        "This softmax runs over the batch, so the rows compete. It runs over the vocabulary, the last "
        "dimension.",
        lambda logits: logits.softmax(0)[:, -1].argmax(dim=-1),
    ),
    ("These are the least probable tokens.", lambda logits: logits[:, -1].argmin(dim=-1)),
    (
        "logits[:, :, -1] are the scores of the vocabulary's last token. The positions are the second "
        "dimension: logits[:, -1].",
        lambda logits: logits[:, :, -1].argmax(dim=-1),
    ),
    (
        "This softmax runs over the positions. It runs over the vocabulary, the last dimension.",
        lambda logits: logits.softmax(1)[:, -1].argmax(dim=-1),
    ),
    (
        "logits[-1] is the last row of the batch. The positions are the second dimension: logits[:, -1].",
        lambda logits: logits[-1].argmax(dim=-1),
    ),
    (
        "One number for each row is asked for; yours keep a dimension of size 1.",
        lambda logits: logits[:, -1].argmax(dim=-1, keepdim=True),
    ),
    (
        "The token is drawn at random. Greedy choice takes the most probable one.",
        lambda logits: logits[:, -1].softmax(-1).multinomial(1).squeeze(-1),
    ),
]


def _spread_rows():
    """Rows of probabilities with sums and thresholds apart, not in falling order, the logits shifted."""
    few = torch.tensor([[0.5, 0.25, 0.15, 0.1], [0.9, 0.06, 0.03, 0.01]])
    more = torch.tensor(
        [[0.4, 0.3, 0.15, 0.1, 0.05], [0.25, 0.23, 0.2, 0.17, 0.15], [0.93, 0.04, 0.015, 0.01, 0.005]]
    )
    few, more = few[:, [2, 0, 3, 1]].log() + 2, more[:, [3, 1, 4, 0, 2]].log() - 7
    return [
        call(few, top_p=0.7),
        call(more, top_p=0.65),
        call(more, temperature=2.0, top_p=0.8),
        call(few, temperature=0.5),
        call(more, top_k=2),
        call(more, top_k=2, top_p=0.55),
        call(few, 0.5, 3, 0.97),
        call(more),
    ]


def _rules(top_p_rule, top_k_rule=None):
    """A wrong filter_logits: these rules after the temperature; top_k_rule None is the right one."""

    def wrong(logits, temperature=1.0, top_k=0, top_p=1.0):
        logits = logits / temperature
        if top_k:
            logits = (top_k_rule or (lambda z, k: filter_logits(z, top_k=k)))(logits, top_k)
        return top_p_rule(logits, top_p) if top_p < 1 else logits

    return wrong


def _along(softmax=-1, add_up=-1, sort=-1):
    """A rule for top-p with one of its steps along another dimension."""

    def rule(logits, top_p):
        ordered, order = logits.sort(sort, descending=True)
        probabilities = ordered.softmax(softmax)
        removed = probabilities.cumsum(add_up) - probabilities >= top_p
        return logits.masked_fill(removed.scatter(sort, order, removed), -torch.inf)

    return rule


def _gathered(logits, top_p):
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(-1)
    removed = probabilities.cumsum(-1) - probabilities >= top_p
    return logits.masked_fill(removed.gather(-1, order), -torch.inf)


def _only_one(logits, temperature=1.0, top_k=0, top_p=1.0):
    return filter_logits(logits, temperature, top_k, 1.0 if top_k else top_p)


def _top_p_alone(logits, top_p):
    return filter_logits(logits, top_p=top_p)


def _nucleus(excluded, put_back=True, descending=True):
    """A rule for top-p: excluded(sorted probabilities, sum of those before, top_p)."""

    def rule(logits, top_p):
        ordered, order = logits.sort(descending=descending)
        probabilities = ordered.softmax(-1)
        mask = excluded(probabilities, probabilities.cumsum(-1) - probabilities, top_p)
        return logits.masked_fill(mask.scatter(-1, order, mask) if put_back else mask, -torch.inf)

    return rule


def _reached(probabilities, before, top_p):
    return before >= top_p


def _sorted_result(logits, top_p):
    return _top_p_alone(logits, top_p).sort(descending=True).values


def _unsorted(logits, top_p):
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities.cumsum(-1) - probabilities >= top_p, -torch.inf)


def _sum_of_logits(logits, top_p):
    ordered, order = logits.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    return logits.masked_fill((before >= top_p).scatter(-1, order, before >= top_p), -torch.inf)


def _first_row_decides(logits, top_p):
    return logits.masked_fill(_top_p_alone(logits, top_p)[:1].isneginf(), -torch.inf)


def _turned_round(logits, top_p):
    return logits.masked_fill(_top_p_alone(logits, top_p).isfinite(), -torch.inf)


def _smaller_than(threshold):
    return lambda logits, top_p: logits.masked_fill(logits.softmax(-1) < threshold(top_p), -torch.inf)


def _kth(keep):
    """A wrong filter_logits: keep(logits, top_k) is the limit below which top-k removes."""
    return _rules(_top_p_alone, lambda logits, k: logits.masked_fill(logits < keep(logits, k), -torch.inf))


def _times_temperature(logits, temperature=1.0, top_k=0, top_p=1.0):
    return filter_logits(logits * temperature, 1.0, top_k, top_p)


def _temperature_last(logits, temperature=1.0, top_k=0, top_p=1.0):
    return filter_logits(logits, 1.0, top_k, top_p) / temperature


def _top_p_first(logits, temperature=1.0, top_k=0, top_p=1.0):
    return filter_logits(filter_logits(logits, temperature, 0, top_p), 1.0, top_k)


def _result(change):
    """A wrong filter_logits: change(right result, where it is -inf)."""

    def wrong(logits, temperature=1.0, top_k=0, top_p=1.0):
        right = filter_logits(logits, temperature, top_k, top_p)
        return change(right, right.isneginf())

    return wrong


def _divided_in_place(logits, temperature=1.0, top_k=0, top_p=1.0):
    logits /= temperature
    return filter_logits(logits, 1.0, top_k, top_p)


def _softmax_by_exp(logits, top_p):
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.exp() / ordered.exp().sum(-1, keepdim=True)
    removed = probabilities.cumsum(-1) - probabilities >= top_p
    return logits.masked_fill(removed.scatter(-1, order, removed), -torch.inf)


def _by_shifting(logits, temperature=1.0, top_k=0, top_p=1.0):
    logits = logits / temperature
    if top_k > 0:
        lowest = logits.sort(descending=True).values[:, top_k - 1 : top_k]
        logits = torch.where(logits >= lowest, logits, -torch.inf)
    if top_p < 1.0:
        probabilities, order = logits.softmax(-1).sort(descending=True)
        removed = probabilities.cumsum(-1) > top_p
        removed = torch.cat([torch.zeros_like(removed[:, :1]), removed[:, :-1]], -1)
        logits = logits.masked_fill(removed.gather(-1, order.argsort(-1)), -torch.inf)
    return logits


def _row_by_row_filter(logits, temperature=1.0, top_k=0, top_p=1.0):
    rows = []
    for row in logits / temperature:
        kept = row.argsort(descending=True)[: top_k or None]
        if top_p < 1:
            kept = kept[: int((row[kept].softmax(-1).cumsum(-1) < top_p).sum()) + 1]
        rows.append(torch.full_like(row, -torch.inf).index_copy(0, kept, row[kept]))
    return torch.stack(rows)


def _token_by_token(logits, top_p):
    kept = logits.clone()
    for row, probabilities in zip(kept, logits.softmax(-1), strict=True):
        before = 0.0
        for token in probabilities.argsort(descending=True).tolist():
            if before >= top_p:
                row[token] = -torch.inf
            before += probabilities[token].item()
    return kept


def _without_guard(logits, temperature=1.0, top_k=0, top_p=1.0):
    logits = logits / temperature
    kept = logits.masked_fill(logits < logits.topk(top_k).values[:, -1:], -torch.inf)
    return _top_p_alone(kept, top_p)


def _without_guard_or_top_p(logits, temperature=1.0, top_k=0, top_p=1.0):
    return _without_guard(logits, temperature, top_k)


def _one_at_least(logits, temperature=1.0, top_k=0, top_p=1.0):
    return filter_logits(logits, temperature, max(top_k, 1))


NO_TOP_P = "top_p has no effect."
ELIF = "Where top_k is set, top_p has no effect. The rules follow one another: two times if, no elif."


def _sampling_check(comparison):
    """The check of `comparison`, after a call with top_k=0; where top_p does nothing, no elif is blamed."""

    def check(fn):
        rows = _spread_rows()[0].arguments[0]
        try:
            fn(rows.clone())
        except Exception as error:
            fn(rows.clone(), top_k=2)  # what stops here too has another cause
            what = (str(error).strip().splitlines() or [""])[0][:200]
            raise Mistake(
                f"With top_k=0 your code stopped with {type(error).__name__}: {what}\n"
                "0 switches top-k off: do its step only where top_k is larger than 0 (if top_k:)."
            ) from error
        try:
            comparison(fn)
        except Mistake as mistake:
            if ELIF in str(mistake) and torch.equal(fn(rows.clone()), fn(rows.clone(), top_p=0.7)):
                raise Mistake(str(mistake).replace(ELIF, NO_TOP_P)) from None
            raise

    check.mistakes = comparison.mistakes
    return check


STILL_DRAWN = (
    "A removed token gets a very low logit here. Use -inf: its probability is then exactly 0, whatever the "
    "other logits and the temperature are."
)
ZERO_IS_A_LOGIT = "A logit of 0 still has a probability: exp(0) is 1. Removed tokens need -inf."
SINGLE = (
    "This compares single probabilities with a number. top-p adds them up, the likeliest first, until the "
    "sum reaches p."
)
FILTER_MISTAKES = [
    (
        "The token with which the sum reaches p is removed. It stays: a token goes where the likelier ones "
        "alone have reached p.",
        _rules(_nucleus(lambda probabilities, before, top_p: before + probabilities >= top_p)),
    ),
    (
        "One token too many stays: the first after the sum has reached p.",
        _rules(
            _nucleus(lambda probabilities, before, top_p: (before >= top_p).roll(1, -1) & (before >= top_p))
        ),
    ),
    (
        "You found the places of the sorted row that go, and removed these places of the unsorted row. Put "
        "the answer back to the tokens' own places: scatter, with the order that sort returned.",
        _rules(_nucleus(_reached, put_back=False)),
    ),
    (
        "The logits come back in falling order. Column i of the result belongs to token i.",
        _rules(_sorted_result),
    ),
    (
        "gather with the order of sort does not put the answer back: it takes from these places. scatter "
        "writes to them: mask.scatter(-1, order, mask).",
        _rules(_gathered),
    ),
    (
        "A softmax runs over the batch here. It runs over the vocabulary, the last dimension.",
        _rules(_along(softmax=0)),
    ),
    (
        "The probabilities are added up over the batch here. Add them up along the row: cumsum(-1).",
        _rules(_along(add_up=0)),
    ),
    ("You sort the texts of the batch. Sort each row by itself: sort(-1).", _rules(_along(sort=0))),
    (
        "The sum runs over the tokens as they stand in the vocabulary. Sort them, the likeliest first.",
        _rules(_unsorted),
    ),
    (
        "This keeps the unlikely tokens: sort begins with the smallest. With descending=True it begins with "
        "the likeliest.",
        _rules(_nucleus(_reached, descending=False)),
    ),
    (NO_TOP_P, _rules(lambda logits, top_p: logits)),
    (
        "The temperature is right. top_k and top_p have no effect yet.",
        lambda logits, temperature=1.0, top_k=0, top_p=1.0: logits / temperature,
    ),
    (ELIF, _only_one),
    ("These are sums of logits. top-p is about probabilities: softmax first.", _rules(_sum_of_logits)),
    (
        "The first row decides for all rows. Each row has likely tokens of its own.",
        _rules(_first_row_decides),
    ),
    ("The comparison is turned round: you removed the likely tokens.", _rules(_turned_round)),
    (SINGLE, _rules(_smaller_than(lambda top_p: 1 - top_p))),
    (SINGLE, _rules(_smaller_than(lambda top_p: top_p))),
    ("top_p is an argument: use it instead of 0.9.", _rules(lambda logits, top_p: _top_p_alone(logits, 0.9))),
    (
        "top-k has no effect. It keeps the top_k likeliest tokens; 0 keeps all.",
        _kth(lambda logits, top_k: -torch.inf),
    ),
    (
        "top-k keeps one token too few: the k-th likeliest stays (<, not <=).",
        _rules(
            _top_p_alone,
            lambda logits, k: logits.masked_fill(logits <= logits.topk(k).values[:, -1:], -torch.inf),
        ),
    ),
    ("top-k keeps one token too many.", _kth(lambda logits, k: logits.topk(k + 1).values[:, -1:])),
    (
        "The k-th value of one row is the limit of another. Take it row by row: values[:, -1:] is [B, 1].",
        _kth(lambda logits, k: logits.topk(k).values[:, -1].max()),
    ),
    ("You multiply by the temperature. It divides the logits.", _times_temperature),
    (
        "The temperature has no effect. It divides the logits, before the other rules.",
        lambda logits, temperature=1.0, top_k=0, top_p=1.0: filter_logits(logits, 1.0, top_k, top_p),
    ),
    (
        "The temperature comes last here. It comes first: top-p adds up the probabilities that it leaves.",
        _temperature_last,
    ),
    (
        "top-p comes before top-k here. top-k comes first: top-p adds up the probabilities of what it left.",
        _top_p_first,
    ),
    (
        "The logits that stay are only divided by the temperature. Are these probabilities?",
        _result(lambda right, removed: right.softmax(-1)),
    ),
    (
        "The logits that stay are only divided by the temperature. These are logarithms of probabilities.",
        _result(lambda right, removed: right.log_softmax(-1)),
    ),
    (ZERO_IS_A_LOGIT, _result(lambda right, removed: right.masked_fill(removed, 0.0))),
    (STILL_DRAWN, _result(lambda right, removed: right.masked_fill(removed, -1e9))),
    (STILL_DRAWN, _result(lambda right, removed: right.masked_fill(removed, -1e4))),
]
NOTHING_LEFT = (
    "With a small top_p the likeliest token must stay, or nothing is left to draw from: the sum before it is "
    "0."
)
OVERFLOW = "exp overflows at large logits. softmax subtracts the largest logit first."


def _no_dropout(weights):
    return weights


def _drop_the_first(weights):
    """A dropout that one can foresee: the first token's weight is dropped."""
    kept = torch.ones(weights.shape[-1])
    kept[0] = 0
    return 2 * kept * weights


def _head(queries, keys, size, scale, *front, dropout=_no_dropout):
    """Inputs of attention_head: the queries are of the last tokens."""
    query = torch.randn(*front, queries, size)
    key, value = torch.randn(2, *front, keys, size)
    visible = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    return query, key, value, visible, scale, dropout


def _with_gaps():
    """Not each token before is seen, and some after are: no triangle."""
    query, key, value, _, *rest = _head(3, 4, 3, 0.6)
    visible = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]]).bool()
    return query, key, value, visible, *rest


def _heads():
    return [
        _head(4, 4, 3, 0.5),
        _head(5, 5, 4, 0.8, 2, 3),
        _head(2, 5, 4, 0.3),
        _head(3, 3, 2, 1.5, 2, dropout=_drop_the_first),
        _with_gaps(),
    ]


def _seen_far_below():
    """A token that is seen scores less than any number that one would put for hidden scores."""
    query, key = torch.ones(2, 4), torch.tensor([[-3e5] * 4, [0.0] * 4])
    return [(query, key, *_head(2, 2, 4, 1.0)[2:])]


def _hidden_far_above():
    """A token that may not be seen scores 400 more than those that may."""
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
    """A wrong attention_head: the triangle up to diagonal(T, S), whatever is visible."""

    def wrong(query, key, value, visible, scale, dropout):
        T, S = query.shape[-2], key.shape[-2]
        own = torch.ones(T, S, dtype=torch.bool).tril(diagonal(T, S))
        return attention_head(query, key, value, own, scale, dropout)

    return wrong


def _masked_and_shared_out(scores, value, visible, dropout):
    weights = scores.softmax(-1) * visible
    return dropout(weights / weights.sum(-1, keepdim=True)) @ value


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


OWN_MASK = (
    "You make a mask of your own. `visible` is an argument: what may be seen differs from call to call."
)
HEAD_MISTAKES = [
    (
        "The scores are not scaled: multiply them by `scale` before the softmax.",
        _scaled_by(lambda q, scale: 1.0),
    ),
    (
        "You divide by the scale. Multiply: it is 1 / sqrt(size) already.",
        _scaled_by(lambda q, scale: 1 / scale),
    ),
    ("The scale is in there twice.", _scaled_by(lambda q, scale: scale**2)),
    (
        "The scale is an argument: use it instead of 1 / sqrt(size). Some models scale in another way.",
        _scaled_by(lambda q, scale: q.shape[-1] ** -0.5),
    ),
    (
        "The scale comes after the softmax here, so the weights of a row do not add up to 1. Scale the "
        "scores.",
        _scale_after_softmax,
    ),
    (
        "Nothing is hidden: every token sees those after it. Where `visible` is False, the score becomes "
        "-inf before the softmax.",
        _attend(lambda scores, value, visible, dropout: dropout(scores.softmax(-1)) @ value),
    ),
    (
        "The mask is turned round: you hide what may be seen. masked_fill fills where its mask is True: it "
        "takes ~visible.",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, ~visible)) @ value),
    ),
    (
        "The mask comes after the softmax, so the weights of a row no longer add up to 1. Mask the scores.",
        _attend(lambda scores, value, visible, dropout: dropout(scores.softmax(-1) * visible) @ value),
    ),
    (
        "Hidden scores are 0 here, and exp(0) is 1: such a token still gets weight. Use -inf.",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, visible, hidden=0)) @ value),
    ),
    (OWN_MASK, _own_mask(lambda T, S: 0)),
    (OWN_MASK, _own_mask(lambda T, S: S - T)),
    (
        "The softmax runs over the tokens that look. It runs over those that are looked at, the last "
        "dimension: each row of weights adds up to 1.",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, visible, -2)) @ value),
    ),
    (
        "The softmax runs over another dimension than the last: each row of weights adds up to 1, so write "
        "softmax(-1).",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, visible, 0)) @ value),
    ),
    (
        "softmax(1) is the last dimension of one head alone. With heads and texts in front it is another: "
        "write softmax(-1).",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, visible, 1)) @ value),
    ),
    (
        "Query and key have changed places: the rows are the tokens that look, so the query comes first, "
        "query @ key.mT.",
        _keys_look,
    ),
    (
        "These are the weights. Mix the values by them: weights @ value.",
        _attend(lambda scores, value, visible, dropout: dropout(_weights(scores, visible))),
    ),
    (
        "There is no softmax: scores can be negative and add up to anything.",
        _attend(lambda scores, value, visible, dropout: dropout(scores.masked_fill(~visible, 0)) @ value),
    ),
    (
        "`dropout` is not called. It acts on the weights, before they mix the values.",
        _attend(lambda scores, value, visible, dropout: _weights(scores, visible) @ value),
    ),
    (
        "`dropout` acts on the scores here. It acts on the weights, after the softmax.",
        _attend(
            lambda scores, value, visible, dropout: (
                dropout(scores.masked_fill(~visible, -torch.inf)).softmax(-1) @ value
            )
        ),
    ),
    (
        "`dropout` acts on the mixture here. It acts on the weights, before they mix the values.",
        lambda query, key, value, visible, scale, dropout: dropout(
            attention_head(query, key, value, visible, scale, _no_dropout)
        ),
    ),
]
FAR_BELOW = (
    "A token that is seen can score less than the number that you put for hidden ones: then the hidden ones "
    "get the weight. Use -inf."
)
FAR_ABOVE = (
    "A hidden token can score far higher than those that are seen. Masked after the softmax it leaves 0 / 0, "
    "and exp by hand overflows. Mask the scores, then call softmax."
)


def sees_future(logits_of, ids):
    """Do earlier positions depend on the last token? logits_of(ids): ids [B, T] -> logits [B, T, V]."""
    changed = ids.clone()
    changed[:, -1] += 1  # another token
    earlier, after_change = logits_of(ids)[:, :-1], logits_of(changed)[:, :-1]
    return not torch.allclose(earlier, after_change, rtol=0, atol=1e-4)


def _toy(mix, noise=0.0, favourite=0.0, drift=0.0):
    """A toy model, ids [B, T] -> logits [B, T, V]; mix [T, T]: which tokens' vectors a position adds up.

    drift: so many times the last token's number is added to all logits of all positions, and more so in
    later rows; the first row is spared.
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
    """The last token is seen from the first position, and not from its own."""
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
    """Each toy with two texts; in the second one every text ends with token 0."""
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


FUTURE_MISTAKES = [  # those that are wrong most often come first
    (
        "True and False have changed places: True means that an earlier position depends on the last token.",
        lambda logits_of, ids: not sees_future(logits_of, ids),
    ),
    ("This says True whatever the model does.", lambda logits_of, ids: True),
    (
        "This says False whatever the model does. Is a token changed between the two calls?",
        lambda logits_of, ids: _apart(logits_of(ids), logits_of(ids)),
    ),
    (
        "You look at the last position, which may change. Compare those before it.",
        _compared(_next_id(-1), lambda before, after: _apart(before[:, -1], after[:, -1])),
    ),
    (
        "You change more than the last token. Then earlier positions change in a right model too.",
        _compared(lambda ids: ids + 1, lambda before, after: _apart(before[:, :-1], after[:, :-1])),
    ),
    (
        "The last position is compared too. It may change: it has read the token that you changed. Compare "
        "the positions before it.",
        _compared(_next_id(-1), _apart),
    ),
    (
        "You change the first token. All later positions may see it, so their logits change in a right model "
        "too. Change the last one.",
        _compared(_next_id(0), lambda before, after: _apart(before[:, 1:], after[:, 1:])),
    ),
    (
        "You ask whether all logits before the last position change. One that changes is enough: any(), "
        "not all().",
        _compared(_next_id(-1), lambda before, after: bool(((before - after)[:, :-1].abs() > 1e-4).all())),
    ),
    (
        "You look at the position before the last one alone. A model can show the last token to an earlier "
        "position only: compare all of them.",
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
        "You look at the first text alone. Compare the positions of all texts of the batch.",
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
        "You look at the first position alone. A model can look one token ahead: then only the position "
        "before the last one changes.",
        _compared(_next_id(-1), lambda before, after: _apart(before[:, 0], after[:, 0])),
    ),
    (
        "The tolerance is too large: a model can see a little of the future. Rounding is about 1e-6.",
        _compared(_next_id(-1), lambda before, after: bool(((before - after)[:, :-1].abs() > 0.1).any())),
    ),
    (
        "You compare means or sums of the logits: changes of opposite sign cancel. Compare the logits one by "
        "one.",
        _compared(_next_id(-1), lambda before, after: _apart(before[:, :-1].sum(1), after[:, :-1].sum(1))),
    ),
    (
        "You set the last token to 0, and in one of the texts it is 0 already: nothing was changed. Take "
        "another id, for example the id plus 1.",
        _compared(_to_zero, lambda before, after: _apart(before[:, :-1], after[:, :-1])),
    ),
]
ROUNDED = (
    "Two runs of a right model can differ by rounding, here by about 1e-6. Allow for that: torch.allclose "
    "with a tolerance, instead of == or torch.equal."
)


def min_p_filter(logits, min_p):
    """Tokens less probable than min_p times the most probable one get -inf. logits [B, V] -> [B, V].

    Nguyen et al., 2024, "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs".
    """
    probabilities = logits.softmax(dim=-1)
    threshold = min_p * probabilities.max(dim=-1, keepdim=True).values
    return logits.masked_fill(probabilities < threshold, float("-inf"))


def _min_p_batches():
    """Probabilities none of which is near a threshold, the columns in any order; logits above and below 0."""
    few = torch.tensor([[0.4, 0.29, 0.2, 0.11], [0.9, 0.06, 0.02, 0.02]])
    more = [[0.5, 0.28, 0.12, 0.06, 0.04], [0.22, 0.21, 0.2, 0.19, 0.18], [0.96, 0.01, 0.01, 0.01, 0.01]]
    one = torch.tensor([[0.6, 0.25, 0.1, 0.05]])  # over a batch of one nothing is less than the largest
    batches = ((few, 1, 0.3), (torch.tensor(more), -7, 0.1), (one, 0, 0.2))
    return [(_turned(rows).log() + shift, min_p) for rows, shift, min_p in batches]


def _turned(rows):
    """Each row's columns turned by another number of places, so that the largest is not first."""
    by = 1 + torch.randperm(rows.shape[1] - 1)
    return torch.stack([row.roll(int(places)) for row, places in zip(rows, by, strict=False)])


def _filtered(fault):
    """A wrong min_p_filter: fault(probabilities, min_p) says what is removed."""
    return lambda logits, min_p: logits.masked_fill(fault(logits.softmax(-1), min_p), -torch.inf)


def _filled(value):
    """A wrong min_p_filter: `value` for the removed tokens."""
    return lambda logits, min_p: min_p_filter(logits, min_p).masked_fill(
        min_p_filter(logits, min_p).isneginf(), value
    )


def _below_or_equal(p, min_p):
    return p <= min_p * p.amax(-1, keepdim=True)


def _filter_in_place(logits, min_p):
    return logits.masked_fill_(min_p_filter(logits, min_p).isneginf(), -torch.inf)


def _by_logits(logits, min_p):
    return torch.where(logits < logits.amax(-1, keepdim=True) + math.log(min_p), -torch.inf, logits)


def _row_by_row(logits, min_p):
    rows = logits.clone()
    for row, p in zip(rows, logits.softmax(-1), strict=True):
        row[p < min_p * p.max()] = -torch.inf
    return rows


OVER_THE_BATCH = (
    "Softmax or maximum runs over the batch here. Both run over the vocabulary: softmax(-1), "
    "amax(-1, keepdim=True)."
)
MIN_P_MISTAKES = [
    (ZERO_IS_A_LOGIT, _filled(0.0)),
    (STILL_DRAWN, _filled(-1e9)),
    (STILL_DRAWN, _filled(torch.finfo(torch.float32).min)),
    (STILL_DRAWN, _filled(-1e4)),
    ("No token was removed. Removed tokens need the logit -inf.", lambda logits, min_p: logits.clone()),
    (
        "You kept tokens above min_p itself. The threshold is min_p times the largest "
        "probability of the row: 0.3 * 0.4, if min_p is 0.3 and the largest 0.4.",
        _filtered(lambda p, min_p: p < min_p),
    ),
    (
        "The threshold of one row comes from another. Take the maximum over the vocabulary "
        "only (dim=-1, keepdim=True).",
        _filtered(lambda p, min_p: p < min_p * p.max()),
    ),
    (OVER_THE_BATCH, _filtered(lambda p, min_p: p < min_p * p.amax(0))),
    (
        "min_p is subtracted from the largest probability. Multiply them.",
        _filtered(lambda p, min_p: p < p.amax(-1, keepdim=True) - min_p),
    ),
    (
        "You compare logits. min-p is about probabilities: softmax first.",
        lambda logits, min_p: logits.masked_fill(logits < min_p * logits.amax(-1, keepdim=True), -torch.inf),
    ),
    (
        OVER_THE_BATCH,
        lambda logits, min_p: logits.masked_fill(
            logits.softmax(0) < min_p * logits.softmax(0).amax(-1, keepdim=True), -torch.inf
        ),
    ),
    (
        "The comparison is turned: you removed the probable tokens.",
        _filtered(lambda p, min_p: p >= min_p * p.amax(-1, keepdim=True)),
    ),
    ("min_p is an argument: use it instead of 0.1.", lambda logits, min_p: min_p_filter(logits, 0.1)),
    (
        "The logits that stay should not change. Are these probabilities?",
        lambda logits, min_p: min_p_filter(logits, min_p).softmax(-1),
    ),
    (
        "The logits that stay should not change. Are these probabilities?",
        lambda logits, min_p: min_p_filter(logits, min_p).exp(),
    ),
    (
        "The logits that stay should not change, and those that go become -inf. Are these probabilities?",
        lambda logits, min_p: logits.softmax(-1).masked_fill(min_p_filter(logits, min_p).isneginf(), 0),
    ),
    (
        "The logits that stay should not change. These are logarithms of probabilities: return the logits "
        "themselves.",
        lambda logits, min_p: min_p_filter(logits, min_p).log_softmax(-1),
    ),
]


EXERCISES = [
    Exercise(
        name="greedy_next_token",
        lesson="00",
        minutes=5,
        difficulty=1,
        reference=greedy_next_token,
        check=compare(
            greedy_next_token,
            lambda: [(torch.randn(5, 3, 6),), (torch.randn(8, 6, 9) - 4,), (torch.randn(16, 5, 30),)],
            GREEDY_MISTAKES,
            else_="For each row it is the id with the largest logit at the last position.",
        ),
        wrong=[
            (lambda logits: logits.argmax(), "should have the shape [5]"),
            (lambda logits: logits[:, -1].argmax(dim=-1) + 1, "the largest logit at the last position"),
            (lambda logits: logits[:, -1].argmax(dim=-1).float(), "the dtype torch.int64"),
            (lambda logits: logits[:, -1].argmax(dim=-1).tolist(), "should be a tensor"),
            (lambda logits: None, "Is there a return?"),
        ],
        right=[
            lambda logits: logits.softmax(-1)[:, -1].max(-1).indices,
            lambda logits: logits.argmax(-1)[:, -1],
            lambda logits: torch.stack([row[-1].topk(1).indices[0] for row in logits]),
        ],
        hints=(
            "The logits at position t score the token at position t + 1. Which position scores the token "
            "that is not there yet? Greedy means: take the one with the highest score.",
            "logits[:, -1] has the shape [B, V]. argmax over the vocabulary leaves [B].",
        ),
    ),
    Exercise(
        name="filter_logits",
        lesson="00",
        minutes=15,
        difficulty=2,
        reference=filter_logits,
        check=without_loops(
            _sampling_check(
                compare(
                    filter_logits,
                    _spread_rows,
                    FILTER_MISTAKES,
                    else_="The temperature divides; top-k keeps the k likeliest tokens; of these top-p keeps "
                    "the likeliest, until their probabilities add up to p.",
                    extremes=[
                        (
                            NOTHING_LEFT,
                            [call(torch.tensor([[0.5, 2.0, -1.0], [-3.0, -1.0, -2.0]]), top_p=1e-6)],
                        ),
                        (OVERFLOW, [call(torch.tensor([[800.0, 799.0, 700.0]]), top_p=0.9)]),
                    ],
                )
            ),
            lambda: (torch.randn(2, 300), 1.0, 50, 0.9),
            100,
            "With a loop over the vocabulary the stories below take minutes: sort and add up whole rows.",
        ),
        wrong=[
            (_without_guard, "With top_k=0 your code stopped with RuntimeError"),
            (_without_guard_or_top_p, "0 switches top-k off"),
            (_one_at_least, "top_p has no effect.\nGiven"),
            (_divided_in_place, "changes its argument logits in place"),
            (
                _rules(_nucleus(lambda p, before, top_p: (before >= top_p) | (before + p > 0.99))),
                "The temperature divides; top-k",
            ),
            (
                _rules(_nucleus(lambda p, before, top_p: (before >= top_p) | (p < 1e-5) | (top_p < 1e-3))),
                "must stay",
            ),
            (_rules(_softmax_by_exp), "exp overflows"),
            (_rules(_token_by_token), "operations of torch where a few would do"),
            (lambda logits, temperature=1.0, top_k=0, top_p=1.0: None, "Is there a return?"),
            (
                lambda logits, temperature=1.0, top_k=0, top_p=1.0: logits[:, :2] / temperature,
                "should have the shape [2, 4]",
            ),
        ],
        right=[_by_shifting, _row_by_row_filter],
        hints=(
            "top-p needs to know, of each token, how much probability the likelier ones have together. Sort "
            "the row, the likeliest first, and add up: the sum before a token decides whether it goes.",
            "ordered, order = logits.sort(descending=True) are [B, V] each; softmax of ordered, and its "
            "cumsum minus itself, is the sum before each token. What goes is known in the sorted order; "
            "mask.scatter(-1, order, mask) puts it back to the tokens' own places.",
        ),
        then="It draws the tokens of the stories below, and of the playground.",
    ),
    Exercise(
        name="attention_head",
        lesson="00",
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
            "With a loop over the tokens this lesson takes minutes: query @ key.mT has all scores at once.",
        ),
        wrong=[
            (_attend(_masked_and_shared_out), "far higher than those that are seen"),
            (
                _attend(
                    lambda scores, value, visible, dropout: (
                        dropout(_weights(scores, visible, hidden=-1e4)) @ value
                    )
                ),
                "can score less than the number",
            ),
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
                lambda scores, value, visible, dropout: (
                    dropout(_weights(scores, visible, hidden=-1e9)) @ value
                )
            ),
        ],
        hints=(
            "Each token asks every token a question: the score is the product of its query with the other's "
            "key. What may not be seen gets -inf, softmax makes weights of the scores, and the weights mix "
            "the values.",
            "scores = scale * query @ key.mT is [..., T, S]; masked_fill(~visible, -torch.inf); softmax over "
            "the last dimension; dropout; weights @ value is [..., T, size]. Write .mT, not .T: it exchanges "
            "the last two dimensions and leaves those in front.",
        ),
        then="It runs in the forward pass below, in all heads of all blocks.",
    ),
    Exercise(
        name="sees_future",
        lesson="00",
        minutes=10,
        difficulty=2,
        reference=sees_future,
        check=compare(
            sees_future,
            _suspects,
            FUTURE_MISTAKES,
            else_="True where the logits of an earlier position differ after the last token was changed.",
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
            (lambda logits_of, ids: False, "This says False whatever"),
            (lambda logits_of, ids: None, "Is there a return?"),
            (lambda logits_of, ids: logits_of(ids)[:, :-1] != logits_of(ids)[:, 1:], "should be one number"),
        ],
        right=[_cut, _second_half],
        hints=(
            "A position that cannot see the last token has the same logits whatever the last token is. Give "
            "the model the text twice, once with another last token.",
            "changed = ids.clone(), then another id at changed[:, -1]. Compare logits_of(ids)[:, :-1] with "
            "logits_of(changed)[:, :-1], [B, T - 1, V] each; torch.allclose(a, b, atol=1e-4) allows for "
            "rounding.",
        ),
    ),
    Exercise(
        name="min_p_filter",
        lesson="00",
        minutes=10,
        difficulty=2,
        reference=min_p_filter,
        check=compare(
            min_p_filter,
            _min_p_batches,
            MIN_P_MISTAKES,
            else_="Tokens below min_p times the largest probability of their row get -inf, the others stay.",
            extremes=[
                (
                    "With min_p = 1 the most probable token must stay: a token goes when its probability is "
                    "less than the threshold (<), not when it equals it (<=).",
                    [(torch.tensor([[0.5, 2.0, -1.0], [-3.0, -1.0, -1.0]]), 1.0)],
                )
            ],
        ),
        wrong=[
            (_filtered(_below_or_equal), "must stay"),
            (_filter_in_place, "changes its argument logits in place"),
            (_filled(-1e8), "get -inf, the others stay"),
            (lambda logits, min_p: logits[logits.softmax(-1) > min_p], "should have the shape [2, 4]"),
            (lambda logits, min_p: None, "Is there a return?"),
        ],
        right=[_by_logits, _row_by_row],
        hints=(
            "How many tokens are plausible depends on how sure the model is. Compare every probability "
            "with the largest of its row: if that is 0.5 and min_p is 0.2, what has less than 0.1 goes.",
            "probabilities [B, V] by softmax; their maximum over the vocabulary with keepdim=True is "
            "[B, 1], so that the comparison broadcasts; masked_fill puts -inf where it is true.",
        ),
    ),
]
